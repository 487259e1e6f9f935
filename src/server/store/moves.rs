//! How a tag moves: the one place that writes a tag's history.
//!
//! Whatever wants to move a tag (a push, an import, a build, a follow, a person) comes through [`WriteTx::move_tag`]. It respects the
//! stream's rules for all, holds and rejected digests for automatic movers, opens or inherits the cascade, writes the ledger and the
//! history, and lets the tags that follow this one follow, all in the caller's transaction.

use std::collections::{BTreeSet, VecDeque};

use super::holds::Held;
use super::references::reference_beside;
use super::tag_rules::is_immutable;
use super::{Entry, Result, WriteTx, new_id};
use crate::model::{Actor, EventKind, Outcome, Tag, now};
use crate::server::wake::Controller;

/// A wish to move a tag.
#[derive(Debug, Clone, Copy)]
pub struct Move<'a> {
    pub kind: EventKind,
    pub digest: &'a str,
    /// Where the image is: `<project>/<stream>@<digest>` here, or the external reference.
    pub reference: &'a str,
    pub actor: &'a Actor,
    pub reason: Option<&'a str>,
    /// The ledger row that led to this.
    pub cause: Option<i64>,
    /// The cascade this belongs to; `None` makes the move a root cause that opens one.
    pub cascade: Option<&'a str>,
    pub build_id: Option<&'a str>,
    /// What the tag should be that this satisfies; `None` for all that its stream should be now, which is what a push stands for.
    pub generation: Option<i64>,
    /// Rollback and restore: the row gone back to.
    pub to_sequence: Option<i64>,
    /// A project admin means it, though the tag is immutable.
    pub overrule: bool,
    /// It comes along with what a person did to another tag: nobody has thought of this one.
    pub along: bool,
}

impl<'a> Move<'a> {
    /// A move without history: no cause, no cascade yet.
    pub fn new(kind: EventKind, digest: &'a str, reference: &'a str, actor: &'a Actor) -> Self {
        Self {
            kind,
            digest,
            reference,
            actor,
            reason: None,
            cause: None,
            cascade: None,
            build_id: None,
            generation: None,
            to_sequence: None,
            overrule: false,
            along: false,
        }
    }

    /// Whether a person's decision about the tag comes before this.
    fn is_automatic(&self) -> bool {
        self.along || self.kind.is_automatic()
    }
}

/// What became of a wish to move a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    pub outcome: Outcome,
    /// The history row that says so; for a tag that was there already, its newest one.
    pub sequence: i64,
    /// Absent when nothing happened.
    pub cascade_id: Option<String>,
    /// False when the tag pointed there already.
    pub changed: bool,
}

/// What a wish came to, with the row of the ledger that those who follow the tag follow, if they have to.
struct Step {
    moved: Moved,
    news: Option<i64>,
}

impl WriteTx {
    /// Moves a tag, or records why it stays.
    pub(super) async fn move_tag(&mut self, tag: &Tag, movement: &Move<'_>) -> Result<Moved> {
        let Step { moved, news } = self.move_one(tag, movement).await?;
        if let Some(cause) = news {
            self.move_followers(tag, movement, cause, moved.cascade_id.clone()).await?;
        }
        Ok(moved)
    }

    /// Every tag that follows this one, directly or through others, once. Where only the reference changed there is no cascade until one of
    /// them moves.
    async fn move_followers(
        &mut self,
        tag: &Tag,
        movement: &Move<'_>,
        cause: i64,
        cascade: Option<String>,
    ) -> Result<()> {
        let mut seen = BTreeSet::from([tag.id.clone()]);
        let mut queue = VecDeque::from([(tag.clone(), cause, movement.reference.to_owned(), cascade)]);
        let actor = Actor::system("follow");
        while let Some((followed, cause, reference, cascade)) = queue.pop_front() {
            for follower in self.tags_that_follow(&followed.id).await? {
                if !seen.insert(follower.id.clone()) {
                    continue;
                }
                let reference = reference_beside(&followed.repository(), &reference, &follower, movement.digest);
                let follow = Move {
                    kind: EventKind::Follow,
                    reference: &reference,
                    actor: &actor,
                    reason: None,
                    cause: Some(cause),
                    cascade: cascade.as_deref(),
                    build_id: None,
                    generation: self.followed_generation(&followed, &follower).await?,
                    to_sequence: None,
                    overrule: false,
                    ..*movement
                };
                let Step { moved, news } = self.move_one(&follower, &follow).await?;
                if let Some(cause) = news {
                    queue.push_back((follower, cause, reference, moved.cascade_id.or_else(|| cascade.clone())));
                }
            }
        }
        Ok(())
    }

