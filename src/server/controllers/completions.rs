//! Brings the rest of images that were pulled before all of them was here.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::{Controller, Runner};
use crate::model::now;
use crate::server::importer::{ImportError, Importer};
use crate::server::store::{IncompleteImage, Store};
use crate::server::wake;

/// Images completed side by side.
const AT_ONCE: usize = 4;
/// After this time another worker may take an image on; what is being downloaded goes on.
const LEASE: Duration = Duration::from_secs(30 * 60);
/// How long to wait at most before looking whether something is due.
const RESYNC: Duration = Duration::from_secs(30);
/// The bounds of the time between two tries.
const RETRIES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60 * 60));

/// The completion of images, in tasks of their own.
pub struct Completions {
    store: Store,
    importer: Importer,
    runner: Runner,
    places: Arc<Semaphore>,
}

impl Completions {
    /// Over this store; what is missing is fetched by `importer`, in tasks of `runner`.
    pub fn new(store: Store, importer: Importer, runner: Runner) -> Self {
        Self { store, importer, runner, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

#[async_trait]
impl Controller for Completions {
    fn name(&self) -> &'static str {
        "completions"
    }

    fn signal(&self) -> Option<wake::Controller> {
        Some(wake::Controller::Completions)
    }

    async fn reconcile(&self) -> anyhow::Result<Option<Duration>> {
        let room = i64::try_from(self.places.available_permits())?;
        if room == 0 {
            // Whoever ends wakes this.
            return Ok(Some(RESYNC));
        }
        for image in self.store.claim_incomplete(milliseconds(LEASE), room).await? {
            let place = Arc::clone(&self.places).acquire_owned().await?;
            let (store, importer) = (self.store.clone(), self.importer.clone());
            let (stop, wake) = (self.runner.stop.clone(), self.runner.wake.clone());
            self.runner.tracker.spawn(async move {
                let completed = tokio::select! {
                    completed = importer.complete(&image) => completed,
                    () = stop.cancelled() => Err(ImportError::Stopping),
                };
                record(&store, &image, completed).await;
                drop(place);
                wake.of(wake::Controller::Completions).notify_one();
            });
        }
        let next = self.store.next_completion_at().await?;
        let wait = next.map_or(RESYNC, |at| Duration::from_millis(u64::try_from(at - now()).unwrap_or(0)));
        Ok(Some(wait.clamp(Duration::from_millis(200), RESYNC)))
    }
}

async fn record(store: &Store, image: &IncompleteImage, completed: Result<(), ImportError>) {
    let name = format!("{}/{}@{}", image.project, image.stream, image.digest);
    let postponed = match completed {
        Ok(()) => {
            info!(image.digest = %image.digest, "{name} is here whole");
            return;
        }
        Err(ImportError::Stopping) => store.postpone_completion(image, now()).await,
        Err(cause) => {
            warn!(image.digest = %image.digest, "{name} is not here whole yet: {cause}");
            store.postpone_completion(image, now().saturating_add(wait(image, &cause, now()))).await
        }
    };
    if let Err(problem) = postponed {
        // Its lease ends, and then it is tried again.
        warn!(image.digest = %image.digest, "When {name} is tried again could not be recorded: {problem}");
    }
}

/// The longer it has not worked, the longer until the next try.
fn wait(image: &IncompleteImage, cause: &ImportError, now: i64) -> i64 {
    let (least, most) = (milliseconds(RETRIES.0), milliseconds(RETRIES.1));
    let asked = cause.retry_after().map_or(0, milliseconds);
    ((now - image.at) / 2).clamp(least, most).max(asked)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::oci::Error as OciError;

    #[test]
    fn tries_come_less_often_with_time() {
        let text = String::new;
        let image =
            IncompleteImage { stream_id: text(), project: text(), stream: text(), digest: text(), at: 1_000_000 };
        let away = ImportError::from(OciError::Upstream { registry: text(), status: 500 });
        let waits = [0, 60_000, 7_200_000, 700_000_000].map(|later| wait(&image, &away, 1_000_000 + later));
        assert_eq!(waits, [5_000, 30_000, 3_600_000, 3_600_000]);
        let retry_after = Some(Duration::from_secs(120));
        let limited = OciError::RateLimited { registry: text(), retry_after, abuse: false };
        assert_eq!(wait(&image, &limited.into(), 1_000_000), 120_000);
    }
}
