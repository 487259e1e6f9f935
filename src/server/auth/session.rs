//! Sessions of the console: a cookie, seven days from the last use, and what ends them early.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};
use tower_sessions::cookie::SameSite;
use tower_sessions::{Expiry, Session, SessionManagerLayer};

use crate::model::{User, now};
use crate::server::store::{Sessions, Store};

use super::{Auth, AuthError, Principal};

/// Name of the session's cookie.
pub const COOKIE: &str = "weir_session";

const GOOD_FOR: time::Duration = time::Duration::days(7);
/// How often a session in use is prolonged: not at each request, for that would be a write each.
const PROLONGED_EVERY_MS: i64 = 60 * 60 * 1000;
const KEY: &str = "who";

/// What a session says. The fingerprint ends sessions when the password changes.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Who {
    user_id: String,
    password: String,
    prolonged_at: i64,
}

/// The layer that reads and sets the cookie. `secure`: the console is reached by HTTPS.
pub fn layer(store: &Store, secure: bool) -> SessionManagerLayer<Sessions> {
    SessionManagerLayer::new(store.sessions())
        .with_name(COOKIE)
        .with_secure(secure)
        .with_http_only(true)
        .with_same_site(SameSite::Lax)
        .with_expiry(Expiry::OnInactivity(GOOD_FOR))
}

impl Auth {
    /// Signs the user in on this browser, under a new session id, so that nobody who knew the old one comes along.
    pub async fn sign_in(&self, session: &Session, user: &User) -> Result<(), AuthError> {
        let hash = self.store().password_hash(&user.id).await?;
        let password = super::fingerprint(hash.as_deref());
        session.cycle_id().await.map_err(failed)?;
        session.insert(KEY, Who { user_id: user.id.clone(), password, prolonged_at: now() }).await.map_err(failed)
    }

    /// Ends this browser's session.
    pub async fn sign_out(&self, session: &Session) -> Result<(), AuthError> {
        session.flush().await.map_err(failed)
    }

    /// Who is signed in on this browser.
    pub(super) async fn session_principal(&self, session: &Session) -> Result<Principal, AuthError> {
        let Some(who) = session.get::<Who>(KEY).await.map_err(failed)? else { return Err(AuthError::Missing) };
        let Some((user, hash)) = self.store().find_user_by_id(&who.user_id).await? else {
            return Err(AuthError::Missing);
        };
        if user.disabled_at.is_some() || super::fingerprint(hash.as_deref()) != who.password {
            session.flush().await.map_err(failed)?;
            return Err(AuthError::Missing);
        }
        if who.prolonged_at < now() - PROLONGED_EVERY_MS {
            session.insert(KEY, Who { prolonged_at: now(), ..who }).await.map_err(failed)?;
        }
        Ok(Principal::session(user))
    }
}

fn failed(cause: tower_sessions::session::Error) -> AuthError {
    AuthError::Store(cause.into())
}

/// The session, where the layer is; doors without sessions have none.
pub(super) struct MaybeSession(pub Option<Session>);

impl<S: Send + Sync> FromRequestParts<S> for MaybeSession {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<Session>().cloned()))
    }
}
