//! Blobs that come while others go: how a push and the collector keep out of each other's way, without a lock between them.
//!
//! ```text
//!   collector   begin_deletion ────────▶ the bytes go ──▶ end_deletion (its trace stays an hour)
//!               no link, no image, and           ╲
//!               so no blob from here on           ╲ one of both transactions comes first, and sees it
//!                                                  ╲
//!   push        claim_blob ──▶ the bytes come ──▶ link_claimed_blob
//!               waits for a deletion under way;       refused when a deletion began since the claim:
//!               takes a mark back                     the bytes may have gone, the push is not acknowledged
//! ```
//!
//! A claim only reads, unless the blob is marked or being deleted. A deleter that died loses its lease; whoever comes next (a push, or
//! the next pass) takes the deletion over. Deleting ends long before the lease does, so that a slow deleter does no harm.

use std::time::Duration;

use tokio::time::sleep;

use super::garbage::Moment;
use super::memory::Leaves;
use super::{Error, Result, Store, WriteTx, new_id};
use crate::model::now;

/// How long a deleter may hold a blob.
pub const DELETION_LEASE: Duration = Duration::from_secs(60);
/// How long the trace of a deletion stays, and so how long a claim is good for: it must not outlive what would speak against it.
const TRACE_MS: i64 = 60 * 60 * 1000;
/// How often a push looks whether a deletion under way has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Somebody is about to bring a blob.
#[derive(Debug, Clone)]
pub struct Claim {
    digest: String,
    /// Milliseconds since the epoch.
    at: i64,
    /// The deletion that was over before.
    seen: Option<String>,
}

/// The bytes of a blob are to be deleted.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Deletion {
    pub id: String,
    pub digest: String,
    pub size: i64,
}

/// What stands in the way of a claim; with nothing, it costs one read.
#[derive(sqlx::FromRow)]
struct Obstacle {
    until: Option<i64>,
    marked: i64,
}

