//! Tokens: for programs of users, for builds, and for engines that pull. Only their hashes are kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

use super::{Entry, Error, Result, Store, WriteTx, new_id};
use crate::model::{Actor, Role, Token, TokenKind, now};

/// How exact `last_used_at` is: writing it at each use would make every read a write.
const USE_RECORDED_EVERY_MS: i64 = 60_000;
/// How long ended tokens of builds and engines are kept.
const KEEP_ENDED_MS: i64 = 24 * 60 * 60 * 1000;

/// Columns of a [`Token`], in front of what is asked for.
macro_rules! select_token {
    ($rest:literal) => {
        concat!(
            "select t.id as id, t.kind as kind, t.name as name, t.user_id as user_id, u.name as user, t.project_id as project_id, \
             p.name as project, t.role as role, t.build_id as build_id, t.created_at as created_at, t.expires_at as expires_at, \
             t.last_used_at as last_used_at, t.revoked_at as revoked_at \
             from tokens t left join users u on u.id = t.user_id left join projects p on p.id = t.project_id ",
            $rest
        )
    };
}

/// What a new token is for.
#[derive(Debug, Clone, Copy)]
pub struct NewToken<'a> {
    pub kind: TokenKind,
    /// What people call it; the build's name for a build's token.
    pub name: &'a str,
    pub user_id: Option<&'a str>,
    pub project_id: Option<&'a str>,
    pub role: Option<Role>,
    pub build_id: Option<&'a str>,
    pub expires_at: Option<i64>,
}

impl<'a> NewToken<'a> {
    /// A token with which a program speaks for a user.
    pub fn user(name: &'a str, user_id: &'a str) -> Self {
        let kind = TokenKind::User;
        Self { kind, name, user_id: Some(user_id), project_id: None, role: None, build_id: None, expires_at: None }
    }

    /// A token for one build: it pulls in its project and pushes the build's result.
    pub fn build(name: &'a str, project_id: &'a str, build_id: &'a str, expires_at: i64) -> Self {
        let (project_id, build_id, expires_at) = (Some(project_id), Some(build_id), Some(expires_at));
        Self { kind: TokenKind::Build, name, user_id: None, project_id, role: None, build_id, expires_at }
    }

    /// A token with which an engine pulls the project's images. Engines keep it for as long as an app runs.
    pub fn pull(name: &'a str, project_id: &'a str) -> Self {
        let kind = TokenKind::Pull;
        let project_id = Some(project_id);
        Self { kind, name, user_id: None, project_id, role: None, build_id: None, expires_at: None }
    }
}

