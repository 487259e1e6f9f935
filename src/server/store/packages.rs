//! What was read of layers: which are to be read, by whom, and what was found in them.

use super::media_types::file_system_layer_types;
use super::memory::Leaves;
use super::{Result, Store, WriteTx};
use crate::model::{LayerContents, LayerReading, now};
use crate::server::hash::sha256;
use crate::server::wake::Controller;

/// The version of what reads layers. One more makes all layers be read again.
const READER: i64 = 3;
/// What the readings of one image's layers may have together, in bytes. Nobody's images come near; whoever's do, made them for that.
const MAX_CONTENTS: i64 = 64 * 1024 * 1024;
/// The most layers whose readings are shown together. Container engines mount no more than 128.
const MAX_LAYERS: i64 = 512;

/// A layer that is to be read, claimed.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct WantedLayer {
    pub digest: String,
    /// How often somebody began to read it and was not heard of again.
    pub attempts: i64,
    pub wanted_at: i64,
}

/// Takes the first layer in the order of the index that nobody reads, for `$1` until `$2`; `$3` is now.
const CLAIM: &str = "update layer_readings set lease_owner = $1, lease_until = $2, attempts = attempts + 1 where digest = (\
       select digest from layer_readings where read_at is null and next_at <= $3 \
       and (lease_until is null or lease_until <= $3) order by next_at, digest limit 1) \
     and (lease_until is null or lease_until <= $3) returning digest, attempts - 1 as attempts, wanted_at";
/// When the first layer that nobody reads is due. Those that somebody reads are passed over, as many as there are servers.
const NEXT_FREE: &str =
    "select next_at from layer_readings where read_at is null and lease_until is null order by next_at, digest limit 1";
/// When the first lease ends.
const NEXT_LEASED: &str =
    "select min(lease_until) from layer_readings where read_at is null and lease_until is not null";

impl Store {
    /// Takes the layer that has waited longest, or `None`.
    pub async fn claim_layer(&self, lease_ms: i64) -> Result<Option<WantedLayer>> {
        if self.next_layer_at().await?.is_none_or(|at| at > now()) {
            return Ok(None);
        }
        let _turn = self.turn().await;
        let layer = sqlx::query_as(CLAIM)
            .bind(self.owner())
            .bind(now().saturating_add(lease_ms))
            .bind(now())
            .fetch_optional(self.pool())
            .await?;
        Ok(layer)
    }

    /// When the next layer may be read, in milliseconds since the epoch; `None` when all are.
    pub async fn next_layer_at(&self) -> Result<Option<i64>> {
        let free: Option<(i64,)> = sqlx::query_as(NEXT_FREE).fetch_optional(self.pool()).await?;
        let (leased,): (Option<i64>,) = sqlx::query_as(NEXT_LEASED).fetch_one(self.pool()).await?;
        Ok(free.map(|(at,)| at).into_iter().chain(leased).min())
    }

    /// Records what was found in a claimed layer, or why it cannot be read. Pages of the projects that have it look again. Without effect,
    /// and false, when the claim was lost.
    pub async fn record_layer(&self, digest: &str, read: std::result::Result<&LayerContents, &str>) -> Result<bool> {
        let contents = read.ok().map(serde_json::to_string).transpose()?;
        let mut tx = self.write_tx().await?;
        tx.leaves(Leaves::Found);
        let recorded = sqlx::query(
            "update layer_readings set read_at = $2, reader = $3, problem = $4, contents = $5, size = $6, lease_owner = null, \
             lease_until = null where digest = $1 and lease_owner = $7 and read_at is null",
        )
        .bind(digest)
        .bind(now())
        .bind(READER)
        .bind(read.err())
        .bind(contents.as_deref())
        .bind(i64::try_from(contents.as_ref().map_or(0, String::len)).unwrap_or(i64::MAX))
        .bind(self.owner())
        .execute(&mut *tx)
        .await?;
        if recorded.rows_affected() == 0 {
            return Ok(false);
        }
        let projects: Vec<(String,)> = sqlx::query_as(
            "select distinct p.name from repository_blobs r join projects p on p.id = r.project_id where r.digest = $1",
        )
        .bind(digest)
        .fetch_all(&mut *tx)
        .await?;
        for (project,) in projects {
            tx.touch(&project);
        }
        tx.commit_soon().await?;
        Ok(true)
    }

    /// Says why a claimed layer could not be read now, and when to try again. Without effect, and false, when the claim was lost.
    pub async fn put_off_layer(&self, digest: &str, problem: &str, next_at: i64) -> Result<bool> {
        let _turn = self.turn().await;
        let put_off = sqlx::query(
            "update layer_readings set problem = $2, next_at = $3, attempts = 0, lease_owner = null, lease_until = null \
             where digest = $1 and lease_owner = $4 and read_at is null",
        )
        .bind(digest)
        .bind(problem)
        .bind(next_at)
        .bind(self.owner())
        .execute(self.pool())
        .await?;
        Ok(put_off.rows_affected() > 0)
    }

