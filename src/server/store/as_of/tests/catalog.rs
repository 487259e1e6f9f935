//! The lists of the catalog of then: sorted, searched, page by page.

use super::*;

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
