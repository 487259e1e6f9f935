//! Images in and out: what a push stores, what a pull gets, and what a tag's history says of it.

use axum::http::Method;
use bytes::Bytes;
use weir::model::{EventKind, Outcome, RollbackMode};
use weir::server::hash::{digest_like, sha256};
use weir::server::store::TagRollback;

use super::door::{Door, header, refused};
use crate::upstreams::images::{OCI_INDEX, OCI_MANIFEST, TestImage, index_of};

#[tokio::test]
async fn a_push_is_a_row_of_the_tags_history() {
    let door = Door::open().await;
    let (one, two) = (TestImage::new("one"), TestImage::new("two"));
    for image in [&one, &two, &one] {
        let put = door.push("demo/app", "latest", image).await;
        assert_eq!(put.status(), 201);
        assert_eq!(header(&put, "docker-content-digest"), image.digest().as_str());
        assert_eq!(header(&put, "location"), "/v2/demo/app/manifests/latest");
        assert_eq!(header(&put, "warning"), "");
    }
    let history = door.history("app", "latest").await;
    let digests: Vec<_> = history.iter().filter_map(|row| row.digest.clone()).collect();
    assert_eq!(digests, [one.digest(), two.digest(), one.digest()].map(String::from), "A, B, A are three rows");
    assert!(history.iter().all(|row| row.kind == EventKind::Push && row.actor == "ada"));

    assert_eq!(door.push("demo/app", "latest", &one).await.status(), 201);
    assert_eq!(door.history("app", "latest").await.len(), 3, "the same image again changes nothing");
    let image = door.store.find_image(one.digest().as_str()).await.expect("asked").expect("stored");
    assert_eq!((image.architecture.as_deref(), image.os.as_deref()), (Some("amd64"), Some("linux")));
}

#[tokio::test]
async fn what_was_pushed_is_pulled_byte_for_byte() {
    let door = Door::open().await;
    let image = TestImage::new("bytes");
    door.push("demo/app", "v1", &image).await;
    let digest = image.digest();
    for reference in ["v1", digest.as_str()] {
        let path = format!("demo/app/manifests/{reference}");
        let head = door.head(&path).await;
        let get = door.get(&path).await;
        for answer in [&head, &get] {
            assert_eq!(answer.status(), 200);
            assert_eq!(header(answer, "content-type"), OCI_MANIFEST);
            assert_eq!(header(answer, "docker-content-digest"), digest.as_str());
            assert_eq!(header(answer, "content-length"), image.manifest.len().to_string());
            assert_eq!(header(answer, "docker-distribution-api-version"), "registry/2.0");
        }
        assert_eq!(get.bytes().await.expect("the manifest"), image.manifest);
        let known = door.request(Method::GET, &path).header("if-none-match", format!("\"{digest}\""));
        assert_eq!(known.send().await.expect("an answer").status(), 304);
    }
    let path = format!("demo/app/blobs/{}", sha256(&image.layer));
    let head = door.head(&path).await;
    assert_eq!((head.status().as_u16(), header(&head, "content-length")), (200, image.layer.len().to_string()));
    assert_eq!(door.get(&path).await.bytes().await.expect("the layer"), image.layer);

    let part = door.request(Method::GET, &path).header("range", "bytes=2-5").send().await.expect("an answer");
    assert_eq!(part.status(), 206);
    assert_eq!(header(&part, "content-range"), format!("bytes 2-5/{}", image.layer.len()));
    assert_eq!(part.bytes().await.expect("a part"), image.layer.slice(2..6));
    let beyond = door.request(Method::GET, &path).header("range", "bytes=500-").send().await.expect("an answer");
    assert_eq!(header(&beyond, "content-range"), format!("bytes */{}", image.layer.len()));
    refused(beyond, 416, "SIZE_INVALID").await;
}

#[tokio::test]
async fn indexes_need_their_children() {
    let door = Door::open().await;
    let (amd64, arm64) = (TestImage::new("amd64"), TestImage::new("arm64"));
    let index = index_of(&[("amd64", &amd64), ("arm64", &arm64)]);
    door.push("demo/multi", amd64.digest().as_str(), &amd64).await;
    let early = door.put_manifest("demo/multi", "latest", OCI_INDEX, &index).await;
    let message = refused(early, 400, "MANIFEST_BLOB_UNKNOWN").await;
    assert!(message.contains(arm64.digest().as_str()) && !message.contains(amd64.digest().as_str()), "{message}");

    door.push("demo/multi", arm64.digest().as_str(), &arm64).await;
    assert_eq!(door.put_manifest("demo/multi", "latest", OCI_INDEX, &index).await.status(), 201);
    let pulled = door.get("demo/multi/manifests/latest").await;
    assert_eq!(header(&pulled, "content-type"), OCI_INDEX);
    assert_eq!(pulled.bytes().await.expect("the index"), index);
    assert_eq!(door.get(&format!("demo/multi/manifests/{}", arm64.digest())).await.status(), 200);
}