    /// Keeps a claimed layer for so much longer; false when the claim was lost.
    pub async fn renew_layer(&self, digest: &str, lease_ms: i64) -> Result<bool> {
        let _turn = self.turn().await;
        let renewed = sqlx::query(
            "update layer_readings set lease_until = $3 where digest = $1 and lease_owner = $2 and read_at is null",
        )
        .bind(digest)
        .bind(self.owner())
        .bind(now().saturating_add(lease_ms))
        .execute(self.pool())
        .await?;
        Ok(renewed.rows_affected() > 0)
    }

    /// A text that is another one as soon as [`Store::list_layer_readings`] would give something else.
    pub async fn state_of_layer_readings(&self, stream_id: &str, digest: &str) -> Result<String> {
        let layers: Vec<(i64, String, i64, i64, String)> = sqlx::query_as(
            "select l.position, l.layer_digest, coalesce(r.read_at, 0), r.size, \
               case when b.digest is null then 'elsewhere' else coalesce(r.problem, '') end from image_layers l \
             join layer_readings r on r.digest = l.layer_digest \
             left join repository_blobs b on b.stream_id = $2 and b.digest = l.layer_digest where l.digest = $1 order by l.position",
        )
        .bind(digest)
        .bind(stream_id)
        .fetch_all(self.pool())
        .await?;
        Ok(sha256(&serde_json::to_vec(&layers)?).to_string())
    }

    /// What was read of an image's layers, lowest first, as far as the repository has them: that an image names a layer does not show
    /// what is in it. Layers that are no file systems are left out.
    pub async fn list_layer_readings(&self, stream_id: &str, digest: &str) -> Result<Vec<LayerReading>> {
        let (size, layers): (i64, i64) = sqlx::query_as(
            "select cast(coalesce(sum(r.size), 0) as bigint), count(*) from image_layers l \
             join layer_readings r on r.digest = l.layer_digest where l.digest = $1",
        )
        .bind(digest)
        .fetch_one(self.pool())
        .await?;
        let readings = sqlx::query_as(
            "select l.position, l.layer_digest, case when b.digest is null then null else r.read_at end as read_at, \
             case when b.digest is null then 'its bytes are not in this stream' \
               when $2 = 1 and r.contents is not null then 'the layers of this image list more than is shown together' \
               else r.problem end as problem, \
             case when b.digest is null or $2 = 1 then null else r.contents end as contents \
             from image_layers l join layer_readings r on r.digest = l.layer_digest \
             left join repository_blobs b on b.stream_id = $3 and b.digest = l.layer_digest where l.digest = $1 order by l.position",
        )
        .bind(digest)
        .bind(i64::from(size > MAX_CONTENTS || layers > MAX_LAYERS))
        .bind(stream_id)
        .fetch_all(self.pool())
        .await?;
        Ok(readings)
    }

    /// Forgets what was read of layers that no image has any more, and lets what an older reader read be read again.
    pub async fn tidy_layer_readings(&self) -> Result<()> {
        let mut tx = self.write_tx().await?;
        tx.leaves(Leaves::Found);
        sqlx::query("delete from layer_readings where not exists (select 1 from image_layers l where l.layer_digest = layer_readings.digest)")
            .execute(&mut *tx)
            .await?;
        sqlx::query("update layer_readings set read_at = null, next_at = 0, attempts = 0 where read_at is not null and reader < $1")
            .bind(READER)
            .execute(&mut *tx)
            .await?;
        tx.commit_soon().await
    }
}

impl WriteTx {
    /// Lets the layers of a new image be read, those that were not yet.
    pub(super) async fn want_layers_read(&mut self, digest: &str) -> Result<()> {
        let wanted = sqlx::query(concat!(
            "insert into layer_readings (digest, wanted_at, next_at) \
             select distinct l.layer_digest, cast($2 as bigint), cast($2 as bigint) from image_layers l \
             where l.digest = $1 and l.media_type in (",
            file_system_layer_types!(),
            ") on conflict (digest) do nothing"
        ))
        .bind(digest)
        .bind(now())
        .execute(&mut **self)
        .await?
        .rows_affected();
        if wanted > 0 {
            self.wake(Controller::Packages);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Actor, Evidence, ImageLayer, NewImage, Package, PackageDatabase, PackageKind};
    use crate::server::store::Backend;
    use crate::server::store::testing::{each_store, project};

    const TAR: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    const MINUTE: i64 = 60_000;

    /// Puts an image of these layers, with their media types, into `demo/app`; gives the stream's id.
    async fn put(store: &Store, digest: &str, layers: &[(&str, &str)]) -> String {
        let actor = Actor::person("ada");
        let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &actor).await.unwrap();
        let layers = layers.iter().map(|(digest, media_type)| ImageLayer {
            layer_digest: (*digest).to_owned(),
            size: 1,
            media_type: (*media_type).to_owned(),
        });
        let image = NewImage {
            digest: digest.to_owned(),
            manifest: "{}".to_owned(),
            layers: layers.collect(),
            ..NewImage::default()
        };
        for layer in &image.layers {
            store.link_blob(&stream.id, &layer.layer_digest, 1, None).await.unwrap();
        }
        store.put_manifest(&stream, &image, None, &actor).await.unwrap();
        stream.id
    }

