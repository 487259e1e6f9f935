//! Import rules by the clock, against a registry that remembers what it was asked: C6 and C11 of the list of pains, and what people do
//! to the tags that rules made.

use std::time::Duration;

use axum::http::Method;

use crate::model::time::testing::TIME;
use crate::model::{Actor, ImportRule, ImportRuleSpec, PatternKind, Tag, TagOrder, now};
use crate::server::controllers::imports::testing::{Allows, Asked, HOUR, MINUTE, Registry, SECOND, START, Site};
use crate::server::controllers::step;
use crate::server::store::testing::{TestStore, each_store, quick_store, run};
use crate::server::store::{CheckEnd, NextCheck, TagSpec};

/// A site with project `demo`, a registry whose repository `org/app` has these tags, and a rule of stream `app` about them.
struct Scene {
    site: Site,
    registry: Registry,
}

fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("3.{number}"))
}

fn ada() -> Actor {
    Actor::person("ada")
}

impl Scene {
    async fn start(store: TestStore, tags: impl IntoIterator<Item = String>) -> Self {
        let site = Site::start(store).await;
        let registry = Registry::start(Allows::default()).await;
        registry.has("org/app", tags);
        site.project("demo").await;
        site.store.ensure_stream("demo", &"app".parse().unwrap(), &ada()).await.unwrap();
        Self { site, registry }
    }

    fn spec(&self, kind: PatternKind, pattern: &str) -> ImportRuleSpec {
        ImportRuleSpec { insecure: 1, ..ImportRuleSpec::sample(&self.registry.reference("org/app"), kind, pattern) }
    }

    async fn make(&self, spec: &ImportRuleSpec) {
        let name = "rule".parse().unwrap();
        self.site.store.create_import_rule("demo", "app", Some(&name), spec, false, &ada()).await.unwrap();
    }

    async fn change(&self, spec: &ImportRuleSpec) {
        self.site.store.update_import_rule("demo", "app", "rule", spec, false, None, &ada()).await.unwrap();
    }

    async fn rule(&self) -> ImportRule {
        self.site.store.load_import_rule("demo", "app", "rule").await.unwrap()
    }

    /// Seen, chosen, new, left alone.
    async fn figures(&self) -> [i64; 4] {
        let rule = self.rule().await;
        assert_eq!((rule.outcome.as_str(), rule.unapplied), ("ok", 0), "{rule:?}");
        [rule.seen, rule.chosen, rule.made, rule.left_alone]
    }

    async fn tag(&self, name: &str) -> Tag {
        self.site.tag("demo", &format!("app:{name}")).await
    }

    /// Names of live tags that are checked on schedule.
    async fn scheduled(&self) -> Vec<String> {
        let stream = self.site.store.stream("demo", "app").await.unwrap();
        let tags = self.site.store.list_tags(&stream.id, "", 10_000).await.unwrap();
        tags.into_iter().filter(|tag| tag.scheduled == 1).map(|tag| tag.name).collect()
    }

    /// What the ledger has of the rule and its tags, the oldest first.
    async fn told(&self, action: &str) -> Vec<(String, String)> {
        let rows = self.site.store.list_ledger(Some("demo"), None, 10_000).await.unwrap();
        let told = rows.into_iter().rev().filter(|row| row.action == action);
        told.map(|row| (row.actor, row.object)).collect()
    }
}

fn lists(asked: &[Asked]) -> Vec<&Asked> {
    asked.iter().filter(|one| one.is_list()).collect()
}

/// When listings were begun.
fn beginnings(asked: &[Asked]) -> Vec<i64> {
    lists(asked).into_iter().filter(|one| !one.what.contains("last=")).map(|one| one.at).collect()
}

