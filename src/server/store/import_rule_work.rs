//! Carrying out import rules: who lists which repository now, what was listed so far, how it ended, and when it is listed next.
//!
//! A rule is claimed by a lease, as is all work. Whoever works on it says with each step which version of the rule that is for: when somebody
//! has changed it meanwhile, or the lease is another server's, nothing is recorded, and the work ends.

use super::import_rules::select_rule;
use super::imports::shortened;
use super::{Entry, Result, Store, WriteTx};
use crate::model::{Actor, Choice, ImportRule, now};

/// Rules that may be worked on: not paused, and nobody's.
const FREE: &str = "r.paused_at is null and (r.lease_until is null or r.lease_until < $1)";
/// Rules with something to do now.
const DUE: &str = "(r.unapplied = 1 or (r.not_before <= $1 and (r.next_at <= $1 or r.requested_at is not null)))";

/// A page of a repository's tags, to be kept.
#[derive(Debug, Clone, Copy)]
pub struct ListedPage<'a> {
    /// Those that can be tags here.
    pub tags: &'a [String],
    /// Where the listing goes on; `None` when it has come to its end.
    pub next: Option<&'a str>,
    /// When the repository is to be listed again, if this was the last page.
    pub again_at: i64,
}

/// Why a rule could not be carried out.
#[derive(Debug, Clone, Copy)]
pub struct RuleFailure<'a> {
    pub reason: &'a str,
    pub message: &'a str,
    /// When it is tried again.
    pub again_at: i64,
    /// The registry wants to be asked nothing until then.
    pub not_before: i64,
    /// What was listed so far is of no use.
    pub begin_anew: bool,
    /// It was listed well, but its tags cannot be what it wants: they are tried again after the next listing.
    pub refuses_tags: bool,
}

impl Store {
    /// Takes up to `most` rules that have something to do.
    pub async fn claim_import_rules(&self, lease_ms: i64, most: usize) -> Result<Vec<ImportRule>> {
        let any = format!("select cast(1 as bigint) from import_rules r where {FREE} and {DUE} limit 1");
        let any: Option<(i64,)> =
            sqlx::query_as(sqlx::AssertSqlSafe(any)).bind(now()).fetch_optional(self.pool()).await?;
        if any.is_none() || most == 0 {
            return Ok(Vec::new());
        }
        let mut tx = self.write_tx().await?;
        let due = format!(
            "{}where {FREE} and {DUE} order by case when r.requested_at is null then 1 else 0 end, r.next_at, r.id limit $2",
            select_rule!("")
        );
        let rules: Vec<ImportRule> = sqlx::query_as(sqlx::AssertSqlSafe(due))
            .bind(now())
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(&mut *tx)
            .await?;
        for rule in &rules {
            sqlx::query("update import_rules set lease_owner = $2, lease_until = $3 where id = $1")
                .bind(&rule.id)
                .bind(self.owner())
                .bind(now().saturating_add(lease_ms))
                .execute(&mut *tx)
                .await?;
        }
        tx.commit_soon().await?;
        Ok(rules)
    }

    /// When the next rule has something to do, in milliseconds since the epoch.
    pub async fn next_import_rule_at(&self) -> Result<Option<i64>> {
        let next = format!(
            "select min(case when r.unapplied = 1 then 0 when r.requested_at is not null or r.next_at < r.not_before then r.not_before \
             else r.next_at end) from import_rules r where {FREE}"
        );
        let (next,): (Option<i64>,) =
            sqlx::query_as(sqlx::AssertSqlSafe(next)).bind(now()).fetch_one(self.pool()).await?;
        Ok(next)
    }

