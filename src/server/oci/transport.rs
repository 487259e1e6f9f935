//! One request to a registry: the scheme found out, redirects followed, 401 met, errors named.
//!
//! The `Authorization` header goes to the registry's own scheme, host and port and nowhere else; where a registry sends
//! us for the bytes, we come without it.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, IF_NONE_MATCH, LOCATION};
use reqwest::{Method, Response, StatusCode, Url, redirect};
use tracing::warn;

use super::auth::{Authorization, Authorizations, Challenge, Credentials, Key, TokenAnswer};
use super::client::{Access, Options, VIA};
use super::protocols::Protocols;
use super::refused::Refused;
use super::{Error, limits};
use crate::model::ImageReference;

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 5;
/// How much of an error's or a token server's body is read.
pub(super) const MAX_ERROR_BODY: usize = 64 * 1024;

/// The connections, and what is remembered of each registry.
pub(super) struct Transport {
    strict: reqwest::Client,
    /// Takes any certificate; for what is marked insecure.
    lax: reqwest::Client,
    schemes: Mutex<HashMap<String, &'static str>>,
    authorizations: Authorizations,
    pub(super) refused: Refused,
    pub(super) protocols: Protocols,
}

/// What is asked for: something below `/v2/<repository>/` of a registry.
pub(super) struct Question<'a> {
    /// With Docker's defaults and Docker Hub's real host filled in.
    pub(super) target: &'a ImageReference,
    /// The reference as typed, for messages.
    pub(super) subject: &'a str,
    pub(super) method: Method,
    /// For instance `manifests/latest`, with a query where needed.
    pub(super) path: String,
    pub(super) accept: &'a str,
    /// The entity tag of what is known already (RFC 9110, `If-None-Match`): registries tag manifests with their digest.
    pub(super) unless: Option<String>,
    pub(super) access: &'a Access,
}

