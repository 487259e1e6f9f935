//! Browser sessions, kept for tower-sessions. The cookie's value is not stored, only its hash: who reads the database cannot sign in.

use std::fmt;

use async_trait::async_trait;
use sha2::{Digest as _, Sha256};
use tower_sessions::SessionStore;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Error as SessionError, Result as SessionResult};

use super::{Error, Result, Store};
use crate::model::now;

/// The `sessions` table as tower-sessions wants it.
#[derive(Clone)]
pub struct Sessions(Store);

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}

impl Store {
    /// The sessions of the console.
    pub fn sessions(&self) -> Sessions {
        Sessions(self.clone())
    }

    /// Forgets sessions that expired, and tells how many.
    pub async fn sweep_sessions(&self) -> Result<u64> {
        let mut tx = self.write_tx().await?;
        let swept = sqlx::query("delete from sessions where expires_at <= $1").bind(now()).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(swept.rows_affected())
    }
}

impl Sessions {
    async fn write(&self, record: &Record) -> SessionResult<()> {
        let data = serde_json::to_string(&record.data).map_err(|cause| SessionError::Encode(cause.to_string()))?;
        let expires_at = i64::try_from(record.expiry_date.unix_timestamp_nanos() / 1_000_000).unwrap_or(i64::MAX);
        let mut tx = self.0.write_tx().await.map_err(failed)?;
        sqlx::query(
            "insert into sessions (id, data, expires_at) values ($1, $2, $3) \
             on conflict (id) do update set data = excluded.data, expires_at = excluded.expires_at",
        )
        .bind(key(&record.id))
        .bind(data)
        .bind(expires_at)
        .execute(&mut *tx)
        .await
        .map_err(failed)?;
        tx.commit().await.map_err(failed)
    }
}

#[async_trait]
impl SessionStore for Sessions {
    // Ids are 128 random bits: a collision needs no handling.
    async fn create(&self, record: &mut Record) -> SessionResult<()> {
        self.write(record).await
    }

    async fn save(&self, record: &Record) -> SessionResult<()> {
        self.write(record).await
    }

    async fn load(&self, id: &Id) -> SessionResult<Option<Record>> {
        let row: Option<(String, i64)> =
            sqlx::query_as("select data, expires_at from sessions where id = $1 and expires_at > $2")
                .bind(key(id))
                .bind(now())
                .fetch_optional(self.0.pool())
                .await
                .map_err(failed)?;
        let Some((data, expires_at)) = row else { return Ok(None) };
        let unreadable = |cause: String| SessionError::Decode(cause);
        let data = serde_json::from_str(&data).map_err(|cause| unreadable(cause.to_string()))?;
        let expiry_date = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(expires_at) * 1_000_000)
            .map_err(|cause| unreadable(cause.to_string()))?;
        Ok(Some(Record { id: *id, data, expiry_date }))
    }

    async fn delete(&self, id: &Id) -> SessionResult<()> {
        let mut tx = self.0.write_tx().await.map_err(failed)?;
        sqlx::query("delete from sessions where id = $1").bind(key(id)).execute(&mut *tx).await.map_err(failed)?;
        tx.commit().await.map_err(failed)
    }
}

fn key(id: &Id) -> String {
    hex::encode(Sha256::digest(id.0.to_be_bytes()))
}

fn failed(cause: impl fmt::Display) -> SessionError {
    SessionError::Backend(cause.to_string())
}

/// tower-sessions hands on what the database said as text only.
impl From<tower_sessions::session::Error> for Error {
    fn from(cause: tower_sessions::session::Error) -> Self {
        match cause {
            tower_sessions::session::Error::Store(SessionError::Backend(text)) => {
                Self::Db(sqlx::Error::Io(std::io::Error::other(text)))
            }
            other => Self::Conflict(format!("the session cannot be read or kept: {other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::store::testing::each_store;

    fn record(expires_in_seconds: i64) -> Record {
        let expiry_date = time::OffsetDateTime::now_utc() + time::Duration::seconds(expires_in_seconds);
        let data = [("user".to_owned(), serde_json::json!("ada"))].into();
        Record { id: Id::default(), data, expiry_date }
    }

    #[tokio::test]
    async fn sessions_are_kept_until_they_expire_or_are_deleted() {
        for store in each_store().await {
            let sessions = store.sessions();
            let (mut kept, mut expired) = (record(60), record(-1));
            sessions.create(&mut kept).await.unwrap();
            sessions.create(&mut expired).await.unwrap();
            assert_eq!(sessions.load(&kept.id).await.unwrap().unwrap().data, kept.data);
            assert!(sessions.load(&expired.id).await.unwrap().is_none());
            assert_eq!(store.sweep_sessions().await.unwrap(), 1);
            kept.data.clear();
            sessions.save(&kept).await.unwrap();
            assert!(sessions.load(&kept.id).await.unwrap().unwrap().data.is_empty());
            sessions.delete(&kept.id).await.unwrap();
            assert!(sessions.load(&kept.id).await.unwrap().is_none());
        }
    }
}