    /// Keeps a page, and the lease. With the last one the listing has come to its end, and takes the place of the one before. Gives the
    /// rule as it is then; `None` when the work is not ours any more.
    pub async fn keep_listed_page(
        &self,
        rule: &ImportRule,
        page: &ListedPage<'_>,
        lease_ms: i64,
    ) -> Result<Option<ImportRule>> {
        let mut tx = self.write_tx().await?;
        if !tx.keep_rule(rule, self.owner(), lease_ms).await? {
            return Ok(None);
        }
        sqlx::query("insert into import_rule_pages (rule_id, listing, number, tags) values ($1, $2, $3, $4)")
            .bind(&rule.id)
            .bind(rule.listing + 1)
            .bind(rule.pages + 1)
            .bind(serde_json::to_string(page.tags)?)
            .execute(&mut *tx)
            .await?;
        match page.next {
            Some(next) => {
                sqlx::query(
                    "update import_rules set pages = pages + 1, listed_tags = listed_tags + $2, next_page = $3, tried_at = $4 where id = $1",
                )
                .bind(&rule.id)
                .bind(i64::try_from(page.tags.len()).unwrap_or(i64::MAX))
                .bind(next)
                .bind(now())
                .execute(&mut *tx)
                .await?;
            }
            None => tx.end_listing(rule, page.again_at).await?,
        }
        let rule: ImportRule =
            sqlx::query_as(select_rule!("where r.id = $1")).bind(&rule.id).fetch_one(&mut *tx).await?;
        tx.touch(&rule.project);
        tx.commit().await?;
        Ok(Some(rule))
    }

    /// All tags of the last listing that came to its end.
    pub async fn listed_tags(&self, rule: &ImportRule) -> Result<Vec<String>> {
        let pages: Vec<(String,)> =
            sqlx::query_as("select tags from import_rule_pages where rule_id = $1 and listing = $2 order by number")
                .bind(&rule.id)
                .bind(rule.listing)
                .fetch_all(self.pool())
                .await?;
        let mut tags = Vec::new();
        for (page,) in pages {
            tags.extend(serde_json::from_str::<Vec<String>>(&page)?);
        }
        Ok(tags)
    }

    /// Ends the work on a rule whose tags have followed its last listing.
    pub async fn finish_import_rule(
        &self,
        rule: &ImportRule,
        choice: &Choice,
        made: usize,
        left_alone: usize,
    ) -> Result<()> {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let mut tx = self.write_tx().await?;
        let finished = sqlx::query(
            "update import_rules set unapplied = 0, seen = $4, fitting = $5, chosen = $6, made = $7, left_alone = $8, \
             lease_owner = null, lease_until = null where id = $1 and version = $2 and lease_owner = $3",
        )
        .bind(&rule.id)
        .bind(rule.version)
        .bind(self.owner())
        .bind(count(choice.seen))
        .bind(count(choice.fitting))
        .bind(count(choice.tags.len()))
        .bind(count(made))
        .bind(count(left_alone))
        .execute(&mut *tx)
        .await?;
        if finished.rows_affected() == 0 {
            tx.abandon().await?;
            return self.release_import_rule(rule).await;
        }
        tx.touch(&rule.project);
        tx.commit().await
    }

    /// Ends the work on a rule that could not be carried out. Only the change of state is news.
    pub async fn fail_import_rule(&self, rule: &ImportRule, failure: &RuleFailure<'_>) -> Result<()> {
        let message = shortened(failure.message);
        let mut tx = self.write_tx().await?;
        let failed = sqlx::query(
            "update import_rules set outcome = 'failed', reason = $4, message = $5, tried_at = $6, \
             failing_since = coalesce(failing_since, $6), failures = failures + 1, next_at = $7, not_before = $8, \
             unapplied = case when $10 = 1 then 0 else unapplied end, requested_at = case when requested_at > $9 then requested_at else null end, \
             lease_owner = null, lease_until = null where id = $1 and version = $2 and lease_owner = $3",
        )
        .bind(&rule.id)
        .bind(rule.version)
        .bind(self.owner())
        .bind(failure.reason)
        .bind(&message)
        .bind(now())
        .bind(failure.again_at)
        .bind(failure.not_before)
        .bind(rule.requested_at.unwrap_or(0))
        .bind(i64::from(failure.refuses_tags))
        .execute(&mut *tx)
        .await?;
        if failed.rows_affected() == 0 {
            tx.abandon().await?;
            return self.release_import_rule(rule).await;
        }
        if failure.begin_anew {
            tx.drop_pages(rule, rule.listing + 1).await?;
        }
        if rule.outcome != "failed" {
            tx.record_rule_state(rule, "import-rule.fail", Some(&message)).await?;
        }
        tx.touch(&rule.project);
        tx.commit().await
    }

