//! Tells other programs what changed: makes notices of the ledger's new rows, and delivers what is due.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::{info, warn};

use super::{Controller, Runner};
use crate::model::now;
use crate::server::notices::{Sender, Sent, body};
use crate::server::store::{DueNotice, NewNotice, NewsPage, Store};
use crate::server::wake;

/// Targets that are told something side by side.
const AT_ONCE: usize = 8;
/// How long a server that died keeps others from telling its targets; longer than an attempt takes.
const LEASE_MS: i64 = 60_000;
/// How long a change may wait when its signal was lost, or was sent in another process.
const RESYNC: Duration = Duration::from_secs(10);
/// The first wait after an attempt that failed; each further one is four times as long,
const FIRST_WAIT_MS: i64 = 5_000;
/// up to this.
const LAST_WAIT_MS: i64 = 6 * 60 * 60 * 1000;
/// So many attempts in a row are made: over about a day and a half.
const ATTEMPTS: i64 = 12;
/// How long notices are kept once they came to their end.
const KEEP_MS: i64 = 30 * 24 * 60 * 60 * 1000;
/// How often it is looked for checks that were not made in time.
const LOOK_FOR_OVERDUE: Duration = Duration::from_secs(60);
/// How often the old ones are forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(60 * 60);

/// The controller.
pub struct Notices {
    store: Store,
    sender: Sender,
    public_url: String,
    runner: Runner,
    places: Arc<Semaphore>,
    looked: Mutex<Option<Instant>>,
    looked_for_overdue: Mutex<Option<Instant>>,
    tidied: Mutex<Option<Instant>>,
}

impl Notices {
    /// Over this store; attempts are made by `sender`, in tasks of `runner`. Links in notices begin with `public_url`.
    pub fn new(store: Store, sender: Sender, public_url: String, runner: Runner) -> Self {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let (looked, tidied) = (Mutex::default(), Mutex::default());
        // What became overdue while no server ran is caught up with first.
        let looked_for_overdue = Mutex::new(Some(Instant::now()));
        Self { store, sender, public_url, runner, places, looked, looked_for_overdue, tidied }
    }

    /// Checks that are not made are noticed here, and not where they are made: whoever is stuck there tells nothing.
    async fn look_for_overdue(&self) -> anyhow::Result<()> {
        let overdue = self.store.count_all_overdue_imports().await?;
        #[expect(clippy::cast_precision_loss, reason = "a gauge takes nothing else")]
        metrics::gauge!("weir_imports_overdue").set(overdue as f64);
        Ok(self.store.record_overdue().await?)
    }

    async fn make(&self) -> anyhow::Result<()> {
        while let Some(NewsPage { news, upto, more }) = self.store.next_news().await? {
            let notices: Vec<NewNotice> = news
                .iter()
                .map(|item| NewNotice {
                    target_id: item.target_id.clone(),
                    sequence: item.row.sequence,
                    kind: item.kind,
                    object: item.row.object.clone(),
                    body: body(item, &self.public_url),
                })
                .collect();
            self.store.add_notices(&notices, upto).await?;
            if !more || self.runner.stop.is_cancelled() {
                break;
            }
        }
        Ok(())
    }

    async fn deliver(&self) -> anyhow::Result<()> {
        let room = i64::try_from(self.places.available_permits())?;
        if room == 0 {
            // Whoever ends wakes this.
            return Ok(());
        }
        for due in self.store.claim_notices(LEASE_MS, room).await? {
            let place = Arc::clone(&self.places).acquire_owned().await?;
            let (store, sender) = (self.store.clone(), self.sender.clone());
            let (stop, wake) = (self.runner.stop.clone(), self.runner.wake.clone());
            self.runner.tracker.spawn(async move {
                let sent = tokio::select! {
                    sent = sender.send(&due) => sent,
                    // What was sent already is sent again by whoever comes next, under the same id.
                    () = stop.cancelled() => return,
                };
                record(&store, &due, &sent).await;
                drop(place);
                wake.of(wake::Controller::Notices).notify_one();
            });
        }
        Ok(())
    }
}

