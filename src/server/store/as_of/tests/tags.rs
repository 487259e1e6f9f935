//! What a tag of then was: its items, what it came from, what it only named.

use super::*;
use crate::model::{NewImage, PastTag, SourceKind};
use crate::server::store::{Past, TagMove, TagSpec};

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
