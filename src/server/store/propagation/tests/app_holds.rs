//! What ends the hold of an app besides a person.

use super::{World, anna};
use crate::model::time::testing::TIME;
use crate::model::{HoldUntil, now};
use crate::server::store::TagRollback;

#[tokio::test]
async fn the_hold_of_an_app_may_end_with_an_image_that_it_never_ran() {
    for world in World::demo().await {
        let store = &world.0;
        let settled = async || {
            world.settle().await;
            store.app("demo", "app-a").await.unwrap()
        };
        world.push("base", "base 2").await;
        world.settle().await;
        store.roll_back_app("demo", "app-a", 1, None, HoldUntil::Resumed, &anna()).await.unwrap();
        world.push("base", "base 3").await;
        let waits = settled().await.tag_digest;
        // What waits already is not what it will wait for.
        store.set_app_hold_end("demo", "app-a", HoldUntil::Newer, &anna()).await.unwrap();
        let app = settled().await;
        assert!(app.held_since.is_some() && app.wanted_digest != waits);
        // Nor is what it ran before.
        let events = world.history("app-a").await;
        let ran = events.iter().find(|event| event.digest != waits && event.digest != app.wanted_digest).unwrap();
        let back = TagRollback::to(ran.sequence);
        store.roll_back_tag("demo", "app-a", "latest", &back, &anna()).await.unwrap();
        let app = settled().await;
        assert!(app.held_since.is_some() && app.is_behind(), "{app:?}");
        store.resume_tag("demo", "app-a", "latest", &anna()).await.unwrap();
        world.push("base", "base 4").await;
        let app = settled().await;
        assert_eq!((app.held_since, app.is_behind()), (None, false));
        assert!(store.set_app_hold_end("demo", "app-a", HoldUntil::Newer, &anna()).await.is_err(), "it is not held");
    }
}

#[tokio::test]
async fn the_hold_of_an_app_may_end_on_a_date() {
    for world in World::demo().await {
        let store = &world.0;
        assert!(store.hold_app("demo", "app-a", None, HoldUntil::Date(1), &anna()).await.is_err(), "that time is over");
        let later = now() + 3_600_000;
        store.hold_app("demo", "app-a", None, HoldUntil::Date(later), &anna()).await.unwrap();
        world.push("base", "base 2").await;
        world.settle().await;
        assert_eq!(store.end_due_holds().await.unwrap(), Some(later));
        let app = store.app("demo", "app-a").await.unwrap();
        assert!(app.is_behind() && app.held_since.is_some());
        TIME.set(Some(later));
        assert_eq!(store.end_due_holds().await.unwrap(), None);
        world.settle().await;
        let app = store.app("demo", "app-a").await.unwrap();
        assert_eq!((app.held_since, app.is_behind()), (None, false));
        TIME.set(None);
    }
}
