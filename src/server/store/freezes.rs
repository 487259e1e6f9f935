//! Freezes of projects: made, ended, and what goes on in them. Whether one is in force follows from its times at every look, so nothing
//! has to happen for one to begin or to end.

use std::collections::BTreeMap;

use super::{Entry, Error, Result, Store, WriteTx, new_id};
use crate::model::{Actor, Freeze, FreezeState, Moment, frozen_until, now, own_reason, rfc3339};
use crate::server::wake::Controller;

/// The most characters of a freeze's reason.
const LONGEST_REASON: usize = 300;

macro_rules! select_freeze {
    ($rest:literal) => {
        concat!(
            "select f.id, f.number, f.begins_at, f.ends_at, f.reason, f.actor, f.created_at, f.sequence, f.ended_at, f.ended_by \
             from freezes f join projects p on p.id = f.project_id ",
            $rest
        )
    };
}

/// Of the freezes in force in project `$1` at time `$2` the one that ends last.
macro_rules! select_in_force {
    () => {
        select_freeze!(
            "where f.project_id = $1 and f.ended_at is null and f.begins_at <= $2 and (f.ends_at is null or f.ends_at > $2) \
             order by case when f.ends_at is null then 0 else 1 end, f.ends_at desc, f.number desc limit 1"
        )
    };
}

/// SQL that tells whether the project with this id is frozen at the time `$at`.
macro_rules! is_frozen {
    ($project:literal, $at:literal) => {
        concat!(
            "exists (select 1 from freezes f where f.project_id = ",
            $project,
            " and f.ended_at is null and f.begins_at <= ",
            $at,
            " and (f.ends_at is null or f.ends_at > ",
            $at,
            "))"
        )
    };
}
pub(super) use is_frozen;

/// SQL that tells whether the cascade `k` is what somebody decided in the project with this id; [`is_decided`](crate::model::is_decided)
/// in the database's words.
macro_rules! is_decided_in {
    ($project:literal) => {
        concat!(
            "(k.project_id = ",
            $project,
            " and (k.kind in ('rollback', 'restore') or (k.kind = 'api' and k.actor_kind in ('person', 'robot'))))"
        )
    };
}
pub(super) use is_decided_in;

/// SQL that tells whether what the tag `t` points to may go on to a config or an app: its project is not frozen, or somebody decided this
/// there, or asked for it since.
macro_rules! may_go_on {
    ($project:literal, $asked:literal, $at:literal) => {
        concat!(
            "(not ", $crate::server::store::freezes::is_frozen!($project, $at), " or ", $asked, " > t.event_sequence or exists (\
             select 1 from tag_events e join cascades k on k.id = e.cascade_id where e.sequence = t.event_sequence and ",
            $crate::server::store::freezes::is_decided_in!($project), "))"
        )
    };
}
pub(super) use may_go_on;

/// A freeze to be.
#[derive(Debug, Clone, Copy)]
pub struct NewFreeze<'a> {
    /// `None`: now.
    pub begins_at: Option<i64>,
    /// `None`: when somebody ends it.
    pub ends_at: Option<i64>,
    pub reason: &'a str,
}

impl NewFreeze<'_> {
    fn check(&self, at: i64) -> Result<()> {
        if self.reason.trim().is_empty() {
            return Err(Error::invalid("reason", "say why: everybody in the project will ask"));
        }
        if self.reason.chars().count() > LONGEST_REASON {
            return Err(Error::invalid("reason", format!("may have at most {LONGEST_REASON} characters")));
        }
        match self.ends_at {
            Some(end) if end <= at => Err(Error::invalid("until", "that time is over")),
            Some(end) if end <= self.begins_at.unwrap_or(at) => {
                Err(Error::invalid("until", "a freeze ends after it has begun"))
            }
            _ => Ok(()),
        }
    }
}

