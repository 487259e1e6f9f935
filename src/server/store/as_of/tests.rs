use super::images::{ENDED_HAD, ENDED_IMAGE_TAGS, ENDED_REFERENCE, HAD, IMAGE_TAGS, REFERENCE};
use super::*;
use crate::model::time::testing::TIME;
use crate::model::{Actor, Stream, Tag};
use crate::server::store::moves::Move;
use crate::server::store::testing::{TestStore, each_store, plan as plan_of, project};
use crate::server::store::{Backend, StreamFields};

/// A minute of which everything here is a part: 2020-01-01T00:00Z.
const BEGIN: i64 = 1_577_836_800_000;
const HOUR: i64 = 3_600_000;

fn ada() -> Actor {
    Actor::person("ada")
}

/// So many hours after the beginning.
fn hour(hours: i64) -> Moment {
    let end = BEGIN + hours * HOUR;
    Moment { end, text: String::new(), words: format!("hour {hours}") }
}

async fn stream(store: &TestStore, name: &str, hours: i64) -> Stream {
    let stream = store.create_stream("demo", &name.parse().unwrap(), &StreamFields::default(), &ada()).await.unwrap();
    let made =
        sqlx::query("update streams set created_at = $2 where id = $1").bind(&stream.id).bind(BEGIN + hours * HOUR);
    made.execute(store.pool()).await.unwrap();
    stream
}

async fn tag(store: &TestStore, stream: &Stream, name: &str) -> Tag {
    let mut tx = store.write_tx().await.unwrap();
    let tag = tx.ensure_tag(stream, &name.parse().unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    tag
}

/// Moves a tag, or deletes it, at an hour.
async fn at(store: &TestStore, tag: &Tag, digest: Option<&str>, hours: i64) {
    let mut tx = store.write_tx().await.unwrap();
    let tag = tx.tag_by_id(&tag.id).await.unwrap();
    match digest {
        Some(digest) => {
            tx.move_tag(&tag, &Move::new(EventKind::Push, digest, "demo/app@x", &ada())).await.unwrap();
        }
        None => tx.record_deletion(&tag, &ada()).await.unwrap(),
    }
    sqlx::query("update tag_events set at = $2, sorted_at = $2 where tag_id = $1 and number = (select max(number) from tag_events where tag_id = $1)")
        .bind(&tag.id)
        .bind(BEGIN + hours * HOUR)
        .execute(&mut *tx)
        .await
        .unwrap();
    tx.commit().await.unwrap();
}

async fn tags(store: &TestStore, stream: &StreamThen, hours: i64) -> Vec<(String, String)> {
    let tags = store.list_tags_then(stream, &hour(hours), "", 10).await.unwrap();
    tags.into_iter().map(|tag| (tag.name, tag.digest)).collect()
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, digest)| ((*name).to_owned(), (*digest).to_owned())).collect()
}

#[tokio::test]
async fn tags_are_as_they_were_deleted_ones_too_and_later_ones_not() {
    for store in each_store().await {
        let id = project(&store, "demo").await;
        let app = stream(&store, "app", 0).await;
        let (one, two) = (tag(&store, &app, "one").await, tag(&store, &app, "two").await);
        at(&store, &one, Some("sha256:a"), 1).await;
        at(&store, &two, Some("sha256:b"), 2).await;
        at(&store, &one, Some("sha256:c"), 3).await;
        at(&store, &two, None, 4).await;
        at(&store, &one, Some("sha256:a"), 5).await;
        let then = store.stream_then(&id, "app", &hour(10)).await.unwrap();
        for (hours, expected) in [
            (1, pairs(&[])),
            (2, pairs(&[("one", "sha256:a")])),
            (3, pairs(&[("one", "sha256:a"), ("two", "sha256:b")])),
            (4, pairs(&[("one", "sha256:c"), ("two", "sha256:b")])),
            (5, pairs(&[("one", "sha256:c")])),
            (6, pairs(&[("one", "sha256:a")])),
        ] {
            assert_eq!(tags(&store, &then, hours).await, expected, "hour {hours}");
        }
        let one_then = store.find_tag_then(&then, "one", &hour(4)).await.unwrap().unwrap();
        assert_eq!((one_then.number, one_then.digest_now.as_deref()), (2, Some("sha256:a")));
        assert_eq!(store.find_tag_then(&then, "on", &hour(4)).await.unwrap(), None);
        let history = async |hours: i64, before: Option<i64>| {
            let events = store.list_history_then(&then, &one.id, &hour(hours), before, 10).await.unwrap();
            events.into_iter().map(|event| event.number).collect::<Vec<_>>()
        };
        assert_eq!((history(4, None).await, history(4, Some(2)).await), (vec![2, 1], vec![1]));
        assert_eq!((history(4, Some(9)).await, history(0, None).await), (vec![2, 1], vec![]));
        let page = store.list_tags_then(&then, &hour(3), "one", 10).await.unwrap();
        assert_eq!(page.iter().map(|tag| tag.name.as_str()).collect::<Vec<_>>(), ["two"]);
    }
}

