//! Who asks, and what they may do. Doors take a [`Principal`] from the request and ask it for a right in a project.

pub mod extract;
mod limit;
pub mod origin;
mod password;
mod principal;
mod recognise;
mod roles;
pub mod session;
pub mod ticket;

use std::sync::Arc;

use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

use crate::model::User;
use crate::server::store::{self, Store};

pub use limit::Attempt;
pub use password::{PasswordError, check_choice, hash_password};
pub use principal::{Denied, Principal, PrincipalKind, ProjectAccess};
pub use recognise::Badge;
pub use roles::Right;
pub use ticket::Access;

/// What signing in needs besides the store. Clones share the limits.
#[derive(Clone)]
pub struct Auth {
    store: Store,
    passwords: Arc<password::Passwords>,
    limits: Arc<limit::Limits>,
    recognised: Arc<recognise::Recognised>,
}

/// Why nobody was let in. The texts are for people and tell nothing about which users exist.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The request says nothing about who asks.
    #[error("sign in first")]
    Missing,
    /// It does, but that is not right, or not any more.
    #[error("the user name, password or token is wrong")]
    Wrong,
    /// Too many wrong attempts.
    #[error("too many attempts to sign in: try again in {retry_after_seconds} seconds")]
    Limited { retry_after_seconds: u64 },
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Auth {
    /// Signing in with this store's users.
    pub fn new(store: Store) -> Self {
        let recognised = Arc::new(recognise::Recognised::new(&store));
        Self { store, passwords: Arc::default(), limits: Arc::default(), recognised }
    }

    /// The store the principals come from.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The user with this name and password. `address` is where the attempt comes from; attempts are limited by both.
    ///
    /// A password that was right is remembered, hashed, for a minute: clients with Basic credentials send it with every request.
    pub async fn check_password(&self, name: &str, password: &SecretString, address: &str) -> Result<User, AuthError> {
        let user = self.store.find_user(name).await?.filter(|user| user.disabled_at.is_none());
        let hash = match &user {
            Some(user) => self.store.password_hash(&user.id).await?,
            None => None,
        };
        if let (Some(user), Some(hash)) = (&user, &hash)
            && self.passwords.remembers(name, password, hash)
        {
            return Ok(user.clone());
        }
        self.limits
            .attempt(&Attempt { user: name, address })
            .map_err(|retry_after_seconds| AuthError::Limited { retry_after_seconds })?;
        // Without a user the work is the same, so that the time does not tell who exists.
        let right = self.passwords.verify(name, password, hash.as_deref()).await;
        match user {
            Some(user) if right => Ok(user),
            _ => Err(AuthError::Wrong),
        }
    }
}

/// Stands for a password's hash where the hash itself should not be: in sessions.
fn fingerprint(password_hash: Option<&str>) -> String {
    hex::encode(&Sha256::digest(password_hash.unwrap_or_default())[..16])
}
