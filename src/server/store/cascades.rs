//! Cascades as pages and the API read them.

use super::{Error, Result, Store};
use crate::model::Cascade;

/// A cascade with the counts of its steps.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, sqlx::FromRow)]
pub struct CascadeSummary {
    pub id: String,
    pub number: i64,
    pub title: String,
    pub root_sequence: i64,
    pub kind: String,
    pub actor_kind: String,
    pub actor: String,
    pub created_at: i64,
    pub paused_at: Option<i64>,
    pub cancelled_at: Option<i64>,
    pub undone_at: Option<i64>,
    pub undone_by: Option<String>,
    /// Tags it moved.
    pub moves: i64,
    pub builds: i64,
    /// Builds and rollouts that have ended.
    pub ended: i64,
    /// Builds and rollouts that ended badly.
    pub failed: i64,
    pub rollouts: i64,
}

impl CascadeSummary {
    /// Builds and rollouts in all.
    pub fn steps(&self) -> i64 {
        self.builds + self.rollouts
    }

    /// Something of it is still to happen.
    pub fn is_running(&self) -> bool {
        self.ended < self.steps()
    }
}

macro_rules! select_summary {
    ($rest:literal) => {
        concat!(
            "select k.id, k.number, k.title, k.root_sequence, k.kind, k.actor_kind, k.actor, k.created_at, k.paused_at, k.cancelled_at, \
             k.undone_at, k.undone_by, \
             (select count(*) from tag_events e where e.cascade_id = k.id and e.outcome = 'moved') as moves, \
             (select count(*) from builds b where b.cascade_id = k.id) as builds, \
             (select count(*) from builds b where b.cascade_id = k.id and b.phase in ('Complete', 'Failed', 'Error', 'Cancelled')) \
             + (select count(*) from rollouts r where r.cascade_id = k.id and r.phase in ('Complete', 'Failed', 'Cancelled')) as ended, \
             (select count(*) from builds b where b.cascade_id = k.id and b.phase in ('Failed', 'Error')) \
             + (select count(*) from rollouts r where r.cascade_id = k.id and r.phase = 'Failed') as failed, \
             (select count(*) from rollouts r where r.cascade_id = k.id) as rollouts \
             from cascades k join projects p on p.id = k.project_id ",
            $rest
        )
    };
}

impl Store {
    /// Cascades of a project, newest first, with a number below `before`.
    pub async fn list_cascades(&self, project: &str, before: Option<i64>, limit: i64) -> Result<Vec<CascadeSummary>> {
        let cascades =
            sqlx::query_as(select_summary!("where p.name = $1 and k.number < $2 order by k.number desc limit $3"))
                .bind(project)
                .bind(before.unwrap_or(i64::MAX))
                .bind(limit)
                .fetch_all(self.pool())
                .await?;
        Ok(cascades)
    }

    /// The cascade of that number with the counts of its steps.
    pub async fn cascade_summary(&self, project: &str, number: i64) -> Result<CascadeSummary> {
        sqlx::query_as(select_summary!("where p.name = $1 and k.number = $2"))
            .bind(project)
            .bind(number)
            .fetch_optional(self.pool())
            .await?
            .ok_or_else(|| Error::not_found("cascades", number.to_string()))
    }

    /// The cascade with that id.
    pub async fn find_cascade(&self, id: &str) -> Result<Option<Cascade>> {
        let cascade = sqlx::query_as(
            "select id, project_id, number, title, root_sequence, kind, actor_kind, actor, created_at, paused_at, cancelled_at, \
             undone_at, undone_by, undoes from cascades where id = $1",
        )
        .bind(id)
        .fetch_optional(self.pool())
        .await?;
        Ok(cascade)
    }
}
