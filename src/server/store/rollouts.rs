//! Rollouts of apps: requests, which take the place of those under way, and how each ended.

use super::apps::{held, select_app};
use super::freezes::may_go_on;
use super::{Entry, Error, Result, Store, WriteTx, new_id};
use crate::model::{Actor, App, Lookup, RolloutPhase, RolloutRow, TagFacts, now, resolve};
use crate::server::wake::Controller;

macro_rules! select_rollout {
    ($rest:literal) => {
        concat!(
            "select r.id, r.app_id, a.name as app, p.name as project, r.number, r.digest, r.repository, r.kind, r.spec, r.to_number, \
             r.actor_kind, r.actor, r.reason, r.sequence, r.cause, r.cascade_id, k.number as cascade_number, r.phase, r.message, \
             r.created_at, r.started_at, r.finished_at \
             from rollouts r join apps a on a.id = r.app_id join projects p on p.id = a.project_id \
             left join cascades k on k.id = r.cascade_id and k.project_id = a.project_id ",
            $rest
        )
    };
}
pub(super) use select_rollout;

/// Why a rollout is requested, and to what.
#[derive(Debug, Clone)]
pub(super) struct RolloutRequest<'a> {
    pub kind: &'a str,
    pub digest: String,
    pub repository: String,
    /// JSON of the [`AppSpec`](crate::model::AppSpec).
    pub spec: String,
    pub to_number: Option<i64>,
    pub actor: Actor,
    pub reason: Option<&'a str>,
    pub cause: Option<i64>,
    /// `None` opens a cascade.
    pub cascade: Option<String>,
}

impl Store {
    /// Rollouts of an app, newest first, with a number below `before`.
    pub async fn list_rollouts(&self, app_id: &str, before: Option<i64>, limit: i64) -> Result<Vec<RolloutRow>> {
        let rollouts =
            sqlx::query_as(select_rollout!("where r.app_id = $1 and r.number < $2 order by r.number desc limit $3"))
                .bind(app_id)
                .bind(before.unwrap_or(i64::MAX))
                .bind(limit)
                .fetch_all(self.pool())
                .await?;
        Ok(rollouts)
    }

    /// Rollouts of a cascade, oldest first.
    pub async fn list_cascade_rollouts(&self, cascade_id: &str) -> Result<Vec<RolloutRow>> {
        let rollouts = sqlx::query_as(select_rollout!("where r.cascade_id = $1 order by r.sequence limit 1000"))
            .bind(cascade_id)
            .fetch_all(self.pool())
            .await?;
        Ok(rollouts)
    }

    /// The app's rollout of that number.
    pub async fn find_rollout(&self, app_id: &str, number: i64) -> Result<Option<RolloutRow>> {
        let rollout = sqlx::query_as(select_rollout!("where r.app_id = $1 and r.number = $2"))
            .bind(app_id)
            .bind(number)
            .fetch_optional(self.pool())
            .await?;
        Ok(rollout)
    }

    /// Requests a rollout of every automatic app whose tag has moved away from what it was last given, unless it is held, waits for the
    /// end of a freeze, or the move is of a cascade that somebody paused or cancelled. A hold that waits for an image which the app never
    /// ran ends with that.
    pub async fn request_ready_rollouts(&self) -> Result<Vec<RolloutRow>> {
        let behind = concat!(
            "where a.automatic = 1 and a.deleted_at is null and t.digest is not null and t.refers_to is null \
             and (r.digest is null or r.digest <> t.digest) and (h.id is null or (h.until_newer = 1 \
               and t.event_sequence > h.until_set \
               and not exists (select 1 from rollouts o where o.app_id = a.id and o.digest = t.digest))) and ",
            may_go_on!("a.project_id", "a.asked_sequence", "$1"),
            " and (a.asked_sequence > t.event_sequence or not exists (select 1 from tag_events e join cascades k on k.id = e.cascade_id \
               where e.sequence = t.event_sequence and (k.cancelled_at is not null or k.paused_at is not null))) order by a.id"
        );
        let query =
            || sqlx::query_as::<_, App>(sqlx::AssertSqlSafe(format!("{}{behind}", select_app!("")))).bind(now());
        if query().fetch_optional(self.pool()).await?.is_none() {
            return Ok(Vec::new());
        }
        let mut tx = self.write_tx().await?;
        let mut requested = Vec::new();
        for app in query().fetch_all(&mut *tx).await? {
            if app.held_since.is_some() {
                tx.end_hold(&held(&app), &Actor::system("hold")).await?;
            }
            requested.push(tx.roll_out_newest(&app, "image", None, &Actor::system("image change")).await?);
        }
        tx.commit().await?;
        Ok(requested)
    }

    /// Rolls an app out to what its tag points to now; a hold stays.
    pub async fn deploy_newest(&self, project: &str, name: &str, actor: &Actor) -> Result<RolloutRow> {
        let mut tx = self.write_tx().await?;
        let app = tx.app(project, name).await?;
        if app.tag_digest.is_none() {
            return Err(Error::Conflict(format!(
                "{}:{} points to no image yet: push, import or build one first",
                app.image_stream, app.image_tag
            )));
        }
        if !app.is_behind() && app.wanted_phase.as_deref() != Some("Failed") {
            return Err(Error::Conflict(format!(
                "{name} already runs what {}:{} points to",
                app.image_stream, app.image_tag
            )));
        }
        let reason = tx.reason_in_freeze(&app.project_id, None).await?;
        let rollout = tx.roll_out_newest(&app, "manual", reason.as_deref(), actor).await?;
        tx.commit().await?;
        Ok(rollout)
    }

