//! What passes, in which order, and what waits, on both databases.

use super::*;
use crate::model::time::testing::TIME;
use crate::model::{ImageReference, Tag};
use crate::server::store::testing::{TestStore, each_store, project, run};
use crate::server::store::{CheckEnd, NextCheck, TagSpec};

const START: i64 = 1_800_000_000_000;
const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

fn actor() -> Actor {
    Actor::person("ada")
}

fn spec(reference: &str, cool_down_ms: i64) -> TagSpec {
    assert!(reference.parse::<ImageReference>().is_ok());
    TagSpec { cool_down_ms: Some(cool_down_ms), ..TagSpec::import(reference) }
}

async fn set(store: &TestStore, spec: &TagSpec) -> Tag {
    let names = ("base".parse().unwrap(), "1".parse().unwrap());
    store.set_tag("demo", &names.0, &names.1, spec, None, &actor()).await.unwrap().tag
}

/// A tag with a cool-down of an hour that has taken over `sha256:a`.
async fn followed(store: &TestStore) -> Tag {
    project(store, "demo").await;
    let tag = set(store, &spec("quay.io/org/base:1", HOUR)).await;
    let due = claim(store, &tag).await;
    assert_eq!(store.pass(&due, "sha256:a").await.unwrap(), Passage::Open, "the first is taken over at once");
    run(store, "update tags set digest = 'sha256:a'").await;
    take(store, &due, "sha256:a").await;
    tag
}

async fn claim(store: &TestStore, tag: &Tag) -> DueImport {
    store.claim_import(&tag.id, store.owner(), 30_000).await.unwrap().unwrap()
}

async fn take(store: &TestStore, due: &DueImport, digest: &str) {
    let next = NextCheck { at: now() + 15 * MINUTE, overdue_at: now() + 30 * MINUTE };
    store.record_check(due, &CheckEnd::Fetched { digest }, Some(next)).await.unwrap();
}

/// A check that finds `found` so many minutes after the start; what passes is taken over.
async fn check(store: &TestStore, tag: &Tag, minutes: i64, found: &str) -> Passage {
    TIME.set(Some(START + minutes * MINUTE));
    let due = claim(store, tag).await;
    let passage = store.pass(&due, found).await.unwrap();
    let next = NextCheck { at: now() + 15 * MINUTE, overdue_at: now() + 30 * MINUTE };
    match &passage {
        Passage::Had => store.record_check(&due, &CheckEnd::Unchanged { digest: found }, Some(next)).await.unwrap(),
        Passage::Shut => store.record_check(&due, &CheckEnd::Waiting { digest: found }, Some(next)).await.unwrap(),
        Passage::Open => take(store, &due, found).await,
        Passage::Only { digest, .. } => take(store, &due, digest).await,
    }
    passage
}

fn only(digest: &str) -> Passage {
    Passage::Only { digest: digest.to_owned(), by: None }
}

async fn cooling(store: &TestStore, tag: &Tag) -> Option<(String, i64)> {
    let import = store.find_import(&tag.id).await.unwrap().unwrap();
    import.cooling(&store.tag_by_id(&tag.id).await.unwrap()).map(|one| {
        assert_eq!(one.until, one.first_seen_at + HOUR);
        (one.digest.to_owned(), (one.first_seen_at - START) / MINUTE)
    })
}

#[tokio::test]
async fn what_is_new_passes_when_it_was_known_for_the_cool_down_and_the_check_comes_then() {
    for store in each_store().await {
        TIME.set(Some(START));
        let tag = followed(&store).await;
        assert_eq!(check(&store, &tag, 10, "sha256:b").await, Passage::Shut);
        assert_eq!(cooling(&store, &tag).await, Some(("sha256:b".to_owned(), 10)));
        assert_eq!(check(&store, &tag, 60, "sha256:b").await, Passage::Shut);
        let next = store.find_import(&tag.id).await.unwrap().unwrap().next_at;
        assert_eq!(next, Some(START + 70 * MINUTE), "it is looked at again just then");
        assert_eq!(store.list_imports("demo", "waiting", "", 10).await.unwrap().len(), 1);
        assert_eq!(check(&store, &tag, 70, "sha256:b").await, only("sha256:b"));
        assert_eq!((cooling(&store, &tag).await, check(&store, &tag, 71, "sha256:b").await), (None, Passage::Had));
        assert!(store.list_imports("demo", "waiting", "", 10).await.unwrap().is_empty());
        TIME.set(None);
    }
}

#[tokio::test]
async fn what_was_replaced_is_passed_over_until_nothing_has_passed_for_two_cool_downs() {
    for store in each_store().await {
        TIME.set(Some(START));
        let tag = followed(&store).await;
        // A new one every half hour: b0 at 0, b1 at 30, …
        for number in 0..4 {
            assert_eq!(check(&store, &tag, number * 30, &format!("sha256:b{number}")).await, Passage::Shut, "{number}");
        }
        assert_eq!(cooling(&store, &tag).await, Some(("sha256:b3".to_owned(), 90)), "the newest, with its own age");
        assert_eq!(check(&store, &tag, 120, "sha256:b4").await, only("sha256:b2"), "the newest that is old enough");
        assert_eq!(cooling(&store, &tag).await, Some(("sha256:b4".to_owned(), 120)), "what is newer waits on");
        assert_eq!(check(&store, &tag, 140, "sha256:b3").await, Passage::Shut);
        assert_eq!(cooling(&store, &tag).await, Some(("sha256:b3".to_owned(), 90)), "what the source went back to");
        assert_eq!(check(&store, &tag, 150, "sha256:b3").await, only("sha256:b3"));
        assert_eq!(cooling(&store, &tag).await, None);
        TIME.set(None);
    }
}

