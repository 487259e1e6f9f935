//! Holding and resuming tags: a person's word that automation may not move them.

use super::moves::{Move, Moved};
use super::tags::select_tag;
use super::{Entry, Error, Result, Store, WriteTx, new_id};
use crate::model::{Actor, EventKind, Hold, Tag, now};
use crate::server::wake::Controller;

/// What is held: its column in `holds` and how people name it.
pub(super) enum Held<'a> {
    Tag(&'a Tag),
    App { id: &'a str, project: &'a str, name: &'a str },
}

impl Store {
    /// Keeps automation from moving the tag until somebody resumes it. Holding a held tag changes nothing.
    pub async fn hold_tag(
        &self,
        project: &str,
        stream: &str,
        tag: &str,
        reason: Option<&str>,
        actor: &Actor,
    ) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let tag = tx.live_tag(project, stream, tag).await?;
        tx.hold(&Held::Tag(&tag), reason, None, actor).await?;
        tx.commit().await
    }

    /// Lets automation move the tag again and applies at once what waited. Gives the move that made, if any.
    pub async fn resume_tag(&self, project: &str, stream: &str, tag: &str, actor: &Actor) -> Result<Option<Moved>> {
        let mut tx = self.write_tx().await?;
        let tag = tx.live_tag(project, stream, tag).await?;
        let Some(hold) = tx.end_hold(&Held::Tag(&tag), actor).await? else {
            return Err(Error::Conflict(format!("{} is not held", tag.title())));
        };
        let waiting = tx.waiting_since(&tag, hold.sequence).await?;
        let mut moved = None;
        if let Some((sequence, digest, reference, build_id)) = waiting {
            let movement = Move {
                cause: Some(sequence),
                reason: Some("resumed"),
                build_id: build_id.as_deref(),
                ..Move::new(EventKind::Api, &digest, &reference, actor)
            };
            moved = Some(tx.move_tag(&tag, &movement).await?);
        }
        tx.commit().await?;
        Ok(moved)
    }

    /// Adds the reason somebody gave after the fact to a hold, and to the ledger.
    pub async fn explain_hold(
        &self,
        hold_id: &str,
        project: &str,
        object: &str,
        reason: &str,
        actor: &Actor,
    ) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let sequence: Option<(i64,)> =
            sqlx::query_as("update holds set reason = $2 where id = $1 and ended_at is null returning sequence")
                .bind(hold_id)
                .bind(reason)
                .fetch_optional(&mut *tx)
                .await?;
        let Some((cause,)) = sequence else { return Err(Error::Conflict(format!("{object} is not held any more"))) };
        let entry = Entry {
            action: "hold.explain",
            project: Some(project),
            object,
            reason: Some(reason),
            cause: Some(cause),
            ..Entry::default()
        };
        tx.record(actor, entry).await?;
        tx.commit().await
    }
}

/// Sequence, digest, reference and build of a held-back move.
type Waiting = (i64, String, String, Option<String>);

impl WriteTx {
    /// Makes a hold unless there is one, and gives it.
    pub(super) async fn hold(
        &mut self,
        held: &Held<'_>,
        reason: Option<&str>,
        cascade: Option<&str>,
        actor: &Actor,
    ) -> Result<Hold> {
        if let Some(hold) = self.active_hold(held).await? {
            return Ok(hold);
        }
        let (tag_id, app_id, project, object) = match held {
            Held::Tag(tag) => (Some(tag.id.as_str()), None, tag.project.as_str(), tag.title()),
            Held::App { id, project, name } => (None, Some(*id), *project, (*name).to_owned()),
        };
        let action = if tag_id.is_some() { "tag.hold" } else { "app.hold" };
        let entry = Entry { action, project: Some(project), object: &object, reason, cascade, ..Entry::default() };
        let sequence = self.record(actor, entry).await?;
        let hold = sqlx::query_as(
            "insert into holds (id, tag_id, app_id, actor, reason, since, sequence, cascade_id) values ($1, $2, $3, $4, $5, $6, $7, $8) \
             returning id, actor, reason, since, sequence, cascade_id",
        )
        .bind(new_id())
        .bind(tag_id)
        .bind(app_id)
        .bind(&actor.name)
        .bind(reason)
        .bind(now())
        .bind(sequence)
        .bind(cascade)
        .fetch_one(&mut **self)
        .await?;
        Ok(hold)
    }

    /// Ends the hold, if there is one, and gives it.
    pub(super) async fn end_hold(&mut self, held: &Held<'_>, actor: &Actor) -> Result<Option<Hold>> {
        let Some(hold) = self.active_hold(held).await? else { return Ok(None) };
        let (action, project, object) = match held {
            Held::Tag(tag) => ("tag.resume", tag.project.as_str(), tag.title()),
            Held::App { project, name, .. } => ("app.resume", *project, (*name).to_owned()),
        };
        let entry =
            Entry { action, project: Some(project), object: &object, cause: Some(hold.sequence), ..Entry::default() };
        self.record(actor, entry).await?;
        sqlx::query("update holds set ended_at = $2, ended_by = $3 where id = $1")
            .bind(&hold.id)
            .bind(now())
            .bind(&actor.name)
            .execute(&mut **self)
            .await?;
        self.wake(Controller::Triggers);
        Ok(Some(hold))
    }

    /// Ends every hold that the cascade made.
    pub(super) async fn end_holds_of(&mut self, cascade_id: &str, actor: &Actor) -> Result<()> {
        let tags: Vec<Tag> = sqlx::query_as(select_tag!(
            "where t.id in (select h.tag_id from holds h where h.cascade_id = $1 and h.ended_at is null) order by t.id"
        ))
        .bind(cascade_id)
        .fetch_all(&mut **self)
        .await?;
        for tag in &tags {
            self.end_hold(&Held::Tag(tag), actor).await?;
        }
        let apps: Vec<(String, String, String)> = sqlx::query_as(
            "select a.id, p.name, a.name from holds h join apps a on a.id = h.app_id join projects p on p.id = a.project_id \
             where h.cascade_id = $1 and h.ended_at is null order by a.id",
        )
        .bind(cascade_id)
        .fetch_all(&mut **self)
        .await?;
        for (id, project, name) in &apps {
            self.end_hold(&Held::App { id, project, name }, actor).await?;
        }
        Ok(())
    }

    async fn active_hold(&mut self, held: &Held<'_>) -> Result<Option<Hold>> {
        let (tag_id, app_id) = match held {
            Held::Tag(tag) => (tag.id.as_str(), ""),
            Held::App { id, .. } => ("", *id),
        };
        let hold = sqlx::query_as(
            "select id, actor, reason, since, sequence, cascade_id from holds \
             where (tag_id = $1 or app_id = $2) and ended_at is null limit 1",
        )
        .bind(tag_id)
        .bind(app_id)
        .fetch_optional(&mut **self)
        .await?;
        Ok(hold)
    }

    /// The newest move that a hold kept back and that is not rejected.
    async fn waiting_since(&mut self, tag: &Tag, since: i64) -> Result<Option<Waiting>> {
        let waiting = sqlx::query_as(
            "select e.sequence, e.digest, e.reference, e.build_id from tag_events e \
             where e.tag_id = $1 and e.outcome = 'held' and e.sequence > $2 and not exists \
             (select 1 from rejected_digests r where r.tag_id = $1 and r.digest = e.digest and r.ended_at is null) \
             order by e.number desc limit 1",
        )
        .bind(&tag.id)
        .bind(since)
        .fetch_optional(&mut **self)
        .await?;
        Ok(waiting)
    }
}
