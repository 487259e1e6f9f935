//! The disk is full: the blobs', and the database's. Whoever pushes is told so, everybody else goes on, and with space comes back
//! what was lost to its lack.

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use weir::server::hash::sha256;

use super::{Site, files_in, refusal, verify};
use crate::support::Tmpfs;
use crate::upstreams::images::TestImage;

/// MiB of the small disks.
const BLOBS: u32 = 8;
const DATABASE: u32 = 24;
/// How long anything may take to be well again.
const RECOVERED_WITHIN: Duration = Duration::from_secs(30);

fn registry(site: &Site, method: Method, path: &str) -> RequestBuilder {
    site.client().request(method, &format!("/v2/demo/{path}"))
}

async fn post_blob(site: &Site, bytes: &Bytes) -> Response {
    let post = registry(site, Method::POST, &format!("app/blobs/uploads/?digest={}", sha256(bytes)));
    post.body(bytes.clone()).send().await.expect("a refusal reaches its client")
}

async fn is_full(answer: Response) {
    let (status, code, message) = refusal(answer).await;
    assert_eq!((status, &*code), (StatusCode::INSUFFICIENT_STORAGE, "UNAVAILABLE"), "{message}");
    assert!(message.contains("full") && message.contains("free space"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_blobs() {
    let (directory, disk) = (tempfile::tempdir().expect("a directory"), Tmpfs::mount(BLOBS));
    let store = format!("file://{}", disk.path().display());
    let (data, more) = (directory.path(), ["--blob-store", store.as_str()]);
    let site = Site::open(data, &more).await;
    let before = TestImage::new("before");
    site.pusher().push("app", "before", &before, false).await.expect("pushed");

    // Larger than the disk: refused, and what it took is free again.
    let free = disk.free();
    let huge = Bytes::from(vec![7; (BLOBS as usize + 4) << 20]);
    is_full(post_blob(&site, &huge).await).await;
    assert_eq!(disk.free(), free, "a refused blob keeps its space");
    let begun = registry(&site, Method::POST, "app/blobs/uploads/").send().await.expect("an answer");
    let upload = begun.headers()["location"].to_str().expect("text").to_owned();
    let patch = || site.client().request(Method::PATCH, &upload);
    is_full(patch().body(huge.clone()).send().await.expect("a refusal reaches its client")).await;
    assert_eq!(disk.free(), free, "a refused chunk keeps its space");
    let (status, code, _) = refusal(patch().body("x").send().await.expect("an answer")).await;
    assert_eq!((status, &*code), (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN"), "nobody is to wait for it");

    // Not a byte is left.
    let ballast = disk.fill();
    let small = TestImage::new("small");
    is_full(post_blob(&site, &small.layer).await).await;
    others_go_on(&site, &before).await;
    readiness_names_the_blobs(&site).await;
    let lost = registry(&site, Method::HEAD, &format!("app/blobs/{}", sha256(&huge))).send().await;
    assert_eq!(lost.expect("an answer").status(), StatusCode::NOT_FOUND, "half a blob shows");

    ballast.drop_it();
    site.pusher().push("app", "small", &small, true).await.expect("there is room again");
    site.pulls("app", "small", &small).await;
    is_ready_again(&site).await;
    assert_eq!(files_in(&disk.path().join("uploads")), 0, "rubbish was left");
    let said = verify(data, &more);
    assert!(said.contains(" 4 blobs "), "{said}");
}

/// Whoever does not write does not notice.
async fn others_go_on(site: &Site, image: &TestImage) {
    let streams = "/apis/image.openshift.io/v1/namespaces/demo/imagestreams";
    for page in ["/healthz", "/", "/p/demo", "/p/demo/streams/app", streams] {
        let answer = site.client().get(page).await;
        assert_eq!(answer.status(), StatusCode::OK, "{page}\n{}", site.weir.log_end());
    }
    site.pulls("app", "before", image).await;
}

async fn readiness_names_the_blobs(site: &Site) {
    let ready = site.client().get("/readyz").await;
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    let ready: serde_json::Value = ready.json().await.expect("JSON");
    assert_eq!(ready["blobs"]["state"], "failed", "{ready}");
    assert!(ready["blobs"]["message"].as_str().expect("words").contains("full"), "{ready}");
}

async fn is_ready_again(site: &Site) {
    let began = Instant::now();
    while site.client().get("/readyz").await.status() != StatusCode::OK {
        assert!(began.elapsed() < RECOVERED_WITHIN, "it is not ready again:\n{}", site.weir.log_end());
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_the_database() {
    let (disk, blobs) = (Tmpfs::mount(DATABASE), tempfile::tempdir().expect("a directory"));
    let (data, store) = (disk.path().join("data"), format!("file://{}", blobs.path().display()));
    let more = ["--blob-store", store.as_str()];
    let site = Site::open(&data, &more).await;
    let before = TestImage::new("before");
    site.pusher().push("app", "before", &before, false).await.expect("pushed");

    let ballast = disk.fill();
    let acknowledged = push_until_full(&site).await;
    // It stays refused, in words, however many come at once: each of the pool's connections meets the full disk.
    let refused = join_all((0..40).map(|n| put_image(&site, TestImage::new(&format!("refused-{n}")), "refused"))).await;
    for answer in refused.into_iter().map(|answer| answer.err().expect("there is no room")) {
        is_full(answer).await;
    }
    others_go_on(&site, &before).await;

    ballast.drop_it();
    let after = join_all((0..40).map(|n| put_image(&site, TestImage::new(&format!("after-{n}")), "after"))).await;
    for pushed in after {
        if let Err(answer) = pushed {
            panic!("there is room again: {:?}\n{}", refusal(answer).await, site.weir.log_end());
        }
    }
    is_ready_again(&site).await;
    let token = site.token.clone();
    site.weir.kill();
    verify(&data, &more);
    let site = Site::open_again(&data, &more, &token);
    site.pulls("app", "before", &before).await;
    for image in &acknowledged {
        site.pulls("app", image.digest().as_str(), image).await;
    }
}

/// Pushes an image by its parts; gives the first answer that is not as it should be.
async fn put_image(site: &Site, image: TestImage, tag: &str) -> Result<TestImage, Response> {
    for blob in [&image.config, &image.layer] {
        let answer = post_blob(site, blob).await;
        if answer.status() != StatusCode::CREATED {
            return Err(answer);
        }
    }
    let put = registry(site, Method::PUT, &format!("app/manifests/{tag}")).header("content-type", image.media_type);
    let answer = put.body(image.manifest.clone()).send().await.expect("an answer");
    if answer.status() == StatusCode::CREATED { Ok(image) } else { Err(answer) }
}

/// The last pages of a file may take some more.
async fn push_until_full(site: &Site) -> Vec<TestImage> {
    let mut acknowledged = Vec::new();
    loop {
        match put_image(site, TestImage::new(&format!("filling-{}", acknowledged.len())), "filling").await {
            Ok(image) => acknowledged.push(image),
            Err(answer) => {
                is_full(answer).await;
                return acknowledged;
            }
        }
        assert!(acknowledged.len() < 500, "the disk does not fill");
    }
}

#[test]
fn refuses_to_start_on_it() {
    let disk = Tmpfs::mount(1);
    let _ballast = disk.fill();
    let data: &Path = &disk.path().join("data");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().expect("UTF-8")];
    let refused = crate::support::run_weir(serve);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("full") || refused.stderr.contains("No space left"), "{refused:?}");
}
