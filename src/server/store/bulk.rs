//! What the REST door reads in bulk: whole streams with their tags and histories, a project's tags, images by a prefix of their digest.

use super::builds::select_build;
use super::tags::select_tag;
use super::{Result, Store};
use crate::model::{Build, Tag};

/// Rows of a tag's history that the view of a whole stream shows; the history itself is longer and paged.
pub const SHOWN_MOVES: i64 = 50;

/// One move of a tag, as the view of its stream shows it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ShownMove {
    pub tag_id: String,
    pub digest: Option<String>,
    pub reference: Option<String>,
    pub generation: i64,
    pub at: i64,
}

/// An import that fails.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct FailingImport {
    pub tag_id: String,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub failing_since: Option<i64>,
    pub last_try_at: Option<i64>,
    pub generation: i64,
}

/// Tags of some streams of a project, with what their view needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamParts {
    /// By stream, then by name.
    pub tags: Vec<Tag>,
    /// Newest first within a tag.
    pub moves: Vec<ShownMove>,
    pub failing: Vec<FailingImport>,
}

impl Store {
    /// Sequence of the newest change of anything.
    pub async fn last_sequence(&self) -> Result<i64> {
        let (sequence,): (i64,) = sqlx::query_as("select cast(coalesce(max(sequence), 0) as bigint) from ledger")
            .fetch_one(self.pool())
            .await?;
        Ok(sequence)
    }

    /// Live tags of the streams from `first` to `last`, by name, with the newest rows of their histories and their failing imports.
    pub async fn stream_parts(&self, project: &str, first: &str, last: &str) -> Result<StreamParts> {
        let tags = sqlx::query_as(select_tag!(
            "where p.name = $1 and s.name >= $2 and s.name <= $3 and t.deleted_at is null order by s.name, t.name"
        ))
        .bind(project)
        .bind(first)
        .bind(last)
        .fetch_all(self.pool())
        .await?;
        // A tag made again after it was deleted begins anew in this view; its history keeps everything.
        let moves = sqlx::query_as(
            "select e.tag_id, e.digest, e.reference, e.generation, e.at \
             from tag_events e join tags t on t.id = e.tag_id join streams s on s.id = t.stream_id \
             join projects p on p.id = s.project_id \
             where p.name = $1 and s.name >= $2 and s.name <= $3 and t.deleted_at is null and e.outcome = 'moved' \
             and e.number > t.event_number - $4 and not exists (select 1 from tag_events d where d.tag_id = e.tag_id \
             and d.number > e.number and d.number > t.event_number - $4 and d.outcome = 'deleted') \
             order by e.tag_id, e.number desc",
        )
        .bind(project)
        .bind(first)
        .bind(last)
        .bind(SHOWN_MOVES)
        .fetch_all(self.pool())
        .await?;
        let failing = sqlx::query_as(
            "select i.tag_id, i.reason, i.message, i.failing_since, i.last_try_at, i.generation \
             from tag_imports i join tags t on t.id = i.tag_id join streams s on s.id = t.stream_id \
             join projects p on p.id = s.project_id \
             where p.name = $1 and s.name >= $2 and s.name <= $3 and t.deleted_at is null and i.outcome = 'failed'",
        )
        .bind(project)
        .bind(first)
        .bind(last)
        .fetch_all(self.pool())
        .await?;
        Ok(StreamParts { tags, moves, failing })
    }

    /// A project's tags, or only those that point to an image, by stream and name, after `(stream, tag)`.
    pub async fn list_project_tags(
        &self,
        project: &str,
        after: (&str, &str),
        with_image: bool,
        limit: i64,
    ) -> Result<Vec<Tag>> {
        let tags = sqlx::query_as(select_tag!(
            "where p.name = $1 and t.deleted_at is null and ($5 = 0 or t.digest is not null) \
             and (s.name > $2 or (s.name = $2 and t.name > $3)) order by s.name, t.name limit $4"
        ))
        .bind(project)
        .bind(after.0)
        .bind(after.1)
        .bind(limit)
        .bind(i64::from(with_image))
        .fetch_all(self.pool())
        .await?;
        Ok(tags)
    }

    /// The reference of the newest move of any of the stream's tags to that image.
    pub async fn reference_in_stream(&self, stream_id: &str, digest: &str) -> Result<Option<String>> {
        let reference: Option<(Option<String>,)> = sqlx::query_as(
            "select e.reference from tag_events e join tags t on t.id = e.tag_id \
             where t.stream_id = $1 and e.digest = $2 order by e.sequence desc limit 1",
        )
        .bind(stream_id)
        .bind(digest)
        .fetch_optional(self.pool())
        .await?;
        Ok(reference.and_then(|(reference,)| reference))
    }

    /// Builds of a project, oldest first, requested after the ledger's row `after`.
    pub async fn list_builds_after(&self, project: &str, after: i64, limit: i64) -> Result<Vec<Build>> {
        let builds =
            sqlx::query_as(select_build!("where p.name = $1 and b.sequence > $2 order by b.sequence limit $3"))
                .bind(project)
                .bind(after)
                .bind(limit)
                .fetch_all(self.pool())
                .await?;
        Ok(builds)
    }
}
