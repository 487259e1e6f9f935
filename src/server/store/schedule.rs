//! Which checks of other registries come next: what each check asks, and who may ask now.
//!
//! A check is claimed by a lease, as is all work. How many are given out at a time follows from the budget of the registry they go to:
//! it may rest, it is asked at a pace, and by few at a time. Projects take turns within a budget, so that a thousand tags of one do not
//! keep the one tag of another waiting. Tags that follow the same thing with the same rights are checked by one request. What a check
//! has to download is in `downloads`.

use super::budgets::{BudgetKey, budget_columns};
use super::downloads::{self, Free, downloads};
use super::tags::select_tag;
use super::turns::Most;
use super::{DueImport, Result, Store, WriteTx};
use crate::model::{BudgetState, Tag, now};
use crate::server::wake::Controller;

/// Questions under way at one registry.
const AT_ONE_REGISTRY: i64 = 8;
/// So much of its pace a registry may be asked at once.
pub(super) const BURST_MS: i64 = 1000;
/// What is kept of a counted allowance for fetching what changed, and for seeing whether there is more of it again: one in so many.
const RESERVE: i64 = 20;

/// A claim's lease is free.
pub(super) const FREE: &str = "(i.lease_until is null or i.lease_until < $1)";

/// What the check of a tag asks, as its source and its project's secrets have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    pub tag_id: String,
    /// The tag's generation this is true for.
    pub generation: i64,
    pub budget: BudgetKey,
    /// The same for tags whose check is the same request.
    pub question: String,
    /// The repository and the tag there, with Docker's defaults filled in.
    pub repository: String,
    pub upstream_tag: String,
}

/// Checks to be made now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimedChecks {
    /// Each is one question, with all the tags its answer is for.
    pub questions: Vec<Vec<DueImport>>,
    /// When a registry that is to be left alone for now may be asked again.
    pub again_at: Option<i64>,
    /// More is due than may be under way at once: look again when a check ends.
    pub is_crowded: bool,
}

/// A budget that has checks due.
#[derive(sqlx::FromRow)]
struct InDemand {
    #[sqlx(flatten)]
    state: BudgetState,
    /// Questions under way.
    asking: i64,
    /// Those of them that download, or are sure to, and others that have asked.
    downloading: i64,
}

/// How many questions a registry may be asked now.
#[derive(Debug, PartialEq, Eq)]
enum Room {
    /// So many questions, which take so many of its slots at the most.
    For { questions: i64, slots: i64 },
    /// None before that time.
    From(i64),
    /// None until one that is under way ends.
    Crowded,
}

impl InDemand {
    fn room(&self, now: i64) -> Room {
        let state = &self.state;
        if let Some(until) = state.rests_until(now) {
            return Room::From(until);
        }
        // One that was never asked, one whose limits are not understood yet, and one that has just refused are asked one thing at a time.
        let is_at_ease = state.is_understood() && state.strikes == 0;
        let mut room = if is_at_ease { AT_ONE_REGISTRY } else { 1 } - self.asking;
        if room <= 0 {
            return Room::Crowded;
        }
        if let Some(remaining) = state.known_remaining(now).filter(|_| state.heads_count == Some(1)) {
            let kept = state.limit_count.unwrap_or(0) / RESERVE;
            let looks_at = self.looks_at(remaining, kept);
            if remaining <= kept && looks_at > now {
                return Room::From(looks_at.max(now + BURST_MS));
            }
            room = room.min((remaining - kept).max(1));
        }
        let burst = BURST_MS.max(state.gap_ms);
        let slots = (burst - (state.next_slot_at - now).max(0)) / state.gap_ms.max(1);
        if slots <= 0 {
            return Room::From(state.next_slot_at - burst + state.gap_ms);
        }
        Room::For { questions: room.min(slots), slots }
    }