    /// The registry was not asked, as it wants to be left alone: what is due stays due until then.
    pub async fn rest_import_rule(&self, rule: &ImportRule, until: i64) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let rests = sqlx::query(
            "update import_rules set not_before = $4, lease_owner = null, lease_until = null \
             where id = $1 and version = $2 and lease_owner = $3",
        )
        .bind(&rule.id)
        .bind(rule.version)
        .bind(self.owner())
        .bind(until)
        .execute(&mut *tx)
        .await?;
        if rests.rows_affected() == 0 {
            tx.abandon().await?;
            return self.release_import_rule(rule).await;
        }
        tx.touch(&rule.project);
        tx.commit_soon().await
    }

    /// Gives a rule back that somebody has changed meanwhile.
    pub async fn release_import_rule(&self, rule: &ImportRule) -> Result<()> {
        sqlx::query(
            "update import_rules set lease_owner = null, lease_until = null where id = $1 and lease_owner = $2",
        )
        .bind(&rule.id)
        .bind(self.owner())
        .execute(self.pool())
        .await?;
        Ok(())
    }
}

impl WriteTx {
    /// Renews the lease; false when the work is not ours any more.
    pub(super) async fn keep_rule(&mut self, rule: &ImportRule, owner: &str, lease_ms: i64) -> Result<bool> {
        let kept = sqlx::query(
            "update import_rules set lease_until = $4 where id = $1 and version = $2 and lease_owner = $3 and listing = $5 and pages = $6",
        )
        .bind(&rule.id)
        .bind(rule.version)
        .bind(owner)
        .bind(now().saturating_add(lease_ms))
        .bind(rule.listing)
        .bind(rule.pages)
        .execute(&mut **self)
        .await?;
        Ok(kept.rows_affected() == 1)
    }

    async fn end_listing(&mut self, rule: &ImportRule, again_at: i64) -> Result<()> {
        sqlx::query("delete from import_rule_pages where rule_id = $1 and listing <= $2")
            .bind(&rule.id)
            .bind(rule.listing)
            .execute(&mut **self)
            .await?;
        sqlx::query(
            "update import_rules set listing = listing + 1, listed_at = $2, tried_at = $2, next_page = null, pages = 0, listed_tags = 0, \
             unapplied = 1, next_at = $3, outcome = 'ok', reason = null, message = null, failing_since = null, failures = 0, \
             requested_at = case when requested_at > $4 then requested_at else null end where id = $1",
        )
        .bind(&rule.id)
        .bind(now())
        .bind(again_at)
        .bind(rule.requested_at.unwrap_or(0))
        .execute(&mut **self)
        .await?;
        if rule.outcome == "failed" {
            self.record_rule_state(rule, "import-rule.recover", None).await?;
        }
        Ok(())
    }

    async fn drop_pages(&mut self, rule: &ImportRule, listing: i64) -> Result<()> {
        sqlx::query("delete from import_rule_pages where rule_id = $1 and listing = $2")
            .bind(&rule.id)
            .bind(listing)
            .execute(&mut **self)
            .await?;
        sqlx::query("update import_rules set next_page = null, pages = 0, listed_tags = 0 where id = $1")
            .bind(&rule.id)
            .execute(&mut **self)
            .await?;
        Ok(())
    }

    async fn record_rule_state(&mut self, rule: &ImportRule, action: &str, reason: Option<&str>) -> Result<()> {
        let (title, project) = (rule.title(), Some(rule.project.as_str()));
        let entry =
            Entry { action, project, object: &title, from: Some(&rule.spec.repository), reason, ..Entry::default() };
        self.record(&Actor::schedule(), entry).await?;
        Ok(())
    }
}
