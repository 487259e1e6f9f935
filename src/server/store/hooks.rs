//! The secret of a project's webhook for registries. It is derived from the server's key, so that it can be shown again, and is another
//! one each time somebody wants a new one.

use super::{Entry, Error, Result, Store};
use crate::model::Actor;

/// A project's webhook for registries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryHook {
    pub project_id: String,
    pub secret: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    hook_generation: i64,
}

impl Store {
    /// The project's webhook; `None` when there is no such project.
    pub async fn find_registry_hook(&self, project: &str) -> Result<Option<RegistryHook>> {
        let row: Option<Row> = sqlx::query_as("select id, hook_generation from projects where name = $1")
            .bind(project)
            .fetch_optional(self.pool())
            .await?;
        Ok(row.map(|row| {
            let secret = self.fingerprint("registry webhook", &format!("{} {}", row.id, row.hook_generation));
            RegistryHook { project_id: row.id, secret }
        }))
    }

    /// Gives the project's webhook another secret; the old one is good for nothing from then on.
    pub async fn renew_registry_hook(&self, project: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let renewed = sqlx::query("update projects set hook_generation = hook_generation + 1 where name = $1")
            .bind(project)
            .execute(&mut *tx)
            .await?;
        if renewed.rows_affected() == 0 {
            return Err(Error::not_found("projects", project));
        }
        let entry =
            Entry { action: "hook.renew", project: Some(project), object: "registry webhook", ..Entry::default() };
        tx.record(actor, entry).await?;
        tx.commit().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::store::testing::{each_store, project};

    #[tokio::test]
    async fn each_project_has_a_secret_of_its_own_until_it_is_renewed() {
        for store in each_store().await {
            project(&store, "one").await;
            project(&store, "two").await;
            let secret = async |name| store.find_registry_hook(name).await.unwrap().map(|hook| hook.secret);
            let first = secret("one").await.unwrap();
            assert_eq!((first.len(), secret("one").await), (40, Some(first.clone())));
            assert_ne!(secret("two").await, Some(first.clone()));
            assert_eq!(secret("three").await, None);
            store.renew_registry_hook("one", &Actor::person("ada")).await.unwrap();
            assert_ne!(secret("one").await, Some(first));
            let missing = store.renew_registry_hook("three", &Actor::person("ada")).await;
            assert!(matches!(missing, Err(Error::NotFound { .. })), "{missing:?}");
        }
    }
}
