//! Who works on which import rule: rules are claimed by leases, and projects take turns.

use super::import_rules::select_rule;
use super::{Result, Store};
use crate::model::{ImportRule, now};

/// Rules that may be worked on: not paused, and nobody's.
const FREE: &str = "r.paused_at is null and (r.lease_until is null or r.lease_until < $1)";
/// Rules with something to do now.
const DUE: &str = "(r.unapplied = 1 or (r.not_before <= $1 and (r.next_at <= $1 or r.requested_at is not null)))";

impl Store {
    /// Takes up to `most` rules that have something to do. Whose project has the fewest under way comes first, so that many rules of one do
    /// not keep the one rule of another waiting.
    pub async fn claim_import_rules(&self, lease_ms: i64, most: usize) -> Result<Vec<ImportRule>> {
        let any = format!("select cast(1 as bigint) from import_rules r where {FREE} and {DUE} limit 1");
        let any: Option<(i64,)> =
            sqlx::query_as(sqlx::AssertSqlSafe(any)).bind(now()).fetch_optional(self.pool()).await?;
        if any.is_none() || most == 0 {
            return Ok(Vec::new());
        }
        let mut tx = self.write_tx().await?;
        let due = format!(
            "with busy as (select s.project_id, count(*) as n from import_rules x join streams s on s.id = x.stream_id \
               where x.lease_until >= $1 group by s.project_id) \
             select d.id from (select r.id, r.next_at, case when r.requested_at is null then 1 else 0 end as rank, \
               coalesce(b.n, 0) + row_number() over (partition by s.project_id \
                 order by case when r.requested_at is null then 1 else 0 end, r.next_at, r.id) as turn \
               from import_rules r join streams s on s.id = r.stream_id left join busy b on b.project_id = s.project_id \
               where {FREE} and {DUE}) d order by d.turn, d.rank, d.next_at, d.id limit $2"
        );
        let due: Vec<(String,)> = sqlx::query_as(sqlx::AssertSqlSafe(due))
            .bind(now())
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(&mut *tx)
            .await?;
        let mut rules = Vec::with_capacity(due.len());
        for (id,) in due {
            sqlx::query("update import_rules set lease_owner = $2, lease_until = $3 where id = $1")
                .bind(&id)
                .bind(self.owner())
                .bind(now().saturating_add(lease_ms))
                .execute(&mut *tx)
                .await?;
            rules.push(sqlx::query_as(select_rule!("where r.id = $1")).bind(&id).fetch_one(&mut *tx).await?);
        }
        tx.commit_soon().await?;
        Ok(rules)
    }

    /// When the next rule has something to do, in milliseconds since the epoch.
    pub async fn next_import_rule_at(&self) -> Result<Option<i64>> {
        let next = format!(
            "select min(case when r.unapplied = 1 then 0 when r.requested_at is not null or r.next_at < r.not_before then r.not_before \
             else r.next_at end) from import_rules r where {FREE}"
        );
        let (next,): (Option<i64>,) =
            sqlx::query_as(sqlx::AssertSqlSafe(next)).bind(now()).fetch_one(self.pool()).await?;
        Ok(next)
    }

    /// Gives a rule back that somebody has changed meanwhile.
    pub async fn release_import_rule(&self, rule: &ImportRule) -> Result<()> {
        sqlx::query(
            "update import_rules set lease_owner = null, lease_until = null where id = $1 and lease_owner = $2",
        )
        .bind(&rule.id)
        .bind(self.owner())
        .execute(self.pool())
        .await?;
        Ok(())
    }
}
