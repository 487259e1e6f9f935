//! What the console's list of apps says of each beside its state: its newest rollout, the one before, and who holds it.

use std::collections::BTreeMap;

use super::{Result, Store};

/// The newest rollout of an app as its row shows it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ListedRollout {
    pub app_id: String,
    pub number: i64,
    pub kind: String,
    pub actor_kind: String,
    pub actor: String,
    pub reason: Option<String>,
    pub created_at: i64,
    /// The newest rollout before it that ran another image: what one click goes back to.
    pub number_before: Option<i64>,
    pub held_by: Option<String>,
    pub held_reason: Option<String>,
}

impl Store {
    /// Newest rollouts of the project's apps from name `first` to name `last`, by the app's id.
    pub async fn list_newest_rollouts(
        &self,
        project: &str,
        first: &str,
        last: &str,
    ) -> Result<BTreeMap<String, ListedRollout>> {
        let rows: Vec<ListedRollout> = sqlx::query_as(
            "select r.app_id, r.number, r.kind, r.actor_kind, r.actor, r.reason, r.created_at, \
             (select max(b.number) from rollouts b where b.app_id = r.app_id and b.number < r.number and b.digest <> r.digest \
               and b.phase = 'Complete') as number_before, h.actor as held_by, h.reason as held_reason \
             from apps a join projects p on p.id = a.project_id join rollouts r on r.app_id = a.id and r.number = a.last_number \
             left join holds h on h.app_id = a.id and h.ended_at is null \
             where p.name = $1 and a.name >= $2 and a.name <= $3 and a.deleted_at is null",
        )
        .bind(project)
        .bind(first)
        .bind(last)
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|row| (row.app_id.clone(), row)).collect())
    }
}
