//! Pulls of what is still in another registry.

mod dripping;
mod first_pulls;
mod platforms;
mod refusals;
mod restart;
mod rests;
mod streaming;
mod trouble;

use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::{Method, Response};
use weir::model::{Role, TagImport};
use weir::server::hash::sha256;
use weir::server::store::TagSpec;

use crate::support::{Client, TestWeir, tester};
use crate::upstreams::images::TestImage;

const PATIENCE: Duration = Duration::from_secs(30);

/// A server with project `demo`, whose editor is Ada. Nothing is imported until a test lets the controllers run.
pub struct Story {
    pub weir: TestWeir,
    pub ada: Client,
}

impl Story {
    pub async fn begin() -> Self {
        let weir = TestWeir::start().await;
        let ada = weir.user("ada", "demo", Role::Editor).await;
        Self { weir, ada }
    }

    /// `base:latest` follows the reference.
    pub async fn following(reference: &str) -> Self {
        let story = Self::begin().await;
        story.follow("base", reference).await;
        story
    }

    pub async fn follow(&self, stream: &str, reference: &str) {
        let spec = TagSpec { insecure: true, ..TagSpec::import(reference) };
        let names = (stream.parse().expect("a name"), "latest".parse().expect("a name"));
        self.weir.store().set_tag("demo", &names.0, &names.1, &spec, None, &tester()).await.expect("the tag follows");
    }

    pub async fn import(&self) -> TagImport {
        let tag = self.weir.store().tag("demo", "base", "latest").await.expect("the tag");
        self.weir.store().find_import(&tag.id).await.expect("asked").expect("it follows")
    }

    /// `GET` of something of `demo/base`.
    pub async fn get(&self, path: &str) -> Response {
        self.ada.get(&format!("/v2/demo/base/{path}")).await
    }

    pub async fn head(&self, path: &str) -> Response {
        self.ada.request(Method::HEAD, &format!("/v2/demo/base/{path}")).send().await.expect("an answer")
    }

    pub async fn get_blob(&self, blob: &Bytes) -> Response {
        self.get(&format!("blobs/{}", sha256(blob))).await
    }

    /// Pulls these bytes.
    pub async fn pulls(&self, path: &str, bytes: &Bytes) {
        let answer = self.get(path).await;
        let status = answer.status();
        let got = answer.bytes().await.expect("a whole body");
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&got));
        assert!(got == *bytes, "{path} has other bytes");
    }

    pub async fn pulls_image(&self, reference: &str, image: &TestImage) {
        self.pulls(&format!("manifests/{reference}"), &image.manifest).await;
        for blob in [&image.config, &image.layer] {
            self.pulls(&format!("blobs/{}", sha256(blob)), blob).await;
        }
    }

    /// Whether the bytes are stored.
    pub async fn has(&self, blob: &Bytes) -> bool {
        self.weir.state.blobs.size(&sha256(blob)).await.expect("asked").is_some()
    }

    /// How many uploads there are.
    pub async fn uploads(&self) -> usize {
        use futures_util::StreamExt as _;
        self.weir.state.blobs.uploads().count().await
    }
}

/// Waits for what happens by itself.
pub async fn until(what: &str, holds: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "after {PATIENCE:?} still not: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