#[tokio::test]
async fn c6_a_list_of_9036_tags_is_read_to_its_end_and_once_an_hour_at_the_most() {
    for store in each_store().await {
        let scene = Scene::start(store, (0..9036).map(|number| format!("1.{number}.0"))).await;
        scene.make(&ImportRuleSpec { newest: Some(2), ..scene.spec(PatternKind::Semver, "1.*") }).await;
        scene.site.settle().await;
        assert_eq!(scene.figures().await, [9036, 2, 2, 0]);
        assert_eq!(scene.scheduled().await, ["1.9034.0", "1.9035.0"]);
        assert_eq!(lists(&scene.registry.take()).len(), 10, "ten pages of up to a thousand");
        // Asking for it again and again changes nothing of that.
        scene.site.pass(5 * HOUR).await;
        let asked = scene.registry.take();
        let began = beginnings(&asked);
        assert!((4..=5).contains(&began.len()), "{} listings in five hours", began.len());
        assert_eq!(lists(&asked).len(), 10 * began.len(), "each is whole");
        for pair in began.windows(2) {
            assert!(pair[1] - pair[0] >= HOUR, "{} ms between two listings", pair[1] - pair[0]);
        }
        TIME.set(None);
    }
}

#[tokio::test]
async fn c6_whoever_takes_over_goes_on_at_the_page_where_a_killed_server_was() {
    for store in each_store().await {
        let Scene { site, registry } = Scene::start(store, (0..9036).map(|number| format!("1.{number}.0"))).await;
        let scene = Scene { site, registry };
        scene.make(&scene.spec(PatternKind::Semver, "=1.7.0")).await;
        scene.registry.fall_silent_after(Some(4));
        step(&scene.site.rules).await.unwrap();
        while scene.registry.lists() < 5 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let rule = scene.rule().await;
        assert_eq!((rule.pages, rule.listed_tags, rule.listing), (4, 4000, 0));
        let Scene { site, registry } = scene;
        let store = site.kill().await;
        registry.fall_silent_after(None);
        let before = registry.take();
        assert!(lists(&before)[4].what.ends_with("last=1.3999.0"), "{:?}", before[4]);

        let scene = Scene { site: Site::over(store).await, registry };
        scene.site.settle().await;
        assert_eq!(scene.registry.lists(), 0, "its lease is not over");
        scene.site.pass(61 * SECOND).await;
        let asked = scene.registry.take();
        let pages: Vec<_> = lists(&asked).iter().map(|one| one.what.clone()).collect();
        assert_eq!((pages.len(), &pages[0]), (6, &lists(&before)[4].what), "it goes on: {pages:?}");
        assert_eq!(scene.figures().await, [9036, 1, 1, 0]);
        TIME.set(None);
    }
}

#[tokio::test]
async fn c11_a_rule_schedules_each_of_the_40_tags_that_it_is_about_and_they_are_imported() {
    for store in each_store().await {
        let others = ["2.7", "latest", "13.1", "3"].map(str::to_owned);
        let scene = Scene::start(store, numbered(40).chain(others)).await;
        let spec = ImportRuleSpec { interval_ms: Some(30 * MINUTE), ..scene.spec(PatternKind::Glob, "3.*") };
        scene.make(&spec).await;
        scene.site.settle().await;
        assert_eq!(scene.figures().await, [44, 40, 40, 0]);
        scene.site.pass(MINUTE).await;
        for name in numbered(40) {
            let tag = scene.tag(&name).await;
            assert_eq!(tag.source, Some(format!("{}:{name}", spec.repository)));
            assert_eq!((tag.scheduled, tag.interval_ms, tag.insecure), (1, Some(30 * MINUTE), 1), "{name}");
            assert!(tag.digest.is_some(), "{name} was imported");
        }
        let set = scene.told("tag.set").await;
        assert_eq!((set.len(), set[0].0.as_str()), (40, "import rule rule"));
        scene.registry.take();
        scene.site.pass(31 * MINUTE).await;
        let asked = scene.registry.take();
        let heads = asked.iter().filter(|one| one.method == Method::HEAD).count();
        assert!((40..=80).contains(&heads), "{heads} checks in one interval");
        // What is there already costs a listing and nothing else.
        scene.site.pass(HOUR).await;
        assert_eq!(scene.figures().await, [44, 40, 0, 0]);
        assert_eq!(scene.told("tag.set").await.len(), 40);
        TIME.set(None);
    }
}

