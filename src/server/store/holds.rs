//! Holds on tags and apps: a person's word that automation may not move them, and what ends it.

use super::apps::held;
use super::moves::Moved;
use super::tags::select_tag;
use super::waiting::find_waiting;
use super::{Entry, Error, Result, Store, WriteTx, new_id};
use crate::model::{Actor, EventKind, Hold, HoldUntil, Outcome, Stream, Tag, TagName, now};
use crate::server::wake::Controller;

/// What is held: its column in `holds` and how people name it.
pub(super) enum Held<'a> {
    Tag(&'a Tag),
    App { id: &'a str, project: &'a str, name: &'a str },
}

impl Held<'_> {
    /// Its project, and how people name it there.
    fn names(&self) -> (&str, String) {
        match self {
            Self::Tag(tag) => (tag.project.as_str(), tag.title()),
            Self::App { project, name, .. } => (*project, (*name).to_owned()),
        }
    }
}

/// How many holds one transaction ends when it comes upon them. What waits for one may move tags whose holds are over, too, and so on, each
/// within the move before it: the others keep back what comes, and end by themselves a moment later.
const MOST_ENDED: usize = 4;

impl Store {
    /// Keeps automation from moving the tag until somebody resumes it. A tag that is held already stays so, until then.
    pub async fn hold_tag(
        &self,
        project: &str,
        stream: &str,
        tag: &str,
        reason: Option<&str>,
        actor: &Actor,
    ) -> Result<()> {
        self.hold_tag_until(project, stream, tag, reason, HoldUntil::Resumed, actor).await
    }

    /// As [`Store::hold_tag`], with what ends the hold besides a person.
    pub async fn hold_tag_until(
        &self,
        project: &str,
        stream: &str,
        tag: &str,
        reason: Option<&str>,
        until: HoldUntil,
        actor: &Actor,
    ) -> Result<()> {
        check_until(until)?;
        let mut tx = self.write_tx().await?;
        let tag = tx.live_tag(project, stream, tag).await?;
        tx.hold(&Held::Tag(&tag), reason, until, None, actor).await?;
        tx.commit().await
    }

    /// Lets automation move the tag again and applies at once what waits for that by now. Gives the move that made, if any.
    pub async fn resume_tag(&self, project: &str, stream: &str, tag: &str, actor: &Actor) -> Result<Option<Moved>> {
        let mut tx = self.write_tx().await?;
        let tag = tx.live_tag(project, stream, tag).await?;
        let note = tx.reason_in_freeze(&tag.project_id, None).await?;
        let Some((hold, _)) = tx.end_hold_for(&Held::Tag(&tag), note.as_deref(), actor).await? else {
            return Err(Error::Conflict(format!("{} is not held", tag.title())));
        };
        let reason = tx.reason_in_freeze(&tag.project_id, Some("resumed")).await?.unwrap_or_default();
        let moved = match find_waiting(&mut tx, &tag, &hold).await? {
            Some(waiting) => tx.apply(&tag, waiting, &reason, actor).await?,
            None => None,
        };
        tx.commit().await?;
        Ok(moved)
    }

