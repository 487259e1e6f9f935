//! Limits of a project's streams (OpenShift's `LimitRange`): how large an image may be, how many images the histories of a stream may name,
//! how many of its tags may follow something.
//!
//! A limit refuses only what makes a stream grow: one that is beyond it already can still be used and changed. What follows along with
//! another tag, and a way back, is never refused, as with quotas.

use super::{Entry, Error, Result, Store, WriteTx};
use crate::model::{Actor, BeyondLimit, ProjectLimits, Stream};

macro_rules! select_limits {
    ($rest:literal) => {
        concat!(
            "select p.max_image_bytes as image_bytes, p.max_stream_images as stream_images, p.max_stream_tags as stream_tags \
             from projects p ",
            $rest
        )
    };
}

/// What the tags of a stream were: a tag that is made again after it was deleted begins anew.
macro_rules! moves_of_stream {
    () => {
        "from tag_events e join tags t on t.id = e.tag_id and t.deleted_at is null \
         left join (select tag_id, max(sequence) as sequence from tag_events where stream_id = $1 and outcome = 'deleted' group by tag_id) d \
           on d.tag_id = e.tag_id \
         where e.stream_id = $1 and e.outcome = 'moved' and e.sequence > coalesce(d.sequence, 0)"
    };
}

/// How many tags that follow something a stream had before a change, where that is limited.
#[derive(Debug, Clone, Copy)]
pub(super) struct LimitedTags {
    most: i64,
    before: i64,
}

impl LimitedTags {
    /// What `more` and one more tags would go beyond.
    pub(super) fn beyond(&self, stream: &Stream, more: usize) -> Option<BeyondLimit> {
        let there = self.before.saturating_add(i64::try_from(more).unwrap_or(i64::MAX));
        (there >= self.most).then(|| BeyondLimit::StreamTags { stream: stream.repository(), most: self.most })
    }
}

impl Store {
    /// The limits of a project's streams.
    pub async fn project_limits(&self, project: &str) -> Result<ProjectLimits> {
        sqlx::query_as(select_limits!("where p.name = $1"))
            .bind(project)
            .fetch_optional(self.pool())
            .await?
            .ok_or_else(|| Error::not_found("projects", project))
    }

    /// Sets the limits of a project's streams. What is beyond them already stays.
    pub async fn set_project_limits(&self, project: &str, limits: &ProjectLimits, actor: &Actor) -> Result<()> {
        for (name, most) in limits.named() {
            if most.is_some_and(|most| most < 0) {
                return Err(Error::invalid(name, "a limit cannot be less than nothing"));
            }
        }
        let mut tx = self.write_tx().await?;
        let before: ProjectLimits = sqlx::query_as(select_limits!("where p.name = $1"))
            .bind(project)
            .fetch_optional(&mut *tx)
            .await?
            .ok_or_else(|| Error::not_found("projects", project))?;
        if before == *limits {
            return Ok(());
        }
        let (from, to) = (before.words(), limits.words());
        let entry = Entry {
            action: "project.limits",
            project: Some(project),
            object: project,
            from: from.as_deref(),
            to: to.as_deref(),
            ..Entry::default()
        };
        let sequence = tx.record(actor, entry).await?;
        sqlx::query(
            "update projects set max_image_bytes = $2, max_stream_images = $3, max_stream_tags = $4, version = $5 where name = $1",
        )
        .bind(project)
        .bind(limits.image_bytes)
        .bind(limits.stream_images)
        .bind(limits.stream_tags)
        .bind(sequence)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }
}

impl WriteTx {
    /// Refuses an image that just became a tag's, or waits for that, when it is larger than the project's images may be, or one more than the stream may have.
    /// It is asked after the move and before the commit: the histories then say whether the image was there before.
    pub(super) async fn check_image_limits(&mut self, stream: &Stream, digest: &str, sequence: i64) -> Result<()> {
        let limits = self.check_image_bytes(stream, digest).await?;
        match limits.stream_images {
            Some(most) if self.adds_beyond(stream, digest, sequence, most).await? => {
                Err(BeyondLimit::StreamImages { stream: stream.repository(), most }.into())
            }
            _ => Ok(()),
        }
    }

