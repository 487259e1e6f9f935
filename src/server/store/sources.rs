//! Images of which parts may still be only in another registry: which they are, where those parts are, and which of them a repository
//! may fetch. Only what an image in the repository's own history consists of is ever looked for elsewhere.

use super::manifests::TagMove;
use super::moves::Moved;
use super::{Entry, Result, Store, WriteTx};
use crate::model::{Actor, NewImage, StoredManifest, Stream, now};
use crate::server::wake::Controller;

/// Where an image was imported from. The project's secrets are those to ask with.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ImportPlace {
    pub project: String,
    /// `<repository>@<digest>`
    pub reference: String,
    pub insecure: i64,
}

impl ImportPlace {
    /// The repository of the other registry.
    pub fn repository(&self) -> &str {
        self.reference.split_once('@').map_or(&*self.reference, |(repository, _)| repository)
    }
}

/// An image that a repository serves before all of it has arrived.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct IncompleteImage {
    pub stream_id: String,
    pub project: String,
    pub stream: String,
    pub digest: String,
    /// Since when the repository serves it.
    pub at: i64,
}

impl Store {
    /// Manifests of the repository that name the blob, incomplete ones first.
    pub async fn list_manifests_of_blob(&self, stream_id: &str, blob: &str) -> Result<Vec<StoredManifest>> {
        let manifests = sqlx::query_as(
            "select i.digest, i.media_type, i.manifest from (select digest from image_layers where layer_digest = $2 \
               union select digest from images where config_digest = $2 \
               union select digest from image_children where child_digest = $2) x \
             join repository_images r on r.digest = x.digest and r.stream_id = $1 join images i on i.digest = x.digest \
             order by case when r.source is null then 1 else 0 end, i.digest limit 8",
        )
        .bind(stream_id)
        .bind(blob)
        .fetch_all(self.pool())
        .await?;
        Ok(manifests)
    }

    /// An index of the repository that lists the manifest.
    pub async fn find_index_of(&self, stream_id: &str, manifest: &str) -> Result<Option<String>> {
        let index: Option<(String,)> = sqlx::query_as(
            "select c.digest from image_children c join repository_images r on r.digest = c.digest and r.stream_id = $1 \
             where c.child_digest = $2 limit 1",
        )
        .bind(stream_id)
        .bind(manifest)
        .fetch_optional(self.pool())
        .await?;
        Ok(index.map(|(digest,)| digest))
    }

    /// Where an image, or an index that lists it, was imported from; for this repository before others, and newest first.
    pub async fn list_import_places(&self, stream_id: &str, digest: &str) -> Result<Vec<ImportPlace>> {
        let places = sqlx::query_as(
            "with recursive above (digest) as (select cast($1 as text) \
               union select c.digest from image_children c join above a on c.child_digest = a.digest) \
             select p.name as project, e.reference as reference, max(t.insecure) as insecure from above a \
             join tag_events e on e.digest = a.digest join tags t on t.id = e.tag_id \
             join streams s on s.id = t.stream_id join projects p on p.id = s.project_id \
             where e.kind = 'import' and e.reference is not null group by p.name, e.reference \
             order by max(case when t.stream_id = $2 then 1 else 0 end) desc, max(e.sequence) desc limit 4",
        )
        .bind(digest)
        .bind(stream_id)
        .fetch_all(self.pool())
        .await?;
        Ok(places)
    }

    /// Whether a repository may have a blob that is stored here although nobody pushed or fetched it for this one: its project has it, or
    /// an image that has it was imported from the same `repository` of another registry, and is whole.
    pub async fn is_blob_granted(&self, stream_id: &str, blob: &str, repository: &str) -> Result<bool> {
        let granted: Option<(i64,)> = sqlx::query_as(
            "with recursive above (image, digest) as (\
               select x.digest, x.digest from (select digest from image_layers where layer_digest = $2 \
                 union select digest from images where config_digest = $2 \
                 union select digest from image_children where child_digest = $2) x \
               union select a.image, c.digest from image_children c join above a on c.child_digest = a.digest) \
             select cast(1 as bigint) from repository_blobs where digest = $2 \
               and project_id = (select project_id from streams where id = $1) \
             union all select cast(1 as bigint) from above a join tag_events e on e.digest = a.digest \
               join tags t on t.id = e.tag_id join repository_images r on r.stream_id = t.stream_id and r.digest = a.image \
               where e.kind = 'import' and e.reference = cast($3 as text) || '@' || e.digest and r.source is null limit 1",
        )
        .bind(stream_id)
        .bind(blob)
        .bind(repository)
        .fetch_optional(self.pool())
        .await?;
        Ok(granted.is_some())
    }