    async fn move_one(&mut self, tag: &Tag, movement: &Move<'_>) -> Result<Step> {
        let points_there =
            tag.deleted_at.is_none() && !tag.is_mere_reference() && tag.digest.as_deref() == Some(movement.digest);
        if let (true, Some(sequence)) = (points_there, tag.event_sequence) {
            let news = self.point_again(tag, movement, sequence).await?;
            let moved = Moved { outcome: Outcome::Moved, sequence, cascade_id: None, changed: false };
            return Ok(Step { moved, news });
        }
        let outcome = self.outcome_of(tag, movement).await?;
        let moved = self.write_move(tag, movement, outcome).await?;
        let has_moved = moved.changed && moved.outcome == Outcome::Moved;
        Ok(Step { news: has_moved.then_some(moved.sequence), moved })
    }

    /// Writes what became of a wish: the move, or the row that says why not.
    pub(super) async fn write_move(&mut self, tag: &Tag, movement: &Move<'_>, outcome: Outcome) -> Result<Moved> {
        if outcome != Outcome::Moved
            && let Some(sequence) = self.same_refusal(tag, movement, outcome).await?
        {
            self.fold_into(sequence).await?;
            return Ok(Moved { outcome, sequence, cascade_id: None, changed: false });
        }
        let cascade = movement.cascade.map_or_else(new_id, str::to_owned);
        let sequence = self.record_move(tag, movement, outcome, &cascade).await?;
        if movement.cascade.is_none() {
            let title = format!("{} {}", tag.title(), past_tense(movement.kind, outcome));
            self.open_cascade(&cascade, &tag.project_id, &title, movement.kind.as_str(), sequence, movement.actor)
                .await?;
        }
        if outcome == Outcome::Moved {
            self.point(tag, movement, sequence).await?;
        } else {
            sqlx::query("update tags set event_number = event_number + 1 where id = $1")
                .bind(&tag.id)
                .execute(&mut **self)
                .await?;
        }
        Ok(Moved { outcome, sequence, cascade_id: Some(cascade), changed: true })
    }

    async fn outcome_of(&mut self, tag: &Tag, movement: &Move<'_>) -> Result<Outcome> {
        if !movement.overrule && is_immutable(tag)? {
            return Ok(Outcome::Immutable);
        }
        if !movement.is_automatic() {
            return Ok(Outcome::Moved);
        }
        if self.is_rejected(&tag.id, movement.digest).await? {
            return Ok(Outcome::Rejected);
        }
        if self.changes_kind(tag, movement).await? {
            return Ok(Outcome::OtherKind);
        }
        let held = self.is_held_against(tag, movement.digest).await?;
        Ok(if held { Outcome::Held } else { Outcome::Moved })
    }

    /// The tag's newest row, when it already says the same refusal: a schedule that tries every 15 minutes writes one row, not a hundred.
    async fn same_refusal(&mut self, tag: &Tag, movement: &Move<'_>, outcome: Outcome) -> Result<Option<i64>> {
        // What an earlier hold kept back is not what the one in force ends with.
        let newest: Option<(i64, String, Option<String>, String)> = sqlx::query_as(
            "select sequence, case when outcome = 'held' and exists (select 1 from holds h where h.tag_id = $1 and h.ended_at is null \
             and h.sequence > tag_events.sequence) then '' else outcome end, digest, kind from tag_events where tag_id = $1 \
             order by number desc limit 1",
        )
        .bind(&tag.id)
        .fetch_optional(&mut **self)
        .await?;
        Ok(newest
            .filter(|(_, was, digest, kind)| {
                was == outcome.as_str() && digest.as_deref() == Some(movement.digest) && kind == movement.kind.as_str()
            })
            .map(|(sequence, ..)| sequence))
    }