#[tokio::test]
async fn the_newest_are_taken_and_what_is_no_longer_among_them_is_kept_and_not_checked() {
    for store in each_store().await {
        let scene = Scene::start(store, numbered(12)).await;
        scene.make(&ImportRuleSpec { newest: Some(2), ..scene.spec(PatternKind::Semver, "3.*") }).await;
        scene.site.pass(MINUTE).await;
        assert_eq!(scene.scheduled().await, ["3.10", "3.11"]);

        scene.registry.has("org/app", numbered(13));
        scene.site.pass(67 * MINUTE).await;
        assert_eq!(scene.figures().await, [13, 2, 1, 0]);
        assert_eq!(scene.scheduled().await, ["3.11", "3.12"]);
        let old = scene.tag("3.10").await;
        assert!(old.digest.is_some() && old.source.is_some(), "it stays: {old:?}");
        let history = scene.site.store.list_history(&old.id, None, 10).await.unwrap();
        assert_eq!(history.len(), 1);
        scene.site.pass(20 * MINUTE).await;
        scene.registry.take();
        scene.site.pass(HOUR).await;
        let asked = scene.registry.take();
        assert!(asked.iter().any(|one| one.what == "org/app:3.11"), "{asked:?}");
        assert!(!asked.iter().any(|one| one.what == "org/app:3.10"), "{asked:?}");

        // Once it is among them again, it is checked again, and not fetched again.
        scene.registry.has("org/app", numbered(12));
        scene.site.pass(67 * MINUTE).await;
        assert_eq!(scene.scheduled().await, ["3.10", "3.11"]);
        assert_eq!(scene.tag("3.10").await.generation, old.generation);
        let asked = scene.registry.take();
        let of_old: Vec<_> = asked.iter().filter(|one| one.what == "org/app:3.10").collect();
        assert!(!of_old.is_empty() && of_old.iter().all(|one| one.method == Method::HEAD), "{of_old:?}");
        TIME.set(None);
    }
}

#[tokio::test]
async fn what_people_set_or_delete_is_left_alone() {
    for store in each_store().await {
        let scene = Scene::start(store, numbered(5)).await;
        let (store, stream) = (&scene.site.store, "app".parse().unwrap());
        let set = async |name: &str, from: &str| {
            let spec = TagSpec { insecure: true, ..TagSpec::import(scene.registry.reference(from)) };
            store.set_tag("demo", &stream, &name.parse().unwrap(), &spec, None, &ada()).await.unwrap();
        };
        set("3.0", "other/app:1").await;
        // One that somebody deleted before there was a rule stands in nobody's way, nor one that is only waited for.
        set("3.4", "other/app:1").await;
        store.delete_tag("demo", "app", "3.4", &ada()).await.unwrap();
        let follow = TagSpec {
            source: Some((crate::model::SourceKind::ImageStreamTag, "3.3".to_owned())),
            ..TagSpec::default()
        };
        store.set_tag("demo", &stream, &"three".parse().unwrap(), &follow, None, &ada()).await.unwrap();
        scene.make(&scene.spec(PatternKind::Semver, "3.*")).await;
        scene.site.pass(MINUTE).await;
        assert_eq!(scene.figures().await, [5, 5, 4, 1]);
        assert!(scene.tag("3.0").await.source.unwrap().ends_with("other/app:1"));
        assert_eq!(scene.tag("three").await.digest, scene.tag("3.3").await.digest);

        store.delete_tag("demo", "app", "3.1", &ada()).await.unwrap();
        set("3.2", "other/app:2").await;
        scene.site.pass(67 * MINUTE).await;
        assert_eq!(scene.figures().await, [5, 5, 0, 3]);
        assert!(store.tag("demo", "app", "3.1").await.is_err(), "it stays deleted");
        assert!(scene.tag("3.2").await.source.unwrap().ends_with("other/app:2"));

        // Nor are they touched when the rule does not choose them any more, or goes.
        scene.change(&scene.spec(PatternKind::Semver, ">3.2")).await;
        scene.site.settle().await;
        assert_eq!(scene.figures().await, [5, 2, 0, 0]);
        assert_eq!(scene.scheduled().await, ["3.0", "3.2", "3.3", "3.4"]);
        store.delete_import_rule("demo", "app", "rule", &ada()).await.unwrap();
        scene.site.pass(2 * HOUR).await;
        assert_eq!(scene.scheduled().await, ["3.0", "3.2", "3.3", "3.4"]);
        assert_eq!(lists(&scene.registry.take()).len(), 2);
        TIME.set(None);
    }
}

