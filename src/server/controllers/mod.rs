//! The loop that every controller runs in. Controllers are level-triggered: woken by their signal or by a timer, they read state,
//! compare, act through a back end and record what they saw.
//!
//! They take nothing from the signal, never run twice at once in one process, and may run in several processes: what they work on
//! they claim by a lease in its row, under [`Store::owner`](crate::server::store::Store::owner).

mod builds;
mod completions;
mod freezes;
mod gc;
mod holds;
mod housekeeping;
mod import_rules;
mod imports;
mod inspect;
mod notices;
mod packages;
mod proof;
mod rollouts;
mod search;
mod traffic;
mod triggers;

use std::future::pending;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, error, info_span};

use crate::server::wake::{self, Wake};

pub use builds::{BuildSettings, Builds};
pub use completions::Completions;
pub use freezes::Freezes;
pub use gc::{Gc, GcSettings, collect};
pub use holds::Holds;
pub use housekeeping::Housekeeping;
pub use import_rules::ImportRules;
pub use imports::Imports;
pub use inspect::Inspect;
pub use notices::Notices;
pub use packages::Packages;
pub use proof::Proof;
pub use rollouts::Rollouts;
pub use search::SearchFill;
pub use traffic::Traffic;
pub use triggers::Triggers;

/// How long a controller waits after its first failure; each further one doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// How long it waits at most after failures.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// One automation: it makes one aspect of the world as the rows say it should be.
#[async_trait]
pub trait Controller: Send + Sync + 'static {
    /// Its name in logs and metrics, one lower-case word.
    fn name(&self) -> &'static str;

    /// The signal that wakes it; `None` when only time does.
    fn signal(&self) -> Option<wake::Controller>;

    /// Does what is to be done now, and tells when to come again at the latest; `None` leaves it to the signal.
    ///
    /// It is never cancelled in the middle, so one call should take seconds, not minutes: longer work, like a build, goes to a
    /// tracked task of its own. What fails for one object must not keep others waiting: log it, go on, and come again.
    async fn reconcile(&self) -> anyhow::Result<Option<Duration>>;
}

/// Where controllers and their longer tasks run, and how they are told to end.
#[derive(Debug, Clone, Default)]
pub struct Runner {
    pub tracker: TaskTracker,
    /// Cancelled when the server stops.
    pub stop: CancellationToken,
    pub wake: Wake,
}

impl Runner {
    /// Runs the controller until the server stops. The first run comes at once: whatever an earlier process left undone is found by it.
    pub fn spawn(&self, controller: Arc<dyn Controller>) {
        let (stop, wake) = (self.stop.clone(), self.wake.clone());
        self.tracker.spawn(run(controller, stop, wake));
    }
}

async fn run(controller: Arc<dyn Controller>, stop: CancellationToken, wake: Wake) {
    let mut failures = 0;
    while !stop.is_cancelled() {
        let again = match step(&*controller).await {
            Ok(again) => {
                failures = 0;
                again
            }
            Err(cause) => {
                // The first failure of a row of them is news; the metric counts the rest.
                if failures == 0 {
                    error!(controller = controller.name(), "The {} controller failed: {cause:#}", controller.name());
                }
                failures += 1;
                Some(backoff(failures))
            }
        };
        // While it fails it is not woken: a signal storm must not become a retry storm.
        let signal = if failures == 0 { controller.signal() } else { None };
        tokio::select! {
            () = stop.cancelled() => {}
            () = signalled(&wake, signal) => {}
            () = timer(again) => {}
        }
    }
}

/// One run, with its span and its metrics. Tests call it to drive controllers by hand.
pub async fn step(controller: &dyn Controller) -> anyhow::Result<Option<Duration>> {
    let name = controller.name();
    let began = Instant::now();
    let result = controller.reconcile().instrument(info_span!("reconcile", controller = name)).await;
    let outcome = if result.is_ok() { "ok" } else { "error" };
    metrics::counter!("weir_reconcile_total", "controller" => name, "outcome" => outcome).increment(1);
    metrics::histogram!("weir_reconcile_duration_seconds", "controller" => name).record(began.elapsed().as_secs_f64());
    result
}

fn backoff(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LAST_RETRY)
}

async fn signalled(wake: &Wake, signal: Option<wake::Controller>) {
    match signal {
        Some(signal) => wake.of(signal).notified().await,
        None => pending().await,
    }
}

async fn timer(after: Option<Duration>) {
    match after {
        Some(after) => sleep(after).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::Notify;

    use super::*;

    struct Counting {
        runs: AtomicUsize,
        ran: Notify,
        fail: bool,
    }

    #[async_trait]
    impl Controller for Counting {
        fn name(&self) -> &'static str {
            "counting"
        }

        fn signal(&self) -> Option<wake::Controller> {
            Some(wake::Controller::Triggers)
        }

        async fn reconcile(&self) -> anyhow::Result<Option<Duration>> {
            self.runs.fetch_add(1, Ordering::SeqCst);
            self.ran.notify_one();
            if self.fail { anyhow::bail!("no luck") } else { Ok(None) }
        }
    }

    fn counting(fail: bool) -> Arc<Counting> {
        Arc::new(Counting { runs: AtomicUsize::new(0), ran: Notify::new(), fail })
    }

    #[tokio::test]
    async fn runs_at_once_again_when_woken_and_ends_when_stopped() {
        let runner = Runner::default();
        let controller = counting(false);
        runner.spawn(controller.clone());
        controller.ran.notified().await;
        runner.wake.of(wake::Controller::Triggers).notify_one();
        controller.ran.notified().await;
        runner.stop.cancel();
        runner.tracker.close();
        runner.tracker.wait().await;
        assert_eq!(controller.runs.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn retries_after_a_failure_without_being_woken() {
        let runner = Runner::default();
        let controller = counting(true);
        runner.spawn(controller.clone());
        controller.ran.notified().await;
        controller.ran.notified().await;
        runner.stop.cancel();
        runner.tracker.close();
        runner.tracker.wait().await;
    }

    #[test]
    fn backs_off_up_to_a_minute() {
        let waits: Vec<u64> = (1..=8).map(|failures| backoff(failures).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
    }
}