#[tokio::test]
async fn sha512_and_fields_nobody_knows_are_kept() {
    let door = Door::open().await;
    let image = TestImage::new("512");
    door.push("demo/app", "sha256", &image).await;
    let manifest = Bytes::from(
        String::from_utf8_lossy(&image.manifest).replace("{\"schemaVersion\"", "{ \"x\":[1, 2],\"schemaVersion\""),
    );
    let zeros = format!("sha512:{}", "0".repeat(128)).parse().expect("a digest");
    let digest = digest_like(&zeros, &manifest);
    let put = door.put_manifest("demo/app", digest.as_str(), OCI_MANIFEST, &manifest).await;
    assert_eq!((put.status().as_u16(), header(&put, "docker-content-digest")), (201, digest.to_string()));
    let pulled = door.get(&format!("demo/app/manifests/{digest}")).await;
    assert_eq!(pulled.bytes().await.expect("the manifest"), manifest);

    let blob = Bytes::from_static(b"by sha512");
    let digest = digest_like(&zeros, &blob);
    let path = format!("demo/app/blobs/uploads/?digest={digest}");
    assert_eq!(door.request(Method::POST, &path).body(blob.clone()).send().await.expect("an answer").status(), 201);
    assert_eq!(door.get(&format!("demo/app/blobs/{digest}")).await.bytes().await.expect("the blob"), blob);
}

#[tokio::test]
async fn a_held_tag_takes_the_bytes_and_stays() {
    let door = Door::open().await;
    let (good, bad, new) = (TestImage::new("good"), TestImage::new("bad"), TestImage::new("new"));
    door.push("demo/app", "latest", &good).await;
    door.push("demo/app", "latest", &bad).await;
    let first = door.history("app", "latest").await.last().expect("a row").sequence;
    let back = TagRollback { mode: RollbackMode::Tag, ..TagRollback::to(first) };
    door.store.roll_back_tag("demo", "app", "latest", &back, &door.actor).await.expect("rolled back");

    let rejected = door.push("demo/app", "latest", &bad).await;
    assert_eq!(rejected.status(), 201);
    let warning = header(&rejected, "warning");
    assert!(warning.starts_with("299 weir \"this image was rejected for demo/app:latest"), "{warning}");
    let held = door.push("demo/app", "latest", &new).await;
    let by_digest = format!("/v2/demo/app/manifests/{}", new.digest());
    assert_eq!(header(&held, "location"), by_digest, "the tag does not lead to it");
    assert!(header(&held, "warning").contains("demo/app:latest is held"), "{}", header(&held, "warning"));

    let now = door.head("demo/app/manifests/latest").await;
    assert_eq!(header(&now, "docker-content-digest"), good.digest().as_str(), "the decision stands");
    assert_eq!(door.get(&format!("demo/app/manifests/{}", new.digest())).await.status(), 200, "the bytes are there");
    let outcomes: Vec<_> = door.history("app", "latest").await.iter().take(2).map(|row| row.outcome).collect();
    assert_eq!(outcomes, [Outcome::Held, Outcome::Rejected]);
}

#[tokio::test]
async fn tags_are_listed_in_pages() {
    let door = Door::open().await;
    let image = TestImage::new("many");
    for tag in ["v10", "v2", "latest", "Upper", "_x"] {
        door.push("demo/app", tag, &image).await;
    }
    let list = |response: reqwest::Response| async move {
        let body: serde_json::Value = response.json().await.expect("a list");
        assert_eq!(body["name"], "demo/app");
        body["tags"]
            .as_array()
            .expect("tags")
            .iter()
            .map(|t| t.as_str().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(list(door.get("demo/app/tags/list").await).await, ["Upper", "_x", "latest", "v10", "v2"]);
    let first = door.get("demo/app/tags/list?n=2").await;
    assert_eq!(header(&first, "link"), "</v2/demo/app/tags/list?n=2&last=_x>; rel=\"next\"");
    assert_eq!(list(first).await, ["Upper", "_x"]);
    let last = door.get("demo/app/tags/list?n=3&last=_x").await;
    assert_eq!(header(&last, "link"), "");
    assert_eq!(list(last).await, ["latest", "v10", "v2"]);
    let none = door.get("demo/app/tags/list?n=0").await;
    assert_eq!(header(&none, "link"), "");
    assert!(list(none).await.is_empty());
    refused(door.get("demo/nothing/tags/list").await, 404, "NAME_UNKNOWN").await;
}

#[tokio::test]
async fn bytes_of_another_repository_are_not_enough() {
    let door = Door::open().await;
    let image = TestImage::new("private");
    door.push("demo/one", "1", &image).await;
    door.push("demo/two", "1", &TestImage::new("other")).await;
    refused(door.get(&format!("demo/two/manifests/{}", image.digest())).await, 404, "MANIFEST_UNKNOWN").await;
    refused(door.get(&format!("demo/two/blobs/{}", sha256(&image.layer))).await, 404, "BLOB_UNKNOWN").await;
}
