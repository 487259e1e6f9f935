//! "Pull": manifests, blobs, and asking whether they are there.

use axum::http::Method;
use bytes::Bytes;
use weir::server::hash::sha256;

use super::super::door::{Door, header};
use super::{EMPTY, index, send};
use crate::upstreams::images::{OCI_INDEX, OCI_MANIFEST, TestImage};

/// A door with one image, and the paths it has.
async fn with_image() -> (Door, TestImage, [String; 2]) {
    let (door, image) = (Door::open().await, TestImage::new("pulled"));
    door.push("demo/app", "v1", &image).await;
    let paths = ["v1".to_owned(), image.digest().to_string()].map(|name| format!("demo/app/manifests/{name}"));
    (door, image, paths)
}

/// Pulling manifests: "A GET request to an existing manifest URL MUST provide the expected manifest, with a response code that MUST be
/// 200 OK."
#[tokio::test]
async fn a_manifest_is_given_by_tag_and_by_digest() {
    let (door, image, paths) = with_image().await;
    for path in paths {
        let answer = door.get(&path).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.bytes().await.expect("the manifest"), image.manifest);
    }
}

/// Pulling manifests: "A successful response MUST contain the digest of the uploaded blob in the header Docker-Content-Digest."
#[tokio::test]
async fn a_manifest_comes_with_its_digest() {
    let (door, image, paths) = with_image().await;
    for path in paths {
        assert_eq!(header(&door.get(&path).await, "docker-content-digest"), image.digest().as_str());
    }
}

/// Pulling manifests: "The registry SHOULD NOT include parameters on the Content-Type header", which "SHOULD match what the client
/// pushed as the manifest's Content-Type".
#[tokio::test]
async fn a_manifest_comes_as_what_it_was_pushed_as() {
    let door = Door::open().await;
    let bare = Bytes::from_static(br#"{"schemaVersion":2,"manifests":[]}"#);
    assert_eq!(door.put_manifest("demo/app", "bare", OCI_INDEX, &bare).await.status(), 201);
    assert_eq!(header(&door.get("demo/app/manifests/bare").await, "content-type"), OCI_INDEX);
    let image = TestImage::new("typed");
    door.push("demo/app", "image", &image).await;
    assert_eq!(header(&door.get("demo/app/manifests/image").await, "content-type"), OCI_MANIFEST);
}

/// Pulling manifests: "If the manifest is not found in the repository, the response code MUST be 404 Not Found."
#[tokio::test]
async fn a_manifest_that_is_not_there_is_not_found() {
    let (door, _, _) = with_image().await;
    let elsewhere = TestImage::new("elsewhere");
    door.push("demo/other", "v2", &elsewhere).await;
    let unknown = [sha256(b"none").to_string(), super::sha512(b"none").to_string(), elsewhere.digest().to_string()];
    for name in ["v2", "latest", ".INVALID_MANIFEST_NAME"].into_iter().chain(unknown.iter().map(String::as_str)) {
        assert_eq!(door.get(&format!("demo/app/manifests/{name}")).await.status(), 404, "{name}");
    }
}

/// Pulling manifests: a tag "MUST be at most 128 characters in length and MUST match" `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[tokio::test]
async fn tags_are_what_the_grammar_allows() {
    let door = Door::open().await;
    let manifest = index(&[], serde_json::json!({}));
    let longest = "t".repeat(128);
    for tag in ["_", "0", "A.b-c_D", "v1.0.0-rc.1", longest.as_str()] {
        assert_eq!(door.put_manifest("demo/app", tag, OCI_INDEX, &manifest).await.status(), 201, "{tag}");
        assert_eq!(door.get(&format!("demo/app/manifests/{tag}")).await.status(), 200, "{tag}");
    }
    for tag in [".a", "-a", "a+b", "a%20b", format!("{longest}t").as_str()] {
        assert_eq!(door.put_manifest("demo/app", tag, OCI_INDEX, &manifest).await.status(), 400, "{tag}");
    }
}

/// Pulling blobs: "A GET request to an existing blob URL MUST provide the expected blob, with a response code that MUST be 200 OK."
#[tokio::test]
async fn a_blob_is_given() {
    let (door, image, _) = with_image().await;
    for blob in [&image.config, &image.layer] {
        let answer = door.get(&format!("demo/app/blobs/{}", sha256(blob))).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.bytes().await.expect("the blob"), blob);
    }
}

/// Pulling blobs: "A successful response MUST contain the digest of the uploaded blob in the header Docker-Content-Digest", and it "MUST
/// be a digest matching that of the response body".
#[tokio::test]
async fn a_blob_comes_with_its_digest() {
    let (door, image, _) = with_image().await;
    let answer = door.get(&format!("demo/app/blobs/{}", sha256(&image.layer))).await;
    let said = header(&answer, "docker-content-digest");
    assert_eq!(said, sha256(&answer.bytes().await.expect("the blob")).as_str());
}