impl Store {
    /// Says that a blob's bytes are about to come, before they do. Waits while they are being deleted.
    pub async fn claim_blob(&self, digest: &str) -> Result<Claim> {
        loop {
            if let Some(claim) = self.try_claim_blob(digest).await? {
                return Ok(claim);
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// As [`Store::claim_blob`]; `None` while the blob is being deleted.
    pub async fn try_claim_blob(&self, digest: &str) -> Result<Option<Claim>> {
        let mut claim = Claim { digest: digest.to_owned(), at: now(), seen: None };
        let obstacles: Vec<Obstacle> = sqlx::query_as(
            "select until, cast(0 as bigint) as marked from blob_deletions where digest = $1 \
             union all select marked_at, cast(1 as bigint) from garbage where kind = 'blob' and stream_id = '' and digest = $1",
        )
        .bind(digest)
        .fetch_all(self.pool())
        .await?;
        if obstacles.is_empty() {
            return Ok(Some(claim));
        }
        let under_way = |obstacle: &Obstacle| obstacle.marked == 0 && obstacle.until.is_some_and(|until| until > now());
        if obstacles.iter().any(under_way) {
            return Ok(None);
        }
        let mut tx = self.write_tx().await?;
        sqlx::query("delete from garbage where kind = 'blob' and stream_id = '' and digest = $1")
            .bind(digest)
            .execute(&mut *tx)
            .await?;
        let deletion: Option<(String, Option<i64>)> =
            sqlx::query_as("select id, until from blob_deletions where digest = $1")
                .bind(digest)
                .fetch_optional(&mut *tx)
                .await?;
        claim.seen = match deletion {
            None => None,
            Some((_, Some(until))) if until > now() => return Ok(None),
            Some((id, None)) => Some(id),
            Some((_, Some(_))) => {
                // Its deleter died. From here on the deletion is over, under a name that the deleter does not know.
                let id = new_id();
                sqlx::query("update blob_deletions set id = $2, until = null, at = $3 where digest = $1")
                    .bind(digest)
                    .bind(&id)
                    .bind(now())
                    .execute(&mut *tx)
                    .await?;
                Some(id)
            }
        };
        tx.commit().await?;
        Ok(Some(claim))
    }

    /// Records a claimed blob whose bytes have come, links it to the repository and ends the upload it came by. Refused when its
    /// deletion began since the claim. Lasts as [`Store::link_blob`] does.
    pub async fn link_claimed_blob(
        &self,
        claim: &Claim,
        stream_id: &str,
        size: i64,
        upload: Option<&str>,
    ) -> Result<()> {
        let mut tx = self.write_tx().await?;
        tx.leaves(Leaves::Found);
        if now().saturating_sub(claim.at) >= TRACE_MS {
            return Err(Error::Conflict(format!(
                "the blob {} took too long to be stored: send it again",
                claim.digest
            )));
        }
        tx.settle_deletion(&claim.digest, claim.seen.as_deref()).await?;
        tx.link_blob(stream_id, &claim.digest, size).await?;
        if let Some(upload) = upload {
            sqlx::query("delete from uploads where id = $1").bind(upload).execute(&mut *tx).await?;
        }
        tx.commit_soon().await
    }

    /// Takes a marked blob's row away, if it may still go: its bytes are to be deleted now. `None` when something needs it.
    pub async fn begin_deletion(&self, digest: &str, moment: &Moment) -> Result<Option<Deletion>> {
        let mut tx = self.write_tx().await?;
        let Some(row) = tx.sweepable_blob(digest, moment).await? else { return Ok(None) };
        tx.take_away(&row).await?;
        let deletion = tx.insert_deletion(digest, row.size).await?;
        tx.commit().await?;
        Ok(Some(deletion))
    }

    /// As [`Store::begin_deletion`] for bytes that came without ever being recorded: left behind by a crash between both. `None` when
    /// there is a record.
    pub async fn begin_unrecorded_deletion(&self, digest: &str, size: i64) -> Result<Option<Deletion>> {
        if self.is_blob_recorded(digest).await? {
            return Ok(None);
        }
        let mut tx = self.write_tx().await?;
        let known: Option<(i64,)> = sqlx::query_as(
            "select 1 from (select digest from blobs where digest = $1 \
             union all select digest from blob_deletions where digest = $1 and until is not null \
             union all select digest from kept_digests where digest = $1 and until > $2) x limit 1",
        )
        .bind(digest)
        .bind(now())
        .fetch_optional(&mut *tx)
        .await?;
        if known.is_some() {
            // A deletion that failed or whose deleter died is the next pass's to take over.
            return Ok(None);
        }
        let deletion = tx.insert_deletion(digest, size).await?;
        tx.commit().await?;
        Ok(Some(deletion))
    }

    /// Whether the blob has a row.
    pub async fn is_blob_recorded(&self, digest: &str) -> Result<bool> {
        let row: Option<(i64,)> =
            sqlx::query_as("select size from blobs where digest = $1").bind(digest).fetch_optional(self.pool()).await?;
        Ok(row.is_some())
    }

    /// Deletions whose deleter is gone, under the name of a new one: those who died, or failed.
    pub async fn take_over_deletions(&self) -> Result<Vec<Deletion>> {
        let mut tx = self.write_tx().await?;
        let lost: Vec<Deletion> = sqlx::query_as(
            "select id, digest, size from blob_deletions where until is not null and until <= $1 order by at limit 1000",
        )
        .bind(now())
        .fetch_all(&mut *tx)
        .await?;
        let mut taken = Vec::with_capacity(lost.len());
        for deletion in lost {
            taken.push(tx.insert_deletion(&deletion.digest, deletion.size).await?);
        }
        tx.commit().await?;
        Ok(taken)
    }

    /// The bytes have gone. Nothing when somebody took the deletion over.
    pub async fn end_deletion(&self, deletion: &Deletion) -> Result<()> {
        sqlx::query("update blob_deletions set until = null, error = null where id = $1")
            .bind(&deletion.id)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// The bytes could not be deleted: whoever comes next tries again.
    pub async fn fail_deletion(&self, deletion: &Deletion, error: &str) -> Result<()> {
        sqlx::query("update blob_deletions set until = 0, error = $2 where id = $1 and until is not null")
            .bind(&deletion.id)
            .bind(error)
            .execute(self.pool())
            .await?;
        Ok(())
    }

    /// Forgets deletions that are over for long.
    pub async fn forget_deletions(&self) -> Result<()> {
        sqlx::query("delete from blob_deletions where until is null and at < $1")
            .bind(now() - TRACE_MS)
            .execute(self.pool())
            .await?;
        Ok(())
    }
}

impl WriteTx {
    /// Refuses to link a blob whose deletion began after `seen` was over; else forgets the deletion, for the bytes have come since.
    pub(super) async fn settle_deletion(&mut self, digest: &str, seen: Option<&str>) -> Result<()> {
        let deletion: Option<(String, Option<i64>)> =
            sqlx::query_as("select id, until from blob_deletions where digest = $1")
                .bind(digest)
                .fetch_optional(&mut **self)
                .await?;
        match deletion {
            None => Ok(()),
            Some((id, None)) if seen == Some(&id) => {
                sqlx::query("delete from blob_deletions where digest = $1").bind(digest).execute(&mut **self).await?;
                Ok(())
            }
            Some(_) => Err(Error::Conflict(format!("the blob {digest} was collected while it came: send it again"))),
        }
    }

    async fn insert_deletion(&mut self, digest: &str, size: i64) -> Result<Deletion> {
        let deletion = Deletion { id: new_id(), digest: digest.to_owned(), size };
        let lease = i64::try_from(DELETION_LEASE.as_millis()).unwrap_or(i64::MAX);
        sqlx::query(
            "insert into blob_deletions (digest, id, size, until, at) values ($1, $2, $3, $4, $5) \
             on conflict (digest) do update set id = excluded.id, size = excluded.size, until = excluded.until, at = excluded.at",
        )
        .bind(digest)
        .bind(&deletion.id)
        .bind(size)
        .bind(now().saturating_add(lease))
        .bind(now())
        .execute(&mut **self)
        .await?;
        Ok(deletion)
    }
}
