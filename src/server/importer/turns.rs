//! Turns at other registries for questions that no check has taken one for: what somebody looks at, lists, tries or pulls.
//!
//! They come out of the same bucket as those of checks (`store/turns.rs`), and before those: whoever stands first takes the next turn while
//! checks wait until one is free. At one registry projects take turns. Of each, one stands in the registry's line and the others behind
//! that one, so that a project with a hundred questions keeps nobody's one waiting; and while checks of others are due it leaves them
//! their part.

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout_at};

use super::allowances::{Asks, milliseconds, refuse_while_resting};
use super::{ImportError, Importer, Source};
use crate::model::{BudgetState, now};
use crate::server::oci::minutes;
use crate::server::store::{self, Slot};

/// How long somebody who looks at something waits for a turn.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a listing behind the scenes waits for the turn of a page: with the page's own time less than its lease.
pub(super) const PAGE_PATIENCE: Duration = Duration::from_secs(30);
/// How long a check waits for a turn of which it did not know when it began, as for the parts of an index. What it has so far is worth that.
const CHECK_PATIENCE: Duration = Duration::from_secs(5 * 60);

/// How a source's questions come to their turns.
#[derive(Debug, Clone)]
pub(super) struct Wait {
    patience: Duration,
    /// Turns that were taken for it beforehand.
    taken: Arc<AtomicI64>,
    /// Nobody takes more than a project's share of an allowance that runs short, except who has waited for a turn by the schedule.
    is_check: bool,
}

impl Default for Wait {
    fn default() -> Self {
        Self::of(PATIENCE)
    }
}

impl Wait {
    /// For that long at the most.
    pub(super) fn of(patience: Duration) -> Self {
        Self { patience, taken: Arc::default(), is_check: false }
    }

    /// Of a check, whose claim took so many turns.
    pub(super) fn of_check(turns: i64) -> Self {
        Self { patience: CHECK_PATIENCE, taken: Arc::new(AtomicI64::new(turns)), is_check: true }
    }

    /// The same elsewhere, where no turn was taken.
    pub(super) fn elsewhere(&self) -> Self {
        Self { taken: Arc::default(), ..self.clone() }
    }

    fn use_taken(&self) -> bool {
        let left = |turns: i64| (turns > 0).then(|| turns - 1);
        self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok()
    }
}

/// The lines at registries, by budget.
#[derive(Default)]
pub(super) struct Turns(StdMutex<HashMap<String, Arc<Line>>>);

#[derive(Default)]
struct Line {
    first: Mutex<()>,
    projects: StdMutex<HashMap<String, Arc<OfProject>>>,
}

/// Who waits of one project.
#[derive(Default)]
struct OfProject {
    first: Mutex<()>,
    waiting: AtomicUsize,
    /// Until then others have their turns.
    not_before: AtomicI64,
    /// How much time there was between its last two turns at the least.
    step_ms: AtomicI64,
}

/// One who waits, until dropped.
struct Standing(Arc<OfProject>);

impl Drop for Standing {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Turns {
    /// The line at a registry. Lines in which nobody stands are forgotten.
    fn line(&self, budget: &str) -> Arc<Line> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.retain(|_, line| Arc::strong_count(line) > 1 || line.is_remembered());
        Arc::clone(lines.entry(budget.to_owned()).or_default())
    }
}

impl Line {
    fn is_remembered(&self) -> bool {
        let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        projects.retain(|_, one| Arc::strong_count(one) > 1 || one.not_before.load(Ordering::Relaxed) > now());
        !projects.is_empty()
    }

    fn join(&self, project: &str) -> Standing {
        let mut projects = self.projects.lock().unwrap_or_else(PoisonError::into_inner);
        let one = Arc::clone(projects.entry(project.to_owned()).or_default());
        one.waiting.fetch_add(1, Ordering::Relaxed);
        Standing(one)
    }
}

impl Importer {
    /// Waits for the turn of a question, for as long as whoever asks it is patient.
    pub(super) async fn wait_for_turn(
        &self,
        source: &Source,
        asks: Asks,
        state: Option<&BudgetState>,
    ) -> Result<(), ImportError> {
        // Bytes of layers are limited by places; registries count what names them.
        if asks == Asks::Blob || source.wait.use_taken() {
            return Ok(());
        }
        if !source.wait.is_check {
            self.leave_others_their_share(source, asks, state).await?;
        }
        let line = self.shared.turns.line(&source.budget.id);
        let standing = line.join(&source.project);
        self.stand(source, &line, &standing.0).await
    }

