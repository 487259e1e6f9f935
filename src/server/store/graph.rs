//! The graph of a project, and what an action on it would do.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::configs::select_input;
use super::memory::{Commits, Memory};
use super::{Backend, Ground, Result, Store};
use crate::model::{Action, ConfigInput, Graph, GraphApp, GraphConfig, GraphInput, GraphTag, Plan, plan};

/// Tags of a project whose graph shows all of them, tied to something or not.
pub const FEW_TAGS: i64 = 200;

/// Tags that are remembered, of all projects: a few hundred bytes each.
const REMEMBERED: usize = 40_000;

/// What is drawn of tags, by project. Many look at a large graph, and reading it costs far more than looking.
pub(super) type Remembered = Memory<String, Arc<Shown>>;

/// The tags that a graph shows.
pub(super) struct Shown {
    tags: Vec<GraphTag>,
    only_tied: bool,
}

pub(super) fn remembered(commits: &Arc<Commits>, backend: Backend) -> Remembered {
    Memory::beside(commits, backend, Ground::Content, REMEMBERED)
}

#[derive(sqlx::FromRow)]
struct TagRow {
    id: String,
    project: String,
    stream: String,
    tag: String,
    digest: Option<String>,
    held: Option<String>,
    follows_tag_id: Option<String>,
    source_kind: Option<String>,
    source: Option<String>,
    outcome: Option<String>,
}

#[derive(sqlx::FromRow)]
struct ConfigRow {
    id: String,
    project: String,
    name: String,
    output_tag_id: String,
    automatic: i64,
    last_phase: Option<String>,
    last_number: i64,
    usual_ms: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct AppRow {
    id: String,
    project: String,
    name: String,
    tag_id: String,
    automatic: i64,
    held: Option<String>,
    spec: String,
    observed: Option<String>,
    digest: Option<String>,
}

/// Ids of tags that something hangs on, or that hang on something: a build's output or input, an app's image, followers and what they
/// follow. Those of the project `$1` and what it takes in from others; of all projects where `$1` is empty.
const TIED: &str = "select c.output_tag_id as id from build_configs c join projects p on p.id = c.project_id where ($1 = '' or p.name = $1) \
    union select a.tag_id from apps a join projects p on p.id = a.project_id where a.deleted_at is null and ($1 = '' or p.name = $1) \
    union select t.id from build_inputs i join build_configs c on c.id = i.config_id join projects p on p.id = c.project_id \
      join projects ip on ip.name = i.input_project join streams s on s.project_id = ip.id and s.name = i.input_stream \
      join tags t on t.stream_id = s.id and t.name = i.input_tag where ($1 = '' or p.name = $1) \
    union select f.id from tags f join streams s on s.id = f.stream_id join projects p on p.id = s.project_id \
      where f.follows_tag_id > '' and ($1 = '' or p.name = $1) \
    union select t.id from tags f join tags t on t.id = f.follows_tag_id join streams s on s.id = t.stream_id \
      join projects p on p.id = s.project_id where f.follows_tag_id > '' and f.deleted_at is null and ($1 = '' or p.name = $1)";

/// Ids of all tags of the project `$1`.
const ALL: &str = "select t.id from projects p join streams s on s.project_id = p.id join tags t on t.stream_id = s.id \
    where p.name = $1 and t.deleted_at is null";

/// The tag with the id `$1`.
const ONE: &str = "select t.id from tags t where t.id = $1";

impl Store {
    /// The graph of a project: build configs, apps and tags, in a fixed order. Of a project with more than [`FEW_TAGS`] tags only those
    /// that are tied to something, and the tag with the id `also`: a catalog's size is not the graph's.
    pub async fn graph(&self, project: &str, also: Option<&str>) -> Result<Graph> {
        let shown = self.shown_tags(project).await?;
        let mut tags = shown.tags.clone();
        if let Some(also) = also.filter(|id| !tags.iter().any(|tag| tag.id == *id)) {
            tags.extend(self.graph_tags(ONE, also).await?);
            tags.sort_by(|a, b| (&a.project, &a.stream, &a.tag).cmp(&(&b.project, &b.stream, &b.tag)));
        }
        Ok(Graph {
            tags,
            configs: self.graph_configs(project).await?,
            apps: self.graph_apps(project).await?,
            only_tied: shown.only_tied,
            frozen: self.frozen_projects().await?,
        })
    }

    /// What an action would do. Dependents in other projects count: a change does not stop at a project's border.
    pub async fn plan(&self, action: &Action<'_>) -> Result<Plan> {
        let everywhere = "";
        let graph = Graph {
            tags: self.shown_tags(everywhere).await?.tags.clone(),
            configs: self.graph_configs(everywhere).await?,
            apps: self.graph_apps(everywhere).await?,
            only_tied: true,
            frozen: self.frozen_projects().await?,
        };
        Ok(plan(&graph, action))
    }

    async fn has_many_tags(&self, project: &str) -> Result<bool> {
        let (counted,): (i64,) = sqlx::query_as(
            "select count(*) from (select 1 as one from projects p join streams s on s.project_id = p.id join tags t on t.stream_id = s.id \
             where p.name = $1 and t.deleted_at is null limit $2) t",
        )
        .bind(project)
        .bind(FEW_TAGS + 1)
        .fetch_one(self.pool())
        .await?;
        Ok(counted > FEW_TAGS)
    }

