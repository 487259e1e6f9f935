//! What a freeze holds up, what goes all the same, and that nothing is lost or done twice when it ends.

use super::{World, anna, config, counts, digest, tag_of};
use crate::model::time::testing::TIME;
use crate::model::{Action, AppSpec, Build, Freeze, HoldUntil, RollbackMode, now};
use crate::server::store::{AppFields, Lost, NewFreeze};

const HOUR: i64 = 3_600_000;

impl World {
    async fn freeze(&self, project: &str, ends_at: Option<i64>) -> Freeze {
        let new = NewFreeze { begins_at: None, ends_at, reason: "the sale" };
        self.0.freeze_project(project, &new, &anna()).await.unwrap()
    }

    async fn is_behind(&self, app: &str) -> bool {
        self.0.app("demo", app).await.unwrap().is_behind()
    }
}

#[tokio::test]
async fn what_a_push_leads_to_waits_and_goes_once_when_the_time_is_over() {
    for world in World::demo().await {
        let end = now() + HOUR;
        world.freeze("demo", Some(end)).await;
        for n in 2..=4 {
            world.push("base", &format!("base {n}")).await;
            assert!(world.settle().await.is_empty());
        }
        assert_eq!(world.tag("base").await.digest, Some(digest("base 4")), "the tag itself moves");
        // Nobody wrote down that it is over: the time alone counts, also after a restart.
        TIME.set(Some(end));
        assert_eq!(counts(&world.settle().await), "app-a 1, app-b 1, httpd-base 1");
        assert!(world.settle().await.is_empty() && !world.is_behind("app-a").await);
        TIME.set(None);
    }
}

#[tokio::test]
async fn what_waits_goes_when_somebody_ends_the_freeze() {
    for world in World::demo().await {
        world.freeze("demo", None).await;
        world.push("app-a", "another app").await;
        world.push("base", "base 2").await;
        assert!(world.settle().await.is_empty() && world.is_behind("app-a").await);
        world.0.end_freeze("demo", 1, &anna()).await.unwrap();
        assert_eq!(counts(&world.settle().await), "app-a 1, app-b 1, httpd-base 1");
        assert!(!world.is_behind("app-a").await);
    }
}

#[tokio::test]
async fn in_a_freeze_a_rollback_runs_and_says_that_it_was_an_emergency() {
    for world in World::demo().await {
        let first = world.history("base").await[0].sequence;
        world.push("base", "base 2").await;
        world.settle().await;
        let freeze = world.freeze("demo", None).await;
        world.push("httpd-base", "pushed past its build").await;
        assert!(world.settle().await.is_empty(), "that waits");
        world.roll_back("base", first, RollbackMode::Rebuild).await;
        assert_eq!(counts(&world.settle().await), "app-a 1, app-b 1, httpd-base 1");
        assert!(!world.is_behind("app-a").await && !world.is_behind("app-b").await);
        let told = freeze.emergency(Some("it was bad"));
        assert_eq!(world.history("base").await[0].reason.as_deref(), Some(told.as_str()));
        let hold = world.0.tag_hold(&world.tag("base").await.id).await.unwrap().unwrap();
        assert_eq!(hold.reason.as_deref(), Some("it was bad"));
        assert_eq!(world.0.list_reasons("demo", 5).await.unwrap(), ["it was bad"], "it is offered as it was given");

        // So do an undo, a resumed tag, and what they lead to.
        let cascade = world.history("base").await[0].cascade_number.unwrap();
        assert!(world.0.undo_cascade("demo", cascade, &anna()).await.unwrap().apps > 0);
        world.settle().await;
        let reason = world.history("base").await[0].reason.clone().unwrap();
        assert!(reason.contains("(emergency: in freeze 1, frozen until somebody ends that)"), "{reason}");
        world.0.hold_tag("demo", "base", "latest", None, &anna()).await.unwrap();
        world.push("base", "base 3").await;
        world.0.resume_tag("demo", "base", "latest", &anna()).await.unwrap();
        assert_eq!(counts(&world.settle().await), "app-a 1, app-b 1, httpd-base 1");
        let reason = world.history("base").await[0].reason.clone().unwrap();
        assert!(reason.starts_with("resumed (emergency: in freeze 1"), "{reason}");
        let ledger = world.0.list_ledger(Some("demo"), None, 500).await.unwrap();
        let resumed = ledger.iter().find(|row| row.action == "tag.resume").unwrap();
        assert_eq!(resumed.reason, Some(freeze.emergency(None)));
    }
}

