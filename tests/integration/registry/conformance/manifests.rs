//! "Pushing Manifests", with subjects and without.

use axum::http::Method;
use bytes::Bytes;
use serde_json::json;
use weir::server::hash::sha256;

use super::super::door::{Door, header, refused};
use super::{EMPTY, EMPTY_TYPE, artifact, descriptor, door_with_empty_blob, index, pullable, put, send, sha512};
use crate::upstreams::images::{OCI_INDEX, OCI_MANIFEST, TestImage};

/// Push: "A registry MUST initially accept an otherwise valid manifest with a subject field that references a manifest that does not
/// exist in the repository."
#[tokio::test]
async fn a_referrer_may_come_before_its_subject() {
    let door = door_with_empty_blob().await;
    let subject = TestImage::new("late");
    let early =
        artifact(json!({"artifactType": "application/x", "subject": descriptor(OCI_MANIFEST, &subject.manifest)}));
    put(&door, "demo/app", sha256(&early).as_str(), &early).await;
    door.push("demo/app", "late", &subject).await;
}

/// Push: "When a manifest is rejected for this reason [that what its descriptors name does not exist], it MUST result in one or more
/// `MANIFEST_BLOB_UNKNOWN` errors."
#[tokio::test]
async fn a_manifest_without_its_parts_is_refused() {
    let door = door_with_empty_blob().await;
    let (missing, elsewhere) = (Bytes::from_static(b"missing"), TestImage::new("elsewhere"));
    door.push("demo/other", "1", &elsewhere).await;
    let layer = "application/vnd.oci.image.layer.v1.tar";
    for (what, manifest) in [
        ("a layer", artifact(json!({"layers": [descriptor(layer, &missing)]}))),
        ("a layer of another repository", artifact(json!({"layers": [descriptor(layer, &elsewhere.layer)]}))),
        ("a config", artifact(json!({"config": descriptor("application/vnd.oci.image.config.v1+json", &missing)}))),
        ("a child", index(&[descriptor(OCI_MANIFEST, &missing)], json!({}))),
        ("a child of another repository", index(&[descriptor(OCI_MANIFEST, &elsewhere.manifest)], json!({}))),
        ("a blob in an index", index(&[descriptor(layer, &missing)], json!({}))),
    ] {
        let media_type = if what.contains("child") || what.contains("index") { OCI_INDEX } else { OCI_MANIFEST };
        for reference in ["latest", sha256(&manifest).as_str()] {
            let answer = door.put_manifest("demo/app", reference, media_type, &manifest).await;
            let message = refused(answer, 400, "MANIFEST_BLOB_UNKNOWN").await;
            assert!(message.contains("sha256:"), "{what}: {message}");
            assert_eq!(door.get(&format!("demo/app/manifests/{reference}")).await.status(), 404, "{what}");
        }
    }
}

/// Pushing Manifests: "The registry SHOULD ignore parameters on the Content-Type header."
#[tokio::test]
async fn parameters_of_the_content_type_say_nothing() {
    let door = door_with_empty_blob().await;
    let manifest = artifact(json!({}));
    let sent_as = format!("{OCI_MANIFEST}; charset=utf-8");
    assert_eq!(door.put_manifest("demo/app", "latest", &sent_as, &manifest).await.status(), 201);
    assert_eq!(header(&door.get("demo/app/manifests/latest").await, "content-type"), OCI_MANIFEST);
}

/// Pushing Manifests: "If a manifest includes a mediaType field, clients MUST set the Content-Type header to the value specified by the
/// mediaType field." One that does not is told so.
#[tokio::test]
async fn a_manifest_is_sent_as_what_it_says_it_is() {
    let door = door_with_empty_blob().await;
    let answer = door.put_manifest("demo/app", "latest", OCI_INDEX, &artifact(json!({}))).await;
    refused(answer, 400, "MANIFEST_INVALID").await;
}

/// Pushing Manifests: "The uploaded manifest MUST reference any blobs that make up the object. However, the list of blobs MAY be empty."
#[tokio::test]
async fn an_image_may_have_no_layers() {
    let door = door_with_empty_blob().await;
    put(&door, "demo/app", "latest", &artifact(json!({"layers": []}))).await;
    put(&door, "demo/app", "none", &index(&[], json!({}))).await;
}

/// Pushing Manifests: "The registry MUST store the manifest in the exact byte representation provided by the client."
#[tokio::test]
async fn a_manifest_is_kept_byte_for_byte() {
    let door = door_with_empty_blob().await;
    let manifest =
        String::from_utf8(artifact(json!({"org.example.unknown": {"é": [1, null]}})).to_vec()).expect("text");
    let manifest = Bytes::from(format!("\r\n {}\t\n", manifest.replace(':', " :  ")).replace("sha256 :  ", "sha256:"));
    put(&door, "demo/app", "latest", &manifest).await;
    assert_eq!(door.get("demo/app/manifests/latest").await.bytes().await.expect("the manifest"), manifest);
}

/// Pushing Manifests: "Upon a successful upload, the registry MUST return response code 201 Created, and MUST have the following header:
/// Location", "a pullable manifest URL". `Docker-Content-Digest` "MUST be equal to the client provided digest".
#[tokio::test]
async fn a_push_is_told_where_to_pull() {
    let door = door_with_empty_blob().await;
    let manifest = artifact(json!({}));
    let digest = sha256(&manifest);
    for (reference, told) in
        [("latest", &digest), (digest.as_str(), &digest), (sha512(&manifest).as_str(), &sha512(&manifest))]
    {
        let pushed = put(&door, "demo/app", reference, &manifest).await;
        assert_eq!(header(&pushed, "docker-content-digest"), told.as_str(), "{reference}");
        assert_eq!(header(&pushed, "location"), format!("/v2/demo/app/manifests/{reference}"));
        pullable(&door, &pushed, &manifest).await;
    }
}