impl Transport {
    pub(super) fn new(options: &Options) -> Self {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // An error means that another thread was first, which is as good.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        Self {
            strict: strict(options),
            lax: build(options, |builder| builder.tls_danger_accept_invalid_certs(true))
                .unwrap_or_else(|_| strict(options)),
            schemes: Mutex::default(),
            authorizations: Authorizations::default(),
            refused: Refused::default(),
            protocols: Protocols::default(),
        }
    }

    /// Asks, and answers with a success or an error that says what is wrong.
    pub(super) async fn ask(&self, question: &Question<'_>) -> Result<Response, Error> {
        let response = self.ask_any(question).await?;
        if response.status().is_success() { Ok(response) } else { Err(self.refusal(question, response).await) }
    }

    /// As [`Transport::ask`], but any status except 401 is an answer, and what the question says is the only way it is asked.
    pub(super) async fn ask_as_is(&self, question: &Question<'_>) -> Result<Response, Error> {
        let registry = question.target.registry.as_str();
        if !question.access.insecure {
            return self.ask_with("https", question).await;
        }
        if let Some(scheme) = self.known_scheme(registry) {
            let answer = self.ask_with(scheme, question).await;
            if !matches!(answer, Err(Error::Unreachable { .. } | Error::PlainHttp { .. })) {
                return answer;
            }
        }
        // Whoever has a TLS port gets TLS, whatever its certificate; plain HTTP is the last resort.
        for scheme in ["https", "http"] {
            let answer = self.ask_with(scheme, question).await;
            let other_may_work = matches!(
                answer,
                Err(Error::Unreachable { .. } | Error::PlainHttp { .. } | Error::Tls { .. } | Error::Timeout { .. })
            );
            if scheme == "http" || !other_may_work {
                if !other_may_work {
                    self.schemes.lock().unwrap_or_else(PoisonError::into_inner).insert(registry.to_owned(), scheme);
                }
                return answer;
            }
        }
        Err(question.unreachable("no scheme worked"))
    }

    pub(super) fn known_scheme(&self, registry: &str) -> Option<&'static str> {
        self.schemes.lock().unwrap_or_else(PoisonError::into_inner).get(registry).copied()
    }

    /// Whether something is known that lets these credentials in.
    pub(super) async fn is_authorized(&self, target: &ImageReference, access: &Access) -> bool {
        Authorizations::fresh(&self.authorizations.place(Key::of(target, access))).await.is_some()
    }

    async fn ask_with(&self, scheme: &str, question: &Question<'_>) -> Result<Response, Error> {
        let (registry, path) = (&question.target.registry, question.target.repository_path());
        let url = format!("{scheme}://{registry}/v2/{path}/{}", question.path);
        let url: Url = url.parse().map_err(|e| question.other(format!("{url} is not an address: {e}")))?;
        let scope = scope_of(&path);
        let credentials = question.access.credentials.as_ref();
        let place = self.authorizations.place(Key::of(question.target, question.access));

        let known = Authorizations::fresh(&place).await;
        let response = self.follow(question, url.clone(), known.as_ref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            if response.status().is_success() {
                self.protocols.note_v2(registry);
            }
            return Ok(response);
        }
        let Some(challenge) = Challenge::of(response.headers()) else { return Err(question.denied(response).await) };
        let mut held = place.lock().await;
        // Another request may have got a new authorization while this one was refused.
        let renewed = held.as_ref().map(|a| a.header.clone()).filter(|header| Some(header) != known.as_ref());
        let header = match renewed {
            Some(header) => header,
            None => {
                *held = None;
                let authorization = self.meet(&challenge, &scope, scheme, question).await?;
                held.insert(authorization).header.clone()
            }
        };
        drop(held);
        let response = self.follow(question, url, Some(&header)).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        *place.lock().await = None;
        match (challenge, credentials) {
            (Challenge::Basic, Some(_)) => Err(Error::WrongPassword { reference: question.subject.to_owned() }),
            _ => Err(question.denied(response).await),
        }
    }

    /// Gets what a challenge asks for.
    async fn meet(
        &self,
        challenge: &Challenge,
        our_scope: &str,
        scheme: &str,
        question: &Question<'_>,
    ) -> Result<Authorization, Error> {
        let denied = || Error::Denied { reference: question.subject.to_owned() };
        let credentials = question.access.credentials.as_ref();
        match challenge {
            Challenge::Basic => credentials.and_then(Credentials::basic).map(Authorization::basic).ok_or_else(denied),
            Challenge::Bearer { realm, service, scope } => {
                let realm: Url =
                    realm.parse().map_err(|_| question.other("its token server's address is not a URL".to_owned()))?;
                // A password must not be talked out of us in the clear by a registry that itself speaks TLS.
                let plain_allowed = scheme == "http" || question.access.insecure;
                if realm.scheme() != "https" && !(realm.scheme() == "http" && plain_allowed) {
                    return Err(question.other(format!("its token server {realm} does not use https")));
                }
                let scope = scope.as_deref().unwrap_or(our_scope);
                self.fetch_token(realm, service.as_deref(), scope, question).await
            }
        }
    }

    async fn fetch_token(
        &self,
        realm: Url,
        service: Option<&str>,
        scope: &str,
        question: &Question<'_>,
    ) -> Result<Authorization, Error> {
        let mut fields = vec![("client_id", "weir"), ("scope", scope)];
        fields.extend(service.map(|service| ("service", service)));
        let credentials = question.access.credentials.as_ref();
        let client = self.client(question);
        let request = match credentials {
            Some(identity) if identity.is_identity_token() => {
                use secrecy::ExposeSecret;
                fields.push(("grant_type", "refresh_token"));
                fields.push(("refresh_token", identity.password.expose_secret()));
                client.post(realm).form(&fields)
            }
            Some(credentials) => {
                fields.push(("account", &credentials.username));
                let header =
                    credentials.basic().ok_or_else(|| question.other("the user name cannot be sent".into()))?;
                client.get(realm).query(&fields).header(AUTHORIZATION, header)
            }
            None => client.get(realm).query(&fields),
        };
        // No redirect is followed: this request carries a password.
        let response = request.send().await.map_err(|e| question.failure(e))?;
        match response.status() {
            status if status.is_success() => {}
            StatusCode::UNAUTHORIZED if credentials.is_some() => {
                return Err(Error::WrongPassword { reference: question.subject.to_owned() });
            }
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => return Err(question.denied(response).await),
            _ => return Err(question.refusal(response).await),
        }
        let unreadable = || question.other("its token server's answer could not be read".to_owned());
        let body = read_up_to(response, MAX_ERROR_BODY).await.map_err(|e| question.failure(e))?;
        let answer: TokenAnswer = serde_json::from_slice(&body).map_err(|_| unreadable())?;
        let (header, lifetime) = answer.authorization().ok_or_else(unreadable)?;
        Ok(Authorization::bearer(header, lifetime))
    }

    fn client(&self, question: &Question<'_>) -> &reqwest::Client {
        if question.access.insecure { &self.lax } else { &self.strict }
    }

    /// Sends the request and follows where it is sent to.
    pub(super) async fn follow(
        &self,
        question: &Question<'_>,
        start: Url,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response, Error> {
        let home = start.origin();
        let mut url = start;
        for _ in 0..=MAX_REDIRECTS {
            let mut request = self.client(question).request(question.method.clone(), url.clone());
            if !question.accept.is_empty() {
                request = request.header(ACCEPT, question.accept);
            }
            if let Some(known) = &question.unless {
                request = request.header(IF_NONE_MATCH, known);
            }
            if let Some(authorization) = authorization.filter(|_| url.origin() == home) {
                request = request.header(AUTHORIZATION, authorization);
            }
            let response = request.send().await.map_err(|e| question.failure(e))?;
            let Some(next) = redirect_of(&response) else { return Ok(response) };
            let next = url.join(&next).map_err(|_| question.other("it redirects to nowhere".to_owned()))?;
            let downgraded = url.scheme() == "https" && next.scheme() != "https" && !question.access.insecure;
            if downgraded || !matches!(next.scheme(), "https" | "http") {
                return Err(question.other(format!("it redirects to {}, which is not https", shown(&next))));
            }
            url = next;
        }
        Err(question.other(format!("it redirects more than {MAX_REDIRECTS} times")))
    }
}

