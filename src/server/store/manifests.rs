//! Manifests of repositories: how they are found, and stored with the tags they are for.

use super::expected::Expected;
use super::memory::Leaves;
use super::moves::{Move, Moved};
use super::search_bases::chain_of;
use super::serving::beyond;
use super::tag_rules::refusal;
use super::{Entry, Error, Result, Store, WriteTx};
use crate::model::{
    Actor, EventKind, Image, ImageChild, ImageLayer, NewImage, Outcome, StoredManifest, Stream, TagName, now,
};

/// The field of [`Error::Invalid`] when a manifest names what its repository does not have; the message lists it.
pub const MANIFEST_PARTS: &str = "manifest.parts";

/// A tag that a push or an import wants to move.
#[derive(Debug, Clone, Copy)]
pub struct TagMove<'a> {
    pub tag: &'a TagName,
    pub kind: EventKind,
    /// The external reference by digest of what was imported; `None` for what was pushed here.
    pub reference: Option<&'a str>,
    pub cause: Option<i64>,
    pub build_id: Option<&'a str>,
}

/// A manifest with a subject, as the list of that subject's referrers tells it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Referrer {
    pub digest: String,
    pub media_type: String,
    pub artifact_type: Option<String>,
    /// Bytes of the manifest.
    pub size: i64,
    /// JSON object of text.
    pub annotations: String,
}