#[tokio::test]
async fn a_rollback_brings_nothing_along_that_waits_on_another_input() {
    for world in World::each().await {
        for stream in ["x", "y"] {
            world.push(stream, &format!("{stream} 1")).await;
        }
        world.config("z", &["x", "y"]).await;
        world.settle().await;
        let first = world.history("y").await[0].sequence;
        world.push("y", "y 2").await;
        assert_eq!(counts(&world.settle().await), "z 1");
        world.freeze("demo", None).await;
        world.push("x", "x 2").await;
        world.roll_back("y", first, RollbackMode::Rebuild).await;
        assert_eq!(world.trigger().await, ["z-3"]);
        let build = world.claim().await.unwrap();
        let used: Vec<_> = build.inputs().unwrap().into_iter().map(|input| input.digest.unwrap()).collect();
        assert_eq!(used, [digest("x 1"), digest("y 1")]);
        world.complete(&build).await;
        assert!(world.settle().await.is_empty());
        world.0.end_freeze("demo", 1, &anna()).await.unwrap();
        assert_eq!(world.trigger().await, ["z-4"], "what waited is not lost");
        let build = world.claim().await.unwrap();
        let used: Vec<_> = build.inputs().unwrap().into_iter().map(|input| input.digest.unwrap()).collect();
        assert_eq!(used, [digest("x 2"), digest("y 1")]);
    }
}

#[tokio::test]
async fn what_was_requested_before_a_freeze_is_built_in_it_and_leads_to_nothing_yet() {
    for world in World::demo().await {
        world.push("base", "base 2").await;
        assert_eq!(world.trigger().await, ["httpd-base-2"]);
        world.freeze("demo", None).await;
        world.push("base", "base 3").await;
        assert_eq!(counts(&world.settle().await), "httpd-base 1");
        let used = |build: &Build| build.inputs().unwrap()[0].digest.clone().unwrap();
        let built = world.0.find_build("demo", "httpd-base", 2).await.unwrap().unwrap();
        assert_eq!(used(&built), digest("base 2"), "what it was requested with");
        world.0.end_freeze("demo", 1, &anna()).await.unwrap();
        assert_eq!(counts(&world.settle().await), "app-a 1, app-b 1, httpd-base 1");
        let built = world.0.find_build("demo", "httpd-base", 3).await.unwrap().unwrap();
        assert_eq!(used(&built), digest("base 3"));
    }
}

#[tokio::test]
async fn a_build_that_is_lost_in_a_freeze_is_the_same_build_again() {
    for world in World::demo().await {
        world.push("base", "base 2").await;
        world.trigger().await;
        let lost = world.claim().await.unwrap();
        world.freeze("demo", None).await;
        world.push("base", "base 3").await;
        world.0.give_up_build(&lost, Lost::Worker).await.unwrap();
        let again = world.claim().await.unwrap();
        assert_eq!((again.number, again.inputs().unwrap()), (lost.number + 1, lost.inputs().unwrap()));
        world.complete(&again).await;
        assert!(world.settle().await.is_empty());
        world.0.end_freeze("demo", 1, &anna()).await.unwrap();
        assert_eq!(counts(&world.settle().await), "app-a 1, app-b 1, httpd-base 1", "what came since is not lost");
    }
}

/// What is cancelled or paused while it waits does not come when the freeze ends.
#[tokio::test]
async fn cascades_that_wait_are_cancelled_and_paused() {
    for world in World::demo().await {
        world.freeze("demo", None).await;
        world.push("app-a", "app-a 2").await;
        world.push("app-b", "app-b 2").await;
        let cascade = async |stream: &str| world.history(stream).await[0].cascade_number.unwrap();
        world.0.cancel_cascade("demo", cascade("app-a").await, &anna()).await.unwrap();
        world.0.pause_cascade("demo", cascade("app-b").await, true, &anna()).await.unwrap();
        world.0.end_freeze("demo", 1, &anna()).await.unwrap();
        world.settle().await;
        assert!(world.is_behind("app-a").await && world.is_behind("app-b").await);
        world.0.pause_cascade("demo", cascade("app-b").await, false, &anna()).await.unwrap();
        world.settle().await;
        assert!(world.is_behind("app-a").await && !world.is_behind("app-b").await);
        world.push("app-a", "app-a 3").await;
        world.settle().await;
        assert!(!world.is_behind("app-a").await, "another move is another matter");
    }
}