#[tokio::test]
async fn no_more_wait_than_are_kept_and_the_gate_opens_all_the_same() {
    for store in each_store().await {
        TIME.set(Some(START));
        let tag = followed(&store).await;
        for minute in 0..120 {
            assert_eq!(check(&store, &tag, minute, &format!("sha256:b{minute}")).await, Passage::Shut, "{minute}");
        }
        let (count,): (i64,) =
            sqlx::query_as("select count(*) from cooling_digests").fetch_one(store.pool()).await.unwrap();
        assert_eq!(count, REPLACED_AT_MOST + 1);
        let passed = check(&store, &tag, 120, "sha256:b120").await;
        assert_eq!(passed, only("sha256:b15"), "the newest of those kept that is old enough");
        assert_eq!(cooling(&store, &tag).await, Some(("sha256:b120".to_owned(), 120)));
        TIME.set(None);
    }
}

#[tokio::test]
async fn going_back_ends_the_waiting_and_a_new_source_is_taken_over_at_once() {
    for store in each_store().await {
        TIME.set(Some(START));
        let tag = followed(&store).await;
        check(&store, &tag, 0, "sha256:b").await;
        assert_eq!(check(&store, &tag, 30, "sha256:a").await, Passage::Had);
        assert_eq!(cooling(&store, &tag).await, None);
        assert_eq!(check(&store, &tag, 65, "sha256:b").await, Passage::Shut, "it comes anew");
        assert_eq!(cooling(&store, &tag).await, Some(("sha256:b".to_owned(), 65)));

        // Setting the interval is no way around it.
        let tag = set(&store, &TagSpec { interval_ms: Some(5 * MINUTE), ..spec("quay.io/org/base:1", HOUR) }).await;
        assert_eq!(check(&store, &tag, 70, "sha256:b").await, Passage::Shut);
        let tag = set(&store, &spec("quay.io/org/other:1", HOUR)).await;
        assert_eq!(cooling(&store, &tag).await, None);
        assert_eq!(check(&store, &tag, 71, "sha256:c").await, Passage::Open);
        check(&store, &tag, 72, "sha256:d").await;
        let tag = set(&store, &spec("quay.io/org/other:1", 0)).await;
        assert_eq!(check(&store, &tag, 73, "sha256:d").await, Passage::Open, "there is no cool-down any more");
        assert_eq!(cooling(&store, &tag).await, None);
        TIME.set(None);
    }
}

#[tokio::test]
async fn somebody_lets_the_one_pass_that_they_saw() {
    for store in each_store().await {
        TIME.set(Some(START));
        let tag = followed(&store).await;
        let adopt = async |seen| store.adopt_now("demo", "base", "1", seen, &actor()).await.map_err(|e| e.to_string());
        assert!(adopt(None).await.unwrap_err().contains("nothing waits"));
        check(&store, &tag, 0, "sha256:b").await;
        check(&store, &tag, 1, "sha256:c").await;
        assert!(adopt(Some("sha256:b")).await.unwrap_err().contains("something newer waits"));
        adopt(Some("sha256:c")).await.unwrap();
        let import = store.find_import(&tag.id).await.unwrap().unwrap();
        assert_eq!((import.requested_by.as_deref(), import.cooling_adopt_by.as_deref()), (Some("ada"), Some("ada")));
        let by_ada = Passage::Only { digest: "sha256:c".to_owned(), by: Some("ada".to_owned()) };
        assert_eq!(check(&store, &tag, 2, "sha256:d").await, by_ada, "the one that was seen, not what came since");
        assert_eq!(cooling(&store, &tag).await, Some(("sha256:d".to_owned(), 2)));
        TIME.set(None);
    }
}

#[tokio::test]
async fn what_is_rejected_or_there_already_does_not_wait_and_what_is_gone_is_forgotten() {
    for store in each_store().await {
        TIME.set(Some(START));
        let tag = followed(&store).await;
        run(
            &store,
            "insert into rejected_digests (id, tag_id, digest, actor, since, sequence) select 'r', id, 'sha256:bad', 'ada', 0, 0 from tags",
        )
        .await;
        check(&store, &tag, 0, "sha256:b").await;
        assert_eq!(check(&store, &tag, 1, "sha256:bad").await, only("sha256:bad"), "the tag refuses it by itself");
        assert_eq!(check(&store, &tag, 2, "sha256:a").await, only("sha256:a"), "the tag has it");
        check(&store, &tag, 3, "sha256:b").await;
        store.forget_waiting(&tag.id, "sha256:b").await.unwrap();
        assert_eq!(cooling(&store, &tag).await, None);
        TIME.set(None);
    }
}

#[tokio::test]
async fn who_lost_the_tag_notes_nothing() {
    for store in each_store().await {
        TIME.set(Some(START));
        let tag = followed(&store).await;
        let due = claim(&store, &tag).await;
        set(&store, &spec("quay.io/org/other:1", HOUR)).await;
        let refused = store.pass(&due, "sha256:b").await;
        assert!(matches!(&refused, Err(Error::Invalid { field, .. }) if field == TAG_PRECONDITION), "{refused:?}");
        assert_eq!(cooling(&store, &tag).await, None);
        store.delete_tag("demo", "base", "1", &actor()).await.unwrap();
        assert!(store.pass(&due, "sha256:b").await.is_err());
        TIME.set(None);
    }
}
