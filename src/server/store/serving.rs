//! What a repository serves by digest: what was pushed or mounted to it, imported into it, or stands in the history of its tags, with
//! children and referrers. That bytes are stored for another repository is not enough.

use std::collections::BTreeSet;

use super::links::{Content, Room};
use super::media_types::manifest_types;
use super::tags::select_tag;
use super::{Entry, Error, Result, RollbackDepth, Store, WriteTx};
use crate::model::{Actor, Stream, Tag, now};
use crate::server::wake::Controller;

/// A manifest with all that it lists, through indexes of indexes, as `tree`; `$1` is its digest.
macro_rules! with_tree {
    ($rest:literal) => {
        concat!(
            "with recursive tree (digest) as (select cast($1 as text) \
             union select c.child_digest from image_children c join tree t on c.digest = t.digest) ",
            $rest
        )
    };
}

/// As [`with_tree`], for the repository `$2` as `me`; with what of the tree was `pushed` to its project, which was all there then.
macro_rules! with_own_tree {
    ($rest:literal) => {
        concat!(
            "with recursive me (id, project_id) as (select s.id, s.project_id from streams s where s.id = $2), \
             tree (digest) as (select cast($1 as text) \
               union select c.child_digest from image_children c join tree t on c.digest = t.digest), \
             pushed (digest) as (select cast($1 as text) from me where exists (select 1 from tag_events e \
                 join tags t on t.id = e.tag_id join streams s on s.id = t.stream_id \
                 where e.digest = $1 and e.kind in ('push', 'build') and s.project_id = me.project_id) \
               union select c.child_digest from image_children c join pushed u on c.digest = u.digest where c.media_type in (",
            manifest_types!(),
            ")) ",
            $rest
        )
    };
}

/// An image with the indexes that list it, through indexes of indexes, as `above`; `$1` is its digest.
macro_rules! with_above {
    ($rest:literal) => {
        concat!(
            "with recursive above (digest) as (select cast($1 as text) \
             union select c.digest from image_children c join above a on c.child_digest = a.digest), ",
            $rest
        )
    };
}
pub(super) use with_above;

/// What the manifests in `tree` name and the repository `$2` does not have, as [`MissingPart`]s by digest.
macro_rules! missing_of {
    ($tree:literal) => {
        concat!(
            $tree,
            " select b.digest, 0 as is_manifest from (\
               select i.config_digest as digest from images i join tree t on t.digest = i.digest where i.config_digest is not null \
               union select l.layer_digest from image_layers l join tree t on t.digest = l.digest \
                 where l.media_type not like 'application/vnd.oci.image.layer.nondistributable.%' \
                 and l.media_type not like 'application/vnd.docker.image.rootfs.foreign.diff.tar%' \
               union select c.child_digest from image_children c join tree t on t.digest = c.digest where c.media_type not in (",
            manifest_types!(),
            ")) b where not exists (select 1 from repository_blobs r where r.stream_id = $2 and r.digest = b.digest) \
             union select c.child_digest, 1 from image_children c join tree t on t.digest = c.digest where c.media_type in (",
            manifest_types!(),
            ") and not exists (select 1 from repository_images r where r.stream_id = $2 and r.digest = c.child_digest) order by 1"
        )
    };
}

/// What a manifest names and its repository does not have.
#[derive(sqlx::FromRow)]
pub(super) struct MissingPart {
    digest: String,
    is_manifest: i64,
}

/// What is missing beyond the manifests that were left out. A blob is never left out, whatever an index lists under its digest.
pub(super) fn beyond(missing: Vec<MissingPart>, left_out: &[String]) -> Vec<String> {
    let is_missed = |part: &MissingPart| part.is_manifest == 0 || !left_out.contains(&part.digest);
    missing.into_iter().filter(is_missed).map(|part| part.digest).collect()
}

/// Subjects of subjects are followed this far: a signature of the attestation of an image is 2.
const SUBJECT_DEPTH: usize = 8;

