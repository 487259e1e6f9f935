//! A project's secrets: credentials for registries and git repositories, sealed with the server's key.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::{Entry, Error, Result, Store, WriteTx, members, new_id};
use crate::model::{Actor, AppName, Fit, SecretEntry, SecretKind, now, registry_fit};

const KIND: &str = "secrets";

/// The most characters of a host or a user name.
const LONGEST_NAME: usize = 500;

/// What a secret holds.
#[derive(Debug, Clone)]
pub enum SecretData {
    /// For registries whose name matches `host`: `quay.io`, `*.example.com`, `registry.example.com:5000/team`.
    Registry { host: String, username: String, password: SecretString },
    /// For git over HTTPS.
    BasicAuth { username: String, password: SecretString },
    /// For git over SSH: a private key in OpenSSH's form, and the hosts it may be shown to, as in `known_hosts`.
    SshAuth { private_key: SecretString, known_hosts: Option<String> },
}

/// What to sign in with at a registry.
#[derive(Debug, Clone)]
pub struct RegistryCredentials {
    /// The secret they come from.
    pub id: String,
    pub secret: String,
    pub username: String,
    pub password: SecretString,
}

/// The form in which data is sealed.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Plain {
    Registry { host: String, username: String, password: String },
    BasicAuth { username: String, password: String },
    SshAuth { private_key: String, known_hosts: Option<String> },
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    name: String,
    data: String,
}

impl SecretData {
    /// What it is for.
    pub fn kind(&self) -> SecretKind {
        match self {
            Self::Registry { .. } => SecretKind::Registry,
            Self::BasicAuth { .. } => SecretKind::BasicAuth,
            Self::SshAuth { .. } => SecretKind::SshAuth,
        }
    }

    fn check(&self) -> Result<()> {
        let (field, missing) = match self {
            Self::Registry { host, .. } => ("host", host.trim().is_empty()),
            Self::BasicAuth { password, .. } => ("password", password.expose_secret().is_empty()),
            Self::SshAuth { private_key, .. } => {
                ("private key", !private_key.expose_secret().contains("PRIVATE KEY-----"))
            }
        };
        if missing {
            return Err(Error::invalid(field, format!("the {field} is missing or not one")));
        }
        let names = match self {
            Self::Registry { host, username, .. } => [host.as_str(), username],
            Self::BasicAuth { username, .. } => [username.as_str(), ""],
            Self::SshAuth { .. } => ["", ""],
        };
        if names.iter().any(|name| name.len() > LONGEST_NAME || name.contains(char::is_control)) {
            let message = format!("host and user name are a line of at most {LONGEST_NAME} characters each");
            return Err(Error::invalid("username", message));
        }
        Ok(())
    }

    fn plain(&self) -> Plain {
        let text = |secret: &SecretString| secret.expose_secret().to_owned();
        match self.clone() {
            Self::Registry { host, username, password } => {
                Plain::Registry { host, username, password: text(&password) }
            }
            Self::BasicAuth { username, password } => Plain::BasicAuth { username, password: text(&password) },
            Self::SshAuth { private_key, known_hosts } => {
                Plain::SshAuth { private_key: text(&private_key), known_hosts }
            }
        }
    }
}

impl From<Plain> for SecretData {
    fn from(plain: Plain) -> Self {
        match plain {
            Plain::Registry { host, username, password } => {
                Self::Registry { host, username, password: password.into() }
            }
            Plain::BasicAuth { username, password } => Self::BasicAuth { username, password: password.into() },
            Plain::SshAuth { private_key, known_hosts } => {
                Self::SshAuth { private_key: private_key.into(), known_hosts }
            }
        }
    }
}