    /// Says what ends the hold of a tag besides a person.
    pub async fn set_hold_end(
        &self,
        project: &str,
        stream: &str,
        tag: &str,
        until: HoldUntil,
        actor: &Actor,
    ) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let tag = tx.live_tag(project, stream, tag).await?;
        tx.set_hold_end(&Held::Tag(&tag), until, actor).await?;
        tx.commit().await
    }

    /// As [`Store::set_hold_end`], of an app's hold.
    pub async fn set_app_hold_end(&self, project: &str, name: &str, until: HoldUntil, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let app = tx.app(project, name).await?;
        tx.set_hold_end(&held(&app), until, actor).await?;
        tx.commit().await
    }

    /// Ends the holds whose time has come and applies what waited for that. Gives the time of the next one.
    pub async fn end_due_holds(&self) -> Result<Option<i64>> {
        loop {
            let next: Option<(Option<String>, Option<String>, i64)> = sqlx::query_as(
                "select tag_id, app_id, until_at from holds where until_at is not null and ended_at is null order by until_at limit 1",
            )
            .fetch_optional(self.pool())
            .await?;
            let Some((tag_id, app_id, at)) = next else { return Ok(None) };
            if at > now() {
                return Ok(Some(at));
            }
            let mut tx = self.write_tx().await?;
            // Somebody may have resumed it, or named a later time, meanwhile.
            if let Some(tag_id) = tag_id {
                let tag = tx.tag_by_id(&tag_id).await?;
                if let Some(hold) = tx.active_hold(&Held::Tag(&tag)).await?.filter(is_over) {
                    tx.end_over(&tag, &hold, None).await?;
                }
            } else if let Some(app_id) = app_id {
                let app = tx.app_by_id(&app_id).await?;
                if tx.active_hold(&held(&app)).await?.filter(is_over).is_some() {
                    tx.end_hold(&held(&app), &Actor::system("hold")).await?;
                }
            }
            tx.commit().await?;
        }
    }

    /// What whoever brought an image is told that is stored and did not become the tag's; nothing when it did.
    pub async fn why_tag_stayed(&self, stream: &Stream, tag: &TagName, moved: &Moved) -> Result<Option<String>> {
        let name = format!("{}:{tag}", stream.repository());
        match moved.outcome {
            Outcome::Held => {
                let hold: Option<Hold> = sqlx::query_as(
                    "select h.id, h.actor, h.reason, h.since, h.sequence, h.cascade_id, h.until_newer, h.until_at from holds h \
                     join tags t on t.id = h.tag_id where t.stream_id = $1 and t.name = $2 and h.ended_at is null limit 1",
                )
                .bind(&stream.id)
                .bind(tag.as_str())
                .fetch_optional(self.pool())
                .await?;
                // Somebody may have resumed it in this moment: then it goes on by itself.
                let until = hold.map_or(HoldUntil::Resumed, |hold| hold.until()).words();
                Ok(Some(format!("{name} is held {until}: the image is stored and waits, the tag stays where it is")))
            }
            Outcome::Rejected => {
                Ok(Some(format!("this image was rejected for {name}: it is stored, but the tag stays where it is")))
            }
            // Those that the stream's rules forbid were refused.
            Outcome::Moved | Outcome::Deleted | Outcome::Immutable | Outcome::OtherKind => Ok(None),
        }
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

/// Refuses a time that has come already.
pub(super) fn check_until(until: HoldUntil) -> Result<()> {
    match until {
        HoldUntil::Date(at) if at <= now() => {
            Err(Error::invalid("until", "the time is over: name a later one, or resume it now"))
        }
        _ => Ok(()),
    }
}

fn is_over(hold: &Hold) -> bool {
    hold.until_at.is_some_and(|at| at <= now())
}

impl WriteTx {
    /// Makes a hold unless there is one, and gives it.
    pub(super) async fn hold(
        &mut self,
        held: &Held<'_>,
        reason: Option<&str>,
        until: HoldUntil,
        cascade: Option<&str>,
        actor: &Actor,
    ) -> Result<Hold> {
        if let Some(hold) = self.active_hold(held).await? {
            // This is a new decision: what was to end the old one by itself does not end it.
            return self.set_until(held, hold, until, actor).await;
        }
        let (project, object) = held.names();
        let (tag_id, app_id) = match held {
            Held::Tag(tag) => (Some(tag.id.as_str()), None),
            Held::App { id, .. } => (None, Some(*id)),
        };
        let action = if tag_id.is_some() { "tag.hold" } else { "app.hold" };
        let entry = Entry { action, project: Some(project), object: &object, reason, cascade, ..Entry::default() };
        let sequence = self.record(actor, entry).await?;
        let hold = sqlx::query_as(
            "insert into holds (id, tag_id, app_id, actor, reason, since, sequence, cascade_id) values ($1, $2, $3, $4, $5, $6, $7, $8) \
             returning id, actor, reason, since, sequence, cascade_id, until_newer, until_at",
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
        self.set_until(held, hold, until, actor).await
    }

    /// Says what ends the hold besides a person.
    async fn set_hold_end(&mut self, held: &Held<'_>, until: HoldUntil, actor: &Actor) -> Result<()> {
        check_until(until)?;
        let Some(hold) = self.active_hold(held).await? else {
            return Err(Error::Conflict(format!("{} is not held", held.names().1)));
        };
        self.set_until(held, hold, until, actor).await?;
        Ok(())
    }

    /// As [`WriteTx::set_hold_end`], unless that is so already.
    async fn set_until(&mut self, held: &Held<'_>, hold: Hold, until: HoldUntil, actor: &Actor) -> Result<Hold> {
        if hold.until() == until {
            return Ok(hold);
        }
        let (project, object) = held.names();
        let entry = Entry {
            action: "hold.until",
            project: Some(project),
            object: &object,
            from: Some(&hold.until().to_string()),
            to: Some(&until.to_string()),
            cause: Some(hold.sequence),
            ..Entry::default()
        };
        let sequence = self.record(actor, entry).await?;
        let until_at = match until {
            HoldUntil::Date(at) => Some(at),
            _ => None,
        };
        let until_newer = i64::from(until == HoldUntil::Newer);
        sqlx::query("update holds set until_newer = $2, until_at = $3, until_set = $4 where id = $1")
            .bind(&hold.id)
            .bind(until_newer)
            .bind(until_at)
            .bind(sequence)
            .execute(&mut **self)
            .await?;
        Ok(Hold { until_newer, until_at, ..hold })
    }

    /// Ends the hold, if there is one, and gives it.
    pub(super) async fn end_hold(&mut self, held: &Held<'_>, actor: &Actor) -> Result<Option<Hold>> {
        Ok(self.end_hold_for(held, None, actor).await?.map(|(hold, _)| hold))
    }

    /// As [`WriteTx::end_hold`], with a reason; gives the ledger's sequence, too.
    pub(super) async fn end_hold_for(
        &mut self,
        held: &Held<'_>,
        reason: Option<&str>,
        actor: &Actor,
    ) -> Result<Option<(Hold, i64)>> {
        let Some(hold) = self.active_hold(held).await? else { return Ok(None) };
        let (project, object) = held.names();
        let action = if matches!(held, Held::Tag(_)) { "tag.resume" } else { "app.resume" };
        let cause = Some(hold.sequence);
        let entry = Entry { action, project: Some(project), object: &object, reason, cause, ..Entry::default() };
        let sequence = self.record(actor, entry).await?;
        sqlx::query("update holds set ended_at = $2, ended_by = $3 where id = $1")
            .bind(&hold.id)
            .bind(now())
            .bind(&actor.name)
            .execute(&mut **self)
            .await?;
        self.wake(Controller::Triggers);
        Ok(Some((hold, sequence)))
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

    /// The hold that keeps automations from a tag, if one does. One whose time is over ends here, and what waited for that moves the tag
    /// before the mover that found it does: it would have come first, had somebody looked in time.
    pub(super) async fn hold_in_force(&mut self, tag: &mut Tag, mover: EventKind) -> Result<Option<Hold>> {
        let Some(hold) = self.active_hold(&Held::Tag(tag)).await? else { return Ok(None) };
        if !is_over(&hold) || self.holds_ended >= MOST_ENDED {
            return Ok(Some(hold));
        }
        self.holds_ended += 1;
        self.end_over(tag, &hold, Some(mover)).await?;
        *tag = self.tag_by_id(&tag.id).await?;
        Ok(None)
    }

    /// Ends the hold of a tag whose time is over, and applies what waited for that unless the `mover` brings the same.
    async fn end_over(&mut self, tag: &Tag, hold: &Hold, mover: Option<EventKind>) -> Result<()> {
        let actor = Actor::system("hold");
        self.end_hold(&Held::Tag(tag), &actor).await?;
        if let Some(waiting) = find_waiting(self, tag, hold).await?.filter(|waiting| !waiting.comes_with(mover)) {
            self.apply(tag, waiting, "the hold's time was over", &actor).await?;
        }
        Ok(())
    }

    /// Whether the hold in force keeps an automation from moving the tag to an image. One that waits for just such an image ends here.
    pub(super) async fn is_held_against(&mut self, tag: &Tag, hold: &Hold, digest: &str) -> Result<bool> {
        let ends = hold.until() == HoldUntil::Newer && self.never_pointed_to(tag, digest).await?;
        if ends {
            self.end_hold(&Held::Tag(tag), &Actor::system("hold")).await?;
        }
        Ok(!ends)
    }

    async fn never_pointed_to(&mut self, tag: &Tag, digest: &str) -> Result<bool> {
        let pointed: Option<(i64,)> = sqlx::query_as(
            "select sequence from tag_events where tag_id = $1 and digest = $2 and outcome = 'moved' limit 1",
        )
        .bind(&tag.id)
        .bind(digest)
        .fetch_optional(&mut **self)
        .await?;
        Ok(pointed.is_none())
    }

    async fn active_hold(&mut self, held: &Held<'_>) -> Result<Option<Hold>> {
        let (tag_id, app_id) = match held {
            Held::Tag(tag) => (tag.id.as_str(), ""),
            Held::App { id, .. } => ("", *id),
        };
        let hold = sqlx::query_as(
            "select id, actor, reason, since, sequence, cascade_id, until_newer, until_at from holds \
             where (tag_id = $1 or app_id = $2) and ended_at is null limit 1",
        )
        .bind(tag_id)
        .bind(app_id)
        .fetch_optional(&mut **self)
        .await?;
        Ok(hold)
    }
}
