//! What waits for the end of a tag's hold.
//!
//! While a tag is held, every automation that would have changed it leaves a row, also one that leads back to where the tag is. The newest of
//! them tells what waits: what was pushed, built or put back as it came, what was imported as long as the tag is to be that, and where the tag
//! follows another one what that one says when somebody asks. So nothing comes that its source took back meanwhile.

use std::pin::Pin;

use sqlx::AnyConnection;

use super::moves::{Move, Moved};
use super::references::{Named, reference_beside};
use super::rejections::is_rejected;
use super::tag_rules::is_immutable;
use super::tags::select_tag;
use super::{Result, Store, WriteTx};
use crate::model::{Actor, EventKind, Hold, Tag, TagEvent};

/// What comes to a tag when its hold ends.
#[derive(Debug)]
pub(super) struct Waiting {
    /// The newest row that was held back.
    sequence: i64,
    kind: EventKind,
    build_id: Option<String>,
    what: What,
}

#[derive(Debug)]
enum What {
    Image {
        digest: String,
        reference: String,
    },
    /// Only the name of an image, and since when the source has that.
    Name(String, Option<i64>),
}

/// A row that a hold kept back.
#[derive(sqlx::FromRow)]
struct HeldBack {
    sequence: i64,
    #[sqlx(try_from = "String")]
    kind: EventKind,
    digest: Option<String>,
    reference: Option<String>,
    build_id: Option<String>,
}

impl Waiting {
    /// Whether a mover brings what waits: what follows a tag asks that one in any case.
    pub(super) fn comes_with(&self, mover: Option<EventKind>) -> bool {
        self.kind == EventKind::Follow && mover == Some(EventKind::Follow)
    }
}

impl What {
    fn is_had_by(&self, tag: &Tag) -> bool {
        match self {
            Self::Name(name, _) => tag.refers_to.as_ref() == Some(name),
            Self::Image { digest, reference } => {
                !tag.is_mere_reference()
                    && tag.digest.as_ref() == Some(digest)
                    && tag.reference.as_ref() == Some(reference)
            }
        }
    }
}

impl Store {
    /// The newest row of what waits for a held tag, if anything does.
    pub async fn tag_waiting(&self, tag_id: &str) -> Result<Option<TagEvent>> {
        let Some(hold) = self.tag_hold(tag_id).await? else { return Ok(None) };
        let tag = self.tag_by_id(tag_id).await?;
        let waiting = find_waiting(&mut *self.pool().acquire().await?, &tag, &hold).await?;
        let Some(Waiting { sequence, .. }) = waiting else { return Ok(None) };
        self.find_event(sequence).await
    }
}

impl WriteTx {
    /// Whether anything was held back by a hold that is in force, be it taken back since or not.
    pub(super) async fn has_held_back(&mut self, tag: &Tag, hold: &Hold) -> Result<bool> {
        let held_back: Option<(i64,)> = sqlx::query_as(
            "select sequence from tag_events where tag_id = $1 and outcome = 'held' and sequence > $2 limit 1",
        )
        .bind(&tag.id)
        .bind(hold.sequence)
        .fetch_optional(&mut **self)
        .await?;
        Ok(held_back.is_some())
    }

    /// Gives a tag what waited for the end of its hold. Whoever ends it need not have thought of just that: the rules for automatic moves
    /// go on. Gives the move, if it is one: a mere name is none.
    pub(super) async fn apply(
        &mut self,
        tag: &Tag,
        waiting: Waiting,
        reason: &str,
        actor: &Actor,
    ) -> Result<Option<Moved>> {
        match &waiting.what {
            What::Name(..) if is_immutable(tag)? => Ok(None),
            What::Name(name, since) => {
                let named = Named { name, since: *since, cause: waiting.sequence, reason: Some(reason) };
                let sequence = self.name_only(tag, &named, actor).await?;
                let tag = self.tag_by_id(&tag.id).await?;
                self.pass_on(&tag, sequence).await?;
                Ok(None)
            }
            What::Image { digest, reference } => {
                let movement = Move {
                    cause: Some(waiting.sequence),
                    reason: Some(reason),
                    build_id: waiting.build_id.as_deref(),
                    along: true,
                    ..Move::new(EventKind::Api, digest, reference, actor)
                };
                Ok(Some(self.move_waiting(tag, &movement).await?))
            }
        }
    }

    // Whatever moves a tag may find holds that are over, of that one and of those that follow it, so these two may come to themselves again:
    // once for each such hold.

    fn move_waiting<'a>(
        &'a mut self,
        tag: &'a Tag,
        movement: &'a Move<'a>,
    ) -> Pin<Box<dyn Future<Output = Result<Moved>> + Send + 'a>> {
        Box::pin(self.move_tag(tag, movement))
    }

    fn pass_on<'a>(&'a mut self, tag: &'a Tag, cause: i64) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'a>> {
        Box::pin(self.pass_name_on(tag, cause))
    }
}

/// What waits for the end of a tag's hold, if that is anything that the tag does not have.
pub(super) async fn find_waiting(connection: &mut AnyConnection, tag: &Tag, hold: &Hold) -> Result<Option<Waiting>> {
    // What was imported for something that the tag is not to be any more is nobody's wish.
    let newest: Option<HeldBack> = sqlx::query_as(
        "select e.sequence, e.kind, e.digest, e.reference, e.build_id from tag_events e \
         where e.tag_id = $1 and e.outcome = 'held' and e.sequence > $2 and (e.kind <> 'import' or e.generation >= $3) and not exists \
         (select 1 from rejected_digests r where r.tag_id = $1 and r.digest = e.digest and r.ended_at is null) \
         order by e.number desc limit 1",
    )
    .bind(&tag.id)
    .bind(hold.sequence)
    .bind(tag.generation)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(HeldBack { sequence, kind, digest, reference, build_id }) = newest else { return Ok(None) };
    let what = match kind {
        EventKind::Follow => said_by_source(connection, tag).await?,
        _ => digest.zip(reference).map(|(digest, reference)| What::Image { digest, reference }),
    };
    let what = what.filter(|what| !what.is_had_by(tag));
    Ok(what.map(|what| Waiting { sequence, kind, build_id, what }))
}

/// What a tag would have now from the one that it follows. That one may be gone, or have what this one must not get.
async fn said_by_source(connection: &mut AnyConnection, tag: &Tag) -> Result<Option<What>> {
    let followed: Option<Tag> = sqlx::query_as(select_tag!("where t.id = $1 and t.deleted_at is null"))
        .bind(tag.follows_tag_id.as_deref())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(followed) = followed else { return Ok(None) };
    if let Some(name) = followed.refers_to {
        return Ok(Some(What::Name(name, followed.refers_at)));
    }
    let Some(digest) = &followed.digest else { return Ok(None) };
    if is_rejected(connection, &tag.id, digest).await? {
        return Ok(None);
    }
    let reference = match &followed.reference {
        Some(reference) => reference_beside(&followed.repository(), reference, tag, digest),
        None => tag.local_reference(digest),
    };
    Ok(Some(What::Image { digest: digest.clone(), reference }))
}

#[cfg(test)]
mod tests;
