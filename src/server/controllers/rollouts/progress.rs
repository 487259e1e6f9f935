//! What one process remembers of the rollouts it follows: when to ask again and how long they have stood still. A new process starts
//! afresh, and so gives each of them another chance.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Without another replica ready for so long a rollout has failed.
pub(super) const DEADLINE: Duration = Duration::from_secs(600);
/// How often a failure that may pass is tried again.
const ATTEMPTS: u32 = 3;
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(30);

#[derive(Default)]
pub(super) struct Progress(Mutex<State>);

#[derive(Default)]
struct State {
    swept: Option<Instant>,
    /// How often in a row the engine did not answer.
    away: u32,
    rollouts: HashMap<String, Entry>,
}

struct Entry {
    not_before: Option<Instant>,
    unanswered: u32,
    attempts: u32,
    ready: usize,
    moved: Instant,
}

impl Default for Entry {
    fn default() -> Self {
        Self { not_before: None, unanswered: 0, attempts: 0, ready: 0, moved: Instant::now() }
    }
}

impl Progress {
    /// The engine did not answer: how long to leave it alone, and whether that is news.
    pub(super) fn away(&self) -> (Duration, bool) {
        let mut state = self.state();
        state.away += 1;
        // Whoever was away for a while is looked at again at once, all over.
        state.swept = None;
        (backoff(state.away), state.away == 1)
    }

    pub(super) fn back(&self) {
        let mut state = self.state();
        if state.away > 0 {
            state.away = 0;
            state.rollouts.clear();
        }
    }

    /// Whether every app is due, noting that they are looked at now.
    pub(super) fn sweep(&self, every: Duration) -> bool {
        let mut state = self.state();
        let due = state.swept.is_none_or(|swept| swept.elapsed() >= every);
        if due {
            state.swept = Some(Instant::now());
            // Those forgotten belong to rollouts that were superseded or whose apps are gone.
            state.rollouts.retain(|_, entry| entry.moved.elapsed() < 2 * DEADLINE);
        }
        due
    }

    pub(super) fn next_sweep(&self, every: Duration, now: Instant) -> Duration {
        let swept = self.state().swept;
        swept.map_or(Duration::ZERO, |swept| every.saturating_sub(now.saturating_duration_since(swept)))
    }

    /// How long the rollout is to be left alone still.
    pub(super) fn wait(&self, id: &str) -> Option<Duration> {
        let not_before = self.state().rollouts.get(id)?.not_before?;
        Some(not_before.saturating_duration_since(Instant::now())).filter(|wait| !wait.is_zero())
    }

    /// The engine did not answer for this rollout: how long to leave it alone.
    pub(super) fn unanswered(&self, id: &str) -> Duration {
        self.with(id, |entry| {
            entry.unanswered += 1;
            // Time in which nothing can be seen does not count.
            entry.moved = Instant::now();
            let wait = backoff(entry.unanswered);
            entry.not_before = Some(Instant::now() + wait);
            wait
        })
    }

    /// How long to wait after one more attempt, if there is one left.
    pub(super) fn another_attempt(&self, id: &str) -> Option<Duration> {
        self.with(id, |entry| {
            entry.attempts += 1;
            let wait = 2 * backoff(entry.attempts);
            entry.not_before = Some(Instant::now() + wait);
            (entry.attempts <= ATTEMPTS).then_some(wait)
        })
    }

    /// Whether the rollout has stood still for too long; `pause` is what it may rest between two steps by itself.
    pub(super) fn is_overdue(&self, id: &str, ready: usize, pause_ms: u64) -> bool {
        self.with(id, |entry| {
            entry.unanswered = 0;
            if entry.ready != ready {
                entry.ready = ready;
                entry.moved = Instant::now();
            }
            entry.moved.elapsed() >= DEADLINE + Duration::from_millis(pause_ms)
        })
    }

    pub(super) fn end(&self, id: &str) {
        self.state().rollouts.remove(id);
    }

    fn with<T>(&self, id: &str, change: impl FnOnce(&mut Entry) -> T) -> T {
        change(self.state().rollouts.entry(id.to_owned()).or_default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn backoff(failures: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LAST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_has_its_pause_and_attempts_end() {
        let progress = Progress::default();
        assert_eq!(progress.wait("r"), None);
        for _ in 0..ATTEMPTS {
            assert!(progress.another_attempt("r").is_some());
            assert!(progress.wait("r").is_some());
        }
        assert_eq!(progress.another_attempt("r"), None);
        progress.end("r");
        assert!(progress.another_attempt("r").is_some());
    }

    #[test]
    fn waits_longer_for_an_engine_that_stays_away_and_sweeps_when_it_is_back() {
        let progress = Progress::default();
        assert!(progress.sweep(Duration::from_secs(15)) && !progress.sweep(Duration::from_secs(15)));
        let waits: Vec<_> = (0..7).map(|_| progress.away()).map(|(wait, first)| (wait.as_secs(), first)).collect();
        assert_eq!(waits, [(1, true), (2, false), (4, false), (8, false), (16, false), (30, false), (30, false)]);
        progress.back();
        assert!(progress.sweep(Duration::from_secs(15)));
        assert_eq!(progress.away(), (Duration::from_secs(1), true));
    }
}