impl Store {
    /// Keeps automation from building and rolling out in a project, from now or later on. Freezes may overlap.
    pub async fn freeze_project(&self, project: &str, freeze: &NewFreeze<'_>, actor: &Actor) -> Result<Freeze> {
        let at = now();
        freeze.check(at)?;
        let begins_at = freeze.begins_at.map_or(at, |begin| begin.max(at));
        let mut tx = self.write_tx().await?;
        let owner = tx.project(project).await?;
        let (number,): (i64,) =
            sqlx::query_as("select coalesce(max(number), 0) + 1 from freezes where project_id = $1")
                .bind(&owner.id)
                .fetch_one(&mut *tx)
                .await?;
        let until = freeze.ends_at.map_or_else(|| "open".to_owned(), rfc3339);
        let entry = Entry {
            action: "freeze.create",
            project: Some(project),
            object: &title(number),
            from: Some(&rfc3339(begins_at)),
            to: Some(&until),
            reason: Some(freeze.reason),
            ..Entry::default()
        };
        let sequence = tx.record(actor, entry).await?;
        sqlx::query(
            "insert into freezes (id, project_id, number, begins_at, ends_at, reason, actor, created_at, sequence, begun_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        )
        .bind(new_id())
        .bind(&owner.id)
        .bind(number)
        .bind(begins_at)
        .bind(freeze.ends_at)
        .bind(freeze.reason)
        .bind(&actor.name)
        .bind(at)
        .bind(sequence)
        .bind((begins_at == at).then_some(at))
        .execute(&mut *tx)
        .await?;
        let made = tx.freeze(project, number).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Ends a freeze before its time, or one that has not begun yet. What waited goes at once, unless another one is in force.
    pub async fn end_freeze(&self, project: &str, number: i64, actor: &Actor) -> Result<Freeze> {
        let mut tx = self.write_tx().await?;
        let freeze = tx.freeze(project, number).await?;
        if freeze.state(now()) == FreezeState::Over {
            return Err(Error::Conflict(format!("{} is over already", title(number))));
        }
        tx.note_end(project, &freeze, actor).await?;
        let ended = tx.freeze(project, number).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Freezes of a project, newest first, with a number below `before`.
    pub async fn list_freezes(&self, project: &str, before: Option<i64>, limit: i64) -> Result<Vec<Freeze>> {
        let freezes =
            sqlx::query_as(select_freeze!("where p.name = $1 and f.number < $2 order by f.number desc limit $3"))
                .bind(project)
                .bind(before.unwrap_or(i64::MAX))
                .bind(limit)
                .fetch_all(self.pool())
                .await?;
        Ok(freezes)
    }

    /// Freezes that a project had at a moment, as they were then, newest first, with a number below `before`.
    pub async fn list_freezes_then(
        &self,
        project: &str,
        moment: &Moment,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Freeze>> {
        let end = self.ledger_end_then(moment).await?;
        let freezes: Vec<Freeze> = sqlx::query_as(select_freeze!(
            "where p.name = $1 and f.number < $2 and f.sequence < $4 order by f.number desc limit $3"
        ))
        .bind(project)
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .bind(end)
        .fetch_all(self.pool())
        .await?;
        Ok(freezes.into_iter().map(|freeze| freeze.then(moment)).collect())
    }

    /// The freeze of that number, or an error that says it is not there.
    pub async fn load_freeze(&self, project: &str, number: i64) -> Result<Freeze> {
        sqlx::query_as(select_freeze!("where p.name = $1 and f.number = $2"))
            .bind(project)
            .bind(number)
            .fetch_optional(self.pool())
            .await?
            .ok_or_else(|| Error::not_found("freezes", number.to_string()))
    }

    /// What freezes the project now; of several the one that ends last.
    pub async fn freeze_in_force(&self, project_id: &str) -> Result<Option<Freeze>> {
        let freeze =
            sqlx::query_as(select_in_force!()).bind(project_id).bind(now()).fetch_optional(self.pool()).await?;
        Ok(freeze)
    }

    /// Names of all projects that are frozen now, with the words that say until when.
    pub async fn frozen_projects(&self) -> Result<BTreeMap<String, String>> {
        let frozen: Vec<(String, Option<i64>)> = sqlx::query_as(
            "select p.name, f.ends_at from freezes f join projects p on p.id = f.project_id \
             where f.ended_at is null and f.begins_at <= $1 and (f.ends_at is null or f.ends_at > $1) \
             order by case when f.ends_at is null then 1 else 0 end, f.ends_at",
        )
        .bind(now())
        .fetch_all(self.pool())
        .await?;
        // Of a project that is frozen more than once the last row counts, which ends last.
        Ok(frozen.into_iter().map(|(project, ends_at)| (project, frozen_until(ends_at))).collect())
    }

    /// Tells the ledger, open pages and controllers of freezes that began or whose time was over since it was asked last. Gives the time of
    /// the next one.
    pub async fn note_freezes(&self) -> Result<Option<i64>> {
        let open = "from freezes f join projects p on p.id = f.project_id where f.ended_at is null";
        let due = format!(
            "select p.name, f.number {open} and (f.ends_at <= $1 or (f.begun_at is null and f.begins_at <= $1)) order by f.id"
        );
        let due: Vec<(String, i64)> =
            sqlx::query_as(sqlx::AssertSqlSafe(due)).bind(now()).fetch_all(self.pool()).await?;
        for (project, number) in due {
            self.note_freeze(&project, number).await?;
        }
        let next = format!(
            "select min(case when f.begun_at is null then f.begins_at else f.ends_at end) {open} \
             and (f.begun_at is null or f.ends_at is not null)"
        );
        let (next,): (Option<i64>,) = sqlx::query_as(sqlx::AssertSqlSafe(next)).fetch_one(self.pool()).await?;
        Ok(next)
    }

    async fn note_freeze(&self, project: &str, number: i64) -> Result<()> {
        let mut tx = self.write_tx().await?;
        // Somebody may have ended it meanwhile, or another server told of it.
        let freeze = tx.freeze(project, number).await?;
        if freeze.ended_at.is_some() {
            return Ok(());
        }
        let actor = Actor::system("freeze");
        if freeze.ends_at.is_some_and(|end| end <= now()) {
            tx.note_end(project, &freeze, &actor).await?;
            return tx.commit().await;
        }
        let noted = sqlx::query("update freezes set begun_at = $2 where id = $1 and begun_at is null")
            .bind(&freeze.id)
            .bind(now())
            .execute(&mut *tx)
            .await?;
        if noted.rows_affected() == 1 {
            let object = title(number);
            let (action, cause) = ("freeze.begin", Some(freeze.sequence));
            let entry = Entry { action, project: Some(project), object: &object, cause, ..Entry::default() };
            tx.record(&actor, entry).await?;
        }
        tx.commit().await
    }
}

impl WriteTx {
    async fn freeze(&mut self, project: &str, number: i64) -> Result<Freeze> {
        sqlx::query_as(select_freeze!("where p.name = $1 and f.number = $2"))
            .bind(project)
            .bind(number)
            .fetch_optional(&mut **self)
            .await?
            .ok_or_else(|| Error::not_found("freezes", number.to_string()))
    }

    async fn note_end(&mut self, project: &str, freeze: &Freeze, actor: &Actor) -> Result<()> {
        sqlx::query("update freezes set ended_at = $2, ended_by = $3 where id = $1")
            .bind(&freeze.id)
            .bind(now())
            .bind(&actor.name)
            .execute(&mut **self)
            .await?;
        let object = title(freeze.number);
        let (action, cause) = ("freeze.end", Some(freeze.sequence));
        let entry = Entry { action, project: Some(project), object: &object, cause, ..Entry::default() };
        self.record(actor, entry).await?;
        self.wake(Controller::Triggers);
        Ok(())
    }

    /// Whether automation starts nothing in the project now.
    pub(super) async fn is_frozen(&mut self, project_id: &str) -> Result<bool> {
        let frozen: Option<(i64,)> = sqlx::query_as(concat!("select 1 where ", is_frozen!("$1", "$2")))
            .bind(project_id)
            .bind(now())
            .fetch_optional(&mut **self)
            .await?;
        Ok(frozen.is_some())
    }

    /// The reason that a person's deed is written down with: in a freeze it says that it was an emergency.
    pub(super) async fn reason_in_freeze(&mut self, project_id: &str, reason: Option<&str>) -> Result<Option<String>> {
        let freeze: Option<Freeze> =
            sqlx::query_as(select_in_force!()).bind(project_id).bind(now()).fetch_optional(&mut **self).await?;
        Ok(match freeze {
            Some(freeze) => Some(freeze.emergency(reason)),
            None => reason.map(str::to_owned),
        })
    }
}

/// The reasons that people gave, each once, in the order they come in.
pub(super) fn own_reasons(reasons: impl Iterator<Item = String>) -> Vec<String> {
    let mut own: Vec<String> = Vec::new();
    for reason in reasons {
        if let Some(reason) = own_reason(&reason).filter(|reason| !own.iter().any(|known| known == reason)) {
            own.push(reason.to_owned());
        }
    }
    own
}

fn title(number: i64) -> String {
    format!("freeze {number}")
}

#[cfg(test)]
mod tests;
