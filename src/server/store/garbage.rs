//! What nothing needs any more: found, marked, and taken away once it was marked for the grace and is still not needed.
//!
//! ```text
//!                 nothing needs it              marked for the grace, and in the
//!                                               deleting transaction still not needed
//!   in use ──────────────────────────▶ marked ──────────────────────────────────────▶ gone
//!      ▲                                  │          (a blob's bytes: see `claims`)
//!      └── needed again, asked for, kept ─┘
//! ```
//!
//! Four things go, each only after what needs it: a manifest from its repository (`manifests`, only where a retention rule says so), an
//! image, a blob from its repository, a blob (`parts`). Marks of the upper ones count as if those were gone already, so that one grace
//! is waited for all of them; what is taken away is decided by what is really there. A mark alone is no promise: whatever a push does
//! between mark and sweep, the sweep looks again.

mod manifests;
pub(super) mod parts;

use sqlx::AnyConnection;

use super::links::Content;
use super::{Result, Store, WriteTx};
use crate::model::{Garbage, GarbageKind, now};

/// A day in milliseconds.
pub(super) const DAY: i64 = 24 * 60 * 60 * 1000;
/// How many rows one transaction of the collector writes at most: pushes wait no longer than for that.
const BATCH: i64 = 200;

/// How far apps can go back: what that needs stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollbackDepth {
    /// The last versions of an app, however old.
    pub versions: i64,
    /// All rollouts of so many days, however many.
    pub days: i64,
}

impl Default for RollbackDepth {
    fn default() -> Self {
        Self { versions: 5, days: 30 }
    }
}

impl RollbackDepth {
    /// Rollouts since then can be gone back to.
    pub(super) fn rollouts_since(self, now: i64) -> i64 {
        now.saturating_sub(self.days.saturating_mul(DAY))
    }
}

/// When a pass takes place, how long things rest before they go, and what stays for apps. See [`Store::moment`].
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Milliseconds since the epoch.
    pub now: i64,
    pub grace_ms: i64,
    pub depth: RollbackDepth,
}

impl Moment {
    /// What came or was marked after this is too young.
    pub fn cutoff(&self) -> i64 {
        self.now.saturating_sub(self.grace_ms)
    }

    /// Rollouts since then can be gone back to.
    pub(super) fn rollouts_since(&self) -> i64 {
        self.depth.rollouts_since(self.now)
    }
}

/// What a pass would do, with every row.
#[derive(Debug, Clone, Default)]
pub struct Preview {
    /// What would be marked.
    pub marked: Vec<Garbage>,
    /// What is marked and has to wait.
    pub waiting: Vec<Garbage>,
    /// What would go.
    pub swept: Vec<Garbage>,
}

/// Bytes that go with these rows.
pub fn bytes_of(rows: &[Garbage]) -> i64 {
    rows.iter().filter(|row| row.kind == GarbageKind::Blob).map(|row| row.size).sum()
}

impl Store {
    /// A pass at that time, with what this server keeps for apps.
    pub fn moment(&self, now: i64, grace_ms: i64) -> Moment {
        Moment { now, grace_ms, depth: self.depth }
    }

    /// Takes back the marks of what is needed again. Tells how many.
    pub async fn unmark_needed(&self, moment: &Moment) -> Result<u64> {
        let mut tx = self.write_tx().await?;
        let unmarked = tx.unmark(moment).await?;
        tx.commit().await?;
        Ok(unmarked)
    }

    /// Marks what nothing needs, of one kind and in one repository where the kind has any. Reading takes no lock: what changes
    /// meanwhile is seen by the sweep, or by the next pass.
    pub async fn mark_unneeded(&self, kind: GarbageKind, stream_id: &str, moment: &Moment) -> Result<Vec<Garbage>> {
        let mut all = Vec::new();
        loop {
            let mut connection = self.pool().acquire().await?;
            let found = unneeded(&mut connection, kind, stream_id, moment, BATCH).await?;
            drop(connection);
            if found.is_empty() {
                return Ok(all);
            }
            let mut tx = self.write_tx().await?;
            tx.insert_marks(&found, moment.now).await?;
            tx.commit().await?;
            all.extend(found);
        }
    }

    /// Takes away some of what was marked for the grace and is not needed: manifests, images or links. Empty when nothing is left.
    pub async fn sweep_rows(&self, kind: GarbageKind, stream_id: &str, moment: &Moment) -> Result<Vec<Garbage>> {
        let mut tx = self.write_tx().await?;
        let swept = tx.sweep(kind, stream_id, moment).await?;
        tx.commit().await?;
        Ok(swept)
    }

