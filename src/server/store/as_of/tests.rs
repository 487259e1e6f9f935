use super::apps::APPS;
use super::*;
use crate::model::time::testing::TIME;
use crate::model::{Actor, AppName, AppSpec, HoldUntil, NewImage, PastTag, SourceKind, Stream, StreamTag, Tag};
use crate::server::store::moves::Move;
use crate::server::store::testing::{TestStore, each_store, plan, project};
use crate::server::store::{AppFields, Backend, Entry, Past, StreamFields, TagMove, TagSpec};

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
    }
}

#[tokio::test]
async fn apps_are_shown_with_the_rollout_they_had() {
    for store in each_store().await {
        TIME.set(Some(BEGIN));
        let id = project(&store, "demo").await;
        let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &ada()).await.unwrap();
        let image = NewImage { digest: "sha256:a".to_owned(), manifest: "{}".to_owned(), ..NewImage::default() };
        store.put_manifest(&stream, &image, None, &ada()).await.unwrap();
        let latest = tag(&store, &stream, "latest").await;
        let name: AppName = "web".parse().unwrap();
        sqlx::query(
            "insert into apps (id, project_id, name, spec, tag_id, last_number, created_at, created_by, version) \
             values ('web', $1, $2, '{}', $3, 2, $4, 'ada', 1)",
        )
        .bind(&id)
        .bind(name.as_str())
        .bind(&latest.id)
        .bind(BEGIN)
        .execute(store.pool())
        .await
        .unwrap();
        for (number, digest, hours) in [(1_i64, "sha256:a", 1), (2, "sha256:b", 3)] {
            TIME.set(Some(BEGIN + hours * HOUR));
            let mut tx = store.write_tx().await.unwrap();
            let entry = Entry { action: "rollout.request", project: Some("demo"), object: "web", ..Entry::default() };
            let sequence = tx.record(&ada(), entry).await.unwrap();
            tx.commit().await.unwrap();
            sqlx::query(
                "insert into rollouts (id, app_id, number, digest, repository, kind, spec, actor_kind, actor, sequence, cascade_id, \
                 phase, created_at, finished_at) values ($1, 'web', $2, $3, 'demo/app', 'image', '{}', 'system', 'triggers', $6, 'c', \
                 'Complete', $4, $5)",
            )
            .bind(format!("web-{number}"))
            .bind(number)
            .bind(digest)
            .bind(BEGIN + hours * HOUR)
            .bind(BEGIN + (hours + 1) * HOUR)
            .bind(sequence)
            .execute(store.pool())
            .await
            .unwrap();
        }
        let then = async |hours: i64| store.list_apps_then(&id, &hour(hours), "", 10).await.unwrap();
        assert_eq!(then(0).await, []);
        let app = then(1).await.remove(0);
        assert_eq!((app.number, app.digest, app.digest_now.as_deref()), (None, None, Some("sha256:b")));
        let app = then(2).await.remove(0);
        assert_eq!((app.number, app.ended), (Some(1), None), "it was under way");
        let app = then(3).await.remove(0);
        assert_eq!(
            (app.number, app.digest.as_deref(), app.ended.as_deref()),
            (Some(1), Some("sha256:a"), Some("Complete"))
        );
        assert_eq!(then(5).await.remove(0).number, Some(2));
        assert_eq!(store.list_apps_then(&id, &hour(5), "web", 10).await.unwrap(), []);
        let values = ["'x'", "0", "''", "10", "''", "''", "0"];
        let plan = plan(&store, APPS, &values).await.join("\n");
        for index in ["rollouts_app_moments", "ended_rollouts_moments"] {
            assert!(
                store.backend() != Backend::Sqlite
                    || plan.contains(&format!("COVERING INDEX {index} (app_id=? AND sequence<?)")),
                "{plan}"
            );
        }
        TIME.set(None);
    }
}

