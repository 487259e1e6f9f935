//! Proving who we are to other registries: Basic, and the bearer tokens of Docker's token servers.
//!
//! What worked is remembered for each registry, scope and credential, so a scheduled check is one request, not three.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http_auth::{ChallengeRef, parse_challenges};
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::client::Access;
use super::transport::scope_of;
use crate::model::ImageReference;
use crate::server::hash;

/// A name and a password, or an identity token under the name `<token>` as Docker's own configuration files have it.
#[derive(Clone)]
pub struct Credentials {
    pub username: String,
    pub password: SecretString,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// The user name that stands for an identity token.
const IDENTITY_TOKEN: &str = "<token>";

impl Credentials {
    /// Whether the password is a refresh token for the token server, and not a password.
    pub(super) fn is_identity_token(&self) -> bool {
        self.username == IDENTITY_TOKEN
    }

    pub(super) fn basic(&self) -> Option<HeaderValue> {
        let pair = format!("{}:{}", self.username, self.password.expose_secret());
        sensitive(&format!("Basic {}", BASE64.encode(pair)))
    }
}

/// A header value that is never logged.
pub(super) fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// How a registry wants to be convinced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    /// The best challenge of a 401's headers, bearer before basic; none when there is none we can meet.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let mut challenges: Vec<Self> = values
            .filter_map(|value| parse_challenges(value).ok())
            .flatten()
            .filter_map(|challenge| Self::from_parsed(&challenge))
            .collect();
        challenges.sort_by_key(|challenge| matches!(challenge, Self::Basic));
        challenges.into_iter().next()
    }

    fn from_parsed(challenge: &ChallengeRef<'_>) -> Option<Self> {
        let param = |name: &str| {
            let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map(|(_, value)| value.to_unescaped()).filter(|value| !value.is_empty())
        };
        if challenge.scheme.eq_ignore_ascii_case("bearer") {
            Some(Self::Bearer { realm: param("realm")?, service: param("service"), scope: param("scope") })
        } else if challenge.scheme.eq_ignore_ascii_case("basic") {
            Some(Self::Basic)
        } else {
            None
        }
    }
}

/// A token server's answer. Docker's says `token`, OAuth's `access_token`; some say both.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    token: Option<SecretString>,
    access_token: Option<SecretString>,
    expires_in: Option<u64>,
}

impl TokenAnswer {
    /// The token as a header and how long it is good for; a minute when the server does not say.
    pub(super) fn authorization(&self) -> Option<(HeaderValue, Duration)> {
        let token = [&self.token, &self.access_token].into_iter().flatten().find(|t| !t.expose_secret().is_empty())?;
        let lifetime = Duration::from_secs(self.expires_in.unwrap_or(60).clamp(1, 24 * 3600));
        Some((sensitive(&format!("Bearer {}", token.expose_secret()))?, lifetime))
    }
}

/// Whose authorization it is and for what.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    registry: String,
    scope: String,
    /// A hash, so that no password lies about as a key.
    credential: Option<String>,
}

impl Key {
    /// For pulls from a repository.
    pub(super) fn of(repository: &ImageReference, access: &Access) -> Self {
        Self::new(&repository.registry, &scope_of(&repository.repository_path()), access.credentials.as_ref())
    }

    fn new(registry: &str, scope: &str, credentials: Option<&Credentials>) -> Self {
        let fingerprint = |c: &Credentials| {
            hash::sha256(format!("{}\0{}", c.username, c.password.expose_secret()).as_bytes()).to_string()
        };
        Self { registry: registry.to_owned(), scope: scope.to_owned(), credential: credentials.map(fingerprint) }
    }
}

/// What worked, and until when.
#[derive(Clone)]
pub(super) struct Authorization {
    pub(super) header: HeaderValue,
    expires: Option<Instant>,
}

impl Authorization {
    pub(super) fn basic(header: HeaderValue) -> Self {
        Self { header, expires: None }
    }

    /// A bearer token; asked for anew a little before its end, as the registry's clock is not ours.
    pub(super) fn bearer(header: HeaderValue, lifetime: Duration) -> Self {
        let margin = Duration::from_secs(10).min(lifetime / 4);
        Self { header, expires: Some(Instant::now() + lifetime - margin) }
    }

    fn is_fresh(&self) -> bool {
        self.expires.is_none_or(|expires| Instant::now() < expires)
    }
}

/// One place for one key. Held while a token is asked for, so that a hundred requests at once ask for one.
pub(super) type Place = Arc<tokio::sync::Mutex<Option<Authorization>>>;

/// The authorizations known.
#[derive(Default)]
pub(super) struct Authorizations(Mutex<HashMap<Key, Place>>);

/// More than this many and the stale ones are thrown out.
const MANY: usize = 4096;

impl Authorizations {
    pub(super) fn place(&self, key: Key) -> Place {
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= MANY {
            places.retain(|_, place| match place.try_lock() {
                Ok(held) => held.as_ref().is_some_and(Authorization::is_fresh),
                Err(_) => true,
            });
        }
        Arc::clone(places.entry(key).or_default())
    }

    /// The header to send without being asked, when one is known and still good.
    pub(super) async fn fresh(place: &Place) -> Option<HeaderValue> {
        let mut held = place.lock().await;
        if held.as_ref().is_some_and(|authorization| !authorization.is_fresh()) {
            *held = None;
        }
        held.as_ref().map(|authorization| authorization.header.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(values: &[&str]) -> Option<Challenge> {
        let headers = values.iter().map(|v| (WWW_AUTHENTICATE, HeaderValue::from_str(v).expect("a value"))).collect();
        Challenge::of(&headers)
    }

    #[test]
    fn reads_challenges() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/busybox:pull,push""#;
        let bearer = Challenge::Bearer {
            realm: "https://auth.docker.io/token".into(),
            service: Some("registry.docker.io".into()),
            scope: Some("repository:library/busybox:pull,push".into()),
        };
        assert_eq!(challenge(&[hub]), Some(bearer.clone()));
        assert_eq!(challenge(&["Basic realm=\"x\"", hub]), Some(bearer.clone()), "bearer is preferred");
        assert_eq!(challenge(&["Negotiate", &format!("basic realm=x, {hub}")]), Some(bearer));
        assert_eq!(challenge(&["basic realm=\"Registry \\\"Realm\\\"\""]), Some(Challenge::Basic));
        for none in ["Negotiate", "Bearer service=\"no realm\"", "=", ""] {
            assert_eq!(challenge(&[none]), None, "{none}");
        }
    }

    #[test]
    fn tokens_come_under_either_name() {
        let read = |text| serde_json::from_str::<TokenAnswer>(text).expect("an answer").authorization();
        let (header, lifetime) = read(r#"{"token":"","access_token":"b","expires_in":300}"#).expect("a token");
        assert_eq!((header.to_str().expect("text"), lifetime), ("Bearer b", Duration::from_secs(300)));
        assert!(header.is_sensitive());
        assert_eq!(read(r#"{"token":"a"}"#).expect("a token").1, Duration::from_secs(60));
        assert!(read("{}").is_none());
        assert!(read(r#"{"token":"a\nb"}"#).is_none(), "no header can be smuggled in");
    }

    #[test]
    fn credentials_do_not_show() {
        let credentials = Credentials { username: "u".into(), password: "hunter2".into() };
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