    /// Stores a manifest whose parts are still in the repository `source` of another registry, and moves a tag to it. The parts are
    /// brought afterwards.
    pub async fn put_incomplete(
        &self,
        stream: &Stream,
        image: &NewImage,
        source: &str,
        to: Option<TagMove<'_>>,
        actor: &Actor,
    ) -> Result<Option<Moved>> {
        let mut tx = self.write_tx().await?;
        tx.insert_image(image).await?;
        tx.serve_image(&stream.id, &image.digest, Some(source)).await?;
        if let Some(subject) = &image.subject {
            tx.serve_to_followers(&stream.id, subject, &image.digest).await?;
        }
        let moved = match &to {
            Some(to) => Some(tx.move_pushed(stream, image, to, None, actor).await?),
            None => {
                let entry = Entry {
                    action: "image.import",
                    project: Some(&stream.project),
                    object: &stream.name,
                    from: Some(source),
                    to: Some(&image.digest),
                    ..Entry::default()
                };
                tx.record(actor, entry).await?;
                None
            }
        };
        tx.wake(Controller::Completions);
        tx.commit().await?;
        Ok(moved)
    }

    /// Takes up to `limit` images whose missing parts are to be brought now.
    pub async fn claim_incomplete(&self, lease_ms: i64, limit: i64) -> Result<Vec<IncompleteImage>> {
        const DUE: &str = "r.source is not null and (r.complete_at is null or r.complete_at <= $1)";
        let any: Option<(i64,)> =
            sqlx::query_as(sqlx::AssertSqlSafe(format!("select 1 from repository_images r where {DUE} limit 1")))
                .bind(now())
                .fetch_optional(self.pool())
                .await?;
        if any.is_none() {
            return Ok(Vec::new());
        }
        let mut tx = self.write_tx().await?;
        let due: Vec<IncompleteImage> = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "select r.stream_id, p.name as project, s.name as stream, r.digest, r.at from repository_images r \
             join streams s on s.id = r.stream_id join projects p on p.id = s.project_id \
             where {DUE} order by r.at, r.digest limit $2"
        )))
        .bind(now())
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        for image in &due {
            tx.set_complete_at(image, now() + lease_ms).await?;
        }
        tx.commit().await?;
        Ok(due)
    }

    /// The image's missing parts are to be brought at another time.
    pub async fn postpone_completion(&self, image: &IncompleteImage, until: i64) -> Result<()> {
        let mut tx = self.write_tx().await?;
        tx.set_complete_at(image, until).await?;
        tx.commit().await
    }

    /// When missing parts are to be brought next, in milliseconds since the epoch.
    pub async fn next_completion_at(&self) -> Result<Option<i64>> {
        let (next,): (Option<i64>,) =
            sqlx::query_as("select min(coalesce(complete_at, 0)) from repository_images where source is not null")
                .fetch_one(self.pool())
                .await?;
        Ok(next)
    }

    /// Notes that all an image consists of is in the repository; gives what is not.
    pub async fn complete_image(&self, stream_id: &str, digest: &str) -> Result<Vec<String>> {
        let mut tx = self.write_tx().await?;
        let missing = tx.missing_parts(stream_id, digest).await?;
        if missing.is_empty() {
            sqlx::query(
                "update repository_images set source = null, complete_at = null where stream_id = $1 and digest = $2",
            )
            .bind(stream_id)
            .bind(digest)
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
        }
        Ok(missing)
    }
}