    fn contents(name: &str) -> LayerContents {
        let package = Package { name: name.to_owned(), version: "1".to_owned(), architecture: None, source: None };
        let path = "var/lib/dpkg/status".to_owned();
        let (kind, evidence) = (PackageKind::Dpkg, Evidence::Installed);
        let database = PackageDatabase { path, kind, evidence, packages: vec![package], problem: None };
        LayerContents { databases: vec![database], ..LayerContents::default() }
    }

    #[tokio::test]
    async fn a_layer_is_read_once_for_all_its_images() {
        for store in each_store().await {
            project(&store, "demo").await;
            put(
                &store,
                "sha256:i",
                &[
                    ("sha256:a", TAR),
                    ("sha256:chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip"),
                    ("sha256:b", TAR),
                ],
            )
            .await;
            let mut claimed = Vec::new();
            while let Some(layer) = store.claim_layer(MINUTE).await.unwrap() {
                claimed.push(layer.digest);
            }
            assert_eq!(claimed, ["sha256:a", "sha256:b"], "each once, and no chart");
            assert!(store.next_layer_at().await.unwrap().unwrap() > now(), "both are claimed");
            store.record_layer("sha256:a", Ok(&contents("a"))).await.unwrap();
            store.record_layer("sha256:b", Err("it ends in the middle")).await.unwrap();
            assert_eq!(store.next_layer_at().await.unwrap(), None);

            let app = put(&store, "sha256:j", &[("sha256:a", TAR)]).await;
            assert_eq!(store.claim_layer(MINUTE).await.unwrap(), None);
            let readings = store.list_layer_readings(&app, "sha256:j").await.unwrap();
            assert_eq!(readings[0].contents, Some(serde_json::to_string(&contents("a")).unwrap()));
            let readings = store.list_layer_readings(&app, "sha256:i").await.unwrap();
            let shown: Vec<_> = readings.iter().map(|it| (it.position, it.problem.as_deref())).collect();
            assert_eq!(shown, [(0, None), (2, Some("it ends in the middle"))]);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_read_now_is_read_later() {
        for store in each_store().await {
            project(&store, "demo").await;
            let app = put(&store, "sha256:i", &[("sha256:a", TAR)]).await;
            store.claim_layer(MINUTE).await.unwrap().unwrap();
            let later = now() + MINUTE;
            store.put_off_layer("sha256:a", "its bytes are not stored here", later).await.unwrap();
            assert_eq!(
                (store.claim_layer(MINUTE).await.unwrap(), store.next_layer_at().await.unwrap()),
                (None, Some(later))
            );
            let reading = store.list_layer_readings(&app, "sha256:i").await.unwrap().remove(0);
            assert_eq!((reading.read_at, reading.problem.as_deref()), (None, Some("its bytes are not stored here")));
            assert!(!store.put_off_layer("sha256:a", "not theirs to say", 0).await.unwrap(), "nobody has it");
            sqlx::query("update layer_readings set next_at = 0").execute(store.pool()).await.unwrap();
            // Leases that ran out count as attempts, one that was given back does not.
            for attempts in 0..3 {
                assert_eq!(store.claim_layer(0).await.unwrap().map(|layer| layer.attempts), Some(attempts));
            }
            store.claim_layer(MINUTE).await.unwrap().unwrap();
            store.release_leases().await.unwrap();
            assert_eq!(store.claim_layer(MINUTE).await.unwrap().map(|layer| layer.attempts), Some(0));
        }
    }

    /// However many layers wait, the next one is found by an index, in its order.
    #[tokio::test]
    async fn the_next_layer_is_looked_up() {
        for store in each_store().await {
            if store.backend() != Backend::Sqlite {
                continue;
            }
            for statement in [CLAIM, NEXT_FREE, NEXT_LEASED] {
                let explain = sqlx::AssertSqlSafe(format!("explain query plan {statement}"));
                let plan: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(store.pool()).await.unwrap();
                let plan: Vec<String> = plan.into_iter().map(|(_, _, _, step)| step).collect();
                assert!(plan.iter().any(|step| step.contains("INDEX layer_readings_")), "{plan:#?}");
                assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "nothing is sorted: {plan:#?}");
                // Walking along an index to its first row is no scan.
                let is_scan =
                    |step: &&String| step.starts_with("SCAN") && !step.contains("INDEX layer_readings_waiting");
                assert_eq!(plan.iter().find(is_scan), None, "{plan:#?}");
            }
        }
    }

    #[tokio::test]
    async fn the_next_moment_is_that_of_the_first_free_layer_or_lease() {
        for store in each_store().await {
            project(&store, "demo").await;
            put(&store, "sha256:i", &[("sha256:a", TAR), ("sha256:b", TAR)]).await;
            let mut tx = store.write_tx().await.unwrap();
            sqlx::query(
                "update layer_readings set next_at = case digest when 'sha256:a' then 10 else 4000000000000 end",
            )
            .execute(&mut *tx)
            .await
            .unwrap();
            tx.commit().await.unwrap();
            assert_eq!(store.next_layer_at().await.unwrap(), Some(10));
            assert_eq!(store.claim_layer(MINUTE).await.unwrap().unwrap().digest, "sha256:a");
            let lease = store.next_layer_at().await.unwrap().unwrap();
            assert!((now()..=now() + MINUTE).contains(&lease), "when the lease ends, before the other is due: {lease}");
            assert!(store.record_layer("sha256:a", Err("broken")).await.unwrap());
            assert_eq!(store.next_layer_at().await.unwrap(), Some(4_000_000_000_000));
        }
    }

    #[tokio::test]
    async fn who_lost_a_layer_writes_nothing() {
        for store in each_store().await {
            project(&store, "demo").await;
            let app = put(&store, "sha256:i", &[("sha256:a", TAR)]).await;
            store.claim_layer(MINUTE).await.unwrap().unwrap();
            assert!(store.renew_layer("sha256:a", MINUTE).await.unwrap());
            sqlx::query("update layer_readings set lease_owner = 'another'").execute(store.pool()).await.unwrap();
            assert!(!store.renew_layer("sha256:a", MINUTE).await.unwrap());
            assert!(!store.record_layer("sha256:a", Ok(&contents("a"))).await.unwrap());
            assert!(!store.record_layer("sha256:a", Err("broken")).await.unwrap());
            assert!(!store.put_off_layer("sha256:a", "not now", 0).await.unwrap());
            let reading = store.list_layer_readings(&app, "sha256:i").await.unwrap().remove(0);
            assert_eq!((reading.read_at, reading.problem, reading.contents), (None, None, None));
        }
    }

    #[tokio::test]
    async fn what_no_image_has_is_forgotten_and_what_is_old_read_again() {
        for store in each_store().await {
            project(&store, "demo").await;
            put(&store, "sha256:i", &[("sha256:a", TAR)]).await;
            store.claim_layer(MINUTE).await.unwrap().unwrap();
            assert!(store.record_layer("sha256:a", Ok(&contents("a"))).await.unwrap());
            store.tidy_layer_readings().await.unwrap();
            assert_eq!(store.next_layer_at().await.unwrap(), None, "it stays read");
            for statement in [
                "update layer_readings set reader = 0",
                "insert into layer_readings (digest, wanted_at) values ('sha256:gone', 0)",
            ] {
                sqlx::query(statement).execute(store.pool()).await.unwrap();
            }
            store.tidy_layer_readings().await.unwrap();
            assert_eq!(store.claim_layer(MINUTE).await.unwrap().map(|layer| layer.digest).as_deref(), Some("sha256:a"));
            assert_eq!(store.claim_layer(MINUTE).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn what_is_too_much_or_in_other_streams_is_not_shown() {
        for store in each_store().await {
            project(&store, "demo").await;
            let app = put(&store, "sha256:i", &[("sha256:a", TAR)]).await;
            let other = store.ensure_stream("demo", &"other".parse().unwrap(), &Actor::person("ada")).await.unwrap();
            store.claim_layer(MINUTE).await.unwrap().unwrap();
            store.record_layer("sha256:a", Ok(&contents("a"))).await.unwrap();
            let reading = store.list_layer_readings(&other.id, "sha256:i").await.unwrap().remove(0);
            assert_eq!(
                (reading.read_at, reading.contents),
                (None, None),
                "a stream without the layer does not show it"
            );
            sqlx::query("update layer_readings set size = 100000000").execute(store.pool()).await.unwrap();
            let reading = store.list_layer_readings(&app, "sha256:i").await.unwrap().remove(0);
            assert_eq!(reading.contents, None);
            assert!(reading.problem.unwrap().contains("more than is shown together"));
        }
    }
}
