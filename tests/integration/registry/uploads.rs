//! Blobs in every way the specification allows, and in some it does not.

use axum::http::Method;
use bytes::Bytes;
use futures_util::stream;
use reqwest::Body;
use weir::server::hash::sha256;

use super::door::{Door, header, refused};
use crate::upstreams::images::TestImage;

async fn is_there(door: &Door, repository: &str, bytes: &Bytes) {
    let found = door.get(&format!("{repository}/blobs/{}", sha256(bytes))).await;
    assert_eq!(found.status(), 200);
    assert_eq!(&found.bytes().await.expect("the blob"), bytes);
}

#[tokio::test]
async fn all_at_once_or_in_two_steps() {
    let door = Door::open().await;
    let (once, twice) = (Bytes::from_static(b"all at once"), Bytes::from_static(b"in two steps"));
    door.put_blob("demo/app", &once).await;
    is_there(&door, "demo/app", &once).await;

    let upload = door.begin("demo/app").await;
    let put = door.request(Method::PUT, &format!("{upload}?digest={}", sha256(&twice))).body(twice.clone());
    let put = put.send().await.expect("an answer");
    assert_eq!(put.status(), 201);
    assert_eq!(header(&put, "location"), format!("/v2/demo/app/blobs/{}", sha256(&twice)));
    assert_eq!(header(&put, "docker-content-digest"), sha256(&twice).as_str());
    is_there(&door, "demo/app", &twice).await;
    refused(door.get(&upload).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
}

#[tokio::test]
async fn streamed_without_a_length() {
    let door = Door::open().await;
    let upload = door.begin("demo/app").await;
    let pieces: Vec<Bytes> = (0..300u32).map(|n| Bytes::from(vec![n as u8; 10_007])).collect();
    let whole = Bytes::from(pieces.concat());
    let body = Body::wrap_stream(stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>)));
    let patch = door.request(Method::PATCH, &upload).body(body).send().await.expect("an answer");
    assert_eq!(patch.status(), 202);
    assert_eq!(header(&patch, "range"), format!("0-{}", whole.len() - 1));
    let put = door.request(Method::PUT, &format!("{upload}?digest={}", sha256(&whole))).send().await;
    assert_eq!(put.expect("an answer").status(), 201);
    is_there(&door, "demo/app", &whole).await;
}

#[tokio::test]
async fn in_chunks_and_only_in_order() {
    let door = Door::open().await;
    let upload = door.begin("demo/app").await;
    let bytes = Bytes::from_static(b"0123456789abcdef");
    let chunk = |range: &'static str, bytes: Bytes| {
        let patch = door.request(Method::PATCH, &upload).header("content-range", range).body(bytes);
        async { patch.send().await.expect("an answer") }
    };
    let status = door.get(&upload).await;
    assert_eq!((status.status().as_u16(), header(&status, "range")), (204, "0-0".to_owned()));
    let first = chunk("0-5", bytes.slice(0..6)).await;
    assert_eq!((first.status().as_u16(), header(&first, "range")), (202, "0-5".to_owned()));
    for early_or_late in ["7-9", "0-2", "5-7"] {
        let refusal = chunk(early_or_late, bytes.slice(7..10)).await;
        assert_eq!(header(&refusal, "range"), "0-5", "told where to go on");
        assert_eq!(header(&refusal, "location"), format!("/v2/{upload}"));
        refused(refusal, 416, "BLOB_UPLOAD_INVALID").await;
    }
    refused(chunk("6-20", bytes.slice(6..10)).await, 400, "SIZE_INVALID").await;
    refused(chunk("six", bytes.slice(6..10)).await, 400, "BLOB_UPLOAD_INVALID").await;
    assert_eq!(chunk("6-9", bytes.slice(6..10)).await.status(), 202);
    let status = door.get(&upload).await;
    assert_eq!((status.status().as_u16(), header(&status, "range")), (204, "0-9".to_owned()));
    let put = door.request(Method::PUT, &format!("{upload}?digest={}", sha256(&bytes)));
    let put = put.header("content-range", "10-15").body(bytes.slice(10..)).send().await.expect("an answer");
    assert_eq!(put.status(), 201);
    is_there(&door, "demo/app", &bytes).await;
}

