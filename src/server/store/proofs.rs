//! Whether what somebody may go back to is whole: what has to be looked at, and what was found.

use std::collections::BTreeMap;

use super::garbage::parts::{kept_by_app, kept_by_tags};
use super::{Entry, Result, Store, WriteTx};
use crate::model::{Actor, App, now};

/// A blob that an image consists of.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ImagePart {
    pub digest: String,
    pub size: i64,
    /// When all its bytes were last compared with its digest.
    pub read_at: Option<i64>,
}

/// An image that is not whole.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct BrokenImage {
    pub digest: String,
    pub problem: String,
    pub checked_at: i64,
    /// A stream that serves it.
    pub stream: String,
}

/// How far an app can go back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Versions that are whole.
    pub whole: i64,
    pub of: i64,
    /// When the one was looked at that was looked at longest ago; `None` while there is one that never was.
    pub verified_at: Option<i64>,
}

impl Store {
    /// Images that must be whole: what tags point to and the histories that are kept, what apps may go back to, all that these list, and
    /// what is said about them (signatures, bills of materials).
    pub async fn list_restorable(&self) -> Result<Vec<String>> {
        let at = now();
        let images: Vec<(String,)> = sqlx::query_as(concat!(
            "with recursive edges (needs, needed) as (select c.digest, c.child_digest from image_children c \
               union all select i.subject, i.digest from images i where i.subject is not null), \
             needed (digest) as (select i.digest from images i where ",
            kept_by_tags!(),
            " union select r.digest from rollouts r join apps a on a.id = r.app_id where ",
            kept_by_app!(),
            " union select e.needed from needed n join edges e on e.needs = n.digest join images i on i.digest = e.needed) \
             select digest from needed order by digest",
        ))
        .bind(at)
        .bind(self.depth.rollouts_since(at))
        .bind(self.depth.versions)
        .fetch_all(self.pool())
        .await?;
        Ok(images.into_iter().map(|(digest,)| digest).collect())
    }

    /// An image, and all it lists that is here.
    pub async fn list_tree(&self, digest: &str) -> Result<Vec<String>> {
        let tree: Vec<(String,)> = sqlx::query_as(
            "with recursive tree (digest) as (select cast($1 as text) union select c.child_digest from tree t \
               join image_children c on c.digest = t.digest join images i on i.digest = c.child_digest) select digest from tree",
        )
        .bind(digest)
        .fetch_all(self.pool())
        .await?;
        Ok(tree.into_iter().map(|(digest,)| digest).collect())
    }

    /// Configuration and layers of an image, but for layers that are fetched from elsewhere. Nothing when blobs of the image may still
    /// be only in another registry.
    pub async fn list_image_parts(&self, digest: &str) -> Result<Vec<ImagePart>> {
        let parts = sqlx::query_as(
            "select x.digest, x.size, p.read_at from (\
               select layer_digest as digest, size from image_layers where digest = $1 \
                 and media_type not like '%foreign%' and media_type not like '%nondistributable%' \
               union select i.config_digest as digest, b.size from images i join blobs b on b.digest = i.config_digest \
                 where i.digest = $1) x left join blob_proofs p on p.digest = x.digest \
             where exists (select 1 from repository_images r where r.digest = $1 and r.source is null) order by x.digest",
        )
        .bind(digest)
        .fetch_all(self.pool())
        .await?;
        Ok(parts)
    }

