//! What a project's first page tells: what wants attention, what is held, what moved lately.

use super::ledger::former_end;
use super::{Result, Store};

/// A tag or an app that is held.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct HeldThing {
    /// `tag` or `app`
    pub kind: String,
    /// Its stream, for a tag.
    pub stream: Option<String>,
    pub name: String,
    pub actor: String,
    pub reason: Option<String>,
    pub since: i64,
}

/// A config whose newest build failed.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct FailedBuild {
    pub config: String,
    pub number: i64,
    pub message: Option<String>,
    pub finished_at: Option<i64>,
}

/// A tag that moved.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct RecentMove {
    pub sequence: i64,
    pub stream: String,
    pub tag: String,
    pub digest: String,
    pub kind: String,
    pub actor_kind: String,
    pub actor: String,
    pub at: i64,
}

impl Store {
    /// Tags and apps of a project that are held, the newest hold first.
    pub async fn list_held(&self, project_id: &str, limit: i64) -> Result<Vec<HeldThing>> {
        let held = sqlx::query_as(
            "select 'tag' as kind, s.name as stream, t.name, h.actor, h.reason, h.since from holds h join tags t on t.id = h.tag_id \
             join streams s on s.id = t.stream_id where s.project_id = $1 and h.ended_at is null \
             union all \
             select 'app' as kind, null as stream, a.name, h.actor, h.reason, h.since from holds h join apps a on a.id = h.app_id \
             where a.project_id = $1 and h.ended_at is null and a.deleted_at is null order by 6 desc limit $2",
        )
        .bind(project_id)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(held)
    }

    /// Configs of a project whose newest build failed, the last failure first.
    pub async fn list_failed_builds(&self, project_id: &str, limit: i64) -> Result<Vec<FailedBuild>> {
        let failed = sqlx::query_as(
            "select c.name as config, b.number, b.message, b.finished_at from build_configs c \
             join builds b on b.config_id = c.id and b.number = c.last_number \
             where c.project_id = $1 and b.phase in ('Failed', 'Error') order by b.finished_at desc limit $2",
        )
        .bind(project_id)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(failed)
    }

    /// Moves of a project's tags, the newest first.
    pub async fn list_recent_moves(&self, project: &str, limit: i64) -> Result<Vec<RecentMove>> {
        // By way of the ledger, whose index knows the project: the newest rows are found without walking other projects' history, nor that
        // of a former one of this name.
        let moves = sqlx::query_as(concat!(
            "select e.sequence, s.name as stream, t.name as tag, e.digest, e.kind, e.actor_kind, e.actor, e.at \
             from ledger l join tag_events e on e.sequence = l.sequence join tags t on t.id = e.tag_id join streams s on s.id = t.stream_id \
             where l.project = $1 and e.outcome = 'moved' and l.sequence > ",
            former_end!("$1"),
            " order by l.sequence desc limit $2"
        ))
        .bind(project)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(moves)
    }
}