#[tokio::test]
async fn a_deleted_stream_is_there_while_it_was_and_one_of_the_same_name_after_it() {
    for store in each_store().await {
        let id = project(&store, "demo").await;
        let first = stream(&store, "app", 1).await;
        stream(&store, "web", 3).await;
        let latest = tag(&store, &first, "latest").await;
        at(&store, &latest, Some("sha256:a"), 2).await;
        store.delete_stream("demo", "app", &ada()).await.unwrap();
        let ended = sqlx::query("update ended_streams set deleted_at = $1").bind(BEGIN + 4 * HOUR);
        ended.execute(store.pool()).await.unwrap();
        let second = stream(&store, "app", 5).await;
        let latest = tag(&store, &second, "latest").await;
        at(&store, &latest, Some("sha256:b"), 6).await;

        let names = async |hours: i64, after: &str| {
            let streams = store.list_streams_then(&id, &hour(hours), after, 10).await.unwrap();
            streams.into_iter().map(|stream| (stream.name, stream.deleted_at.is_some())).collect::<Vec<_>>()
        };
        let some = |pairs: &[(&str, bool)]| pairs.iter().map(|(n, d)| ((*n).to_owned(), *d)).collect::<Vec<_>>();
        assert_eq!(names(1, "").await, some(&[]));
        assert_eq!(names(2, "").await, some(&[("app", true)]));
        assert_eq!(names(4, "").await, some(&[("app", true), ("web", false)]));
        assert_eq!(names(4, "app").await, some(&[("web", false)]));
        assert_eq!(names(5, "").await, some(&[("web", false)]), "between the two there was none");
        assert_eq!(names(6, "").await, some(&[("app", false), ("web", false)]));
        let then = store.stream_then(&id, "app", &hour(4)).await.unwrap();
        assert_eq!(
            (then.deleted_by.as_deref(), tags(&store, &then, 4).await),
            (Some("ada"), pairs(&[("latest", "sha256:a")]))
        );
        let then = store.stream_then(&id, "app", &hour(7)).await.unwrap();
        assert_eq!(tags(&store, &then, 7).await, pairs(&[("latest", "sha256:b")]));
        assert!(matches!(store.stream_then(&id, "app", &hour(5)).await, Err(Error::NotFound { .. })));
    }
}

#[tokio::test]
async fn holds_are_told_of_while_they_lasted() {
    for store in each_store().await {
        let id = project(&store, "demo").await;
        let app = stream(&store, "app", 0).await;
        let latest = tag(&store, &app, "latest").await;
        at(&store, &latest, Some("sha256:a"), 1).await;
        store.hold_tag("demo", "app", "latest", None, &ada()).await.unwrap();
        store.resume_tag("demo", "app", "latest", &ada()).await.unwrap();
        let times =
            sqlx::query("update holds set since = $1, ended_at = $2").bind(BEGIN + 2 * HOUR).bind(BEGIN + 4 * HOUR);
        times.execute(store.pool()).await.unwrap();
        let then = store.stream_then(&id, "app", &hour(9)).await.unwrap();
        for (hours, held) in [(2, None), (3, Some("ada")), (4, Some("ada")), (5, None)] {
            let tag = store.find_tag_then(&then, "latest", &hour(hours)).await.unwrap().unwrap();
            assert_eq!(tag.held_by.as_deref(), held, "hour {hours}");
        }
    }
}

