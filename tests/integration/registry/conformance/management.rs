//! "Content Management": what is deleted, and what is then not there any more.

use bytes::Bytes;
use serde_json::json;
use weir::server::hash::sha256;

use super::super::door::{Door, refused};
use super::{artifact, door_with_empty_blob, put};
use crate::upstreams::images::TestImage;

/// Deleting tags: "Upon success, the registry MUST respond with a 202 Accepted code." "Once deleted, a GET to /v2/<name>/manifests/<tag>
/// will return a 404."
#[tokio::test]
async fn a_tag_is_deleted() {
    let (door, image) = (Door::open().await, TestImage::new("tagged"));
    for tag in ["one", "two"] {
        door.push("demo/app", tag, &image).await;
    }
    assert_eq!(door.delete("demo/app/manifests/one").await.status(), 202);
    for (name, status) in [("one", 404), ("two", 200), (image.digest().as_str(), 200)] {
        assert_eq!(door.get(&format!("demo/app/manifests/{name}")).await.status(), status, "{name}");
        assert_eq!(door.head(&format!("demo/app/manifests/{name}")).await.status(), status, "{name}");
    }
    refused(door.delete("demo/app/manifests/one").await, 404, "MANIFEST_UNKNOWN").await;
}

/// Deleting Manifests: "Upon success, the registry MUST respond with a 202 Accepted code." "Once deleted, a GET to
/// /v2/<name>/manifests/<digest> and any tag pointing to that digest will return a 404."
#[tokio::test]
async fn a_manifest_is_deleted_with_the_tags_that_point_to_it() {
    let door = door_with_empty_blob().await;
    let (gone, stays) = (artifact(json!({"annotations": {"a": "1"}})), artifact(json!({"annotations": {"a": "2"}})));
    for (tag, manifest) in [("one", &gone), ("two", &gone), ("three", &stays)] {
        put(&door, "demo/app", tag, manifest).await;
    }
    let by_digest = format!("demo/app/manifests/{}", sha256(&gone));
    assert_eq!(door.delete(&by_digest).await.status(), 202);
    for path in [by_digest.as_str(), "demo/app/manifests/one", "demo/app/manifests/two"] {
        refused(door.get(path).await, 404, "MANIFEST_UNKNOWN").await;
    }
    assert_eq!(door.get("demo/app/manifests/three").await.status(), 200);
    refused(door.delete(&by_digest).await, 404, "MANIFEST_UNKNOWN").await;
}

/// Deleting Manifests: "If the repository does not exist, the response MUST return 404 Not Found."
#[tokio::test]
async fn nothing_is_deleted_where_there_is_no_repository() {
    let door = Door::open().await;
    let none = sha256(b"none");
    for path in ["manifests/latest".to_owned(), format!("manifests/{none}"), format!("blobs/{none}")] {
        refused(door.delete(&format!("demo/none/{path}")).await, 404, "NAME_UNKNOWN").await;
    }
}

/// Deleting Blobs: "Upon success, the registry MUST respond with code 202 Accepted."
#[tokio::test]
async fn a_blob_is_deleted() {
    let door = Door::open().await;
    let bytes = Bytes::from_static(b"of two repositories");
    for repository in ["demo/app", "demo/other"] {
        door.put_blob(repository, &bytes).await;
    }
    let path = format!("demo/app/blobs/{}", sha256(&bytes));
    assert_eq!(door.delete(&path).await.status(), 202);
    assert_eq!(door.head(&path).await.status(), 404);
    let other = door.get(&format!("demo/other/blobs/{}", sha256(&bytes))).await;
    assert_eq!(other.bytes().await.expect("the blob"), bytes, "another repository has its own");
    door.put_blob("demo/app", &bytes).await;
    assert_eq!(door.head(&path).await.status(), 200);
}

/// Deleting Blobs: "If the blob is not found, a 404 Not Found code MUST be returned."
#[tokio::test]
async fn a_blob_that_is_not_there_is_not_found() {
    let door = door_with_empty_blob().await;
    refused(door.delete(&format!("demo/app/blobs/{}", sha256(b"none"))).await, 404, "BLOB_UNKNOWN").await;
}
