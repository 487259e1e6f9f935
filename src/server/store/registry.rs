//! What the registry door reads and writes of uploads and blobs, and its lists of repositories and tags.

use super::links::Content;
use super::memory::Leaves;
use super::{Entry, Error, Result, Store, new_id};
use crate::model::{Actor, Stream, now};

/// An upload under way.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Upload {
    pub id: String,
    pub stream_id: String,
    pub started_at: i64,
    pub updated_at: i64,
}

/// A repository that has a blob.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct BlobSource {
    pub stream_id: String,
    pub project: String,
    pub stream: String,
}

impl Store {
    /// Begins an upload and gives its id.
    pub async fn begin_upload(&self, stream_id: &str, actor: &Actor) -> Result<String> {
        let id = new_id();
        let _turn = self.turn().await;
        sqlx::query("insert into uploads (id, stream_id, actor, started_at, updated_at) values ($1, $2, $3, $4, $4)")
            .bind(&id)
            .bind(stream_id)
            .bind(&actor.name)
            .bind(now())
            .execute(self.pool())
            .await?;
        Ok(id)
    }

    /// The upload, if it belongs to this repository.
    pub async fn find_upload(&self, stream_id: &str, id: &str) -> Result<Option<Upload>> {
        let upload = sqlx::query_as(
            "select id, stream_id, started_at, updated_at from uploads where id = $1 and stream_id = $2",
        )
        .bind(id)
        .bind(stream_id)
        .fetch_optional(self.pool())
        .await?;
        Ok(upload)
    }

