//! Checks what tags follow in other registries: on their schedule, or when somebody asks.
//!
//! Checks run in tasks of their own, so that a registry that does not answer keeps nobody waiting but its own tags. What is due, and may
//! be asked now, `store/schedule.rs` gives out; what registries allow is kept to in `importer/asking.rs`, too, for whoever asks.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tracing::warn;

use super::{Controller, Runner};
use crate::model::{ImageReference, now};
use crate::server::importer::{CheckPlace, CheckPlaces, ImportError, Importer};
use crate::server::store::{DueImport, NextCheck, Store};
use crate::server::wake;

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
    places: CheckPlaces,
    /// When this looks again by itself. The end of a check that is due again before that is news; while more is due than can be asked,
    /// any end is.
    looks_at: Arc<AtomicI64>,
    /// What is being checked now: each group as long as its task lasts.
    under_way: Mutex<Vec<Weak<Vec<String>>>>,
    /// The schedule is as it is configured.
    has_begun: AtomicBool,
}

/// The ids of tags that are checked together.
type Group = Arc<Vec<String>>;

impl Imports {
    /// `interval` is the time between checks of tags that set none of their own, zero when no tag is checked by schedule; checks run in
    /// tasks of `runner`.
    pub fn new(store: Store, importer: Importer, interval: Duration, runner: Runner) -> Self {
        let (places, looks_at) = (CheckPlaces::default(), Arc::new(AtomicI64::new(i64::MAX)));
        let (under_way, has_begun) = (Mutex::default(), AtomicBool::new(false));
        Self { store, importer, interval, runner, places, looks_at, under_way, has_begun }
    }

    /// What has to be so before the first check, as the server may have been configured otherwise when it ran last, and what the site's
    /// credentials change.
    async fn prepare(&self) -> anyhow::Result<()> {
        let is_first = !self.has_begun.load(Ordering::Relaxed);
        if is_first {
            self.store.begin_schedule(crate::server::config::millis(self.interval)).await?;
            if !self.importer.has_site_logins() {
                self.store.unassign_all_imports(false).await?;
            }
            self.has_begun.store(true, Ordering::Relaxed);
        }
        if self.importer.take_login_news().await {
            self.store.unassign_all_imports(true).await?;
        }
        Ok(())
    }

    /// Finds out what the checks of new and changed tags ask. A tag with which that does not work keeps no other waiting.
    async fn assign(&self) -> anyhow::Result<()> {
        let mut after = String::new();
        loop {
            let tags = self.store.list_unassigned_imports(&after, ASSIGNED_AT_ONCE).await?;
            let Some(last) = tags.last() else { return Ok(()) };
            after.clone_from(&last.id);
            let mut assignments = Vec::with_capacity(tags.len());
            for tag in &tags {
                match self.importer.assign(tag).await {
                    Ok(assignment) => assignments.push((tag, assignment)),
                    Err(error) => warn!("What the check of {} asks could not be found out: {error}", tag.title()),
                }
            }
            let (tags, assignments): (Vec<_>, Vec<_>) = assignments.into_iter().unzip();
            if self.store.assign_imports(&assignments).await.is_ok() {
                continue;
            }
            for (assignment, tag) in assignments.iter().zip(tags) {
                if let Err(error) = self.store.assign_imports(std::slice::from_ref(assignment)).await {
                    warn!("What the check of {} asks could not be recorded: {error}", tag.title());
                }
            }
        }
    }

    fn groups(&self) -> MutexGuard<'_, Vec<Weak<Vec<String>>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the leases of what is under way.
    async fn renew(&self, lease_ms: i64) -> anyhow::Result<()> {
        let tag_ids: Vec<String> = {
            let mut groups = self.groups();
            groups.retain(|group| group.strong_count() > 0);
            groups.iter().filter_map(Weak::upgrade).flat_map(|group| group.to_vec()).collect()
        };
        if !tag_ids.is_empty() {
            self.store.renew_import_leases(self.store.owner(), lease_ms, &tag_ids).await?;
        }
        Ok(())
    }

    /// Checks what all these tags follow, in a task of its own.
    fn spawn(&self, due: Vec<DueImport>, place: CheckPlace) {
        let (importer, stop, wake) = (self.importer.clone(), self.runner.stop.clone(), self.runner.wake.clone());
        let (default, looks_at) = (self.interval, Arc::clone(&self.looks_at));
        let group: Group = Arc::new(due.iter().map(|one| one.tag.id.clone()).collect());
        self.groups().push(Arc::downgrade(&group));
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
                checked = importer.check(&due, place, next) => {
                    if let Err(error) = checked {
                        // Its lease ends, as nobody renews it any more, and then it is checked again: not at once, which might go on for ever.
                        warn!("The check of {title} could not be recorded: {error}");
                    }
                }
                // The server gives its leases back when it stops.
                () = stop.cancelled() => {}
            }
            drop(group);
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
        self.renew(lease).await?;
        self.prepare().await?;
        if let Err(error) = self.assign().await {
            warn!("What the checks of some tags ask could not be found out: {error}");
        }
        let owner = self.store.owner();
        let claimed = self.store.claim_due_imports(owner, lease, self.places.free()).await?;
        for due in claimed.questions {
            let place = self.places.enter(due.iter().any(DueImport::is_sure_to_download)).await?;
            self.spawn(due, place);
        }
        let next = [self.store.next_import_at().await?, claimed.again_at].into_iter().flatten().min();
        let wait = next.map_or(RESYNC, |at| Duration::from_millis(u64::try_from(at - now()).unwrap_or(0)));
        let most = if self.places.are_free() { RESYNC } else { RENEW };
        let wait = wait.clamp(Duration::from_millis(100), most);
        if !claimed.is_crowded {
            self.looks_at.store(now().saturating_add(i64::try_from(wait.as_millis())?), Ordering::Relaxed);
        }
        Ok(Some(wait))
    }
}

/// When a tag is checked again: within its interval, or as often as the registry's limit allows; less and less often while it fails; not
/// before the registry wants to be asked. Unscheduled tags, images by digest once they are here, and all where nothing is scheduled, only when
/// somebody asks.
fn next_check(due: &DueImport, default: Duration, spread: i64, error: Option<&ImportError>) -> Option<NextCheck> {
    let DueImport { tag, import } = due;
    let is_digest =
        || tag.source.as_ref().is_some_and(|source| source.parse::<ImageReference>().is_ok_and(|of| !of.id.is_empty()));
    if tag.scheduled == 0 || default.is_zero() || (error.is_none() && is_digest()) {
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
mod gates;
#[cfg(test)]
mod share;
#[cfg(test)]
mod simulation;
#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
