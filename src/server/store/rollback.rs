//! Going back: a tag or an app to an earlier row. Always with digests that exist, in one transaction, and so that no automation undoes it.

use std::collections::BTreeSet;

use super::apps::held;
use super::freezes::own_reasons;
use super::holds::{Held, check_until};
use super::ledger::former_end;
use super::moves::{Move, Moved};
use super::rollouts::RolloutRequest;
use super::tag_rules::refusal;
use super::{Error, Result, Store, WriteTx, new_id};
use crate::model::{Actor, EventKind, HoldUntil, Outcome, RollbackMode, RolloutRow, Tag};

/// A wish to roll a tag back.
#[derive(Debug, Clone)]
pub struct TagRollback<'a> {
    /// Sequence of the history row to go back to.
    pub to: i64,
    pub mode: RollbackMode,
    pub reason: Option<&'a str>,
    /// Sequence of the newest moving row that the caller saw; the tag having moved since refuses the rollback.
    pub seen: Option<i64>,
    /// Marks the digest left behind as rejected.
    pub reject: bool,
    /// What ends the hold besides a person.
    pub until: HoldUntil,
}

impl TagRollback<'_> {
    /// As one click does it: what is built on the tag follows, the digest left behind is rejected, and a person ends the hold.
    pub fn to(to: i64) -> Self {
        Self { to, mode: RollbackMode::Rebuild, reason: None, seen: None, reject: true, until: HoldUntil::Resumed }
    }
}

/// Where a tag was at a moment, and is not now.
struct Had {
    tag: Tag,
    sequence: i64,
    digest: String,
    reference: String,
}

impl Store {
    /// Rolls a tag back to a row of its history: a new row, a hold on the tag, and the digest left behind rejected, at once. An immutable
    /// tag stays.
    pub async fn roll_back_tag(
        &self,
        project: &str,
        stream: &str,
        tag: &str,
        rollback: &TagRollback<'_>,
        actor: &Actor,
    ) -> Result<Moved> {
        self.roll_back(project, stream, tag, rollback, false, actor).await
    }

    /// What [`RollbackMode::Restore`] to a row would put back: how many tags, or why it cannot be done.
    pub async fn plan_restore(&self, tag: &Tag, to: i64) -> Result<std::result::Result<usize, String>> {
        let mut tx = self.write_tx().await?;
        let (had, _) = tx.downstream_then(tag, to).await?;
        for one in &had {
            match tx.check_image_is_here(&one.digest, &one.tag.title()).await {
                Err(Error::Conflict(why)) => return Ok(Err(why)),
                checked => checked?,
            }
        }
        Ok(Ok(had.len()))
    }

    /// The last reasons that were given in a project for rolling a tag back, each once.
    pub async fn list_reasons(&self, project: &str, limit: i64) -> Result<Vec<String>> {
        // Looks at so many rows of the ledger and no more, however long it is.
        let reasons: Vec<(String,)> = sqlx::query_as(concat!(
            "select reason from (select reason, action, sequence from ledger where project = $1 and sequence > ",
            former_end!("$1"),
            " order by sequence desc limit 5000) l \
             where reason is not null and action = 'tag.rollback' group by reason order by max(sequence) desc limit $2"
        ))
        .bind(project)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(own_reasons(reasons.into_iter().map(|(reason,)| reason)))
    }

    /// [`Store::roll_back_tag`] for a project admin: who gives a reason moves immutable tags, too.
    pub async fn roll_back_tag_as_admin(
        &self,
        project: &str,
        stream: &str,
        tag: &str,
        rollback: &TagRollback<'_>,
        actor: &Actor,
    ) -> Result<Moved> {
        self.roll_back(project, stream, tag, rollback, rollback.reason.is_some(), actor).await
    }