#[tokio::test]
async fn a_changed_rule_is_followed_at_once_from_what_was_listed() {
    for store in each_store().await {
        let scene = Scene::start(store, numbered(12)).await;
        let mut spec = ImportRuleSpec { newest: Some(2), ..scene.spec(PatternKind::Semver, "3.*") };
        scene.make(&spec).await;
        scene.site.pass(MINUTE).await;
        let digest = scene.tag("3.11").await.digest;
        assert_eq!(lists(&scene.registry.take()).len(), 1);

        (spec.tag_order, spec.newest, spec.interval_ms) = (TagOrder::Natural, Some(3), Some(HOUR));
        scene.change(&spec).await;
        scene.site.pass(MINUTE).await;
        assert_eq!(scene.figures().await, [12, 3, 1, 0]);
        let tag = scene.tag("3.11").await;
        assert_eq!((tag.interval_ms, &tag.digest), (Some(HOUR), &digest));
        spec.import_mode = "Legacy".to_owned();
        scene.change(&spec).await;
        scene.site.pass(MINUTE).await;
        assert_eq!(scene.figures().await, [12, 3, 0, 0]);
        let tag = scene.tag("3.11").await;
        assert_eq!((tag.import_mode.as_str(), tag.scheduled), ("Legacy", 1));
        assert_eq!(lists(&scene.registry.take()), [] as [&Asked; 0], "nothing was listed for it");

        // Another repository is another list.
        scene.registry.has("org/other", ["3.11".to_owned(), "4.0".to_owned()]);
        spec.repository = scene.registry.reference("org/other");
        scene.change(&spec).await;
        scene.site.pass(MINUTE).await;
        assert_eq!(scene.figures().await, [2, 1, 0, 0]);
        assert_eq!(scene.scheduled().await, ["3.11"]);
        let tag = scene.tag("3.11").await;
        assert_eq!(tag.source, Some(spec.source("3.11")));
        assert_ne!(tag.digest, digest, "it is another image there");
        TIME.set(None);
    }
}

#[tokio::test]
async fn a_refusal_rests_the_registry_and_the_listing_goes_on_after_it() {
    for store in each_store().await {
        let scene = Scene::start(store, (0..2500).map(|number| format!("1.{number}.0"))).await;
        scene.site.follow("demo", "base:1", &scene.registry.reference("org/base:1")).await;
        scene.site.pass(MINUTE).await;
        scene.registry.take();
        scene.registry.refuse(Some((429, vec![("retry-after", "1800".to_owned())], "")));
        scene.make(&scene.spec(PatternKind::Semver, "=1.7.0")).await;
        scene.site.settle().await;
        let rule = scene.rule().await;
        assert_eq!((rule.outcome.as_str(), rule.failures), ("failed", 1));
        assert!(rule.reason.as_deref().is_some_and(|reason| reason.ends_with("-limit")), "{:?}", rule.reason);
        let state = scene.site.store.find_budget(&scene.registry.address).await.unwrap().unwrap();
        assert_eq!(state.rests_until(now()), Some(now() + 1800 * SECOND));
        assert_eq!(scene.registry.take().len(), 1);
        // Nobody is asked anything there until then, and a person's wish is not forgotten.
        scene.registry.refuse(None);
        scene.site.store.request_listing("demo", "app", "rule", &ada()).await.unwrap();
        scene.site.pass(1799 * SECOND).await;
        assert_eq!(scene.registry.take(), []);
        scene.site.pass(2 * MINUTE).await;
        assert_eq!(scene.figures().await, [2500, 1, 1, 0]);
        let asked = scene.registry.take();
        assert_eq!(lists(&asked).len(), 3, "{asked:?}");
        assert_eq!(scene.told("import-rule.fail").await.len(), 1);
        assert_eq!(scene.told("import-rule.recover").await.len(), 1);
        TIME.set(None);
    }
}

