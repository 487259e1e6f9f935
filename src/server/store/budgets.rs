//! What other registries let this site ask, and who asks: kept here so that all servers, and those after a restart, keep to it.

use super::{Result, Store, WriteTx};
use crate::model::{Budget, BudgetState, ImageReference, ProjectSpend, now};

/// Milliseconds between two checks at one registry, as long as it does not mind.
const USUAL_GAP_MS: i64 = 50;
/// The most a registry that was asked too often has its checks slowed down to.
const LONGEST_GAP_MS: i64 = 60_000;
/// How long after the last complaint, or the last step, checks become twice as fast again.
const SPEED_UP_AFTER_MS: i64 = HOUR_MS;
/// The first rest after a refusal that does not say how long; each further one doubles it.
const FIRST_REST_MS: i64 = 60_000;
/// The least rest after a further refusal, whatever it says.
const LEAST_FURTHER_REST_MS: i64 = 5000;
/// The longest such rest.
const LAST_REST_MS: i64 = HOUR_MS;
/// How much of what a registry allows the schedule plans with: checks come a little before their interval ends, and what changed has to
/// be fetched, too.
const PLANNED_PERCENT: i64 = 75;
const HOUR_MS: i64 = 60 * 60 * 1000;
const DAY_HOURS: i64 = 24;
/// How long figures are kept that nobody shows any more, and budgets that nobody uses.
const KEPT_HOURS: i64 = 30 * DAY_HOURS;

/// Columns of a budget's state, for queries in which the table is `b`.
macro_rules! budget_columns {
    () => {
        "b.id, b.host, b.account, b.limit_count, b.remaining, b.window_ms, b.told_at, b.resets_at, b.heads_count, b.answered_at, b.rest_until, \
         b.rest_reason, b.strikes, b.gap_ms, b.next_slot_at, b.least_interval_ms"
    };
}
pub(super) use budget_columns;

/// Where the last question, of a tag's import or of an import rule, was not answered by the registry, or only with trouble of its own.
macro_rules! got_no_answer {
    () => {
        "outcome = 'failed' and reason in ('unreachable', 'timeout', 'tls', 'upstream', 'plain-http')"
    };
}

/// A registry, and as whom it is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BudgetKey {
    /// The host, and for an account a keyed hash of its name and password.
    pub id: String,
    pub host: String,
    /// User name; empty for nobody's account.
    pub account: String,
}

/// What a registry's answer told of its allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    pub limit: Option<i64>,
    pub remaining: Option<i64>,
    pub window_ms: Option<i64>,
    pub at: i64,
    /// When it is whole again.
    pub resets_at: Option<i64>,
}

/// Why a registry is left alone for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestKind {
    /// What it allows is used up.
    RateLimit,
    /// It was asked too often, by whomever.
    AbuseLimit,
    /// It is not to be had, as it says itself; nobody did anything wrong.
    Unavailable,
}

