//! What keeps checks and what they find back, by the clock: cool-downs (C15 of the list of pains), paused registries, and long downloads.

use axum::http::Method;

use super::testing::{Allows, HOUR, MINUTE, Registry, SECOND, Site};
use crate::model::time::testing::TIME;
use crate::model::{Actor, Tag, TagEvent, now};
use crate::server::controllers::step;
use crate::server::importer::Selection;
use crate::server::store::TagSpec;
use crate::server::store::testing::{each_store, quick_store};

/// The tag follows the reference with a cool-down of an hour.
async fn follow(site: &Site, registry: &Registry) -> Tag {
    site.project("demo").await;
    let reference = registry.reference("org/base:1");
    let spec = TagSpec { insecure: true, cool_down_ms: Some(HOUR), ..TagSpec::import(reference) };
    let names = ("base".parse().expect("a name"), "1".parse().expect("a name"));
    site.store.set_tag("demo", &names.0, &names.1, &spec, None, &Actor::person("ada")).await.expect("set");
    site.settle().await;
    site.tag("demo", "base:1").await
}

async fn history(site: &Site) -> Vec<TagEvent> {
    let tag = site.tag("demo", "base:1").await;
    site.store.list_history(&tag.id, None, 100).await.expect("its history")
}

/// What waits, and since when.
async fn cooling(site: &Site) -> Option<(String, i64)> {
    let import = site.import("demo", "base:1").await;
    import.cooling(&site.tag("demo", "base:1").await).map(|one| (one.digest.to_owned(), one.first_seen_at))
}

#[tokio::test]
async fn c15_what_is_new_is_adopted_when_weir_has_known_it_for_the_cool_down() {
    for store in each_store().await {
        let site = Site::start(store).await;
        let registry = Registry::start(Allows::default()).await;
        let first = follow(&site, &registry).await;
        assert!(first.digest.is_some(), "the first image is adopted at once");
        registry.take();
        registry.change("org/base:1");
        site.pass(15 * MINUTE).await;
        let (digest, since) = cooling(&site).await.expect("it waits");
        assert_eq!(site.import("demo", "base:1").await.outcome, "waiting");
        // Looking again is no way around it.
        site.store.request_check("demo", "base", "1", &Actor::person("ada")).await.unwrap();
        site.pass(since + HOUR - SECOND - now()).await;
        assert_eq!(site.tag("demo", "base:1").await.digest, first.digest);
        assert_eq!(history(&site).await.len(), 1, "waiting is no row");
        let asked = registry.take();
        assert!(asked.iter().all(|one| one.method == Method::HEAD), "nothing of it is fetched before: {asked:?}");
        site.pass(15 * MINUTE).await;
        let tag = site.tag("demo", "base:1").await;
        assert_eq!(tag.digest, Some(digest));
        let waited = tag.moved_at.unwrap() - since;
        assert!((HOUR..=HOUR + 15 * MINUTE).contains(&waited), "{waited} ms");
        let rows = history(&site).await;
        let who: Vec<_> = rows.iter().map(|row| row.actor.as_str()).collect();
        assert_eq!(who, ["schedule", "ada"], "the first import is hers who said what the tag should be");
        assert_eq!(cooling(&site).await, None);
        site.pass(2 * HOUR).await;
        assert_eq!((history(&site).await.len(), registry.refused()), (2, 0));
        TIME.set(None);
    }
}

#[tokio::test]
async fn c15_what_was_replaced_within_its_cool_down_never_comes_and_going_back_ends_the_waiting() {
    let site = Site::start(quick_store().await).await;
    let registry = Registry::start(Allows::default()).await;
    let first = follow(&site, &registry).await;
    registry.change("org/base:1");
    site.pass(30 * MINUTE).await;
    let (bad, _) = cooling(&site).await.expect("it waits");
    registry.change("org/base:1");
    site.pass(15 * MINUTE).await;
    let (fixed, since) = cooling(&site).await.expect("it waits");
    assert_ne!(bad, fixed);
    site.pass(2 * HOUR).await;
    let digests: Vec<_> = history(&site).await.into_iter().map(|row| row.digest.unwrap_or_default()).collect();
    assert_eq!(digests, [fixed.clone(), first.digest.clone().unwrap()], "newest first, and the bad one is not there");
    assert!(site.tag("demo", "base:1").await.moved_at.unwrap() - since >= HOUR);

    registry.change("org/base:1");
    site.pass(15 * MINUTE).await;
    assert!(cooling(&site).await.is_some());
    registry.change_back("org/base:1");
    site.pass(15 * MINUTE).await;
    assert_eq!(cooling(&site).await, None);
    site.pass(2 * HOUR).await;
    assert_eq!((site.tag("demo", "base:1").await.digest, history(&site).await.len()), (Some(fixed), 2));
    TIME.set(None);
}

#[tokio::test]
async fn c15_a_source_that_changes_more_often_than_the_cool_down_does_not_shut_the_gate() {
    let site = Site::start(quick_store().await).await;
    let registry = Registry::start(Allows::default()).await;
    follow(&site, &registry).await;
    for _ in 0..16 {
        registry.change("org/base:1");
        site.pass(30 * MINUTE).await;
    }
    let rows = history(&site).await;
    assert!((4..=8).contains(&rows.len()), "{} rows in eight hours", rows.len());
    let reference = registry.reference("org/base@");
    assert!(rows.iter().all(|row| row.reference.as_deref().unwrap_or_default().starts_with(&reference)));
    // What is withdrawn before it is old enough never comes, and keeps nothing from coming.
    registry.change("org/base:1");
    site.pass(15 * MINUTE).await;
    let (withdrawn, _) = cooling(&site).await.expect("it waits");
    registry.withdraw("org/base:1");
    for _ in 0..6 {
        registry.change("org/base:1");
        site.pass(30 * MINUTE).await;
    }
    let after = history(&site).await;
    assert!(after.len() > rows.len(), "{} rows", after.len());
    assert!(after.iter().all(|row| row.digest.as_deref() != Some(&*withdrawn)));
    assert_eq!(site.import("demo", "base:1").await.failing_since, None);
    TIME.set(None);
}

