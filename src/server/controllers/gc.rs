//! Lets the collector pass when it is time: on one server at a time, whichever comes first.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Controller;
use crate::model::now;
use crate::server::collector::{Collector, Report};
use crate::server::store::{Moment, Store};
use crate::server::wake;

/// The name of the duty.
const DUTY: &str = "gc";
/// How long a server that died keeps others from collecting.
const LEASE: Duration = Duration::from_secs(60);
/// How soon to look again while another server collects, or after a pass that was cut short.
const AGAIN: Duration = Duration::from_secs(60);

/// When the collector passes, and what it waits for.
#[derive(Debug, Clone, Copy)]
pub struct GcSettings {
    /// From the end of a pass to the next.
    pub interval: Duration,
    /// From mark to sweep.
    pub grace: Duration,
}

/// The collector's timer.
pub struct Gc {
    store: Store,
    collector: Collector,
    settings: GcSettings,
    stop: CancellationToken,
}

impl Gc {
    /// Over these parts; `stop` ends a pass early, to be gone on with later.
    pub fn new(store: Store, collector: Collector, settings: GcSettings, stop: CancellationToken) -> Self {
        Self { store, collector, settings, stop }
    }

    async fn due_in(&self) -> anyhow::Result<Duration> {
        let finished = self.store.find_duty(DUTY).await?.and_then(|duty| duty.finished_at);
        let due = finished.map_or(0, |at| at.saturating_add(millis(self.settings.interval)));
        Ok(Duration::from_millis(due.saturating_sub(now()).max(0).unsigned_abs()))
    }
}

#[async_trait]
impl Controller for Gc {
    fn name(&self) -> &'static str {
        "gc"
    }

    fn signal(&self) -> Option<wake::Controller> {
        None
    }

    async fn reconcile(&self) -> anyhow::Result<Option<Duration>> {
        let wait = self.due_in().await?;
        if !wait.is_zero() {
            return Ok(Some(wait));
        }
        let moment = self.store.moment(now(), millis(self.settings.grace));
        match collect(&self.store, &self.collector, &moment, &self.stop).await? {
            Some(report) if report.complete => Ok(Some(self.settings.interval)),
            _ => Ok(Some(AGAIN)),
        }
    }
}

/// One pass, as this process's duty; `None` when another process has it.
pub async fn collect(
    store: &Store,
    collector: &Collector,
    moment: &Moment,
    stop: &CancellationToken,
) -> anyhow::Result<Option<Report>> {
    if !store.take_duty(DUTY, millis(LEASE)).await? {
        return Ok(None);
    }
    let pass = collector.pass(moment, stop);
    tokio::pin!(pass);
    let report = loop {
        tokio::select! {
            report = &mut pass => break report,
            () = sleep(LEASE / 4) => {
                // Two passes at once do no harm; that the lease was lost is worth a line all the same.
                if !store.take_duty(DUTY, millis(LEASE)).await? {
                    warn!("Another server collects as well: this one was silent for longer than its lease");
                }
            }
        }
    };
    let done = report.as_ref().ok().filter(|report| report.complete).map(serde_json::to_string).transpose()?;
    store.give_back_duty(DUTY, done.as_deref()).await?;
    let report = report?;
    measure(store, &report).await?;
    Ok(Some(report))
}

async fn measure(store: &Store, report: &Report) -> anyhow::Result<()> {
    for (kind, count) in
        [("manifest", report.manifests), ("image", report.images), ("link", report.links), ("blob", report.blobs)]
    {
        metrics::counter!("weir_gc_swept_total", "kind" => kind).increment(count);
    }
    metrics::counter!("weir_gc_swept_bytes_total").increment(report.bytes.max(0).unsigned_abs());
    metrics::counter!("weir_gc_failed_total").increment(report.failed.len() as u64);
    let counts = store.count_garbage().await?;
    for kind in crate::model::GarbageKind::ALL {
        let count = counts.iter().find(|(counted, ..)| counted == kind.as_str()).map_or(0, |(_, count, _)| *count);
        #[expect(clippy::cast_precision_loss, reason = "a gauge takes nothing else")]
        metrics::gauge!("weir_gc_marked", "kind" => kind.as_str()).set(count as f64);
    }
    if report.blobs + report.manifests + report.marked > 0 {
        info!(
            size_bytes = report.bytes,
            "Collected {} blobs and {} manifests, marked {}", report.blobs, report.manifests, report.marked
        );
    }
    Ok(())
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
