//! What a repository gets of an image it comes back to: what its own project pushed, built or imported.

use super::*;
use crate::model::{EventKind, ImageLayer, NewImage, SourceKind};
use crate::server::store::testing::{TestStore, each_store, project};
use crate::server::store::{TagMove, TagSpec};

fn actor() -> Actor {
    Actor::system("test")
}

fn image() -> NewImage {
    let media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
    let layer = ImageLayer { layer_digest: "sha256:l".to_owned(), size: 1, media_type };
    let (digest, manifest) = ("sha256:i".to_owned(), "{}".to_owned());
    NewImage { digest, manifest, layers: vec![layer], ..NewImage::default() }
}

/// A stream whose tag the image came to once in this way, and which serves it no more.
async fn deleted(store: &TestStore, project: &str, name: &str, kind: EventKind) -> Stream {
    let stream = store.ensure_stream(project, &name.parse().unwrap(), &actor()).await.unwrap();
    store.link_blob(&stream.id, "sha256:l", 1, None).await.unwrap();
    let tag = "latest".parse().unwrap();
    let reference = (kind == EventKind::Import).then_some("quay.io/org/base@sha256:i");
    let to = TagMove { tag: &tag, kind, reference, cause: None, build_id: None };
    store.put_manifest(&stream, &image(), Some(to), &actor()).await.unwrap();
    assert!(store.delete_manifest(&stream, "sha256:i", &actor()).await.unwrap());
    // As the collector takes links away that nothing needs.
    let mut tx = store.write_tx().await.unwrap();
    tx.unlink(Content::Blob, &stream.id, "sha256:l").await.unwrap();
    tx.commit().await.unwrap();
    stream
}

/// Whether the layer is in the stream once it serves the image, and whether it is taken for whole.
async fn served(store: &TestStore, stream: &Stream) -> (bool, bool) {
    let mut tx = store.write_tx().await.unwrap();
    tx.serve_tree(&stream.id, "sha256:i", None).await.unwrap();
    tx.commit().await.unwrap();
    let source: Option<(Option<String>,)> =
        sqlx::query_as("select source from repository_images where stream_id = $1 and digest = 'sha256:i'")
            .bind(&stream.id)
            .fetch_optional(store.pool())
            .await
            .unwrap();
    let has_layer = store.find_blob(&stream.id, "sha256:l").await.unwrap().is_some();
    (has_layer, source.expect("it serves the manifest").0.is_none())
}

#[tokio::test]
async fn what_another_project_pushed_does_not_come_back_here() {
    for kind in [EventKind::Push, EventKind::Build] {
        for store in each_store().await {
            for name in ["vault", "demo"] {
                project(&store, name).await;
            }
            let own = deleted(&store, "vault", "own", kind).await;
            let app = store.ensure_stream("demo", &"app".parse().unwrap(), &actor()).await.unwrap();
            assert_eq!(served(&store, &app).await, (false, true), "{kind:?}");
            assert_eq!(served(&store, &own).await, (true, true), "whose it was gets it back");
            let beside = store.ensure_stream("vault", &"beside".parse().unwrap(), &actor()).await.unwrap();
            assert_eq!(served(&store, &beside).await, (true, true), "and so does its project");
        }
    }
}

#[tokio::test]
async fn what_was_imported_is_looked_at_anew_by_the_project_that_imported_it() {
    for store in each_store().await {
        for name in ["vault", "demo"] {
            project(&store, name).await;
        }
        let own = deleted(&store, "vault", "own", EventKind::Import).await;
        let app = store.ensure_stream("demo", &"app".parse().unwrap(), &actor()).await.unwrap();
        assert_eq!(served(&store, &app).await, (false, true), "no place of another project is asked");
        assert_eq!(served(&store, &own).await, (false, false), "it is brought from where it came from");
    }
}

#[tokio::test]
async fn a_pin_brings_what_the_other_stream_has_of_its_image_and_what_is_said_of_it_later() {
    for store in each_store().await {
        for name in ["vault", "demo"] {
            project(&store, name).await;
        }
        let digest = |n: u8| format!("sha256:{n:064x}");
        let tag = "latest".parse().unwrap();
        let base = store.ensure_stream("vault", &"base".parse().unwrap(), &actor()).await.unwrap();
        store.link_blob(&base.id, "sha256:l", 1, None).await.unwrap();
        let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        let pinned = NewImage { digest: digest(1), ..image() };
        store.put_manifest(&base, &pinned, Some(to), &actor()).await.unwrap();
        let source = Some((SourceKind::ImageStreamImage, format!("base@{}", digest(1))));
        let spec = TagSpec { source, source_project: Some("vault".to_owned()), ..TagSpec::default() };
        let name = "app".parse().unwrap();
        let set = store.set_tag("demo", &name, &tag, &spec, None, &actor()).await.unwrap();
        let has = async |blob: &str| store.find_blob(&set.tag.stream_id, blob).await.unwrap().is_some();
        assert!(has("sha256:l").await, "its layer");
        let said = NewImage { digest: digest(2), layers: vec![], subject: Some(digest(1)), ..image() };
        store.put_manifest(&base, &said, None, &actor()).await.unwrap();
        let served = store.find_manifest_by_digest(&set.tag.stream_id, &digest(2)).await.unwrap();
        assert!(served.is_some(), "its signature");

        // Set again, it brings what has gone meanwhile, though the tag points there already.
        let mut tx = store.write_tx().await.unwrap();
        tx.unlink(Content::Blob, &set.tag.stream_id, "sha256:l").await.unwrap();
        tx.commit().await.unwrap();
        assert!(!has("sha256:l").await);
        store.set_tag("demo", &name, &tag, &spec, None, &actor()).await.unwrap();
        assert!(has("sha256:l").await);
        // The stream it came from may go; what is here stays.
        store.delete_stream("vault", "base", &actor()).await.unwrap();
        assert_eq!(store.tag("demo", "app", "latest").await.unwrap().pinned_stream_id, None);
        assert!(has("sha256:l").await);
    }
}
