//! How other registries answer those who sign in with a project's secret: whether it is still good, told by what it was used for anyway.

use super::{Result, Store};
use crate::model::Login;

/// A denial within this time of an answer to the same credentials is about one repository, not about them.
const GOOD_FOR_MS: i64 = 60 * 60 * 1000;

/// What answers told of a secret since this was written down last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginNews {
    pub secret_id: String,
    pub host: String,
    /// The last answer to somebody signed in with it.
    pub answered_at: Option<i64>,
    /// The last refusal since then.
    pub refused: Option<Refused>,
}

/// An answer that was refused to somebody with credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub at: i64,
    /// `wrong-password` or `denied`
    pub reason: &'static str,
    pub message: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    data: String,
    project: String,
    secret: String,
    host: Option<String>,
    answered_at: Option<i64>,
    failing_since: Option<i64>,
    failed_at: Option<i64>,
    reason: Option<String>,
    message: Option<String>,
}

impl Store {
    /// Writes down what answers told of secrets. A secret that has gone meanwhile is passed over.
    pub async fn note_logins(&self, all: &[LoginNews]) -> Result<()> {
        let mut tx = self.write_tx().await?;
        for news in all {
            if let Some(at) = news.answered_at {
                sqlx::query(
                    "insert into registry_logins (secret_id, host, answered_at) select id, $2, $3 from secrets where id = $1 \
                     on conflict (secret_id, host) do update set answered_at = $3, failing_since = null, failed_at = null, \
                     reason = null, message = null",
                )
                .bind(&news.secret_id)
                .bind(&news.host)
                .bind(at)
                .execute(&mut *tx)
                .await?;
            }
            if let Some(Refused { at, reason, message }) = &news.refused {
                sqlx::query(
                    "insert into registry_logins (secret_id, host, failing_since, failed_at, reason, message) \
                     select id, $2, $3, $3, $4, $5 from secrets where id = $1 on conflict (secret_id, host) do update \
                     set failing_since = coalesce(registry_logins.failing_since, $3), failed_at = $3, reason = $4, message = $5 \
                     where $4 <> 'denied' or coalesce(registry_logins.answered_at, 0) < $3 - $6",
                )
                .bind(&news.secret_id)
                .bind(&news.host)
                .bind(at)
                .bind(reason)
                .bind(message)
                .bind(GOOD_FOR_MS)
                .execute(&mut *tx)
                .await?;
            }
        }
        tx.commit_soon().await
    }

    /// How the secrets for registries stand, of one project or of all, by registry: each with each registry it was used at, or with what it
    /// is for while it was used nowhere.
    pub async fn list_logins(&self, project: Option<&str>) -> Result<Vec<Login>> {
        let rows: Vec<Row> = sqlx::query_as(
            "select s.id, s.data, p.name as project, s.name as secret, l.host, l.answered_at, l.failing_since, l.failed_at, l.reason, \
             l.message from secrets s join projects p on p.id = s.project_id left join registry_logins l on l.secret_id = s.id \
             where s.kind = 'registry' and ($1 = '' or p.name = $1) order by p.name, s.name, l.host",
        )
        .bind(project.unwrap_or_default())
        .fetch_all(self.pool())
        .await?;
        let mut logins: Vec<Login> = rows.into_iter().map(|row| self.login_of(row)).collect();
        logins.sort_by(|a, b| a.host.cmp(&b.host));
        Ok(logins)
    }

    fn login_of(&self, row: Row) -> Login {
        // What was sealed with another key is not for anything any more.
        let meant_for = || self.registry_of_secret(&row.id, &row.secret, &row.data).unwrap_or_default();
        Login {
            host: row.host.clone().unwrap_or_else(meant_for),
            project: row.project,
            secret: row.secret,
            answered_at: row.answered_at,
            failing_since: row.failing_since,
            failed_at: row.failed_at,
            reason: row.reason,
            message: row.message,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Actor, LoginState};
    use crate::server::store::SecretData;
    use crate::server::store::testing::{each_store, project};

    const HOUR: i64 = 60 * 60 * 1000;

    fn refused(at: i64, reason: &'static str) -> Option<Refused> {
        Some(Refused { at, reason, message: format!("{reason} there") })
    }

    #[tokio::test]
    async fn a_secret_is_unused_good_or_failing_by_what_came_last() {
        for store in each_store().await {
            project(&store, "demo").await;
            let actor = Actor::person("ada");
            let data = |password: &str| {
                let (host, username) = ("*.example.com".to_owned(), "robot".to_owned());
                SecretData::Registry { host, username, password: password.into() }
            };
            store.create_secret("demo", &"there".parse().unwrap(), &data("one"), &actor).await.unwrap();
            let login = async || {
                let mut all = store.list_logins(Some("demo")).await.unwrap();
                assert_eq!(all.len(), 1, "{all:?}");
                all.remove(0)
            };
            assert_eq!((login().await.host.as_str(), login().await.state()), ("*.example.com", LoginState::Unused));
            let found = store.registry_credentials("demo", "r.example.com", "org/app").await.unwrap().unwrap();
            let note = async |answered_at, refused| {
                let (secret_id, host) = (found.id.clone(), "r.example.com".to_owned());
                store.note_logins(&[LoginNews { secret_id, host, answered_at, refused }]).await.unwrap();
                login().await.state()
            };
            assert_eq!(note(None, refused(HOUR, "denied")).await, LoginState::Failing(HOUR), "it never worked");
            assert_eq!(note(Some(2 * HOUR), None).await, LoginState::Good(2 * HOUR));
            assert_eq!(login().await.host, "r.example.com");
            assert_eq!(note(None, refused(3 * HOUR, "denied")).await, LoginState::Good(2 * HOUR), "one repository");
            assert_eq!(note(None, refused(3 * HOUR, "wrong-password")).await, LoginState::Failing(3 * HOUR));
            assert_eq!(note(None, refused(4 * HOUR, "wrong-password")).await, LoginState::Failing(3 * HOUR), "since");
            assert_eq!(login().await.message.as_deref(), Some("wrong-password there"));
            assert_eq!(
                note(Some(5 * HOUR), refused(5 * HOUR + 1, "wrong-password")).await,
                LoginState::Failing(5 * HOUR + 1)
            );
            assert_eq!(note(Some(6 * HOUR), None).await, LoginState::Good(6 * HOUR));
            assert_eq!(login().await.message, None);
            assert_eq!(
                note(None, refused(8 * HOUR, "denied")).await,
                LoginState::Failing(8 * HOUR),
                "all of it, by now"
            );

            store.replace_secret("demo", "there", &data("two"), &actor).await.unwrap();
            assert_eq!(login().await.state(), LoginState::Unused, "another password");
            assert_eq!(store.list_logins(Some("other")).await.unwrap(), []);
            assert_eq!(store.list_logins(None).await.unwrap().len(), 1);
            store.delete_secret("demo", "there", &actor).await.unwrap();
            let gone =
                LoginNews { secret_id: found.id.clone(), host: "x".to_owned(), answered_at: Some(1), refused: None };
            store.note_logins(&[gone]).await.unwrap();
            assert_eq!(store.list_logins(None).await.unwrap(), []);
        }
    }
}