    /// When one thing is asked although nothing remains but what is kept: a window that slides gives back long before its end, which
    /// only an answer tells. Half of what is kept may go for that.
    fn looks_at(&self, remaining: i64, kept: i64) -> i64 {
        let state = &self.state;
        let (told_at, end) = (state.told_at.unwrap_or(0), state.told_until().unwrap_or(0));
        if remaining <= 0 || kept <= 0 {
            return end;
        }
        let after = (end - told_at).saturating_mul(2) / kept;
        end.min(told_at.max(state.next_slot_at).saturating_add(after))
    }
}

impl Store {
    /// Tags of which nobody has found out yet what their check asks, by id, from after that one on.
    pub async fn list_unassigned_imports(&self, after: &str, limit: i64) -> Result<Vec<Tag>> {
        let tags = sqlx::query_as(select_tag!(
            "join tag_imports m on m.tag_id = t.id where m.budget is null and m.tag_id > $1 order by m.tag_id limit $2"
        ))
        .bind(after)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(tags)
    }

    /// Notes what checks ask, for tags that have not been changed since.
    pub async fn assign_imports(&self, assignments: &[Assignment]) -> Result<()> {
        let mut tx = self.write_tx().await?;
        for assignment in assignments {
            tx.ensure_budget(&assignment.budget).await?;
            sqlx::query(
                "update tag_imports set budget = $3, question = $4, repository = $5, upstream_tag = $6, project_id = \
                 (select s.project_id from tags t join streams s on s.id = t.stream_id where t.id = $1) \
                 where tag_id = $1 and budget is null and exists (select 1 from tags t where t.id = $1 and t.generation = $2)",
            )
            .bind(&assignment.tag_id)
            .bind(assignment.generation)
            .bind(&assignment.budget.id)
            .bind(&assignment.question)
            .bind(&assignment.repository)
            .bind(&assignment.upstream_tag)
            .execute(&mut *tx)
            .await?;
        }
        tx.commit_soon().await
    }

    /// Takes as many questions as are due, may be asked now and have a place on this server.
    pub async fn claim_due_imports(&self, owner: &str, lease_ms: i64, free: Free) -> Result<ClaimedChecks> {
        let mut claimed = ClaimedChecks::default();
        if !self.is_any_import_due().await? {
            return Ok(claimed);
        }
        let mut downloads = i64::try_from(free.downloads).unwrap_or(i64::MAX);
        let mut tx = self.write_tx().await?;
        for budget in tx.budgets_in_demand().await? {
            let left = i64::try_from(free.questions.saturating_sub(claimed.questions.len())).unwrap_or(i64::MAX);
            if left == 0 {
                claimed.is_crowded = true;
                break;
            }
            match budget.room(now()) {
                Room::Crowded => claimed.is_crowded = true,
                Room::From(at) => claimed.look_again(at),
                Room::For { questions, slots } => {
                    let places = downloads.min(downloads::AT_ONE_REGISTRY - budget.downloading).max(0);
                    let most = Most { questions: questions.min(left), slots, downloads: places };
                    let taken = tx.claim_of(&budget.state, owner, lease_ms, most).await?;
                    downloads -= taken.downloads;
                    // What is to be downloaded waits for a place.
                    claimed.is_crowded |= taken.downloads == places;
                    if taken.may_be_more {
                        claimed.look_again(now() + budget.state.gap_ms * taken.slots);
                    }
                    claimed.questions.extend(taken.questions);
                }
            }
        }
        tx.commit_soon().await?;
        Ok(claimed)
    }

