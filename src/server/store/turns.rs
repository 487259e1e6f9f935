//! The turns in which one registry is asked. Those of checks are given out to projects in rounds: each gets one, then each a second, what
//! somebody asked for and what waited longest first. Other questions take theirs one by one, out of the same bucket.

use std::collections::HashMap;

use super::budgets::{BudgetKey, hour_of};
use super::downloads::{OF_ONE_PROJECT, downloads, sure_to_download};
use super::imports::select_import;
use super::schedule::{BURST_MS, FREE};
use super::{DueImport, Result, Store, WriteTx};
use crate::model::{BudgetState, TagImport, now};

/// Slots that a first import takes: it asks for a manifest, a configuration and layers.
const FIRST_IMPORT: i64 = 4;

/// Projects that share a registry with one that asks: with more it need not share.
const MOST_OTHERS: i64 = 32;
/// So many projects that follow something there are looked at for those.
const LOOKED_AT: i64 = 256;

/// A turn at a registry, for a question that no check asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// It is taken, and comes at that time. So many other projects have checks due there, which want their turns as well: not all of them,
    /// where there are very many.
    At { at: i64, gap_ms: i64, others: i64 },
    /// There is none before that time, and none was taken.
    From(i64),
}

/// What a project had of an allowance, and with how many it shares it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    pub spent: i64,
    pub projects: i64,
}

/// How many turns the claim of a question takes.
pub fn slots_of(due: &[DueImport]) -> i64 {
    if due.iter().any(|one| one.import.upstream_digest.is_none()) { FIRST_IMPORT } else { 1 }
}

/// What was claimed of a budget.
pub(super) struct Taken {
    pub(super) questions: Vec<Vec<DueImport>>,
    pub(super) slots: i64,
    /// Not everything that is due was looked at.
    pub(super) may_be_more: bool,
    pub(super) downloads: i64,
}

/// A question that may be claimed.
#[derive(sqlx::FromRow)]
struct Picked {
    question: String,
    project_id: Option<String>,
    /// 1 when it is sure to download.
    downloads: i64,
    /// How many of its project's do so there.
    beside: i64,
}

/// How much may be claimed of a budget.
#[derive(Clone, Copy)]
pub(super) struct Most {
    pub(super) questions: i64,
    pub(super) slots: i64,
    pub(super) downloads: i64,
}

/// Goes from project to project of those that follow something at registry `$2`, from project `$3` on and round, and counts which of them
/// have a check due: each is found by its first row in an index, however many checks it has. PostgreSQL would read all that is due into a
/// table to look for `exists` in.
fn others_in_demand() -> String {
    let due = |which: &str| {
        format!(
            "(select cast(1 as bigint) from tag_imports i where i.budget = $2 and i.project_id = v.id and {which} and {FREE} limit 1) = 1"
        )
    };
    format!(
        "with recursive visited (id) as (select coalesce((select p.id from projects p where p.name = $3), '') \
           union select coalesce((select min(n.project_id) from tag_imports n where n.budget = $2 and n.project_id > l.id), \
             (select min(n.project_id) from tag_imports n where n.budget = $2 and n.project_id > '')) from visited l where l.id is not null) \
         select count(*) from (select v.id from (select id from visited limit $4) v \
           where v.id <> coalesce((select p.id from projects p where p.name = $3), '') and ({} or {}) limit $5) o",
        due("i.next_at <= $1"),
        due("i.requested_at is not null")
    )
}

impl Store {
    /// Takes the next turn at a registry if it comes `by` then. Checks are given out only where turns are free by then, so that this
    /// one comes before them.
    pub async fn take_slot(&self, key: &BudgetKey, project: &str, by: i64) -> Result<Slot> {
        // Nobody who writes waits for this: it need not be true to the moment.
        let others = self.others_in_demand(&key.id, project).await?;
        let mut tx = self.write_tx().await?;
        tx.ensure_budget(key).await?;
        let state = tx.budget(&key.id).await?;
        let (now, gap_ms) = (now(), state.gap_ms.max(1));
        let at = state.next_slot_at.saturating_sub(BURST_MS.max(gap_ms)).saturating_add(gap_ms).max(now);
        if at > by {
            tx.abandon().await?;
            return Ok(Slot::From(at));
        }
        sqlx::query("update registry_budgets set next_slot_at = $2 where id = $1")
            .bind(&key.id)
            .bind(state.next_slot_at.max(now).saturating_add(gap_ms))
            .execute(&mut *tx)
            .await?;
        tx.commit_soon().await?;
        Ok(Slot::At { at, gap_ms, others })
    }

    /// How many other projects have checks due at a registry, as far as it counts.
    async fn others_in_demand(&self, budget: &str, project: &str) -> Result<i64> {
        let (others,) = sqlx::query_as(sqlx::AssertSqlSafe(others_in_demand()))
            .bind(now())
            .bind(budget)
            .bind(project)
            .bind(LOOKED_AT)
            .bind(MOST_OTHERS)
            .fetch_one(self.pool())
            .await?;
        Ok(others)
    }

