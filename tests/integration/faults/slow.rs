//! Clients that send a byte now and then: they hold nothing up, are ended after a while, and may go on where they stopped.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use reqwest::{Method, StatusCode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use weir::server::hash::sha256;

use super::Site;
use crate::upstreams::images::{OCI_MANIFEST, TestImage};

const CLIENTS: usize = 100;
/// In the place of a minute.
const BETWEEN_BYTES: Duration = Duration::from_millis(400);
const SILENCE: &str = "4s";
/// Many times [`SILENCE`]; who is not ended by then never is.
const ENDED_WITHIN: Duration = Duration::from_secs(60);
/// What all of them are about to send.
const WHOLE: &[u8; 100_000] = &[7; 100_000];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_clients_hold_nothing_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let site = Site::open(directory.path(), &["--upload-silence", SILENCE]).await;
    // The first push makes the stream, and everything that is made but once.
    site.pusher().push("app", "first", &TestImage::new("first"), true).await.expect("pushed");

    let uploads = join_all((0..CLIENTS).map(|_| begin(&site))).await;
    let slow: Vec<_> = uploads.iter().map(|upload| Slow::open(&site, "PATCH", upload)).collect();
    let slow = join_all(slow).await;
    // Those that only begin a manifest are no better.
    let manifest = Slow::open(&site, "PUT", "/v2/demo/app/manifests/slow").await;
    let trickles = tokio::spawn(async move { join_all(slow.into_iter().chain([manifest]).map(Slow::trickle)).await });
    sleep(BETWEEN_BYTES).await;
    for n in 0..5 {
        let (pushed, image) = (format!("normal-{n}"), TestImage::new(&format!("normal-{n}")));
        let push = async {
            site.pusher().push("app", &pushed, &image, n % 2 == 0).await.expect("pushed");
            site.pulls("app", &pushed, &image).await;
        };
        timeout(Duration::from_secs(20), push).await.expect("a normal push goes through promptly");
    }
    assert!(!trickles.is_finished(), "the slow ones were still there");
    let threads = site.weir.status("Threads");
    assert!(threads < CLIENTS as u64, "{threads} threads: each slow client holds one");

    let ended = timeout(ENDED_WITHIN, trickles).await.expect("they are ended").expect("no panic");
    for (sent, answer) in &ended {
        assert!(answer.starts_with("HTTP/1.1 408 "), "after {sent} bytes: {answer}");
    }
    assert!(ended[0].1.contains("BLOB_UPLOAD_INVALID") && ended[CLIENTS].1.contains("MANIFEST_INVALID"), "{ended:?}");
    let (_, last) = ended.last().expect("the manifest's");
    assert!(last.contains("silent"), "{last}");
    goes_on(&site, &uploads[0]).await;
}

/// Begins an upload; gives its path.
async fn begin(site: &Site) -> String {
    let begun = site.client().request(Method::POST, "/v2/demo/app/blobs/uploads/").send().await.expect("an answer");
    assert_eq!(begun.status(), StatusCode::ACCEPTED);
    begun.headers()["location"].to_str().expect("text").to_owned()
}

/// A connection in the middle of a request.
struct Slow(TcpStream);

impl Slow {
    async fn open(site: &Site, method: &str, path: &str) -> Self {
        let address = site.weir.url.trim_start_matches("http://");
        let mut connection = TcpStream::connect(address).await.expect("connected");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {}\r\ncontent-type: {OCI_MANIFEST}\r\n\
             content-length: {}\r\n\r\n",
            site.token,
            WHOLE.len()
        );
        connection.write_all(head.as_bytes()).await.expect("sent");
        Self(connection)
    }

    /// Sends a byte now and then until there is an answer; gives how many, and the answer, when the connection has ended.
    async fn trickle(self) -> (usize, String) {
        let (mut read, mut write) = self.0.into_split();
        let sending = async {
            let mut sent = 0;
            // Until the server ends the connection.
            while write.write_all(&WHOLE[sent..=sent]).await.is_ok() {
                sent += 1;
                sleep(BETWEEN_BYTES).await;
            }
            sent
        };
        let mut answer = Vec::new();
        let reading = async {
            // A reset behind the answer is an end, too.
            let _ = read.read_to_end(&mut answer).await;
        };
        let (sent, ()) = tokio::join!(sending, reading);
        (sent, String::from_utf8_lossy(&answer).into_owned())
    }
}

/// What was sent slowly is there, and the rest may follow.
async fn goes_on(site: &Site, upload: &str) {
    let client = site.client();
    let status = client.get(upload).await;
    assert_eq!(status.status(), StatusCode::NO_CONTENT);
    let range = status.headers()["range"].to_str().expect("text").to_owned();
    let kept: usize = range.strip_prefix("0-").and_then(|last| last.parse().ok()).expect("a range");
    assert!(kept > 0 && kept < 1024, "{range}");
    let rest = Bytes::from_static(&WHOLE[kept + 1..]);
    let patch = client.request(Method::PATCH, upload);
    let patch = patch.header("content-range", format!("{}-{}", kept + 1, WHOLE.len() - 1)).body(rest);
    assert_eq!(patch.send().await.expect("an answer").status(), StatusCode::ACCEPTED);
    let put = client.request(Method::PUT, &format!("{upload}?digest={}", sha256(WHOLE))).send().await;
    assert_eq!(put.expect("an answer").status(), StatusCode::CREATED);
}

/// Reading slowly is no crime, and no burden either.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_hold_nothing_up() {
    let directory = tempfile::tempdir().expect("a directory");
    let site = Site::open(directory.path(), &[]).await;
    let layer = Bytes::from(vec![7; 8 << 20]);
    let mut image = TestImage::new("large");
    image.layer = layer.clone();
    let path = format!("/v2/demo/app/blobs/uploads/?digest={}", sha256(&layer));
    let post = site.client().request(Method::POST, &path).body(layer.clone()).send().await.expect("an answer");
    assert_eq!(post.status(), StatusCode::CREATED);
    let reads = (0..CLIENTS).map(|_| async {
        let answer = site.client().get(&format!("/v2/demo/app/blobs/{}", sha256(&layer))).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer
    });
    // All have their headers, and nobody reads on.
    let answers = join_all(reads).await;
    let began = Instant::now();
    site.pusher().push("app", "1", &TestImage::new("normal"), false).await.expect("pushed");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(site.weir.status("VmRSS") < 300 * 1024, "{} kB", site.weir.status("VmRSS"));
    for answer in answers.into_iter().take(3) {
        assert_eq!(answer.bytes().await.expect("all of it"), layer);
    }
}