#[tokio::test]
async fn what_fails_is_tried_less_and_less_often_and_tags_stay_as_they_are() {
    let scene = Scene::start(quick_store().await, (0..2500).map(|number| format!("1.{number}.0"))).await;
    scene.make(&ImportRuleSpec { newest: Some(1), ..scene.spec(PatternKind::Semver, "*") }).await;
    scene.site.pass(MINUTE).await;
    scene.registry.take();
    // It ends in the middle: the pages that came are kept, the tags stay, and they are checked all the same.
    scene.registry.refuse_next_pages(Some(503));
    scene.site.pass(12 * HOUR).await;
    let rule = scene.rule().await;
    assert_eq!((rule.outcome.as_str(), rule.reason.as_deref()), ("failed", Some("upstream")));
    assert!(rule.message.as_deref().is_some_and(|message| message.contains("503")), "{:?}", rule.message);
    assert_eq!((rule.seen, rule.chosen), (2500, 1), "what was listed before is still told");
    let asked = scene.registry.take();
    let tries: Vec<i64> = lists(&asked).into_iter().filter(|one| one.status == 503).map(|one| one.at).collect();
    let waits: Vec<i64> = tries.windows(2).map(|pair| (pair[1] - pair[0]) / MINUTE).collect();
    for (wait, least) in waits.iter().zip([5, 10, 20, 40, 60, 60]) {
        assert!((least..=least * 11 / 10 + 1).contains(wait), "{waits:?}");
    }
    let began = beginnings(&asked);
    let early = began.iter().filter(|at| **at < began[0] + HOUR).count();
    assert_eq!(early, 1, "the first page is not asked for again as long as it is of use");
    assert_eq!(scene.scheduled().await, ["1.2499.0"]);
    assert!(asked.iter().any(|one| one.method == Method::HEAD && one.what == "org/app:1.2499.0"));
    scene.registry.refuse_next_pages(None);
    scene.registry.has("org/app", ["1.2499.0".to_owned()]);
    scene.site.pass(2 * HOUR).await;
    assert_eq!(scene.rule().await.outcome, "ok");

    // A repository that is gone is a failure, not an empty list.
    scene.registry.has_not("org/app");
    scene.site.pass(70 * MINUTE).await;
    let rule = scene.rule().await;
    assert_eq!((rule.outcome.as_str(), rule.reason.as_deref()), ("failed", Some("not-found")), "{rule:?}");
    assert_eq!(scene.scheduled().await, ["1.2499.0"]);
    TIME.set(None);
}

