//! Work that one server does for all, now and then: whose turn it is, and what the last run did.

use super::{Result, Store};
use crate::model::now;

/// How a duty stands.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Duty {
    /// The end of the last run that came to one.
    pub finished_at: Option<i64>,
    /// JSON: what that run did.
    pub report: String,
}

impl Store {
    /// Takes a duty for so long, unless another process has it. Its holder takes it again to keep it.
    pub async fn take_duty(&self, name: &str, lease_ms: i64) -> Result<bool> {
        let taken = sqlx::query(
            "insert into duties (name, lease_owner, lease_until) values ($1, $2, $3) on conflict (name) do update \
             set lease_owner = excluded.lease_owner, lease_until = excluded.lease_until \
             where duties.lease_owner is null or duties.lease_owner = excluded.lease_owner or duties.lease_until < $4",
        )
        .bind(name)
        .bind(self.owner())
        .bind(now().saturating_add(lease_ms))
        .bind(now())
        .execute(self.pool())
        .await?;
        Ok(taken.rows_affected() > 0)
    }

    /// Gives a duty back: done, with a report, or (`None`) to be done by whoever comes next.
    pub async fn give_back_duty(&self, name: &str, report: Option<&str>) -> Result<()> {
        sqlx::query(
            "update duties set lease_owner = null, lease_until = null, finished_at = coalesce($3, finished_at), \
             report = coalesce($4, report) where name = $1 and lease_owner = $2",
        )
        .bind(name)
        .bind(self.owner())
        .bind(report.map(|_| now()))
        .bind(report)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// How a duty stands, if anybody ever took it.
    pub async fn find_duty(&self, name: &str) -> Result<Option<Duty>> {
        let duty = sqlx::query_as("select finished_at, report from duties where name = $1")
            .bind(name)
            .fetch_optional(self.pool())
            .await?;
        Ok(duty)
    }
}