#[async_trait]
impl Controller for Notices {
    fn name(&self) -> &'static str {
        "notices"
    }

    fn signal(&self) -> Option<wake::Controller> {
        Some(wake::Controller::Notices)
    }

    async fn reconcile(&self) -> anyhow::Result<Option<Duration>> {
        if is_time(&self.looked, RESYNC) {
            self.store.record_shortages().await?;
        }
        if is_time(&self.looked_for_overdue, LOOK_FOR_OVERDUE) {
            self.look_for_overdue().await?;
        }
        if is_time(&self.tidied, TIDY_EVERY) {
            self.store.tidy_notices(KEEP_MS).await?;
        }
        self.make().await?;
        self.deliver().await?;
        if self.places.available_permits() == 0 {
            return Ok(Some(RESYNC));
        }
        let next = self.store.next_notice_at().await?.map(|at| at.saturating_sub(now()).max(0).unsigned_abs());
        Ok(Some(next.map_or(RESYNC, |ms| Duration::from_millis(ms.max(200)).min(RESYNC))))
    }
}

/// Whether something that is done every so often is due; from now on it counts as done.
fn is_time(last: &Mutex<Option<Instant>>, every: Duration) -> bool {
    let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
    let due = last.is_none_or(|at| at.elapsed() >= every);
    if due {
        *last = Some(Instant::now());
    }
    due
}

async fn record(store: &Store, due: &DueNotice, sent: &Sent) {
    let (id, tries) = (due.notice.id.as_str(), due.notice.failures + 1);
    let outcome = if sent.attempt.problem.is_none() { "delivered" } else { "failed" };
    metrics::counter!("weir_notice_attempts_total", "outcome" => outcome).increment(1);
    let retry_at = match &sent.attempt.problem {
        None => {
            info!(notice.id = id, "Notice {id} of {} {} was delivered", due.notice.kind, due.notice.object);
            None
        }
        Some(problem) if tries >= ATTEMPTS => {
            warn!(notice.id = id, "Notice {id} is given up after {tries} attempts: {problem}");
            None
        }
        Some(problem) => {
            info!(notice.id = id, "Notice {id} was not delivered and will be tried again: {problem}");
            Some(now().saturating_add(wait(tries, sent.retry_after, rand::random_range(0.9..1.1))))
        }
    };
    if let Err(problem) = store.record_attempt(due, &sent.attempt, &sent.answer, retry_at).await {
        // The lease ends, and then it is sent again, under the same id.
        warn!(notice.id = id, "What became of notice {id} could not be recorded: {problem}");
    }
}

/// How long to wait after so many failed attempts in a row.
fn wait(failures: i64, asked: Option<Duration>, spread: f64) -> i64 {
    let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX).saturating_mul(2).min(40);
    let wait = FIRST_WAIT_MS.saturating_mul(1 << doublings).min(LAST_WAIT_MS);
    let asked = asked.map_or(0, |asked| i64::try_from(asked.as_millis()).unwrap_or(i64::MAX)).min(LAST_WAIT_MS);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "hours in milliseconds fit by far"
    )]
    let spread = (wait as f64 * spread) as i64;
    spread.max(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_six_hours_and_respect_what_is_asked() {
        let waits: Vec<i64> = (1..=8).map(|failures| wait(failures, None, 1.0) / 1000).collect();
        assert_eq!(waits, [5, 20, 80, 320, 1280, 5120, 20480, 21600]);
        assert_eq!(wait(1, Some(Duration::from_secs(60)), 1.0), 60_000);
        assert_eq!(wait(1, Some(Duration::from_secs(1_000_000)), 1.0), LAST_WAIT_MS);
        assert_eq!(wait(i64::MAX, None, 1.1), LAST_WAIT_MS * 11 / 10);
        let whole: i64 = (1..ATTEMPTS).map(|failures| wait(failures, None, 1.0)).sum();
        assert!(whole > 24 * 3_600_000, "a receiver that is down for a day misses nothing: {whole}");
    }
}