impl RestKind {
    fn as_str(self) -> &'static str {
        match self {
            Self::RateLimit => "rate-limit",
            Self::AbuseLimit => "abuse-limit",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What came of questions to one registry since the last time this was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answers {
    pub budget: BudgetKey,
    /// Project, HEADs, requests for manifests.
    pub spend: Vec<(String, i64, i64)>,
    pub told: Option<Allowance>,
    /// Whether a HEAD takes from what remains, if that was seen.
    pub heads_count: Option<bool>,
    pub answered_at: i64,
    /// Whether any answer was not a refusal to answer.
    pub is_good: bool,
}

#[derive(sqlx::FromRow)]
struct Spend {
    budget_id: String,
    project: String,
    heads: i64,
    gets: i64,
    recent_heads: i64,
    recent_gets: i64,
}

impl Store {
    /// How a budget stands; `None` when nothing was ever asked of it.
    pub async fn find_budget(&self, id: &str) -> Result<Option<BudgetState>> {
        let state = sqlx::query_as(concat!("select ", budget_columns!(), " from registry_budgets b where b.id = $1"))
            .bind(id)
            .fetch_optional(self.pool())
            .await?;
        Ok(state)
    }

    /// All budgets by host, with what was asked of them in the last 24 hours.
    pub async fn list_budgets(&self) -> Result<Vec<Budget>> {
        let states: Vec<BudgetState> = sqlx::query_as(concat!(
            "select ",
            budget_columns!(),
            " from registry_budgets b where b.host <> '' order by b.host, b.account, b.id"
        ))
        .fetch_all(self.pool())
        .await?;
        let used: Vec<(String, i64, i64, i64)> = sqlx::query_as(concat!(
            "select budget, count(*), count(distinct question), cast(sum(case when ",
            got_no_answer!(),
            " then 1 else 0 end) as bigint) from tag_imports where budget is not null group by budget"
        ))
        .fetch_all(self.pool())
        .await?;
        let unlisted = self.unlisted_hosts().await?;
        let hour = hour_of(now());
        let spend: Vec<Spend> = sqlx::query_as(
            "select s.budget_id, p.name as project, cast(sum(s.heads) as bigint) as heads, cast(sum(s.gets) as bigint) as gets, \
             cast(sum(case when s.hour >= $2 then s.heads else 0 end) as bigint) as recent_heads, \
             cast(sum(case when s.hour >= $2 then s.gets else 0 end) as bigint) as recent_gets \
             from registry_spend s join projects p on p.id = s.project_id where s.hour > $1 \
             group by s.budget_id, p.name order by sum(s.gets) desc, sum(s.heads) desc, p.name",
        )
        .bind(hour - DAY_HOURS)
        .bind(hour - 1)
        .fetch_all(self.pool())
        .await?;
        let budget = |state: BudgetState| {
            let used = used.iter().find(|used| used.0 == state.id);
            let (tags, questions, unanswered) = used.map_or((0, 0, 0), |used| (used.1, used.2, used.3));
            let unlisted = unlisted.iter().filter(|host| **host == state.host).count();
            let spend = spend.iter().filter(|spend| spend.budget_id == state.id).map(ProjectSpend::from).collect();
            Budget { tags, questions, unanswered, unlisted, spend, state }
        };
        Ok(states.into_iter().map(budget).collect())
    }

    /// The registry of each import rule that got no answer when it asked last.
    async fn unlisted_hosts(&self) -> Result<Vec<String>> {
        let silent: Vec<(String,)> =
            sqlx::query_as(concat!("select repository from import_rules where ", got_no_answer!()))
                .fetch_all(self.pool())
                .await?;
        let host = |(repository,): (String,)| Some(repository.parse::<ImageReference>().ok()?.canonical().registry);
        Ok(silent.into_iter().filter_map(host).collect())
    }

    /// Writes down what answers told and who asked.
    pub async fn note_answers(&self, all: &[Answers]) -> Result<()> {
        let mut tx = self.write_tx().await?;
        for answers in all {
            tx.ensure_budget(&answers.budget).await?;
            tx.note_told(answers).await?;
            for (project, heads, gets) in &answers.spend {
                sqlx::query(
                    "insert into registry_spend (budget_id, project_id, hour, heads, gets) \
                     select $1, p.id, $3, $4, $5 from projects p where p.name = $2 on conflict (budget_id, project_id, hour) \
                     do update set heads = registry_spend.heads + excluded.heads, gets = registry_spend.gets + excluded.gets",
                )
                .bind(&answers.budget.id)
                .bind(project)
                .bind(hour_of(answers.answered_at))
                .bind(heads)
                .bind(gets)
                .execute(&mut *tx)
                .await?;
            }
            tx.plan_interval(&answers.budget.id).await?;
        }
        tx.commit_soon().await
    }

    /// The registry refused to answer. Nothing is asked of it for as long as it wants, or longer with each refusal when it does not
    /// say; after a complaint about the rate, it is asked more slowly from then on. Gives the end of the rest.
    pub async fn rest_budget(&self, key: &BudgetKey, asked_ms: Option<i64>, kind: RestKind) -> Result<i64> {
        let mut tx = self.write_tx().await?;
        tx.ensure_budget(key).await?;
        let state = tx.budget(&key.id).await?;
        // Of several that were under way, the first refusal counts.
        let is_news = state.rests_until(now()).is_none();
        // That it is away for a while is no complaint.
        let strikes = state.strikes + i64::from(is_news && kind != RestKind::Unavailable);
        let doublings = u32::try_from(strikes.clamp(1, 12) - 1).unwrap_or(0);
        let own = FIRST_REST_MS.saturating_mul(1 << doublings).min(LAST_REST_MS);
        // No time at all, or one that is over, says nothing; and whoever refuses again a moment later meant longer.
        let asked = asked_ms.filter(|asked| *asked > 0);
        let asked = asked.map(|asked| if strikes > 1 { asked.max(LEAST_FURTHER_REST_MS) } else { asked });
        let rest = asked.unwrap_or_else(|| own.saturating_mul(rand::random_range(90..=110)) / 100);
        let until = now().saturating_add(rest).max(state.rest_until.unwrap_or(0));
        let slower = kind == RestKind::AbuseLimit && is_news;
        let gap = if slower { (state.gap_ms * 2).min(LONGEST_GAP_MS) } else { state.gap_ms };
        sqlx::query(
            "update registry_budgets set rest_until = $2, rest_reason = $3, strikes = $4, gap_ms = $5, \
             slowed_at = case when $6 = 1 then $7 else slowed_at end, answered_at = $7 where id = $1",
        )
        .bind(&key.id)
        .bind(until)
        .bind(kind.as_str())
        .bind(strikes)
        .bind(gap)
        .bind(i64::from(slower))
        .bind(now())
        .execute(&mut *tx)
        .await?;
        if kind != RestKind::RateLimit {
            // The rate is that of the site's address, and who is away is away for all, whoever they ask as.
            sqlx::query(
                "update registry_budgets set rest_until = $2, rest_reason = $3 where host = $1 and coalesce(rest_until, 0) < $2",
            )
            .bind(&key.host)
            .bind(until)
            .bind(kind.as_str())
            .execute(&mut *tx)
            .await?;
        }
        tx.commit().await?;
        Ok(until)
    }

    /// Forgets figures of long ago, and registries that nobody follows or asks any more.
    pub async fn sweep_budgets(&self) -> Result<()> {
        let mut tx = self.write_tx().await?;
        sqlx::query("delete from registry_spend where hour < $1")
            .bind(hour_of(now()) - KEPT_HOURS)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "delete from registry_budgets where not exists (select 1 from tag_imports i where i.budget = registry_budgets.id) \
             and coalesce(answered_at, 0) < $1 and coalesce(rest_until, 0) < $1",
        )
        .bind(now() - KEPT_HOURS * HOUR_MS)
        .execute(&mut *tx)
        .await?;
        tx.commit().await
    }
}

impl WriteTx {
    /// Makes the budget's row unless there is one.
    pub(super) async fn ensure_budget(&mut self, key: &BudgetKey) -> Result<()> {
        sqlx::query("insert into registry_budgets (id, host, account, gap_ms) values ($1, $2, $3, $4) on conflict (id) do nothing")
            .bind(&key.id)
            .bind(&key.host)
            .bind(&key.account)
            .bind(USUAL_GAP_MS)
            .execute(&mut **self)
            .await?;
        Ok(())
    }

