//! What rules make of the tags that they are about, and what people do to those.

use super::*;

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
