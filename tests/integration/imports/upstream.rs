//! A registry that has one image under every tag, and misbehaves as a test says.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::http::Method;
use axum::response::Response;
use weir::server::hash::sha256;

use crate::upstreams::images::TestImage;
use crate::upstreams::programmable::answer;
use crate::upstreams::{Seen, Upstream};

/// What it answers instead of what it has; `None` for what it has.
pub type Mood = Arc<dyn Fn(&Seen) -> Option<Response> + Send + Sync>;

/// The registry.
pub struct Misbehaving {
    pub upstream: Upstream,
    image: Arc<Mutex<TestImage>>,
    mood: Arc<Mutex<Option<Mood>>>,
    /// How long each answer takes, in milliseconds.
    pub delay: Arc<AtomicU64>,
    /// When each HEAD came, and for what.
    pub heads: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Misbehaving {
    pub async fn start(image: &TestImage) -> Self {
        let (image, mood) = (Arc::new(Mutex::new(image.clone())), Arc::new(Mutex::new(None::<Mood>)));
        let heads: Arc<Mutex<Vec<(Instant, String)>>> = Arc::default();
        let (kept, moods, log) = (Arc::clone(&image), Arc::clone(&mood), Arc::clone(&heads));
        let delay: Arc<AtomicU64> = Arc::default();
        let wait = Arc::clone(&delay);
        let upstream = Upstream::start(move |seen| {
            if seen.method == Method::HEAD {
                log.lock().expect("the log").push((Instant::now(), seen.path().to_owned()));
            }
            let mood = moods.lock().expect("the mood").clone();
            let response = mood.and_then(|mood| mood(&seen));
            let response = response.unwrap_or_else(|| well(&kept.lock().expect("the image"), &seen));
            let wait = Duration::from_millis(wait.load(Ordering::Relaxed));
            Box::pin(async move {
                tokio::time::sleep(wait).await;
                response
            })
        });
        Self { upstream: upstream.await, image, mood, delay, heads }
    }

    pub fn reference(&self, path: &str) -> String {
        format!("{}/{path}", self.upstream.address())
    }

    pub fn set(&self, image: &TestImage) {
        *self.image.lock().expect("the image") = image.clone();
    }

    pub fn misbehave(&self, mood: impl Fn(&Seen) -> Option<Response> + Send + Sync + 'static) {
        *self.mood.lock().expect("the mood") = Some(Arc::new(mood));
    }

    pub fn behave(&self) {
        *self.mood.lock().expect("the mood") = None;
    }
}

fn well(image: &TestImage, seen: &Seen) -> Response {
    let path = seen.path();
    if path.contains("/manifests/") {
        let (digest, length) = (image.digest(), image.manifest.len().to_string());
        let etag = format!("\"{digest}\"");
        if seen.header("if-none-match") == Some(etag.as_str()) {
            return answer(304, &[("etag", &etag)], "");
        }
        let headers = [
            ("docker-content-digest", digest.as_str()),
            ("content-type", image.media_type),
            ("content-length", &length),
            ("etag", &etag),
        ];
        let body = if seen.method == Method::HEAD { Vec::new() } else { image.manifest.to_vec() };
        return answer(200, &headers, body);
    }
    for blob in [&image.config, &image.layer] {
        if path.ends_with(sha256(blob).as_str()) {
            return answer(200, &[], blob.clone());
        }
    }
    answer(404, &[], "")
}
