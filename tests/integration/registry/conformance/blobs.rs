//! "Pushing blobs": monolithically, and by mounting them from another repository.

use axum::http::Method;
use bytes::Bytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use weir::server::hash::sha256;

use super::super::door::{Door, header};
use super::{location, pullable, send, sha512};
use crate::upstreams::images::TestImage;

const OCTETS: [(&str, &str); 1] = [("content-type", "application/octet-stream")];

/// Pushing blobs: "if the client provided digest is invalid or uses an unsupported algorithm, the registry SHOULD respond with a response
/// code 400 Bad Request".
#[tokio::test]
async fn digests_that_cannot_be_are_refused() {
    let door = Door::open().await;
    let bytes = Bytes::from_static(b"bytes");
    for digest in ["sha256:baddigeststring", "md5:d41d8cd98f00b204e9800998ecf8427e", "nonsense", ""] {
        for parameter in ["digest", "mount"] {
            let post = format!("demo/app/blobs/uploads/?{parameter}={digest}");
            assert_eq!(send(&door, Method::POST, &post, &OCTETS, &bytes).await.status(), 400, "{post}");
        }
        let put = format!("{}?digest={digest}", door.begin("demo/app").await);
        assert_eq!(send(&door, Method::PUT, &put, &OCTETS, &bytes).await.status(), 400, "{digest}");
    }
    let none = door.begin("demo/app").await;
    assert_eq!(send(&door, Method::PUT, &none, &OCTETS, &bytes).await.status(), 400, "no digest at all");
}

/// POST then PUT: "Upon success, the response MUST have a code of 202 Accepted, and MUST include the following header: Location", which
/// "MUST contain a UUID representing a unique session ID for the upload to follow".
#[tokio::test]
async fn an_upload_begins_with_a_session_of_its_own() {
    let door = Door::open().await;
    let mut seen = std::collections::BTreeSet::new();
    for path in ["demo/app/blobs/uploads/", "demo/app/blobs/uploads"] {
        let begun = send(&door, Method::POST, path, &[], &Bytes::new()).await;
        assert_eq!(begun.status(), 202);
        let location = location(&begun);
        let id = location.rsplit('/').next().expect("an id");
        assert!(uuid::Uuid::parse_str(id).is_ok(), "{location}");
        assert_eq!(header(&begun, "docker-upload-uuid"), id);
        assert!(seen.insert(location));
    }
}

/// POST then PUT: "Upon successful completion of the request, the response MUST have code 201 Created and MUST have the following header:
/// Location: <blob-location>. With <blob-location> being a pullable blob URL."
#[tokio::test]
async fn post_then_put() {
    let door = Door::open().await;
    let bytes = Bytes::from_static(b"in two steps");
    for digest in [sha256(&bytes), sha512(&bytes)] {
        let upload = door.begin("demo/app").await;
        let put = send(&door, Method::PUT, &format!("{upload}?digest={digest}"), &OCTETS, &bytes).await;
        assert_eq!(put.status(), 201);
        assert_eq!(header(&put, "docker-content-digest"), digest.as_str());
        pullable(&door, &put, &bytes).await;
    }
}

/// Single POST: "Successful completion of the request MUST return a 201 Created and MUST include the following header: Location", "a
/// pullable blob URL".
#[tokio::test]
async fn single_post() {
    let door = Door::open().await;
    for bytes in [Bytes::from_static(b"all at once"), Bytes::new()] {
        for digest in [sha256(&bytes), sha512(&bytes)] {
            let path = format!("demo/app/blobs/uploads/?digest={digest}");
            let post = send(&door, Method::POST, &path, &OCTETS, &bytes).await;
            assert_eq!(post.status(), 201);
            assert_eq!(header(&post, "docker-content-digest"), digest.as_str());
            pullable(&door, &post, &bytes).await;
        }
    }
}

/// Single POST: "The Content-Length header MUST match the blob's actual content length." One who promises more than comes stores nothing.
#[tokio::test]
async fn a_body_shorter_than_its_length_is_no_blob() {
    let door = Door::open().await;
    let digest = sha256(b"short");
    let head = format!(
        "POST /v2/demo/app/blobs/uploads/?digest={digest} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Length: 100\r\n\r\nshort",
        door.address, door.token
    );
    let mut connection = tokio::net::TcpStream::connect(&door.address).await.expect("connected");
    connection.write_all(head.as_bytes()).await.expect("sent");
    connection.shutdown().await.expect("said that this is all");
    let mut answer = String::new();
    // An answer, or none: either is right for one who has gone.
    let _ = connection.read_to_string(&mut answer).await;
    assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
    assert_eq!(door.head(&format!("demo/app/blobs/{digest}")).await.status(), 404);
}