impl Question<'_> {
    /// The same, asked as somebody else.
    pub(super) fn asked_as<'b>(&'b self, access: &'b Access) -> Question<'b> {
        Question {
            target: self.target,
            subject: self.subject,
            method: self.method.clone(),
            path: self.path.clone(),
            accept: self.accept,
            unless: self.unless.clone(),
            access,
        }
    }

    fn registry(&self) -> String {
        self.target.registry.clone()
    }

    pub(super) fn other(&self, detail: String) -> Error {
        Error::Other { reference: self.subject.to_owned(), detail }
    }

    pub(super) fn unreachable(&self, detail: &str) -> Error {
        Error::Unreachable { registry: self.registry(), detail: detail.to_owned() }
    }

    /// Names a request that got no answer.
    pub(super) fn failure(&self, error: reqwest::Error) -> Error {
        if error.is_timeout() {
            return Error::Timeout { registry: self.registry() };
        }
        let error = error.without_url();
        match find_tls_error(&error) {
            Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
                let repository = self.target.as_repository().exact();
                Error::PlainHttp { repository }
            }
            Some(tls) => Error::Tls { registry: self.registry(), detail: tls.to_string() },
            None => self.unreachable(&root_cause(&error)),
        }
    }

    /// Names an answer that is none.
    pub(super) async fn refusal(&self, response: Response) -> Error {
        let (status, headers) = (response.status(), response.headers().clone());
        match status {
            StatusCode::NOT_FOUND | StatusCode::GONE => Error::NotFound { reference: self.subject.to_owned() },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => self.denied(response).await,
            StatusCode::TOO_MANY_REQUESTS => {
                let body = read_up_to(response, MAX_ERROR_BODY).await.unwrap_or_default();
                let abuse = limits::is_abuse(&headers, &String::from_utf8_lossy(&body));
                Error::RateLimited { registry: self.registry(), retry_after: limits::rest(&headers), abuse }
            }
            status if status.is_server_error() => {
                let is_away = status == StatusCode::SERVICE_UNAVAILABLE;
                let retry_after = limits::retry_after(&headers).filter(|wait| is_away && !wait.is_zero());
                Error::Upstream { registry: self.registry(), status: status.as_u16(), retry_after }
            }
            StatusCode::BAD_REQUEST if says_plain_http(response).await => {
                Error::PlainHttp { repository: self.target.as_repository().exact() }
            }
            status => self.other(format!("the registry answered {status}")),
        }
    }

    async fn denied(&self, response: Response) -> Error {
        let body = read_up_to(response, MAX_ERROR_BODY).await.unwrap_or_default();
        let reference = self.subject.to_owned();
        match String::from_utf8_lossy(&body).contains("incorrect username or password") {
            true => Error::WrongPassword { reference },
            false => Error::Denied { reference },
        }
    }
}