    pub(super) async fn budget(&mut self, id: &str) -> Result<BudgetState> {
        let state = sqlx::query_as(concat!("select ", budget_columns!(), " from registry_budgets b where b.id = $1"))
            .bind(id)
            .fetch_one(&mut **self)
            .await?;
        Ok(state)
    }

    async fn note_told(&mut self, answers: &Answers) -> Result<()> {
        sqlx::query(
            "update registry_budgets set answered_at = $2, heads_count = coalesce($3, heads_count), \
             strikes = case when $4 = 1 and coalesce(rest_until, 0) < $2 then 0 else strikes end, \
             gap_ms = case when coalesce(slowed_at, $2) < $2 - $5 and gap_ms > $6 then case when gap_ms / 2 > $6 then gap_ms / 2 else $6 end \
               else gap_ms end, \
             slowed_at = case when coalesce(slowed_at, $2) < $2 - $5 then $2 else slowed_at end where id = $1",
        )
        .bind(&answers.budget.id)
        .bind(answers.answered_at)
        .bind(answers.heads_count.map(i64::from))
        .bind(i64::from(answers.is_good))
        .bind(SPEED_UP_AFTER_MS)
        .bind(USUAL_GAP_MS)
        .execute(&mut **self)
        .await?;
        if let Some(told) = answers.told {
            sqlx::query(
                "update registry_budgets set limit_count = coalesce($2, limit_count), remaining = $3, \
                 window_ms = coalesce($4, window_ms), told_at = $5, resets_at = $6 where id = $1 and coalesce(told_at, 0) <= $5",
            )
            .bind(&answers.budget.id)
            .bind(told.limit)
            .bind(told.remaining)
            .bind(told.window_ms)
            .bind(told.at)
            .bind(told.resets_at)
            .execute(&mut **self)
            .await?;
        }
        Ok(())
    }

    /// Works out how often the budget's tags can be checked: as often as they want, except where every check is counted.
    async fn plan_interval(&mut self, id: &str) -> Result<()> {
        let state = self.budget(id).await?;
        let counted = state.limit_count.filter(|limit| *limit > 0 && state.heads_count == Some(1));
        let least = match counted {
            None => 0,
            Some(limit) => {
                let (questions,): (i64,) = sqlx::query_as(
                    "select count(distinct question) from tag_imports where budget = $1 and next_at is not null",
                )
                .bind(id)
                .fetch_one(&mut **self)
                .await?;
                let window = state.window_ms.unwrap_or(HOUR_MS);
                questions.saturating_mul(window).saturating_mul(100) / limit.saturating_mul(PLANNED_PERCENT)
            }
        };
        if least != state.least_interval_ms {
            sqlx::query("update registry_budgets set least_interval_ms = $2 where id = $1")
                .bind(id)
                .bind(least)
                .execute(&mut **self)
                .await?;
        }
        Ok(())
    }
}

impl From<&Spend> for ProjectSpend {
    fn from(spend: &Spend) -> Self {
        let Spend { budget_id: _, project, heads, gets, recent_heads, recent_gets } = spend;
        let (heads, gets, recent_heads, recent_gets) = (*heads, *gets, *recent_heads, *recent_gets);
        Self { project: project.clone(), heads, gets, recent_heads, recent_gets }
    }
}

/// The hour of a time, since the epoch.
pub(super) fn hour_of(at: i64) -> i64 {
    at.div_euclid(HOUR_MS)
}

#[cfg(test)]
mod tests;