#[tokio::test]
async fn check_now_lists_early_but_not_again_and_again_and_a_paused_rule_not_at_all() {
    let scene = Scene::start(quick_store().await, numbered(3)).await;
    let spec = scene.spec(PatternKind::All, "");
    scene.make(&spec).await;
    scene.site.pass(10 * MINUTE).await;
    scene.registry.take();
    let wish = async || scene.site.store.request_listing("demo", "app", "rule", &ada()).await;
    scene.registry.has("org/app", numbered(4));
    wish().await.unwrap();
    scene.site.settle().await;
    assert_eq!(scene.figures().await, [4, 4, 1, 0]);
    let rule = wish().await.unwrap();
    assert!(rule.next_listing_at().is_some_and(|at| at >= now() + 59 * SECOND), "{rule:?}");
    scene.site.pass(50 * SECOND).await;
    assert_eq!(lists(&scene.registry.take()).len(), 1, "it was listed a moment ago");
    scene.site.pass(20 * SECOND).await;
    assert_eq!(lists(&scene.registry.take()).len(), 1);

    scene.site.store.update_import_rule("demo", "app", "rule", &spec, true, None, &ada()).await.unwrap();
    assert!(wish().await.is_err_and(|error| error.to_string().contains("resume it first")));
    scene.site.pass(5 * HOUR).await;
    assert_eq!(lists(&scene.registry.take()).len(), 0);
    assert_eq!(scene.scheduled().await.len(), 4, "its tags are checked all the same");
    scene.change(&spec).await;
    scene.site.settle().await;
    assert_eq!(lists(&scene.registry.take()).len(), 1);
    TIME.set(None);
}

#[tokio::test]
async fn a_tag_is_one_rules_alone() {
    let scene = Scene::start(quick_store().await, numbered(3)).await;
    let spec = scene.spec(PatternKind::All, "");
    scene.make(&spec).await;
    scene.site.settle().await;
    let name = "other".parse().unwrap();
    scene.site.store.create_import_rule("demo", "app", Some(&name), &spec, false, &ada()).await.unwrap();
    scene.site.settle().await;
    let other = async || scene.site.store.load_import_rule("demo", "app", "other").await.unwrap();
    assert_eq!((other().await.chosen, other().await.made, other().await.left_alone), (3, 0, 3));
    scene.site.store.delete_import_rule("demo", "app", "rule", &ada()).await.unwrap();
    scene.site.pass(67 * MINUTE).await;
    assert_eq!((other().await.listing, other().await.left_alone), (2, 3), "they were there before");
    assert_eq!(scene.scheduled().await.len(), 3, "they go on following");
    TIME.set(None);
}

#[tokio::test]
async fn what_is_let_go_does_not_fail_for_ever() {
    for store in each_store().await {
        let scene = Scene::start(store, numbered(12)).await;
        scene.make(&ImportRuleSpec { newest: Some(2), ..scene.spec(PatternKind::Semver, "3.*") }).await;
        scene.site.pass(MINUTE).await;
        scene.registry.refuse(Some((503, Vec::new(), "")));
        scene.site.pass(20 * MINUTE).await;
        assert_eq!(scene.site.import("demo", "app:3.10").await.outcome, "failed");
        // One of the two is being checked when it is let go.
        let (store, tag) = (&scene.site.store, scene.tag("3.10").await);
        let due = store.claim_import(&tag.id, store.owner(), 60_000).await.unwrap().expect("nobody is at it");
        scene.change(&scene.spec(PatternKind::Semver, "=3.11")).await;
        scene.site.settle().await;
        let failed = CheckEnd::Failed { reason: "upstream", message: "no" };
        let next = NextCheck { at: now() + HOUR, overdue_at: now() + HOUR };
        store.record_check(&due, &failed, Some(next)).await.unwrap();
        let import = scene.site.import("demo", "app:3.10").await;
        assert_eq!((import.outcome.as_str(), import.failures, import.failing_since), ("unchanged", 0, None));
        assert_eq!((import.next_at, import.message), (None, None));
        let told = ("import rule rule".to_owned(), "app:3.10".to_owned());
        assert_eq!(scene.told("import.recover").await, [told]);
        TIME.set(None);
    }
}