/// A rollback of the base in the modes that build nothing leaves nothing behind that is built when the freeze ends.
#[tokio::test]
async fn what_went_back_in_a_freeze_stays_back_when_it_ends() {
    for mode in [RollbackMode::Tag, RollbackMode::Restore] {
        for world in World::demo().await {
            let first = world.history("base").await[0].sequence;
            world.freeze("demo", None).await;
            world.push("base", "base 2").await;
            assert!(world.settle().await.is_empty());
            world.roll_back("base", first, mode).await;
            world.0.end_freeze("demo", 1, &anna()).await.unwrap();
            assert!(world.settle().await.is_empty(), "{mode:?}");
            assert!(!world.is_behind("app-a").await && !world.is_behind("app-b").await);
        }
    }
}

#[tokio::test]
async fn a_rollback_goes_on_beside_an_input_that_was_never_used() {
    for world in World::each().await {
        for stream in ["x", "y"] {
            world.push(stream, &format!("{stream} 1")).await;
        }
        world.config("z", &["x"]).await;
        world.settle().await;
        let first = world.history("x").await[0].sequence;
        world.push("x", "x 2").await;
        world.settle().await;
        world.freeze("demo", None).await;
        let fields = config("z", &["x", "y"]);
        world.0.update_config("demo", "z", &fields, None, &anna()).await.unwrap();
        world.roll_back("x", first, RollbackMode::Rebuild).await;
        world.push("y", "y 2").await;
        assert_eq!(counts(&world.settle().await), "z 1", "the rollback's, in the rollback's cascade");
        let build = world.0.find_build("demo", "z", 3).await.unwrap().unwrap();
        assert_eq!(Some(build.cascade_id), Some(world.history("x").await[0].cascade_id.clone()));
    }
}

#[tokio::test]
async fn an_app_goes_back_is_resumed_deployed_and_made_in_a_freeze() {
    for world in World::demo().await {
        let store = &world.0;
        world.push("app-a", "app-a 2").await;
        world.settle().await;
        let freeze = world.freeze("demo", None).await;
        let back = store.roll_back_app("demo", "app-a", 1, Some("slow"), HoldUntil::Resumed, &anna()).await.unwrap();
        assert_eq!(back.reason, Some(freeze.emergency(Some("slow"))));
        store.resume_app("demo", "app-a", &anna()).await.unwrap();
        world.settle().await;
        assert!(!world.is_behind("app-a").await, "resumed, it rolls");
        world.push("app-a", "app-a 3").await;
        world.settle().await;
        assert!(world.is_behind("app-a").await, "what came after that waits");
        let deployed = store.deploy_newest("demo", "app-a", &anna()).await.unwrap();
        assert_eq!(deployed.reason, Some(freeze.emergency(None)));
        assert!(!world.is_behind("app-a").await);
        world.app("new", "app-b").await;
        world.config("made", &["base"]).await;
        assert_eq!(counts(&world.settle().await), "made 1", "what is made in a freeze begins");
        assert!(store.app("demo", "new").await.unwrap().last_number == 1);
        // The time of a hold that comes is no word of anybody.
        store.hold_app("demo", "app-a", None, HoldUntil::Date(now() + HOUR), &anna()).await.unwrap();
        world.push("app-a", "app-a 4").await;
        TIME.set(Some(now() + HOUR));
        store.end_due_holds().await.unwrap();
        world.settle().await;
        assert!(world.is_behind("app-a").await);
        TIME.set(None);
    }
}

#[tokio::test]
async fn a_freeze_holds_up_what_comes_from_another_project_whoever_wants_it_there() {
    for world in World::demo().await {
        let store = &world.0;
        store.create_project(&"other".parse().unwrap(), "", "", None, &anna()).await.unwrap();
        let fields = AppFields {
            labels: "{}".to_owned(),
            annotations: "{}".to_owned(),
            spec: AppSpec::default(),
            image: tag_of("app-a"),
            automatic: true,
        };
        store.create_app("other", &"guest".parse().unwrap(), &fields, &anna()).await.unwrap();
        world.settle().await;
        let first = world.history("base").await[0].sequence;
        world.push("base", "base 2").await;
        world.settle().await;
        world.freeze("other", None).await;
        let tag = world.tag("base").await.id;
        let action = Action::Move { tag: &tag, dependents: true, decided: true };
        let waiting: Vec<_> = store.plan(&action).await.unwrap().waiting().map(|step| step.name.clone()).collect();
        assert_eq!(waiting, ["guest"]);
        world.roll_back("base", first, RollbackMode::Rebuild).await;
        assert_eq!(counts(&world.settle().await), "app-a 1, app-b 1, httpd-base 1", "the project itself is not frozen");
        assert!(store.app("other", "guest").await.unwrap().is_behind() && !world.is_behind("app-a").await);
        store.end_freeze("other", 1, &anna()).await.unwrap();
        world.settle().await;
        assert!(!store.app("other", "guest").await.unwrap().is_behind());
    }
}
