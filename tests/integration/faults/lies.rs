//! Clients that lie about how much they send, where it belongs, or what it is: each lie has its code, and nothing is stored.

use bytes::Bytes;
use futures_util::stream;
use reqwest::{Body, Method, Response, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use weir::model::Role;
use weir::server::hash::sha256;

use super::refusal;
use crate::support::{Client, TestWeir};
use crate::upstreams::images::{OCI_MANIFEST, TestImage};

const BYTES: Bytes = Bytes::from_static(b"0123456789");

/// A server that listens as the program does, and somebody who pushes.
struct Lied {
    weir: TestWeir,
    ada: Client,
}

impl Lied {
    async fn open() -> Self {
        let weir = TestWeir::start().await;
        let ada = weir.user("ada", "demo", Role::Editor).await;
        Self { weir, ada }
    }

    async fn begin(&self) -> String {
        let begun = self.ada.request(Method::POST, "/v2/demo/app/blobs/uploads/").send().await.expect("an answer");
        assert_eq!(begun.status(), StatusCode::ACCEPTED);
        begun.headers()["location"].to_str().expect("text").to_owned()
    }

    async fn patch(&self, upload: &str, range: &str, body: impl Into<Body>) -> Response {
        let patch = self.ada.request(Method::PATCH, upload).header("content-range", range);
        patch.body(body).send().await.expect("an answer")
    }

    /// Sends a request as it is written, and half-closes; gives everything that is answered.
    async fn send_raw(&self, method: &str, path: &str, length: usize, body: &[u8]) -> String {
        let address = self.weir.url.trim_start_matches("http://");
        let mut connection = TcpStream::connect(address).await.expect("connected");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\ncontent-type: {OCI_MANIFEST}\r\n\
             content-length: {length}\r\n\r\n",
            self.ada.token()
        );
        connection.write_all(head.as_bytes()).await.expect("sent");
        connection.write_all(body).await.expect("sent");
        connection.shutdown().await.expect("closed");
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Neither the truth nor the lie can be pulled, and the disk has neither.
    async fn nothing_is_stored(&self, digests: &[&[u8]]) {
        for bytes in digests {
            let head = self.ada.request(Method::HEAD, &format!("/v2/demo/app/blobs/{}", sha256(bytes)));
            assert_eq!(head.send().await.expect("an answer").status(), StatusCode::NOT_FOUND);
            assert_eq!(self.weir.state.blobs.size(&sha256(bytes)).await.expect("the blobs"), None);
        }
    }
}

/// A body whose length is not told.
fn streamed(bytes: Bytes) -> Body {
    Body::wrap_stream(stream::iter([Ok::<_, std::io::Error>(bytes)]))
}

#[tokio::test]
async fn about_how_much_there_is() {
    let lied = Lied::open().await;
    let digest = sha256(&BYTES);
    let at_once = format!("/v2/demo/app/blobs/uploads/?digest={digest}");

    // More than comes: the connection ends in the middle of it.
    let answer = lied.send_raw("POST", &at_once, 1000, &BYTES).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    let upload = lied.begin().await;
    lied.send_raw("PATCH", &upload, 1000, &BYTES).await;
    let answer = lied.send_raw("PUT", &format!("{upload}?digest={digest}"), 1000, b"").await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    lied.nothing_is_stored(&[&BYTES]).await;
    // What was taken of it counts, for whoever goes on; a connection that ends takes its request with it at any point.
    let status = lied.ada.get(&upload).await;
    assert!(["0-9", "0-0"].contains(&status.headers()["range"].to_str().expect("text")), "{status:?}");

    // Less than comes: the rest is no request.
    let answer = lied.send_raw("POST", &at_once, 4, &BYTES).await;
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("DIGEST_INVALID"), "{answer}");
    lied.nothing_is_stored(&[&BYTES, &BYTES[..4]]).await;

    let image = TestImage::new("x");
    let answer = lied.send_raw("PUT", "/v2/demo/app/manifests/1", 10_000, &image.manifest).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(lied.ada.get("/v2/demo/app/manifests/1").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn about_where_it_belongs() {
    let lied = Lied::open().await;
    let upload = lied.begin().await;
    for (range, status, code) in [
        ("5-14", StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID"),
        ("0-4", StatusCode::BAD_REQUEST, "SIZE_INVALID"),
        ("0-99", StatusCode::BAD_REQUEST, "SIZE_INVALID"),
        ("9-0", StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID"),
        ("0-18446744073709551615", StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID"),
    ] {
        let (found, found_code, message) = refusal(lied.patch(&upload, range, BYTES).await).await;
        assert_eq!((found, &*found_code), (status, code), "{range}: {message}");
    }
    let status = lied.ada.get(&upload).await;
    assert_eq!(status.headers()["range"], "0-0", "nothing was taken");

    // Without a length it shows only at the end; what is said then is where the upload stands.
    let few = lied.patch(&upload, "0-99", streamed(BYTES)).await;
    assert_eq!(few.headers()["range"], "0-9");
    let (status, code, message) = refusal(few).await;
    assert_eq!((status, &*code), (StatusCode::BAD_REQUEST, "SIZE_INVALID"), "{message}");
    assert!(message.contains("100 bytes") && message.contains("10 came"), "{message}");
    let (status, code, message) = refusal(lied.patch(&upload, "10-14", streamed(BYTES)).await).await;
    assert_eq!((status, &*code), (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID"), "{message}");
    assert!(message.contains("more bytes came"), "{message}");
    lied.nothing_is_stored(&[&BYTES]).await;
    let cancelled = lied.ada.request(Method::DELETE, &upload).send().await.expect("an answer");
    assert_eq!(cancelled.status(), StatusCode::NO_CONTENT);
}

#[tokio::test]
async fn about_what_it_is() {
    let lied = Lied::open().await;
    let lie = sha256(b"something else");
    let at_once = lied.ada.request(Method::POST, &format!("/v2/demo/app/blobs/uploads/?digest={lie}")).body(BYTES);
    let upload = lied.begin().await;
    let in_steps = lied.ada.request(Method::PUT, &format!("{upload}?digest={lie}")).body(BYTES);
    for put in [at_once, in_steps] {
        let (status, code, message) = refusal(put.send().await.expect("an answer")).await;
        assert_eq!((status, &*code), (StatusCode::BAD_REQUEST, "DIGEST_INVALID"), "{message}");
        assert!(message.contains(lie.as_str()) && message.contains(sha256(&BYTES).as_str()), "{message}");
    }
    let sha512 = format!("sha512:{}", "0".repeat(128));
    let other = lied.ada.request(Method::POST, &format!("/v2/demo/app/blobs/uploads/?digest={sha512}")).body(BYTES);
    let (status, code, _) = refusal(other.send().await.expect("an answer")).await;
    assert_eq!((status, &*code), (StatusCode::BAD_REQUEST, "DIGEST_INVALID"));
    lied.nothing_is_stored(&[&BYTES, b"something else"]).await;
    let uploads = lied.weir.directory().join("data/blobs/uploads");
    assert_eq!(super::files_in(&uploads), 0, "what nobody can go on with is gone");
}