    /// The tag points there already: what was asked for since is answered by that. Where the image comes from somewhere else now the tag
    /// has that reference, unless it has to stay as it is; gives the row of the ledger that says so.
    async fn point_again(&mut self, tag: &Tag, movement: &Move<'_>, sequence: i64) -> Result<Option<i64>> {
        self.fold_into(sequence).await?;
        let is_renewed = sqlx::query(
            "update tag_events set generation = coalesce(cast($2 as bigint), (select s.generation from streams s where s.id = $3)), \
             renewed_at = $4 where sequence = $1 and generation < coalesce(cast($2 as bigint), (select s.generation from streams s where s.id = $3))",
        )
        .bind(sequence)
        .bind(movement.generation)
        .bind(&tag.stream_id)
        .bind(now())
        .execute(&mut **self)
        .await?
        .rows_affected()
            > 0;
        let is_elsewhere = tag.reference.as_deref() != Some(movement.reference);
        let news = match is_elsewhere && self.outcome_of(tag, movement).await? == Outcome::Moved {
            true => Some(self.refer(tag, movement).await?),
            false => None,
        };
        if is_renewed || news.is_some() {
            self.clear_failure(tag, movement).await?;
        }
        Ok(news)
    }

    /// Notes on a row that the same was attempted once more.
    async fn fold_into(&mut self, sequence: i64) -> Result<()> {
        sqlx::query("update tag_events set repeats = repeats + 1, repeated_at = $2 where sequence = $1")
            .bind(sequence)
            .bind(now())
            .execute(&mut **self)
            .await?;
        Ok(())
    }

    async fn record_move(&mut self, tag: &Tag, movement: &Move<'_>, outcome: Outcome, cascade: &str) -> Result<i64> {
        let action = match outcome {
            Outcome::Moved => format!("tag.{}", movement.kind),
            _ => format!("tag.skip-{outcome}"),
        };
        let entry = Entry {
            action: &action,
            project: Some(&tag.project),
            object: &tag.title(),
            from: tag.digest.as_deref(),
            to: Some(movement.digest),
            reason: movement.reason,
            cause: movement.cause,
            cascade: Some(cascade),
        };
        let sequence = self.record(movement.actor, entry).await?;
        let at = self.time_of_next_row(tag).await?;
        sqlx::query(
            "insert into tag_events (sequence, tag_id, number, outcome, digest, reference, from_digest, generation, kind, actor_kind, \
             actor, reason, cause, cascade_id, build_id, to_sequence, at, sorted_at, request_id, stream_id, media_type, manifest_size) \
             values ($1, $2, $3, $4, $5, $6, $7, coalesce(cast($8 as bigint), (select s.generation from streams s where s.id = $19)), \
             $9, $10, $11, $12, $13, $14, $15, $16, $17, $17, $18, $19, \
             (select i.media_type from images i where i.digest = $5), (select octet_length(i.manifest) from images i where i.digest = $5))",
        )
        .bind(sequence)
        .bind(&tag.id)
        .bind(tag.event_number + 1)
        .bind(outcome.as_str())
        .bind(movement.digest)
        .bind(movement.reference)
        .bind(tag.digest.as_deref())
        .bind(movement.generation)
        .bind(movement.kind.as_str())
        .bind(movement.actor.kind.as_str())
        .bind(&movement.actor.name)
        .bind(movement.reason)
        .bind(movement.cause)
        .bind(cascade)
        .bind(movement.build_id)
        .bind(movement.to_sequence)
        .bind(at)
        .bind(movement.actor.request.as_deref())
        .bind(&tag.stream_id)
        .execute(&mut **self)
        .await?;
        if movement.build_id.is_some() {
            self.index_bases(&tag.stream_id, &tag.project_id, movement.digest).await?;
        }
        Ok(sequence)
    }

    /// Now. Where the clock was set back, the rows before count as no later than that when a moment is looked for.
    async fn time_of_next_row(&mut self, tag: &Tag) -> Result<i64> {
        let at = now();
        sqlx::query("update tag_events set sorted_at = $2 where tag_id = $1 and sorted_at > $2")
            .bind(&tag.id)
            .bind(at)
            .execute(&mut **self)
            .await?;
        Ok(at)
    }

    async fn point(&mut self, tag: &Tag, movement: &Move<'_>, sequence: i64) -> Result<()> {
        sqlx::query(
            "update tags set digest = $2, reference = $3, event_sequence = $4, event_number = event_number + 1, \
             moved_at = (select e.at from tag_events e where e.sequence = $4), refers_to = null, refers_at = null, \
             image_size = coalesce((select i.size from images i where i.digest = $2), -1), deleted_at = null where id = $1",
        )
        .bind(&tag.id)
        .bind(movement.digest)
        .bind(movement.reference)
        .bind(sequence)
        .execute(&mut **self)
        .await?;
        if tag.deleted_at.is_some() {
            self.index_tag(&tag.id).await?;
        }
        self.set_version(&tag.stream_id, sequence).await?;
        self.clear_failure(tag, movement).await?;
        // A person who puts a rejected digest back takes the rejection back with it.
        self.allow(tag, movement.digest, movement.actor).await?;
        self.serve_here(tag, movement.digest).await?;
        self.base_changed(movement.digest).await?;
        self.wake(Controller::Triggers);
        Ok(())
    }

