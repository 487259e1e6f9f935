//! Lists of what is done, as they were at a moment: builds and rollouts that had begun by then, in the state they had. Cascades are in
//! `past_lists/cascades.rs`.
//!
//! What had begun is what the ledger had a row of: its rows are in the order in which things happened, whatever the clock said. How far
//! it was, its own times tell (`model/then.rs`). What was deleted since has left its rows in tables of its own (`ended_…`).

mod cascades;

pub use cascades::CascadeSteps;

use super::builds::select_build;
use super::rollouts::select_rollout;
use super::{AppThen, Result, Store};
use crate::model::{Build, BuildConfigSpec, BuildPhase, Moment, ResolvedInput, RolloutRow};

/// A build config that was there at a moment, and its newest build then.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ConfigThen {
    pub id: String,
    pub name: String,
    /// JSON of what it said; `None` when it said something else then, and that was not kept.
    pub spec: Option<String>,
    pub created_at: i64,
    pub created_by: String,
    pub number: Option<i64>,
    /// The phase that the build has now.
    pub phase: Option<String>,
    /// JSON array of what the build took in, as it is known now.
    pub inputs: Option<String>,
    pub trigger_text: Option<String>,
    pub actor_kind: Option<String>,
    pub actor: Option<String>,
    pub queued_at: Option<i64>,
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
    /// Number of the config's newest build now, 0 before the first.
    pub last_number: i64,
    /// Since then it was deleted.
    pub deleted_at: Option<i64>,
    pub deleted_by: Option<String>,
}

impl ConfigThen {
    /// The phase that its newest build had then.
    pub fn phase_then(&self, moment: &Moment) -> Option<BuildPhase> {
        let now: BuildPhase = self.phase.as_deref()?.parse().ok()?;
        Some(now.then(moment, self.started_at, self.finished_at))
    }

    /// What it said, where that is known.
    pub fn spec(&self) -> serde_json::Result<Option<BuildConfigSpec>> {
        self.spec.as_deref().map(serde_json::from_str).transpose()
    }

    /// What its newest build then had taken in; nothing where it had not begun.
    pub fn inputs_then(&self, moment: &Moment) -> serde_json::Result<Vec<ResolvedInput>> {
        let begun = self.phase_then(moment) != Some(BuildPhase::New);
        self.inputs.as_deref().filter(|_| begun).map_or(Ok(Vec::new()), serde_json::from_str)
    }
}

/// [`select_build`] of builds that were deleted. Their logs are gone.
macro_rules! select_ended_build {
    ($rest:literal) => {
        concat!(
            "select b.id, b.config_id, b.config, b.project_id, p.name as project, b.number, b.phase, b.reason, b.message, b.spec, \
             b.inputs, b.revision, b.commit_requested, b.trigger_kind, b.trigger_text, b.actor_kind, b.actor, b.sequence, b.cause, \
             b.cascade_id, k.number as cascade_number, b.rebuild_of, b.attempt, b.steps, b.output_digest, b.output_sequence, b.queued_at, \
             b.started_at, b.finished_at, b.cancel_requested_at, b.cancel_requested_by, cast(0 as bigint) as log_lines, b.version \
             from ended_builds b join projects p on p.id = b.project_id \
             left join cascades k on k.id = b.cascade_id and k.project_id = b.project_id ",
            $rest
        )
    };
}
pub(super) use select_ended_build;

/// [`select_rollout`] of apps that were deleted.
macro_rules! select_ended_rollout {
    ($rest:literal) => {
        concat!(
            "select r.id, r.app_id, a.name as app, p.name as project, r.number, r.digest, r.repository, r.kind, r.spec, r.to_number, \
             r.actor_kind, r.actor, r.reason, r.sequence, r.cause, r.cascade_id, k.number as cascade_number, r.phase, r.message, \
             r.created_at, r.started_at, r.finished_at \
             from ended_rollouts r join ended_apps a on a.id = r.app_id join projects p on p.id = a.project_id \
             left join cascades k on k.id = r.cascade_id and k.project_id = a.project_id ",
            $rest
        )
    };
}
pub(super) use select_ended_rollout;

/// Build $3 of config $2 in project $1 that had been requested before row $4 of the ledger and was deleted after moment $5. A name may have
/// been given again: the last one counts.
const ENDED_BUILD: &str = select_ended_build!(
    "where p.name = $1 and b.config = $2 and b.number = $3 and b.sequence < $4 and b.deleted_at >= $5 order by b.sequence desc limit 1"
);