/// Pulling blobs: "If the blob is not found in the repository, the response code MUST be 404 Not Found." In the repository: that another
/// one has it does not count.
#[tokio::test]
async fn a_blob_that_is_not_there_is_not_found() {
    let (door, _, _) = with_image().await;
    let elsewhere = TestImage::new("elsewhere");
    door.push("demo/other", "v2", &elsewhere).await;
    for digest in [sha256(b"none"), super::sha512(b"none"), sha256(&elsewhere.layer)] {
        assert_eq!(door.get(&format!("demo/app/blobs/{digest}")).await.status(), 404, "{digest}");
    }
}

/// Pulling blobs: "A registry SHOULD support the Range request header in accordance with RFC 9110 (section 14)."
#[tokio::test]
async fn parts_of_blobs_are_given() {
    let door = Door::open().await;
    let blob: Bytes = (0..2048u32).map(|n| (n % 251) as u8).collect();
    door.put_blob("demo/app", &blob).await;
    let path = format!("demo/app/blobs/{}", sha256(&blob));
    for (asked, range, told) in [
        ("bytes=500-1499", 500..1500, "bytes 500-1499/2048"),
        ("bytes=500-", 500..2048, "bytes 500-2047/2048"),
        ("bytes=-500", 1548..2048, "bytes 1548-2047/2048"),
        ("bytes=2000-5000", 2000..2048, "bytes 2000-2047/2048"),
        ("bytes=0-0", 0..1, "bytes 0-0/2048"),
    ] {
        let part = send(&door, Method::GET, &path, &[("range", asked)], &Bytes::new()).await;
        assert_eq!((part.status().as_u16(), header(&part, "content-range").as_str()), (206, told), "{asked}");
        assert_eq!(header(&part, "content-length"), range.len().to_string());
        assert_eq!(header(&part, "docker-content-digest"), sha256(&blob).as_str());
        assert_eq!(part.bytes().await.expect("a part"), blob.slice(range), "{asked}");
    }
    for outside in ["bytes=5000-10000", "bytes=2048-", "bytes=500-0"] {
        let refused = send(&door, Method::GET, &path, &[("range", outside)], &Bytes::new()).await;
        assert_eq!((refused.status().as_u16(), header(&refused, "content-range").as_str()), (416, "bytes */2048"));
    }
}

/// The same section through RFC 9110: ranges mean GET alone (14.2), and `If-Range` makes them mean one content (13.1.5).
#[tokio::test]
async fn the_whole_blob_is_given_to_those_who_mean_no_part_of_it() {
    let door = Door::open().await;
    let blob = Bytes::from_static(b"0123456789");
    door.put_blob("demo/app", &blob).await;
    let path = format!("demo/app/blobs/{}", sha256(&blob));
    let head = send(&door, Method::HEAD, &path, &[("range", "bytes=1-2")], &Bytes::new()).await;
    assert_eq!((head.status().as_u16(), header(&head, "content-length").as_str()), (200, "10"));
    assert_eq!(header(&head, "accept-ranges"), "bytes");
    let same = format!("\"{}\"", sha256(&blob));
    for (meant, status) in [(same.as_str(), 206), ("\"another\"", 200)] {
        let headers = [("range", "bytes=1-2"), ("if-range", meant)];
        assert_eq!(send(&door, Method::GET, &path, &headers, &Bytes::new()).await.status(), status, "{meant}");
    }
    for passed_over in ["items=0-1", "bytes=0-1,4-5"] {
        let whole = send(&door, Method::GET, &path, &[("range", passed_over)], &Bytes::new()).await;
        assert_eq!(whole.status(), 200, "{passed_over}");
    }
}

/// Checking if content exists: "A HEAD request to an existing blob or manifest URL MUST return 200 OK." It "MUST contain the digest" in
/// `Docker-Content-Digest` and "the size in bytes" in `Content-Length`.
#[tokio::test]
async fn head_tells_digest_and_size() {
    let (door, image, paths) = with_image().await;
    door.put_blob("demo/app", &EMPTY).await;
    let mut expected: Vec<_> = paths.into_iter().map(|path| (path, image.manifest.clone())).collect();
    for blob in [&image.config, &image.layer, &EMPTY] {
        expected.push((format!("demo/app/blobs/{}", sha256(blob)), blob.clone()));
    }
    for (path, bytes) in expected {
        let head = door.head(&path).await;
        assert_eq!(head.status(), 200, "{path}");
        assert_eq!(header(&head, "docker-content-digest"), sha256(&bytes).as_str());
        assert_eq!(header(&head, "content-length"), bytes.len().to_string());
        assert!(head.bytes().await.expect("nothing").is_empty());
    }
}

/// Checking if content exists: "If the blob or manifest is not found in the repository, the response code MUST be 404 Not Found."
#[tokio::test]
async fn head_of_what_is_not_there_is_not_found() {
    let (door, _, _) = with_image().await;
    let none = sha256(b"none");
    for path in ["manifests/v2".to_owned(), format!("manifests/{none}"), format!("blobs/{none}")] {
        assert_eq!(door.head(&format!("demo/app/{path}")).await.status(), 404, "{path}");
    }
}