#[tokio::test]
async fn a_person_lets_it_pass_and_holds_and_rejections_stay_what_they_are() {
    let site = Site::start(quick_store().await).await;
    let registry = Registry::start(Allows::default()).await;
    let first = follow(&site, &registry).await;
    let (store, ada) = (&site.store, Actor::person("ada"));
    registry.change("org/base:1");
    site.pass(15 * MINUTE).await;
    let (digest, _) = cooling(&site).await.expect("it waits");
    store.adopt_now("demo", "base", "1", Some(&digest), &ada).await.unwrap();
    site.settle().await;
    let rows = history(&site).await;
    assert_eq!((rows[0].digest.as_deref(), rows[0].actor.as_str()), (Some(&*digest), "ada"));

    store.hold_tag("demo", "base", "1", None, &ada).await.unwrap();
    registry.change("org/base:1");
    site.pass(90 * MINUTE).await;
    assert_eq!(cooling(&site).await, None);
    let tag = site.tag("demo", "base:1").await;
    assert_eq!(tag.digest, Some(digest), "it is held");
    let waiting = store.tag_waiting(&tag.id).await.unwrap().expect("what a hold keeps back");
    assert_eq!((waiting.actor.as_str(), history(&site).await.len()), ("schedule", 3), "one row says so");
    site.pass(6 * HOUR).await;
    assert_eq!(history(&site).await.len(), 3);
    assert_ne!(waiting.digest, first.digest);
    TIME.set(None);
}

#[tokio::test]
async fn a_paused_registry_is_asked_nothing_and_its_tags_say_why() {
    for store in each_store().await {
        let site = Site::start(store).await;
        let (paused, other) = (Registry::start(Allows::default()).await, Registry::start(Allows::default()).await);
        let ada = Actor::person("ada");
        site.project("demo").await;
        site.follow("demo", "base:1", &paused.reference("org/base:1")).await;
        site.follow("demo", "other:1", &other.reference("org/other:1")).await;
        site.settle().await;
        let host = paused.address.clone();
        site.store.pause_registry(&host, Some("it moves to another house"), &ada).await.unwrap();
        paused.take();
        other.take();
        site.pass(2 * HOUR).await;
        assert_eq!((paused.take(), other.take().is_empty()), (Vec::new(), false));
        let import = site.import("demo", "base:1").await;
        assert_eq!((import.paused_by.as_deref(), import.is_overdue(now())), (Some("ada"), false));
        let id = site.store.find_project("demo").await.unwrap().unwrap().id;
        assert_eq!(site.store.count_overdue_imports(&id).await.unwrap(), 0);
        assert_eq!(site.store.list_imports("demo", "limited", "", 10).await.unwrap().len(), 1);
        let refused = site.store.request_check("demo", "base", "1", &ada).await.unwrap_err().to_string();
        assert!(refused.contains("paused by ada") && refused.contains("another house"), "{refused}");
        let look =
            site.imports.importer.look("demo", &paused.reference("org/base:1"), true, &Selection::default()).await;
        assert_eq!(look.err().map(|cause| cause.reason()), Some("paused"));
        site.pass(MINUTE).await;
        assert_eq!(paused.take(), []);

        site.store.resume_registry(&host, &ada).await.unwrap();
        site.settle().await;
        assert_eq!(paused.take().len(), 1);
        assert!(site.import("demo", "base:1").await.paused_by.is_none());
        TIME.set(None);
    }
}

#[tokio::test]
async fn long_downloads_keep_no_check_of_their_registry_waiting() {
    let site = Site::start(quick_store().await).await;
    let registry = Registry::start(Allows::default()).await;
    site.project("demo").await;
    for number in 0..30 {
        site.follow("demo", &format!("a:{number}"), &registry.reference(&format!("org/a:{number}"))).await;
    }
    site.pass(MINUTE).await;
    registry.hold_blobs();
    for number in 0..20 {
        registry.change(&format!("org/a:{number}"));
    }
    TIME.set(Some(now() + 16 * MINUTE));
    let due_at = now();
    registry.take();
    // Nobody's download ends, so that there is nothing to settle: it is looked a few times what can be done.
    for _ in 0..400 {
        step(&site.imports).await.expect("it works");
        TIME.set(Some(now() + 100));
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let asked = registry.asked();
    let downloads = asked.iter().filter(|one| one.what.contains("/blobs/")).count();
    assert!((1..=12).contains(&downloads), "{downloads} at a time");
    for number in 20..30 {
        let import = site.import("demo", &format!("a:{number}")).await;
        assert!(import.last_try_at.is_some_and(|at| at >= due_at), "a:{number} was not checked: {import:?}");
    }
    let manifests = asked.iter().filter(|one| one.method == Method::GET && !one.what.contains("/blobs/")).count();
    assert!(manifests <= 12, "what has no place is not asked for: {manifests}");
    registry.release_blobs();
    site.pass(MINUTE).await;
    for number in 0..20 {
        let import = site.import("demo", &format!("a:{number}")).await;
        assert_eq!((import.outcome.as_str(), import.found_at), ("ok", None), "a:{number}: {import:?}");
    }
    TIME.set(None);
}