#[tokio::test]
async fn a_stream_is_described_as_it_was_then() {
    for store in each_store().await {
        project(&store, "demo").await;
        let app = stream(&store, "app", 0).await;
        let describe = async |text: &str| {
            let fields = StreamFields { description: text.to_owned(), ..StreamFields::default() };
            store.update_stream("demo", "app", &fields, None, &ada()).await.unwrap();
        };
        for (text, hours) in [("one", 2), ("one", 3), ("two", 4), ("three", 6)] {
            TIME.set(Some(BEGIN + hours * HOUR));
            describe(text).await;
        }
        let then =
            async |hours: i64| store.stream_then(&app.project_id, "app", &hour(hours)).await.unwrap().description;
        let told = |hours: i64| {
            if hours <= 2 {
                ""
            } else if hours <= 4 {
                "one"
            } else {
                "two"
            }
        };
        for hours in 1..=6 {
            assert_eq!(then(hours).await, told(hours), "hour {hours}");
        }
        assert_eq!(then(7).await, "three");
        TIME.set(Some(BEGIN + 8 * HOUR));
        store.delete_stream("demo", "app", &ada()).await.unwrap();
        assert_eq!((then(3).await.as_str(), then(7).await.as_str()), ("one", "three"));
        TIME.set(None);
    }
}

/// What a page of the past costs follows from its rows, not from how many streams, tags and rows there are: each look is one in an index.
#[tokio::test]
async fn the_past_is_read_by_indexes() {
    for store in each_store().await {
        if store.backend() != Backend::Sqlite {
            continue;
        }
        project(&store, "demo").await;
        let explain = async |text: &str| {
            let plan: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(sqlx::AssertSqlSafe(format!("explain query plan {text}")))
                    .bind("x")
                    .bind(BEGIN)
                    .bind("")
                    .bind(50_i64)
                    .bind(0_i64)
                    .fetch_all(store.pool())
                    .await
                    .unwrap();
            plan.into_iter().map(|(.., detail)| detail).collect::<Vec<_>>().join("\n")
        };
        for (text, index) in [
            (named_tags_then!(live), "tag_events_moments"),
            (named_tags_then!(ended), "ended_tag_events_moments"),
            (sorted_tags_then!(live, "t.name_key > $3", "t.name_key"), "tag_events_moments"),
            (sorted_tags_then!(ended, "t.version_key < $3", "t.version_key desc"), "ended_tag_events_moments"),
        ] {
            let plan = explain(text).await;
            assert!(plan.contains(&format!("COVERING INDEX {index} (tag_id=? AND sorted_at<?)")), "{plan}");
            assert!(!plan.contains("SCAN t\n") && !plan.contains("USE TEMP B-TREE"), "{plan}");
        }
        let plan = explain(streams_then!("> $3 order by s.name limit $4")).await;
        assert!(plan.contains("streams_project_name_key") || plan.contains("sqlite_autoindex_streams"), "{plan}");
        assert!(plan.contains("ended_streams_name"), "{plan}");
        for (texts, index) in [
            ([HAD, IMAGE_TAGS, REFERENCE], "tag_events_digest"),
            ([ENDED_HAD, ENDED_IMAGE_TAGS, ENDED_REFERENCE], "ended_tag_events_digest"),
        ] {
            for text in texts {
                let plan = plan_of(&store, text, &["'x'", "'sha256:x'", "9"]).await.join("\n");
                assert!(plan.contains(&format!("SEARCH e USING INDEX {index} (digest=?)")), "{plan}");
            }
        }
    }
}

mod apps;
mod catalog;
mod tags;