/// Pushing Manifests: `<reference>` "MUST be either a) a digest or b) a tag", and a digest must be the manifest's.
#[tokio::test]
async fn a_manifest_has_the_digest_it_is_pushed_by() {
    let door = door_with_empty_blob().await;
    let manifest = artifact(json!({}));
    for digest in [sha256(b"another").as_str(), sha512(b"another").as_str(), "sha256:baddigeststring", "md5:00"] {
        refused(door.put_manifest("demo/app", digest, OCI_MANIFEST, &manifest).await, 400, "DIGEST_INVALID").await;
    }
}

/// Pushing Manifests, tags as parameters: a registry that supports this "SHOULD support pushing at least 10 tags per request" and "MUST
/// include an OCI-Tag response header [...] for each accepted tag".
#[tokio::test]
async fn one_push_may_move_several_tags() {
    let door = door_with_empty_blob().await;
    let manifest = artifact(json!({}));
    let tags: Vec<String> = (0..12).map(|n| format!("v1.{n}")).collect();
    for digest in [sha256(&manifest), sha512(&manifest)] {
        let path = format!("demo/app/manifests/{digest}?tag={}", tags.join("&tag="));
        let pushed = send(&door, Method::PUT, &path, &[("content-type", OCI_MANIFEST)], &manifest).await;
        assert_eq!(pushed.status(), 201);
        let told: Vec<_> = pushed.headers().get_all("oci-tag").iter().map(|tag| tag.to_str().expect("text")).collect();
        assert_eq!(told, tags);
        for tag in &tags {
            let head = door.head(&format!("demo/app/manifests/{tag}")).await;
            assert_eq!(header(&head, "docker-content-digest"), digest.as_str());
        }
    }
    let path = |tags: &str| format!("demo/app/manifests/{}?{tags}", sha256(&manifest));
    let headers = [("content-type", OCI_MANIFEST)];
    let bad = send(&door, Method::PUT, &path("tag=fine&tag=.bad"), &headers, &manifest).await;
    refused(bad, 400, "MANIFEST_INVALID").await;
    assert_eq!(door.head("demo/app/manifests/fine").await.status(), 404, "all or none");
    let many: Vec<String> = (0..60).map(|n| format!("tag=t{n}")).collect();
    let many = send(&door, Method::PUT, &path(&many.join("&")), &headers, &manifest).await;
    refused(many, 414, "MANIFEST_INVALID").await;
}

/// Pushing Manifests: "An attempt to pull a nonexistent repository MUST return response code 404 Not Found."
#[tokio::test]
async fn a_repository_that_is_not_there_is_not_found() {
    let door = Door::open().await;
    let none = sha256(b"none");
    for path in [
        "demo/none/manifests/latest".to_owned(),
        format!("demo/none/manifests/{none}"),
        format!("demo/none/blobs/{none}"),
    ] {
        refused(door.get(&path).await, 404, "NAME_UNKNOWN").await;
    }
}

/// Pushing Manifests: "implementations SHOULD expect to be able to support manifest pushes of at least 4 megabytes".
#[tokio::test]
async fn a_manifest_may_have_4_mib() {
    let door = door_with_empty_blob().await;
    let mut manifest = artifact(json!({"annotations": {"large": "x".repeat(4 * 1024 * 1024 - 1000)}})).to_vec();
    manifest.resize(4 * 1024 * 1024, b' ');
    let manifest = Bytes::from(manifest);
    put(&door, "demo/app", "large", &manifest).await;
    assert_eq!(door.get("demo/app/manifests/large").await.bytes().await.expect("the manifest"), manifest);
}

/// Pushing Manifests: "A registry that enforces this limit SHOULD respond to a request to push a manifest over this limit with a response
/// code 413 Payload Too Large."
#[tokio::test]
async fn a_manifest_that_is_too_large_is_refused() {
    let door = door_with_empty_blob().await;
    let mut manifest = artifact(json!({})).to_vec();
    manifest.resize(4 * 1024 * 1024 + 1, b' ');
    let answer = door.put_manifest("demo/app", "large", OCI_MANIFEST, &Bytes::from(manifest)).await;
    refused(answer, 413, "MANIFEST_INVALID").await;
}

/// Pushing Manifests with Subject: "a registry implementation that supports the referrers API MUST respond with the response header
/// OCI-Subject: <subject digest>".
#[tokio::test]
async fn a_referrers_push_is_told_its_subject() {
    let door = door_with_empty_blob().await;
    for subject in [sha256(b"subject"), sha512(b"subject")] {
        let subject_field = json!({"mediaType": OCI_MANIFEST, "digest": subject, "size": 7});
        let image = artifact(json!({"artifactType": "application/x", "subject": subject_field}));
        let list = index(&[], json!({"artifactType": "application/x", "subject": subject_field}));
        for manifest in [&image, &list] {
            for reference in ["latest", sha256(manifest).as_str()] {
                assert_eq!(header(&put(&door, "demo/app", reference, manifest).await, "oci-subject"), subject.as_str());
            }
        }
    }
    let plain = put(&door, "demo/app", "plain", &artifact(json!({"layers": [descriptor(EMPTY_TYPE, &EMPTY)]}))).await;
    assert_eq!(header(&plain, "oci-subject"), "");
}