/// Builds of project $1 that had been requested before row $3 of the ledger, after row $2, and were there at moment $5.
const BUILDS: &str = concat!(
    "select z.* from (select * from (",
    select_build!("where p.name = $1 and b.sequence > $2 and b.sequence < $3 order by b.sequence limit $4"),
    ") l union all select * from (",
    select_ended_build!(
        "where p.name = $1 and b.sequence > $2 and b.sequence < $3 and b.deleted_at >= $5 order by b.sequence limit $4"
    ),
    ") d) z order by z.sequence limit $4"
);

/// Builds of config $1 that had been requested before row $3 of the ledger, with a number below $2, and were there at moment $5.
const CONFIG_BUILDS: &str = concat!(
    "select z.* from (select * from (",
    select_build!("where b.config_id = $1 and b.number < $2 and b.sequence < $3 order by b.number desc limit $4"),
    ") l union all select * from (",
    select_ended_build!(
        "where b.config_id = $1 and b.number < $2 and b.sequence < $3 and b.deleted_at >= $5 order by b.number desc limit $4"
    ),
    ") d) z order by z.number desc limit $4"
);

/// The last row of the ledger that there was at moment $1.
const LAST_ROW: &str =
    "select sequence from ledger where sorted_at < $1 order by sorted_at desc, sequence desc limit 1";

/// The newest rollout of an app that the ledger had before row $2.
macro_rules! last_rollout {
    ($rollouts:literal) => {
        concat!("select number from ", $rollouts, " where app_id = $1 and sequence < $2 order by sequence desc limit 1")
    };
}

/// Configs of project $1 that were there at moment $2, of one kind of table, those of `$named`, with the newest build before row $3 of the
/// ledger.
macro_rules! some_configs_then {
    ($configs:literal, $since:literal, $deleted:literal, $there:literal, $named:literal) => {
        concat!(
            "select c.id, c.name, case when ", $since, " < $2 then c.spec else (select f.spec from former_configs f where f.config_id = c.id \
               and f.until >= $2 and f.since < $2 order by f.until limit 1) end as spec, c.created_at, c.created_by, c.last_number, ",
            $deleted,
            ", (select m.id from (select * from (select x.id, x.sequence from builds x where x.config_id = c.id and x.sequence < $3 \
                   order by x.sequence desc limit 1) u \
                 union all select * from (select y.id, y.sequence from ended_builds y where y.config_id = c.id and y.sequence < $3 \
                   and y.deleted_at >= $2 order by y.sequence desc limit 1) v) m order by m.sequence desc limit 1) as newest \
             from ",
            $configs,
            " c where c.project_id = $1 and c.created_at < $2 and ",
            $there,
            $named,
            " order by c.name limit $5"
        )
    };
}

macro_rules! configs_then {
    ($named:literal) => {
        concat!(
            "select z.id, z.name, z.spec, z.created_at, z.created_by, coalesce(b.number, e.number) as number, coalesce(b.phase, e.phase) as phase, \
             coalesce(b.inputs, e.inputs) as inputs, coalesce(b.trigger_text, e.trigger_text) as trigger_text, \
             coalesce(b.actor_kind, e.actor_kind) as actor_kind, coalesce(b.actor, e.actor) as actor, coalesce(b.queued_at, e.queued_at) as queued_at, \
             coalesce(b.started_at, e.started_at) as started_at, coalesce(b.finished_at, e.finished_at) as finished_at, z.last_number, \
             z.deleted_at, z.deleted_by from (select * from (",
            some_configs_then!(
                "build_configs",
                // Or when an older server beside this one changed it.
                "coalesce((select max(l.at) from ledger l join projects p on p.name = l.project where l.action = 'config.update' \
                   and p.id = c.project_id and l.object = c.name and l.sequence > c.spec_sequence), c.spec_since)",
                "cast(null as bigint) as deleted_at, cast(null as text) as deleted_by",
                "",
                $named
            ),
            ") l union all select * from (",
            some_configs_then!("ended_configs", "c.spec_since", "c.deleted_at, c.deleted_by", "c.deleted_at >= $2 and ", $named),
            ") d) z left join builds b on b.id = z.newest left join ended_builds e on e.id = z.newest order by z.name limit $5"
        )
    };
}

impl Store {
    /// The sequence of the first row that the ledger did not have yet at a moment: what lists of the past end before.
    pub async fn ledger_end_then(&self, moment: &Moment) -> Result<i64> {
        let last: Option<(i64,)> = sqlx::query_as(LAST_ROW).bind(moment.end).fetch_optional(self.pool()).await?;
        Ok(last.map_or(1, |(sequence,)| sequence + 1))
    }

