//! Images of which parts may still be only in another registry: which they are, where those parts are, and which of them a repository
//! may fetch. Only what an image in the repository's own history consists of is ever looked for elsewhere.

use sqlx::AnyConnection;

use super::manifests::TagMove;
use super::media_types::manifest_types;
use super::moves::Moved;
use super::serving::{beyond, with_above};
use super::{Entry, Error, Result, Store, WriteTx};
use crate::model::{Actor, NewImage, StoredManifest, Stream, Tag, now};
use crate::server::wake::Controller;

/// Where an image was imported from. The project's secrets are those to ask with.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ImportPlace {
    pub project: String,
    /// `<repository>@<digest>`
    pub reference: String,
    /// 1 when the tag says so, or its stream by OpenShift's annotation, which stands in JSON without spaces.
    pub insecure: i64,
}

impl ImportPlace {
    /// The repository of the other registry.
    pub fn repository(&self) -> &str {
        self.reference.split_once('@').map_or(&*self.reference, |(repository, _)| repository)
    }
}

/// Images of which something is to be brought at `$1`. Each half is a look at an index of its own.
macro_rules! due_images {
    () => {
        "select stream_id, project_id, digest, source, 0 as is_whole, at, complete_at from repository_images \
           where source is not null and (complete_at is null or complete_at <= $1) \
         union all select stream_id, project_id, digest, more_from as source, 1 as is_whole, coalesce(more_at, at) as at, \
           complete_at from repository_images \
           where source is null and more_from is not null and (complete_at is null or complete_at <= $1)"
    };
}

/// An image that a repository serves before all of it has arrived, or of which it wants more.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct IncompleteImage {
    pub stream_id: String,
    pub project: String,
    pub stream: String,
    pub digest: String,
    /// The repository of another registry that has what is missing.
    pub source: String,
    /// 1 when only more of its platforms are wanted than there are.
    pub is_whole: i64,
    /// Since when the repository serves it, or wants more of it.
    pub at: i64,
    /// When the claim of it ends, by which its worker is known: no later claim ends at the same time.
    pub complete_at: i64,
}

impl IncompleteImage {
    /// The other registry, as far as the source tells it: enough to tell one from another.
    pub fn registry(&self) -> &str {
        self.source.split('/').next().unwrap_or_default()
    }
}

/// In how many manifests a missing blob is looked for while a client waits. Each is read and asked where it came from; one that was
/// pushed with the blob came from nowhere, so those that were imported stand first.
const MOST_MANIFESTS: i64 = 16;
/// How many incomplete images are looked at for some to claim.
const LOOKED_AT: i64 = 256;

