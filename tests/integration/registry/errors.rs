//! Bad input, each with its code and a message that helps.

use axum::http::Method;
use bytes::Bytes;
use weir::server::hash::sha256;

use super::door::{Door, refused};
use crate::upstreams::images::{OCI_MANIFEST, TestImage};

#[tokio::test]
async fn names_that_cannot_be() {
    let door = Door::open().await;
    for (name, says) in [
        ("demo/a--b", "\"a--b\" cannot be the name of a stream"),
        ("demo/Foo", "\"Foo\" cannot be the name of a stream"),
        ("Demo/app", "\"Demo\" cannot be the name of a project"),
        ("app", "a repository here is <project>/<stream>"),
        ("demo/a/b", "a repository here is <project>/<stream>"),
    ] {
        for path in ["manifests/latest", "tags/list", "blobs/uploads/"] {
            let method = if path.starts_with("blobs") { Method::POST } else { Method::GET };
            let answer = door.request(method, &format!("{name}/{path}")).send().await.expect("an answer");
            let message = refused(answer, 400, "NAME_INVALID").await;
            assert!(message.contains(says), "{name}/{path}: {message}");
        }
    }
    let long = format!("demo/{}/tags/list", "a".repeat(300));
    refused(door.get(&long).await, 400, "NAME_INVALID").await;
}

#[tokio::test]
async fn manifests_that_cannot_be() {
    let door = Door::open().await;
    let image = TestImage::new("missing");
    let missing = door.put_manifest("demo/app", "1", OCI_MANIFEST, &image.manifest).await;
    let message = refused(missing, 400, "MANIFEST_BLOB_UNKNOWN").await;
    for blob in [&image.config, &image.layer] {
        assert!(message.contains(sha256(blob).as_str()), "{message}");
    }
    refused(door.get("demo/app/manifests/1").await, 404, "MANIFEST_UNKNOWN").await;

    door.push("demo/app", "ok", &image).await;
    let lie = format!("{}", sha256(b"another"));
    let wrong = door.put_manifest("demo/app", &lie, OCI_MANIFEST, &image.manifest).await;
    refused(wrong, 400, "DIGEST_INVALID").await;
    for (reference, body) in [("1", "{}"), ("1", "not json"), ("1", ""), (".bad", "{}")] {
        let answer = door.put_manifest("demo/app", reference, OCI_MANIFEST, &Bytes::from_static(body.as_bytes())).await;
        refused(answer, 400, "MANIFEST_INVALID").await;
    }
    let schema1 = Bytes::from_static(br#"{"schemaVersion":1}"#);
    let message = refused(door.put_manifest("demo/app", "1", "", &schema1).await, 400, "MANIFEST_INVALID").await;
    assert!(message.contains("schema 1"), "{message}");
    let huge = Bytes::from(vec![b' '; 4 * 1024 * 1024 + 1]);
    refused(door.put_manifest("demo/app", "1", OCI_MANIFEST, &huge).await, 413, "MANIFEST_INVALID").await;
}

#[tokio::test]
async fn what_is_not_there_and_what_cannot_be_done() {
    let door = Door::open().await;
    door.push("demo/app", "1", &TestImage::new("x")).await;
    refused(door.get("demo/app/manifests/2").await, 404, "MANIFEST_UNKNOWN").await;
    refused(door.get("demo/none/manifests/1").await, 404, "NAME_UNKNOWN").await;
    refused(door.get(&format!("demo/app/blobs/{}", sha256(b"none"))).await, 404, "BLOB_UNKNOWN").await;
    refused(door.get("demo/app/blobs/nonsense").await, 400, "DIGEST_INVALID").await;
    refused(door.delete(&format!("demo/app/blobs/{}", sha256(b"none"))).await, 404, "BLOB_UNKNOWN").await;
    let odd = door.request(Method::POST, "demo/app/manifests/1").send().await.expect("an answer");
    refused(odd, 405, "UNSUPPORTED").await;
    assert_eq!(door.head("demo/app/manifests/2").await.status(), 404);
}
