//! What another registry lets this site ask, what was asked of it, and how long that goes well.

use serde::Serialize;

use super::time::rfc3339;

const HOUR_MS: i64 = 60 * 60 * 1000;

/// A registry, or one account there, with what it allows and what it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Budget {
    #[serde(flatten)]
    pub state: BudgetState,
    /// Tags whose checks are of this budget, and how many different questions these are.
    pub tags: i64,
    pub questions: i64,
    /// Of those tags, how many got no answer at their last check: the registry could not be reached, or only told of trouble of its own.
    pub unanswered: i64,
    /// Import rules that were not told the tags there when they asked last, for the same causes.
    pub unlisted: usize,
    /// Requests of the last 24 hours, the project that asked most first.
    pub spend: Vec<ProjectSpend>,
}

/// What a registry told and how it is asked. Times are milliseconds since the epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct BudgetState {
    #[serde(skip)]
    pub id: String,
    pub host: String,
    /// User name at the registry; empty for nobody's account.
    pub account: String,
    /// As the registry told last in its `ratelimit-*` headers.
    pub limit_count: Option<i64>,
    pub remaining: Option<i64>,
    pub window_ms: Option<i64>,
    pub told_at: Option<i64>,
    /// When what remains is whole again, where the registry tells that.
    pub resets_at: Option<i64>,
    /// 1 when a HEAD takes from what remains, 0 when it does not; absent while nobody knows.
    pub heads_count: Option<i64>,
    pub answered_at: Option<i64>,
    /// Nothing is asked until then.
    pub rest_until: Option<i64>,
    /// `rate-limit`, `abuse-limit`, or `unavailable` when it said that it is not to be had for now
    pub rest_reason: Option<String>,
    pub strikes: i64,
    pub gap_ms: i64,
    pub next_slot_at: i64,
    pub least_interval_ms: i64,
}

/// A registry of which a site admin has nothing asked for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct Pause {
    pub host: String,
    pub paused_at: i64,
    pub paused_by: String,
    pub reason: Option<String>,
}

impl Pause {
    /// For whoever wants something of it.
    pub fn in_words(&self) -> String {
        let why = self.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
        format!(
            "the registry {} was paused by {} at {}{why}: nothing is asked of it until a site admin resumes it",
            self.host,
            self.paused_by,
            rfc3339(self.paused_at)
        )
    }
}

/// How a project's secret for registries stands at one of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Login {
    /// The registry; what the secret is for while it was used nowhere.
    pub host: String,
    pub project: String,
    pub secret: String,
    /// The last answer to somebody signed in with it.
    pub answered_at: Option<i64>,
    pub failing_since: Option<i64>,
    pub failed_at: Option<i64>,
    /// `wrong-password` or `denied`
    pub reason: Option<String>,
    pub message: Option<String>,
}

/// Whether a secret is still good for a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginState {
    Unused,
    /// Since its last answer.
    Good(i64),
    /// Since then.
    Failing(i64),
}

impl Login {
    /// What came last.
    pub fn state(&self) -> LoginState {
        match (self.failing_since, self.answered_at) {
            (Some(since), _) => LoginState::Failing(since),
            (None, Some(at)) => LoginState::Good(at),
            (None, None) => LoginState::Unused,
        }
    }
}

/// What one project asked of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct ProjectSpend {
    /// The project's name.
    pub project: String,
    pub heads: i64,
    /// Requests for manifests.
    pub gets: i64,
    /// Of these, in the last hour.
    pub recent_heads: i64,
    pub recent_gets: i64,
}

/// How long what a registry allows lasts at the present rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "at")]
pub enum Forecast {
    /// The registry tells no limit.
    NoLimit,
    Enough,
    /// Until then.
    Until(i64),
    UsedUp,
}

/// Until when counts what a registry told of an allowance: as long as it says, else for the window it is for, or an hour when it tells
/// neither.
pub fn told_until(told_at: i64, window_ms: Option<i64>, resets_at: Option<i64>) -> i64 {
    resets_at.unwrap_or_else(|| told_at.saturating_add(window_ms.unwrap_or(HOUR_MS)))
}

impl BudgetState {
    /// Until when nothing is asked, if that is so now.
    pub fn rests_until(&self, now: i64) -> Option<i64> {
        self.rest_until.filter(|until| *until > now)
    }

    /// Whether it is known what it counts: nothing, pulls alone, or HEADs, too.
    pub fn is_understood(&self) -> bool {
        self.answered_at.is_some() && (self.limit_count.is_none() || self.heads_count.is_some())
    }

    /// What remains of what was told, if it was told and its window has not passed since.
    pub fn known_remaining(&self, now: i64) -> Option<i64> {
        let (remaining, until) = self.remaining.zip(self.told_until())?;
        (now < until).then_some(remaining)
    }

    /// Until when what was told counts.
    pub fn told_until(&self) -> Option<i64> {
        Some(told_until(self.told_at?, self.window_ms, self.resets_at))
    }
}

impl Budget {
    /// How long what remains lasts when as much is asked as in the last hour.
    pub fn forecast(&self, now: i64) -> Forecast {
        let state = &self.state;
        let Some((remaining, end)) = state.remaining.zip(state.told_until()) else { return Forecast::NoLimit };
        if now >= end {
            return Forecast::Enough;
        }
        if remaining <= 0 {
            return Forecast::UsedUp;
        }
        let heads_count = state.heads_count == Some(1);
        let hourly: i64 =
            self.spend.iter().map(|one| one.recent_gets + if heads_count { one.recent_heads } else { 0 }).sum();
        if hourly == 0 {
            return Forecast::Enough;
        }
        let until = now.saturating_add(remaining.saturating_mul(HOUR_MS) / hourly);
        if until >= end { Forecast::Enough } else { Forecast::Until(until) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(remaining: Option<i64>, heads_count: i64, heads: i64, gets: i64) -> Budget {
        let state = BudgetState {
            limit_count: remaining.map(|_| 100),
            remaining,
            window_ms: remaining.map(|_| 6 * HOUR_MS),
            told_at: remaining.map(|_| 0),
            heads_count: Some(heads_count),
            ..BudgetState::default()
        };
        let one = ProjectSpend { project: "demo".into(), heads, gets, recent_heads: heads, recent_gets: gets };
        Budget { state, tags: 1, questions: 1, unanswered: 0, unlisted: 0, spend: vec![one] }
    }

    #[test]
    fn the_forecast_follows_from_what_was_asked_in_the_last_hour() {
        assert_eq!(budget(None, 0, 900, 900).forecast(0), Forecast::NoLimit);
        assert_eq!(budget(Some(0), 0, 0, 0).forecast(0), Forecast::UsedUp);
        assert_eq!(budget(Some(40), 0, 900, 0).forecast(0), Forecast::Enough, "HEADs are free there");
        assert_eq!(budget(Some(40), 0, 0, 20).forecast(0), Forecast::Until(2 * HOUR_MS));
        assert_eq!(budget(Some(40), 1, 20, 20).forecast(0), Forecast::Until(HOUR_MS), "HEADs are counted there");
        assert_eq!(budget(Some(40), 0, 0, 5).forecast(0), Forecast::Enough, "the window ends before");
        assert_eq!(budget(Some(0), 0, 0, 0).forecast(6 * HOUR_MS), Forecast::Enough, "the window has passed");
        let mut told = budget(Some(0), 0, 0, 0);
        told.state.resets_at = Some(HOUR_MS);
        assert_eq!([0, HOUR_MS].map(|at| told.forecast(at)), [Forecast::UsedUp, Forecast::Enough], "it told when");
    }
}