impl WriteTx {
    async fn set_complete_at(&mut self, image: &IncompleteImage, at: i64) -> Result<()> {
        sqlx::query(
            "update repository_images set complete_at = $3 where stream_id = $1 and digest = $2 and source is not null",
        )
        .bind(&image.stream_id)
        .bind(&image.digest)
        .bind(at)
        .execute(&mut **self)
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{EventKind, ImageLayer, SourceKind};
    use crate::server::store::testing::{each_store, project};
    use crate::server::store::{CheckEnd, ImportTrouble, TagSpec};

    fn image() -> NewImage {
        let media_type = "x/layer".to_owned();
        NewImage {
            digest: "sha256:i".to_owned(),
            manifest: "{}".to_owned(),
            config_digest: Some("sha256:c".to_owned()),
            layers: vec![ImageLayer { layer_digest: "sha256:l".to_owned(), size: 1, media_type }],
            ..NewImage::default()
        }
    }

    #[tokio::test]
    async fn an_image_is_served_before_it_is_whole_and_completed_in_each_repository() {
        for store in each_store().await {
            project(&store, "demo").await;
            let (actor, name) = (Actor::system("test"), "latest".parse().unwrap());
            let stream = store.ensure_stream("demo", &"base".parse().unwrap(), &actor).await.unwrap();
            let spec = TagSpec { insecure: true, ..TagSpec::import("quay.io/org/base:1") };
            store.set_tag("demo", &"base".parse().unwrap(), &name, &spec, None, &actor).await.unwrap();
            let follow = Some((SourceKind::ImageStreamTag, "base:latest".to_owned()));
            let follow = TagSpec { source: follow, ..TagSpec::default() };
            store.set_tag("demo", &"web".parse().unwrap(), &name, &follow, None, &actor).await.unwrap();
            let web = store.stream("demo", "web").await.unwrap();

            let reference = "quay.io/org/base@sha256:i";
            let kind = EventKind::Import;
            let to = TagMove { tag: &name, kind, reference: Some(reference), cause: None, build_id: None };
            let moved = store.put_incomplete(&stream, &image(), "quay.io/org/base", Some(to), &actor).await.unwrap();
            assert!(moved.unwrap().changed);
            for stream in [&stream, &web] {
                assert!(store.find_manifest_by_tag(&stream.id, "latest").await.unwrap().is_some());
                assert_eq!(store.list_manifests_of_blob(&stream.id, "sha256:l").await.unwrap().len(), 1);
                let places = store.list_import_places(&stream.id, "sha256:i").await.unwrap();
                let reference = reference.to_owned();
                assert_eq!(places, [ImportPlace { project: "demo".to_owned(), reference, insecure: 1 }]);
                assert_eq!(store.complete_image(&stream.id, "sha256:i").await.unwrap(), ["sha256:c", "sha256:l"]);
            }
            assert_eq!(store.list_manifests_of_blob(&stream.id, "sha256:other").await.unwrap(), []);
            assert_eq!(store.list_import_places(&stream.id, "sha256:other").await.unwrap(), []);
            assert_eq!(store.list_needed_blobs("", "t").await.unwrap(), [], "it may be elsewhere");

            assert_eq!(store.next_completion_at().await.unwrap(), Some(0));
            let claimed = store.claim_incomplete(60_000, 10).await.unwrap();
            assert_eq!(claimed.len(), 2);
            assert_eq!(store.claim_incomplete(60_000, 10).await.unwrap(), [], "a worker is at it");
            store.postpone_completion(&claimed[0], 1).await.unwrap();
            assert_eq!(store.claim_incomplete(60_000, 10).await.unwrap(), [claimed[0].clone()]);
            store.end_all_leases().await.unwrap();
            for image in store.claim_incomplete(60_000, 10).await.unwrap() {
                for blob in ["sha256:c", "sha256:l"] {
                    store.link_blob(&image.stream_id, blob, 1, None).await.unwrap();
                }
                assert_eq!(store.complete_image(&image.stream_id, "sha256:i").await.unwrap(), Vec::<String>::new());
            }
            assert_eq!(store.next_completion_at().await.unwrap(), None);
            assert_eq!(store.list_needed_blobs("", "t").await.unwrap().len(), 2);
        }
    }

    #[tokio::test]
    async fn one_at_a_time_checks_a_tag_and_its_trouble_is_told() {
        for store in each_store().await {
            project(&store, "demo").await;
            let (actor, name) = (Actor::system("test"), "latest".parse().unwrap());
            let spec = TagSpec::import("quay.io/org/base:1");
            let tag = store.set_tag("demo", &"base".parse().unwrap(), &name, &spec, None, &actor).await.unwrap().tag;
            let due = store.claim_import(&tag.id, "one", 60_000).await.unwrap().unwrap();
            assert_eq!(store.claim_import(&tag.id, "two", 60_000).await.unwrap(), None);
            store.release_import(&tag.id, "two").await.unwrap();
            assert_eq!(store.claim_import(&tag.id, "two", 60_000).await.unwrap(), None, "it is not theirs to give");
            store.release_import(&tag.id, "one").await.unwrap();
            assert!(store.claim_import(&tag.id, "two", 60_000).await.unwrap().is_some());
            assert_eq!(store.claim_import("no such tag", "two", 60_000).await.unwrap(), None);

            assert!(!store.is_any_import_failing().await.unwrap());
            let end = CheckEnd::Failed { reason: "timeout", message: "too slow" };
            store.record_check(&due, &end, None).await.unwrap();
            assert!(store.is_any_import_failing().await.unwrap());
            let trouble = ImportTrouble { message: Some("too slow".to_owned()), last_ok_at: None };
            assert_eq!(store.find_import_trouble(&tag.stream_id, "latest").await.unwrap(), Some(trouble));
            assert_eq!(store.find_import_trouble(&tag.stream_id, "other").await.unwrap(), None);
        }
    }
}
