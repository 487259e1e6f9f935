//! Going back with tags and apps, with what is built on them or without, and undoing that.

use super::*;

#[tokio::test]
async fn rolling_a_tag_back_rebuilds_what_is_built_on_it_and_stays() {
    for world in World::demo().await {
        let first = world.history("base").await[0].sequence;
        world.push("base", "base 2").await;
        world.settle().await;
        let good = world.tag("app-a").await;
        world.roll_back("base", first, RollbackMode::Rebuild).await;
        assert_eq!(world.tag("base").await.digest, Some(digest("base 1")));
        assert_eq!(counts(&world.settle().await), "app-a 1, app-b 1, httpd-base 1");
        assert_ne!(world.tag("app-a").await.digest, good.digest);

        let again = world.push("base", "base 2").await;
        assert_eq!((again.outcome, again.changed), (Outcome::Rejected, true));
        let newer = world.push("base", "base 3").await;
        assert_eq!(newer.outcome, Outcome::Held);
        assert!(world.settle().await.is_empty());
        let base = world.tag("base").await;
        assert_eq!(base.digest, Some(digest("base 1")), "neither the rejected nor the newer image moves it");
        assert_eq!(world.0.tag_waiting(&base.id).await.unwrap().unwrap().digest, Some(digest("base 3")));

        world.0.resume_tag("demo", "base", "latest", &anna()).await.unwrap().unwrap();
        assert_eq!(world.tag("base").await.digest, Some(digest("base 3")));
        assert_eq!(counts(&world.settle().await), "app-a 1, app-b 1, httpd-base 1");
        assert_eq!(
            world.push("base", "base 2").await.outcome,
            Outcome::Rejected,
            "resuming does not forgive the bad image"
        );
    }
}

#[tokio::test]
async fn rolling_back_only_a_tag_leaves_its_dependents_alone() {
    for world in World::demo().await {
        let first = world.history("base").await[0].sequence;
        world.push("base", "base 2").await;
        world.settle().await;
        let kept = world.tag("app-a").await.digest;
        world.roll_back("base", first, RollbackMode::Tag).await;
        assert!(world.settle().await.is_empty());
        assert_eq!(world.tag("app-a").await.digest, kept);
    }
}

#[tokio::test]
async fn restoring_brings_dependents_back_without_builds() {
    for world in World::demo().await {
        let first = world.history("base").await[0].sequence;
        let then =
            [world.tag("httpd-base").await.digest, world.tag("app-a").await.digest, world.tag("app-b").await.digest];
        world.push("base", "base 2").await;
        world.settle().await;
        world.roll_back("base", first, RollbackMode::Restore).await;
        assert!(world.settle().await.is_empty(), "no build runs");
        let now =
            [world.tag("httpd-base").await.digest, world.tag("app-a").await.digest, world.tag("app-b").await.digest];
        assert_eq!(now, then);
        let app = world.0.app("demo", "app-a").await.unwrap();
        assert_eq!(app.wanted_digest, then[1], "the apps follow their tags back");
    }
}

#[tokio::test]
async fn what_a_rollback_settles_leaves_stale_what_another_move_brought() {
    for world in World::each().await {
        for stream in ["x", "y"] {
            world.push(stream, &format!("{stream} 1")).await;
        }
        world.config("z", &["x", "y"]).await;
        assert_eq!(counts(&world.settle().await), "z 1");
        let first = world.history("y").await[0].sequence;
        world.push("y", "y 2").await;
        assert_eq!(counts(&world.settle().await), "z 1");
        world.0.pause_config("demo", "z", true, &anna()).await.unwrap();
        world.push("x", "x 2").await;
        // Only this tag: what is built on it keeps what it has. Of the other one nobody said that.
        world.roll_back("y", first, RollbackMode::Tag).await;
        world.0.pause_config("demo", "z", false, &anna()).await.unwrap();
        assert_eq!(counts(&world.settle().await), "z 1");
        assert!(world.settle().await.is_empty());
    }
}