    /// Moves a rollout on: Running once the engine accepted it, then to its end. A rollout that has ended stays as it is.
    pub async fn record_rollout(
        &self,
        rollout: &RolloutRow,
        phase: RolloutPhase,
        message: Option<&str>,
    ) -> Result<bool> {
        if rollout.phase == phase && rollout.message.as_deref() == message {
            return Ok(true);
        }
        let mut tx = self.write_tx().await?;
        let finished = matches!(phase, RolloutPhase::Complete | RolloutPhase::Failed | RolloutPhase::Cancelled);
        let moved = sqlx::query(
            "update rollouts set phase = $2, message = $3, started_at = coalesce(started_at, $4), finished_at = $5 \
             where id = $1 and phase in ('Pending', 'Running')",
        )
        .bind(&rollout.id)
        .bind(phase.as_str())
        .bind(message)
        .bind(now())
        .bind(finished.then(now))
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if moved == 0 {
            return Ok(false);
        }
        if finished {
            let object = format!("{} rollout {}", rollout.app, rollout.number);
            let entry = Entry {
                action: "rollout.finish",
                project: Some(&rollout.project),
                object: &object,
                to: Some(phase.as_str()),
                reason: message,
                cause: Some(rollout.sequence),
                cascade: Some(&rollout.cascade_id),
                ..Entry::default()
            };
            tx.record(&Actor::system("rollouts"), entry).await?;
        }
        tx.touch(&rollout.project);
        tx.commit().await?;
        Ok(true)
    }
}

impl WriteTx {
    pub(super) async fn newest_rollout(&mut self, app: &App) -> Result<Option<RolloutRow>> {
        self.rollout(&app.id, app.last_number).await
    }

    pub(super) async fn rollout(&mut self, app_id: &str, number: i64) -> Result<Option<RolloutRow>> {
        let rollout = sqlx::query_as(select_rollout!("where r.app_id = $1 and r.number = $2"))
            .bind(app_id)
            .bind(number)
            .fetch_optional(&mut **self)
            .await?;
        Ok(rollout)
    }

    async fn roll_out_newest(
        &mut self,
        app: &App,
        kind: &str,
        reason: Option<&str>,
        actor: &Actor,
    ) -> Result<RolloutRow> {
        let tag = self.tag_by_id(&app.tag_id).await?;
        let digest = resolve(&TagFacts::of(&tag), Lookup::Image, "")?.digest.ok_or_else(|| {
            Error::Conflict(format!(
                "{} only names an image elsewhere: import it, and apps run what is kept here",
                tag.title()
            ))
        })?;
        let cause: Option<(i64, String)> = sqlx::query_as(
            "select e.sequence, e.cascade_id from tags t join tag_events e on e.sequence = t.event_sequence where t.id = $1",
        )
        .bind(&app.tag_id)
        .fetch_optional(&mut **self)
        .await?;
        let request = RolloutRequest {
            kind,
            digest,
            repository: format!("{}/{}", app.image_project, app.image_stream),
            spec: app.spec.clone(),
            to_number: None,
            actor: actor.clone(),
            reason,
            cause: cause.as_ref().map(|(sequence, _)| *sequence),
            cascade: cause.map(|(_, cascade)| cascade).filter(|_| kind == "image"),
        };
        self.request_rollout(app, request).await
    }

    /// Writes a rollout and takes the place of those still under way.
    pub(super) async fn request_rollout(&mut self, app: &App, request: RolloutRequest<'_>) -> Result<RolloutRow> {
        let (number,): (i64,) =
            sqlx::query_as("update apps set last_number = last_number + 1 where id = $1 returning last_number")
                .bind(&app.id)
                .fetch_one(&mut **self)
                .await?;
        let cascade = request.cascade.clone().unwrap_or_else(new_id);
        let object = format!("{} rollout {number}", app.name);
        let entry = Entry {
            action: "rollout.request",
            project: Some(&app.project),
            object: &object,
            from: app.wanted_digest.as_deref(),
            to: Some(&request.digest),
            reason: request.reason,
            cause: request.cause,
            cascade: Some(&cascade),
        };
        let sequence = self.record(&request.actor, entry).await?;
        if request.cascade.is_none() {
            let title = match request.to_number {
                Some(to) => format!("{} rolled back to #{to}", app.name),
                None => format!("{} rolled out by hand", app.name),
            };
            self.open_cascade(&cascade, &app.project_id, &title, request.kind, sequence, &request.actor).await?;
        }
        sqlx::query(
            "update rollouts set phase = 'Cancelled', message = $2, finished_at = $3 where app_id = $1 and phase in ('Pending', 'Running')",
        )
        .bind(&app.id)
        .bind(format!("superseded by #{number}"))
        .bind(now())
        .execute(&mut **self)
        .await?;
        sqlx::query(
            "insert into rollouts (id, app_id, number, digest, repository, kind, spec, to_number, actor_kind, actor, reason, sequence, \
             cause, cascade_id, phase, created_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'Pending', $15)",
        )
        .bind(new_id())
        .bind(&app.id)
        .bind(number)
        .bind(&request.digest)
        .bind(&request.repository)
        .bind(request.kind)
        .bind(&request.spec)
        .bind(request.to_number)
        .bind(request.actor.kind.as_str())
        .bind(&request.actor.name)
        .bind(request.reason)
        .bind(sequence)
        .bind(request.cause)
        .bind(&cascade)
        .bind(now())
        .execute(&mut **self)
        .await?;
        sqlx::query("update apps set version = $2 where id = $1")
            .bind(&app.id)
            .bind(sequence)
            .execute(&mut **self)
            .await?;
        self.wake(Controller::Rollouts);
        self.rollout(&app.id, number).await?.ok_or_else(|| Error::not_found("rollouts", object))
    }
}
