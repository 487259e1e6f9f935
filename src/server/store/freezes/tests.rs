//! Freezes as they are made, ended and told of. What they hold up is tested with propagation.

use super::*;
use crate::model::time::testing::TIME;
use crate::server::store::testing::{TestStore, each_store, project};

const HOUR: i64 = 3_600_000;

fn ada() -> Actor {
    Actor::person("ada")
}

fn until(ends_at: Option<i64>) -> NewFreeze<'static> {
    NewFreeze { begins_at: None, ends_at, reason: "the sale" }
}

async fn in_force(store: &TestStore, id: &str) -> Option<i64> {
    store.freeze_in_force(id).await.unwrap().map(|freeze| freeze.number)
}

/// What the ledger says of freezes, oldest first: who, what, about which.
async fn told(store: &TestStore) -> Vec<String> {
    let rows = store.list_ledger(Some("demo"), None, 100).await.unwrap();
    rows.iter().rev().map(|row| format!("{} {} {}", row.actor, row.action, row.object)).collect()
}

#[tokio::test]
async fn a_freeze_needs_a_reason_and_an_end_that_comes_after_its_beginning() {
    for store in each_store().await {
        project(&store, "demo").await;
        let at = now();
        for (new, field) in [
            (NewFreeze { reason: " ", ..until(None) }, "reason"),
            (NewFreeze { reason: &"x".repeat(301), ..until(None) }, "reason"),
            (until(Some(at - 1)), "until"),
            (NewFreeze { begins_at: Some(at + 2 * HOUR), ..until(Some(at + HOUR)) }, "until"),
        ] {
            let refused = store.freeze_project("demo", &new, &ada()).await;
            assert!(matches!(refused, Err(Error::Invalid { field: at, .. }) if at == field), "{field}");
        }
        assert!(matches!(store.freeze_project("none", &until(None), &ada()).await, Err(Error::NotFound { .. })));
        // A beginning that is over is now.
        let begun = NewFreeze { begins_at: Some(at - HOUR), ..until(None) };
        let freeze = store.freeze_project("demo", &begun, &ada()).await.unwrap();
        assert!(freeze.begins_at >= at && freeze.state(now()) == FreezeState::InForce, "{freeze:?}");
    }
}

#[tokio::test]
async fn a_freeze_is_ended_by_somebody_once() {
    for store in each_store().await {
        let id = project(&store, "demo").await;
        let open = store.freeze_project("demo", &until(None), &ada()).await.unwrap();
        let later = NewFreeze { begins_at: Some(now() + HOUR), ..until(None) };
        store.freeze_project("demo", &later, &ada()).await.unwrap();
        assert_eq!(in_force(&store, &id).await, Some(open.number));
        let ended = store.end_freeze("demo", 1, &Actor::person("bob")).await.unwrap();
        assert_eq!(ended.ended_by.as_deref(), Some("bob"));
        assert_eq!(in_force(&store, &id).await, None);
        assert!(matches!(store.end_freeze("demo", 1, &ada()).await, Err(Error::Conflict(_))));
        // One that has not begun is called off.
        store.end_freeze("demo", 2, &ada()).await.unwrap();
        assert!(matches!(store.end_freeze("demo", 3, &ada()).await, Err(Error::NotFound { .. })));
        let states = store.list_freezes("demo", None, 10).await.unwrap();
        assert!(states.iter().all(|freeze| freeze.state(now()) == FreezeState::Over), "{states:?}");
        let told = told(&store).await;
        assert_eq!(
            told,
            [
                "ada freeze.create freeze 1",
                "ada freeze.create freeze 2",
                "bob freeze.end freeze 1",
                "ada freeze.end freeze 2"
            ]
        );
        assert_eq!(store.verify_ledger().await.unwrap().1, []);
    }
}

#[tokio::test]
async fn its_times_alone_begin_and_end_it_and_the_ledger_is_told_once() {
    for store in each_store().await {
        let id = project(&store, "demo").await;
        let at = now();
        TIME.set(Some(at));
        let planned = NewFreeze { begins_at: Some(at + HOUR), ..until(Some(at + 3 * HOUR)) };
        store.freeze_project("demo", &planned, &ada()).await.unwrap();
        assert_eq!((in_force(&store, &id).await, store.note_freezes().await.unwrap()), (None, Some(at + HOUR)));
        TIME.set(Some(at + HOUR));
        assert_eq!(in_force(&store, &id).await, Some(1), "whether or not anybody has looked");
        for _ in 0..2 {
            assert_eq!(store.note_freezes().await.unwrap(), Some(at + 3 * HOUR));
        }
        TIME.set(Some(at + 3 * HOUR));
        assert_eq!(in_force(&store, &id).await, None, "whether or not anybody has looked");
        assert!(matches!(store.end_freeze("demo", 1, &ada()).await, Err(Error::Conflict(_))), "it is over");
        for _ in 0..2 {
            assert_eq!(store.note_freezes().await.unwrap(), None);
        }
        let rows = ["ada freeze.create freeze 1", "freeze freeze.begin freeze 1", "freeze freeze.end freeze 1"];
        assert_eq!(told(&store).await, rows);
        TIME.set(None);
    }
}

#[tokio::test]
async fn of_freezes_that_overlap_the_last_to_end_counts() {
    for store in each_store().await {
        let id = project(&store, "demo").await;
        project(&store, "other").await;
        let end = 4_102_444_800_000;
        store.freeze_project("demo", &until(Some(end)), &ada()).await.unwrap();
        store.freeze_project("demo", &until(Some(end - HOUR)), &ada()).await.unwrap();
        assert_eq!(in_force(&store, &id).await, Some(1));
        let words = |word: &str| BTreeMap::from([("demo".to_owned(), format!("frozen until {word}"))]);
        assert_eq!(store.frozen_projects().await.unwrap(), words("2100-01-01T00:00:00Z"));
        store.freeze_project("demo", &until(None), &ada()).await.unwrap();
        assert_eq!(in_force(&store, &id).await, Some(3));
        assert_eq!(store.frozen_projects().await.unwrap(), words("somebody ends that"));
        store.end_freeze("demo", 3, &ada()).await.unwrap();
        assert_eq!(in_force(&store, &id).await, Some(1), "the others go on");
    }
}