#[tokio::test]
async fn a_deleted_app_is_there_while_it_was_with_its_rollouts_and_its_hold() {
    for store in each_store().await {
        let at = |hours: i64| TIME.set(Some(BEGIN + hours * HOUR));
        at(0);
        let id = project(&store, "demo").await;
        let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &ada()).await.unwrap();
        let tag = "latest".parse().unwrap();
        let push = async |digest: &str| {
            let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
            let image = NewImage { digest: digest.to_owned(), manifest: "{}".to_owned(), ..NewImage::default() };
            store.put_manifest(&stream, &image, Some(to), &ada()).await.unwrap();
        };
        push("sha256:a").await;
        let image = StreamTag { project: "demo".to_owned(), stream: "app".to_owned(), tag: "latest".to_owned() };
        let (labels, annotations) = ("{}".to_owned(), "{}".to_owned());
        let fields = AppFields { labels, annotations, spec: AppSpec::default(), image, automatic: true };
        let make = async || store.create_app("demo", &"web".parse().unwrap(), &fields, &ada()).await.unwrap();
        make().await;
        at(1);
        store.request_ready_rollouts().await.unwrap();
        at(2);
        store.hold_app("demo", "web", Some("a fair"), HoldUntil::Resumed, &ada()).await.unwrap();
        at(4);
        store.delete_app("demo", "web", &ada()).await.unwrap();
        at(6);
        make().await;
        let then = async |hours: i64| {
            let app = store.find_app_then(&id, "web", &hour(hours)).await.unwrap()?;
            let hold = store.app_hold_then(&app, &hour(hours)).await.unwrap();
            let rollouts = store.list_rollouts_then(&app, &hour(hours), None, 10).await.unwrap();
            Some((app.deleted_at.is_some(), app.digest, rollouts.len(), hold.and_then(|hold| hold.reason)))
        };
        let digest = Some("sha256:a".to_owned());
        assert_eq!(then(1).await, Some((true, None, 0, None)));
        assert_eq!(then(2).await, Some((true, digest.clone(), 1, None)));
        assert_eq!(then(3).await, Some((true, digest, 1, Some("a fair".to_owned()))));
        assert_eq!(then(5).await, None, "between the two there was none");
        assert_eq!(then(7).await, Some((false, None, 0, None)));
        let running = async |repository: &str, digest: &str| {
            store.list_apps_running_then(&id, &hour(3), (repository, digest), "", 10).await.unwrap().len()
        };
        assert_eq!((running("demo/app", "").await, running("", "sha256:a").await), (1, 1));
        assert_eq!((running("demo/other", "").await, running("", "sha256:b").await), (0, 0));
        TIME.set(None);
    }
}