    /// The tags of a project's graph, or of all projects together where it is empty.
    async fn shown_tags(&self, project: &str) -> Result<Arc<Shown>> {
        let (key, moment) = (project.to_owned(), self.graphs.moment());
        if let Some(shown) = self.graphs.recall(&key) {
            return Ok(shown);
        }
        let only_tied = project.is_empty() || self.has_many_tags(project).await?;
        let ids = if only_tied { TIED.to_owned() } else { format!("{TIED} union {ALL}") };
        let tags = self.graph_tags(&ids, project).await?;
        let (weight, shown) = (tags.len() + 1, Arc::new(Shown { tags, only_tied }));
        self.graphs.keep(key, Arc::clone(&shown), weight, moment);
        Ok(shown)
    }

    /// The tags whose ids a query tells, which asks with `$1`, in a fixed order.
    async fn graph_tags(&self, ids: &str, of: &str) -> Result<Vec<GraphTag>> {
        let text = format!(
            "with shown as ({ids}) \
             select t.id, p.name as project, s.name as stream, t.name as tag, t.digest, h.id as held, t.follows_tag_id, t.source_kind, \
             t.source, i.outcome from shown join tags t on t.id = shown.id join streams s on s.id = t.stream_id \
             join projects p on p.id = s.project_id left join holds h on h.tag_id = t.id and h.ended_at is null \
             left join tag_imports i on i.tag_id = t.id where t.deleted_at is null order by p.name, s.name, t.name"
        );
        let rows: Vec<TagRow> = sqlx::query_as(sqlx::AssertSqlSafe(text)).bind(of).fetch_all(self.pool()).await?;
        let tag = |row: TagRow| GraphTag {
            id: row.id,
            project: row.project,
            stream: row.stream,
            tag: row.tag,
            digest: row.digest,
            held: row.held.is_some(),
            follows: row.follows_tag_id,
            imports: row.source.filter(|_| row.source_kind.as_deref() == Some("DockerImage")),
            failing: row.outcome.as_deref() == Some("failed"),
        };
        Ok(rows.into_iter().map(tag).collect())
    }

    async fn graph_configs(&self, project: &str) -> Result<Vec<GraphConfig>> {
        let rows: Vec<ConfigRow> = sqlx::query_as(
            "select c.id, p.name as project, c.name, c.output_tag_id, \
             case when c.image_trigger = 1 and c.paused_at is null then 1 else 0 end as automatic, \
             (select b.phase from builds b where b.config_id = c.id and b.number = c.last_number) as last_phase, c.last_number, \
             (select cast(avg(d.took) as bigint) from (select b.finished_at - b.started_at as took from builds b \
               where b.config_id = c.id and b.phase = 'Complete' and b.started_at is not null order by b.number desc limit 10) d) as usual_ms \
             from build_configs c join projects p on p.id = c.project_id where ($1 = '' or p.name = $1) order by p.name, c.name",
        )
        .bind(project)
        .fetch_all(self.pool())
        .await?;
        let inputs: Vec<ConfigInput> = sqlx::query_as(select_input!(
            "join build_configs c on c.id = i.config_id join projects p on p.id = c.project_id \
             where ($1 = '' or p.name = $1) order by i.config_id, i.position"
        ))
        .bind(project)
        .fetch_all(self.pool())
        .await?;
        let mut inputs_of: BTreeMap<String, Vec<GraphInput>> = BTreeMap::new();
        for input in inputs {
            inputs_of.entry(input.config_id).or_default().push(GraphInput {
                kind: input.kind,
                reference: input.reference,
                tag: input.tag_id,
                used_digest: input.used_digest,
                triggering: input.triggering == 1,
            });
        }
        let config = |row: ConfigRow| GraphConfig {
            inputs: inputs_of.remove(&row.id).unwrap_or_default(),
            id: row.id,
            project: row.project,
            name: row.name,
            output: row.output_tag_id,
            automatic: row.automatic == 1,
            last: row.last_phase.map(|phase| (phase, row.last_number)),
            usual_ms: row.usual_ms,
        };
        Ok(rows.into_iter().map(config).collect())
    }

    async fn graph_apps(&self, project: &str) -> Result<Vec<GraphApp>> {
        let rows: Vec<AppRow> = sqlx::query_as(
            "select a.id, p.name as project, a.name, a.tag_id, a.automatic, h.id as held, a.spec, a.observed, r.digest \
             from apps a join projects p on p.id = a.project_id left join holds h on h.app_id = a.id and h.ended_at is null \
             left join rollouts r on r.app_id = a.id and r.number = a.last_number \
             where a.deleted_at is null and ($1 = '' or p.name = $1) order by p.name, a.name",
        )
        .bind(project)
        .fetch_all(self.pool())
        .await?;
        rows.into_iter()
            .map(|row| {
                let spec: serde_json::Value = serde_json::from_str(&row.spec)?;
                let observed: serde_json::Value =
                    row.observed.as_deref().map(serde_json::from_str).transpose()?.unwrap_or_default();
                let replicas = observed["replicas"].as_array().map(Vec::as_slice).unwrap_or_default();
                let ready = replicas.iter().filter(|replica| replica["ready"] == true).count();
                Ok(GraphApp {
                    id: row.id,
                    project: row.project,
                    name: row.name,
                    tag: row.tag_id,
                    automatic: row.automatic == 1,
                    held: row.held.is_some(),
                    replicas: spec["replicas"].as_u64().and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
                    ready: u32::try_from(ready).unwrap_or(u32::MAX),
                    digest: row.digest,
                })
            })
            .collect()
    }
}