    /// Records how an image was found: whole, or with a problem. That it is whole no more, or again, is told where it is served.
    pub async fn record_proof(&self, digest: &str, problem: Option<&str>) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let before: Option<(Option<String>,)> = sqlx::query_as("select problem from image_proofs where digest = $1")
            .bind(digest)
            .fetch_optional(&mut *tx)
            .await?;
        sqlx::query(
            "insert into image_proofs (digest, checked_at, problem) values ($1, $2, $3) \
             on conflict (digest) do update set checked_at = excluded.checked_at, problem = excluded.problem",
        )
        .bind(digest)
        .bind(now())
        .bind(problem)
        .execute(&mut *tx)
        .await?;
        let was_broken = before.is_some_and(|(problem,)| problem.is_some());
        if was_broken != problem.is_some() {
            tx.tell_of_proof(digest, problem).await?;
        }
        tx.commit_soon().await
    }

    /// Records that all bytes of a blob were compared with its digest, and are right.
    pub async fn record_read(&self, digest: &str) -> Result<()> {
        sqlx::query(
            "insert into blob_proofs (digest, read_at) values ($1, $2) on conflict (digest) do update set read_at = excluded.read_at",
        )
        .bind(digest)
        .bind(now())
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Forgets what was found of what is gone.
    pub async fn forget_proofs(&self) -> Result<()> {
        sqlx::query("delete from blob_proofs where digest not in (select digest from blobs)")
            .execute(self.pool())
            .await?;
        sqlx::query("delete from image_proofs where checked_at < $1")
            .bind(now() - 30 * super::garbage::DAY)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// How many of the versions that an app may go back to are whole, as it was last found.
    pub async fn app_depth(&self, app: &App) -> Result<Depth> {
        let mut depths = self.list_app_depths(&app.project_id, &app.name, &app.name).await?;
        Ok(depths.remove(&app.id).unwrap_or_default())
    }

    /// As [`Store::app_depth`], of a project's apps from one name to another, by the apps' ids. An index is whole when all it lists is.
    pub async fn list_app_depths(&self, project_id: &str, first: &str, last: &str) -> Result<BTreeMap<String, Depth>> {
        let versions: Vec<(String, i64, Option<i64>)> = sqlx::query_as(
            "with recursive versions (app_id, digest) as (select v.app_id, v.digest from (select r.app_id, r.digest, \
                 row_number() over (partition by r.app_id order by max(r.number) desc) as nth \
                 from rollouts r join apps a on a.id = r.app_id where a.project_id = $1 and a.name >= $2 and a.name <= $3 \
                 group by r.app_id, r.digest) v where v.nth <= $4), \
               tree (app_id, version, digest) as (select app_id, digest, digest from versions \
                 union select t.app_id, t.version, c.child_digest from tree t join image_children c on c.digest = t.digest \
                   where exists (select 1 from images i where i.digest = c.child_digest)) \
             select t.app_id, cast(count(p.problem) as bigint), min(case when p.checked_at is null then -1 else p.checked_at end) \
             from tree t left join image_proofs p on p.digest = t.digest group by t.app_id, t.version",
        )
        .bind(project_id)
        .bind(first)
        .bind(last)
        .bind(self.depth.versions)
        .fetch_all(self.pool())
        .await?;
        let mut depths: BTreeMap<String, Depth> = BTreeMap::new();
        for (app_id, problems, at) in versions {
            let depth = depths.entry(app_id).or_insert(Depth { verified_at: Some(i64::MAX), ..Depth::default() });
            depth.of += 1;
            depth.whole += i64::from(problems == 0);
            depth.verified_at = depth.verified_at.min(at);
        }
        for depth in depths.values_mut() {
            depth.verified_at = depth.verified_at.filter(|at| *at >= 0);
        }
        Ok(depths)
    }

    /// Images of a project that can be gone back to and are not whole, those that were found last first.
    pub async fn list_broken_images(&self, project_id: &str, limit: i64) -> Result<Vec<BrokenImage>> {
        let images = sqlx::query_as(
            "select p.digest, p.problem, p.checked_at, min(s.name) as stream from image_proofs p \
             join repository_images r on r.digest = p.digest join streams s on s.id = r.stream_id \
             where s.project_id = $1 and p.problem is not null group by p.digest, p.problem, p.checked_at \
             order by p.checked_at desc, p.digest limit $2",
        )
        .bind(project_id)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(images)
    }
}

impl WriteTx {
    async fn tell_of_proof(&mut self, digest: &str, problem: Option<&str>) -> Result<()> {
        let served: Vec<(String, String)> = sqlx::query_as(
            "select p.name, s.name from repository_images r join streams s on s.id = r.stream_id \
             join projects p on p.id = s.project_id where r.digest = $1 order by p.name, s.name",
        )
        .bind(digest)
        .fetch_all(&mut **self)
        .await?;
        let action = if problem.is_some() { "image.break" } else { "image.mend" };
        for (project, stream) in served {
            let object = format!("{stream}@{digest}");
            let (project, to) = (Some(project.as_str()), Some(digest));
            let entry = Entry { action, project, object: &object, to, reason: problem, ..Entry::default() };
            self.record(&Actor::system("proof"), entry).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::model::{Actor, ImageLayer, NewImage};
    use crate::server::store::testing::{each_store, project};

    #[tokio::test]
    async fn what_is_whole_anywhere_is_proved_and_nothing_else() {
        for store in each_store().await {
            let actor = Actor::system("test");
            for name in ["demo", "other"] {
                project(&store, name).await;
            }
            let demo = store.ensure_stream("demo", &"base".parse().unwrap(), &actor).await.unwrap();
            let other = store.ensure_stream("other", &"base".parse().unwrap(), &actor).await.unwrap();
            let media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
            let layer = ImageLayer { layer_digest: "sha256:l".to_owned(), size: 1, media_type };
            let (digest, manifest) = ("sha256:i".to_owned(), "{}".to_owned());
            let image = NewImage { digest, manifest, layers: vec![layer], ..NewImage::default() };
            store.put_incomplete(&demo, &image, "quay.io/org/base", None, &actor).await.unwrap();
            assert_eq!(store.list_image_parts("sha256:i").await.unwrap(), [], "its layer may be only there");
            store.link_blob(&other.id, "sha256:l", 1, None).await.unwrap();
            store.put_manifest(&other, &image, None, &actor).await.unwrap();
            let parts = store.list_image_parts("sha256:i").await.unwrap();
            assert_eq!(parts.len(), 1, "another repository has it whole, and needs it");
            assert!(store.delete_manifest(&other, "sha256:i", &actor).await.unwrap());
            assert!(store.delete_manifest(&demo, "sha256:i", &actor).await.unwrap());
            assert_eq!(store.list_image_parts("sha256:i").await.unwrap(), [], "nobody serves it");
        }
    }
}
