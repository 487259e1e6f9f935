//! What waits for the end of a hold on a tag that follows, imports or is pushed to, and what of that is still so in the end.

use crate::model::time::testing::TIME;
use crate::model::{Digest, EventKind, HoldUntil, Outcome, TagEvent};
use crate::server::store::testing::tags::{ada, bring, following, naming, set};
use crate::server::store::testing::{TestStore, each_store, project};
use crate::server::store::{HistoryPlace, TagSpec};

const A: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const B: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
const C: &str = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";
const DAY: i64 = 86_400_000;

/// `u` follows `t`, which follows `s`; all have A, from a.io.
async fn chain(store: &TestStore) {
    project(store, "demo").await;
    bring(store, "s", A, Some("a.io/x@A")).await;
    set(store, "t", following("s")).await;
    set(store, "u", following("t")).await;
}

async fn hold(store: &TestStore, tag: &str) {
    store.hold_tag("demo", "app", tag, None, &ada()).await.unwrap();
}

/// Holds a tag until a moment that has come.
async fn hold_until_now(store: &TestStore, tag: &str) {
    TIME.set(Some(1_800_000_000_000));
    let until = HoldUntil::Date(1_800_000_000_000 + DAY);
    store.hold_tag_until("demo", "app", tag, None, until, &ada()).await.unwrap();
}

async fn resume(store: &TestStore, tag: &str) -> bool {
    store.resume_tag("demo", "app", tag, &ada()).await.unwrap().is_some_and(|moved| moved.changed)
}

/// Digest and reference of a tag.
async fn at(store: &TestStore, tag: &str) -> (String, String) {
    let tag = store.tag("demo", "app", tag).await.unwrap();
    (tag.digest.unwrap_or_default(), tag.reference.unwrap_or_default())
}

fn from(digest: &str, reference: &str) -> (String, String) {
    (digest.to_owned(), reference.to_owned())
}

/// Rows of a tag, newest first.
async fn rows(store: &TestStore, tag: &str) -> Vec<TagEvent> {
    let tag = store.find_tag("demo", "app", tag).await.unwrap().unwrap();
    store.list_history(&tag.id, None, 20).await.unwrap()
}

/// Kind, outcome and image of the newest rows, the newest first.
async fn newest(store: &TestStore, tag: &str, count: usize) -> Vec<(EventKind, Outcome, Option<String>)> {
    let rows = rows(store, tag).await;
    rows.into_iter().take(count).map(|row| (row.kind, row.outcome, row.digest)).collect()
}

fn held(kind: EventKind, digest: &str) -> (EventKind, Outcome, Option<String>) {
    (kind, Outcome::Held, Some(digest.to_owned()))
}

fn moved(kind: EventKind, digest: &str) -> (EventKind, Outcome, Option<String>) {
    (kind, Outcome::Moved, Some(digest.to_owned()))
}

async fn waits(store: &TestStore, tag: &str) -> Option<TagEvent> {
    let tag = store.tag("demo", "app", tag).await.unwrap();
    store.tag_waiting(&tag.id).await.unwrap()
}

async fn check_histories(store: &TestStore) {
    let mut place = Some(HistoryPlace::default());
    while let Some(from) = place {
        let (_, faults, next) = store.verify_histories(&from).await.unwrap();
        assert!(faults.is_empty(), "{faults:?}");
        place = next;
    }
}

#[tokio::test]
async fn another_reference_waits_for_the_end_of_a_hold() {
    for store in each_store().await {
        chain(&store).await;
        hold(&store, "t").await;
        for _ in 0..3 {
            bring(&store, "s", A, Some("b.io/x@A")).await;
            bring(&store, "s", A, Some("c.io/x@A")).await;
        }
        assert_eq!(newest(&store, "t", 2).await, [held(EventKind::Follow, A), held(EventKind::Follow, A)]);
        assert_eq!(rows(&store, "t").await.len(), 7, "each change is one row");
        bring(&store, "s", A, Some("c.io/x@A")).await;
        assert_eq!(rows(&store, "t").await.len(), 7, "and the same again none");
        assert_eq!(at(&store, "t").await, from(A, "a.io/x@A"));
        let waiting = waits(&store, "t").await.expect("the reference");
        assert_eq!(waiting.reference.as_deref(), Some("c.io/x@A"));
        assert!(!resume(&store, "t").await, "the image stays");
        assert_eq!((at(&store, "t").await, at(&store, "u").await), (from(A, "c.io/x@A"), from(A, "c.io/x@A")));
        check_histories(&store).await;
    }
}

