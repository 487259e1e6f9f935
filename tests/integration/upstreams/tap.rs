//! A registry with one image whose layer flows only as far as a test opens the tap.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::watch;
use weir::server::hash::sha256;

use super::images::TestImage;
use super::programmable::{Upstream, answer};

/// What the registry does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Flow {
    /// So many bytes of the layer, then nothing until told otherwise.
    UpTo(usize),
    /// The connection breaks off where it is.
    Cut,
    /// A byte of the layer at a time, 20 a second.
    Drip,
    /// Nothing is answered until told otherwise.
    Silent,
    /// Everything is refused for so many seconds.
    Limited(u64),
    /// Everything is answered by this status.
    Failing(u16),
}

/// The registry.
pub struct Tap {
    pub upstream: Upstream,
    pub image: TestImage,
    flow: watch::Sender<Flow>,
}

const PIECE: usize = 50_000;

impl Tap {
    /// One whose tag `org/base:1` is the image. Its layer does not flow yet.
    pub async fn shut(image: &TestImage) -> Self {
        Self::serving(image, image.layer.clone()).await
    }

    /// One that sends other bytes for the layer than the manifest names.
    pub async fn serving(image: &TestImage, layer: Bytes) -> Self {
        let (flow, seen) = watch::channel(Flow::UpTo(0));
        let served = Arc::new((image.clone(), layer));
        let upstream = Upstream::start(move |asked| {
            let (served, mut flow) = (Arc::clone(&served), seen.clone());
            Box::pin(async move {
                // Whoever holds the other end is the test, which is over when it is gone.
                let _ = flow.wait_for(|flow| *flow != Flow::Silent).await;
                if let Flow::Failing(status) = *flow.borrow() {
                    return answer(status, &[], "");
                }
                if let Flow::Limited(seconds) = *flow.borrow() {
                    let body =
                        r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
                    return answer(
                        429,
                        &[("retry-after", &seconds.to_string()), ("ratelimit-limit", "100;w=21600")],
                        body,
                    );
                }
                answer_of(&served.0, &served.1, &asked.method, asked.path(), flow)
            })
        });
        Self { upstream: upstream.await, image: image.clone(), flow }
    }

    /// Lets so many bytes of the layer pass.
    pub fn open(&self, bytes: usize) {
        self.set(Flow::UpTo(bytes));
    }

    /// Lets everything pass.
    pub fn open_wide(&self) {
        self.set(Flow::UpTo(usize::MAX));
    }

    pub fn set(&self, flow: Flow) {
        self.flow.send_replace(flow);
    }

    /// The tag's reference.
    pub fn reference(&self) -> String {
        format!("{}/org/base:1", self.upstream.address())
    }

    /// How often a blob was asked for.
    pub fn downloads_of(&self, blob: &Bytes) -> usize {
        let path = format!("/v2/org/base/blobs/{}", sha256(blob));
        self.upstream.seen().iter().filter(|seen| seen.method == Method::GET && seen.path() == path).count()
    }

    /// How many requests came, those of HTTP only.
    pub fn asked(&self) -> usize {
        self.upstream.seen().len()
    }
}

fn answer_of(image: &TestImage, layer: &Bytes, method: &Method, path: &str, flow: watch::Receiver<Flow>) -> Response {
    let Some(path) = path.strip_prefix("/v2/org/base/") else { return answer(404, &[], "") };
    let digest = image.digest();
    if path == "manifests/1" || path == format!("manifests/{digest}") {
        let length = image.manifest.len().to_string();
        let headers = [
            ("docker-content-digest", digest.as_str()),
            ("content-type", image.media_type),
            ("content-length", &length),
        ];
        let body = if method == Method::HEAD { Body::empty() } else { Body::from(image.manifest.clone()) };
        return answer(200, &headers, body);
    }
    if path == format!("blobs/{}", sha256(&image.config)) {
        return answer(200, &[], image.config.clone());
    }
    if path == format!("blobs/{}", sha256(&image.layer)) {
        let length = layer.len().to_string();
        return answer(200, &[("content-length", &length)], Body::from_stream(flowing(layer.clone(), flow)));
    }
    answer(404, &[], "")
}

/// The layer, as far as the tap is open.
fn flowing(layer: Bytes, flow: watch::Receiver<Flow>) -> impl stream::Stream<Item = io::Result<Bytes>> {
    stream::unfold((layer, 0, flow), |(layer, at, mut flow)| async move {
        if at == layer.len() {
            return None;
        }
        let is_open = |flow: &Flow| !matches!(flow, Flow::UpTo(bytes) if *bytes <= at);
        let now = flow.wait_for(is_open).await.map(|flow| flow.clone());
        let end = match now {
            Ok(Flow::UpTo(bytes)) => Some(layer.len().min(bytes).min(at + PIECE)),
            Ok(Flow::Drip) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                Some(at + 1)
            }
            _ => None,
        };
        let Some(end) = end else { return Some((Err(io::Error::other("cut")), (Bytes::new(), 0, flow))) };
        Some((Ok(layer.slice(at..end)), (layer, end, flow)))
    })
}
