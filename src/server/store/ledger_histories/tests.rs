use super::*;
use crate::model::time::testing::TIME;
use crate::model::{Actor, EventKind, TagName};
use crate::server::store::moves::Move;
use crate::server::store::testing::{TestStore, each_store, project};

/// `app:latest` pushed three times and deleted, held back once, and `app:other` pushed; `old:latest` pushed twice in a stream that was deleted.
async fn written(store: &TestStore) {
    let actor = Actor::person("ada");
    project(store, "demo").await;
    for (stream, tag, digests) in
        [("app", "latest", &["a", "b", "a"][..]), ("old", "latest", &["a", "b"]), ("app", "other", &["c"])]
    {
        let stream = store.ensure_stream("demo", &stream.parse().unwrap(), &actor).await.unwrap();
        let name: TagName = tag.parse().unwrap();
        for digest in digests {
            let mut tx = store.write_tx().await.unwrap();
            let tag = tx.ensure_tag(&stream, &name).await.unwrap();
            let digest = format!("sha256:{digest}");
            let movement = Move { reason: Some("why"), ..Move::new(EventKind::Push, &digest, "demo/app@x", &actor) };
            tx.move_tag(&tag, &movement).await.unwrap();
            tx.commit().await.unwrap();
        }
    }
    store.hold_tag("demo", "app", "other", None, &actor).await.unwrap();
    let mut tx = store.write_tx().await.unwrap();
    let other = tx.live_tag("demo", "app", "other").await.unwrap();
    let schedule = Actor::system("schedule");
    tx.move_tag(&other, &Move::new(EventKind::Import, "sha256:d", "demo/app@x", &schedule)).await.unwrap();
    tx.commit().await.unwrap();
    store.delete_tag("demo", "app", "latest", &actor).await.unwrap();
    store.delete_stream("demo", "old", &actor).await.unwrap();
}

/// What is found: tags and problems.
async fn found(store: &TestStore) -> Vec<(String, String)> {
    let (mut all, mut place) = (Vec::new(), Some(HistoryPlace::default()));
    while let Some(from) = place {
        let (_, faults, next) = store.verify_histories(&from).await.unwrap();
        all.extend(faults.into_iter().map(|fault| (fault.tag, fault.problem)));
        place = next;
    }
    all
}

/// Of the rows of a tag the one with that number.
const SECOND: &str = "where number = 2 and tag_id in (select t.id from tags t where t.name = 'latest')";

#[tokio::test]
async fn what_is_changed_in_a_history_is_named_beside_what_the_ledger_says() {
    for (change, problem) in [
        ("digest = 'sha256:x'", "its image is sha256:x, and in the ledger sha256:b"),
        ("digest = null", "its image is nothing, and in the ledger sha256:b"),
        ("from_digest = 'sha256:x'", "the image before is sha256:x, and in the ledger sha256:a"),
        ("outcome = 'held'", "what happened is tag.skip-held, and in the ledger tag.push"),
        ("outcome = 'deleted'", "what happened is tag.delete, and in the ledger tag.push"),
        ("kind = 'import'", "what happened is tag.import, and in the ledger tag.push"),
        ("actor = 'eve'", "its actor is eve, and in the ledger ada"),
        ("actor_kind = 'robot'", "its kind of actor is robot, and in the ledger person"),
        ("reason = null", "its reason is nothing, and in the ledger why"),
        ("cause = 1", "its cause is 1, and in the ledger nothing"),
        ("sorted_at = sorted_at + 60000", "the past does not count it from its time on"),
    ] {
        for store in each_store().await {
            written(&store).await;
            assert_eq!(found(&store).await, [], "what was written");
            let tamper = format!("update tag_events set {change} {SECOND}");
            sqlx::query(sqlx::AssertSqlSafe(tamper)).execute(store.pool()).await.unwrap();
            assert_eq!(found(&store).await, [("demo/app:latest".to_owned(), problem.to_owned())], "{change}");
        }
    }
}

#[tokio::test]
async fn a_time_that_is_not_the_ledgers_is_named() {
    for store in each_store().await {
        written(&store).await;
        let tamper = format!("update tag_events set at = at - 3600000, sorted_at = sorted_at - 3600000 {SECOND}");
        sqlx::query(sqlx::AssertSqlSafe(tamper)).execute(store.pool()).await.unwrap();
        let found = found(&store).await;
        assert!(
            found.iter().any(|(tag, problem)| tag == "demo/app:latest" && problem.starts_with("its time is ")),
            "{found:?}"
        );
    }
}

#[tokio::test]
async fn rows_that_are_removed_added_or_put_elsewhere_are_named() {
    for (change, tag, problem) in [
        (
            format!("delete from tag_events {SECOND}"),
            "demo/app:latest",
            "the row before it is missing in the tag's history",
        ),
        (
            "delete from tag_events where outcome = 'held'".to_owned(),
            "demo/app:other",
            "it has had 2 rows, and the newest of its history is number 1",
        ),
        (
            "update tags set digest = 'sha256:x' where name = 'other'".to_owned(),
            "demo/app:other",
            "it points to sha256:x, and by its history to sha256:c",
        ),
        (
            "update ended_tag_events set digest = 'sha256:x' where number = 1".to_owned(),
            "demo/old:latest",
            "its image is sha256:x, and in the ledger sha256:a",
        ),
        (
            "update ended_tags set name = 'first'".to_owned(),
            "demo/old:first",
            "its tag is old:first, and in the ledger old:latest",
        ),
        (
            "update tag_events set sequence = 9999 where outcome = 'held'".to_owned(),
            "demo/app:other",
            "the ledger has no such row",
        ),
    ] {
        for store in each_store().await {
            written(&store).await;
            sqlx::query(sqlx::AssertSqlSafe(change.clone())).execute(store.pool()).await.unwrap();
            let found = found(&store).await;
            assert!(found.contains(&(tag.to_owned(), problem.to_owned())), "{change}: {found:?}");
        }
    }
}

#[tokio::test]
async fn a_clock_that_was_set_back_is_no_fault() {
    for store in each_store().await {
        let actor = Actor::person("ada");
        project(&store, "demo").await;
        let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &actor).await.unwrap();
        for (digest, hours) in [("a", 5), ("b", 9), ("c", 3), ("d", 4)] {
            TIME.set(Some(1_577_836_800_000 + hours * 3_600_000));
            let mut tx = store.write_tx().await.unwrap();
            let tag = tx.ensure_tag(&stream, &"latest".parse().unwrap()).await.unwrap();
            let digest = format!("sha256:{digest}");
            tx.move_tag(&tag, &Move::new(EventKind::Push, &digest, "demo/app@x", &actor)).await.unwrap();
            tx.commit().await.unwrap();
        }
        assert_eq!(found(&store).await, []);
        store.delete_stream("demo", "app", &actor).await.unwrap();
        TIME.set(None);
        assert_eq!(found(&store).await, []);
    }
}