#[tokio::test]
async fn the_catalog_of_then_tells_how_many_tags_there_were_and_which_moved_last() {
    for store in each_store().await {
        let digest = |n: u8| format!("sha256:{n:064}");
        let id = project(&store, "demo").await;
        let actor = ada();
        let mut hours = 0;
        let mut go = async |stream: &str, tag: &str, to: Option<String>| {
            hours += 1;
            TIME.set(Some(BEGIN + hours * HOUR));
            let stream = store.ensure_stream("demo", &stream.parse().unwrap(), &actor).await.unwrap();
            let mut tx = store.write_tx().await.unwrap();
            let tag = tx.ensure_tag(&stream, &tag.parse().unwrap()).await.unwrap();
            match to {
                Some(digest) => {
                    _ = tx.move_tag(&tag, &Move::new(EventKind::Push, &digest, "demo/x@y", &actor)).await.unwrap()
                }
                None => tx.record_deletion(&tag, &actor).await.unwrap(),
            }
            tx.commit().await.unwrap();
        };
        go("base", "one", Some(digest(1))).await;
        go("base", "two", Some(digest(2))).await;
        go("base", "two", None).await;
        go("web", "main", Some(digest(3))).await;
        go("base", "one", Some(digest(4))).await;
        TIME.set(Some(BEGIN + 6 * HOUR));
        store.delete_stream("demo", "base", &actor).await.unwrap();
        TIME.set(Some(BEGIN + 9 * HOUR));
        let half_past = |hours: i64| Moment { end: BEGIN + hours * HOUR + HOUR / 2, ..hour(hours) };
        let catalog = async |hours: i64, text: &str, falling: bool| {
            let page = store.list_catalog_then(&id, &half_past(hours), (text, falling), "", 10).await.unwrap();
            let brief = page.into_iter().map(|row| {
                let newest = row.newest_tag.zip(row.digest).map(|(tag, digest)| format!("{tag} {}", &digest[70..]));
                (row.stream.name, row.tags, newest.unwrap_or_default())
            });
            brief.collect::<Vec<_>>()
        };
        let row = |name: &str, tags: i64, newest: &str| (name.to_owned(), tags, newest.to_owned());
        for falling in [false, true] {
            assert_eq!(catalog(0, "", falling).await, []);
            assert_eq!(catalog(2, "", falling).await, [row("base", 2, "two 2")]);
            assert_eq!(catalog(3, "", falling).await, [row("base", 1, "one 1")], "the other one was deleted");
        }
        let both = [row("base", 1, "one 4"), row("web", 1, "main 3")];
        assert_eq!(catalog(5, "", false).await, both);
        assert_eq!(catalog(5, "", true).await, [both[1].clone(), both[0].clone()]);
        assert_eq!(catalog(7, "", false).await, both[1..]);
        // By name, by a tag that pointed somewhere, by where it pointed.
        for (text, found) in [
            ("WEB", 1..2),
            ("one", 0..1),
            ("two", 0..0),
            (&digest(3)[..], 1..2),
            (&digest(4)[..], 0..1),
            (&digest(1)[..], 0..0),
        ] {
            assert_eq!(catalog(5, text, false).await, both[found], "{text}");
        }
        let then = store.stream_then(&id, "base", &half_past(5)).await.unwrap();
        let sorted = async |sort: TagSort, text: &str, hours: i64| {
            let tags = store.list_sorted_tags_then(&then, &half_past(hours), sort, text, "", 10).await.unwrap();
            tags.into_iter().map(|tag| tag.name).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(
            (sorted(TagSort::Name, "", 2).await, sorted(TagSort::Name, "TW", 2).await),
            ("one two".into(), "two".into())
        );
        assert_eq!(sorted(TagSort::Semver, "", 2).await.split(' ').count(), 2);
        let gone = store.list_deleted_tags_then(&then, &half_past(4), "", 10).await.unwrap();
        assert_eq!((gone.len(), gone[0].name.as_str(), gone[0].digest.as_deref()), (1, "two", Some(&*digest(2))));
        assert_eq!(store.list_deleted_tags_then(&then, &half_past(2), "", 10).await.unwrap(), []);
        let history = store.list_stream_history_then(&then, &half_past(3), None, 10).await.unwrap();
        let told: Vec<_> = history.iter().map(|event| (event.tag.as_str(), event.number)).collect();
        assert_eq!(told, [("two", 2), ("two", 1), ("one", 1)]);
        let page = store.list_stream_history_then(&then, &half_past(3), Some(history[1].sequence), 10).await.unwrap();
        assert_eq!(page.len(), 1);
        TIME.set(None);
    }
}

#[tokio::test]
async fn a_tag_had_the_items_that_it_had() {
    for store in each_store().await {
        let id = project(&store, "demo").await;
        let app = stream(&store, "app", 0).await;
        let (one, two) = (tag(&store, &app, "one").await, tag(&store, &app, "two").await);
        for (digest, hours) in
            [(Some("sha256:a"), 1), (Some("sha256:b"), 2), (None, 3), (Some("sha256:c"), 4), (Some("sha256:a"), 5)]
        {
            at(&store, &one, digest, hours).await;
        }
        for hours in 1..=60 {
            at(&store, &two, Some(&format!("sha256:{hours}")), hours).await;
        }
        for ended in [false, true] {
            if ended {
                store.delete_stream("demo", "app", &ada()).await.unwrap();
            }
            let then = store.stream_then(&id, "app", &hour(70)).await.unwrap();
            let items = async |hours: i64, name: &str| {
                let tags = store.list_tags_then(&then, &hour(hours), "", 10).await.unwrap();
                let mut moves = store.moves_then(&then, &hour(hours), &tags).await.unwrap();
                let tag = tags.iter().find(|tag| tag.name == name)?;
                Some(moves.remove(&tag.id)?.into_iter().filter_map(|item| item.digest).collect::<Vec<_>>())
            };
            let told =
                |digests: &[&str]| Some(digests.iter().map(|digest| format!("sha256:{digest}")).collect::<Vec<_>>());
            assert_eq!(items(1, "one").await, None);
            assert_eq!(items(3, "one").await, told(&["b", "a"]));
            assert_eq!(items(4, "one").await, None, "deleted then");
            assert_eq!(items(9, "one").await, told(&["a", "c"]), "what was before the deletion is not shown");
            let two = items(61, "two").await.unwrap();
            assert_eq!((two.len(), two[0].as_str(), two[49].as_str()), (50, "sha256:60", "sha256:11"));
        }
    }
}

#[tokio::test]
async fn references_generations_and_sizes_are_those_of_then() {
    for store in each_store().await {
        let id = project(&store, "demo").await;
        let actor = ada();
        let import = async |hours: i64, reference: &str| {
            TIME.set(Some(BEGIN + hours * HOUR));
            let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &actor).await.unwrap();
            let image = NewImage { digest: "sha256:a".into(), manifest: "{}".into(), size: 7, ..NewImage::default() };
            let (tag, reference) = ("one".parse().unwrap(), Some(reference));
            let to = TagMove { tag: &tag, kind: EventKind::Import, reference, cause: None, build_id: None };
            store.put_manifest(&stream, &image, Some(to), &actor).await.unwrap();
            stream
        };
        import(1, "a.io/x@sha256:a").await;
        import(3, "b.io/x@sha256:a").await;
        let raise = "update streams set generation = generation + 4";
        sqlx::query(raise).execute(store.pool()).await.unwrap();
        let app = import(5, "b.io/x@sha256:a").await;
        TIME.set(Some(BEGIN + 9 * HOUR));
        let then = async |hours: i64| {
            let app = store.stream_then(&id, "app", &hour(hours)).await.unwrap();
            let tag = store.find_tag_then(&app, "one", &hour(hours)).await.unwrap().unwrap();
            let mut moves = store.moves_then(&app, &hour(hours), std::slice::from_ref(&tag)).await.unwrap();
            let generation = moves.remove(&tag.id).unwrap()[0].generation;
            assert_eq!((tag.generation, tag.refers_to()), (generation, None), "hour {hours}");
            let history = store.list_history_then(&app, &tag.id, &hour(hours), None, 10).await.unwrap();
            let repeats: Vec<_> = history.iter().map(|event| event.repeats).collect();
            (tag.reference().unwrap_or_default().to_owned(), generation.is_some(), tag.size, repeats)
        };
        let told =
            |from: &str, known: bool, repeats: i64| (format!("{from}/x@sha256:a"), known, Some(7), vec![repeats]);
        assert_eq!(then(2).await, told("a.io", false, 0));
        assert_eq!(then(4).await, told("b.io", false, 0), "it was raised later, and asked for again");
        assert_eq!(then(6).await, told("b.io", true, 2));
        store.delete_stream("demo", &app.name, &ada()).await.unwrap();
        assert_eq!(
            then(4).await,
            (told("b.io", false, 0).0, false, None, vec![0]),
            "its repository went, and with it what is told of its images"
        );
        TIME.set(None);
    }
}

