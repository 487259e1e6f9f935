//! A client of a test's server, with or without a token.

use reqwest::{Method, RequestBuilder, Response, StatusCode};

/// Speaks for somebody. Follows no redirects: where a form leads is for tests to see.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: String,
    token: Option<String>,
}

impl Client {
    /// A client for the server at `url`.
    pub fn new(url: &str, token: Option<String>) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build();
        Self { http: http.expect("a client"), url: url.to_owned(), token }
    }

    /// The token it sends.
    pub fn token(&self) -> &str {
        self.token.as_deref().expect("a client with a token")
    }

    /// A request to a path of the server.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// `GET path`
    pub async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.expect("an answer")
    }

    /// `GET path`, which must succeed, as JSON.
    pub async fn get_json(&self, path: &str) -> serde_json::Value {
        json(self.get(path).await, StatusCode::OK).await
    }

    /// `POST path` with JSON.
    pub async fn post(&self, path: &str, body: &serde_json::Value) -> Response {
        self.request(Method::POST, path).json(body).send().await.expect("an answer")
    }

    /// `POST path` with JSON, which must be answered with `status`, as JSON.
    pub async fn post_json(&self, path: &str, body: &serde_json::Value, status: StatusCode) -> serde_json::Value {
        json(self.post(path, body).await, status).await
    }
}

async fn json(response: Response, status: StatusCode) -> serde_json::Value {
    let (got, url) = (response.status(), response.url().clone());
    let text = response.text().await.expect("a whole answer");
    assert_eq!(got, status, "{url}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|cause| panic!("{url}: {cause}: {text}"))
}
