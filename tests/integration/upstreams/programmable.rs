//! A registry that answers as a test says and remembers what it was asked.

use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// One request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    pub method: Method,
    /// Path and query.
    pub uri: String,
    pub headers: HeaderMap,
    pub body: String,
}

impl Seen {
    pub fn path(&self) -> &str {
        self.uri.split('?').next().unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }
}

/// A running upstream; stops with the value.
pub struct Upstream {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    _stop: DropGuard,
}

impl Upstream {
    /// Starts one on which `answer` answers everything.
    pub async fn start<F>(answer: F) -> Self
    where
        F: Fn(Seen) -> BoxFuture<'static, Response> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        let app = axum::Router::new().fallback(move |request: Request| {
            let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
            async move {
                let seen = read(request).await;
                log.lock().expect("the log").push(seen.clone());
                answer(seen).await
            }
        });
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(listener, app) => served.expect("served"),
                () = stopped.cancelled() => {}
            }
        });
        Self { address, seen, _stop: stop.drop_guard() }
    }

    /// Starts one whose answers need no waiting.
    pub async fn answering<F>(answer: F) -> Self
    where
        F: Fn(&Seen) -> Response + Send + Sync + 'static,
    {
        Self::start(move |seen| {
            let answer = answer(&seen);
            Box::pin(async move { answer })
        })
        .await
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// A reference to something in it.
    pub fn reference(&self, path: &str) -> weir::model::ImageReference {
        format!("{}/{path}", self.address).parse().expect("a reference")
    }

    /// Everything asked so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("the log").clone()
    }

    /// How many requests of a method came.
    pub fn count(&self, method: &Method) -> usize {
        self.seen().iter().filter(|seen| seen.method == *method).count()
    }
}

async fn read(request: Request) -> Seen {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap_or_default();
    Seen {
        method: parts.method,
        uri: parts.uri.to_string(),
        headers: parts.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

/// An answer of status, headers and body.
pub fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = (StatusCode::from_u16(status).expect("a status"), body.into()).into_response();
    response.headers_mut().remove("content-type");
    for (name, value) in headers {
        let name = axum::http::HeaderName::try_from(*name).expect("a name");
        response.headers_mut().append(name, value.parse().expect("a value"));
    }
    response
}
