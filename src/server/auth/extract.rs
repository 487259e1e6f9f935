//! The principal of a request: from `Authorization`, or else from the session's cookie.
//!
//! Doors answer refusals in their own words: they take `Result<Principal, AuthError>`, or `Principal` where plain text will do.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRef, FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};

use crate::server::store::{Outage, looks_like_token};

use super::session::MaybeSession;
use super::ticket::looks_like_ticket;
use super::{Auth, AuthError, Principal};

impl<S> FromRequestParts<S> for Principal
where
    Auth: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, AuthError> {
        // A page and what it is made of may each ask; the work is done once.
        if let Some(principal) = parts.extensions.get::<Self>() {
            return Ok(principal.clone());
        }
        let auth = Auth::from_ref(state);
        let principal = match credentials(&parts.headers)? {
            Some(credentials) => auth.sign_in_with(&credentials, &address(parts)).await?,
            None => {
                let Ok(MaybeSession(session)) = MaybeSession::from_request_parts(parts, state).await;
                auth.session_principal(&session.ok_or(AuthError::Missing)?).await?
            }
        };
        let principal = principal.in_request(&parts.headers);
        tracing::Span::current().record("user.id", principal.id());
        parts.extensions.insert(principal.clone());
        Ok(principal)
    }
}

/// `Option<Principal>`: nobody is fine, somebody false is not.
impl<S> OptionalFromRequestParts<S> for Principal
where
    Auth: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = AuthError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, AuthError> {
        match <Self as FromRequestParts<S>>::from_request_parts(parts, state).await {
            Ok(principal) => Ok(Some(principal)),
            Err(AuthError::Missing) => Ok(None),
            Err(other) => Err(other),
        }
    }
}

/// What an `Authorization` header says.
pub enum Credentials {
    Bearer(SecretString),
    Basic { user: String, password: SecretString },
}

/// The request's credentials, if it has any; an error when they do not read.
pub fn credentials(headers: &HeaderMap) -> Result<Option<Credentials>, AuthError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let text = value.to_str().map_err(|_| AuthError::Wrong)?;
    let (scheme, rest) = text.split_once(' ').ok_or(AuthError::Wrong)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Some(Credentials::Bearer(rest.trim().into())));
    }
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded = STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let decoded = decoded.ok_or(AuthError::Wrong)?;
        let (user, password) = decoded.split_once(':').ok_or(AuthError::Wrong)?;
        return Ok(Some(Credentials::Basic { user: user.to_owned(), password: password.into() }));
    }
    Err(AuthError::Wrong)
}

impl Auth {
    /// Whom these credentials speak for. With Basic a token may stand in the password's place; then the user name does not matter,
    /// as many clients send a made-up one.
    pub async fn sign_in_with(&self, credentials: &Credentials, address: &str) -> Result<Principal, AuthError> {
        match credentials {
            Credentials::Bearer(text) if looks_like_ticket(text.expose_secret()) => {
                self.open_ticket(text.expose_secret()).await?.ok_or(AuthError::Wrong)
            }
            Credentials::Bearer(text) => self.token_principal(text).await,
            Credentials::Basic { password, .. } if looks_like_token(password.expose_secret()) => {
                self.token_principal(password).await
            }
            Credentials::Basic { user, password } => {
                self.check_password(user, password, address).await.map(Principal::session)
            }
        }
    }

    async fn token_principal(&self, text: &SecretString) -> Result<Principal, AuthError> {
        let token = self.store().find_token(text.expose_secret()).await?.ok_or(AuthError::Wrong)?;
        Principal::from_token(self.store(), &token).await?.ok_or(AuthError::Wrong)
    }
}

/// Where the request comes from, as attempts to sign in are limited by it.
pub fn address(parts: &Parts) -> String {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or_else(String::new, |peer| peer.0.ip().to_string())
}

impl AuthError {
    /// The status that says it.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Missing | Self::Wrong => StatusCode::UNAUTHORIZED,
            Self::Limited { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Store(cause) if cause.outage().is_some() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for AuthError {
    fn into_response(self) -> Response {
        let status = self.status();
        let text = match &self {
            Self::Store(cause) => {
                tracing::error!("Cannot find out who asks: {cause}");
                cause.outage().map_or("the server failed; look into its log", Outage::message).to_owned()
            }
            other => other.to_string(),
        };
        let mut response = (status, text).into_response();
        if let Self::Limited { retry_after_seconds } = self {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry_after_seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"weir\""));
        }
        response
    }
}