    /// Keeps the tags this process is at from being taken by others.
    pub async fn renew_import_leases(&self, owner: &str, lease_ms: i64, tag_ids: &[String]) -> Result<()> {
        let mut tx = self.write_tx().await?;
        for tag_id in tag_ids {
            sqlx::query("update tag_imports set lease_until = $3 where tag_id = $1 and lease_owner = $2")
                .bind(tag_id)
                .bind(owner)
                .bind(now() + lease_ms)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit_soon().await
    }

    /// Gives back a tag that was claimed and does not ask what was thought: that has to be found out anew.
    pub async fn unassign_import(&self, tag_id: &str, owner: &str) -> Result<()> {
        let mut tx = self.write_tx().await?;
        sqlx::query(
            "update tag_imports set budget = null, question = null, lease_owner = null, lease_until = null, downloading_at = null \
             where tag_id = $1 and lease_owner = $2",
        )
        .bind(tag_id)
        .bind(owner)
        .execute(&mut *tx)
        .await?;
        tx.wake(Controller::Imports);
        tx.commit_soon().await
    }

    /// When the next check is due that is not yet, in milliseconds since the epoch.
    pub async fn next_import_at(&self) -> Result<Option<i64>> {
        let (next,): (Option<i64>,) = sqlx::query_as("select min(next_at) from tag_imports where next_at > $1")
            .bind(now())
            .fetch_one(self.pool())
            .await?;
        Ok(next)
    }

    /// What checks ask has to be found out anew, as the site's own credentials have changed; without `all`, where they were in use and none
    /// of the project's may be.
    pub async fn unassign_all_imports(&self, all: bool) -> Result<()> {
        let mut tx = self.write_tx().await?;
        sqlx::query(
            "update tag_imports set budget = null, question = null where budget is not null and ($1 = 1 \
             or (budget in (select b.id from registry_budgets b where b.account <> '') \
               and project_id not in (select s.project_id from secrets s where s.kind = 'registry')))",
        )
        .bind(i64::from(all))
        .execute(&mut *tx)
        .await?;
        tx.wake(Controller::Imports);
        tx.commit_soon().await
    }

    async fn is_any_import_due(&self) -> Result<bool> {
        for due in ["i.next_at <= $1", "i.requested_at is not null"] {
            let statement = format!(
                "select cast(1 as bigint) from tag_imports i where {due} and i.budget is not null and {FREE} limit 1"
            );
            let any: Option<(i64,)> =
                sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(now()).fetch_optional(self.pool()).await?;
            if any.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl ClaimedChecks {
    fn look_again(&mut self, at: i64) {
        self.again_at = Some(self.again_at.map_or(at, |before| before.min(at)));
    }
}

impl WriteTx {
    /// Budgets with checks due, the one that waited longest first.
    async fn budgets_in_demand(&mut self) -> Result<Vec<InDemand>> {
        let statement = format!(
            "select {}, (select count(distinct l.question) from tag_imports l where l.budget = b.id and l.lease_until >= $1 \
               and l.downloading_at is null) as asking, \
             (select count(distinct l.question) from tag_imports l where l.budget = b.id and l.lease_until >= $1 and {}) as downloading \
             from registry_budgets b where not exists (select 1 from paused_registries z where z.host = b.host) \
             and (exists (select 1 from tag_imports i where i.budget = b.id and i.next_at <= $1 and {FREE}) \
               or exists (select 1 from tag_imports i where i.budget = b.id and i.requested_at is not null and {FREE})) \
             order by b.next_slot_at, b.id",
            budget_columns!(),
            downloads!()
        );
        Ok(sqlx::query_as(sqlx::AssertSqlSafe(statement)).bind(now()).fetch_all(&mut **self).await?)
    }

    /// What the project's checks ask has to be found out anew: its secrets have changed. Its import rules may be somebody else there, who
    /// need not rest.
    pub(super) async fn unassign_imports(&mut self, project_id: &str) -> Result<()> {
        sqlx::query("update tag_imports set budget = null, question = null where project_id = $1")
            .bind(project_id)
            .execute(&mut **self)
            .await?;
        sqlx::query(
            "update import_rules set not_before = 0 where not_before > 0 and stream_id in (select id from streams where project_id = $1)",
        )
        .bind(project_id)
        .execute(&mut **self)
        .await?;
        self.wake(Controller::Imports);
        self.wake(Controller::ImportRules);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
