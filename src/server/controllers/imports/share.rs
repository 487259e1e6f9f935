//! What people look at and list takes its turns at a registry from the same bucket as checks, before those, and projects share it.

use std::time::{Duration, Instant};

use axum::http::Method;
use futures_util::future::join_all;

use super::testing::{Allows, HOUR, MINUTE, Registry, SECOND, Site};
use crate::model::now;
use crate::model::time::testing::TIME;
use crate::server::importer::{ImportError, Selection};
use crate::server::store::testing::{each_store, quick_store};
use crate::server::store::{BudgetKey, RestKind};

impl Site {
    /// What comes of a look at `<repository>:<tag>`, and for how long to stay away.
    async fn look(&self, project: &str, registry: &Registry, name: &str) -> Result<(), (String, Option<Duration>)> {
        let (reference, selection) = (registry.reference(name), Selection::default());
        let looked = self.imports.importer.look(project, &reference, true, &selection).await;
        looked.map(drop).map_err(|cause: ImportError| (cause.to_string(), cause.retry_after()))
    }
}

/// Requests for manifests.
fn manifests(registry: &Registry) -> usize {
    registry.asked().iter().filter(|one| !one.what.contains("/blobs/") && !one.is_list()).count()
}

async fn slow_down(site: &Site, registry: &Registry, times: u32) {
    let (id, host) = (registry.address.clone(), registry.address.clone());
    let key = BudgetKey { id, host, account: String::new() };
    for _ in 0..times {
        let until = site.store.rest_budget(&key, Some(1000), RestKind::AbuseLimit).await.unwrap();
        TIME.set(Some(until + SECOND));
    }
}

#[tokio::test]
async fn section_6_2_a_look_takes_its_turn_and_is_told_when_there_is_none_soon() {
    for store in each_store().await {
        let site = Site::start(store).await;
        let registry = Registry::start(Allows::default()).await;
        site.project("demo").await;
        // A minute between two questions.
        slow_down(&site, &registry, 12).await;
        assert_eq!(site.look("demo", &registry, "org/a:1").await, Ok(()));
        let (message, left) = site.look("demo", &registry, "org/a:2").await.expect_err("no turn");
        assert!(message.contains("is asked too much at the moment: try again in 6"), "{message}");
        let left = left.expect("a time");
        assert!((59..=62).contains(&left.as_secs()), "{left:?}");
        let listed = site.imports.importer.list_tags("demo", &registry.reference("org/a"), true).await;
        assert_eq!(listed.err().map(|cause| cause.reason()), Some("asked-too-much"));
        assert_eq!((manifests(&registry), registry.lists()), (1, 0), "nobody was asked");
        TIME.set(Some(now() + MINUTE));
        assert_eq!(site.look("demo", &registry, "org/a:2").await, Ok(()));
        TIME.set(None);
    }
}

#[tokio::test]
async fn section_6_2_checks_wait_for_what_people_look_at_and_it_is_counted_with_them() {
    let site = Site::start(quick_store().await).await;
    let registry = Registry::start(Allows::default()).await;
    site.project("demo").await;
    site.follow("demo", "base:1", &registry.reference("org/base:1")).await;
    site.pass(5 * SECOND).await;
    TIME.set(Some(now() + 16 * MINUTE));
    registry.take();
    for number in 0..20 {
        assert_eq!(site.look("demo", &registry, &format!("org/a:{number}")).await, Ok(()));
    }
    let free = super::CheckPlaces::default().free();
    let claimed = site.store.claim_due_imports(site.store.owner(), 30_000, free).await.unwrap();
    assert_eq!(claimed.questions.len(), 0, "the second's turns are taken");
    assert!(claimed.again_at.is_some_and(|at| at > now() && at <= now() + SECOND), "{claimed:?}");
    site.pass(5 * SECOND).await;
    assert!(site.import("demo", "base:1").await.last_try_at.is_some_and(|at| at > now() - MINUTE), "it comes then");
    TIME.set(Some(now() + MINUTE));
    site.imports.importer.write_down_answers().await.unwrap();
    let budgets = site.store.list_budgets().await.unwrap();
    assert!(budgets[0].spend[0].gets >= 20, "{:?}", budgets[0].spend);
    TIME.set(None);
}