#[tokio::test]
async fn a_list_that_goes_in_circles_is_not_the_whole_list() {
    let scene = Scene::start(quick_store().await, (0..2500).map(|number| format!("1.{number}.0"))).await;
    scene.make(&ImportRuleSpec { newest: Some(1), ..scene.spec(PatternKind::Semver, "*") }).await;
    scene.site.settle().await;
    let budget = scene.site.store.find_budget(&scene.registry.address).await.unwrap().expect("it was asked");
    assert!(budget.next_slot_at >= START + 3 * budget.gap_ms, "three pages took three of the registry's turns");
    scene.site.pass(MINUTE).await;
    assert_eq!(scene.scheduled().await, ["1.2499.0"]);
    scene.registry.go_in_circles(true);
    scene.site.pass(67 * MINUTE).await;
    let rule = scene.rule().await;
    assert_eq!((rule.outcome.as_str(), rule.reason.as_deref(), rule.pages), ("failed", Some("upstream"), 0));
    assert_eq!(scene.scheduled().await, ["1.2499.0"], "tags that it did not come to are still there");
    scene.registry.go_in_circles(false);
    scene.site.pass(12 * MINUTE).await;
    assert_eq!(scene.figures().await, [2500, 1, 0, 0]);
    TIME.set(None);
}

#[tokio::test]
async fn a_list_that_is_too_long_is_given_up_and_begun_anew() {
    let scene = Scene::start(quick_store().await, (0..3500).map(|number| format!("1.{number}.0"))).await;
    scene.make(&scene.spec(PatternKind::Semver, "=1.7.0")).await;
    scene.registry.refuse_next_pages(Some(503));
    scene.site.settle().await;
    run(&scene.site.store, "update import_rules set listed_tags = 200001").await;
    scene.registry.refuse_next_pages(None);
    scene.site.pass(7 * MINUTE).await;
    let rule = scene.rule().await;
    assert_eq!((rule.outcome.as_str(), rule.reason.as_deref(), rule.pages), ("failed", Some("too-many-tags"), 0));
    scene.site.pass(61 * MINUTE).await;
    assert_eq!(scene.figures().await, [3500, 1, 1, 0]);
    TIME.set(None);
}

#[tokio::test]
async fn the_last_page_of_a_list_and_names_that_are_no_tags_count_too() {
    let bad = (0..500).map(|number| format!(".{number}"));
    let scene = Scene::start(quick_store().await, (0..1000).map(|number| format!("1.{number}.0")).chain(bad)).await;
    scene.make(&scene.spec(PatternKind::Semver, "=1.7.0")).await;
    scene.registry.refuse_next_pages(Some(503));
    scene.site.settle().await;
    assert_eq!(scene.rule().await.listed_tags, 1000);
    run(&scene.site.store, "update import_rules set listed_tags = 199501").await;
    scene.registry.refuse_next_pages(None);
    scene.site.pass(7 * MINUTE).await;
    let rule = scene.rule().await;
    assert_eq!((rule.outcome.as_str(), rule.reason.as_deref()), ("failed", Some("too-many-tags")));
    TIME.set(None);
}

#[tokio::test]
async fn pages_of_long_ago_are_not_joined_with_new_ones() {
    let scene = Scene::start(quick_store().await, (0..2500).map(|number| format!("1.{number}.0"))).await;
    scene.make(&scene.spec(PatternKind::Semver, "=1.7.0")).await;
    scene.registry.refuse_next_pages(Some(503));
    scene.site.settle().await;
    assert_eq!(scene.rule().await.pages, 1);
    run(&scene.site.store, "update import_rules set began_at = began_at - 3600000").await;
    scene.registry.take();
    scene.registry.refuse_next_pages(None);
    scene.site.pass(7 * MINUTE).await;
    assert_eq!(scene.figures().await, [2500, 1, 1, 0]);
    let asked = scene.registry.take();
    assert_eq!((beginnings(&asked).len(), lists(&asked).len()), (1, 3), "{asked:?}");
    TIME.set(None);
}

