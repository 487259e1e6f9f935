//! A door in front of another registry that counts who asks what, and can be shut.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::images::client;

/// One request that passed.
#[derive(Debug, Clone)]
pub struct Passed {
    pub method: Method,
    pub path: String,
    pub at: Instant,
}

impl Passed {
    pub fn is_manifest(&self) -> bool {
        self.path.contains("/manifests/")
    }
}

/// The proxy; stops with the value.
pub struct Proxy {
    address: String,
    to: Arc<Mutex<String>>,
    passed: Arc<Mutex<Vec<Passed>>>,
    open: Option<DropGuard>,
}

impl Proxy {
    /// Starts one in front of `to`, which is `host:port`.
    pub async fn before(to: &str) -> Self {
        let to = Arc::new(Mutex::new(to.to_owned()));
        let mut proxy = Self { address: "127.0.0.1:0".to_owned(), to, passed: Arc::default(), open: None };
        proxy.open().await;
        proxy
    }

    async fn open(&mut self) {
        let listener = TcpListener::bind(&self.address).await.expect("its port");
        self.address = listener.local_addr().expect("an address").to_string();
        let (to, passed, http) = (Arc::clone(&self.to), Arc::clone(&self.passed), client());
        let app = axum::Router::new().fallback(move |request: Request| {
            let to = to.lock().expect("where to").clone();
            let (method, path) = (request.method().clone(), request.uri().path().to_owned());
            passed.lock().expect("the log").push(Passed { method, path, at: Instant::now() });
            pass(http.clone(), to, request)
        });
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(listener, app) => served.expect("served"),
                () = stopped.cancelled() => {}
            }
        });
        self.open = Some(stop.drop_guard());
    }

    /// Nobody listens here any more.
    pub async fn shut(&mut self) {
        self.open = None;
        while tokio::net::TcpStream::connect(&self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }

    /// Listens at the same place again, perhaps in front of another port.
    pub async fn open_again(&mut self, to: &str) {
        to.clone_into(&mut self.to.lock().expect("where to"));
        self.open().await;
    }

    /// A reference to something behind it.
    pub fn reference(&self, path: &str) -> String {
        format!("{}/{path}", self.address)
    }

    /// `127.0.0.1:port`
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Everything that passed since the last time this was asked.
    pub fn take(&self) -> Vec<Passed> {
        std::mem::take(&mut self.passed.lock().expect("the log"))
    }

    /// How many HEADs of manifests passed since the last [`Proxy::take`].
    pub fn heads(&self) -> usize {
        let passed = self.passed.lock().expect("the log");
        passed.iter().filter(|passed| passed.method == Method::HEAD && passed.is_manifest()).count()
    }
}

async fn pass(http: reqwest::Client, to: String, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 24).await.unwrap_or_default();
    let url = format!("http://{to}{}", parts.uri);
    // The host stays as the client knows it: the registry's own addresses have to lead through here.
    let answer = http.request(parts.method, url).headers(parts.headers).body(body).send().await;
    let Ok(answer) = answer else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    // A connection that is kept would survive the door's end.
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response.headers_mut().remove(header::TRANSFER_ENCODING);
    response
}
