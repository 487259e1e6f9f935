//! Lists that do not end, end oddly, or take long.

use super::*;

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