    async fn roll_back(
        &self,
        project: &str,
        stream: &str,
        tag: &str,
        rollback: &TagRollback<'_>,
        overrule: bool,
        actor: &Actor,
    ) -> Result<Moved> {
        check_until(rollback.until)?;
        let mut tx = self.write_tx().await?;
        let tag = tx.live_tag(project, stream, tag).await?;
        let (number, digest, reference) = tx.rollback_target(&tag, rollback).await?;
        let cascade = new_id();
        let reason = tx.reason_in_freeze(&tag.project_id, rollback.reason).await?;
        let movement = Move {
            reason: reason.as_deref(),
            cascade: Some(&cascade),
            to_sequence: Some(rollback.to),
            overrule,
            ..Move::new(EventKind::Rollback, &digest, &reference, actor)
        };
        let moved = tx.move_tag(&tag, &movement).await?;
        if moved.outcome == Outcome::Immutable {
            return Err(refusal(&tag.title(), Outcome::Immutable));
        }
        let title = format!("{} rolled back to #{number}", tag.title());
        tx.open_cascade(&cascade, &tag.project_id, &title, "rollback", moved.sequence, actor).await?;
        tx.hold(&Held::Tag(&tag), rollback.reason, rollback.until, Some(&cascade), actor).await?;
        // A tag that only named an image since leaves that, and may go back to the image it had before.
        if let (true, Some(left)) = (rollback.reject, tag.digest.as_ref().filter(|left| **left != digest)) {
            tx.reject(&tag, left, rollback.reason, moved.sequence, Some(&cascade), actor).await?;
        }
        match rollback.mode {
            RollbackMode::Rebuild => {}
            RollbackMode::Tag => {
                let tags = tx.followers_of(&tag).await?;
                let fed = tx.configs_fed_by(&tags).await?;
                tx.settle_configs(&fed, &cascade).await?;
            }
            RollbackMode::Restore => tx.restore_downstream(&tag, rollback.to, moved.sequence, &cascade, actor).await?,
        }
        tx.commit().await?;
        Ok(moved)
    }

    /// Rolls an app back to an earlier rollout's image and holds it there `until` that, in one transaction.
    pub async fn roll_back_app(
        &self,
        project: &str,
        name: &str,
        to_number: i64,
        reason: Option<&str>,
        until: HoldUntil,
        actor: &Actor,
    ) -> Result<RolloutRow> {
        check_until(until)?;
        let mut tx = self.write_tx().await?;
        let app = tx.app(project, name).await?;
        let target = tx
            .rollout(&app.id, to_number)
            .await?
            .ok_or_else(|| Error::not_found("rollouts", format!("{name} #{to_number}")))?;
        if Some(&target.digest) == app.wanted_digest.as_ref() && app.wanted_phase.as_deref() != Some("Failed") {
            return Err(Error::Conflict(format!("{name} already runs the image of rollout #{to_number}")));
        }
        tx.check_image_is_here(&target.digest, &format!("{name} rollout #{to_number}")).await?;
        tx.serve_rollout(&target.repository, &target.digest).await?;
        let cascade = new_id();
        let told = tx.reason_in_freeze(&app.project_id, reason).await?;
        let request = RolloutRequest {
            kind: "rollback",
            digest: target.digest.clone(),
            repository: target.repository.clone(),
            // The image goes back; how it runs is not changed.
            spec: app.spec.clone(),
            to_number: Some(to_number),
            actor: actor.clone(),
            reason: told.as_deref(),
            cause: None,
            cascade: Some(cascade.clone()),
        };
        let rollout = tx.request_rollout(&app, request).await?;
        let title = format!("{name} rolled back to #{to_number}");
        tx.open_cascade(&cascade, &app.project_id, &title, "rollback", rollout.sequence, actor).await?;
        tx.hold(&held(&app), reason, until, Some(&cascade), actor).await?;
        tx.commit().await?;
        Ok(rollout)
    }
}

impl WriteTx {
    /// Number, digest and reference of the row to go back to.
    async fn rollback_target(&mut self, tag: &Tag, rollback: &TagRollback<'_>) -> Result<(i64, String, String)> {
        if let Some(seen) = rollback.seen
            && tag.event_sequence != Some(seen)
        {
            return Err(Error::Conflict(format!(
                "The tag moved while you looked: {} is at #{} now",
                tag.title(),
                tag.event_number
            )));
        }
        let target: Option<(i64, String, String)> = sqlx::query_as(
            "select number, digest, reference from tag_events where sequence = $1 and tag_id = $2 and digest is not null",
        )
        .bind(rollback.to)
        .bind(&tag.id)
        .fetch_optional(&mut **self)
        .await?;
        let Some((number, digest, reference)) = target else {
            let message = format!("{} has no history row with sequence {} to go back to", tag.title(), rollback.to);
            return Err(Error::invalid("to", message));
        };
        if tag.digest.as_deref() == Some(&digest) && !tag.is_mere_reference() {
            return Err(Error::Conflict(format!("{} already points to the image of row #{number}", tag.title())));
        }
        self.check_image_is_here(&digest, &format!("row #{number}")).await?;
        Ok((number, digest, reference))
    }