impl Store {
    /// The manifest a tag of the repository points to.
    pub async fn find_manifest_by_tag(&self, stream_id: &str, tag: &str) -> Result<Option<StoredManifest>> {
        let manifest = sqlx::query_as(
            "select i.digest, i.media_type, i.manifest from tags t join images i on i.digest = t.digest \
             where t.stream_id = $1 and t.name = $2 and t.deleted_at is null and t.refers_to is null",
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

    /// Stores a manifest in a repository and moves tags to it, in one transaction: once this returns all is there for good. Tells what
    /// became of each tag. What the manifest names must be in the repository, or it is refused with [`MANIFEST_PARTS`].
    /// A build whose end was decided meanwhile may not move anything any more.
    pub async fn put_manifest(
        &self,
        stream: &Stream,
        image: &NewImage,
        to: impl IntoIterator<Item = TagMove<'_>>,
        actor: &Actor,
    ) -> Result<Vec<Moved>> {
        self.put_manifest_if(stream, image, to, &Expected::Anywhere, actor).await
    }

    /// [`Store::put_manifest`], unless a tag is not where it is expected: that is refused with [`super::TAG_PRECONDITION`]. A push to a tag that
    /// the stream's rules keep where it is stores nothing and moves nothing, but stands in that tag's history.
    pub async fn put_manifest_if(
        &self,
        stream: &Stream,
        image: &NewImage,
        to: impl IntoIterator<Item = TagMove<'_>>,
        expected: &Expected,
        actor: &Actor,
    ) -> Result<Vec<Moved>> {
        let to: Vec<_> = to.into_iter().collect();
        let mut tx = self.write_tx().await?;
        tx.leaves(Leaves::Rights);
        for to in &to {
            tx.check_expected(&stream.id, to.tag, expected).await?;
        }
        tx.insert_image(image).await?;
        let missing = beyond(tx.missing_below(&stream.id, &image.digest).await?, &image.left_out);
        if !missing.is_empty() {
            let message = format!("the manifest names what this repository does not have: {}", missing.join(", "));
            return Err(Error::invalid(MANIFEST_PARTS, message));
        }
        tx.serve_image(&stream.id, &image.digest, None).await?;
        if let Some(subject) = &image.subject {
            tx.serve_to_followers(&stream.id, subject, &image.digest).await?;
        }
        let mut moves = Vec::with_capacity(to.len());
        for to in &to {
            moves.push(tx.move_pushed(stream, &image.digest, to, None, actor).await?);
        }
        if !image.left_out.is_empty() && !moves.iter().any(|moved| moved.changed) {
            // Other platforms may have been chosen while it was on its way. Where a tag moved this was asked already.
            tx.want_chosen(&stream.id, &image.digest).await?;
        }
        let refused: Vec<_> = to.iter().zip(&moves).filter(|(to, moved)| is_refused(to, moved)).collect();
        if let Some((first, moved)) = refused.first() {
            let error = refusal(&format!("{}:{}", stream.name, first.tag), moved.outcome);
            tx.abandon().await?;
            self.record_refused(stream, &image.digest, &refused, actor).await?;
            return Err(error);
        }
        if to.is_empty() {
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
        Ok(moves)
    }

    /// Moves a tag to a manifest that the repository has already, as a push of it does.
    pub async fn map_image(&self, stream: &Stream, digest: &str, tag: &TagName, actor: &Actor) -> Result<Moved> {
        let to = TagMove { tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        let mut tx = self.write_tx().await?;
        let there: Option<(i64,)> =
            sqlx::query_as("select cast(1 as bigint) from repository_images where stream_id = $1 and digest = $2")
                .bind(&stream.id)
                .bind(digest)
                .fetch_optional(&mut *tx)
                .await?;
        // It will count as pushed, as a whole.
        if there.is_none() || !tx.missing_below(&stream.id, digest).await?.is_empty() {
            let message =
                format!("the repository {} does not have all of it: push it there first", stream.repository());
            return Err(Error::invalid("image.metadata.name", message));
        }
        let moved = tx.move_pushed(stream, digest, &to, None, actor).await?;
        if is_refused(&to, &moved) {
            tx.abandon().await?;
            self.record_refused(stream, digest, &[(&to, &moved)], actor).await?;
            return Err(refusal(&format!("{}:{tag}", stream.name), moved.outcome));
        }
        tx.commit().await?;
        Ok(moved)
    }

    /// Leaves a row in the histories of tags whose push was refused.
    async fn record_refused(
        &self,
        stream: &Stream,
        digest: &str,
        refused: &[(&TagMove<'_>, &Moved)],
        actor: &Actor,
    ) -> Result<()> {
        let mut tx = self.write_tx().await?;
        for (to, moved) in refused {
            tx.move_pushed(stream, digest, to, Some(moved.outcome), actor).await?;
        }
        tx.commit().await
    }

    /// Manifests of the repository whose subject is `digest`, after `last`, by digest; those of one artifact type unless that is empty.
    pub async fn list_referrers(
        &self,
        stream_id: &str,
        digest: &str,
        artifact_type: &str,
        last: &str,
        limit: i64,
    ) -> Result<Vec<Referrer>> {
        let referrers = sqlx::query_as(
            "select i.digest, i.media_type, i.artifact_type, cast(octet_length(i.manifest) as bigint) as size, i.annotations \
             from images i join repository_images r on r.digest = i.digest and r.stream_id = $1 \
             where i.subject = $2 and ($3 = '' or i.artifact_type = $3) and i.digest > $4 order by i.digest limit $5",
        )
        .bind(stream_id)
        .bind(digest)
        .bind(artifact_type)
        .bind(last)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(referrers)
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
    pub(super) async fn move_pushed(
        &mut self,
        stream: &Stream,
        digest: &str,
        to: &TagMove<'_>,
        refused: Option<Outcome>,
        actor: &Actor,
    ) -> Result<Moved> {
        let (cause, cascade) = match to.build_id {
            Some(build_id) => self.running_build(build_id).await?,
            None => (to.cause, None),
        };
        let tag = self.ensure_tag(stream, to.tag).await?;
        let is_push = matches!(to.kind, EventKind::Push | EventKind::Build);
        if is_push {
            self.count_push(&tag).await?;
        }
        let local = format!("{}@{digest}", stream.repository());
        // Nobody who did it could say why.
        let source = tag.source.as_deref().filter(|_| to.kind == EventKind::Import);
        let reason = source.map(|source| format!("imported from {source}"));
        // An import brings what the tag should be, which may not be all that was said of its stream since.
        let generation = (to.kind == EventKind::Import && tag.generation > 0).then_some(tag.generation);
        let movement = Move {
            generation,
            cause,
            cascade: cascade.as_deref(),
            build_id: to.build_id,
            reason: reason.as_deref(),
            ..Move::new(to.kind, digest, to.reference.unwrap_or(&local), actor)
        };
        let moved = match refused {
            Some(outcome) => self.write_move(&tag, &movement, outcome).await?,
            None => self.move_tag(&tag, &movement).await?,
        };
        // What waits for the end of a hold will come to the tag then.
        if moved.changed && matches!(moved.outcome, Outcome::Moved | Outcome::Held) {
            self.check_image_limits(stream, digest, moved.sequence).await?;
        }
        if is_push && moved.outcome == Outcome::Moved {
            self.satisfy_import(&tag).await?;
        }
        Ok(moved)
    }

    /// Images are immutable: one that is there already stays as it is.
    pub(super) async fn insert_image(&mut self, image: &NewImage) -> Result<()> {
        let inserted = sqlx::query(
            "insert into images (digest, media_type, artifact_type, manifest, size, config_digest, config, subject, architecture, os, \
             variant, created_claimed, annotations, first_seen_at, chain_id) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) on conflict (digest) do nothing",
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
        .bind(chain_of(image.config.as_deref()))
        .execute(&mut **self)
        .await?
        .rows_affected();
        if inserted == 0 {
            return Ok(());
        }
        self.write_chains(&image.digest, image.config.as_deref()).await?;
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
        self.want_layers_read(&image.digest).await
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

/// Imports go on without the tag; whoever pushes has to know.
fn is_refused(to: &TagMove<'_>, moved: &Moved) -> bool {
    matches!(to.kind, EventKind::Push | EventKind::Build) && moved.outcome.refuses_pushes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::store::testing::{each_store, project};

    /// An image of one layer, or the index of one manifest.
    fn made_of(digest: &str, layer: &str, child: &str) -> NewImage {
        let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
        let layer = ImageLayer { layer_digest: layer.to_owned(), size: 1, media_type: "x/layer".to_owned() };
        let (architecture, os, variant) = (None, None, None);
        let child_digest = child.to_owned();
        let child = ImageChild { child_digest, media_type, size: 1, architecture, os, variant };
        let is_index = layer.layer_digest.is_empty();
        NewImage {
            digest: digest.to_owned(),
            manifest: "{}".to_owned(),
            layers: if is_index { vec![] } else { vec![layer] },
            children: if is_index { vec![child] } else { vec![] },
            ..NewImage::default()
        }
    }

    #[tokio::test]
    async fn a_manifest_is_stored_whole_or_not_at_all() {
        for store in each_store().await {
            project(&store, "demo").await;
            let (actor, tag) = (Actor::person("ada"), "latest".parse().unwrap());
            let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &actor).await.unwrap();
            let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
            let (image, index) = (made_of("sha256:i", "sha256:l", ""), made_of("sha256:x", "", "sha256:i"));
            for (what, missing) in [(&image, "sha256:l"), (&index, "sha256:i")] {
                match store.put_manifest(&stream, what, Some(to), &actor).await {
                    Err(Error::Invalid { field, message }) => {
                        assert_eq!(field, MANIFEST_PARTS);
                        assert!(message.ends_with(missing), "{message}");
                    }
                    other => panic!("a manifest without its parts was answered with {other:?}"),
                }
                assert_eq!(store.find_image(&what.digest).await.unwrap(), None);
            }
            assert_eq!(store.find_tag("demo", "app", "latest").await.unwrap(), None);

            store.link_blob(&stream.id, "sha256:l", 1, None).await.unwrap();
            store.put_manifest(&stream, &image, None, &actor).await.unwrap();
            store.put_manifest(&stream, &index, Some(to), &actor).await.unwrap();
            assert!(store.delete_manifest(&stream, &index.digest, &actor).await.unwrap());
            assert!(store.delete_manifest(&stream, &image.digest, &actor).await.unwrap());
            assert!(store.unlink_blob(&stream, "sha256:l", &actor).await.unwrap());
            let again = store.put_manifest(&stream, &image, None, &actor).await;
            assert!(matches!(again, Err(Error::Invalid { .. })), "known from before is not enough");
        }
    }
}
