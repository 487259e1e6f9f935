//! Tickets: what `/v2/token` gives to registry clients instead of their credentials, for a few minutes and some repositories.
//!
//! They are sealed with the server's key, so every replica reads them and none has to keep them. They name who asked, not what that
//! one may do: rights are looked up at each use, and a revoked token's tickets end with it.

use serde::{Deserialize, Serialize};

use crate::model::now;
use crate::server::store::{self, Store};

use super::Auth;
use super::principal::{Principal, PrincipalKind};
use super::roles::Right;

/// How long a ticket is good, in seconds: a slow push of one large layer must fit.
pub const GOOD_FOR_SECONDS: i64 = 15 * 60;

const PREFIX: &str = "weir_t_";
const PURPOSE: &str = "registry-ticket";

/// Under which name a ticket may be for the list of all repositories. No repository has it.
pub const CATALOG: &str = "registry:catalog";

/// A repository and what may be done with it, as in a Docker token's `access`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    /// `<project>/<stream>`
    pub repository: String,
    /// `pull`, `push`, `delete`
    pub actions: Vec<String>,
}

impl Access {
    /// Whether this lets somebody use the right on the repository.
    pub fn allows(&self, repository: &str, right: Right) -> bool {
        let action = match right {
            Right::View | Right::Pull => "pull",
            Right::Push => "push",
            Right::Edit | Right::Admin => "delete",
        };
        self.repository == repository
            && self.actions.iter().any(|one| one == action || (one == "push" && action == "pull"))
    }
}

#[derive(Serialize, Deserialize)]
struct Claims {
    who: Who,
    access: Vec<Access>,
    expires_at: i64,
}

#[derive(Serialize, Deserialize)]
enum Who {
    #[serde(rename = "user")]
    User { id: String, password: String },
    #[serde(rename = "token")]
    Token { id: String },
}

/// Whether a bearer token is one of these.
pub fn looks_like_ticket(text: &str) -> bool {
    text.starts_with(PREFIX)
}

impl Auth {
    /// A ticket with which the principal may use these repositories. `None` when the principal is itself none that lasts.
    pub async fn issue_ticket(&self, principal: &Principal, access: Vec<Access>) -> store::Result<Option<String>> {
        let who = match (&principal.kind, &principal.user) {
            (PrincipalKind::Session, Some(user)) => {
                let hash = self.store().password_hash(&user.id).await?;
                Who::User { id: user.id.clone(), password: super::fingerprint(hash.as_deref()) }
            }
            (PrincipalKind::Session, None) => return Ok(None),
            (
                PrincipalKind::Token { token_id }
                | PrincipalKind::Build { token_id, .. }
                | PrincipalKind::Pull { token_id },
                _,
            ) => Who::Token { id: token_id.clone() },
        };
        let claims = Claims { who, access, expires_at: now() + GOOD_FOR_SECONDS * 1000 };
        let sealed = self.store().seal(PURPOSE, &serde_json::to_vec(&claims)?);
        Ok(sealed.map(|sealed| format!("{PREFIX}{sealed}")))
    }

    /// Whom a ticket speaks for, limited to its repositories; `None` when it is not good, or not any more.
    pub async fn open_ticket(&self, text: &str) -> store::Result<Option<Principal>> {
        let store: &Store = self.store();
        let claims = text.strip_prefix(PREFIX).and_then(|sealed| store.unseal(PURPOSE, sealed));
        let claims: Option<Claims> = claims.and_then(|plain| serde_json::from_slice(&plain).ok());
        let Some(claims) = claims.filter(|claims| claims.expires_at > now()) else { return Ok(None) };
        let principal = match claims.who {
            Who::User { id, password } => match store.find_user_by_id(&id).await? {
                Some((user, hash)) if user.disabled_at.is_none() && super::fingerprint(hash.as_deref()) == password => {
                    Some(Principal::session(user))
                }
                _ => None,
            },
            Who::Token { id } => match store.find_good_token(&id).await? {
                Some(token) => Principal::from_token(store, &token).await?,
                None => None,
            },
        };
        Ok(principal.map(|principal| principal.limited_to(claims.access)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Actor, Role};
    use crate::server::store::NewToken;
    use crate::server::store::testing::{each_store, project};

    #[tokio::test]
    async fn a_ticket_is_good_for_its_repositories_and_ends_with_its_token() {
        let actor = Actor::system("test");
        for store in each_store().await {
            project(&store, "demo").await;
            let ada = store.create_user("ada", "", None, false, &actor).await.unwrap();
            store.grant_role("demo", "ada", Role::Editor, &actor).await.unwrap();
            let auth = Auth::new(store.clone());
            let (token, _) = store.create_token(NewToken::user("t", &ada.id), &actor).await.unwrap();
            let principal = Principal::from_token(&store, &token).await.unwrap().unwrap();
            let access = vec![Access { repository: "demo/base".to_owned(), actions: vec!["pull".to_owned()] }];
            let ticket = auth.issue_ticket(&principal, access).await.unwrap().unwrap();
            let opened = auth.open_ticket(&ticket).await.unwrap().unwrap();
            assert_eq!(opened.actor(), Actor::person("ada"));
            let may = async |stream, right| opened.require_repository(&store, "demo", stream, right).await.is_ok();
            assert!(may("base", Right::Pull).await);
            assert!(!may("base", Right::Push).await);
            assert!(!may("other", Right::Pull).await);
            assert!(auth.open_ticket(&format!("{ticket}x")).await.unwrap().is_none());
            store.revoke_token(&token.id, None, &actor).await.unwrap();
            assert!(auth.open_ticket(&ticket).await.unwrap().is_none());
        }
    }
}