#[tokio::test]
async fn a_mere_name_waits_for_the_end_of_a_hold() {
    for store in each_store().await {
        chain(&store).await;
        hold(&store, "t").await;
        set(&store, "s", naming("c.io/x:1")).await;
        let row = waits(&store, "t").await.expect("the name");
        assert_eq!((row.digest, row.reference.as_deref()), (None, Some("c.io/x:1")));
        assert_eq!(row.outcome, Outcome::Held);
        resume(&store, "t").await;
        for tag in ["t", "u"] {
            assert_eq!(store.tag("demo", "app", tag).await.unwrap().refers_to.as_deref(), Some("c.io/x:1"), "{tag}");
        }
        check_histories(&store).await;

        bring(&store, "s", B, None).await;
        hold(&store, "t").await;
        set(&store, "s", naming("c.io/x:2")).await;
        bring(&store, "s", B, None).await;
        assert_eq!(waits(&store, "t").await, None, "the name is gone again");
        assert!(!resume(&store, "t").await);
        assert_eq!(store.tag("demo", "app", "u").await.unwrap().refers_to, None);
    }
}

#[tokio::test]
async fn what_was_imported_before_somebody_took_the_wish_back_waits_no_more() {
    for store in each_store().await {
        project(&store, "demo").await;
        set(&store, "t", TagSpec::import("a.io/x:1")).await;
        bring(&store, "t", A, Some("a.io/x@A")).await;
        hold(&store, "t").await;
        bring(&store, "t", B, Some("a.io/x@B")).await;
        assert_eq!(waits(&store, "t").await.and_then(|row| row.digest).as_deref(), Some(B));
        let tag = store.tag("demo", "app", "t").await.unwrap();
        assert!(store.take_back_tag(&tag, None, &ada()).await.unwrap());
        assert_eq!(waits(&store, "t").await, None);
        assert!(!resume(&store, "t").await);
        assert_eq!(at(&store, "t").await, from(A, "a.io/x@A"));
    }
}

#[tokio::test]
async fn holds_of_a_long_chain_that_are_over_end_all_the_same() {
    for store in each_store().await {
        project(&store, "demo").await;
        bring(&store, "t0", A, None).await;
        let names: Vec<String> = (0..=100).map(|n| format!("t{n}")).collect();
        for pair in names.windows(2) {
            set(&store, &pair[1], following(&pair[0])).await;
        }
        for (n, tag) in names.iter().enumerate().skip(1) {
            hold_until_now(&store, tag).await;
            bring(&store, tag, &format!("sha256:{n:064x}"), None).await;
        }
        TIME.set(Some(1_800_000_000_000 + 2 * DAY));
        bring(&store, "t0", B, None).await;
        store.end_due_holds().await.unwrap();
        for tag in &names {
            assert_eq!(store.tag_hold(&store.tag("demo", "app", tag).await.unwrap().id).await.unwrap(), None, "{tag}");
        }
        check_histories(&store).await;
        TIME.set(None);
    }
}

#[tokio::test]
async fn what_a_source_took_back_waits_no_more() {
    for store in each_store().await {
        chain(&store).await;
        hold(&store, "t").await;
        bring(&store, "s", B, Some("a.io/x@B")).await;
        assert_eq!(waits(&store, "t").await.and_then(|row| row.digest).as_deref(), Some(B));
        bring(&store, "s", A, Some("a.io/x@A")).await;
        assert_eq!(newest(&store, "t", 2).await, [held(EventKind::Follow, A), held(EventKind::Follow, B)]);
        assert_eq!(waits(&store, "t").await, None);
        assert!(!resume(&store, "t").await);
        assert_eq!(at(&store, "t").await, from(A, "a.io/x@A"));

        hold(&store, "s").await;
        bring(&store, "s", B, Some("a.io/x@B")).await;
        bring(&store, "s", A, Some("a.io/x@A")).await;
        assert_eq!(waits(&store, "s").await, None, "of an import as well");
        assert!(!resume(&store, "s").await);
        check_histories(&store).await;
    }
}

#[tokio::test]
async fn what_a_source_says_when_a_hold_ends_counts_and_no_row() {
    for store in each_store().await {
        chain(&store).await;
        hold(&store, "t").await;
        bring(&store, "s", B, None).await;
        bring(&store, "s", C, None).await;
        let c: Digest = C.parse().unwrap();
        store.reject_image("demo", "app", "t", &c, None, &ada()).await.unwrap();
        assert!(!resume(&store, "t").await, "it is rejected, and what came before is outdated");
        assert_eq!(at(&store, "t").await.0, A);
        let tag = store.tag("demo", "app", "t").await.unwrap();
        assert_eq!(store.list_rejected(&tag.id).await.unwrap().len(), 1);

        hold(&store, "t").await;
        bring(&store, "s", B, None).await;
        store.delete_tag("demo", "app", "s", &ada()).await.unwrap();
        assert!(!resume(&store, "t").await, "its source is gone");
        assert_eq!(at(&store, "t").await.0, A);

        bring(&store, "s", B, None).await;
        hold(&store, "t").await;
        bring(&store, "s", A, None).await;
        set(&store, "t", TagSpec::default()).await;
        assert!(!resume(&store, "t").await, "it follows nothing any more");
        assert_eq!(at(&store, "t").await.0, B);
        check_histories(&store).await;
    }
}

