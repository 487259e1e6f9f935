//! What was read of layers: which are to be read, by whom, and what was found in them.

use super::memory::Leaves;
use super::{Result, Store, WriteTx};
use crate::model::{LayerContents, LayerReading, now};
use crate::server::wake::Controller;

/// The version of what reads layers. One more makes all layers be read again.
const READER: i64 = 1;
/// What the readings of one image's layers may have together, in bytes. Nobody's images come near; whoever's do, made them for that.
const MAX_CONTENTS: i64 = 64 * 1024 * 1024;

/// A layer that is to be read, claimed.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct WantedLayer {
    pub digest: String,
    /// How often somebody began to read it and was not heard of again.
    pub attempts: i64,
    pub wanted_at: i64,
}

impl Store {
    /// Takes the layer that has waited longest, or `None`.
    pub async fn claim_layer(&self, lease_ms: i64) -> Result<Option<WantedLayer>> {
        if self.next_layer_at().await?.is_none_or(|at| at > now()) {
            return Ok(None);
        }
        let _turn = self.turn().await;
        let layer = sqlx::query_as(
            "update layer_readings set lease_owner = $1, lease_until = $2, attempts = attempts + 1 where digest = (\
               select digest from layer_readings where read_at is null and next_at <= $3 \
               and (lease_until is null or lease_until <= $3) order by next_at, digest limit 1) \
             and (lease_until is null or lease_until <= $3) returning digest, attempts - 1 as attempts, wanted_at",
        )
        .bind(self.owner())
        .bind(now().saturating_add(lease_ms))
        .bind(now())
        .fetch_optional(self.pool())
        .await?;
        Ok(layer)
    }

    /// When the next layer may be read, in milliseconds since the epoch; `None` when all are.
    pub async fn next_layer_at(&self) -> Result<Option<i64>> {
        let (next,): (Option<i64>,) = sqlx::query_as(
            "select min(case when lease_until is not null and lease_until > next_at then lease_until else next_at end) \
             from layer_readings where read_at is null",
        )
        .fetch_one(self.pool())
        .await?;
        Ok(next)
    }

    /// Records what was found in a layer, or why it cannot be read. Pages of the projects that have it look again.
    pub async fn record_layer(&self, digest: &str, read: std::result::Result<&LayerContents, &str>) -> Result<()> {
        let contents = read.ok().map(serde_json::to_string).transpose()?;
        let mut tx = self.write_tx().await?;
        tx.leaves(Leaves::Found);
        sqlx::query(
            "update layer_readings set read_at = $2, reader = $3, problem = $4, contents = $5, size = $6, lease_owner = null, \
             lease_until = null where digest = $1",
        )
        .bind(digest)
        .bind(now())
        .bind(READER)
        .bind(read.err())
        .bind(contents.as_deref())
        .bind(i64::try_from(contents.as_ref().map_or(0, String::len)).unwrap_or(i64::MAX))
        .execute(&mut *tx)
        .await?;
        let projects: Vec<(String,)> = sqlx::query_as(
            "select distinct p.name from repository_blobs r join projects p on p.id = r.project_id where r.digest = $1",
        )
        .bind(digest)
        .fetch_all(&mut *tx)
        .await?;
        for (project,) in projects {
            tx.touch(&project);
        }
        tx.commit_soon().await
    }

    /// Says why a layer could not be read now, and when to try again.
    pub async fn put_off_layer(&self, digest: &str, problem: &str, next_at: i64) -> Result<()> {
        let _turn = self.turn().await;
        sqlx::query(
            "update layer_readings set problem = $2, next_at = $3, attempts = 0, lease_owner = null, lease_until = null \
             where digest = $1 and read_at is null",
        )
        .bind(digest)
        .bind(problem)
        .bind(next_at)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// Keeps a claimed layer for so much longer.
    pub async fn renew_layer(&self, digest: &str, lease_ms: i64) -> Result<()> {
        let _turn = self.turn().await;
        sqlx::query(
            "update layer_readings set lease_until = $3 where digest = $1 and lease_owner = $2 and read_at is null",
        )
        .bind(digest)
        .bind(self.owner())
        .bind(now().saturating_add(lease_ms))
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// What was read of an image's layers, lowest first. Layers that are no file systems are left out.
    pub async fn list_layer_readings(&self, digest: &str) -> Result<Vec<LayerReading>> {
        let (size,): (i64,) = sqlx::query_as(
            "select cast(coalesce(sum(r.size), 0) as bigint) from image_layers l join layer_readings r on r.digest = l.layer_digest \
             where l.digest = $1",
        )
        .bind(digest)
        .fetch_one(self.pool())
        .await?;
        let readings = sqlx::query_as(
            "select l.position, l.layer_digest, r.read_at, \
             case when $2 > $3 and r.contents is not null then 'the layers of this image list more than is shown together' \
               else r.problem end as problem, \
             case when $2 > $3 then null else r.contents end as contents \
             from image_layers l join layer_readings r on r.digest = l.layer_digest where l.digest = $1 order by l.position",
        )
        .bind(digest)
        .bind(size)
        .bind(MAX_CONTENTS)
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
        let wanted = sqlx::query(
            "insert into layer_readings (digest, wanted_at) select distinct l.layer_digest, cast($2 as bigint) from image_layers l \
             where l.digest = $1 and l.media_type in (\
               'application/vnd.oci.image.layer.v1.tar', 'application/vnd.oci.image.layer.v1.tar+gzip', \
               'application/vnd.oci.image.layer.v1.tar+zstd', 'application/vnd.oci.image.layer.nondistributable.v1.tar', \
               'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', \
               'application/vnd.oci.image.layer.nondistributable.v1.tar+zstd', 'application/vnd.docker.image.rootfs.diff.tar', \
               'application/vnd.docker.image.rootfs.diff.tar.gzip', 'application/vnd.docker.image.rootfs.diff.tar.zstd', \
               'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip') on conflict (digest) do nothing",
        )
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