    /// Notes that the upload is alive.
    pub async fn touch_upload(&self, id: &str) -> Result<()> {
        let _turn = self.turn().await;
        sqlx::query("update uploads set updated_at = $2 where id = $1")
            .bind(id)
            .bind(now())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Forgets an upload that was cancelled.
    pub async fn end_upload(&self, id: &str) -> Result<()> {
        let _turn = self.turn().await;
        sqlx::query("delete from uploads where id = $1").bind(id).execute(self.pool()).await?;
        Ok(())
    }

    /// Whether an upload has a row, in whatever repository.
    pub async fn is_upload_recorded(&self, id: &str) -> Result<bool> {
        let row: Option<(String,)> =
            sqlx::query_as("select id from uploads where id = $1").bind(id).fetch_optional(self.pool()).await?;
        Ok(row.is_some())
    }

    /// Uploads nobody touched since `before`, oldest first.
    pub async fn list_stale_uploads(&self, before: i64) -> Result<Vec<Upload>> {
        let uploads = sqlx::query_as(
            "select id, stream_id, started_at, updated_at from uploads where updated_at < $1 order by updated_at limit 1000",
        )
        .bind(before)
        .fetch_all(self.pool())
        .await?;
        Ok(uploads)
    }

    /// Records a blob whose bytes are safe, links it to the repository and ends the upload it came by. It need not last before the
    /// manifest that names it does: a client whose push was cut short by a power cut asks which blobs are there. Bytes that come while
    /// the collector works are claimed first, and linked by [`Store::link_claimed_blob`].
    pub async fn link_blob(&self, stream_id: &str, digest: &str, size: i64, upload: Option<&str>) -> Result<()> {
        let mut tx = self.write_tx().await?;
        tx.leaves(Leaves::Found);
        tx.settle_deletion(digest, None).await?;
        tx.link_blob(stream_id, digest, size).await?;
        if let Some(upload) = upload {
            sqlx::query("delete from uploads where id = $1").bind(upload).execute(&mut *tx).await?;
        }
        tx.commit_soon().await
    }

    /// Size of a blob that the repository may serve.
    pub async fn find_blob(&self, stream_id: &str, digest: &str) -> Result<Option<i64>> {
        let size: Option<(i64,)> = sqlx::query_as(
            "select b.size from repository_blobs r join blobs b on b.digest = r.digest where r.stream_id = $1 and r.digest = $2",
        )
        .bind(stream_id)
        .bind(digest)
        .fetch_optional(self.pool())
        .await?;
        Ok(size.map(|(size,)| size))
    }

    /// Size of a blob in any repository: what an import need not fetch again.
    pub async fn find_any_blob(&self, digest: &str) -> Result<Option<i64>> {
        let size: Option<(i64,)> =
            sqlx::query_as("select size from blobs where digest = $1").bind(digest).fetch_optional(self.pool()).await?;
        Ok(size.map(|(size,)| size))
    }

    /// Lets one repository serve a blob of another; false when the other does not have it.
    pub async fn mount_blob(&self, from_stream_id: &str, to_stream_id: &str, digest: &str) -> Result<bool> {
        let mut tx = self.write_tx().await?;
        let size: Option<(i64,)> = sqlx::query_as(
            "select b.size from repository_blobs r join blobs b on b.digest = r.digest where r.stream_id = $1 and r.digest = $2",
        )
        .bind(from_stream_id)
        .bind(digest)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((size,)) = size else { return Ok(false) };
        tx.link_blob(to_stream_id, digest, size).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Some of the repositories that have a blob.
    pub async fn list_blob_sources(&self, digest: &str, limit: i64) -> Result<Vec<BlobSource>> {
        let sources = sqlx::query_as(
            "select s.id as stream_id, p.name as project, s.name as stream from repository_blobs r \
             join streams s on s.id = r.stream_id join projects p on p.id = s.project_id where r.digest = $1 order by s.id limit $2",
        )
        .bind(digest)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(sources)
    }

    /// Stops serving a blob from a repository; false when it does not. Refused while a manifest of the repository names it.
    pub async fn unlink_blob(&self, stream: &Stream, digest: &str, actor: &Actor) -> Result<bool> {
        let mut tx = self.write_tx().await?;
        if !tx.unlink(Content::Blob, &stream.id, digest).await? {
            return Ok(false);
        }
        let needing: Option<(String,)> = sqlx::query_as(
            "select r.digest from (select digest from image_layers where layer_digest = $2 \
               union select digest from images where config_digest = $2 \
               union select digest from image_children where child_digest = $2) i \
             join repository_images r on r.digest = i.digest and r.stream_id = $1 limit 1",
        )
        .bind(&stream.id)
        .bind(digest)
        .fetch_optional(&mut *tx)
        .await?;
        if let Some((image,)) = needing {
            return Err(Error::Conflict(format!("the manifest {image} names this blob: delete the manifest first")));
        }
        let entry = Entry {
            action: "blob.delete",
            project: Some(&stream.project),
            object: &stream.name,
            from: Some(digest),
            ..Entry::default()
        };
        tx.record(actor, entry).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Names of tags that point to an image, after `last`, in byte order.
    pub async fn list_tag_names(&self, stream_id: &str, last: &str, limit: i64) -> Result<Vec<String>> {
        // One row for all of them: reading a row costs more than what is in it. No name has a comma.
        let (names,): (Option<String>,) = sqlx::query_as(
            "select string_agg(name, ',') from (\
               select name from tags where stream_id = $1 and deleted_at is null and digest is not null and refers_to is null \
               and name > $2 collate \"binary\" order by name collate \"binary\" limit $3) t",
        )
        .bind(stream_id)
        .bind(last)
        .bind(limit)
        .fetch_one(self.pool())
        .await?;
        let mut names: Vec<String> = names.iter().flat_map(|names| names.split(',')).map(str::to_owned).collect();
        // In order already, but no database promises that of what it joins.
        names.sort_unstable();
        Ok(names)
    }

    /// Names of repositories after `last`, in byte order: those of a user's projects, or everybody's for `None`, and of those only one
    /// project's where that is given.
    pub async fn list_repositories(
        &self,
        user_id: Option<&str>,
        project: Option<&str>,
        last: &str,
        limit: i64,
    ) -> Result<Vec<String>> {
        let names: Vec<(String,)> = sqlx::query_as(
            "select p.name || '/' || s.name from streams s join projects p on p.id = s.project_id \
             where ($1 = '' or exists (select 1 from role_bindings b where b.project_id = p.id and b.user_id = $1)) \
             and ($2 = '' or p.name = $2) and p.name || '/' || s.name > $3 collate \"binary\" \
             order by (p.name || '/' || s.name) collate \"binary\" limit $4",
        )
        .bind(user_id.unwrap_or_default())
        .bind(project.unwrap_or_default())
        .bind(last)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(names.into_iter().map(|(name,)| name).collect())
    }
}