    /// Blobs whose turn has come. Whether each may go is decided by [`Store::begin_deletion`].
    pub async fn list_sweepable_blobs(&self, moment: &Moment, after: &str) -> Result<Vec<Garbage>> {
        let mut connection = self.pool().acquire().await?;
        parts::sweepable(&mut connection, GarbageKind::Blob, moment, after, BATCH).await
    }

    /// What a pass would mark and take away now, if this were its moment. Nothing is changed.
    pub async fn preview_collection(&self, moment: &Moment) -> Result<Preview> {
        // Done and rolled back, so that it is what would happen and not what somebody thinks would.
        self.write_tx().await?.collect_rows(moment).await
    }

    /// Whether a repository's manifest or blob is marked.
    pub async fn is_marked(&self, stream_id: &str, digest: &str) -> Result<bool> {
        let marked: Option<(i64,)> = sqlx::query_as(
            "select marked_at from garbage where kind in ('manifest', 'link') and stream_id = $1 and digest = $2 limit 1",
        )
        .bind(stream_id)
        .bind(digest)
        .fetch_optional(self.pool())
        .await?;
        Ok(marked.is_some())
    }

    /// Somebody who may push asked whether a marked manifest or blob of a repository is there, and is about to rely on it: it counts as
    /// fresh.
    pub async fn refresh(&self, stream_id: &str, digest: &str) -> Result<()> {
        let mut tx = self.write_tx().await?;
        for statement in [
            "update repository_blobs set at = $3 where stream_id = $1 and digest = $2",
            "update repository_images set at = $3 where stream_id = $1 and digest = $2",
            "delete from garbage where kind in ('manifest', 'link') and stream_id = $1 and digest = $2 and marked_at <= $3",
        ] {
            sqlx::query(statement).bind(stream_id).bind(digest).bind(now()).execute(&mut *tx).await?;
        }
        tx.commit().await
    }

    /// Keeps an image with all it lists, or a blob, until a time, whatever nothing needs it. Tells how many marks that took back.
    pub async fn keep_digest(&self, digest: &str, until: i64) -> Result<u64> {
        let mut tx = self.write_tx().await?;
        sqlx::query(
            "insert into kept_digests (digest, until) values ($1, $2) on conflict (digest) do update set until = excluded.until",
        )
        .bind(digest)
        .bind(until)
        .execute(&mut *tx)
        .await?;
        let unmarked = sqlx::query(
            "with recursive tree (digest) as (select cast($1 as text) \
               union select c.child_digest from image_children c join tree t on t.digest = c.digest) \
             delete from garbage where digest in (select digest from tree)",
        )
        .bind(digest)
        .execute(&mut *tx)
        .await?
        .rows_affected();
        tx.commit().await?;
        Ok(unmarked)
    }

    /// Whether anything is stored under that digest.
    pub async fn is_digest_known(&self, digest: &str) -> Result<bool> {
        let known: Option<(i64,)> = sqlx::query_as(
            "select 1 from (select digest from images where digest = $1 union all select digest from blobs where digest = $1) x limit 1",
        )
        .bind(digest)
        .fetch_optional(self.pool())
        .await?;
        Ok(known.is_some())
    }

    /// How many things of each kind are marked, and their bytes.
    pub async fn count_garbage(&self) -> Result<Vec<(String, i64, i64)>> {
        let counts = sqlx::query_as(
            "select kind, count(*), cast(coalesce(sum(size), 0) as bigint) from garbage group by kind order by kind",
        )
        .fetch_all(self.pool())
        .await?;
        Ok(counts)
    }

    /// Ids of streams after `after`, for what goes through all of them.
    pub async fn list_stream_ids(&self, after: &str, limit: i64) -> Result<Vec<String>> {
        let ids: Vec<(String,)> = sqlx::query_as("select id from streams where id > $1 order by id limit $2")
            .bind(after)
            .bind(limit)
            .fetch_all(self.pool())
            .await?;
        Ok(ids.into_iter().map(|(id,)| id).collect())
    }
}

