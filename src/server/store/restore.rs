//! Deleted tags: their list, and bringing one back to the image it pointed to.

use sqlx::AnyConnection;

use super::media_types::manifest_types;
use super::moves::{Move, Moved};
use super::tags::select_tag;
use super::{Error, Result, Store, WriteTx};
use crate::model::{Actor, ActorKind, EventKind, Tag};

/// A deleted tag as its stream's page lists it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct DeletedTag {
    pub id: String,
    pub name: String,
    pub deleted_at: i64,
    /// What it pointed to when it was deleted.
    pub digest: Option<String>,
    #[sqlx(try_from = "String")]
    pub actor_kind: ActorKind,
    pub actor: String,
}

/// The row a deleted tag is brought back to.
struct Target {
    sequence: i64,
    digest: String,
    reference: String,
}

impl Store {
    /// A page of a stream's deleted tags by name, beyond `after`.
    pub async fn list_deleted_tags(&self, stream_id: &str, after: &str, limit: i64) -> Result<Vec<DeletedTag>> {
        // Nothing but a move that brings it back comes after a tag's deletion: the newest row is the one that says who did it.
        let tags = sqlx::query_as(
            "select t.id, t.name, t.deleted_at, e.from_digest as digest, e.actor_kind, e.actor \
             from tags t join tag_events e on e.tag_id = t.id and e.number = t.event_number \
             where t.stream_id = $1 and t.deleted_at is not null and t.name > $2 order by t.name limit $3",
        )
        .bind(stream_id)
        .bind(after)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(tags)
    }

    /// Why a deleted tag cannot be brought back; `None` when it can.
    pub async fn why_not_restorable(&self, tag: &Tag) -> Result<Option<String>> {
        match target(&mut *self.pool().acquire().await?, tag).await {
            Ok(_) => Ok(None),
            Err(Error::Conflict(why)) => Ok(Some(why)),
            Err(other) => Err(other),
        }
    }

    /// Brings a deleted tag back to the image it pointed to. What it followed or imported is not: it stays where it is put.
    pub async fn restore_tag(
        &self,
        project: &str,
        stream: &str,
        name: &str,
        reason: Option<&str>,
        actor: &Actor,
    ) -> Result<Moved> {
        let mut tx = self.write_tx().await?;
        let tag = tx.any_tag(project, stream, name).await?;
        let to = target(&mut tx, &tag).await?;
        let movement = Move {
            reason,
            to_sequence: Some(to.sequence),
            ..Move::new(EventKind::Restore, &to.digest, &to.reference, actor)
        };
        let moved = tx.move_tag(&tag, &movement).await?;
        tx.commit().await?;
        Ok(moved)
    }
}

impl WriteTx {
    /// The tag of that name, deleted or not.
    async fn any_tag(&mut self, project: &str, stream: &str, name: &str) -> Result<Tag> {
        sqlx::query_as(select_tag!("where p.name = $1 and s.name = $2 and t.name = $3"))
            .bind(project)
            .bind(stream)
            .bind(name)
            .fetch_optional(&mut **self)
            .await?
            .ok_or_else(|| Error::not_found("imagestreamtags", format!("{stream}:{name}")))
    }
}

/// The newest row that moved the tag, when its image is still whole.
async fn target(connection: &mut AnyConnection, tag: &Tag) -> Result<Target> {
    let title = tag.title();
    if tag.deleted_at.is_none() {
        return Err(Error::Conflict(format!("{title} is not deleted: there is nothing to restore")));
    }
    let row: Option<(i64, String, String)> = sqlx::query_as(
        "select sequence, digest, reference from tag_events where tag_id = $1 and outcome = 'moved' order by number desc limit 1",
    )
    .bind(&tag.id)
    .fetch_optional(&mut *connection)
    .await?;
    let Some((sequence, digest, reference)) = row else {
        return Err(Error::Conflict(format!("{title} never had an image: there is nothing to restore")));
    };
    // Of an image whose layers may still be only in another registry (`source`) the manifests are enough.
    // What an index that is served as a whole does not have was left out.
    let missing: Option<(String,)> = sqlx::query_as(concat!(
        "with recursive tree (digest) as (select cast($1 as text) \
           union select c.child_digest from image_children c join tree t on c.digest = t.digest where not (c.media_type in (",
        manifest_types!(),
        ") and exists (select 1 from repository_images r where r.stream_id = $2 and r.digest = c.digest and r.source is null) \
             and not exists (select 1 from repository_images h where h.stream_id = $2 and h.digest = c.child_digest))) \
         select t.digest from tree t where not exists (select 1 from images i where i.digest = t.digest) \
           and not exists (select 1 from blobs b where b.digest = t.digest) \
         union all select p.digest from (\
           select l.layer_digest as digest from image_layers l join tree t on t.digest = l.digest \
             where l.media_type not like '%nondistributable%' and l.media_type not like '%foreign%' \
           union select i.config_digest from images i join tree t on t.digest = i.digest where i.config_digest is not null) p \
         where not exists (select 1 from blobs b where b.digest = p.digest) \
           and not exists (select 1 from repository_images r where r.digest = $1 and r.source is not null) limit 1"
    ))
    .bind(&digest)
    .bind(&tag.stream_id)
    .fetch_optional(&mut *connection)
    .await?;
    match missing {
        None => Ok(Target { sequence, digest, reference }),
        Some((part,)) => Err(Error::Conflict(format!(
            "{title} cannot be restored: it pointed to {digest}, of which {part} is not stored here any more"
        ))),
    }
}
