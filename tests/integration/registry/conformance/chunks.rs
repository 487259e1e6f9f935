//! "Pushing a blob in chunks", and "Cancel a blob upload".

use std::sync::Arc;

use axum::http::Method;
use bytes::Bytes;
use reqwest::Response;
use weir::server::blobs::Filesystem;
use weir::server::controllers::{Controller as _, Housekeeping};
use weir::server::hash::sha256;

use super::super::door::{Door, header};
use super::{location, pullable, send, sha512};

const BYTES: Bytes = Bytes::from_static(b"0123456789abcdefghij");

/// Sends the bytes from `first` to `last` inclusive.
async fn chunk(door: &Door, method: Method, path: &str, first: usize, last: usize) -> Response {
    let range = format!("{first}-{last}");
    let headers = [("content-type", "application/octet-stream"), ("content-range", range.as_str())];
    send(door, method, path, &headers, &BYTES.slice(first..=last)).await
}

fn digest() -> weir::model::Digest {
    sha256(&BYTES)
}

/// Pushing a blob in chunks: "the post request MUST include the following header: Content-Length: 0"; the answer is as for every upload.
#[tokio::test]
async fn a_chunked_upload_begins_like_any_other() {
    let door = Door::open().await;
    let headers = [("content-length", "0")];
    let begun = send(&door, Method::POST, "demo/app/blobs/uploads/", &headers, &Bytes::new()).await;
    assert_eq!(begun.status(), 202);
    assert!(header(&begun, "location").starts_with("/v2/demo/app/blobs/uploads/"));
    assert_eq!(header(&begun, "oci-chunk-min-length"), "", "chunks may be as small as one likes");
}

/// Pushing a blob in chunks: "When pushing a blob with a digest algorithm other than sha256, the post request SHOULD include the
/// digest-algorithm parameter." One that is none of ours is refused at once.
#[tokio::test]
async fn an_upload_may_say_its_digest_algorithm() {
    let door = Door::open().await;
    let post = "demo/app/blobs/uploads/?digest-algorithm=sha512";
    let begun = send(&door, Method::POST, post, &[], &Bytes::new()).await;
    assert_eq!(begun.status(), 202);
    let sent = chunk(&door, Method::PATCH, &location(&begun), 0, 19).await;
    let close = format!("{}?digest={}", location(&sent), sha512(&BYTES));
    let put = send(&door, Method::PUT, &close, &[], &Bytes::new()).await;
    assert_eq!(put.status(), 201);
    pullable(&door, &put, &BYTES).await;
    let post = "demo/app/blobs/uploads/?digest-algorithm=md5";
    assert_eq!(send(&door, Method::POST, post, &[], &Bytes::new()).await.status(), 400);
}

/// Pushing a blob in chunks: "The response for each successful chunk upload MUST be 202 Accepted, and MUST have the following headers:
/// Location: <blob-push-location>, Range: 0-<end-of-range>."
#[tokio::test]
async fn each_chunk_is_told_where_the_upload_is() {
    let door = Door::open().await;
    let mut upload = door.begin("demo/app").await;
    for (first, last) in [(0, 6), (7, 7), (8, 19)] {
        let sent = chunk(&door, Method::PATCH, &upload, first, last).await;
        assert_eq!((sent.status().as_u16(), header(&sent, "range")), (202, format!("0-{last}")));
        upload = location(&sent);
    }
    let put = send(&door, Method::PUT, &format!("{upload}?digest={}", digest()), &[], &Bytes::new()).await;
    assert_eq!(put.status(), 201);
}

/// Pushing a blob in chunks: the range "MUST match the following regular expression: ^[0-9]+-[0-9]+$" and "MUST be inclusive on both
/// ends".
#[tokio::test]
async fn ranges_that_do_not_read_are_refused() {
    let door = Door::open().await;
    let upload = door.begin("demo/app").await;
    for range in ["five", "0", "0-", "-4", "4-0", "0-9", "0-99999999999999999999999"] {
        let headers = [("content-range", range)];
        let refused = send(&door, Method::PATCH, &upload, &headers, &BYTES.slice(..5)).await;
        assert_eq!(refused.status(), 400, "{range} for 5 bytes");
    }
    assert_eq!(chunk(&door, Method::PATCH, &upload, 0, 4).await.status(), 202, "nothing of it was taken");
}

/// Pushing a blob in chunks: "The first chunk's range MUST begin with 0."
#[tokio::test]
async fn the_first_chunk_is_the_first() {
    let door = Door::open().await;
    let upload = door.begin("demo/app").await;
    assert_eq!(chunk(&door, Method::PATCH, &upload, 5, 9).await.status(), 416);
    assert_eq!(chunk(&door, Method::PATCH, &upload, 0, 4).await.status(), 202);
}

/// Pushing a blob in chunks: "If a chunk is uploaded out of order, the registry MUST respond with a 416 Requested Range Not Satisfiable
/// code." "A GET request may be used to retrieve the current valid offset and upload location."
#[tokio::test]
async fn chunks_come_in_order() {
    let door = Door::open().await;
    let upload = door.begin("demo/app").await;
    chunk(&door, Method::PATCH, &upload, 0, 6).await;
    for (first, last) in [(8, 12), (0, 6), (6, 9)] {
        let refused = chunk(&door, Method::PATCH, &upload, first, last).await;
        assert_eq!((refused.status().as_u16(), header(&refused, "range").as_str()), (416, "0-6"), "{first}-{last}");
        assert_eq!(location(&refused), upload);
    }
    let status = door.get(&upload).await;
    assert_eq!(header(&status, "range"), "0-6");
    assert_eq!(chunk(&door, Method::PATCH, &location(&status), 7, 19).await.status(), 202);
    let put = send(&door, Method::PUT, &format!("{upload}?digest={}", digest()), &[], &Bytes::new()).await;
    pullable(&door, &put, &BYTES).await;
}