#[tokio::test]
async fn what_was_pushed_waits_as_it_came() {
    for store in each_store().await {
        chain(&store).await;
        hold(&store, "t").await;
        bring(&store, "s", B, None).await;
        assert_eq!(bring(&store, "t", C, None).await.outcome, Outcome::Held);
        assert!(resume(&store, "t").await);
        assert_eq!((at(&store, "t").await.0.as_str(), at(&store, "u").await.0.as_str()), (C, C));
        assert_eq!(newest(&store, "t", 2).await, [moved(EventKind::Api, C), held(EventKind::Push, C)]);
    }
}

#[tokio::test]
async fn what_was_imported_waits_while_the_tag_is_to_be_that() {
    for store in each_store().await {
        project(&store, "demo").await;
        set(&store, "s", TagSpec::import("a.io/x:1")).await;
        bring(&store, "s", A, Some("a.io/x@A")).await;
        hold(&store, "s").await;
        bring(&store, "s", B, Some("a.io/x@B")).await;
        set(&store, "s", TagSpec::import("b.io/x:1")).await;
        assert_eq!(waits(&store, "s").await, None, "that is not what it follows");
        bring(&store, "s", B, Some("a.io/x@B")).await;
        assert_eq!(rows(&store, "s").await.len(), 2, "the same again");
        assert!(resume(&store, "s").await, "is that by now");
        assert_eq!(at(&store, "s").await, from(B, "a.io/x@B"));
    }
}

#[tokio::test]
async fn who_finds_a_hold_that_is_over_applies_what_waited_first() {
    for store in each_store().await {
        chain(&store).await;
        hold_until_now(&store, "s").await;
        bring(&store, "s", B, Some("a.io/x@B")).await;
        TIME.set(Some(1_800_000_000_000 + 2 * DAY));
        bring(&store, "s", A, Some("b.io/x@A")).await;
        assert_eq!(at(&store, "s").await, from(A, "b.io/x@A"));
        let found = newest(&store, "s", 3).await;
        assert_eq!(found, [moved(EventKind::Import, A), moved(EventKind::Api, B), held(EventKind::Import, B)]);
        assert_eq!(newest(&store, "u", 2).await, [moved(EventKind::Follow, A), moved(EventKind::Follow, B)]);

        hold_until_now(&store, "s").await;
        bring(&store, "s", B, Some("a.io/x@B")).await;
        let b: Digest = C.parse().unwrap();
        store.reject_image("demo", "app", "s", &b, None, &ada()).await.unwrap();
        TIME.set(Some(1_800_000_000_000 + 2 * DAY));
        assert_eq!(bring(&store, "s", C, None).await.outcome, Outcome::Rejected);
        assert_eq!(at(&store, "s").await.0, B, "what comes is refused, what waited is not");
        TIME.set(None);
        check_histories(&store).await;
    }
}

#[tokio::test]
async fn a_follower_whose_hold_is_over_gets_what_is_pushed_to_it_and_then_what_it_follows() {
    for store in each_store().await {
        chain(&store).await;
        hold_until_now(&store, "t").await;
        bring(&store, "s", B, None).await;
        TIME.set(Some(1_800_000_000_000 + 2 * DAY));
        bring(&store, "s", C, None).await;
        let found = newest(&store, "t", 2).await;
        assert_eq!(found, [moved(EventKind::Follow, C), held(EventKind::Follow, B)], "its source says no more than C");

        hold_until_now(&store, "t").await;
        bring(&store, "t", B, None).await;
        TIME.set(Some(1_800_000_000_000 + 2 * DAY));
        set(&store, "s", naming("c.io/x:1")).await;
        assert_eq!(newest(&store, "t", 2).await, [moved(EventKind::Api, B), held(EventKind::Push, B)]);
        for tag in ["t", "u"] {
            let tag = store.tag("demo", "app", tag).await.unwrap();
            assert_eq!((tag.digest.as_deref(), tag.refers_to.as_deref()), (Some(B), Some("c.io/x:1")));
        }
        let tag = store.tag("demo", "app", "t").await.unwrap();
        assert_eq!(store.tag_hold(&tag.id).await.unwrap(), None);
        TIME.set(None);
    }
}