impl Store {
    /// Makes a secret in the project.
    pub async fn create_secret(&self, project: &str, name: &AppName, data: &SecretData, actor: &Actor) -> Result<()> {
        data.check()?;
        let mut tx = self.write_tx().await?;
        let project_id = members::project_id(&mut tx, project).await?;
        if find(&mut tx, &project_id, name.as_str()).await?.is_some() {
            return Err(Error::Exists { kind: KIND, name: name.to_string() });
        }
        let id = new_id();
        let sealed = self.seal_secret(&id, data)?;
        let version = record(&mut tx, "secret.create", project, name.as_str(), Some(data.kind()), actor).await?;
        tx.unassign_imports(&project_id).await?;
        sqlx::query(
            "insert into secrets (id, project_id, name, kind, data, created_at, version) values ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&id)
        .bind(&project_id)
        .bind(name.as_str())
        .bind(data.kind().as_str())
        .bind(sealed)
        .bind(now())
        .bind(version)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }

    /// Gives a secret new content.
    pub async fn replace_secret(&self, project: &str, name: &str, data: &SecretData, actor: &Actor) -> Result<()> {
        data.check()?;
        let mut tx = self.write_tx().await?;
        let project_id = members::project_id(&mut tx, project).await?;
        let row = find(&mut tx, &project_id, name).await?.ok_or_else(|| Error::not_found(KIND, name))?;
        let sealed = self.seal_secret(&row.id, data)?;
        let version = record(&mut tx, "secret.replace", project, name, Some(data.kind()), actor).await?;
        tx.unassign_imports(&project_id).await?;
        sqlx::query("update secrets set kind = $1, data = $2, version = $3 where id = $4")
            .bind(data.kind().as_str())
            .bind(sealed)
            .bind(version)
            .bind(&row.id)
            .execute(&mut *tx)
            .await?;
        sqlx::query("delete from registry_logins where secret_id = $1").bind(&row.id).execute(&mut *tx).await?;
        tx.commit().await
    }

    /// Forgets a secret. What names it fails from then on and says so.
    pub async fn delete_secret(&self, project: &str, name: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let project_id = members::project_id(&mut tx, project).await?;
        let row = find(&mut tx, &project_id, name).await?.ok_or_else(|| Error::not_found(KIND, name))?;
        sqlx::query("delete from secrets where id = $1").bind(&row.id).execute(&mut *tx).await?;
        record(&mut tx, "secret.delete", project, name, None, actor).await?;
        tx.unassign_imports(&project_id).await?;
        tx.commit().await
    }

    /// The project's secrets by name, without their content.
    pub async fn list_secrets(&self, project: &str) -> Result<Vec<SecretEntry>> {
        let secrets = sqlx::query_as(
            "select s.id as id, s.name as name, s.kind as kind, s.created_at as created_at, s.version as version \
             from secrets s join projects p on p.id = s.project_id where p.name = $1 order by s.name",
        )
        .bind(project)
        .fetch_all(self.pool())
        .await?;
        Ok(secrets)
    }

    /// A secret's content.
    pub async fn secret(&self, project: &str, name: &str) -> Result<SecretData> {
        let row: Option<Row> = sqlx::query_as(
            "select s.id as id, s.name as name, s.data as data from secrets s join projects p on p.id = s.project_id \
             where p.name = $1 and s.name = $2",
        )
        .bind(project)
        .bind(name)
        .fetch_optional(self.pool())
        .await?;
        self.unseal_secret(&row.ok_or_else(|| Error::not_found(KIND, name))?)
    }

    /// The credentials the project has for a repository at a registry: those with the most specific path that matches, and a
    /// host by name before one by pattern. `host` is as in a reference, with its port if it names one.
    pub async fn registry_credentials(
        &self,
        project: &str,
        host: &str,
        repository: &str,
    ) -> Result<Option<RegistryCredentials>> {
        let rows: Vec<Row> = sqlx::query_as(
            "select s.id as id, s.name as name, s.data as data from secrets s join projects p on p.id = s.project_id \
             where p.name = $1 and s.kind = 'registry' order by s.name",
        )
        .bind(project)
        .fetch_all(self.pool())
        .await?;
        let mut best: Option<(Fit, RegistryCredentials)> = None;
        for row in rows {
            let SecretData::Registry { host: pattern, username, password } = self.unseal_secret(&row)? else {
                continue;
            };
            let Some(fit) = registry_fit(&pattern, host, repository) else { continue };
            if best.as_ref().is_none_or(|(best_fit, _)| fit > *best_fit) {
                best = Some((fit, RegistryCredentials { id: row.id, secret: row.name, username, password }));
            }
        }
        Ok(best.map(|(_, credentials)| credentials))
    }

    /// What a secret for registries is for.
    pub(super) fn registry_of_secret(&self, id: &str, name: &str, data: &str) -> Option<String> {
        let row = Row { id: id.to_owned(), name: name.to_owned(), data: data.to_owned() };
        match self.unseal_secret(&row).ok()? {
            SecretData::Registry { host, .. } => Some(host),
            SecretData::BasicAuth { .. } | SecretData::SshAuth { .. } => None,
        }
    }

    fn seal_secret(&self, id: &str, data: &SecretData) -> Result<String> {
        let plain = serde_json::to_vec(&data.plain())?;
        self.seal(&purpose(id), &plain).ok_or_else(|| Error::invalid("data", "the secret is too long"))
    }

    fn unseal_secret(&self, row: &Row) -> Result<SecretData> {
        let plain = self.unseal(&purpose(&row.id), &row.data).ok_or_else(|| {
            Error::Conflict(format!(
                "the secret {} was sealed with another key: restore the key file of this database, or enter the secret anew",
                row.name
            ))
        })?;
        Ok(serde_json::from_slice::<Plain>(&plain)?.into())
    }
}

/// The id is part of what is authenticated: content moved from one row to another does not open.
fn purpose(id: &str) -> String {
    format!("secret:{id}")
}

async fn find(tx: &mut WriteTx, project_id: &str, name: &str) -> Result<Option<Row>> {
    let row = sqlx::query_as("select id, name, data from secrets where project_id = $1 and name = $2")
        .bind(project_id)
        .bind(name)
        .fetch_optional(&mut **tx)
        .await?;
    Ok(row)
}

async fn record(
    tx: &mut WriteTx,
    action: &str,
    project: &str,
    name: &str,
    kind: Option<SecretKind>,
    actor: &Actor,
) -> Result<i64> {
    let to = kind.map(SecretKind::as_str);
    tx.record(actor, Entry { action, project: Some(project), object: name, to, ..Entry::default() }).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::store::testing::{each_store, project};

    #[tokio::test]
    async fn secrets_are_sealed_listed_without_content_and_found_by_host() {
        let actor = Actor::system("test");
        let registry = |host: &str, user: &str| SecretData::Registry {
            host: host.to_owned(),
            username: user.to_owned(),
            password: "pa55word".into(),
        };
        for store in each_store().await {
            project(&store, "demo").await;
            let name: AppName = "hub".parse().unwrap();
            store.create_secret("demo", &name, &registry("quay.io", "ada"), &actor).await.unwrap();
            let again = store.create_secret("demo", &name, &registry("quay.io", "ada"), &actor).await;
            assert!(matches!(again, Err(Error::Exists { .. })), "{again:?}");
            let team = "team".parse().unwrap();
            store.create_secret("demo", &team, &registry("quay.io/team", "team"), &actor).await.unwrap();

            let user = async |host, repository| {
                let found = store.registry_credentials("demo", host, repository).await.unwrap();
                found.map(|credentials| credentials.username)
            };
            assert_eq!(user("quay.io", "team/app").await.as_deref(), Some("team"));
            assert_eq!(user("quay.io", "other/app").await.as_deref(), Some("ada"));
            assert_eq!(user("docker.io", "library/a").await, None);

            let key = SecretData::SshAuth { private_key: "no key".into(), known_hosts: None };
            assert!(matches!(store.replace_secret("demo", "hub", &key, &actor).await, Err(Error::Invalid { .. })));
            let basic = SecretData::BasicAuth { username: "git".to_owned(), password: "t0ken".into() };
            store.replace_secret("demo", "hub", &basic, &actor).await.unwrap();
            let SecretData::BasicAuth { password, .. } = store.secret("demo", "hub").await.unwrap() else {
                panic!("another kind")
            };
            assert_eq!(password.expose_secret(), "t0ken");
            let listed = store.list_secrets("demo").await.unwrap();
            assert_eq!(
                listed.iter().map(|s| (s.name.as_str(), s.kind)).collect::<Vec<_>>(),
                [("hub", SecretKind::BasicAuth), ("team", SecretKind::Registry)]
            );
            store.delete_secret("demo", "hub", &actor).await.unwrap();
            assert!(matches!(store.secret("demo", "hub").await, Err(Error::NotFound { .. })));

            let said = format!("{:?}", store.list_ledger(None, None, 100).await.unwrap());
            assert!(!said.contains("pa55word") && !said.contains("t0ken"), "the ledger never shows a secret");
            assert_eq!(store.verify_ledger().await.unwrap().1, Vec::new());
        }
    }
}
