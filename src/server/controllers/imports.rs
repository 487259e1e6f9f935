//! Checks what tags follow in other registries: on their schedule, or when somebody asks.
//!
//! Checks run in tasks of their own, so that a registry that does not answer keeps nobody waiting but its own tags. What is due, and may
//! be asked now, `store/schedule.rs` gives out; what registries allow is kept to in `importer/asking.rs`, too, for whoever asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tracing::warn;

use super::{Controller, Runner};
use crate::model::{ImageReference, now};
use crate::server::importer::{ImportError, Importer};
use crate::server::store::{DueImport, NextCheck, Store};
use crate::server::wake;

/// Questions under way at once, at all registries together.
const AT_ONCE: usize = 64;
/// After this time another server takes up the checks of one that is gone.
const LEASE: Duration = Duration::from_secs(30);
/// How long to wait at most before looking again while checks are under way, whose leases are to be renewed, and else.
const RENEW: Duration = Duration::from_secs(8);
const RESYNC: Duration = Duration::from_secs(30);
/// Tags whose checks' questions are found out at a time.
const ASSIGNED_AT_ONCE: i64 = 256;
/// The next check comes after so many hundredths of the interval: ±10 %-points, so that tags made together do not stay together, and
/// early enough that none is later than its interval says.
const SPREAD: (i64, i64) = (78, 98);
/// How much rarer checks become the longer they fail: doubled each time, but no rarer than this, or than its interval.
const RAREST_RETRY_MS: i64 = 60 * 60 * 1000;

/// The import schedule.
pub struct Imports {
    store: Store,
    importer: Importer,
    interval: Duration,
    runner: Runner,
    places: Arc<Semaphore>,
    /// When this looks again by itself. The end of a check that is due again before that is news; while more is due than can be asked,
    /// any end is.
    looks_at: Arc<AtomicI64>,
}

impl Imports {
    /// `interval` is the time between checks of tags that set none of their own; checks run in tasks of `runner`.
    pub fn new(store: Store, importer: Importer, interval: Duration, runner: Runner) -> Self {
        let (places, looks_at) = (Arc::new(Semaphore::new(AT_ONCE)), Arc::new(AtomicI64::new(i64::MAX)));
        Self { store, importer, interval, runner, places, looks_at }
    }

    /// Finds out what the checks of new and changed tags ask.
    async fn assign(&self) -> anyhow::Result<()> {
        loop {
            let tags = self.store.list_unassigned_imports(ASSIGNED_AT_ONCE).await?;
            if tags.is_empty() {
                return Ok(());
            }
            let mut assignments = Vec::with_capacity(tags.len());
            for tag in &tags {
                assignments.push(self.importer.assign(tag).await);
            }
            self.store.assign_imports(&assignments).await?;
        }
    }

    /// Checks what all these tags follow, in a task of its own.
    fn spawn(&self, due: Vec<DueImport>, place: tokio::sync::OwnedSemaphorePermit) {
        let (importer, stop, wake) = (self.importer.clone(), self.runner.stop.clone(), self.runner.wake.clone());
        let (default, looks_at) = (self.interval, Arc::clone(&self.looks_at));
        self.runner.tracker.spawn(async move {
            let spread = rand::random_range(SPREAD.0..=SPREAD.1);
            let earliest = AtomicI64::new(i64::MAX);
            let next = |one: &DueImport, error: Option<&ImportError>| {
                let next = next_check(one, default, spread, error);
                earliest.fetch_min(next.map_or(i64::MAX, |next| next.at), Ordering::Relaxed);
                next
            };
            let title = due.first().map(|one| one.tag.title()).unwrap_or_default();
            tokio::select! {
                checked = importer.check(&due, next) => {
                    if let Err(error) = checked {
                        // Its lease ends, and then it is checked again.
                        warn!("The check of {title} could not be recorded: {error}");
                    }
                }
                // The server gives its leases back when it stops.
                () = stop.cancelled() => {}
            }
            drop(place);
            let looks_at = looks_at.load(Ordering::Relaxed);
            if looks_at == i64::MAX || earliest.load(Ordering::Relaxed) < looks_at {
                wake.of(wake::Controller::Imports).notify_one();
            }
        });
    }
}

#[async_trait]
impl Controller for Imports {
    fn name(&self) -> &'static str {
        "imports"
    }

    fn signal(&self) -> Option<wake::Controller> {
        Some(wake::Controller::Imports)
    }

    async fn reconcile(&self) -> anyhow::Result<Option<Duration>> {
        let lease = i64::try_from(LEASE.as_millis())?;
        // Whatever ends from here on may change what follows.
        self.looks_at.store(i64::MAX, Ordering::Relaxed);
        self.importer.write_down_answers().await?;
        self.assign().await?;
        let owner = self.store.owner();
        if self.places.available_permits() < AT_ONCE {
            self.store.renew_import_leases(owner, lease).await?;
        }
        let claimed = self.store.claim_due_imports(owner, lease, self.places.available_permits()).await?;
        for due in claimed.questions {
            let place = Arc::clone(&self.places).acquire_owned().await?;
            self.spawn(due, place);
        }
        let next = [self.store.next_import_at().await?, claimed.again_at].into_iter().flatten().min();
        let wait = next.map_or(RESYNC, |at| Duration::from_millis(u64::try_from(at - now()).unwrap_or(0)));
        let most = if self.places.available_permits() < AT_ONCE { RENEW } else { RESYNC };
        let wait = wait.clamp(Duration::from_millis(100), most);
        if !claimed.is_crowded {
            self.looks_at.store(now().saturating_add(i64::try_from(wait.as_millis())?), Ordering::Relaxed);
        }
        Ok(Some(wait))
    }
}

/// When a tag is checked again: within its interval, or as often as the registry's limit allows; less and less often while it fails; not
/// before the registry wants to be asked. Unscheduled tags, and images by digest once they are here, only when somebody asks.
fn next_check(due: &DueImport, default: Duration, spread: i64, error: Option<&ImportError>) -> Option<NextCheck> {
    let DueImport { tag, import } = due;
    let is_digest =
        || tag.source.as_ref().is_some_and(|source| source.parse::<ImageReference>().is_ok_and(|of| !of.id.is_empty()));
    if tag.scheduled == 0 || (error.is_none() && is_digest()) {
        return None;
    }
    let wanted = tag.interval_ms.unwrap_or_else(|| i64::try_from(default.as_millis()).unwrap_or(i64::MAX));
    let interval = wanted.max(import.least_interval_ms);
    let wait = match error {
        None => interval,
        Some(_) => {
            let doublings = u32::try_from(import.failures.clamp(0, 20)).unwrap_or(0);
            interval.saturating_mul(1 << doublings).min(interval.max(RAREST_RETRY_MS))
        }
    };
    let spread_out = wait.saturating_mul(spread) / 100;
    let asked = error
        .and_then(ImportError::retry_after)
        .map_or(0, |after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
    let at = now().saturating_add(spread_out.max(asked));
    Some(NextCheck { at, overdue_at: at.saturating_add(interval) })
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