/// Pushing a blob in chunks: "The final chunk MAY be uploaded using a PATCH request or it MAY be uploaded in the closing PUT request."
/// "The response to a successful closing of the session MUST be 201 Created, and MUST contain the following header: Location".
#[tokio::test]
async fn the_last_chunk_may_come_with_the_close() {
    let door = Door::open().await;
    let upload = door.begin("demo/app").await;
    chunk(&door, Method::PATCH, &upload, 0, 9).await;
    let put = chunk(&door, Method::PUT, &format!("{upload}?digest={}", digest()), 10, 19).await;
    assert_eq!(put.status(), 201);
    assert_eq!(header(&put, "location"), format!("/v2/demo/app/blobs/{}", digest()));
    pullable(&door, &put, &BYTES).await;
}

/// Pushing a blob in chunks: "The closing PUT request MUST include the <digest> of the whole blob (not the final chunk)."
#[tokio::test]
async fn the_close_names_the_whole_blob() {
    let door = Door::open().await;
    let upload = door.begin("demo/app").await;
    chunk(&door, Method::PATCH, &upload, 0, 9).await;
    let of_the_chunk = sha256(&BYTES[10..]);
    let refused = chunk(&door, Method::PUT, &format!("{upload}?digest={of_the_chunk}"), 10, 19).await;
    assert_eq!(refused.status(), 400);
}

/// Pushing a blob in chunks: "If the final chunk is uploaded out of order, the registry MUST respond with a 416 Requested Range Not
/// Satisfiable code."
#[tokio::test]
async fn the_last_chunk_comes_last() {
    let door = Door::open().await;
    let upload = door.begin("demo/app").await;
    chunk(&door, Method::PATCH, &upload, 0, 4).await;
    let close = format!("{upload}?digest={}", digest());
    let refused = chunk(&door, Method::PUT, &close, 10, 19).await;
    assert_eq!((refused.status().as_u16(), header(&refused, "range").as_str()), (416, "0-4"));
    assert_eq!(location(&refused), upload);
    assert_eq!(chunk(&door, Method::PATCH, &upload, 5, 9).await.status(), 202, "the upload goes on");
    assert_eq!(chunk(&door, Method::PUT, &close, 10, 19).await.status(), 201);
}

/// Pushing a blob in chunks: "The response to an active upload <blob-push-location> MUST be a 204 No Content response code, and MUST have
/// the following headers: Location, Range: 0-<end-of-range>."
#[tokio::test]
async fn an_upload_tells_how_far_it_is() {
    let door = Door::open().await;
    let upload = door.begin("demo/app").await;
    chunk(&door, Method::PATCH, &upload, 0, 11).await;
    let status = door.get(&upload).await;
    assert_eq!((status.status().as_u16(), header(&status, "range").as_str()), (204, "0-11"));
    assert_eq!(location(&status), upload);
    assert_eq!(header(&status, "content-length"), "", "204 has no body and tells no length (RFC 9110, 8.6)");
}

/// Cancel a blob upload: "If successful, the response SHOULD be a 204 No Content response code."
#[tokio::test]
async fn an_upload_may_be_cancelled() {
    let door = Door::open().await;
    let upload = door.begin("demo/app").await;
    chunk(&door, Method::PATCH, &upload, 0, 4).await;
    assert_eq!(door.delete(&upload).await.status(), 204);
    for method in [Method::GET, Method::DELETE, Method::PATCH, Method::PUT] {
        let path = format!("{upload}?digest={}", digest());
        assert_eq!(send(&door, method.clone(), &path, &[], &BYTES).await.status(), 404, "{method}");
    }
}

/// Cancel a blob upload: "the server SHOULD eventually timeout unfinished uploads".
#[tokio::test]
async fn an_upload_nobody_goes_on_with_ends() {
    let door = Door::open().await;
    let (old, young) = (door.begin("demo/app").await, door.begin("demo/app").await);
    chunk(&door, Method::PATCH, &old, 0, 4).await;
    let pool = sqlx::AnyPool::connect(&door.database_url).await.expect("the database");
    let id = old.rsplit('/').next().expect("an id").to_owned();
    let aged = sqlx::query("update uploads set updated_at = updated_at - 172800000 where id = $1").bind(id);
    assert_eq!(aged.execute(&pool).await.expect("aged by two days").rows_affected(), 1);
    let blobs = Arc::new(Filesystem::open(door.directory.path().join("blobs")).await.expect("blobs"));
    Housekeeping { store: door.store.clone(), blobs }.reconcile().await.expect("swept");
    assert_eq!(door.get(&old).await.status(), 404);
    assert_eq!(door.get(&young).await.status(), 204);
    let left = std::fs::read_dir(door.directory.path().join("blobs/uploads")).expect("listed").count();
    assert_eq!(left, 1, "the bytes have gone, too");
}
