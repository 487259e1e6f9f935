//! How a tag goes: its row stays, with all of its history, for whoever makes it again, restores it or asks for the past.

use super::holds::Held;
use super::{Entry, Result, WriteTx, new_id};
use crate::model::{Actor, Tag, now};

impl WriteTx {
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
}
