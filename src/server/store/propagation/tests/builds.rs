//! Changes flow down once each, and builds that fail or get lost stop nobody for ever.

use super::*;

#[tokio::test]
async fn a_change_flows_down_the_chain_in_order_once_each() {
    for world in World::demo().await {
        let pushed = world.push("base", "base 2").await;
        assert_eq!(world.trigger().await, ["httpd-base-2"], "what is further down waits for what is above it");
        let build = world.claim().await.unwrap();
        assert!(world.trigger().await.is_empty(), "nothing starts while the config above runs");
        world.complete(&build).await;
        assert_eq!(world.trigger().await, ["app-a-2", "app-b-2"]);
        assert_eq!(counts(&world.settle().await), "app-a 1, app-b 1");
        let newest = &world.history("app-a").await[0];
        assert_eq!(newest.cascade_id, pushed.cascade_id.unwrap(), "the cascade is inherited all the way down");
        assert!(newest.cause.is_some());
        let app = world.0.app("demo", "app-a").await.unwrap();
        assert_eq!((app.last_number, app.wanted_digest), (2, newest.digest.clone()));
        assert_eq!(world.0.verify_ledger().await.unwrap().1, []);
    }
}

#[tokio::test]
async fn a_diamond_builds_its_bottom_once() {
    for world in World::each().await {
        world.push("base", "1").await;
        world.config("x", &["base"]).await;
        world.config("y", &["base"]).await;
        world.config("z", &["x", "y"]).await;
        world.settle().await;
        world.push("base", "2").await;
        assert_eq!(counts(&world.settle().await), "x 1, y 1, z 1");
    }
}

#[tokio::test]
async fn two_hundred_dependents_build_once_each() {
    for world in World::each().await {
        world.push("base", "1").await;
        for n in 0..200 {
            world.config(&format!("app-{n}"), &["base"]).await;
        }
        assert_eq!(world.trigger().await.len(), 200, "all are requested at once");
        let built = world.settle().await;
        assert_eq!((built.len(), built.values().sum::<usize>()), (200, 200));
        world.push("base", "2").await;
        assert_eq!(world.trigger().await.len(), 200);
    }
}

#[tokio::test]
async fn fifty_notices_of_one_change_make_one_build() {
    for world in World::demo().await {
        world.push("base", "base 2").await;
        let notices = (0..50).map(|_| world.0.request_ready_builds());
        let requested: Vec<Build> =
            futures_util::future::join_all(notices).await.into_iter().flat_map(Result::unwrap).collect();
        assert_eq!(requested.len(), 1);
    }
}

#[tokio::test]
async fn five_quick_pushes_build_each_dependent_at_most_twice() {
    for world in World::demo().await {
        world.push("base", "base 2").await;
        world.trigger().await;
        let first = world.claim().await.unwrap();
        for n in 3..=6 {
            world.push("base", &format!("base {n}")).await;
            world.trigger().await;
        }
        world.complete(&first).await;
        assert_eq!(
            counts(&world.settle().await),
            "app-a 1, app-b 1, httpd-base 1",
            "and one more of httpd-base before them"
        );
    }
}

#[tokio::test]
async fn a_failed_or_cancelled_middle_stops_the_way_and_counts_as_settled() {
    for phase in [BuildPhase::Failed, BuildPhase::Cancelled] {
        for world in World::demo().await {
            world.config("side", &["base", "httpd-base"]).await;
            world.settle().await;
            world.push("base", "base 2").await;
            world.trigger().await;
            let middle = world.claim().await.unwrap();
            assert_eq!(middle.config, "httpd-base");
            world.end(&middle, phase).await;
            assert_eq!(counts(&world.settle().await), "side 1", "what does not need the failed image goes on");
            assert!(world.trigger().await.is_empty(), "a failed build is not repeated by itself");
        }
    }
}