impl Store {
    /// Stops serving a manifest from a repository and deletes the tags that point to it; false when the repository does not serve it.
    /// The tags' histories stay, and whoever goes back to the image makes it served again. Refused while an index of the repository
    /// lists it, an app may go back to it, or one of the tags is in use.
    pub async fn delete_manifest(&self, stream: &Stream, digest: &str, actor: &Actor) -> Result<bool> {
        let mut tx = self.write_tx().await?;
        if !tx.unlink(Content::Manifest, &stream.id, digest).await? {
            return Ok(false);
        }
        tx.check_deletable(stream, digest).await?;
        let tags: Vec<Tag> = sqlx::query_as(select_tag!(
            "where t.stream_id = $1 and t.digest = $2 and t.deleted_at is null order by t.id"
        ))
        .bind(&stream.id)
        .bind(digest)
        .fetch_all(&mut *tx)
        .await?;
        for tag in &tags {
            tx.delete_tag(tag, actor).await?;
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
}

impl WriteTx {
    /// What a stored manifest names and its repository does not have: blobs, but for layers that are fetched from elsewhere, and the
    /// manifests of an index. What an index lists under any other media type is a blob (build caches are made so).
    pub(super) async fn missing_parts(&mut self, stream_id: &str, digest: &str) -> Result<Vec<MissingPart>> {
        let missing = sqlx::query_as(missing_of!("with tree (digest) as (select cast($1 as text))"))
            .bind(digest)
            .bind(stream_id)
            .fetch_all(&mut **self)
            .await?;
        Ok(missing)
    }

    /// As [`WriteTx::missing_parts`], of the manifest and of all that it lists, as far as the repository serves that. Who pushes has to
    /// have all of it: later on it counts as what the project had, bytes and all.
    pub(super) async fn missing_below(&mut self, stream_id: &str, digest: &str) -> Result<Vec<MissingPart>> {
        let missing = sqlx::query_as(missing_of!(
            "with recursive tree (digest) as (select cast($1 as text) \
               union select c.child_digest from image_children c join tree t on c.digest = t.digest \
               join repository_images r on r.stream_id = $2 and r.digest = c.child_digest)"
        ))
        .bind(digest)
        .bind(stream_id)
        .fetch_all(&mut **self)
        .await?;
        Ok(missing)
    }

    /// Lets the repository of a rollout serve its image, as it did then: whatever an app goes back to must be there for the engine.
    pub(super) async fn serve_rollout(&mut self, repository: &str, digest: &str) -> Result<()> {
        let Some((project, stream)) = repository.split_once('/') else { return Ok(()) };
        match self.find_stream(project, stream).await? {
            Some(stream) => self.serve_tree(&stream.id, digest, None).await,
            None => Ok(()),
        }
    }

    /// Lets a tag's repository serve the image that the tag points to now. What a tag follows, or is pinned to, brings its referrers with
    /// it.
    pub(super) async fn serve_here(&mut self, tag: &Tag, digest: &str) -> Result<()> {
        let followed = self.followed_by(tag).await?.map(|followed| followed.stream_id);
        let source = followed.or_else(|| tag.pinned_stream_id.clone()).filter(|stream_id| *stream_id != tag.stream_id);
        let (mut queue, mut seen) = (vec![digest.to_owned()], BTreeSet::new());
        while let Some(digest) = queue.pop() {
            let from = source.as_deref();
            self.serve_tree(&tag.stream_id, &digest, from).await?;
            if let Some(source) = from {
                queue.extend(self.referrers_of_tree(source, &digest).await?);
            }
            seen.insert(digest);
            queue.retain(|digest| !seen.contains(digest));
        }
        // Where it comes from other platforms may have been chosen.
        self.want_chosen(&tag.stream_id, digest).await
    }

    /// Lets a repository serve a manifest with its children, and their blobs; `from` is the repository it comes from. What is brought
    /// along is what that one has, or the repository's own project, or what was pushed to the project as a whole and deleted since: that
    /// bytes are stored, and named by a manifest, does not make them everybody's. Of what is incomplete only the manifest comes; the rest
    /// is brought like that of any such image.
    async fn serve_tree(&mut self, stream_id: &str, digest: &str, from: Option<&str>) -> Result<()> {
        if self.serve_root(stream_id, digest, from).await? {
            self.wake(Controller::Completions);
            return Ok(());
        }
        let manifests = with_own_tree!(
            "insert into repository_images (stream_id, digest, at, project_id, size, source) \
             select me.id, i.digest, $3, me.project_id, octet_length(i.manifest), x.source from me, images i \
             join (select r.digest, max(r.source) as source from repository_images r where r.digest in (select t.digest from tree t) \
                 and (r.stream_id = $4 or r.project_id = (select project_id from me)) group by r.digest \
               union all select u.digest, cast(null as text) from pushed u where not exists (select 1 from repository_images r \
                 where r.digest = u.digest and (r.stream_id = $4 or r.project_id = (select project_id from me)))) x \
             on x.digest = i.digest where true on conflict (stream_id, digest) do nothing returning project_id, digest, size"
        );
        let blobs = with_own_tree!(
            "insert into repository_blobs (stream_id, digest, at, project_id, size) \
             select me.id, k.digest, $3, me.project_id, k.size from me, blobs k where k.digest in (\
                 select l.layer_digest from image_layers l join tree t on t.digest = l.digest \
                 union select i.config_digest from images i join tree t on t.digest = i.digest where i.config_digest is not null \
                 union select t.digest from tree t) \
               and exists (select 1 from repository_blobs b where b.digest = k.digest and (b.stream_id = $4 or b.project_id = me.project_id)) \
             or k.digest in (\
                 select l.layer_digest from image_layers l join pushed u on u.digest = l.digest \
                   where l.media_type not like '%nondistributable%' and l.media_type not like '%foreign%' \
                 union select i.config_digest from images i join pushed u on u.digest = i.digest where i.config_digest is not null) \
             on conflict (stream_id, digest) do nothing returning project_id, digest, size"
        );
        for (content, statement) in [(Content::Manifest, manifests), (Content::Blob, blobs)] {
            let linked: Vec<(String, String, i64)> = sqlx::query_as(statement)
                .bind(digest)
                .bind(stream_id)
                .bind(now())
                .bind(from)
                .fetch_all(&mut **self)
                .await?;
            for (project_id, digest, size) in linked {
                self.count_link(content, stream_id, &project_id, &digest, size, Room::Given).await?;
            }
        }
        Ok(())
    }

    /// Lets a repository serve one manifest, without what it names; tells whether the rest may be only in another registry. It is as
    /// complete as in the repository it comes from and in its project. One that has gone from both, and was imported, is looked at anew.
    async fn serve_root(&mut self, stream_id: &str, digest: &str, from: Option<&str>) -> Result<bool> {
        let linked: Option<(String, i64)> = sqlx::query_as(
            "insert into repository_images (stream_id, digest, at, project_id, size, source) \
             select s.id, i.digest, $3, s.project_id, octet_length(i.manifest), \
               case when exists (select 1 from repository_images o where o.digest = $1 and (o.stream_id = $4 or o.project_id = s.project_id)) \
                 then (select max(o.source) from repository_images o where o.digest = $1 and (o.stream_id = $4 or o.project_id = s.project_id)) \
                 else (select max(e.reference) from tag_events e join tags t on t.id = e.tag_id join streams x on x.id = t.stream_id \
                   where e.digest = $1 and e.kind = 'import' and x.project_id = s.project_id) end \
             from images i join streams s on s.id = $2 where i.digest = $1 \
             on conflict (stream_id, digest) do nothing returning project_id, size",
        )
        .bind(digest)
        .bind(stream_id)
        .bind(now())
        .bind(from)
        .fetch_optional(&mut **self)
        .await?;
        if let Some((project_id, size)) = linked {
            self.count_link(Content::Manifest, stream_id, &project_id, digest, size, Room::Given).await?;
        }
        let incomplete: Option<(i64,)> = sqlx::query_as(
            "select cast(1 as bigint) from repository_images where stream_id = $1 and digest = $2 and source is not null",
        )
        .bind(stream_id)
        .bind(digest)
        .fetch_optional(&mut **self)
        .await?;
        Ok(incomplete.is_some())
    }

    /// Referrers, in a repository, of a manifest and of all it lists.
    async fn referrers_of_tree(&mut self, stream_id: &str, digest: &str) -> Result<Vec<String>> {
        let referrers: Vec<(String,)> = sqlx::query_as(with_tree!(
            "select distinct i.digest from tree t join images i on i.subject = t.digest \
             join repository_images r on r.digest = i.digest and r.stream_id = $2"
        ))
        .bind(digest)
        .bind(stream_id)
        .fetch_all(&mut **self)
        .await?;
        Ok(referrers.into_iter().map(|(digest,)| digest).collect())
    }

    /// Lets the repositories whose tags follow a subject's tags, or are pinned to it, serve a new referrer of it, too: images are signed
    /// after they are pushed, when the tags that follow have moved already.
    pub(super) async fn serve_to_followers(&mut self, stream_id: &str, subject: &str, referrer: &str) -> Result<()> {
        let mut about = subject.to_owned();
        for _ in 0..SUBJECT_DEPTH {
            let followers: Vec<(String,)> = sqlx::query_as(with_above!(
                "followers (id) as (select t.id from tags t join above a on a.digest = t.digest \
                     where (t.stream_id = $2 or t.pinned_stream_id = $2) and t.deleted_at is null \
                   union select t.id from tags t join followers f on t.follows_tag_id = f.id where t.deleted_at is null) \
                 select distinct t.stream_id from tags t join followers f on f.id = t.id \
                 join repository_images r on r.stream_id = t.stream_id and r.digest = $1 where t.stream_id <> $2"
            ))
            .bind(&about)
            .bind(stream_id)
            .fetch_all(&mut **self)
            .await?;
            for (follower,) in followers {
                self.serve_tree(&follower, referrer, Some(stream_id)).await?;
            }
            let next: Option<(Option<String>,)> = sqlx::query_as("select subject from images where digest = $1")
                .bind(&about)
                .fetch_optional(&mut **self)
                .await?;
            match next {
                Some((Some(subject),)) => about = subject,
                _ => break,
            }
        }
        Ok(())
    }

    /// Refuses to delete what others in the repository, or apps, still need.
    async fn check_deletable(&mut self, stream: &Stream, digest: &str) -> Result<()> {
        let index: Option<(String,)> = sqlx::query_as(
            "select c.digest from image_children c join repository_images r on r.digest = c.digest and r.stream_id = $1 \
             where c.child_digest = $2 limit 1",
        )
        .bind(&stream.id)
        .bind(digest)
        .fetch_optional(&mut **self)
        .await?;
        if let Some((index,)) = index {
            return Err(Error::Conflict(format!("the index {index} lists this manifest: delete the index first")));
        }
        let app: Option<(String,)> = sqlx::query_as(
            "select a.name from apps a join rollouts r on r.app_id = a.id where a.deleted_at is null and r.repository = $1 and r.digest = $2 \
             and (r.created_at > $4 or r.digest in (select x.digest from rollouts x where x.app_id = a.id group by x.digest \
               order by max(x.number) desc limit $3)) limit 1",
        )
        .bind(stream.repository())
        .bind(digest)
        .bind(self.depth.versions)
        .bind(self.depth.rollouts_since(now()))
        .fetch_optional(&mut **self)
        .await?;
        if let Some((app,)) = app {
            let RollbackDepth { versions, days } = self.depth;
            return Err(Error::Conflict(format!(
                "the app {app} runs this image or may go back to it: it is one of its last {versions} versions, or of {days} days"
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
