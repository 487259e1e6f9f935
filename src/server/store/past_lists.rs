//! Lists of what is done, as they were at a moment: builds and rollouts that had begun by then, in the state they had.
//!
//! What had begun is what the ledger had a row of: its rows are in the order in which things happened, whatever the clock said. How far
//! it was, its own times tell (`model/then.rs`). Builds and configs that were deleted since are not kept.

use super::builds::select_build;
use super::{Result, Store};
use crate::model::{Build, BuildPhase, Moment, RolloutRow};

/// A build config that was there at a moment, and its newest build then.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ConfigThen {
    pub id: String,
    pub name: String,
    pub created_at: i64,
    pub created_by: String,
    pub number: Option<i64>,
    /// The phase that the build has now.
    pub phase: Option<String>,
    pub trigger_text: Option<String>,
    pub actor_kind: Option<String>,
    pub actor: Option<String>,
    pub queued_at: Option<i64>,
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    /// Number of the config's newest build now, 0 before the first.
    pub last_number: i64,
}

impl ConfigThen {
    /// The phase that its newest build had then.
    pub fn phase_then(&self, moment: &Moment) -> Option<BuildPhase> {
        let now: BuildPhase = self.phase.as_deref()?.parse().ok()?;
        Some(now.then(moment, self.started_at, self.finished_at))
    }
}

/// Builds of a project that had been requested before a row of the ledger, after another.
const BUILDS: &str =
    select_build!("where p.name = $1 and b.sequence > $2 and b.sequence < $3 order by b.sequence limit $4");

/// The last row of the ledger that there was at moment $1.
const LAST_ROW: &str =
    "select sequence from ledger where sorted_at < $1 order by sorted_at desc, sequence desc limit 1";

/// The newest rollout of app $1 that the ledger had before row $2.
const LAST_ROLLOUT: &str =
    "select number from rollouts where app_id = $1 and sequence < $2 order by sequence desc limit 1";

/// Configs of project $1 that were there at moment $2, by name beyond $4, each with the newest build before row $3 of the ledger.
const CONFIGS: &str = "select c.id, c.name, c.created_at, c.created_by, b.number, b.phase, b.trigger_text, b.actor_kind, b.actor, \
     b.queued_at, b.started_at, b.finished_at, c.last_number \
     from build_configs c left join builds b on b.config_id = c.id and b.number = (select m.number from builds m \
       where m.config_id = c.id and m.sequence < $3 order by m.sequence desc limit 1) \
     where c.project_id = $1 and c.created_at < $2 and c.name > $4 order by c.name limit $5";

impl Store {
    /// The sequence of the first row that the ledger did not have yet at a moment: what lists of the past end before.
    pub async fn ledger_end_then(&self, moment: &Moment) -> Result<i64> {
        let last: Option<(i64,)> = sqlx::query_as(LAST_ROW).bind(moment.end).fetch_optional(self.pool()).await?;
        Ok(last.map_or(1, |(sequence,)| sequence + 1))
    }

    /// Builds of a project that had been requested by a moment, as they were then, oldest first, with a sequence above `after`.
    pub async fn list_builds_then(&self, project: &str, moment: &Moment, after: i64, limit: i64) -> Result<Vec<Build>> {
        let end = self.ledger_end_then(moment).await?;
        let builds: Vec<Build> =
            sqlx::query_as(BUILDS).bind(project).bind(after).bind(end).bind(limit).fetch_all(self.pool()).await?;
        Ok(builds.into_iter().map(|build| build.then(moment)).collect())
    }

    /// One build as it was at a moment; `None` when it had not been requested.
    pub async fn find_build_then(
        &self,
        project: &str,
        config: &str,
        number: i64,
        moment: &Moment,
    ) -> Result<Option<Build>> {
        let end = self.ledger_end_then(moment).await?;
        let build = self.find_build(project, config, number).await?;
        Ok(build.filter(|build| build.sequence < end).map(|build| build.then(moment)))
    }

    /// A page of the build configs that a project has and had at a moment, by name beyond `after`.
    pub async fn list_configs_then(
        &self,
        project_id: &str,
        moment: &Moment,
        after: &str,
        limit: i64,
    ) -> Result<Vec<ConfigThen>> {
        let end = self.ledger_end_then(moment).await?;
        let configs = sqlx::query_as(CONFIGS)
            .bind(project_id)
            .bind(moment.end)
            .bind(end)
            .bind(after)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(configs)
    }

    /// Rollouts of an app that had been requested by a moment, as they were then, newest first, with a number below `before`.
    pub async fn list_rollouts_then(
        &self,
        app_id: &str,
        moment: &Moment,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<RolloutRow>> {
        let end = self.ledger_end_then(moment).await?;
        let newest: Option<(i64,)> =
            sqlx::query_as(LAST_ROLLOUT).bind(app_id).bind(end).fetch_optional(self.pool()).await?;
        let Some((newest,)) = newest else { return Ok(Vec::new()) };
        let before = before.map_or(newest + 1, |before| before.min(newest + 1));
        let rollouts = self.list_rollouts(app_id, Some(before), limit).await?;
        Ok(rollouts.into_iter().map(|rollout| rollout.then(moment)).collect())
    }
}

#[cfg(test)]
mod tests;
