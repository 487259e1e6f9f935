//! Questions the console asks across nouns: who uses a stream, which tags pointed to an image, what the ledger says.

use super::catalog::contains;
use super::ledger::{former_end, select_ledger};
use super::tags::select_tag;
use super::{DueImport, Result, Store};
use crate::model::{LedgerRow, Stream, Tag};

/// Something that takes an image out of a stream.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct StreamUser {
    /// `build`, `app` or `tag`
    pub kind: String,
    pub project: String,
    pub name: String,
    pub tag: String,
    /// The instruction of a Dockerfile; `runs` for an app, `follows` for a tag.
    pub how: String,
}

/// A tag that points or pointed to an image, with the newest row that says so.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ImageTag {
    pub tag: String,
    pub number: i64,
    pub at: i64,
    /// 1 when it points there now.
    pub current: i64,
}

/// What narrows the ledger. Empty texts narrow nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct LedgerFilter<'a> {
    /// `noun` or `noun.verb`
    pub action: &'a str,
    pub actor: &'a str,
    /// Part of what changed.
    pub object: &'a str,
}

impl Store {
    /// Builds and apps that take images out of a stream.
    pub async fn list_stream_users(&self, project: &str, stream: &Stream, limit: i64) -> Result<Vec<StreamUser>> {
        let users = sqlx::query_as(
            "select 'build' as kind, p.name as project, c.name, coalesce(i.input_tag, 'latest') as tag, i.kind as how \
             from build_inputs i join build_configs c on c.id = i.config_id join projects p on p.id = c.project_id \
             where i.input_project = $1 and i.input_stream = $2 \
             union all \
             select 'app' as kind, p.name as project, a.name, t.name as tag, 'runs' as how \
             from apps a join tags t on t.id = a.tag_id join projects p on p.id = a.project_id \
             where t.stream_id = $3 and a.deleted_at is null \
             union all \
             select 'tag' as kind, p.name as project, s.name || ':' || t.name as name, f.name as tag, 'follows' as how \
             from tags t join tags f on f.id = t.follows_tag_id join streams s on s.id = t.stream_id \
             join projects p on p.id = s.project_id where f.stream_id = $3 and t.deleted_at is null order by 1, 2, 3, 4 limit $4",
        )
        .bind(project)
        .bind(&stream.name)
        .bind(&stream.id)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(users)
    }

    /// Tags that follow a tag.
    pub async fn list_followers(&self, tag_id: &str) -> Result<Vec<Tag>> {
        let tags = sqlx::query_as(select_tag!(
            "where t.follows_tag_id = $1 and t.deleted_at is null order by p.name, s.name, t.name limit 200"
        ))
        .bind(tag_id)
        .fetch_all(self.pool())
        .await?;
        Ok(tags)
    }

    /// Imports of one stream by tag name, beyond `after`.
    pub async fn list_stream_imports(&self, stream_id: &str, after: &str, limit: i64) -> Result<Vec<DueImport>> {
        let tags: Vec<Tag> = sqlx::query_as(select_tag!(
            "where t.stream_id = $1 and t.name > $2 and exists (select 1 from tag_imports m where m.tag_id = t.id) order by t.name limit $3"
        ))
        .bind(stream_id)
        .bind(after)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        let mut imports = Vec::with_capacity(tags.len());
        for tag in tags {
            if let Some(import) = self.find_import(&tag.id).await? {
                imports.push(DueImport { tag, import });
            }
        }
        Ok(imports)
    }

    /// Tags of a stream that point or pointed to an image, those that do now first.
    pub async fn list_image_tags(&self, stream_id: &str, digest: &str) -> Result<Vec<ImageTag>> {
        let tags = sqlx::query_as(
            "select t.name as tag, max(e.number) as number, max(e.at) as at, \
             max(case when t.digest = e.digest then 1 else 0 end) as current \
             from tag_events e join tags t on t.id = e.tag_id \
             where e.digest = $2 and t.stream_id = $1 and e.outcome = 'moved' group by t.name order by 4 desc, 3 desc limit 100",
        )
        .bind(stream_id)
        .bind(digest)
        .fetch_all(self.pool())
        .await?;
        Ok(tags)
    }

    /// A page of a project's ledger, newest first, with a sequence below `before`.
    pub async fn search_ledger(
        &self,
        project: &str,
        filter: &LedgerFilter<'_>,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<LedgerRow>> {
        let rows = sqlx::query_as(select_ledger!(
            "where project = $1 and sequence < $2 and sequence > ",
            former_end!("$1"),
            " and ($3 = '' or action = $3 or action like $4 escape '!') and ($5 = '' or actor = $5) \
             and ($6 = '%%' or lower(object) like $6 escape '!') order by sequence desc limit $7"
        ))
        .bind(project)
        .bind(before.unwrap_or(i64::MAX))
        .bind(filter.action)
        .bind(contains(filter.action).trim_start_matches('%').replace('%', ".%"))
        .bind(filter.actor)
        .bind(contains(filter.object))
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(rows)
    }
}