    /// Refuses an image that is larger than the project's images may be; gives what else is limited. What an index lists and comes by itself,
    /// after the index did, is asked for here.
    pub(super) async fn check_image_bytes(&mut self, stream: &Stream, digest: &str) -> Result<ProjectLimits> {
        let limits = self.limits_of(stream).await?;
        if let Some(most) = limits.image_bytes {
            let bytes = self.largest_image(digest).await?;
            if bytes > most {
                return Err(BeyondLimit::ImageBytes { project: stream.project.clone(), bytes, most }.into());
            }
        }
        Ok(limits)
    }

    /// How many tags of a stream follow something, before a change that [`WriteTx::check_more_tags`] looks at when it is done.
    pub(super) async fn limited_tags(&mut self, stream: &Stream) -> Result<Option<LimitedTags>> {
        match self.limits_of(stream).await?.stream_tags {
            Some(most) => Ok(Some(LimitedTags { most, before: self.count_spec_tags(stream).await? })),
            None => Ok(None),
        }
    }

    /// Refuses a change that leaves a stream with more tags than it may have, and than it had.
    pub(super) async fn check_more_tags(&mut self, stream: &Stream, limited: Option<LimitedTags>) -> Result<()> {
        let Some(LimitedTags { most, before }) = limited else { return Ok(()) };
        let now = self.count_spec_tags(stream).await?;
        if now > most && now > before {
            return Err(BeyondLimit::StreamTags { stream: stream.repository(), most }.into());
        }
        Ok(())
    }

    async fn limits_of(&mut self, stream: &Stream) -> Result<ProjectLimits> {
        let limits =
            sqlx::query_as(select_limits!("where p.id = $1")).bind(&stream.project_id).fetch_one(&mut **self).await?;
        Ok(limits)
    }

    /// Bytes of an image; of an index, those of the largest image it lists and that is here. An index tells how large the manifests of its
    /// images are, and not how large these are: what is still in another registry is asked for when it comes.
    async fn largest_image(&mut self, digest: &str) -> Result<i64> {
        let (bytes,) = sqlx::query_as(
            "select cast(coalesce(max(i.size), 0) as bigint) from images i where i.digest = $1 \
             or i.digest in (select child_digest from image_children where digest = $1)",
        )
        .bind(digest)
        .fetch_one(&mut **self)
        .await?;
        Ok(bytes)
    }

    /// Whether the row `sequence` is of an image that the stream did not have, and of one too many. The histories are read to their ends
    /// only for an image that is new.
    async fn adds_beyond(&mut self, stream: &Stream, digest: &str, sequence: i64, most: i64) -> Result<bool> {
        let known: Option<(i64,)> = sqlx::query_as(concat!(
            "select cast(1 as bigint) ",
            moves_of_stream!(),
            " and e.digest = $2 and e.sequence < $3 limit 1"
        ))
        .bind(&stream.id)
        .bind(digest)
        .bind(sequence)
        .fetch_optional(&mut **self)
        .await?;
        if known.is_some() {
            return Ok(false);
        }
        let others = concat!("select count(distinct e.digest) ", moves_of_stream!(), " and e.digest <> $2");
        let (others,): (i64,) = sqlx::query_as(others).bind(&stream.id).bind(digest).fetch_one(&mut **self).await?;
        Ok(others >= most)
    }

    async fn count_spec_tags(&mut self, stream: &Stream) -> Result<i64> {
        let (tags,) =
            sqlx::query_as("select count(*) from tags where stream_id = $1 and has_spec = 1 and deleted_at is null")
                .bind(&stream.id)
                .fetch_one(&mut **self)
                .await?;
        Ok(tags)
    }
}

#[cfg(test)]
mod tests;
