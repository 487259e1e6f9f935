//! The console's list of build configs: each with its newest build, in queries whose cost is that of one page.

use std::collections::BTreeMap;

use super::{Result, Store};
use crate::model::BuildPhase;

/// A build config as a row of the list.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ListedConfig {
    pub id: String,
    pub name: String,
    pub output_stream: String,
    pub output_tag: String,
    pub paused_at: Option<i64>,
    pub inspect_error: Option<String>,
    /// Number of the newest build, 0 before the first.
    pub last_number: i64,
    /// Phase of the newest build, and what else is said of it.
    pub phase: Option<String>,
    pub trigger_text: Option<String>,
    pub actor_kind: Option<String>,
    pub actor: Option<String>,
    pub queued_at: Option<i64>,
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    /// Its place in the queue while it waits, counted from 1; 0 otherwise.
    pub queue_position: i64,
    /// Images its Dockerfile takes in.
    pub inputs: i64,
    /// Those of them that point elsewhere than at the last request.
    pub newer: i64,
}

impl ListedConfig {
    /// Phase of the newest build.
    pub fn phase(&self) -> Option<BuildPhase> {
        self.phase.as_deref()?.parse().ok()
    }
}

impl Store {
    /// Build configs of a project by name, after `after`, those whose name contains `text`.
    pub async fn list_configs_with_last_build(
        &self,
        project: &str,
        text: &str,
        after: &str,
        limit: i64,
    ) -> Result<Vec<ListedConfig>> {
        let rows = sqlx::query_as(
            "select c.id, c.name, s.name as output_stream, t.name as output_tag, c.paused_at, c.inspect_error, c.last_number, b.phase, \
             b.trigger_text, b.actor_kind, b.actor, b.queued_at, b.started_at, b.finished_at, \
             (select count(*) from builds q where b.phase = 'New' and q.phase = 'New' \
               and (q.queued_at < b.queued_at or (q.queued_at = b.queued_at and q.sequence <= b.sequence))) as queue_position, \
             (select count(*) from build_inputs i where i.config_id = c.id) as inputs, \
             (select count(*) from build_inputs i join projects ip on ip.name = i.input_project \
               join streams x on x.project_id = ip.id and x.name = i.input_stream \
               join tags y on y.stream_id = x.id and y.name = i.input_tag and y.deleted_at is null \
               where i.config_id = c.id and y.digest is not null and (i.used_digest is null or i.used_digest <> y.digest)) as newer \
             from build_configs c join projects p on p.id = c.project_id join tags t on t.id = c.output_tag_id \
             join streams s on s.id = t.stream_id left join builds b on b.config_id = c.id and b.number = c.last_number \
             where p.name = $1 and c.name > $2 and c.name like $3 escape '!' order by c.name limit $4",
        )
        .bind(project)
        .bind(after)
        .bind(contains(text))
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(rows)
    }

    /// Phases of the last ten builds of the project's configs from name `first` to name `last`, oldest first, by config id.
    pub async fn list_last_phases(
        &self,
        project: &str,
        first: &str,
        last: &str,
    ) -> Result<BTreeMap<String, Vec<(i64, BuildPhase)>>> {
        let rows: Vec<(String, i64, String)> = sqlx::query_as(
            "select b.config_id, b.number, b.phase from builds b join build_configs c on c.id = b.config_id \
             join projects p on p.id = c.project_id \
             where p.name = $1 and c.name >= $2 and c.name <= $3 and b.number > c.last_number - 10 order by b.config_id, b.number",
        )
        .bind(project)
        .bind(first)
        .bind(last)
        .fetch_all(self.pool())
        .await?;
        let mut phases: BTreeMap<String, Vec<(i64, BuildPhase)>> = BTreeMap::new();
        for (config, number, phase) in rows {
            if let Ok(phase) = phase.parse() {
                phases.entry(config).or_default().push((number, phase));
            }
        }
        Ok(phases)
    }
}

/// The pattern of `like … escape '!'` for whatever contains `text`.
fn contains(text: &str) -> String {
    let text = text.replace('!', "!!").replace('%', "!%").replace('_', "!_");
    format!("%{text}%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Actor, BuildConfigSpec, KnownInputs, Source};
    use crate::server::store::testing::{each_store, project};
    use crate::server::store::{BuildRequest, ConfigFields};

    async fn config(store: &Store, name: &str) {
        let source = Source { dockerfile: Some("FROM scratch\n".to_owned()), ..Source::default() };
        let spec = BuildConfigSpec::new(source, name.parse().unwrap(), "latest".parse().unwrap());
        let inputs = KnownInputs::All(Vec::new());
        let fields = ConfigFields { config_trigger: false, ..ConfigFields::new(spec, inputs) };
        store.create_config("demo", &name.parse().unwrap(), &fields, &Actor::person("developer")).await.unwrap();
    }

    #[tokio::test]
    async fn lists_each_config_with_its_newest_build_and_its_place_in_the_queue() {
        for store in each_store().await {
            project(&store, "demo").await;
            for name in ["a", "b", "c-d"] {
                config(&store, name).await;
            }
            for name in ["b", "c-d", "c-d"] {
                store.start_build("demo", name, BuildRequest::manual(Actor::person("developer"))).await.unwrap();
            }
            let rows = store.list_configs_with_last_build("demo", "", "", 10).await.unwrap();
            let brief: Vec<_> =
                rows.iter().map(|row| (row.name.as_str(), row.last_number, row.phase(), row.queue_position)).collect();
            let queued = Some(BuildPhase::New);
            assert_eq!(brief, [("a", 0, None, 0), ("b", 1, queued, 1), ("c-d", 2, queued, 3)]);
            let found = store.list_configs_with_last_build("demo", "-", "", 10).await.unwrap();
            assert_eq!(found.len(), 1);
            assert!(store.list_configs_with_last_build("demo", "%", "", 10).await.unwrap().is_empty());
            let rest = store.list_configs_with_last_build("demo", "", "a", 1).await.unwrap();
            assert_eq!(rest[0].name, "b");
            let phases = store.list_last_phases("demo", "b", "c-d").await.unwrap();
            assert_eq!(phases.len(), 2);
            assert_eq!(phases[&rows[2].id], [(1, BuildPhase::New), (2, BuildPhase::New)]);
        }
    }
}