#[tokio::test]
async fn a_config_edited_while_it_builds_uses_the_edit_next_time() {
    for world in World::demo().await {
        world.push("base", "base 2").await;
        world.trigger().await;
        let running = world.claim().await.unwrap();
        let mut fields = config("httpd-base", &["base"]);
        fields.spec.no_cache = true;
        world.0.update_config("demo", "httpd-base", &fields, None, &anna()).await.unwrap();
        assert!(world.trigger().await.is_empty(), "an edit does not build");
        assert!(!running.spec().unwrap().no_cache, "the running build is what was requested");
        world.complete(&running).await;
        world.settle().await;
        world.push("base", "base 3").await;
        world.trigger().await;
        assert!(world.claim().await.unwrap().spec().unwrap().no_cache);
    }
}

#[tokio::test]
async fn a_config_that_feeds_itself_is_refused_with_the_way() {
    for world in World::demo().await {
        let own = world.0.create_config("demo", &"self".parse().unwrap(), &config("self", &["self"]), &anna()).await;
        assert!(matches!(own, Err(Error::Invalid { message, .. }) if message.contains("self:latest → self:latest")));
        let round =
            world.0.update_config("demo", "httpd-base", &config("httpd-base", &["base", "app-a"]), None, &anna()).await;
        let Err(Error::Invalid { message, .. }) = round else { panic!("a cycle was accepted") };
        assert!(message.ends_with("httpd-base:latest → app-a:latest → httpd-base:latest"), "{message}");
    }
}

#[tokio::test]
async fn a_lost_build_is_marked_and_requested_again() {
    for world in World::demo().await {
        let started = world.0.start_build("demo", "httpd-base", BuildRequest::manual(anna())).await.unwrap();
        let claimed = world.claim().await.unwrap();
        assert_eq!(claimed.id, started.id);
        world.0.end_all_leases().await.unwrap();
        let lost = world.0.list_lost_builds().await.unwrap();
        assert_eq!(lost.len(), 1);
        world.0.give_up_build(&lost[0], Lost::Worker).await.unwrap();
        let marked = world.0.build_by_id(&started.id).await.unwrap();
        assert_eq!(marked.phase, BuildPhase::Error);
        let retry = world.claim().await.unwrap();
        assert_eq!((retry.number, retry.attempt, retry.cascade_id), (started.number + 1, 2, started.cascade_id));
        let spec = claimed.spec().unwrap();
        let stream = world.0.stream("demo", "httpd-base").await.unwrap();
        let to = TagMove {
            tag: &spec.output_tag,
            kind: EventKind::Build,
            reference: None,
            cause: None,
            build_id: Some(&claimed.id),
        };
        let late = world.0.put_manifest(&stream, &image("late"), Some(to), &Actor::build("late")).await;
        assert!(matches!(late, Err(Error::Conflict(_))), "what a lost build still delivers is not taken");
    }
}

#[tokio::test]
async fn builds_that_end_with_the_server_are_tried_again_and_those_that_end_it_only_so_often() {
    for world in World::demo().await {
        world.0.start_build("demo", "httpd-base", BuildRequest::manual(anna())).await.unwrap();
        let mut attempts = Vec::new();
        for lost in [Lost::Stop, Lost::Stop, Lost::Worker, Lost::Stop, Lost::Worker, Lost::Worker] {
            let build = world.claim().await.unwrap();
            attempts.push(build.attempt);
            world.0.give_up_build(&build, lost).await.unwrap();
        }
        assert_eq!(attempts, [1, 1, 1, 2, 2, 3]);
        assert!(world.claim().await.is_none(), "the third worker that it took was the last");
    }
}

#[tokio::test]
async fn a_lost_build_whose_image_arrived_is_complete() {
    for world in World::demo().await {
        world.0.start_build("demo", "httpd-base", BuildRequest::manual(anna())).await.unwrap();
        let build = world.claim().await.unwrap();
        let stream = world.0.stream("demo", "httpd-base").await.unwrap();
        let tag = build.spec().unwrap().output_tag;
        let to = TagMove { tag: &tag, kind: EventKind::Build, reference: None, cause: None, build_id: Some(&build.id) };
        world.0.put_manifest(&stream, &image("made"), Some(to), &Actor::build(build.name())).await.unwrap();
        world.0.give_up_build(&build, Lost::Worker).await.unwrap();
        let ended = world.0.build_by_id(&build.id).await.unwrap();
        assert_eq!((ended.phase, ended.output_digest), (BuildPhase::Complete, Some(digest("made"))));
        assert!(ended.output_sequence.is_some());
    }
}
