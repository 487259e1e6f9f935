//! Registries that a site admin paused: nothing is asked of them, by schedule or for a pull, until they may be asked again.

use super::{Entry, Error, Result, Store, WriteTx};
use crate::model::{Actor, Pause, now};
use crate::server::wake::Controller;

/// The most characters of a registry's name.
const LONGEST_HOST: usize = 255;

impl Store {
    /// Has nothing asked of a registry until somebody resumes it.
    pub async fn pause_registry(&self, host: &str, reason: Option<&str>, actor: &Actor) -> Result<()> {
        if host.is_empty() || host.len() > LONGEST_HOST || !host.chars().all(|c| c.is_ascii_graphic() && c != '/') {
            return Err(Error::invalid(
                "host",
                "a registry is named by its host, with its port if it has one of its own",
            ));
        }
        let mut tx = self.write_tx().await?;
        if let Some(pause) = tx.pause_of(host).await? {
            return Err(Error::Conflict(pause.in_words()));
        }
        sqlx::query("insert into paused_registries (host, paused_at, paused_by, reason) values ($1, $2, $3, $4)")
            .bind(host)
            .bind(now())
            .bind(&actor.name)
            .bind(reason)
            .execute(&mut *tx)
            .await?;
        tx.record(actor, Entry { action: "registry.pause", object: host, reason, ..Entry::default() }).await?;
        tx.touch_importers_of(host).await?;
        tx.commit().await
    }

    /// Lets a registry be asked again. What fell due meanwhile follows at its usual pace.
    pub async fn resume_registry(&self, host: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let resumed = sqlx::query("delete from paused_registries where host = $1").bind(host).execute(&mut *tx).await?;
        if resumed.rows_affected() == 0 {
            return Err(Error::Conflict(format!("the registry {host} is not paused")));
        }
        tx.record(actor, Entry { action: "registry.resume", object: host, ..Entry::default() }).await?;
        tx.touch_importers_of(host).await?;
        tx.wake(Controller::Imports);
        tx.wake(Controller::Completions);
        tx.commit().await
    }

    /// Who paused a registry; `None` while it may be asked.
    pub async fn find_pause(&self, host: &str) -> Result<Option<Pause>> {
        let pause = sqlx::query_as("select host, paused_at, paused_by, reason from paused_registries where host = $1")
            .bind(host)
            .fetch_optional(self.pool())
            .await?;
        Ok(pause)
    }

    /// All registries that are paused.
    pub async fn list_pauses(&self) -> Result<Vec<Pause>> {
        let pauses = sqlx::query_as("select host, paused_at, paused_by, reason from paused_registries order by host")
            .fetch_all(self.pool())
            .await?;
        Ok(pauses)
    }
}

impl WriteTx {
    pub(super) async fn pause_of(&mut self, host: &str) -> Result<Option<Pause>> {
        let pause = sqlx::query_as("select host, paused_at, paused_by, reason from paused_registries where host = $1")
            .bind(host)
            .fetch_optional(&mut **self)
            .await?;
        Ok(pause)
    }

    /// Tells the open pages of all projects with tags that follow something there.
    async fn touch_importers_of(&mut self, host: &str) -> Result<()> {
        let projects: Vec<(String,)> = sqlx::query_as(
            "select distinct p.name from registry_budgets b join tag_imports i on i.budget = b.id \
             join projects p on p.id = i.project_id where b.host = $1",
        )
        .bind(host)
        .fetch_all(&mut **self)
        .await?;
        for (project,) in &projects {
            self.touch(project);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::store::testing::each_store;

    #[tokio::test]
    async fn a_registry_is_paused_once_by_somebody_and_resumed() {
        for store in each_store().await {
            let ada = Actor::person("ada");
            store.pause_registry("quay.io", Some("they asked us to"), &ada).await.unwrap();
            let pause = store.find_pause("quay.io").await.unwrap().unwrap();
            assert_eq!((pause.paused_by.as_str(), pause.reason.as_deref()), ("ada", Some("they asked us to")));
            assert_eq!(store.list_pauses().await.unwrap(), [pause]);
            let again = store.pause_registry("quay.io", None, &Actor::person("bob")).await.unwrap_err().to_string();
            assert!(again.contains("paused by ada") && again.contains("they asked us to"), "{again}");
            assert_eq!(store.find_pause("docker.io").await.unwrap(), None);
            store.resume_registry("quay.io", &ada).await.unwrap();
            assert!(matches!(store.resume_registry("quay.io", &ada).await, Err(Error::Conflict(_))));
            for name in ["", "quay.io/org", "a b"] {
                let refused = store.pause_registry(name, None, &ada).await;
                assert!(matches!(refused, Err(Error::Invalid { .. })), "{name}");
            }
        }
    }
}
