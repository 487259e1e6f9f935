use super::*;
use crate::model::{EventKind, ImageChild, NewImage, SourceKind};
use crate::server::store::testing::{TestStore, each_store, project};
use crate::server::store::{StreamFields, TagMove};

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

fn actor() -> Actor {
    Actor::system("test")
}

fn choosing(platforms: &str) -> StreamFields {
    let annotations = platforms.parse::<Platforms>().unwrap().set_in("{}");
    StreamFields { annotations, ..StreamFields::default() }
}

fn index(digest: &str, children: &[(&str, &str, &str)]) -> NewImage {
    let child = |(digest, media_type, architecture): &(&str, &str, &str)| ImageChild {
        child_digest: (*digest).to_owned(),
        media_type: (*media_type).to_owned(),
        size: 2,
        architecture: Some((*architecture).to_owned()).filter(|text| !text.is_empty()),
        os: Some("linux".to_owned()).filter(|_| !architecture.is_empty()),
        variant: None,
    };
    NewImage {
        digest: digest.to_owned(),
        media_type: INDEX.to_owned(),
        manifest: "{}".to_owned(),
        children: children.iter().map(child).collect(),
        ..NewImage::default()
    }
}

/// Stream `base` that chose amd64, with `latest` imported: an index of two platforms, of which one was left out.
async fn imported(store: &TestStore) -> Stream {
    project(store, "demo").await;
    let (name, tag) = ("base".parse().unwrap(), "latest".parse().unwrap());
    let stream = store.create_stream("demo", &name, &choosing("linux/amd64"), &actor()).await.unwrap();
    let amd64 = NewImage {
        digest: "sha256:amd64".into(),
        media_type: IMAGE.into(),
        manifest: "{}".into(),
        ..NewImage::default()
    };
    store.put_manifest(&stream, &amd64, None, &actor()).await.unwrap();
    let both = index("sha256:both", &[("sha256:amd64", IMAGE, "amd64"), ("sha256:arm64", IMAGE, "arm64")]);
    let both = NewImage { left_out: vec!["sha256:arm64".to_owned()], ..both };
    let reference = Some("quay.io/org/base@sha256:both");
    let to = TagMove { tag: &tag, kind: EventKind::Import, reference, cause: None, build_id: None };
    store.put_manifest(&stream, &both, Some(to), &actor()).await.unwrap();
    stream
}

/// What is to be completed: by stream and digest, and whether it is whole as it is.
async fn wanted(store: &Store) -> Vec<(String, String, i64)> {
    let claimed = store.claim_incomplete(0, 10, |_| Some(())).await.unwrap();
    claimed.into_iter().map(|(image, ())| (image.stream, image.digest, image.is_whole)).collect()
}

async fn choose(store: &Store, platforms: &str) {
    store.update_stream("demo", "base", &choosing(platforms), None, &actor()).await.unwrap();
}

#[tokio::test]
async fn what_a_stream_left_out_is_wanted_once_it_chooses_it() {
    for store in each_store().await {
        let stream = imported(&store).await;
        assert_eq!(wanted(&store).await, [], "it has what it chose");
        assert_eq!(store.list_left_out(&stream.id, "sha256:both").await.unwrap(), ["sha256:arm64"]);
        choose(&store, "linux/amd64 linux/arm64").await;
        let both = ("base".to_owned(), "sha256:both".to_owned(), 1);
        assert_eq!(wanted(&store).await, std::slice::from_ref(&both));
        let left = ["sha256:arm64".to_owned()];
        assert_eq!(store.complete_image(&stream.id, "sha256:both", &[]).await.unwrap(), left, "it is not here yet");
        // A worker that began when it was not chosen comes to its end.
        assert_eq!(store.complete_image(&stream.id, "sha256:both", &left).await.unwrap(), Vec::<String>::new());
        assert_eq!(wanted(&store).await, [both], "it is looked at again");
        choose(&store, "linux/amd64").await;
        assert_eq!(store.complete_image(&stream.id, "sha256:both", &left).await.unwrap(), Vec::<String>::new());
        assert_eq!((wanted(&store).await, store.next_completion_at().await.unwrap()), (vec![], None));
        choose(&store, "").await;
        let mut claimed = store.claim_incomplete(60_000, 10, |_| Some(())).await.unwrap();
        let (image, ()) = claimed.remove(0);
        assert_eq!((image.is_whole, image.source.as_str()), (1, "quay.io/org/base"), "none chosen means all");
        store.forget_more(&IncompleteImage { complete_at: 7, ..image.clone() }).await.unwrap();
        assert!(store.next_completion_at().await.unwrap().is_some(), "another worker has it");
        store.forget_more(&image).await.unwrap();
        assert_eq!((wanted(&store).await, store.next_completion_at().await.unwrap()), (vec![], None));
    }
}

