//! Brings the rest of images that were pulled before all of them was here.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;
use tracing::{info, warn};

use super::{Controller, Runner};
use crate::model::now;
use crate::server::importer::{ImportError, Importer, Places};
use crate::server::store::{IncompleteImage, Store};
use crate::server::wake;

/// Images completed side by side, and those of them of one project, or from one other registry.
const AT_ONCE: usize = 8;
const SHARE: usize = 3;
/// So long after a worker was last heard of another may take its image on; what is being downloaded goes on.
const LEASE: Duration = Duration::from_secs(2 * 60);
/// How often a worker is heard of.
const RENEW_EVERY: Duration = Duration::from_secs(30);
/// How long to wait at most before looking whether something is due.
const RESYNC: Duration = Duration::from_secs(30);
/// The bounds of the time between two tries.
const RETRIES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60 * 60));

/// The completion of images, in tasks of their own.
pub struct Completions {
    store: Store,
    importer: Importer,
    runner: Runner,
    places: Places,
}

impl Completions {
    /// Over this store; what is missing is fetched by `importer`, in tasks of `runner`.
    pub fn new(store: Store, importer: Importer, runner: Runner) -> Self {
        Self { store, importer, runner, places: Places::new(AT_ONCE, SHARE) }
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
        if self.places.free() == 0 {
            // Whoever ends wakes this.
            return Ok(Some(RESYNC));
        }
        // Those of a project or a registry that has its share are left for when one of them ends.
        let left = AtomicBool::new(false);
        let place = |image: &IncompleteImage| {
            let place = self.places.try_enter(image.registry(), &image.project);
            left.fetch_or(place.is_none(), Ordering::Relaxed);
            place
        };
        let claimed = self.store.claim_incomplete(milliseconds(LEASE), SHARE, place).await?;
        for (mut image, place) in claimed {
            let (store, importer) = (self.store.clone(), self.importer.clone());
            let (stop, wake) = (self.runner.stop.clone(), self.runner.wake.clone());
            self.runner.tracker.spawn(async move {
                let begun = image.clone();
                let completed = tokio::select! {
                    completed = importer.complete(&begun) => Some(completed),
                    () = stop.cancelled() => Some(Err(ImportError::Stopping)),
                    () = keep(&store, &mut image, RENEW_EVERY) => None,
                };
                match completed {
                    Some(completed) => record(&store, &image, completed).await,
                    None => info!(image.digest = %image.digest, "Another worker brings {}", name(&image)),
                }
                drop(place);
                wake.of(wake::Controller::Completions).notify_one();
            });
        }
        if left.into_inner() {
            return Ok(Some(RESYNC));
        }
        let next = self.store.next_completion_at().await?;
        let wait = next.map_or(RESYNC, |at| Duration::from_millis(u64::try_from(at - now()).unwrap_or(0)));
        Ok(Some(wait.clamp(Duration::from_millis(200), RESYNC)))
    }
}

/// Renews the claim of an image for as long as it is ours.
async fn keep(store: &Store, image: &mut IncompleteImage, every: Duration) {
    loop {
        sleep(every).await;
        match store.renew_completion(image, now().saturating_add(milliseconds(LEASE))).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(problem) if now() >= image.complete_at => {
                warn!(image.digest = %image.digest, "The claim of {} ended: {problem}", name(image));
                return;
            }
            // It holds for a while yet.
            Err(_) => {}
        }
    }
}

fn name(image: &IncompleteImage) -> String {
    format!("{}/{}@{}", image.project, image.stream, image.digest)
}

async fn record(store: &Store, image: &IncompleteImage, completed: Result<(), ImportError>) {
    let name = name(image);
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
    use crate::model::{Actor, NewImage};
    use crate::server::oci::Error as OciError;
    use crate::server::store::testing::{each_store, project};

    #[tokio::test]
    async fn a_claim_is_kept_while_the_work_goes_on_and_work_ends_with_it() {
        for store in each_store().await {
            project(&store, "demo").await;
            let actor = Actor::system("test");
            let stream = store.ensure_stream("demo", &"base".parse().unwrap(), &actor).await.unwrap();
            let image = NewImage { digest: "sha256:i".to_owned(), manifest: "{}".to_owned(), ..NewImage::default() };
            store.put_incomplete(&stream, &image, "quay.io/org/base", None, &actor).await.unwrap();
            let claim = async |lease| {
                let claimed = store.claim_incomplete(lease, 1, |_| Some(())).await.unwrap();
                claimed.into_iter().map(|(image, ())| image).collect::<Vec<_>>()
            };
            let mut image = claim(300).await.remove(0);
            let first = image.complete_at;
            let every = Duration::from_millis(50);
            let kept = tokio::time::timeout(Duration::from_secs(2), keep(&store, &mut image, every)).await;
            assert!(kept.is_err() && image.complete_at > first + 1000, "it is renewed beyond its first end");
            assert_eq!(claim(300).await, []);
            // Somebody else got hold of it.
            assert!(store.postpone_completion(&image, 0).await.unwrap());
            assert_eq!(claim(60_000).await.len(), 1);
            tokio::time::timeout(Duration::from_secs(10), keep(&store, &mut image, every)).await.expect("an end");
        }
    }

    #[test]
    fn tries_come_less_often_with_time() {
        let text = String::new;
        let (at, complete_at) = (1_000_000, 0);
        let image = IncompleteImage {
            stream_id: text(),
            project: text(),
            stream: text(),
            digest: text(),
            source: text(),
            is_whole: 0,
            at,
            complete_at,
        };
        let away = ImportError::from(OciError::Upstream { registry: text(), status: 500, retry_after: None });
        let waits = [0, 60_000, 7_200_000, 700_000_000].map(|later| wait(&image, &away, 1_000_000 + later));
        assert_eq!(waits, [5_000, 30_000, 3_600_000, 3_600_000]);
        let retry_after = Some(Duration::from_secs(120));
        let limited = OciError::RateLimited { registry: text(), retry_after, abuse: false };
        assert_eq!(wait(&image, &limited.into(), 1_000_000), 120_000);
    }
}