/// Single POST: "Likewise, the <digest> MUST match the blob's digest." The same goes for every other way to push.
#[tokio::test]
async fn bytes_that_do_not_match_their_digest_are_no_blob() {
    let door = Door::open().await;
    let (bytes, lie) = (Bytes::from_static(b"not what was promised"), sha256(b"promised"));
    let post = format!("demo/app/blobs/uploads/?digest={lie}");
    assert_eq!(send(&door, Method::POST, &post, &OCTETS, &bytes).await.status(), 400);
    let put = format!("{}?digest={lie}", door.begin("demo/app").await);
    assert_eq!(send(&door, Method::PUT, &put, &OCTETS, &bytes).await.status(), 400);
    let upload = door.begin("demo/app").await;
    assert_eq!(send(&door, Method::PATCH, &upload, &OCTETS, &bytes).await.status(), 202);
    let close = format!("{upload}?digest={lie}");
    assert_eq!(send(&door, Method::PUT, &close, &[], &Bytes::new()).await.status(), 400);
    assert_eq!(door.head(&format!("demo/app/blobs/{lie}")).await.status(), 404);
}

async fn mount(door: &Door, query: String) -> reqwest::Response {
    send(door, Method::POST, &format!("demo/to/blobs/uploads/?{query}"), &[], &Bytes::new()).await
}

/// Mounting a blob from another repository: "The response to a successful mount MUST be 201 Created, and MUST contain the following
/// header: Location: <blob-location>".
#[tokio::test]
async fn mount_from_a_repository() {
    let (door, image) = (Door::open().await, TestImage::new("mounted"));
    door.push("demo/from", "1", &image).await;
    let digest = sha256(&image.layer);
    for _ in 0..2 {
        let mounted = mount(&door, format!("mount={digest}&from=demo/from")).await;
        assert_eq!(mounted.status(), 201);
        assert_eq!(header(&mounted, "docker-content-digest"), digest.as_str());
        assert_eq!(header(&mounted, "location"), format!("/v2/demo/to/blobs/{digest}"));
        pullable(&door, &mounted, &image.layer).await;
    }
}

/// Mounting a blob from another repository: "The registry MAY treat the from parameter as optional, and it MAY cross-mount the blob if it
/// can be found." Found is what the caller may pull.
#[tokio::test]
async fn mount_from_wherever_it_may_be_pulled() {
    let (door, image) = (Door::open().await, TestImage::new("found"));
    door.push("demo/from", "1", &image).await;
    let mounted = mount(&door, format!("mount={}", sha256(&image.layer))).await;
    assert_eq!(mounted.status(), 201);
    pullable(&door, &mounted, &image.layer).await;

    let secret = Bytes::from_static(b"of a project that is not ada's");
    let name = "secret".parse().expect("a name");
    let stream = door.store.ensure_stream("other", &name, &door.actor).await.expect("a stream");
    door.store.link_blob(&stream.id, sha256(&secret).as_str(), secret.len() as i64, None).await.expect("linked");
    assert_eq!(mount(&door, format!("mount={}", sha256(&secret))).await.status(), 202);
}

/// Mounting a blob from another repository: "if a registry [...] is unable to mount the requested blob, it SHOULD return a 202. This
/// indicates that the upload session has begun."
#[tokio::test]
async fn what_cannot_be_mounted_is_uploaded() {
    let (door, image) = (Door::open().await, TestImage::new("not mounted"));
    door.push("demo/from", "1", &image).await;
    let (there, bytes) = (sha256(&image.layer), Bytes::from_static(b"missing"));
    let missing = sha256(&bytes);
    for query in [
        format!("mount={missing}&from=demo/from"),
        format!("mount={missing}"),
        format!("mount={there}&from=demo/none"),
        format!("mount={there}&from=other/secret"),
        format!("mount={there}&from=no-repository"),
        format!("mount={there}&from=a/b/c"),
    ] {
        let begun = mount(&door, query.clone()).await;
        assert_eq!(begun.status(), 202, "{query}");
        assert_eq!(door.get(&location(&begun)).await.status(), 204, "{query}");
    }
    let upload = location(&mount(&door, format!("mount={missing}")).await);
    let put = send(&door, Method::PUT, &format!("{upload}?digest={missing}"), &OCTETS, &bytes).await;
    assert_eq!(put.status(), 201);
}
