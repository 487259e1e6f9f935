//! Checks what tags follow in other registries: on their schedule, or when somebody asks.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tracing::warn;

use super::Controller;
use crate::model::{Tag, now};
use crate::server::importer::{ImportError, Importer};
use crate::server::store::{DueImport, Store};
use crate::server::wake;

/// Checks made side by side.
const PARALLEL: usize = 8;
/// One check, its downloads included, must end in this time; then another worker may take it.
const DEADLINE: Duration = Duration::from_secs(30 * 60);
/// How long to wait at most before looking whether something is due.
const RESYNC: Duration = Duration::from_secs(30);

/// The import schedule.
pub struct Imports {
    store: Store,
    importer: Importer,
    interval: Duration,
}

impl Imports {
    /// `interval` is the time between checks of tags that set none of their own.
    pub fn new(store: Store, importer: Importer, interval: Duration) -> Self {
        Self { store, importer, interval }
    }

    async fn check(&self, due: DueImport) {
        let next_at = |error: Option<&ImportError>| next_check(&due.tag, self.interval, error);
        let checked = tokio::time::timeout(DEADLINE, self.importer.check(&due, next_at)).await;
        match checked {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!("The check of {} could not be recorded: {error}", due.tag.title()),
            // The lease ends at the same time, so the next run takes it up again.
            Err(_) => warn!("The check of {} took longer than {DEADLINE:?}", due.tag.title()),
        }
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
        let lease = i64::try_from(DEADLINE.as_millis())?;
        loop {
            let due = self.store.claim_due_imports(self.store.owner(), lease, 64).await?;
            if due.is_empty() {
                break;
            }
            let checks: Vec<_> = due.into_iter().map(|due| self.check(due).boxed()).collect();
            stream::iter(checks).buffer_unordered(PARALLEL).collect::<()>().await;
        }
        let wait =
            self.store.next_import_at().await?.map(|at| Duration::from_millis(u64::try_from(at - now()).unwrap_or(0)));
        Ok(Some(wait.unwrap_or(RESYNC).clamp(Duration::from_millis(200), RESYNC)))
    }
}

/// When a tag is checked again: after its interval with ±10 % of jitter, so that tags made together do not stay together; not before
/// the other registry allows it. Unscheduled tags only when somebody asks.
fn next_check(tag: &Tag, default: Duration, error: Option<&ImportError>) -> Option<i64> {
    if tag.scheduled == 0 {
        return None;
    }
    let interval = tag.interval_ms.unwrap_or_else(|| i64::try_from(default.as_millis()).unwrap_or(i64::MAX));
    let jittered = interval.saturating_mul(rand::random_range(90..=110)) / 100;
    let asked = error
        .and_then(ImportError::retry_after)
        .map_or(0, |after| i64::try_from(after.as_millis()).unwrap_or(i64::MAX));
    Some(now().saturating_add(jittered.max(asked)))
}