    pub(super) async fn record_deletion(&mut self, tag: &Tag, actor: &Actor) -> Result<()> {
        let cascade = new_id();
        let entry = Entry {
            action: "tag.delete",
            project: Some(&tag.project),
            object: &tag.title(),
            from: tag.digest.as_deref(),
            cascade: Some(&cascade),
            ..Entry::default()
        };
        let sequence = self.record(actor, entry).await?;
        self.open_cascade(&cascade, &tag.project_id, &format!("{} deleted", tag.title()), "api", sequence, actor)
            .await?;
        let at = self.time_of_next_row(tag).await?;
        sqlx::query(
            "insert into tag_events (sequence, tag_id, number, outcome, from_digest, generation, kind, actor_kind, actor, cascade_id, at, \
             sorted_at, request_id, stream_id) values ($1, $2, $3, 'deleted', $4, $5, 'api', $6, $7, $8, $9, $9, $10, $11)",
        )
        .bind(sequence)
        .bind(&tag.id)
        .bind(tag.event_number + 1)
        .bind(tag.digest.as_deref())
        .bind(tag.generation)
        .bind(actor.kind.as_str())
        .bind(&actor.name)
        .bind(&cascade)
        .bind(at)
        .bind(actor.request.as_deref())
        .bind(&tag.stream_id)
        .execute(&mut **self)
        .await?;
        sqlx::query(
            "update tags set deleted_at = $2, event_number = event_number + 1, digest = null, reference = null, image_size = -1, has_spec = 0, \
             source_kind = null, source = null, source_project = null, follows_tag_id = null, pinned_stream_id = null, \
             refers_to = null, refers_at = null, scheduled = 0 where id = $1",
        )
        .bind(&tag.id)
        .bind(now())
        .execute(&mut **self)
        .await?;
        self.index_tag(&tag.id).await?;
        if let Some(digest) = &tag.digest {
            self.base_changed(digest).await?;
        }
        self.end_import(tag, actor).await?;
        self.end_hold(&Held::Tag(tag), actor).await?;
        sqlx::query("update rejected_digests set ended_at = $2, ended_by = $3 where tag_id = $1 and ended_at is null")
            .bind(&tag.id)
            .bind(now())
            .bind(&actor.name)
            .execute(&mut **self)
            .await?;
        sqlx::query("update streams set version = $2, generation = generation + 1 where id = $1")
            .bind(&tag.stream_id)
            .bind(sequence)
            .execute(&mut **self)
            .await?;
        Ok(())
    }

    /// Opens a cascade: the root cause is the ledger row `root`.
    pub(super) async fn open_cascade(
        &mut self,
        id: &str,
        project_id: &str,
        title: &str,
        kind: &str,
        root: i64,
        actor: &Actor,
    ) -> Result<()> {
        sqlx::query(
            "insert into cascades (id, project_id, number, title, root_sequence, kind, actor_kind, actor, created_at) \
             select $1, $2, coalesce(max(number), 0) + 1, $3, $4, $5, $6, $7, $8 from cascades where project_id = $2",
        )
        .bind(id)
        .bind(project_id)
        .bind(title)
        .bind(root)
        .bind(kind)
        .bind(actor.kind.as_str())
        .bind(&actor.name)
        .bind(now())
        .execute(&mut **self)
        .await?;
        Ok(())
    }
}

fn past_tense(kind: EventKind, outcome: Outcome) -> &'static str {
    match (kind, outcome) {
        (_, Outcome::Held) => "held back",
        (_, Outcome::Rejected) => "refused a rejected image",
        (_, Outcome::Immutable) => "stays: it is immutable",
        (_, Outcome::OtherKind) => "refused another kind of image",
        (EventKind::Push, _) => "pushed",
        (EventKind::Import, _) => "imported",
        (EventKind::Build, _) => "built",
        (EventKind::Follow, _) => "followed",
        (EventKind::Rollback, _) => "rolled back",
        (EventKind::Restore, _) => "restored",
        (EventKind::Api, _) => "set",
    }
}
