//! The platforms that a stream chose: its imports bring those of an index, and leave the others where they are until somebody pulls them.
//! What a stream lacks of what it chose is brought by whoever completes images (`sources`).

use std::collections::BTreeSet;

use super::media_types::manifest_types;
use super::sources::import_places;
use super::{Error, IncompleteImage, Result, Store, TagSpec, WriteTx};
use crate::model::{Actor, PLATFORMS, Platforms, Stream, Tag, now};
use crate::server::wake::Controller;

/// A manifest that an index of a repository lists and the repository does not have.
#[derive(sqlx::FromRow)]
struct Lacking {
    index_digest: String,
    os: String,
    architecture: String,
    variant: Option<String>,
}

/// The indexes of the repository `$1` below the image `$2`, or below all that its tags point to when that is empty, as `tree`; and what of
/// these it lacks, as `c`, with the row of the index, as `r`. What is about another manifest has no platform, and is not missed.
macro_rules! over_lacking {
    ($select:literal) => {
        concat!(
            "with recursive tree (digest) as (select t.digest from tags t where $2 = '' and t.stream_id = $1 and t.deleted_at is null \
                 and t.digest is not null \
               union select cast($2 as text) where $2 <> '' \
               union select c.child_digest from image_children c join tree t on c.digest = t.digest) ",
            $select,
            " from tree t join repository_images r on r.stream_id = $1 and r.digest = t.digest and r.source is null \
             join image_children c on c.digest = t.digest where c.os <> '' and c.os <> 'unknown' and c.media_type in (",
            manifest_types!(),
            ") and not exists (select 1 from repository_images h where h.stream_id = $1 and h.digest = c.child_digest)"
        )
    };
}

impl Store {
    /// Manifests of an index that a stream left in another registry: nothing of an index that is still to be brought as a whole, or that the
    /// repository does not serve.
    pub async fn list_left_out(&self, stream_id: &str, index: &str) -> Result<Vec<String>> {
        let left: Vec<(String,)> = sqlx::query_as(concat!(
            "select c.child_digest from image_children c join repository_images r on r.stream_id = $1 and r.digest = c.digest \
             where c.digest = $2 and r.source is null and c.media_type in (",
            manifest_types!(),
            ") and not exists (select 1 from repository_images h where h.stream_id = $1 and h.digest = c.child_digest)"
        ))
        .bind(stream_id)
        .bind(index)
        .fetch_all(self.pool())
        .await?;
        Ok(left.into_iter().map(|(digest,)| digest).collect())
    }

    /// What more a repository wants of an index is not to be had. Without effect once another worker has it, or it is wanted anew.
    pub async fn forget_more(&self, image: &IncompleteImage) -> Result<()> {
        let mut tx = self.write_tx().await?;
        sqlx::query(
            "update repository_images set more_from = null, more_at = null, complete_at = null \
             where stream_id = $1 and digest = $2 and source is null and coalesce(complete_at, 0) = $3",
        )
        .bind(&image.stream_id)
        .bind(&image.digest)
        .bind(image.complete_at)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }
}

impl WriteTx {
    /// What follows when a stream, as it was `before`, chooses platforms by these annotations, after all else that is written with them: what
    /// the indexes lack that its tags point to is brought, and tags that take one image of an index are imported again. What is here stays.
    pub(super) async fn follow_choice(&mut self, before: &Stream, annotations: &str, actor: &Actor) -> Result<()> {
        // Annotations of another time may choose what cannot be read now: all, as imports take it.
        let chosen = |annotations: &str| Platforms::of(annotations).unwrap_or_default();
        if chosen(&before.annotations) == chosen(annotations) {
            return Ok(());
        }
        self.want_chosen(&before.id, "").await?;
        // What failed with the choice before is tried at once.
        sqlx::query("update repository_images set complete_at = null, more_at = $2 where stream_id = $1 and more_from is not null")
            .bind(&before.id)
            .bind(now())
            .execute(&mut **self)
            .await?;
        self.wake(Controller::Completions);
        let legacy: Vec<Tag> = sqlx::query_as(super::tags::select_tag!(
            "where t.stream_id = $1 and t.deleted_at is null and t.has_spec = 1 and t.source_kind = 'DockerImage' \
             and t.reference_only = 0 and t.import_mode = 'Legacy' and t.generation <= $2 order by t.name"
        ))
        .bind(&before.id)
        .bind(before.generation)
        .fetch_all(&mut **self)
        .await?;
        for tag in legacy {
            let name = tag.name.parse().map_err(|error| Error::invalid("tag", format!("{error}")))?;
            self.set_tag(before, &name, &TagSpec::of(&tag)?, true, actor).await?;
        }
        Ok(())
    }

    /// Sees to it that a repository gets what it lacks of an image, and of what that lists, by what its stream chooses now; or of all its
    /// tags' images, for an empty digest. Who completes images brings it, from where the image was imported: what was pushed is nowhere else.
    pub(super) async fn want_chosen(&mut self, stream_id: &str, digest: &str) -> Result<()> {
        let lacking: Vec<Lacking> = sqlx::query_as(over_lacking!(
            "select r.digest as index_digest, c.os, coalesce(c.architecture, '') as architecture, c.variant"
        ))
        .bind(stream_id)
        .bind(digest)
        .fetch_all(&mut **self)
        .await?;
        if lacking.is_empty() {
            return Ok(());
        }
        let (annotations,): (String,) = sqlx::query_as("select annotations from streams where id = $1")
            .bind(stream_id)
            .fetch_one(&mut **self)
            .await?;
        let chosen = Platforms::of(&annotations).unwrap_or_default();
        let is_chosen = |one: &Lacking| chosen.cover(&one.os, &one.architecture, one.variant.as_deref());
        let indexes: BTreeSet<String> = lacking.into_iter().filter(is_chosen).map(|one| one.index_digest).collect();
        for index in indexes {
            let places = import_places(self, stream_id, &index).await?;
            let Some(place) = places.first() else { continue };
            // Whoever is at it already goes on.
            sqlx::query(
                "update repository_images set more_from = $3, more_at = $4, complete_at = null \
                 where stream_id = $1 and digest = $2 and more_from is null",
            )
            .bind(stream_id)
            .bind(&index)
            .bind(place.repository())
            .bind(now())
            .execute(&mut **self)
            .await?;
            self.wake(Controller::Completions);
        }
        Ok(())
    }
}

/// The platforms that a stream's annotations choose, or what is wrong with them.
pub(super) fn chosen_platforms(annotations: &str) -> Result<Platforms> {
    Platforms::of(annotations).map_err(|error| Error::invalid("metadata.annotations", format!("{PLATFORMS}: {error}")))
}

#[cfg(test)]
mod tests;
