//! Reads layers for the packages in them, one after the other, in the background: unpacking takes a processor for itself, and pulls and
//! pushes come first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::{Controller, Runner};
use crate::model::{LayerContents, now};
use crate::server::blobs::Blobs;
use crate::server::packages::{Limits, read_blob};
use crate::server::store::{self, Store, WantedLayer};
use crate::server::wake;

/// How long a server that died keeps others from reading its layer.
const LEASE_MS: i64 = 60_000;
/// How often the lease is renewed.
const RENEW_EVERY: Duration = Duration::from_secs(15);
/// How often it is tried to write down what was read.
const RECORD_EVERY: Duration = Duration::from_secs(2);
/// How often, when the database refuses it: then it counts as an attempt.
const RECORD_TRIES: u32 = 5;
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
            tokio::select! {
                () = busy.0.read(&layer) => {}
                () = stop.cancelled() => return,
            }
            drop(busy);
            // The next one.
            wake.of(wake::Controller::Packages).notify_one();
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

/// What is to be written of a layer.
enum End {
    Read(LayerContents),
    /// It cannot be read, ever.
    Refused(String),
    /// It cannot be read now.
    PutOff(String),
}

impl Work {
    async fn read(&self, layer: &WantedLayer) {
        let digest = layer.digest.as_str();
        let end = if layer.attempts >= ATTEMPTS {
            Some(End::Refused(format!("{ATTEMPTS} times the server ended while it read it")))
        } else {
            self.read_claimed(digest).await
        };
        match end {
            Some(end) => self.record(layer, &end).await,
            None => info!(layer.digest = %digest, "Another server reads layer {digest}"),
        }
    }

    /// Reads a layer for as long as it is ours; `None` once it is not.
    async fn read_claimed(&self, digest: &str) -> Option<End> {
        let Ok(parsed) = digest.parse() else { return Some(End::Refused("its digest is none".to_owned())) };
        tokio::select! {
            read = read_blob(&self.blobs, &parsed, Limits::default()) => Some(match read {
                Ok(Ok(contents)) => End::Read(contents),
                Ok(Err(problem)) => End::Refused(problem),
                Err(cause) => End::PutOff(format!("{cause:#}")),
            }),
            () = self.keep(digest, RENEW_EVERY) => None,
        }
    }

    /// Renews the lease of a layer until somebody else has it. That the database does not answer is no reason to end: the lease is still
    /// ours when it is back, unless somebody took the layer meanwhile.
    async fn keep(&self, digest: &str, every: Duration) {
        loop {
            sleep(every).await;
            match self.store.renew_layer(digest, LEASE_MS).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(problem) => warn!("The lease of layer {digest} was not renewed: {problem}"),
            }
        }
    }

    /// Writes down how it went, as soon as the database takes it: a layer of which nothing is heard counts as one that ended the server.
    async fn record(&self, layer: &WantedLayer, end: &End) {
        let digest = layer.digest.as_str();
        let mut refused = 0;
        loop {
            match self.try_to_record(layer, end).await {
                Ok(true) => break,
                Ok(false) => return info!(layer.digest = %digest, "Another server reads layer {digest}"),
                Err(problem) => {
                    warn!("What was read of layer {digest} is not recorded yet: {problem}");
                    // A database that is there and does not take it will not: other layers wait.
                    refused += u32::from(problem.outage().is_none());
                    if refused == RECORD_TRIES {
                        return;
                    }
                }
            }
            sleep(RECORD_EVERY).await;
        }
        match end {
            End::Read(contents) => {
                let packages: usize = contents.databases.iter().map(|database| database.packages.len()).sum();
                info!(layer.digest = %digest, "Read layer {digest}: it lists {packages} packages");
            }
            End::Refused(problem) => info!(layer.digest = %digest, "Layer {digest} was not read: {problem}"),
            End::PutOff(_) => {}
        }
    }

    async fn try_to_record(&self, layer: &WantedLayer, end: &End) -> store::Result<bool> {
        let digest = layer.digest.as_str();
        match end {
            End::Read(contents) => self.store.record_layer(digest, Ok(contents)).await,
            End::Refused(problem) => self.store.record_layer(digest, Err(problem)).await,
            End::PutOff(problem) => {
                let wait = (now() - layer.wanted_at) / 2;
                let next_at = now() + wait.clamp(RETRY_MS.0, RETRY_MS.1);
                self.store.put_off_layer(digest, problem, next_at).await
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Actor, ImageLayer, NewImage};
    use crate::server::blobs::Filesystem;
    use crate::server::store::testing::{each_store, project, run};

    const EVERY: Duration = Duration::from_millis(20);

    /// An image whose layer is claimed.
    async fn claimed(store: &Store) -> WantedLayer {
        project(store, "demo").await;
        let actor = Actor::person("ada");
        let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &actor).await.unwrap();
        let media_type = "application/vnd.oci.image.layer.v1.tar".to_owned();
        let layer = ImageLayer { layer_digest: "sha256:l".to_owned(), size: 1, media_type };
        store.link_blob(&stream.id, "sha256:l", 1, None).await.unwrap();
        let (digest, manifest) = ("sha256:i".to_owned(), "{}".to_owned());
        let image = NewImage { digest, manifest, layers: vec![layer], ..NewImage::default() };
        store.put_manifest(&stream, &image, None, &actor).await.unwrap();
        store.claim_layer(LEASE_MS).await.unwrap().expect("the layer")
    }

    async fn work(store: &Store, directory: &std::path::Path) -> Work {
        let blobs: Arc<dyn Blobs> = Arc::new(Filesystem::open(directory.to_owned()).await.unwrap());
        Work { store: store.clone(), blobs, busy: AtomicBool::new(false) }
    }

    #[tokio::test]
    async fn a_database_that_is_away_is_no_attempt_and_a_lost_lease_ends_the_work() {
        let directory = tempfile::tempdir().unwrap();
        for store in each_store().await {
            let layer = claimed(&store).await;
            let work = work(&store, directory.path()).await;
            // As good as away: whatever is asked of the table fails.
            run(&store, "alter table layer_readings rename to layer_readings_away").await;
            let kept = tokio::time::timeout(Duration::from_millis(200), work.keep(&layer.digest, EVERY)).await;
            assert!(kept.is_err(), "it goes on without the database");
            let end = End::PutOff("later".to_owned());
            let back = async {
                sleep(Duration::from_millis(200)).await;
                run(&store, "alter table layer_readings_away rename to layer_readings").await;
            };
            tokio::join!(work.record(&layer, &end), back);
            run(&store, "update layer_readings set next_at = 0").await;
            let again = store.claim_layer(LEASE_MS).await.unwrap().expect("the layer");
            assert_eq!(again.attempts, 0, "it was heard of");

            run(&store, "update layer_readings set lease_owner = 'another'").await;
            tokio::time::timeout(Duration::from_secs(10), work.keep(&layer.digest, EVERY)).await.expect("an end");
            work.record(&layer, &end).await;
            run(&store, "update layer_readings set lease_until = 0").await;
            assert_eq!(store.claim_layer(LEASE_MS).await.unwrap().expect("it waits").attempts, 1, "it stays as it was");
        }
    }
}