#[tokio::test]
async fn section_6_2_a_hundred_looks_of_one_project_do_not_keep_another_waiting() {
    let site = Site::start(quick_store().await).await;
    let registry = Registry::start(Allows::default()).await;
    for name in ["many", "one"] {
        site.project(name).await;
    }
    TIME.set(None);
    let many = join_all((0..100).map(|number| {
        let (site, registry) = (&site, &registry);
        async move { site.look("many", registry, &format!("org/many:{number}")).await }
    }));
    let one = async {
        // The others stand in line already.
        while manifests(&registry) < 20 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let (before, began) = (manifests(&registry), Instant::now());
        assert_eq!(site.look("one", &registry, "org/one:1").await, Ok(()));
        (manifests(&registry) - before, began.elapsed())
    };
    let (many, (before, took)) = tokio::join!(many, one);
    assert!(many.iter().all(Result::is_ok), "{many:?}");
    assert!(before <= 10, "{before} of the others came before, in {took:?}");
}

#[tokio::test]
async fn section_6_2_no_project_uses_up_what_a_registry_allows_to_several() {
    for store in each_store().await {
        let site = Site::start(store).await;
        let registry = Registry::start(Allows { pulls: Some((40, HOUR)), ..Allows::default() }).await;
        for project in ["greedy", "modest"] {
            site.project(project).await;
            site.follow(project, "base:1", &registry.reference(&format!("{project}/base:1"))).await;
        }
        site.pass(20 * SECOND).await;
        let mut looks = 0;
        let (message, left) = loop {
            TIME.set(Some(now() + SECOND));
            match site.look("greedy", &registry, "org/a:1").await {
                Ok(()) => looks += 1,
                Err(told) => break told,
            }
        };
        assert!((18..=20).contains(&looks), "{looks} looks");
        assert!(message.contains("project greedy has had its share"), "{message}");
        assert!(left.is_some_and(|left| left > Duration::from_secs(3000)), "{left:?}");
        assert_eq!(site.look("modest", &registry, "org/a:1").await, Ok(()));
        assert_eq!(registry.refused(), 0);
        TIME.set(None);
    }
}

#[tokio::test]
async fn c4_nobody_looks_at_a_registry_that_rests() {
    let site = Site::start(quick_store().await).await;
    let registry = Registry::start(Allows::default()).await;
    site.project("demo").await;
    for (status, words) in [(429, "turned this address away"), (503, "said that it is not to be had")] {
        registry.refuse(Some((status, vec![("retry-after", "120".to_owned())], "")));
        assert!(site.look("demo", &registry, "org/a:1").await.is_err());
        registry.refuse(None);
        registry.take();
        let (message, left) = site.look("demo", &registry, "org/a:1").await.expect_err("it rests");
        assert!(message.contains(words), "{message}");
        assert!(left.is_some_and(|left| (100..=120).contains(&left.as_secs())), "{left:?}");
        assert!(site.imports.importer.list_tags("demo", &registry.reference("org/a"), true).await.is_err());
        assert_eq!(registry.take(), [], "{status}");
        TIME.set(Some(now() + 121 * SECOND));
        assert_eq!(site.look("demo", &registry, "org/a:1").await, Ok(()), "{status}");
    }
    TIME.set(None);
}

#[tokio::test]
async fn what_a_check_asks_beyond_the_turn_of_its_claim_waits_for_another_one() {
    let site = Site::start(quick_store().await).await;
    let registry = Registry::start(Allows::default()).await;
    site.project("demo").await;
    site.follow("demo", "base:1", &registry.reference("org/base:1")).await;
    site.pass(5 * SECOND).await;
    // 1.6 s between two questions.
    slow_down(&site, &registry, 5).await;
    registry.change("org/base:1");
    site.pass(16 * MINUTE).await;
    // A HEAD by the claim's turn, and the manifest by another.
    assert_eq!(site.import("demo", "base:1").await.outcome, "ok");
    let asked = registry.take();
    assert!(asked.iter().any(|one| one.method == Method::GET && one.what == "org/base:1"), "{asked:?}");
    TIME.set(None);
}

#[tokio::test]
async fn a_list_that_does_not_come_to_its_end_in_time_is_given_up_for_who_waits_for_it() {
    let site = Site::start(quick_store().await).await;
    let registry = Registry::start(Allows::default()).await;
    site.project("demo").await;
    registry.has("org/app", (0..3000).map(|number| number.to_string()));
    let list = async || {
        let repository = registry.reference("org/app");
        site.imports.importer.list_tags_within(Duration::from_millis(500), "demo", &repository, true).await
    };
    assert_eq!(list().await.expect("all of it").len(), 3000);
    registry.fall_silent_after(Some(1));
    let late = list().await.expect_err("it is silent");
    assert_eq!(late.reason(), "timeout");
    assert!(late.to_string().contains(&registry.address), "{late}");
    TIME.set(None);
}