impl Store {
    /// Manifests of the repository that name the blob: incomplete ones first, then those that were imported by themselves.
    pub async fn list_manifests_of_blob(&self, stream_id: &str, blob: &str) -> Result<Vec<StoredManifest>> {
        let manifests = sqlx::query_as(
            "select i.digest, i.media_type, i.manifest from (select digest from image_layers where layer_digest = $2 \
               union select digest from images where config_digest = $2 \
               union select digest from image_children where child_digest = $2) x \
             join repository_images r on r.digest = x.digest and r.stream_id = $1 join images i on i.digest = x.digest \
             order by case when r.source is null then 1 else 0 end, \
               case when exists (select 1 from tag_events e where e.digest = i.digest and e.kind = 'import') then 0 else 1 end, \
               i.digest limit $3",
        )
        .bind(stream_id)
        .bind(blob)
        .bind(MOST_MANIFESTS)
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

    /// Where an image, or an index that lists it, was imported from, for this repository before others, and newest first: by tags of its
    /// project, by those its tags follow, or by those of streams its tags are pinned to. Other projects' places, and with them their credentials, are not for it. No repository at
    /// all stands for this server itself, which knows all places.
    pub async fn list_import_places(&self, stream_id: &str, digest: &str) -> Result<Vec<ImportPlace>> {
        import_places(&mut *self.pool().acquire().await?, stream_id, digest).await
    }

    /// The id of a stream's project.
    pub async fn project_of_stream(&self, stream_id: &str) -> Result<String> {
        let project: Option<(String,)> = sqlx::query_as("select project_id from streams where id = $1")
            .bind(stream_id)
            .fetch_optional(self.pool())
            .await?;
        let (project,) = project.ok_or_else(|| Error::not_found("imagestreams", stream_id))?;
        Ok(project)
    }

    /// Whether a repository may have a blob that is stored here although nobody pushed or fetched it for this one: its project has it, or
    /// an image that has it was imported from the same `repository` of another registry, and is whole.
    pub async fn is_blob_granted(&self, stream_id: &str, blob: &str, repository: &str) -> Result<bool> {
        let granted: Option<(i64,)> = sqlx::query_as(concat!(
            // What an index lists as a manifest it may lack.
            "with recursive above (image, digest) as (\
               select x.digest, x.digest from (select digest from image_layers where layer_digest = $2 \
                 union select digest from images where config_digest = $2 \
                 union select digest from image_children where child_digest = $2 and media_type not in (",
            manifest_types!(),
            ")) x \
               union select a.image, c.digest from image_children c join above a on c.child_digest = a.digest) \
             select cast(1 as bigint) from repository_blobs where digest = $2 \
               and project_id = (select project_id from streams where id = $1) \
             union all select cast(1 as bigint) from above a join tag_events e on e.digest = a.digest \
               join tags t on t.id = e.tag_id join repository_images r on r.stream_id = t.stream_id and r.digest = a.image \
               where e.kind = 'import' and e.reference = cast($3 as text) || '@' || e.digest and r.source is null limit 1"
        ))
        .bind(stream_id)
        .bind(blob)
        .bind(repository)
        .fetch_optional(self.pool())
        .await?;
        Ok(granted.is_some())
    }

    /// Stores a manifest whose parts are still in the repository `source` of another registry, and moves a tag to it, unless the tag got
    /// an image, was deleted or follows something else since `seen`. The parts are brought afterwards. What comes without a tag is listed by
    /// an index that was there before it, and is refused when it is larger than images may be.
    pub async fn put_incomplete(
        &self,
        stream: &Stream,
        image: &NewImage,
        source: &str,
        to: Option<(TagMove<'_>, &Tag)>,
        actor: &Actor,
    ) -> Result<Option<Moved>> {
        let mut tx = self.write_tx().await?;
        if let Some((_, seen)) = &to {
            let now = tx.tag_by_id(&seen.id).await?;
            if (now.digest.is_some() && !now.is_mere_reference())
                || now.deleted_at.is_some()
                || now.generation != seen.generation
            {
                return Ok(None);
            }
        }
        tx.insert_image(image).await?;
        tx.serve_image(&stream.id, &image.digest, Some(source)).await?;
        if let Some(subject) = &image.subject {
            tx.serve_to_followers(&stream.id, subject, &image.digest).await?;
        }
        let moved = match &to {
            Some((to, _)) => Some(tx.move_pushed(stream, &image.digest, to, None, actor).await?),
            None => {
                tx.check_image_bytes(stream, &image.digest).await?;
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

    /// Takes images whose missing parts are to be brought now: those that get a `place`, of which one project gets no more than `share` for
    /// the same source.
    pub async fn claim_incomplete<P>(
        &self,
        lease_ms: i64,
        share: usize,
        place: impl Fn(&IncompleteImage) -> Option<P>,
    ) -> Result<Vec<(IncompleteImage, P)>> {
        let any: Option<(i64,)> = sqlx::query_as(concat!("select 1 from (", due_images!(), ") d limit 1"))
            .bind(now())
            .fetch_optional(self.pool())
            .await?;
        if any.is_none() {
            return Ok(Vec::new());
        }
        let mut tx = self.write_tx().await?;
        // No more of each project and source than could get a place: those that get none hide nobody else's.
        let due: Vec<IncompleteImage> = sqlx::query_as(concat!(
            "select d.stream_id, d.project, d.stream, d.digest, d.source, d.is_whole, d.at, d.complete_at from (\
               select r.stream_id, p.name as project, s.name as stream, r.digest, r.source, r.is_whole, r.at, \
               coalesce(r.complete_at, 0) as complete_at, \
               row_number() over (partition by r.project_id, r.source order by r.at, r.digest) as turn \
               from (",
            due_images!(),
            ") r join streams s on s.id = r.stream_id join projects p on p.id = s.project_id) d \
             where d.turn <= $2 order by d.turn, d.at, d.digest limit $3"
        ))
        .bind(now())
        .bind(i64::try_from(share).unwrap_or(i64::MAX))
        .bind(LOOKED_AT)
        .fetch_all(&mut *tx)
        .await?;
        let mut claimed = Vec::new();
        for mut image in due {
            let Some(place) = place(&image) else { continue };
            let until = now() + lease_ms;
            tx.set_complete_at(&image, until).await?;
            image.complete_at = until;
            claimed.push((image, place));
        }
        if !claimed.is_empty() {
            tx.commit().await?;
        }
        Ok(claimed)
    }

    /// Keeps a claimed image until then; false when the claim has ended, because another worker has it or nothing of it is missing.
    pub async fn renew_completion(&self, image: &mut IncompleteImage, until: i64) -> Result<bool> {
        let is_kept = self.postpone_completion(image, until).await?;
        if is_kept {
            image.complete_at = until;
        }
        Ok(is_kept)
    }

    /// The image's missing parts are to be brought at another time. Without effect, and false, once another worker has it.
    pub async fn postpone_completion(&self, image: &IncompleteImage, until: i64) -> Result<bool> {
        let mut tx = self.write_tx().await?;
        let is_ours = tx.set_complete_at(image, until).await?;
        tx.commit().await?;
        Ok(is_ours)
    }

    /// When missing parts are to be brought next, in milliseconds since the epoch.
    pub async fn next_completion_at(&self) -> Result<Option<i64>> {
        let (next,): (Option<i64>,) =
            sqlx::query_as(
                "select min(coalesce(d.complete_at, 0)) from (select complete_at from repository_images where source is not null \
                   union all select complete_at from repository_images where source is null and more_from is not null) d",
            )
            .fetch_one(self.pool())
            .await?;
        Ok(next)
    }

    /// Notes that all an image consists of, but for what is `left_out`, is in the repository; gives what is not.
    pub async fn complete_image(&self, stream_id: &str, digest: &str, left_out: &[String]) -> Result<Vec<String>> {
        let mut tx = self.write_tx().await?;
        let missing = beyond(tx.missing_parts(stream_id, digest).await?, left_out);
        if missing.is_empty() {
            tx.make_whole(stream_id, digest).await?;
            if !left_out.is_empty() {
                // Other platforms may have been chosen since.
                tx.want_chosen(stream_id, digest).await?;
            }
            tx.commit().await?;
        }
        Ok(missing)
    }
}

/// [`Store::list_import_places`], as a transaction sees them.
pub(super) async fn import_places(
    connection: &mut AnyConnection,
    stream_id: &str,
    digest: &str,
) -> Result<Vec<ImportPlace>> {
    let places = sqlx::query_as(with_above!(
        "followed (id) as (select f.follows_tag_id from tags f where f.stream_id = $2 and f.follows_tag_id is not null \
           union select e.tag_id from tags f join tag_events e on e.stream_id = f.pinned_stream_id and e.digest = f.digest \
             where f.stream_id = $2 and f.digest in (select digest from above) \
           union select t.follows_tag_id from tags t join followed f on t.id = f.id where t.follows_tag_id is not null) \
         select p.name as project, e.reference as reference, \
         max(case when t.insecure = 1 or s.annotations like '%\"openshift.io/image.insecureRepository\":\"true\"%' then 1 else 0 end) as insecure \
         from above a \
         join tag_events e on e.digest = a.digest join tags t on t.id = e.tag_id \
         join streams s on s.id = t.stream_id join projects p on p.id = s.project_id \
         where e.kind = 'import' and e.reference is not null and ($2 = '' or t.id in (select id from followed) \
           or s.project_id = (select project_id from streams where id = $2)) group by p.name, e.reference \
         order by max(case when t.stream_id = $2 then 1 else 0 end) desc, max(e.sequence) desc limit 4"
    ))
    .bind(digest)
    .bind(stream_id)
    .fetch_all(connection)
    .await?;
    Ok(places)
}

impl WriteTx {
    async fn set_complete_at(&mut self, image: &IncompleteImage, at: i64) -> Result<bool> {
        let set = sqlx::query(
            "update repository_images set complete_at = $3 where stream_id = $1 and digest = $2 \
             and (source is not null or more_from is not null) and coalesce(complete_at, 0) = $4",
        )
        .bind(&image.stream_id)
        .bind(&image.digest)
        .bind(at)
        .bind(image.complete_at)
        .execute(&mut **self)
        .await?;
        Ok(set.rows_affected() > 0)
    }
}

#[cfg(test)]
mod tests;
