//! Apps as they were at a moment: those that were there, and what each was to run. What an engine was seen running is not kept.

use crate::model::Moment;
use crate::server::store::{Result, Store};

/// An app that was there at a moment, and its newest rollout then.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct AppThen {
    pub id: String,
    pub name: String,
    pub created_at: i64,
    pub number: Option<i64>,
    pub digest: Option<String>,
    pub repository: Option<String>,
    pub kind: Option<String>,
    pub actor_kind: Option<String>,
    pub actor: Option<String>,
    pub reason: Option<String>,
    pub began_at: Option<i64>,
    /// How the rollout had ended by then, if it had.
    pub ended: Option<String>,
    /// The app's newest rollout now.
    pub digest_now: Option<String>,
    pub held_by: Option<String>,
    /// Since then it was deleted.
    pub deleted_at: Option<i64>,
    pub deleted_by: Option<String>,
}

/// Apps of project $1 that were there at moment $2, of one kind of table, with the newest rollout before row $7 of the ledger.
macro_rules! some_apps_then {
    ($deleted:literal, $now:literal, $apps:literal, $rollouts:literal, $holds:literal, $there:literal, $named:literal) => {
        concat!(
            "select a.id, a.name, a.created_at, r.number, r.digest, r.repository, r.kind, r.actor_kind, r.actor, r.reason, \
             r.created_at as began_at, case when r.finished_at < $2 then r.phase else null end as ended, ",
            $now,
            " as digest_now, (select h.actor from ",
            $holds,
            " = a.id and h.since < $2 and (h.ended_at is null or h.ended_at >= $2) limit 1) as held_by, ",
            $deleted,
            " from ",
            $apps,
            " a left join ",
            $rollouts,
            " r on r.app_id = a.id and r.number = (select m.number from ",
            $rollouts,
            " m where m.app_id = a.id and m.sequence < $7 order by m.sequence desc limit 1) \
             where a.project_id = $1 and a.created_at < $2 and ",
            $there,
            " and ",
            $named,
            " and ($5 = '' or r.repository = $5) and ($6 = '' or r.digest = $6) order by a.name limit $4"
        )
    };
}

/// Apps of project $1 that were there at moment $2, those named so, by name; where given, those that were to run an image of repository $5,
/// or the image $6.
macro_rules! apps_then {
    ($named:literal) => {
        concat!(
            "select b.* from (select * from (",
            some_apps_then!(
                "cast(null as bigint) as deleted_at, cast(null as text) as deleted_by",
                "(select n.digest from rollouts n where n.app_id = a.id and n.number = a.last_number)",
                "apps",
                "rollouts",
                "holds h where h.app_id",
                "a.deleted_at is null",
                $named
            ),
            ") l union all select * from (",
            some_apps_then!(
                "a.deleted_at, a.deleted_by",
                "cast(null as text)",
                "ended_apps",
                "ended_rollouts",
                "ended_holds h where h.owner_id",
                "a.deleted_at >= $2",
                $named
            ),
            ") d) b order by b.name limit $4"
        )
    };
}

/// Those by name beyond $3.
pub(super) const APPS: &str = apps_then!("a.name > $3");

impl Store {
    /// A page of the apps that a project had at a moment, by name beyond `after`; those deleted since, too.
    pub async fn list_apps_then(
        &self,
        project_id: &str,
        moment: &Moment,
        after: &str,
        limit: i64,
    ) -> Result<Vec<AppThen>> {
        self.list_apps_running_then(project_id, moment, ("", ""), after, limit).await
    }

    /// Of those the ones that were to run an image of a repository, `<project>/<stream>`, or the image of that digest.
    pub async fn list_apps_running_then(
        &self,
        project_id: &str,
        moment: &Moment,
        (repository, digest): (&str, &str),
        after: &str,
        limit: i64,
    ) -> Result<Vec<AppThen>> {
        let end = self.ledger_end_then(moment).await?;
        let apps = sqlx::query_as(APPS)
            .bind(project_id)
            .bind(moment.end)
            .bind(after)
            .bind(limit)
            .bind(repository)
            .bind(digest)
            .bind(end)
            .fetch_all(self.pool())
            .await?;
        Ok(apps)
    }

    /// The app of that name as it was at a moment; `None` when it was not there.
    pub async fn find_app_then(&self, project_id: &str, name: &str, moment: &Moment) -> Result<Option<AppThen>> {
        let end = self.ledger_end_then(moment).await?;
        let app = sqlx::query_as(apps_then!("a.name = $3"))
            .bind(project_id)
            .bind(moment.end)
            .bind(name)
            .bind(1_i64)
            .bind("")
            .bind("")
            .bind(end)
            .fetch_optional(self.pool())
            .await?;
        Ok(app)
    }
}
