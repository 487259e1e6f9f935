//! Cascades as they were at a moment: those that had begun, with what had happened in them by then.

use super::{select_ended_build, select_ended_rollout};
use crate::model::{Build, Moment, RolloutRow, TagEvent};
use crate::server::store::cascades::CascadeSummary;
use crate::server::store::{Error, Result, Store};

/// The steps of one kind of a cascade, those deleted since too: how many had begun, had ended and had ended badly.
macro_rules! steps_then {
    ($name:literal, $steps:literal, $ended:literal, $there:literal, $failed:literal) => {
        concat!(
            "(select count(*) from ",
            $steps,
            " x where x.cascade_id = k.id and x.sequence < $5) + (select count(*) from ",
            $ended,
            " x where x.cascade_id = k.id and x.sequence < $5",
            $there,
            ") as ",
            $name,
            ", (select count(*) from ",
            $steps,
            " x where x.cascade_id = k.id and x.sequence < $5 and x.finished_at < $4) + (select count(*) from ",
            $ended,
            " x where x.cascade_id = k.id and x.sequence < $5 and x.finished_at < $4",
            $there,
            ") as ended_",
            $name,
            ", (select count(*) from ",
            $steps,
            " x where x.cascade_id = k.id and x.sequence < $5 and x.finished_at < $4 and x.phase in ",
            $failed,
            ") + (select count(*) from ",
            $ended,
            " x where x.cascade_id = k.id and x.sequence < $5 and x.finished_at < $4 and x.phase in ",
            $failed,
            $there,
            ") as failed_",
            $name
        )
    };
}

/// Cascades of project $1 with numbers below $2 that had begun before row $5 of the ledger, as they were at moment $4. Whether one that goes on
/// was paused is not kept.
const CASCADES: &str = concat!(
    "select c.id, c.number, c.title, c.root_sequence, c.kind, c.actor_kind, c.actor, c.created_at, cast(null as bigint) as paused_at, \
     c.cancelled_at, c.undone_at, c.undone_by, c.moves, c.builds, c.ended_builds + c.ended_rollouts as ended, \
     c.failed_builds + c.failed_rollouts as failed, c.rollouts from (select k.id, k.number, k.title, k.root_sequence, k.kind, k.actor_kind, \
     k.actor, k.created_at, case when k.cancelled_at < $4 then k.cancelled_at end as cancelled_at, \
     case when k.undone_at < $4 then k.undone_at end as undone_at, case when k.undone_at < $4 then k.undone_by end as undone_by, \
     (select count(*) from tag_events e where e.cascade_id = k.id and e.outcome = 'moved' and e.sequence < $5) \
     + (select count(*) from ended_tag_events e where e.cascade_id = k.id and e.outcome = 'moved' and e.sequence < $5) as moves, ",
    steps_then!("builds", "builds", "ended_builds", " and x.deleted_at >= $4", "('Failed', 'Error')"),
    ", ",
    // Those of an app that is deleted and that its engine has not forgotten yet are in both tables.
    steps_then!(
        "rollouts",
        "rollouts",
        "ended_rollouts",
        " and not exists (select 1 from rollouts o where o.id = x.id)",
        "('Failed')"
    ),
    " from cascades k join projects p on p.id = k.project_id where p.name = $1 and k.number < $2 order by k.number desc limit $3) c \
     order by c.number desc"
);

/// The newest cascade of project $1 that had begun before row $2 of the ledger.
const LAST_CASCADE: &str = "select k.number from cascades k join projects p on p.id = k.project_id where p.name = $1 and k.root_sequence < $2 \
     order by k.root_sequence desc limit 1";

/// What had happened in a cascade by a moment, in all projects, oldest first: at most 1000 of each, and as many of what was deleted since.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CascadeSteps {
    pub events: Vec<TagEvent>,
    pub builds: Vec<Build>,
    pub rollouts: Vec<RolloutRow>,
}

impl Store {
    /// Cascades of a project that had begun by a moment, as they were then, newest first, with a number below `before`.
    pub async fn list_cascades_then(
        &self,
        project: &str,
        moment: &Moment,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<CascadeSummary>> {
        let end = self.ledger_end_then(moment).await?;
        let newest: Option<(i64,)> =
            sqlx::query_as(LAST_CASCADE).bind(project).bind(end).fetch_optional(self.pool()).await?;
        let Some((newest,)) = newest else { return Ok(Vec::new()) };
        let cascades = sqlx::query_as(CASCADES)
            .bind(project)
            .bind(before.map_or(newest + 1, |before| before.min(newest + 1)))
            .bind(limit)
            .bind(moment.end)
            .bind(end)
            .fetch_all(self.pool())
            .await?;
        Ok(cascades)
    }

    /// The cascade of that number as it was at a moment, or an error that says it had not begun.
    pub async fn cascade_then(&self, project: &str, number: i64, moment: &Moment) -> Result<CascadeSummary> {
        let newest = self.list_cascades_then(project, moment, Some(number.saturating_add(1)), 1).await?;
        let found = newest.into_iter().find(|cascade| cascade.number == number);
        found.ok_or_else(|| Error::not_found("cascades", format!("{number} at {}", moment.words)))
    }

    /// What had happened in a cascade by a moment, what was deleted since included.
    pub async fn cascade_steps_then(&self, cascade_id: &str, moment: &Moment) -> Result<CascadeSteps> {
        let end = self.ledger_end_then(moment).await?;
        let mut steps = CascadeSteps {
            events: self.list_cascade_events(cascade_id).await?,
            builds: self.list_cascade_builds(cascade_id).await?,
            rollouts: self.list_cascade_rollouts(cascade_id).await?,
        };
        let builds: Vec<Build> = sqlx::query_as(select_ended_build!(
            "where b.cascade_id = $1 and b.deleted_at >= $2 order by b.sequence limit 1000"
        ))
        .bind(cascade_id)
        .bind(moment.end)
        .fetch_all(self.pool())
        .await?;
        let rollouts: Vec<RolloutRow> =
            sqlx::query_as(select_ended_rollout!("where r.cascade_id = $1 order by r.sequence limit 1000"))
                .bind(cascade_id)
                .fetch_all(self.pool())
                .await?;
        // An app that is deleted and that its engine has not forgotten yet has its rollouts in both tables.
        let known: Vec<String> = steps.rollouts.iter().map(|rollout| rollout.id.clone()).collect();
        steps.rollouts.extend(rollouts.into_iter().filter(|rollout| !known.contains(&rollout.id)));
        steps.builds.extend(builds);
        steps.events.extend(self.list_ended_cascade_events(cascade_id, moment).await?);
        steps.events.retain(|event| event.sequence < end);
        steps.builds.retain(|build| build.sequence < end);
        steps.rollouts.retain(|rollout| rollout.sequence < end);
        steps.events.sort_by_key(|event| event.sequence);
        steps.builds.sort_by_key(|build| build.sequence);
        steps.rollouts.sort_by_key(|rollout| rollout.sequence);
        steps.events = steps.events.into_iter().map(|event| event.then(moment)).collect();
        steps.builds = steps.builds.into_iter().map(|build| build.then(moment)).collect();
        steps.rollouts = steps.rollouts.into_iter().map(|rollout| rollout.then(moment)).collect();
        Ok(steps)
    }
}