    /// What a project had of a registry's allowance within its window, as far as that is written down.
    pub async fn share_of(&self, budget: &str, project: &str, window_ms: i64, counts_heads: bool) -> Result<Share> {
        let since = hour_of(now().saturating_sub(window_ms));
        let (spent, projects) = sqlx::query_as(
            "select (select cast(coalesce(sum(s.gets + s.heads * $4), 0) as bigint) from registry_spend s \
               join projects p on p.id = s.project_id where s.budget_id = $1 and p.name = $2 and s.hour > $3), \
             (select count(*) from (select i.project_id from tag_imports i where i.budget = $1 and i.project_id is not null \
               union select s.project_id from registry_spend s where s.budget_id = $1 and s.hour > $3 \
               union select p.id from projects p where p.name = $2) x)",
        )
        .bind(budget)
        .bind(project)
        .bind(since)
        .bind(i64::from(counts_heads))
        .fetch_one(self.pool())
        .await?;
        Ok(Share { spent, projects })
    }
}

impl WriteTx {
    /// Claims questions of a budget. Each round gives every project one: what somebody asked for, or what waited longest.
    pub(super) async fn claim_of(
        &mut self,
        budget: &BudgetState,
        owner: &str,
        lease_ms: i64,
        most: Most,
    ) -> Result<Taken> {
        let picked = self.pick(&budget.id, most).await?;
        let mut may_be_more = i64::try_from(picked.len()).unwrap_or(most.questions) == most.questions;
        let (mut questions, mut used) = (Vec::with_capacity(picked.len()), 0);
        let (mut downloads, mut by_project) = (0, HashMap::new());
        for Picked { question, project_id, downloads: is_download, beside } in picked {
            let its = by_project.entry(project_id).or_insert(beside);
            if is_download == 1 && (downloads >= most.downloads || *its >= OF_ONE_PROJECT) {
                may_be_more = true;
                continue;
            }
            let due = self.claim_question(&question, owner, now() + lease_ms).await?;
            // Two of those picked may be the same question.
            if due.is_empty() {
                continue;
            }
            *its += is_download;
            downloads += is_download;
            used += slots_of(&due);
            questions.push(due);
            if used >= most.slots {
                may_be_more = true;
                break;
            }
        }
        self.take_slots(budget, i64::try_from(questions.len()).unwrap_or(0), used).await?;
        Ok(Taken { questions, slots: used, may_be_more, downloads })
    }

    /// What may be claimed of a budget, in turns. What is sure to download is left out where there is no place for it.
    async fn pick(&mut self, budget: &str, most: Most) -> Result<Vec<Picked>> {
        let statement = format!(
            "with busy as (select l.project_id, count(distinct l.question) as beside from tag_imports l \
               where l.budget = $2 and l.lease_until >= $1 and {} group by l.project_id) \
             select r.question, r.project_id, r.downloads, r.beside from (select i.question, i.project_id, \
               cast(case when {sure} then 1 else 0 end as bigint) as downloads, coalesce(k.beside, 0) as beside, \
               row_number() over (partition by i.project_id \
                 order by case when i.requested_at is null then 1 else 0 end, i.next_at, i.tag_id) as turn \
               from tag_imports i left join busy k on k.project_id = i.project_id \
               where i.budget = $2 and (i.next_at <= $1 or i.requested_at is not null) and {FREE} \
               and (not {sure} or ($4 > 0 and coalesce(k.beside, 0) < $5))) r \
             order by r.turn, random() limit $3",
            downloads!(),
            sure = sure_to_download!()
        );
        let picked = sqlx::query_as(sqlx::AssertSqlSafe(statement))
            .bind(now())
            .bind(budget)
            .bind(most.questions)
            .bind(most.downloads)
            .bind(OF_ONE_PROJECT)
            .fetch_all(&mut **self)
            .await?;
        Ok(picked)
    }

    /// Claims every tag that the answer is for: also those that are due later, as it costs nothing more.
    async fn claim_question(&mut self, question: &str, owner: &str, until: i64) -> Result<Vec<DueImport>> {
        let statement = format!(
            "where i.question = $2 and (i.next_at is not null or i.requested_at is not null) and {FREE} order by i.tag_id"
        );
        let imports: Vec<TagImport> = sqlx::query_as(sqlx::AssertSqlSafe(format!("{}{statement}", select_import!(""))))
            .bind(now())
            .bind(question)
            .fetch_all(&mut **self)
            .await?;
        let mut claimed = Vec::with_capacity(imports.len());
        for import in imports {
            sqlx::query(
                "update tag_imports set lease_owner = $2, lease_until = $3, downloading_at = null where tag_id = $1",
            )
            .bind(&import.tag_id)
            .bind(owner)
            .bind(until)
            .execute(&mut **self)
            .await?;
            claimed.push(DueImport { tag: self.tag_by_id(&import.tag_id).await?, import });
        }
        Ok(claimed)
    }

    /// Notes that so many checks are under way, which take so many of the registry's slots.
    async fn take_slots(&mut self, budget: &BudgetState, count: i64, slots: i64) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let counted = if budget.heads_count == Some(1) { count } else { 0 };
        sqlx::query("update registry_budgets set next_slot_at = $2, remaining = remaining - $3 where id = $1")
            .bind(&budget.id)
            .bind(budget.next_slot_at.max(now()) + slots * budget.gap_ms)
            .bind(counted)
            .execute(&mut **self)
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