impl Store {
    /// Makes a token and gives its text, which nobody can read again.
    pub async fn create_token(&self, new: NewToken<'_>, actor: &Actor) -> Result<(Token, SecretString)> {
        let text = random_text(new.kind);
        let id = new_id();
        let mut tx = self.write_tx().await?;
        sqlx::query(
            "insert into tokens (id, kind, name, hash, user_id, project_id, role, build_id, created_at, expires_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(&id)
        .bind(new.kind.as_str())
        .bind(new.name)
        .bind(hash(&text))
        .bind(new.user_id)
        .bind(new.project_id)
        .bind(new.role.map(Role::as_str))
        .bind(new.build_id)
        .bind(now())
        .bind(new.expires_at)
        .execute(&mut *tx)
        .await?;
        let token = load(&mut tx, &id).await?;
        record(&mut tx, "token.create", &token, actor).await?;
        tx.commit().await?;
        Ok((token, SecretString::from(text)))
    }

    /// The token with this text, if it is still good; its use is noted. Its user may have been disabled: that is the caller's to see.
    pub async fn find_token(&self, text: &str) -> Result<Option<Token>> {
        let now = now();
        let token: Option<Token> = sqlx::query_as(select_token!(
            "where t.hash = $1 and t.revoked_at is null and (t.expires_at is null or t.expires_at > $2)"
        ))
        .bind(hash(text))
        .bind(now)
        .fetch_optional(self.pool())
        .await?;
        if let Some(token) = &token
            && token.last_used_at.is_none_or(|last| last <= now - USE_RECORDED_EVERY_MS)
        {
            self.note_use(&token.id, now).await;
        }
        Ok(token)
    }

    /// A token by id, if it is still good.
    pub async fn find_good_token(&self, id: &str) -> Result<Option<Token>> {
        let token = sqlx::query_as(select_token!(
            "where t.id = $1 and t.revoked_at is null and (t.expires_at is null or t.expires_at > $2)"
        ))
        .bind(id)
        .bind(now())
        .fetch_optional(self.pool())
        .await?;
        Ok(token)
    }

    /// A full disk must not keep people from reading, so failure is only logged.
    async fn note_use(&self, id: &str, now: i64) {
        let noted =
            sqlx::query("update tokens set last_used_at = $1 where id = $2").bind(now).bind(id).execute(self.pool());
        if let Err(cause) = noted.await {
            tracing::warn!(token.id = id, "Cannot note the use of a token: {cause}");
        }
    }

    /// A user's own tokens that were not revoked, newest first.
    pub async fn list_tokens(&self, user_id: &str) -> Result<Vec<Token>> {
        let tokens =
            sqlx::query_as(select_token!("where t.user_id = $1 and t.revoked_at is null order by t.id desc limit 500"))
                .bind(user_id)
                .fetch_all(self.pool())
                .await?;
        Ok(tokens)
    }

    /// Ends a token at once. `user_id` limits it to that user's own.
    pub async fn revoke_token(&self, id: &str, user_id: Option<&str>, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let token = load(&mut tx, id).await?;
        if user_id.is_some() && token.user_id.as_deref() != user_id {
            return Err(Error::not_found("tokens", id));
        }
        if token.revoked_at.is_some() {
            return Ok(());
        }
        sqlx::query("update tokens set revoked_at = $1 where id = $2").bind(now()).bind(id).execute(&mut *tx).await?;
        record(&mut tx, "token.revoke", &token, actor).await?;
        tx.commit().await
    }

    /// Ends the tokens of a build that is over.
    pub async fn revoke_build_tokens(&self, build_id: &str) -> Result<()> {
        let mut tx = self.write_tx().await?;
        sqlx::query("update tokens set revoked_at = $1 where build_id = $2 and revoked_at is null")
            .bind(now())
            .bind(build_id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Forgets tokens of builds and engines that ended a day ago; those of users stay as a trace.
    pub async fn sweep_tokens(&self) -> Result<u64> {
        let before = now() - KEEP_ENDED_MS;
        let mut tx = self.write_tx().await?;
        let swept = sqlx::query("delete from tokens where kind <> 'user' and (revoked_at < $1 or expires_at < $1)")
            .bind(before)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        tx.commit().await?;
        Ok(swept)
    }
}

async fn load(tx: &mut WriteTx, id: &str) -> Result<Token> {
    sqlx::query_as(select_token!("where t.id = $1"))
        .bind(id)
        .fetch_optional(&mut **tx)
        .await?
        .ok_or_else(|| Error::not_found("tokens", id))
}

/// Tokens of builds and engines come and go with what they belong to, whose own rows tell of it.
async fn record(tx: &mut WriteTx, action: &str, token: &Token, actor: &Actor) -> Result<()> {
    if token.kind == TokenKind::User {
        let (project, to) = (token.project.as_deref(), token.user.as_deref());
        tx.record(actor, Entry { action, project, object: &token.name, to, ..Entry::default() }).await?;
    }
    Ok(())
}

/// 256 random bits; the prefix lets people and secret scanners see what they have found.
fn random_text(kind: TokenKind) -> String {
    let letter = match kind {
        TokenKind::User => 'u',
        TokenKind::Build => 'b',
        TokenKind::Pull => 'p',
    };
    format!("weir_{letter}_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

/// Whether a text has the form of a token, so that it need not be tried as a password.
pub fn looks_like_token(text: &str) -> bool {
    ["weir_u_", "weir_b_", "weir_p_"].iter().any(|prefix| text.starts_with(prefix))
}

/// What is random to 256 bits needs no salt and no slow hash.
fn hash(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::server::store::testing::{each_store, project};

    #[tokio::test]
    async fn a_token_is_found_by_its_text_until_it_is_revoked() {
        let actor = Actor::system("test");
        for store in each_store().await {
            let ada = store.create_user("ada", "", None, false, &actor).await.unwrap();
            let (token, text) = store.create_token(NewToken::user("laptop", &ada.id), &actor).await.unwrap();
            let text = text.expose_secret();
            assert!(text.starts_with("weir_u_") && looks_like_token(text), "{text}");
            let found = store.find_token(text).await.unwrap().unwrap();
            assert_eq!((found.id.as_str(), found.user.as_deref()), (token.id.as_str(), Some("ada")));
            let used = store.list_tokens(&ada.id).await.unwrap()[0].last_used_at;
            assert!(used.is_some());
            store.find_token(text).await.unwrap();
            assert_eq!(store.list_tokens(&ada.id).await.unwrap()[0].last_used_at, used, "noted once a minute");
            assert_eq!(store.find_token("weir_u_other").await.unwrap(), None);
            assert!(store.revoke_token(&token.id, Some("somebody else"), &actor).await.is_err());
            store.revoke_token(&token.id, Some(&ada.id), &actor).await.unwrap();
            assert_eq!(store.find_token(text).await.unwrap(), None);
            assert!(store.list_tokens(&ada.id).await.unwrap().is_empty());
            let said = format!("{:?}", store.list_ledger(None, None, 10).await.unwrap());
            assert!(!said.contains(text), "the ledger never shows a token");
        }
    }

    #[tokio::test]
    async fn tokens_end_when_they_expire_and_are_forgotten_later() {
        let actor = Actor::system("test");
        for store in each_store().await {
            let demo = project(&store, "demo").await;
            let mut new = NewToken::pull("demo", &demo);
            new.expires_at = Some(now() - 1);
            let (_, text) = store.create_token(new, &actor).await.unwrap();
            assert_eq!(store.find_token(text.expose_secret()).await.unwrap(), None);
            assert_eq!(store.sweep_tokens().await.unwrap(), 0);
            new.expires_at = Some(now() - 2 * KEEP_ENDED_MS);
            store.create_token(new, &actor).await.unwrap();
            assert_eq!(store.sweep_tokens().await.unwrap(), 1);
        }
    }
}