impl WriteTx {
    /// A whole pass but for the bytes: for previews, whose transaction is not committed.
    pub(super) async fn collect_rows(&mut self, moment: &Moment) -> Result<Preview> {
        self.unmark(moment).await?;
        let streams: Vec<(String,)> =
            sqlx::query_as("select id from streams order by id").fetch_all(&mut **self).await?;
        let mut preview = Preview::default();
        for kind in GarbageKind::ALL {
            for stream_id in repositories(*kind, &streams) {
                loop {
                    let found = unneeded(self, *kind, stream_id, moment, BATCH).await?;
                    if found.is_empty() {
                        break;
                    }
                    self.insert_marks(&found, moment.now).await?;
                    preview.marked.extend(found);
                }
            }
        }
        let waiting = "select kind, stream_id, digest, size, part from garbage where marked_at < $1 order by kind, stream_id, digest";
        preview.waiting = sqlx::query_as(waiting).bind(moment.now).fetch_all(&mut **self).await?;
        for kind in GarbageKind::ALL {
            for stream_id in repositories(*kind, &streams) {
                loop {
                    let swept = self.sweep(*kind, stream_id, moment).await?;
                    if swept.is_empty() {
                        break;
                    }
                    preview.swept.extend(swept);
                }
            }
        }
        preview.marked.retain(|row| !preview.swept.contains(row));
        preview.waiting.retain(|row| !preview.swept.contains(row));
        Ok(preview)
    }

    async fn unmark(&mut self, moment: &Moment) -> Result<u64> {
        sqlx::query("delete from kept_digests where until <= $1").bind(moment.now).execute(&mut **self).await?;
        let mut unmarked = self.unmark_manifests(moment).await?;
        for kind in [GarbageKind::Image, GarbageKind::Link, GarbageKind::Blob] {
            loop {
                // Each image that is needed again needs those it lists.
                let more = self.unmark_parts(kind, moment).await?;
                unmarked += more;
                if more == 0 {
                    break;
                }
            }
        }
        Ok(unmarked)
    }

    async fn insert_marks(&mut self, rows: &[Garbage], at: i64) -> Result<()> {
        for row in rows {
            sqlx::query(
                "insert into garbage (kind, stream_id, digest, size, part, marked_at) values ($1, $2, $3, $4, $5, $6) \
                 on conflict (kind, stream_id, digest) do nothing",
            )
            .bind(row.kind.as_str())
            .bind(&row.stream_id)
            .bind(&row.digest)
            .bind(row.size)
            .bind(row.part)
            .bind(at)
            .execute(&mut **self)
            .await?;
        }
        Ok(())
    }

    async fn sweep(&mut self, kind: GarbageKind, stream_id: &str, moment: &Moment) -> Result<Vec<Garbage>> {
        if kind == GarbageKind::Manifest {
            return self.sweep_manifests(stream_id, moment).await;
        }
        let rows = parts::sweepable(self, kind, moment, "", BATCH).await?;
        for row in &rows {
            self.take_away(row).await?;
        }
        Ok(rows)
    }

    /// A manifest that is pushed, or served again, is not on its way out any more.
    pub(super) async fn unmark_manifest(&mut self, stream_id: &str, digest: &str) -> Result<()> {
        sqlx::query("delete from garbage where kind = 'manifest' and stream_id = $1 and digest = $2")
            .bind(stream_id)
            .bind(digest)
            .execute(&mut **self)
            .await?;
        Ok(())
    }

    /// Removes a row together with its mark.
    pub(super) async fn take_away(&mut self, row: &Garbage) -> Result<()> {
        match row.kind {
            GarbageKind::Manifest => _ = self.unlink(Content::Manifest, &row.stream_id, &row.digest).await?,
            GarbageKind::Link => _ = self.unlink(Content::Blob, &row.stream_id, &row.digest).await?,
            GarbageKind::Image => {
                sqlx::query("delete from images where digest = $1").bind(&row.digest).execute(&mut **self).await?;
            }
            GarbageKind::Blob => {
                sqlx::query("delete from blobs where digest = $1").bind(&row.digest).execute(&mut **self).await?;
            }
        }
        sqlx::query("delete from garbage where kind = $1 and stream_id = $2 and digest = $3")
            .bind(row.kind.as_str())
            .bind(&row.stream_id)
            .bind(&row.digest)
            .execute(&mut **self)
            .await?;
        Ok(())
    }
}

/// The repositories to look through for a kind: all for what repositories have, once for the rest.
fn repositories(kind: GarbageKind, streams: &[(String,)]) -> Vec<&str> {
    match kind {
        GarbageKind::Manifest | GarbageKind::Link => streams.iter().map(|(id,)| id.as_str()).collect(),
        GarbageKind::Image | GarbageKind::Blob => vec![""],
    }
}

/// What nothing unmarked needs and is not marked yet: one statement, so one snapshot.
async fn unneeded(
    connection: &mut AnyConnection,
    kind: GarbageKind,
    stream_id: &str,
    moment: &Moment,
    limit: i64,
) -> Result<Vec<Garbage>> {
    match kind {
        GarbageKind::Manifest => manifests::unneeded(connection, stream_id, moment, limit).await,
        _ => parts::unneeded(connection, kind, stream_id, moment, limit).await,
    }
}
