//! What `verify`, `gc` and `backup` ask of the database.

use std::path::Path;

use super::{Backend, Error, Result, Store};

/// A blob that an image of ours consists of.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct NeededBlob {
    /// The image's digest.
    pub image: String,
    pub blob: String,
}

impl Store {
    /// Digests of images after `after`, in order.
    pub async fn list_image_digests(&self, after: &str, limit: i64) -> Result<Vec<String>> {
        let rows: Vec<(String,)> =
            sqlx::query_as("select digest from images where digest > $1 order by digest limit $2")
                .bind(after)
                .bind(limit)
                .fetch_all(self.pool())
                .await?;
        Ok(rows.into_iter().map(|(digest,)| digest).collect())
    }

    /// The blobs that have to be here for these images, between two digests inclusive. Images whose layers may still be only in
    /// another registry are left out, and so are layers that no registry may hand on.
    pub async fn list_needed_blobs(&self, first_image: &str, last_image: &str) -> Result<Vec<NeededBlob>> {
        let rows = sqlx::query_as(
            "select x.image as image, x.blob as blob from ( \
               select digest as image, layer_digest as blob from image_layers \
               where media_type not like '%foreign%' and media_type not like '%nondistributable%' \
               union select digest as image, config_digest as blob from images where config_digest is not null) x \
             where x.image >= $1 and x.image <= $2 \
             and exists (select 1 from repository_images r where r.digest = x.image and r.source is null) order by x.image",
        )
        .bind(first_image)
        .bind(last_image)
        .fetch_all(self.pool())
        .await?;
        Ok(rows)
    }

    /// Digests of blobs that repositories promise to serve, after `after`, in order.
    pub async fn list_promised_blobs(&self, after: &str, limit: i64) -> Result<Vec<String>> {
        let rows: Vec<(String,)> =
            sqlx::query_as("select distinct digest from repository_blobs where digest > $1 order by digest limit $2")
                .bind(after)
                .bind(limit)
                .fetch_all(self.pool())
                .await?;
        Ok(rows.into_iter().map(|(digest,)| digest).collect())
    }

    /// What cannot be pulled whole without the blob: tags and images as one pulls them, those of indexes too, in order.
    pub async fn list_users_of_blob(&self, digest: &str) -> Result<Vec<String>> {
        let rows: Vec<(String,)> = sqlx::query_as(
            "with recursive hit (digest) as ( \
               select digest from image_layers where layer_digest = $1 \
               union select digest from images where config_digest = $1 \
               union select c.digest from image_children c join hit on hit.digest = c.child_digest) \
             select p.name || '/' || s.name || ':' || t.name as name from hit join tags t on t.digest = hit.digest \
               join streams s on s.id = t.stream_id join projects p on p.id = s.project_id where t.deleted_at is null \
             union select p.name || '/' || s.name || '@' || hit.digest from hit join repository_images r on r.digest = hit.digest \
               join streams s on s.id = r.stream_id join projects p on p.id = s.project_id order by 1",
        )
        .bind(digest)
        .fetch_all(self.pool())
        .await?;
        Ok(rows.into_iter().map(|(name,)| name).collect())
    }

    /// Whether a repository or an image needs the blob.
    pub async fn is_blob_needed(&self, digest: &str) -> Result<bool> {
        let row: Option<(i64,)> = sqlx::query_as(
            "select 1 from (select 1 from repository_blobs where digest = $1 \
             union all select 1 from image_layers where layer_digest = $1 \
             union all select 1 from images where config_digest = $1) x limit 1",
        )
        .bind(digest)
        .fetch_optional(self.pool())
        .await?;
        Ok(row.is_some())
    }

    /// Writes a consistent copy of a SQLite database to a new file.
    pub async fn copy_database(&self, to: &Path) -> Result<()> {
        if self.backend() != Backend::Sqlite {
            return Err(Error::Conflict(
                "only SQLite is copied: save PostgreSQL with pg_dump, then copy the blobs and the key file".to_owned(),
            ));
        }
        sqlx::query("vacuum into $1").bind(to.display().to_string()).execute(self.pool()).await?;
        Ok(())
    }
}
