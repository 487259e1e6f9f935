//! The collector: takes away what nothing needs, while the server serves. It decides nothing by itself: what is needed is the store's
//! to say, in the transaction that takes it away ([`Store::sweep_rows`], [`Store::begin_deletion`]).
//!
//! A pass may end anywhere. What it did stays done, what it began is taken up by the next one.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::blobs::Blobs;
use crate::model::{Digest, Garbage, GarbageKind};
use crate::server::store::{DELETION_LEASE, Deletion, Moment, Preview, Store};

/// Streams looked at together.
const PAGE: i64 = 500;
/// How long deleting one blob may take: well within the lease of a deletion, after which a push may bring it again.
const DELETE_WITHIN: Duration = Duration::from_secs(20);
const _: () = assert!(DELETE_WITHIN.as_secs() * 2 < DELETION_LEASE.as_secs());

/// The collector.
#[derive(Clone)]
pub struct Collector {
    store: Store,
    blobs: Arc<dyn Blobs>,
}

/// What a pass did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Marks taken back.
    pub unmarked: u64,
    /// Things marked.
    pub marked: u64,
    /// Manifests taken out of repositories.
    pub manifests: u64,
    pub images: u64,
    /// Blobs taken out of repositories.
    pub links: u64,
    /// Blobs deleted.
    pub blobs: u64,
    pub bytes: i64,
    /// Uploads that nobody went on with.
    pub uploads: u64,
    /// What could not be done, each with its reason. The next pass tries again.
    pub failed: Vec<String>,
    /// Whether it came to its end.
    pub complete: bool,
}

impl Report {
    fn count(&mut self, rows: &[Garbage]) {
        for row in rows {
            match row.kind {
                GarbageKind::Manifest => self.manifests += 1,
                GarbageKind::Image => self.images += 1,
                GarbageKind::Link => self.links += 1,
                // Counted once its bytes are gone.
                GarbageKind::Blob => {}
            }
        }
    }
}

impl Collector {
    /// Over these parts.
    pub fn new(store: Store, blobs: Arc<dyn Blobs>) -> Self {
        Self { store, blobs }
    }

    /// One pass: marks what is not needed, takes away what was marked for the grace. Ends early when `stop` is cancelled.
    pub async fn pass(&self, moment: &Moment, stop: &CancellationToken) -> anyhow::Result<Report> {
        let mut report = Report { unmarked: self.store.unmark_needed(moment).await?, ..Report::default() };
        let streams = self.streams().await?;
        for kind in GarbageKind::ALL {
            for stream in repositories(*kind, &streams) {
                if stop.is_cancelled() {
                    return Ok(report);
                }
                report.marked += self.store.mark_unneeded(*kind, stream, moment).await?.len() as u64;
            }
        }
        for kind in [GarbageKind::Manifest, GarbageKind::Image, GarbageKind::Link] {
            for stream in repositories(kind, &streams) {
                loop {
                    if stop.is_cancelled() {
                        return Ok(report);
                    }
                    let swept = self.store.sweep_rows(kind, stream, moment).await?;
                    if swept.is_empty() {
                        break;
                    }
                    report.count(&swept);
                }
            }
        }
        self.take_over_deletions(&mut report).await?;
        self.sweep_blobs(moment, stop, &mut report).await?;
        self.sweep_unrecorded(moment, stop, &mut report).await?;
        self.sweep_uploads(moment, &mut report).await?;
        self.store.forget_deletions().await?;
        report.complete = !stop.is_cancelled();
        Ok(report)
    }

    /// What a pass would do now. Nothing is changed.
    pub async fn preview(&self, moment: &Moment) -> anyhow::Result<Preview> {
        let mut preview = self.store.preview_collection(moment).await?;
        let mut list = self.blobs.list();
        while let Some(entry) = list.try_next().await.context("listing blobs")? {
            if millis(entry.modified) <= moment.cutoff() && !self.store.is_blob_recorded(entry.digest.as_str()).await? {
                preview.swept.push(Garbage {
                    kind: GarbageKind::Blob,
                    stream_id: String::new(),
                    digest: entry.digest.to_string(),
                    size: i64::try_from(entry.size).unwrap_or(i64::MAX),
                    part: 0,
                });
            }
        }
        Ok(preview)
    }

