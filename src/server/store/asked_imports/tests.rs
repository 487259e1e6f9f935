//! Imports that are asked for, on both databases.

use super::*;
use crate::model::{EventKind, NewImage, SourceKind};
use crate::server::store::testing::{TestStore, each_store, project};
use crate::server::store::{CheckEnd, Expected, NextCheck, TagMove};

fn ada() -> Actor {
    Actor::person("ada")
}

fn spec(reference: &str) -> TagSpec {
    TagSpec { source: Some((SourceKind::DockerImage, reference.to_owned())), ..TagSpec::default() }
}

async fn asked(store: &TestStore, name: &str, spec: TagSpec) -> AskedImport {
    AskedImport { name: name.parse().unwrap(), spec, seen: store.find_tag("demo", "app", name).await.unwrap() }
}

async fn begin(store: &TestStore, imports: &[AskedImport]) -> Result<Vec<Option<TagSet>>> {
    let stream = "app".parse().unwrap();
    let target = ImportTarget { project: "demo", stream: &stream, id: None, version: None };
    store.begin_imports(&target, imports, &ada()).await
}

async fn stream(store: &TestStore) -> Stream {
    store.stream("demo", "app").await.unwrap()
}

/// Carries out the check of a tag, which brings this image.
async fn bring(store: &TestStore, name: &str, digest: &str) {
    let tag = store.tag("demo", "app", name).await.unwrap();
    let due = store.claim_import(&tag.id, store.owner(), 60_000).await.unwrap().unwrap();
    let image = NewImage { digest: digest.to_owned(), manifest: "{}".to_owned(), ..NewImage::default() };
    let tag_name = name.parse().unwrap();
    let to = TagMove { tag: &tag_name, kind: EventKind::Import, reference: Some("x@y"), cause: None, build_id: None };
    let expected = Expected::Following { generation: tag.generation };
    store.put_manifest_if(&stream(store).await, &image, Some(to), &expected, &Actor::schedule()).await.unwrap();
    let next = NextCheck { at: i64::MAX, overdue_at: i64::MAX };
    store.record_check(&due, &CheckEnd::Fetched { digest }, Some(next)).await.unwrap();
}

#[tokio::test]
async fn section_6_6_all_that_one_request_says_is_one_generation() {
    for store in each_store().await {
        project(&store, "demo").await;
        let mut imports = Vec::new();
        for n in 0..50 {
            imports.push(asked(&store, &format!("v{n}"), spec(&format!("quay.io/org/app:v{n}"))).await);
        }
        let begun = begin(&store, &imports).await.unwrap();
        assert!(begun.iter().flatten().all(|set| set.created && set.tag.generation == 1) && begun.len() == 50);
        assert_eq!(stream(&store).await.generation, 1, "what makes a stream is its first generation");
        let other = [
            asked(&store, "v1", spec("quay.io/org/other:1")).await,
            asked(&store, "v2", spec("quay.io/org/other:2")).await,
            asked(&store, "v3", spec("quay.io/org/app:v3")).await,
        ];
        begin(&store, &other).await.unwrap();
        assert_eq!(stream(&store).await.generation, 2);
        let generations = async |name| store.tag("demo", "app", name).await.unwrap().generation;
        assert_eq!([generations("v1").await, generations("v2").await, generations("v3").await], [2, 2, 1]);

        let taken_back: Vec<Tag> = begun[10..].iter().flatten().map(|set| set.tag.clone()).collect();
        store.take_back_imports(&taken_back, &ada()).await.unwrap();
        assert_eq!(stream(&store).await.generation, 3, "and so is what is taken back");
        assert_eq!(store.list_tags(&stream(&store).await.id, "", 100).await.unwrap().len(), 10);
        store.take_back_imports(&taken_back, &ada()).await.unwrap();
        assert_eq!(stream(&store).await.generation, 3, "they are gone already");
    }
}