    /// Builds of a project that had been requested by a moment, as they were then, oldest first, with a sequence above `after`; those
    /// deleted since, too.
    pub async fn list_builds_then(&self, project: &str, moment: &Moment, after: i64, limit: i64) -> Result<Vec<Build>> {
        self.builds_then(BUILDS, project, after, moment, limit).await
    }

    /// Builds of a config that had been requested by a moment, as they were then, newest first, with a number below `before`.
    pub async fn list_config_builds_then(
        &self,
        config_id: &str,
        moment: &Moment,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Build>> {
        self.builds_then(CONFIG_BUILDS, config_id, before.unwrap_or(i64::MAX), moment, limit).await
    }

    async fn builds_then(
        &self,
        text: &'static str,
        of: &str,
        beyond: i64,
        moment: &Moment,
        limit: i64,
    ) -> Result<Vec<Build>> {
        let end = self.ledger_end_then(moment).await?;
        let builds: Vec<Build> = sqlx::query_as(text)
            .bind(of)
            .bind(beyond)
            .bind(end)
            .bind(limit)
            .bind(moment.end)
            .fetch_all(self.pool())
            .await?;
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
        let build = self.find_build(project, config, number).await?.filter(|build| build.sequence < end);
        let build = match build {
            Some(build) => Some(build),
            None => {
                sqlx::query_as(ENDED_BUILD)
                    .bind(project)
                    .bind(config)
                    .bind(number)
                    .bind(end)
                    .bind(moment.end)
                    .fetch_optional(self.pool())
                    .await?
            }
        };
        Ok(build.map(|build: Build| build.then(moment)))
    }

    /// The build with that id, which had been requested by a moment, as it was then; `None` when it had been deleted.
    pub async fn find_build_by_id_then(&self, id: &str, moment: &Moment) -> Result<Option<Build>> {
        let build = match self.find_build_by_id(id).await? {
            Some(build) => Some(build),
            None => {
                sqlx::query_as(select_ended_build!("where b.id = $1 and b.deleted_at >= $2"))
                    .bind(id)
                    .bind(moment.end)
                    .fetch_optional(self.pool())
                    .await?
            }
        };
        Ok(build.map(|build: Build| build.then(moment)))
    }

    /// A page of the build configs that a project had at a moment, by name beyond `after`; those deleted since, too.
    pub async fn list_configs_then(
        &self,
        project_id: &str,
        moment: &Moment,
        after: &str,
        limit: i64,
    ) -> Result<Vec<ConfigThen>> {
        self.configs_then(configs_then!("c.name > $4"), project_id, moment, after, limit).await
    }

    /// The build config of that name as it was at a moment; `None` when it was not there.
    pub async fn find_config_then(&self, project_id: &str, name: &str, moment: &Moment) -> Result<Option<ConfigThen>> {
        let configs = self.configs_then(configs_then!("c.name = $4"), project_id, moment, name, 1).await?;
        Ok(configs.into_iter().next())
    }

    async fn configs_then(
        &self,
        text: &'static str,
        project_id: &str,
        moment: &Moment,
        name: &str,
        limit: i64,
    ) -> Result<Vec<ConfigThen>> {
        let end = self.ledger_end_then(moment).await?;
        let configs = sqlx::query_as(text)
            .bind(project_id)
            .bind(moment.end)
            .bind(end)
            .bind(name)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(configs)
    }

    /// Rollouts of an app that had been requested by a moment, as they were then, newest first, with a number below `before`.
    pub async fn list_rollouts_then(
        &self,
        app: &AppThen,
        moment: &Moment,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<RolloutRow>> {
        let end = self.ledger_end_then(moment).await?;
        let (last, page) = match app.deleted_at {
            None => (
                last_rollout!("rollouts"),
                select_rollout!("where r.app_id = $1 and r.number < $2 order by r.number desc limit $3"),
            ),
            Some(_) => (
                last_rollout!("ended_rollouts"),
                select_ended_rollout!("where r.app_id = $1 and r.number < $2 order by r.number desc limit $3"),
            ),
        };
        let newest: Option<(i64,)> = sqlx::query_as(last).bind(&app.id).bind(end).fetch_optional(self.pool()).await?;
        let Some((newest,)) = newest else { return Ok(Vec::new()) };
        let rollouts: Vec<RolloutRow> = sqlx::query_as(page)
            .bind(&app.id)
            .bind(before.map_or(newest + 1, |before| before.min(newest + 1)))
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(rollouts.into_iter().map(|rollout| rollout.then(moment)).collect())
    }
}

#[cfg(test)]
mod tests;
