//! Everything the image-spec allows a manifest to be goes in, comes out as it was, and goes again.

use axum::http::Method;
use bytes::Bytes;
use serde_json::{Value, json};
use weir::model::Digest;
use weir::server::hash::{digest_like, sha256};

use super::super::door::Door;
use super::{EMPTY, EMPTY_TYPE, artifact, descriptor, door_with_empty_blob, index, put, send, sha512};
use crate::upstreams::images::{OCI_INDEX, OCI_MANIFEST, TestImage};

/// Pushes manifests by digest, in order, the last with a tag; pulls each again; deletes them, the last first.
async fn round(door: &Door, manifests: &[Bytes]) {
    let digests: Vec<Digest> = manifests.iter().map(|manifest| sha256(manifest)).collect();
    for (digest, manifest) in digests.iter().zip(manifests) {
        put(door, "demo/app", digest.as_str(), manifest).await;
    }
    put(door, "demo/app", "tag", manifests.last().expect("a manifest")).await;
    for (digest, manifest) in digests.iter().zip(manifests) {
        let pulled = door.get(&format!("demo/app/manifests/{digest}")).await;
        assert_eq!(&pulled.bytes().await.expect("the manifest"), manifest);
    }
    assert_eq!(door.delete("demo/app/manifests/tag").await.status(), 202);
    for digest in digests.iter().rev() {
        let path = format!("demo/app/manifests/{digest}");
        assert_eq!(door.delete(&path).await.status(), 202, "{digest}");
        assert_eq!(door.head(&path).await.status(), 404);
    }
}

#[tokio::test]
async fn an_image_and_an_index_of_images() {
    let (door, one, two) = (Door::open().await, TestImage::new("one"), TestImage::new("two"));
    for blob in [&one.config, &one.layer, &two.config, &two.layer] {
        door.put_blob("demo/app", blob).await;
    }
    let children = [&one, &two].map(|image| descriptor(OCI_MANIFEST, &image.manifest));
    round(&door, &[one.manifest, two.manifest, index(&children, json!({}))]).await;
}

#[tokio::test]
async fn an_index_of_indexes() {
    let door = door_with_empty_blob().await;
    let leaf = artifact(json!({}));
    let inner = index(&[descriptor(OCI_MANIFEST, &leaf)], json!({}));
    let outer = index(&[descriptor(OCI_INDEX, &inner), descriptor(OCI_MANIFEST, &leaf)], json!({}));
    round(&door, &[leaf, inner, outer]).await;
}

#[tokio::test]
async fn artifacts_with_a_type_and_a_list_of_them() {
    let door = door_with_empty_blob().await;
    let one = artifact(json!({"artifactType": "application/vnd.example.one"}));
    let two = artifact(json!({"artifactType": "application/vnd.example.two", "annotations": {"a": "b"}}));
    let list = index(
        &[descriptor(OCI_MANIFEST, &one), descriptor(OCI_MANIFEST, &two)],
        json!({"artifactType": "application/vnd.example.list"}),
    );
    round(&door, &[one, two, list]).await;
}

#[tokio::test]
async fn layers_that_may_not_be_handed_on_need_not_be_here() {
    let door = door_with_empty_blob().await;
    let foreign = |media_type: &str| json!({"mediaType": media_type, "digest": sha256(media_type.as_bytes()), "size": 123, "urls": ["https://example.com/layer"]});
    let layers = [
        foreign("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"),
        foreign("application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"),
        foreign("application/vnd.oci.image.layer.nondistributable.v1.tar"),
        foreign("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        descriptor(EMPTY_TYPE, &EMPTY),
    ];
    round(&door, &[artifact(json!({"layers": layers}))]).await;
}

#[tokio::test]
async fn data_fields_and_fields_nobody_knows() {
    let door = door_with_empty_blob().await;
    let mut with_data = descriptor(EMPTY_TYPE, &EMPTY);
    with_data["data"] = "e30=".into();
    with_data["org.example.more"] = json!({"deep": [true]});
    round(&door, &[artifact(json!({"config": with_data, "layers": [with_data], "zzz": [1, 2.5, null]}))]).await;
}

#[tokio::test]
async fn an_image_with_an_empty_blob_and_one_without_layers() {
    let door = door_with_empty_blob().await;
    door.put_blob("demo/app", &Bytes::new()).await;
    let empty = descriptor("application/vnd.oci.image.layer.v1.tar", &Bytes::new());
    round(&door, &[artifact(json!({"layers": [empty, empty]})), artifact(json!({"layers": []}))]).await;
}

#[tokio::test]
async fn build_caches_list_blobs_in_an_index() {
    let door = door_with_empty_blob().await;
    let layer = descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &EMPTY);
    let config = descriptor("application/vnd.buildkit.cacheconfig.v0", &EMPTY);
    round(&door, &[index(&[layer, config], json!({}))]).await;
}

#[tokio::test]
async fn an_index_with_all_its_parts_by_sha512() {
    let door = Door::open().await;
    let by_512 = |media_type: &str, bytes: &Bytes| -> Value {
        json!({"mediaType": media_type, "digest": sha512(bytes), "size": bytes.len()})
    };
    let put_512 = |bytes: Bytes| {
        let path = format!("demo/app/blobs/uploads/?digest={}", sha512(&bytes));
        let door = &door;
        async move { assert_eq!(send(door, Method::POST, &path, &[], &bytes).await.status(), 201) }
    };
    let layer = Bytes::from_static(b"a layer");
    put_512(layer.clone()).await;
    put_512(EMPTY).await;
    let layers = [by_512("application/vnd.oci.image.layer.v1.tar", &layer)];
    let image = artifact(json!({"config": by_512(EMPTY_TYPE, &EMPTY), "layers": layers}));
    let list = index(&[by_512(OCI_MANIFEST, &image)], json!({}));
    for manifest in [&image, &list] {
        put(&door, "demo/app", sha512(manifest).as_str(), manifest).await;
    }
    for manifest in [&list, &image] {
        let path = format!("demo/app/manifests/{}", sha512(manifest));
        let pulled = door.get(&path).await.bytes().await.expect("the manifest");
        assert_eq!(digest_like(&sha512(b""), &pulled), sha512(manifest));
        assert_eq!(door.delete(&path).await.status(), 202);
    }
    assert_eq!(door.delete(&format!("demo/app/blobs/{}", sha512(&layer))).await.status(), 202);
}