#[tokio::test]
async fn cancelled() {
    let door = Door::open().await;
    let upload = door.begin("demo/app").await;
    assert_eq!(door.delete(&upload).await.status(), 204);
    for method in [Method::GET, Method::DELETE, Method::PATCH] {
        let gone = door.request(method, &upload).body("x").send().await.expect("an answer");
        refused(gone, 404, "BLOB_UPLOAD_UNKNOWN").await;
    }
}

#[tokio::test]
async fn lies_are_found() {
    let door = Door::open().await;
    let lie = sha256(b"something else");
    let upload = door.begin("demo/app").await;
    let put = door.request(Method::PUT, &format!("{upload}?digest={lie}")).body("this").send().await;
    let message = refused(put.expect("an answer"), 400, "DIGEST_INVALID").await;
    assert!(message.contains(lie.as_str()) && message.contains(sha256(b"this").as_str()), "{message}");
    refused(door.get(&upload).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
    refused(door.get(&format!("demo/app/blobs/{lie}")).await, 404, "BLOB_UNKNOWN").await;
    for digest in ["sha256:short", "md5:aa", "nonsense"] {
        let path = format!("demo/app/blobs/uploads/?digest={digest}");
        let post = door.request(Method::POST, &path).body("x").send().await.expect("an answer");
        refused(post, 400, "DIGEST_INVALID").await;
    }
    let upload = door.begin("demo/app").await;
    let put = door.request(Method::PUT, &upload).body("no digest").send().await.expect("an answer");
    refused(put, 400, "DIGEST_INVALID").await;
}

#[tokio::test]
async fn an_upload_belongs_to_its_repository() {
    let door = Door::open().await;
    let upload = door.begin("demo/app").await;
    door.begin("demo/b").await;
    refused(door.get(&upload.replace("demo/app", "demo/b")).await, 404, "BLOB_UPLOAD_UNKNOWN").await;
    refused(door.get("demo/app/blobs/uploads/..%2f..%2fkey").await, 404, "BLOB_UPLOAD_UNKNOWN").await;
}

#[tokio::test]
async fn blobs_are_mounted_where_one_may_pull() {
    let door = Door::open().await;
    let image = TestImage::new("shared");
    door.push("demo/from", "1", &image).await;
    let mount = |from: &str, digest: String| {
        let path = format!("demo/to/blobs/uploads/?mount={digest}&from={from}");
        let post = door.request(Method::POST, &path);
        async { post.send().await.expect("an answer") }
    };
    let digest = sha256(&image.layer).to_string();
    let mounted = mount("demo/from", digest.clone()).await;
    assert_eq!((mounted.status().as_u16(), header(&mounted, "docker-content-digest")), (201, digest.clone()));
    is_there(&door, "demo/to", &image.layer).await;
    // What cannot be mounted is uploaded instead, without a word of why.
    for (from, digest) in
        [("other/secret", digest.clone()), ("demo/none", digest), ("demo/from", sha256(b"none").into())]
    {
        let instead = mount(from, digest).await;
        assert_eq!(instead.status(), 202, "{from}");
        assert!(header(&instead, "location").starts_with("/v2/demo/to/blobs/uploads/"));
    }
}

#[tokio::test]
async fn the_same_blob_many_times_at_once() {
    let door = Door::open().await;
    let bytes = Bytes::from(vec![7; 300_000]);
    let uploads = (0..50).map(|_| door.put_blob("demo/app", &bytes));
    futures_util::future::join_all(uploads).await;
    is_there(&door, "demo/app", &bytes).await;
    let left = std::fs::read_dir(door.directory.path().join("blobs/uploads")).expect("listed").count();
    assert_eq!(left, 0, "uploads were left behind");
}
