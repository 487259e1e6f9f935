//! Reads layers for the packages in them, one after the other, in the background: unpacking takes a processor for itself, and pulls and
//! pushes come first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::{Controller, Runner};
use crate::model::now;
use crate::server::blobs::Blobs;
use crate::server::packages::{Limits, read_blob};
use crate::server::store::{Store, WantedLayer};
use crate::server::wake;

/// How long a server that died keeps others from reading its layer.
const LEASE_MS: i64 = 60_000;
/// How long a layer may wait when its signal was lost, or was sent in another process.
const RESYNC: Duration = Duration::from_secs(30);
/// How often the readings of layers that are gone are forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(60 * 60);
/// How often a layer may be left without a word by those who began to read it: it may be what ends them.
const ATTEMPTS: i64 = 3;
/// A layer that cannot be read now is tried again after half the time that it waits already, within these.
const RETRY_MS: (i64, i64) = (5_000, 10 * 60_000);

/// The controller.
pub struct Packages {
    work: Arc<Work>,
    runner: Runner,
    tidied: std::sync::Mutex<Option<Instant>>,
}

struct Work {
    store: Store,
    blobs: Arc<dyn Blobs>,
    busy: AtomicBool,
}

impl Packages {
    /// Over these parts; layers are read in tasks of `runner`.
    pub fn new(store: Store, blobs: Arc<dyn Blobs>, runner: Runner) -> Self {
        let work = Arc::new(Work { store, blobs, busy: AtomicBool::new(false) });
        Self { work, runner, tidied: std::sync::Mutex::default() }
    }

    async fn tidy(&self) -> anyhow::Result<()> {
        let is_due = |at: Option<Instant>| at.is_none_or(|at| at.elapsed() >= TIDY_EVERY);
        let last = *self.tidied.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if is_due(last) {
            self.work.store.tidy_layer_readings().await?;
            *self.tidied.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(Instant::now());
        }
        Ok(())
    }
}

#[async_trait]
impl Controller for Packages {
    fn name(&self) -> &'static str {
        "packages"
    }

    fn signal(&self) -> Option<wake::Controller> {
        Some(wake::Controller::Packages)
    }

    async fn reconcile(&self) -> anyhow::Result<Option<Duration>> {
        self.tidy().await?;
        let Some(busy) = Busy::enter(&self.work) else { return Ok(Some(RESYNC)) };
        let Some(layer) = self.work.store.claim_layer(LEASE_MS).await? else {
            let next = self.work.store.next_layer_at().await?.map(|at| at.saturating_sub(now()).max(0).unsigned_abs());
            return Ok(Some(next.map_or(RESYNC, |ms| Duration::from_millis(ms).min(RESYNC))));
        };
        let (stop, wake) = (self.runner.stop.clone(), self.runner.wake.clone());
        self.runner.tracker.spawn(async move {
            let recorded = tokio::select! {
                recorded = busy.0.read(&layer) => recorded,
                () = stop.cancelled() => return,
            };
            drop(busy);
            match recorded {
                // The next one.
                Ok(()) => wake.of(wake::Controller::Packages).notify_one(),
                Err(problem) => warn!("What was read of layer {} cannot be recorded: {problem}", layer.digest),
            }
        });
        Ok(Some(RESYNC))
    }
}

/// A layer is being read, until dropped.
struct Busy(Arc<Work>);

impl Busy {
    fn enter(work: &Arc<Work>) -> Option<Self> {
        let was_busy = work.busy.swap(true, Ordering::SeqCst);
        (!was_busy).then(|| Self(Arc::clone(work)))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::SeqCst);
    }
}

impl Work {
    async fn read(&self, layer: &WantedLayer) -> anyhow::Result<()> {
        let digest = layer.digest.as_str();
        if layer.attempts >= ATTEMPTS {
            let problem = format!("{ATTEMPTS} times the server ended while it read it");
            return Ok(self.store.record_layer(digest, Err(&problem)).await?);
        }
        let Ok(parsed) = digest.parse() else {
            return Ok(self.store.record_layer(digest, Err("its digest is none")).await?);
        };
        let reading = read_blob(&self.blobs, &parsed, Limits::default());
        tokio::pin!(reading);
        let read = loop {
            tokio::select! {
                read = &mut reading => break read,
                () = sleep(Duration::from_millis(LEASE_MS.unsigned_abs() / 4)) => {
                    self.store.renew_layer(digest, LEASE_MS).await?;
                }
            }
        };
        match read {
            Ok(Ok(contents)) => {
                self.store.record_layer(digest, Ok(&contents)).await?;
                let packages: usize = contents.databases.iter().map(|database| database.packages.len()).sum();
                info!(layer.digest = %digest, "Read layer {digest}: it lists {packages} packages");
            }
            Ok(Err(problem)) => {
                self.store.record_layer(digest, Err(&problem)).await?;
                info!(layer.digest = %digest, "Layer {digest} was not read: {problem}");
            }
            Err(cause) => {
                let wait = (now() - layer.wanted_at) / 2;
                let next_at = now() + wait.clamp(RETRY_MS.0, RETRY_MS.1);
                self.store.put_off_layer(digest, &format!("{cause:#}"), next_at).await?;
            }
        }
        Ok(())
    }
}