async fn says_plain_http(response: Response) -> bool {
    let body = read_up_to(response, MAX_ERROR_BODY).await.unwrap_or_default();
    String::from_utf8_lossy(&body).contains("plain HTTP request was sent to HTTPS port")
}

/// What a token is asked for by those whose registry names nothing.
pub(super) fn scope_of(path: &str) -> String {
    format!("repository:{path}:pull")
}

/// The body, cut at `limit`.
pub async fn read_up_to(response: Response, limit: usize) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    let mut stream = response.bytes_stream();
    while let Some(bytes) = stream.next().await {
        body.extend_from_slice(&bytes?);
        if body.len() >= limit {
            body.truncate(limit);
            break;
        }
    }
    Ok(body)
}

fn redirect_of(response: &Response) -> Option<String> {
    let redirects = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| redirects)?;
    location.to_str().ok().map(str::to_owned)
}

/// An address without its query, which may carry a signature.
fn shown(url: &Url) -> String {
    format!("{}://{}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
}

fn find_tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(tls) = error.downcast_ref() {
            return Some(tls);
        }
        // An I/O error's `source` passes over the error it wraps.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// What an error comes from, without what it led to.
pub fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut deepest = error;
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    deepest.to_string()
}

/// The client that checks certificates. A machine without any CA certificates must still serve and use insecure
/// registries, so there it trusts nobody but whom it was told of instead of failing.
fn strict(options: &Options) -> reqwest::Client {
    let known = || options.authorities.certificates();
    build(options, |builder| builder.tls_certs_merge(known())).unwrap_or_else(|e| {
        warn!(
            error = root_cause(&e),
            "No CA certificates could be loaded, so most registries with TLS cannot be asked: install the package ca-certificates"
        );
        build(options, |builder| builder.tls_certs_only(known())).unwrap_or_default()
    })
}

fn headers(options: &Options) -> HeaderMap {
    let via = options.via.as_deref().and_then(|name| HeaderValue::from_str(name).ok());
    via.map(|name| (HeaderName::from_static(VIA), name)).into_iter().collect()
}

fn build(
    options: &Options,
    tls: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
) -> Result<reqwest::Client, reqwest::Error> {
    let builder = reqwest::Client::builder()
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(options.connect_timeout)
        .read_timeout(options.idle_timeout)
        .pool_idle_timeout(Duration::from_secs(60))
        .redirect(redirect::Policy::none())
        .default_headers(headers(options))
        // Blobs and manifests are wanted byte for byte.
        .no_gzip();
    tls(builder).build()
}
