//! Whether what somebody may go back to is whole: what has to be looked at, and what was found.

use super::garbage::ROLLBACK_VERSIONS;
use super::{Result, Store};
use crate::model::now;

/// An image that an app or a tag may go back to, or one that such an image lists.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Restorable {
    pub digest: String,
    /// Its manifest as it came; `None` when it is gone.
    pub manifest: Option<String>,
}

/// A blob that an image consists of.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ImagePart {
    pub digest: String,
    pub size: i64,
    /// When all its bytes were last compared with its digest.
    pub read_at: Option<i64>,
}

/// How far an app can go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Versions that are whole.
    pub whole: i64,
    pub of: i64,
    /// When the one was looked at that was looked at longest ago; `None` while there is one that never was.
    pub verified_at: Option<i64>,
}

impl Store {
    /// Images that must be whole, after `after`: the last versions of apps and tags, and all they list.
    pub async fn list_restorable(&self, after: &str, limit: i64) -> Result<Vec<Restorable>> {
        let images = sqlx::query_as(
            "with recursive needed (digest) as (\
               select r.digest from rollouts r join apps a on a.id = r.app_id where a.deleted_at is null and r.digest in (\
                 select x.digest from rollouts x where x.app_id = r.app_id group by x.digest order by max(x.number) desc limit $3) \
               union select e.digest from tags t join tag_events e on e.tag_id = t.id where t.deleted_at is null and e.outcome = 'moved' \
                 and exists (select 1 from images i where i.digest = e.digest) and e.number > t.event_number - $3 \
               union select c.child_digest from image_children c join needed n on n.digest = c.digest \
                 where exists (select 1 from images i where i.digest = c.child_digest)) \
             select n.digest, i.manifest from needed n left join images i on i.digest = n.digest where n.digest > $1 \
             order by n.digest limit $2",
        )
        .bind(after)
        .bind(limit)
        .bind(ROLLBACK_VERSIONS)
        .fetch_all(self.pool())
        .await?;
        Ok(images)
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

    /// Records how an image was found: whole, or with a problem.
    pub async fn record_proof(&self, digest: &str, problem: Option<&str>) -> Result<()> {
        sqlx::query(
            "insert into image_proofs (digest, checked_at, problem) values ($1, $2, $3) \
             on conflict (digest) do update set checked_at = excluded.checked_at, problem = excluded.problem",
        )
        .bind(digest)
        .bind(now())
        .bind(problem)
        .execute(self.pool())
        .await?;
        Ok(())
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

    /// How many of the versions that an app may go back to are whole, as it was last found: an index is when all it lists is.
    pub async fn app_depth(&self, app_id: &str) -> Result<Depth> {
        let versions: Vec<(i64, Option<i64>)> = sqlx::query_as(
            "with recursive versions (digest) as (select digest from rollouts where app_id = $1 group by digest \
                 order by max(number) desc limit $2), \
               tree (version, digest) as (select digest, digest from versions \
                 union select t.version, c.child_digest from tree t join image_children c on c.digest = t.digest \
                   where exists (select 1 from images i where i.digest = c.child_digest)) \
             select cast(count(p.problem) as bigint), min(case when p.checked_at is null then -1 else p.checked_at end) \
             from tree t left join image_proofs p on p.digest = t.digest group by t.version",
        )
        .bind(app_id)
        .bind(ROLLBACK_VERSIONS)
        .fetch_all(self.pool())
        .await?;
        let whole = versions.iter().filter(|(problems, _)| *problems == 0).count();
        let oldest = versions.iter().filter_map(|(_, at)| *at).min();
        Ok(Depth {
            whole: i64::try_from(whole).unwrap_or(i64::MAX),
            of: i64::try_from(versions.len()).unwrap_or(i64::MAX),
            verified_at: oldest.filter(|at| *at >= 0),
        })
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