#[tokio::test]
async fn restoring_goes_back_to_before_an_undo_as_to_before_any_other_move() {
    for world in World::demo().await {
        let first = world.history("base").await[0].sequence;
        world.push("base", "base 2").await;
        world.settle().await;
        let moved = world.roll_back("base", first, RollbackMode::Rebuild).await;
        world.settle().await;
        let row = world.tag("base").await.event_sequence.unwrap();
        let then = [world.tag("httpd-base").await.digest, world.tag("app-a").await.digest];
        // The undo puts what is downstream back first, and base after it.
        let cascade = world.0.find_cascade(&moved.cascade_id.unwrap()).await.unwrap().unwrap();
        world.0.undo_cascade("demo", cascade.number, &anna()).await.unwrap();
        world.settle().await;
        assert_ne!(world.tag("app-a").await.digest, then[1]);
        let base = world.tag("base").await;
        assert_eq!(world.0.plan_restore(&base, row).await.unwrap(), Ok(3));
        world.roll_back("base", row, RollbackMode::Restore).await;
        assert!(world.settle().await.is_empty(), "no build runs");
        assert_eq!([world.tag("httpd-base").await.digest, world.tag("app-a").await.digest], then);
    }
}

#[tokio::test]
async fn undoing_a_rollback_puts_everything_forward_again_without_builds() {
    for world in World::demo().await {
        let first = world.history("base").await[0].sequence;
        world.push("base", "base 2").await;
        world.settle().await;
        let before =
            [world.tag("base").await.digest, world.tag("httpd-base").await.digest, world.tag("app-a").await.digest];
        let moved = world.roll_back("base", first, RollbackMode::Rebuild).await;
        world.settle().await;
        let cascade = world.0.find_cascade(&moved.cascade_id.unwrap()).await.unwrap().unwrap();
        let undone = world.0.undo_cascade("demo", cascade.number, &anna()).await.unwrap();
        assert_eq!((undone.tags, undone.apps), (4, 2));
        assert!(world.settle().await.is_empty());
        let after =
            [world.tag("base").await.digest, world.tag("httpd-base").await.digest, world.tag("app-a").await.digest];
        assert_eq!(after, before);
        let base = world.tag("base").await;
        assert_eq!(world.0.tag_hold(&base.id).await.unwrap(), None, "the hold ends with the rollback");
        assert_eq!(world.0.list_rejected(&base.id).await.unwrap(), []);
        assert!(world.0.undo_cascade("demo", cascade.number, &anna()).await.is_err(), "once is enough");
        world.roll_back("base", first, RollbackMode::Rebuild).await;
        assert_eq!(counts(&world.settle().await), "app-a 1, app-b 1, httpd-base 1", "and it can be rolled back again");
    }
}

#[tokio::test]
async fn an_app_rolled_back_stays_while_new_images_wait() {
    for world in World::demo().await {
        world.push("base", "base 2").await;
        world.settle().await;
        let rollout = world.0.roll_back_app("demo", "app-a", 1, None, HoldUntil::Resumed, &anna()).await.unwrap();
        world.push("base", "base 3").await;
        world.settle().await;
        let app = world.0.app("demo", "app-a").await.unwrap();
        assert_eq!((app.last_number, app.wanted_digest.as_deref()), (rollout.number, Some(rollout.digest.as_str())));
        assert!(app.is_behind() && app.held_since.is_some());
        world.0.resume_app("demo", "app-a", &anna()).await.unwrap();
        world.settle().await;
        assert!(!world.0.app("demo", "app-a").await.unwrap().is_behind());
    }
}

#[tokio::test]
async fn a_history_counts_every_move() {
    for world in World::each().await {
        for seed in ["a", "b", "a", "a"] {
            world.push("base", seed).await;
        }
        let history = world.history("base").await;
        let rows: Vec<_> = history.iter().map(|row| (row.number, row.digest.clone().unwrap())).collect();
        assert_eq!(rows, [(3, digest("a")), (2, digest("b")), (1, digest("a"))]);
    }
}