#[tokio::test]
async fn what_followed_a_mere_reference_only_named_an_image_then() {
    for store in each_store().await {
        let id = project(&store, "demo").await;
        let (actor, names) = (ada(), |tag: &str| ("app".parse().unwrap(), tag.parse().unwrap()));
        TIME.set(Some(BEGIN + HOUR));
        let app = store.ensure_stream("demo", &"app".parse().unwrap(), &actor).await.unwrap();
        let image = NewImage { digest: "sha256:a".into(), manifest: "{}".into(), ..NewImage::default() };
        let source = "source".parse().unwrap();
        let to = TagMove { tag: &source, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        store.put_manifest(&app, &image, Some(to), &actor).await.unwrap();
        let follow = TagSpec { source: Some((SourceKind::ImageStreamTag, "source".into())), ..TagSpec::default() };
        let (stream, tag) = names("follower");
        store.set_tag("demo", &stream, &tag, &follow, None, &actor).await.unwrap();
        TIME.set(Some(BEGIN + 3 * HOUR));
        let bare = TagSpec { reference_only: true, scheduled: false, ..TagSpec::import("c.io/x:1") };
        let (stream, tag) = names("source");
        store.set_tag("demo", &stream, &tag, &bare, None, &actor).await.unwrap();
        TIME.set(Some(BEGIN + 9 * HOUR));
        let then = store.stream_then(&id, "app", &hour(5)).await.unwrap();
        let named = async |hours: i64| {
            let tag = store.find_tag_then(&then, "follower", &hour(hours)).await.unwrap().unwrap();
            tag.refers_to().map(str::to_owned)
        };
        assert_eq!((named(2).await, named(5).await), (None, Some("c.io/x:1".to_owned())));
        let pulled = async |hours: i64| {
            let app = store.ensure_stream("demo", &"app".parse().unwrap(), &actor).await.unwrap();
            let past = PastTag { tag: "follower".parse().unwrap(), end: hour(hours).end };
            store.manifest_at(&app, &past).await.unwrap()
        };
        let listed = async |hours: i64| {
            let app = store.stream_then(&id, "app", &hour(hours)).await.unwrap();
            store.list_tag_names_then(&app, &hour(hours), "", 10).await.unwrap()
        };
        assert!(matches!(pulled(2).await, Past::Manifest(_)));
        assert_eq!(pulled(5).await, Past::Named("c.io/x:1".to_owned()));
        assert_eq!((listed(2).await.len(), listed(5).await), (2, vec!["source".to_owned()]));
        // Of a deleted stream it is told in the same way.
        store.delete_stream("demo", "app", &actor).await.unwrap();
        assert_eq!(pulled(2).await, Past::Gone("sha256:a".to_owned()));
        assert_eq!(pulled(5).await, Past::Named("c.io/x:1".to_owned()));
        assert_eq!((listed(2).await.len(), listed(5).await), (2, vec!["source".to_owned()]));
        TIME.set(None);
    }
}