    async fn streams(&self) -> anyhow::Result<Vec<String>> {
        let mut streams: Vec<String> = Vec::new();
        loop {
            let after = streams.last().cloned().unwrap_or_default();
            let page = self.store.list_stream_ids(&after, PAGE).await?;
            if page.is_empty() {
                return Ok(streams);
            }
            streams.extend(page);
        }
    }

    /// Deletions that an earlier pass began and did not end.
    async fn take_over_deletions(&self, report: &mut Report) -> anyhow::Result<()> {
        for deletion in self.store.take_over_deletions().await? {
            self.delete(&deletion, report).await?;
        }
        Ok(())
    }

    async fn sweep_blobs(&self, moment: &Moment, stop: &CancellationToken, report: &mut Report) -> anyhow::Result<()> {
        let mut after = String::new();
        loop {
            let page = self.store.list_sweepable_blobs(moment, &after).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after.clone_from(&last.digest);
            for row in &page {
                if stop.is_cancelled() {
                    return Ok(());
                }
                if let Some(deletion) = self.store.begin_deletion(&row.digest, moment).await? {
                    self.delete(&deletion, report).await?;
                }
            }
        }
    }

    /// Bytes that became a blob, and whose sender died before that was recorded.
    async fn sweep_unrecorded(
        &self,
        moment: &Moment,
        stop: &CancellationToken,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let mut list = self.blobs.list();
        while let Some(entry) = list.try_next().await.context("listing blobs")? {
            if stop.is_cancelled() {
                return Ok(());
            }
            if millis(entry.modified) > moment.cutoff() {
                continue;
            }
            let size = i64::try_from(entry.size).unwrap_or(i64::MAX);
            if let Some(deletion) = self.store.begin_unrecorded_deletion(entry.digest.as_str(), size).await? {
                self.delete(&deletion, report).await?;
            }
        }
        Ok(())
    }

    /// Uploads of which no row tells: those of imports that died. The others are housekeeping's.
    async fn sweep_uploads(&self, moment: &Moment, report: &mut Report) -> anyhow::Result<()> {
        let mut list = self.blobs.uploads();
        while let Some(entry) = list.try_next().await.context("listing uploads")? {
            if millis(entry.modified) > moment.cutoff() || self.store.is_upload_recorded(entry.id.as_str()).await? {
                continue;
            }
            match self.blobs.abort(&entry.id).await {
                Ok(()) => report.uploads += 1,
                Err(cause) => report.failed.push(format!("upload {}: {cause}", entry.id)),
            }
        }
        Ok(())
    }

    /// Deletes a blob's bytes. A failure is this blob's alone: it is reported, and the others go on.
    async fn delete(&self, deletion: &Deletion, report: &mut Report) -> anyhow::Result<()> {
        match self.delete_bytes(deletion).await {
            Ok(()) => {
                self.store.end_deletion(deletion).await?;
                report.blobs += 1;
                report.bytes += deletion.size;
                info!(blob.digest = %deletion.digest, size_bytes = deletion.size, "Collected blob {}", deletion.digest);
            }
            Err(cause) => {
                error!(blob.digest = %deletion.digest, "Blob {} cannot be deleted: {cause:#}", deletion.digest);
                self.store.fail_deletion(deletion, &format!("{cause:#}")).await?;
                report.failed.push(format!("blob {}: {cause:#}", deletion.digest));
            }
        }
        Ok(())
    }

    async fn delete_bytes(&self, deletion: &Deletion) -> anyhow::Result<()> {
        let digest: Digest = deletion.digest.parse()?;
        let deleted = timeout(DELETE_WITHIN, self.blobs.delete(&digest)).await;
        deleted.context("the blob store did not answer in time")??;
        Ok(())
    }
}

/// The repositories to look through for a kind: all for what repositories have, once for the rest.
fn repositories(kind: GarbageKind, streams: &[String]) -> Vec<&str> {
    match kind {
        GarbageKind::Manifest | GarbageKind::Link => streams.iter().map(String::as_str).collect(),
        GarbageKind::Image | GarbageKind::Blob => vec![""],
    }
}

fn millis(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod model;