#[tokio::test]
async fn a_long_list_gives_its_place_to_others_and_is_gone_on_with() {
    for store in each_store().await {
        let mut scene = Scene::start(store, (0..4500).map(|number| format!("1.{number}.0"))).await;
        scene.site.rules.run = Duration::ZERO;
        scene.make(&ImportRuleSpec { newest: Some(1), ..scene.spec(PatternKind::Semver, "1.*") }).await;
        scene.site.settle().await;
        assert_eq!((scene.rule().await.pages, lists(&scene.registry.asked()).len()), (1, 1));
        scene.site.pass(5 * MINUTE).await;
        assert_eq!(scene.figures().await[0], 4500);
        assert_eq!(lists(&scene.registry.take()).len(), 5, "each page once");
        TIME.set(None);
    }
}

#[tokio::test]
async fn a_list_that_would_not_come_to_its_end_within_its_interval_is_a_failure_and_begins_anew() {
    let mut scene = Scene::start(quick_store().await, (0..70_000).map(|number| format!("t{number}"))).await;
    scene.site.rules.run = Duration::from_secs(60);
    scene.registry.one_page_takes(61 * SECOND);
    scene.make(&ImportRuleSpec { newest: Some(1), ..scene.spec(PatternKind::All, "") }).await;
    scene.site.pass(90 * MINUTE).await;
    let rule = scene.rule().await;
    assert_eq!((rule.outcome.as_str(), rule.reason.as_deref()), ("failed", Some("timeout")), "{rule:?}");
    assert!(rule.message.as_deref().unwrap_or_default().contains("did not come to its end"), "{rule:?}");
    TIME.set(None);
}

#[tokio::test]
async fn c16_a_hint_of_a_new_tag_brings_the_listing_of_the_rule_that_wants_it_forward() {
    for store in each_store().await {
        let scene = Scene::start(store, ["3.1", "3.2"].map(str::to_owned)).await;
        scene.make(&scene.spec(PatternKind::Glob, "3.*")).await;
        scene.site.pass(5 * MINUTE).await;
        assert_eq!(scene.scheduled().await, ["3.1", "3.2"]);
        scene.registry.take();
        let id = scene.site.store.find_project("demo").await.unwrap().unwrap().id;
        let hint = async |repository: &str, tag: Option<&str>| {
            scene.site.store.hint_imports(&id, repository, tag, MINUTE).await.unwrap().listings
        };
        assert_eq!(hint("org/app", Some("2.9")).await, 0, "the rule does not want it");
        assert_eq!(hint("org/other", Some("3.3")).await, 0, "it is elsewhere");
        assert_eq!(hint("org/app", Some("3.1")).await, 0, "it is here, and checked");
        scene.registry.has("org/app", ["3.1", "3.2", "3.3"].map(str::to_owned));
        assert_eq!(hint("org/app", Some("3.3")).await, 1);
        assert_eq!(hint("org/app", Some("3.3")).await, 0, "once is enough");
        scene.site.settle().await;
        assert_eq!(scene.scheduled().await, ["3.1", "3.2", "3.3"]);
        assert_eq!(lists(&scene.registry.take()).len(), 1);

        // A flood lists once a minute at the most.
        for flood in 0..100 {
            hint("org/app", if flood % 2 == 0 { Some("3.4") } else { None }).await;
            scene.site.settle().await;
        }
        assert_eq!(lists(&scene.registry.take()).len(), 0, "a minute has not passed");
        scene.site.pass(MINUTE + SECOND).await;
        assert_eq!(lists(&scene.registry.take()).len(), 1);

        // What comes while it is being listed may be behind the page where that is.
        let rule = scene.site.store.request_listing("demo", "app", "rule", &ada()).await.unwrap();
        TIME.set(Some(rule.not_before.max(now()) + SECOND));
        let claimed = scene.site.store.claim_import_rules(60_000, 1).await.unwrap();
        assert_eq!((claimed.len(), hint("org/app", Some("3.4")).await), (1, 1));
        scene.site.store.release_import_rule(&claimed[0]).await.unwrap();
        scene.site.settle().await;
        let next = scene.rule().await.next_at;
        assert_eq!(next, now() + MINUTE, "it is listed once more");
        TIME.set(None);
    }
}
