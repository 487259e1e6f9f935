//! What the registry door reads and writes: uploads, blobs and manifests of repositories, and the push of a tag.

use super::moves::{Move, Moved};
use super::{Entry, Error, Result, Store, WriteTx, new_id};
use crate::model::{Actor, EventKind, Image, ImageChild, ImageLayer, NewImage, StoredManifest, Stream, TagName, now};

/// An upload under way.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Upload {
    pub id: String,
    pub stream_id: String,
    pub started_at: i64,
    pub updated_at: i64,
}

/// The tag that a push or an import wants to move.
#[derive(Debug, Clone, Copy)]
pub struct TagMove<'a> {
    pub tag: &'a TagName,
    pub kind: EventKind,
    /// The external reference by digest of what was imported; `None` for what was pushed here.
    pub reference: Option<&'a str>,
    pub cause: Option<i64>,
    pub build_id: Option<&'a str>,
}

impl Store {
    /// Begins an upload and gives its id.
    pub async fn begin_upload(&self, stream_id: &str, actor: &Actor) -> Result<String> {
        let id = new_id();
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
        sqlx::query("update uploads set updated_at = $2 where id = $1")
            .bind(id)
            .bind(now())
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Forgets an upload that was cancelled.
    pub async fn end_upload(&self, id: &str) -> Result<()> {
        sqlx::query("delete from uploads where id = $1").bind(id).execute(self.pool()).await?;
        Ok(())
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

    /// Records a blob whose bytes are safe, links it to the repository and ends the upload it came by.
    pub async fn link_blob(&self, stream_id: &str, digest: &str, size: i64, upload: Option<&str>) -> Result<()> {
        let mut tx = self.write_tx().await?;
        tx.link_blob(stream_id, digest, size).await?;
        if let Some(upload) = upload {
            sqlx::query("delete from uploads where id = $1").bind(upload).execute(&mut *tx).await?;
        }
        tx.commit().await
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
        let Some(size) = self.find_blob(from_stream_id, digest).await? else { return Ok(false) };
        self.link_blob(to_stream_id, digest, size, None).await?;
        Ok(true)
    }

    /// Those of `digests` the repository does not have.
    pub async fn missing_blobs(&self, stream_id: &str, digests: &[String]) -> Result<Vec<String>> {
        let mut missing = Vec::new();
        for digest in digests {
            if self.find_blob(stream_id, digest).await?.is_none() {
                missing.push(digest.clone());
            }
        }
        Ok(missing)
    }

    /// The manifest a tag of the repository points to.
    pub async fn find_manifest_by_tag(&self, stream_id: &str, tag: &str) -> Result<Option<StoredManifest>> {
        let manifest = sqlx::query_as(
            "select i.digest, i.media_type, i.manifest from tags t join images i on i.digest = t.digest \
             where t.stream_id = $1 and t.name = $2 and t.deleted_at is null",
        )
        .bind(stream_id)
        .bind(tag)
        .fetch_optional(self.pool())
        .await?;
        Ok(manifest)
    }

    /// The manifest of that digest, if this repository serves it.
    pub async fn find_manifest_by_digest(&self, stream_id: &str, digest: &str) -> Result<Option<StoredManifest>> {
        let manifest = sqlx::query_as(
            "select i.digest, i.media_type, i.manifest from repository_images r join images i on i.digest = r.digest \
             where r.stream_id = $1 and r.digest = $2",
        )
        .bind(stream_id)
        .bind(digest)
        .fetch_optional(self.pool())
        .await?;
        Ok(manifest)
    }

    /// Names of tags that point to an image, after `last`, in byte order.
    pub async fn list_tag_names(&self, stream_id: &str, last: &str, limit: i64) -> Result<Vec<String>> {
        let names: Vec<(String,)> = sqlx::query_as(
            "select name from tags where stream_id = $1 and deleted_at is null and digest is not null and name > $2 \
             order by name limit $3",
        )
        .bind(stream_id)
        .bind(last)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(names.into_iter().map(|(name,)| name).collect())
    }

    /// Stores a manifest in a repository and moves a tag to it, in one transaction: once this returns both are there for good.
    /// A build whose end was decided meanwhile may not move anything any more.
    pub async fn put_manifest(
        &self,
        stream: &Stream,
        image: &NewImage,
        to: Option<TagMove<'_>>,
        actor: &Actor,
    ) -> Result<Option<Moved>> {
        let mut tx = self.write_tx().await?;
        tx.insert_image(image).await?;
        tx.serve_image(&stream.id, image).await?;
        let mut moved = None;
        if let Some(to) = to {
            let (cause, cascade) = match to.build_id {
                Some(build_id) => tx.running_build(build_id).await?,
                None => (to.cause, None),
            };
            let tag = tx.ensure_tag(stream, to.tag).await?;
            let local = format!("{}@{}", stream.repository(), image.digest);
            let movement = Move {
                cause,
                cascade: cascade.as_deref(),
                build_id: to.build_id,
                ..Move::new(to.kind, &image.digest, to.reference.unwrap_or(&local), actor)
            };
            moved = Some(tx.move_tag(&tag, &movement).await?);
        } else {
            let entry = Entry {
                action: "image.push",
                project: Some(&stream.project),
                object: &stream.name,
                to: Some(&image.digest),
                ..Entry::default()
            };
            tx.record(actor, entry).await?;
        }
        tx.commit().await?;
        Ok(moved)
    }

    /// Stops serving a manifest by digest from a repository. Refused while one of its tags points there.
    pub async fn unlink_manifest(&self, stream: &Stream, digest: &str, actor: &Actor) -> Result<bool> {
        let mut tx = self.write_tx().await?;
        let pointing: Option<(String,)> =
            sqlx::query_as("select name from tags where stream_id = $1 and digest = $2 and deleted_at is null limit 1")
                .bind(&stream.id)
                .bind(digest)
                .fetch_optional(&mut *tx)
                .await?;
        if let Some((tag,)) = pointing {
            return Err(Error::Conflict(format!("tag {tag} points to {digest}: delete or move the tag first")));
        }
        let gone = sqlx::query("delete from repository_images where stream_id = $1 and digest = $2")
            .bind(&stream.id)
            .bind(digest)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        if gone == 0 {
            return Ok(false);
        }
        let entry = Entry {
            action: "image.delete",
            project: Some(&stream.project),
            object: &stream.name,
            from: Some(digest),
            ..Entry::default()
        };
        tx.record(actor, entry).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The image of that digest.
    pub async fn find_image(&self, digest: &str) -> Result<Option<Image>> {
        let image = sqlx::query_as(
            "select digest, media_type, artifact_type, manifest, size, config_digest, config, subject, architecture, os, variant, \
             created_claimed, annotations, first_seen_at from images where digest = $1",
        )
        .bind(digest)
        .fetch_optional(self.pool())
        .await?;
        Ok(image)
    }

    /// Layers of an image, base first.
    pub async fn list_layers(&self, digest: &str) -> Result<Vec<ImageLayer>> {
        let layers = sqlx::query_as(
            "select layer_digest, size, media_type from image_layers where digest = $1 order by position",
        )
        .bind(digest)
        .fetch_all(self.pool())
        .await?;
        Ok(layers)
    }

    /// Manifests listed in an index, in its order.
    pub async fn list_children(&self, digest: &str) -> Result<Vec<ImageChild>> {
        let children = sqlx::query_as(
            "select child_digest, media_type, size, architecture, os, variant from image_children where digest = $1 order by position",
        )
        .bind(digest)
        .fetch_all(self.pool())
        .await?;
        Ok(children)
    }
}

impl WriteTx {
    pub(super) async fn link_blob(&mut self, stream_id: &str, digest: &str, size: i64) -> Result<()> {
        sqlx::query("insert into blobs (digest, size, created_at) values ($1, $2, $3) on conflict (digest) do nothing")
            .bind(digest)
            .bind(size)
            .bind(now())
            .execute(&mut **self)
            .await?;
        sqlx::query("insert into repository_blobs (stream_id, digest, at) values ($1, $2, $3) on conflict (stream_id, digest) do nothing")
            .bind(stream_id)
            .bind(digest)
            .bind(now())
            .execute(&mut **self)
            .await?;
        Ok(())
    }

    /// Images are immutable: one that is there already stays as it is.
    async fn insert_image(&mut self, image: &NewImage) -> Result<()> {
        let inserted = sqlx::query(
            "insert into images (digest, media_type, artifact_type, manifest, size, config_digest, config, subject, architecture, os, \
             variant, created_claimed, annotations, first_seen_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) on conflict (digest) do nothing",
        )
        .bind(&image.digest)
        .bind(&image.media_type)
        .bind(image.artifact_type.as_deref())
        .bind(&image.manifest)
        .bind(image.size)
        .bind(image.config_digest.as_deref())
        .bind(image.config.as_deref())
        .bind(image.subject.as_deref())
        .bind(image.architecture.as_deref())
        .bind(image.os.as_deref())
        .bind(image.variant.as_deref())
        .bind(image.created.as_deref())
        .bind(if image.annotations.is_empty() { "{}" } else { &image.annotations })
        .bind(now())
        .execute(&mut **self)
        .await?
        .rows_affected();
        if inserted == 0 {
            return Ok(());
        }
        for (position, layer) in (0_i64..).zip(&image.layers) {
            sqlx::query("insert into image_layers (digest, position, layer_digest, size, media_type) values ($1, $2, $3, $4, $5)")
                .bind(&image.digest)
                .bind(position)
                .bind(&layer.layer_digest)
                .bind(layer.size)
                .bind(&layer.media_type)
                .execute(&mut **self)
                .await?;
        }
        for (position, child) in (0_i64..).zip(&image.children) {
            sqlx::query(
                "insert into image_children (digest, position, child_digest, media_type, size, architecture, os, variant) \
                 values ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(&image.digest)
            .bind(position)
            .bind(&child.child_digest)
            .bind(&child.media_type)
            .bind(child.size)
            .bind(child.architecture.as_deref())
            .bind(child.os.as_deref())
            .bind(child.variant.as_deref())
            .execute(&mut **self)
            .await?;
        }
        Ok(())
    }

    async fn serve_image(&mut self, stream_id: &str, image: &NewImage) -> Result<()> {
        sqlx::query("insert into repository_images (stream_id, digest, at) values ($1, $2, $3) on conflict (stream_id, digest) do nothing")
            .bind(stream_id)
            .bind(&image.digest)
            .bind(now())
            .execute(&mut **self)
            .await?;
        Ok(())
    }

    /// The request row and the cascade of a build that may still deliver.
    async fn running_build(&mut self, build_id: &str) -> Result<(Option<i64>, Option<String>)> {
        let build: Option<(i64, String)> = sqlx::query_as(
            "select sequence, cascade_id from builds where id = $1 and phase in ('Pending', 'Running') and cancel_requested_at is null",
        )
        .bind(build_id)
        .fetch_optional(&mut **self)
        .await?;
        let (sequence, cascade) = build.ok_or_else(|| {
            Error::Conflict("the build was cancelled or has ended: its image is not taken".to_owned())
        })?;
        Ok((Some(sequence), Some(cascade)))
    }
}