    /// Refuses to go back to what was collected, or was never stored here.
    pub(super) async fn check_image_is_here(&mut self, digest: &str, of: &str) -> Result<()> {
        let here: Option<(String,)> = sqlx::query_as("select digest from images where digest = $1")
            .bind(digest)
            .fetch_optional(&mut **self)
            .await?;
        if here.is_some() {
            return Ok(());
        }
        Err(Error::Conflict(format!("the image of {of} is gone: {digest} is not stored here any more")))
    }

    /// The tag and those that follow it, transitively.
    async fn followers_of(&mut self, tag: &Tag) -> Result<BTreeSet<String>> {
        let mut seen = BTreeSet::from([tag.id.clone()]);
        let mut queue = vec![tag.id.clone()];
        while let Some(at) = queue.pop() {
            let ids: Vec<(String,)> =
                sqlx::query_as("select id from tags where follows_tag_id = $1 and deleted_at is null")
                    .bind(at)
                    .fetch_all(&mut **self)
                    .await?;
            for (id,) in ids {
                if seen.insert(id.clone()) {
                    queue.push(id);
                }
            }
        }
        Ok(seen)
    }

    /// Puts what is built on a tag back to the digests it had while the tag last pointed where it points again now; what somebody decided
    /// for one of these tags stands.
    async fn restore_downstream(&mut self, tag: &Tag, to: i64, cause: i64, cascade: &str, actor: &Actor) -> Result<()> {
        let (had, mut configs) = self.downstream_then(tag, to).await?;
        let mut moved = BTreeSet::from([tag.id.clone()]);
        for Had { tag: downstream, sequence, digest, reference } in had {
            self.check_image_is_here(&digest, &downstream.title()).await?;
            let movement = Move {
                cause: Some(cause),
                cascade: Some(cascade),
                to_sequence: Some(sequence),
                along: true,
                ..Move::new(EventKind::Restore, &digest, &reference, actor)
            };
            if self.move_tag(&downstream, &movement).await?.outcome == Outcome::Moved {
                moved.insert(downstream.id);
            }
        }
        configs.extend(self.configs_fed_by(&moved).await?);
        self.settle_configs(&configs, cascade).await
    }

    /// What the tags downstream had when the tag was at the row `to`, of those that have something else now; and what is built of them.
    async fn downstream_then(&mut self, tag: &Tag, to: i64) -> Result<(Vec<Had>, BTreeSet<String>)> {
        // "Then" ends where what moved the tag on began: an undo puts back what is downstream before the tag itself.
        let next: Option<(i64, Option<i64>)> = sqlx::query_as(
            "select e.sequence, k.root_sequence from tag_events e left join cascades k on k.id = e.cascade_id \
             where e.tag_id = $1 and e.sequence > $2 and e.outcome = 'moved' order by e.sequence limit 1",
        )
        .bind(&tag.id)
        .bind(to)
        .fetch_optional(&mut **self)
        .await?;
        let then = match next {
            Some((_, Some(root))) if root > to => root - 1,
            Some((sequence, _)) => sequence - 1,
            None => i64::MAX,
        };
        let (tags, configs) = self.downstream_tags(&tag.id).await?;
        let mut all = Vec::new();
        for id in tags {
            let had: Option<(i64, String, String)> = sqlx::query_as(
                "select sequence, digest, reference from tag_events where tag_id = $1 and outcome = 'moved' and sequence <= $2 \
                 order by sequence desc limit 1",
            )
            .bind(&id)
            .bind(then)
            .fetch_optional(&mut **self)
            .await?;
            let tag = self.tag_by_id(&id).await?;
            let Some((sequence, digest, reference)) = had else { continue };
            if tag.deleted_at.is_none() && tag.digest.as_deref() != Some(&digest) {
                all.push(Had { tag, sequence, digest, reference });
            }
        }
        Ok((all, configs))
    }
}
