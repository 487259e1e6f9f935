//! How lists are read: to their end, not too often, and with patience where a registry refuses.

use super::*;

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
