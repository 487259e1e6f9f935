//! What an undo takes back of a person's decisions, on both databases. What it moves is in the tests of propagation.

use super::*;
use crate::model::{AppSpec, EventKind, HoldUntil, NewImage, RollbackMode, StreamTag};
use crate::server::store::testing::{TestStore, each_store};
use crate::server::store::{AppFields, Moved, TagMove, TagRollback};

fn anna() -> Actor {
    Actor::person("anna")
}

async fn push(store: &TestStore, stream: &str, digest: &str) -> Moved {
    let stream = store.ensure_stream("demo", &stream.parse().unwrap(), &anna()).await.unwrap();
    let image = NewImage { digest: digest.to_owned(), manifest: "{}".to_owned(), ..NewImage::default() };
    let latest = "latest".parse().unwrap();
    let to = TagMove { tag: &latest, kind: EventKind::Push, reference: None, cause: None, build_id: None };
    store.put_manifest(&stream, &image, Some(to), &anna()).await.unwrap().remove(0)
}

/// A project in which `base` was pushed twice; gives the sequence of the first.
async fn pushed_twice(store: &TestStore) -> i64 {
    store.create_project(&"demo".parse().unwrap(), "", "", None, &anna()).await.unwrap();
    let first = push(store, "base", "sha256:one").await.sequence;
    push(store, "base", "sha256:two").await;
    first
}

/// Rolls `base` back; gives the number of the cascade.
async fn roll_back(store: &TestStore, to: i64) -> i64 {
    let rollback = TagRollback { mode: RollbackMode::Tag, reason: Some("bad"), ..TagRollback::to(to) };
    let moved = store.roll_back_tag("demo", "base", "latest", &rollback, &anna()).await.unwrap();
    store.find_cascade(&moved.cascade_id.unwrap()).await.unwrap().unwrap().number
}

async fn actions(store: &TestStore) -> Vec<String> {
    let rows: Vec<(String,)> =
        sqlx::query_as("select action from ledger order by sequence").fetch_all(store.pool()).await.unwrap();
    rows.into_iter().map(|(action,)| action).collect()
}

#[tokio::test]
async fn undo_ends_the_hold_that_the_rollback_made_and_what_it_rejected_and_says_so() {
    for store in each_store().await {
        let first = pushed_twice(&store).await;
        push(&store, "other", "sha256:one").await;
        store.hold_tag("demo", "other", "latest", None, &anna()).await.unwrap();
        let cascade = roll_back(&store, first).await;
        let tag = store.tag("demo", "base", "latest").await.unwrap();
        assert!(store.tag_hold(&tag.id).await.unwrap().is_some_and(|hold| hold.cascade_id.is_some()));
        assert_eq!(store.list_rejected(&tag.id).await.unwrap().len(), 1);

        store.undo_cascade("demo", cascade, &anna()).await.unwrap();
        assert_eq!(store.tag_hold(&tag.id).await.unwrap(), None);
        assert_eq!(store.list_rejected(&tag.id).await.unwrap(), []);
        assert_eq!(actions(&store).await.iter().filter(|action| *action == "tag.resume").count(), 1);
        let other = store.tag("demo", "other", "latest").await.unwrap();
        assert!(store.tag_hold(&other.id).await.unwrap().is_some(), "somebody else's decision");
        // Automation moves it again.
        assert_eq!(push(&store, "base", "sha256:three").await.outcome, Outcome::Moved);
    }
}

#[tokio::test]
async fn undo_leaves_a_hold_that_was_there_before_the_rollback() {
    for store in each_store().await {
        let first = pushed_twice(&store).await;
        store.hold_tag("demo", "base", "latest", Some("before the fair"), &anna()).await.unwrap();
        let cascade = roll_back(&store, first).await;
        store.undo_cascade("demo", cascade, &anna()).await.unwrap();
        let tag = store.tag("demo", "base", "latest").await.unwrap();
        assert_eq!(tag.digest.as_deref(), Some("sha256:two"));
        let hold = store.tag_hold(&tag.id).await.unwrap().unwrap();
        assert_eq!((hold.reason.as_deref(), hold.cascade_id), (Some("before the fair"), None));
        assert!(!actions(&store).await.contains(&"tag.resume".to_owned()));
    }
}

#[tokio::test]
async fn a_hold_made_anew_after_the_rollbacks_was_resumed_outlives_the_undo() {
    for store in each_store().await {
        let first = pushed_twice(&store).await;
        let cascade = roll_back(&store, first).await;
        store.resume_tag("demo", "base", "latest", &anna()).await.unwrap();
        store.hold_tag("demo", "base", "latest", Some("mine"), &anna()).await.unwrap();
        store.undo_cascade("demo", cascade, &anna()).await.unwrap();
        let tag = store.tag("demo", "base", "latest").await.unwrap();
        assert_eq!(store.tag_hold(&tag.id).await.unwrap().unwrap().reason.as_deref(), Some("mine"));
        assert_eq!(tag.digest.as_deref(), Some("sha256:two"));
    }
}

#[tokio::test]
async fn undo_ends_the_hold_of_an_app_that_was_rolled_back() {
    for store in each_store().await {
        pushed_twice(&store).await;
        let image = StreamTag { project: "demo".to_owned(), stream: "base".to_owned(), tag: "latest".to_owned() };
        let (labels, annotations, spec) = ("{}".to_owned(), "{}".to_owned(), AppSpec::default());
        let fields = AppFields { labels, annotations, spec, image, automatic: true };
        store.create_app("demo", &"web".parse().unwrap(), &fields, &anna()).await.unwrap();
        store.request_ready_rollouts().await.unwrap();
        push(&store, "base", "sha256:three").await;
        store.request_ready_rollouts().await.unwrap();
        store.roll_back_app("demo", "web", 1, None, HoldUntil::Resumed, &anna()).await.unwrap();
        let app = store.app("demo", "web").await.unwrap();
        let hold = store.app_hold(&app.id).await.unwrap().unwrap();
        let cascade = store.find_cascade(&hold.cascade_id.unwrap()).await.unwrap().unwrap().number;
        let undone = store.undo_cascade("demo", cascade, &anna()).await.unwrap();
        assert_eq!((undone.tags, undone.apps), (0, 1));
        assert_eq!(store.app_hold(&app.id).await.unwrap(), None);
        let app = store.app("demo", "web").await.unwrap();
        assert_eq!(app.wanted_digest.as_deref(), Some("sha256:three"));
        assert_eq!(actions(&store).await.iter().filter(|action| *action == "app.resume").count(), 1);
    }
}