#[tokio::test]
async fn section_6_6_an_import_of_what_is_so_already_leaves_the_stream_as_it_is() {
    for store in each_store().await {
        project(&store, "demo").await;
        let same = spec("quay.io/org/app:1");
        begin(&store, &[asked(&store, "t", same.clone()).await]).await.unwrap();
        for has_failed in [false, true] {
            if has_failed {
                let tag = store.tag("demo", "app", "t").await.unwrap();
                let due = store.claim_import(&tag.id, store.owner(), 60_000).await.unwrap().unwrap();
                let failed = CheckEnd::Failed { reason: "not-found", message: "no" };
                store.record_check(&due, &failed, None).await.unwrap();
            }
            let before = stream(&store).await;
            let begun = begin(&store, &[asked(&store, "t", same.clone()).await]).await.unwrap();
            assert_eq!(stream(&store).await, before, "it was only asked for once more; failed: {has_failed}");
            let tag = begun[0].clone().unwrap().tag;
            assert!(store.find_import(&tag.id).await.unwrap().unwrap().requested_at.is_some());
        }
        bring(&store, "t", "sha256:a").await;
        let before = stream(&store).await;
        begin(&store, &[asked(&store, "t", same.clone()).await]).await.unwrap();
        assert_eq!(stream(&store).await, before);

        // Another policy is another spec, and the same image.
        begin(&store, &[asked(&store, "t", TagSpec { scheduled: true, ..same.clone() }).await]).await.unwrap();
        let (after, tag) = (stream(&store).await, store.tag("demo", "app", "t").await.unwrap());
        assert_eq!((after.generation, tag.generation, tag.scheduled), (before.generation + 1, 1, 1));
        begin(&store, &[asked(&store, "t", same.clone()).await]).await.unwrap();
        assert_eq!(store.tag("demo", "app", "t").await.unwrap().scheduled, 0);

        // After a push the source's image has to be taken again, though it is the one that was seen there last.
        let image = NewImage { digest: "sha256:b".to_owned(), manifest: "{}".to_owned(), ..NewImage::default() };
        let name = "t".parse().unwrap();
        let to = TagMove { tag: &name, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        store.put_manifest(&stream(&store).await, &image, Some(to), &ada()).await.unwrap();
        let before = stream(&store).await;
        begin(&store, &[asked(&store, "t", same.clone()).await]).await.unwrap();
        assert_eq!(stream(&store).await.generation, before.generation + 1);
        bring(&store, "t", "sha256:a").await;
        assert_eq!(store.tag("demo", "app", "t").await.unwrap().digest.as_deref(), Some("sha256:a"));
    }
}

#[tokio::test]
async fn section_14_1_what_was_set_since_the_request_looked_stands() {
    for store in each_store().await {
        project(&store, "demo").await;
        begin(&store, &[asked(&store, "t", spec("quay.io/org/app:1")).await]).await.unwrap();
        let stale = [
            asked(&store, "t", spec("quay.io/org/app:2")).await,
            asked(&store, "u", spec("quay.io/org/app:2")).await,
            asked(&store, "v", spec("quay.io/org/app:2")).await,
            asked(&store, "w", spec("quay.io/org/app:2")).await,
        ];
        let scheduled = TagSpec { scheduled: true, ..spec("quay.io/org/app:1") };
        let name = "app".parse().unwrap();
        let set = async |tag: &str, spec: &TagSpec| {
            store.set_tag("demo", &name, &tag.parse().unwrap(), spec, None, &ada()).await.unwrap();
        };
        set("t", &scheduled).await;
        set("u", &spec("quay.io/org/app:3")).await;
        set("w", &TagSpec { scheduled: true, ..spec("quay.io/org/app:2") }).await;
        let begun = begin(&store, &stale).await.unwrap();
        assert_eq!(begun.iter().map(Option::is_some).collect::<Vec<_>>(), [false, false, true, true]);
        for (tag, source, scheduled) in [("t", "1", 1), ("u", "3", 0), ("v", "2", 0), ("w", "2", 1)] {
            let tag = store.tag("demo", "app", tag).await.unwrap();
            assert_eq!((tag.source, tag.scheduled), (Some(format!("quay.io/org/app:{source}")), scheduled));
        }
    }
}

#[tokio::test]
async fn section_6_1_an_import_is_for_the_stream_it_names_or_for_none() {
    for store in each_store().await {
        project(&store, "demo").await;
        begin(&store, &[asked(&store, "t", spec("quay.io/org/app:1")).await]).await.unwrap();
        let (made, name) = (stream(&store).await, "app".parse().unwrap());
        let imports = [asked(&store, "t", spec("quay.io/org/app:2")).await];
        let begin = async |id: Option<&str>, version: Option<i64>| {
            let target = ImportTarget { project: "demo", stream: &name, id, version };
            store.begin_imports(&target, &imports, &ada()).await.map(drop)
        };
        let (id, version) = (Some(made.id.as_str()), Some(made.version));
        let stale = begin(id, Some(made.version - 1)).await.unwrap_err().to_string();
        let words = format!("the image stream was updated from \"{}\" to \"{}\"", made.version - 1, made.version);
        assert_eq!(stale, words);
        assert!(matches!(begin(Some("another"), None).await, Err(Error::NotFound { kind: "imagestreams", .. })));
        assert_eq!(stream(&store).await, made, "nothing came of either");
        begin(id, version).await.unwrap();
        store.delete_stream("demo", "app", &ada()).await.unwrap();
        for (id, version) in [(id, None), (None, version)] {
            assert!(matches!(begin(id, version).await, Err(Error::NotFound { kind: "imagestreams", .. })));
            assert_eq!(store.find_stream("demo", "app").await.unwrap(), None, "it is not made anew");
        }
    }
}