    async fn stand(&self, source: &Source, line: &Line, own: &OfProject) -> Result<(), ImportError> {
        let until = Instant::now() + source.wait.patience;
        let out_of_patience = |_| {
            let behind = i64::try_from(own.waiting.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
            asked_too_much(source, behind.saturating_mul(own.step_ms.load(Ordering::Relaxed)))
        };
        let _own = timeout_at(until, own.first.lock()).await.map_err(out_of_patience)?;
        let left = own.not_before.load(Ordering::Relaxed) - now();
        if left > left_until(until) {
            return Err(asked_too_much(source, left));
        }
        sleep(milliseconds(left)).await;
        let _first = timeout_at(until, line.first.lock()).await.map_err(out_of_patience)?;
        // A turn that nobody would use is not taken: those who stand here when a registry begins to rest all leave.
        self.refuse_if_unasked(source).await?;
        // Of its patience it has what it did not need to come here: a turn is taken by who can wait for it, and only by that one.
        let by = now().saturating_add(left_until(until));
        match self.store.take_slot(&source.budget, &source.project, by).await? {
            Slot::At { at, gap_ms, others } => {
                let step = gap_ms.saturating_mul(others + 1);
                own.step_ms.store(step, Ordering::Relaxed);
                // Alone, it may have all there is, at once as far as there is some.
                let not_before = if others == 0 { 0 } else { at.saturating_add(step) };
                own.not_before.store(not_before, Ordering::Relaxed);
                sleep(milliseconds(at - now())).await;
                Ok(())
            }
            Slot::From(at) => Err(asked_too_much(source, at - now())),
        }
    }

    /// Refuses to ask a registry that a site admin paused, or that rests.
    pub(super) async fn refuse_if_unasked(&self, source: &Source) -> Result<Option<BudgetState>, ImportError> {
        if let Some(pause) = self.store.find_pause(&source.budget.host).await? {
            return Err(ImportError::Paused { message: pause.in_words() });
        }
        let state = self.store.find_budget(&source.budget.id).await?;
        refuse_while_resting(source, state.as_ref())?;
        Ok(state)
    }

    /// Refuses a project what it wants beyond its equal part of an allowance, once half of that is gone: what is left is for those who
    /// had less.
    async fn leave_others_their_share(
        &self,
        source: &Source,
        asks: Asks,
        state: Option<&BudgetState>,
    ) -> Result<(), ImportError> {
        let Some(scarce) = self.shared.allowances.scarce(source, state) else { return Ok(()) };
        let is_counted = asks == Asks::Manifest || (asks == Asks::Head && scarce.counts_heads);
        if !is_counted {
            return Ok(());
        }
        let (budget, project) = (&source.budget.id, &source.project);
        let share = self.store.share_of(budget, project, scarce.window_ms, scarce.counts_heads).await?;
        let spent = share.spent.saturating_add(scarce.unwritten);
        if share.projects <= 1 || spent.saturating_mul(share.projects) < scarce.limit {
            return Ok(());
        }
        let left = milliseconds(scarce.until - now()).max(Duration::from_secs(1));
        let (host, limit, projects, when) = (&source.budget.host, scarce.limit, share.projects, minutes(left));
        let message = format!(
            "project {project} has had its share of what registry {host} allows, {spent} of {limit} for {projects} projects: try again in {when}"
        );
        Err(ImportError::AskedTooMuch { message, left })
    }
}

/// Milliseconds until then.
fn left_until(until: Instant) -> i64 {
    i64::try_from(until.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(i64::MAX)
}

/// Nobody is told to come again at once: there was no turn a moment ago.
fn asked_too_much(source: &Source, left_ms: i64) -> ImportError {
    let left = Duration::from_secs(milliseconds(left_ms).as_secs().saturating_add(1));
    let message =
        format!("registry {} is asked too much at the moment: try again in {}", source.budget.host, minutes(left));
    ImportError::AskedTooMuch { message, left }
}

impl From<&[store::DueImport]> for Wait {
    fn from(due: &[store::DueImport]) -> Self {
        Self::of_check(store::slots_of(due))
    }
}

#[cfg(test)]
mod tests;
