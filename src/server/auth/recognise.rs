//! Clients that come again with the same `Authorization` header, as registry clients do for each of an image's parts.

use axum::http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};

use super::extract::credentials;
use super::{Auth, AuthError, Principal};
use crate::server::store::{Ground, Memory, Store};

/// How many are remembered at most.
const AT_MOST: usize = 4096;

/// Stands for the credentials of a request where the credentials themselves should not be: in what is remembered. Worth nothing outside of
/// this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Badge([u8; 32]);

/// Who came lately. Ended by whatever could end a token, a password or a user.
pub(super) struct Recognised {
    /// Badges are hashes under a random salt of this process.
    salt: [u8; 32],
    principals: Memory<Badge, Principal>,
}

impl Recognised {
    pub(super) fn new(store: &Store) -> Self {
        Self { salt: rand::random(), principals: Memory::new(store, Ground::Rights, AT_MOST) }
    }
}

impl Auth {
    /// Whom a request's `Authorization` header speaks for; cookies do not count here.
    pub async fn recognise(&self, headers: &HeaderMap, address: &str) -> Result<(Badge, Principal), AuthError> {
        let Recognised { salt, principals } = &*self.recognised;
        let value = headers.get(header::AUTHORIZATION).ok_or(AuthError::Missing)?;
        let badge = Badge(Sha256::new_with_prefix(salt).chain_update(value).finalize().into());
        if let Some(principal) = principals.recall(&badge) {
            return Ok((badge, principal));
        }
        let before = principals.moment();
        let credentials = credentials(headers)?.ok_or(AuthError::Missing)?;
        let principal = self.sign_in_with(&credentials, address).await?;
        principals.keep(badge, principal.clone(), 1, before);
        Ok((badge, principal))
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::model::Actor;
    use crate::server::store::NewToken;
    use crate::server::store::testing::each_store;

    fn bearer(token: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {token}")).unwrap())])
    }

    #[tokio::test]
    async fn a_revoked_token_and_a_disabled_user_are_strangers_at_once() {
        let actor = Actor::system("test");
        for store in each_store().await {
            let ada = store.create_user("ada", "", None, false, &actor).await.unwrap();
            let auth = Auth::new(store.clone());
            let mut tokens = Vec::new();
            for name in ["a", "b"] {
                let (token, text) = store.create_token(NewToken::user(name, &ada.id), &actor).await.unwrap();
                tokens.push((token.id, bearer(text.expose_secret())));
            }
            let knows = async |at: usize| auth.recognise(&tokens[at].1, "").await.is_ok();
            assert!(knows(0).await && knows(0).await && knows(1).await);
            store.revoke_token(&tokens[0].0, None, &actor).await.unwrap();
            assert!(!knows(0).await && knows(1).await && knows(1).await);
            store.disable_user("ada", &actor).await.unwrap();
            assert!(!knows(1).await);
        }
    }

    #[tokio::test]
    async fn badges_tell_credentials_apart() {
        let store = &each_store().await[0];
        let actor = Actor::system("test");
        let ada = store.create_user("ada", "", None, false, &actor).await.unwrap();
        let bob = store.create_user("bob", "", None, false, &actor).await.unwrap();
        let auth = Auth::new((*store).clone());
        let mut seen = Vec::new();
        for user in [&ada, &bob, &ada] {
            let (_, text) = store.create_token(NewToken::user("t", &user.id), &actor).await.unwrap();
            let (badge, principal) = auth.recognise(&bearer(text.expose_secret()), "").await.unwrap();
            assert_eq!(principal.name(), user.name);
            assert!(!seen.contains(&badge));
            seen.push(badge);
        }
        assert!(matches!(auth.recognise(&HeaderMap::new(), "").await, Err(AuthError::Missing)));
        assert!(matches!(auth.recognise(&bearer("weir_u_none"), "").await, Err(AuthError::Wrong)));
    }
}