#[tokio::test]
async fn who_follows_wants_what_it_chose_itself_and_has_what_there_is() {
    for store in each_store().await {
        imported(&store).await;
        let follow = Some((SourceKind::ImageStreamTag, "base:latest".to_owned()));
        let follow = TagSpec { source: follow, ..TagSpec::default() };
        store.create_stream("demo", &"same".parse().unwrap(), &choosing("linux/amd64"), &actor()).await.unwrap();
        // More is wanted there, which takes nothing from those who follow.
        choose(&store, "linux/amd64 linux/arm64").await;
        for name in ["all", "same"] {
            let tag = "latest".parse().unwrap();
            store.set_tag("demo", &name.parse().unwrap(), &tag, &follow, None, &actor()).await.unwrap();
            let stream = store.stream("demo", name).await.unwrap();
            for digest in ["sha256:both", "sha256:amd64"] {
                assert!(store.find_manifest_by_digest(&stream.id, digest).await.unwrap().is_some(), "{name} {digest}");
            }
        }
        let mut streams: Vec<_> = wanted(&store).await.into_iter().map(|(stream, _, whole)| (stream, whole)).collect();
        streams.sort();
        assert_eq!(streams, [("all".to_owned(), 1), ("base".to_owned(), 1)]);
    }
}

#[tokio::test]
async fn what_was_left_out_is_not_taken_for_pushed() {
    for store in each_store().await {
        let stream = imported(&store).await;
        let tag = "other".parse().unwrap();
        let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        let outer = index("sha256:outer", &[("sha256:both", INDEX, "")]);
        for refused in [
            store.put_manifest(&stream, &outer, Some(to), &actor()).await.map(|_| ()),
            store.map_image(&stream, "sha256:both", &tag, &actor()).await.map(|_| ()),
        ] {
            assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
        }
        store.map_image(&stream, "sha256:amd64", &tag, &actor()).await.unwrap();
    }
}

#[tokio::test]
async fn tags_that_take_one_image_are_imported_again() {
    for store in each_store().await {
        imported(&store).await;
        let legacy = TagSpec { import_mode: "Legacy".to_owned(), ..TagSpec::import("quay.io/org/base:1") };
        let (base, one) = ("base".parse().unwrap(), "one".parse().unwrap());
        let whole = TagSpec::import("quay.io/org/base:1");
        let other = store.set_tag("demo", &base, &"whole".parse().unwrap(), &whole, None, &actor()).await.unwrap().tag;
        let before = store.set_tag("demo", &base, &one, &legacy, None, &actor()).await.unwrap().tag;
        store
            .update_stream(
                "demo",
                "base",
                &StreamFields { description: "ours".to_owned(), ..choosing("linux/amd64") },
                None,
                &actor(),
            )
            .await
            .unwrap();
        assert_eq!(store.tag_by_id(&before.id).await.unwrap().generation, before.generation, "nothing of it changed");
        choose(&store, "linux/arm64").await;
        assert!(store.tag_by_id(&before.id).await.unwrap().generation > before.generation);
        let whole = store.tag_by_id(&other.id).await.unwrap();
        assert_eq!(whole.generation, other.generation, "what takes the whole index is left alone");
        let (stream, tag) = (store.stream("demo", "base").await.unwrap(), store.tag_by_id(&before.id).await.unwrap());
        assert_eq!(stream.generation, tag.generation, "it is the stream's newest");
    }
}

#[tokio::test]
async fn a_tag_whose_image_was_not_taken_whole_is_restored() {
    for store in each_store().await {
        imported(&store).await;
        store.delete_tag("demo", "base", "latest", &actor()).await.unwrap();
        let deleted = store.find_tag("demo", "base", "latest").await.unwrap().unwrap();
        assert_eq!(store.why_not_restorable(&deleted).await.unwrap(), None);
        assert!(store.restore_tag("demo", "base", "latest", None, &actor()).await.unwrap().changed);
    }
}
