//! Carrying out import rules: what was listed so far, how it ended, and when it is listed next. Who does it is in `import_rule_claims`.
//!
//! A rule is claimed by a lease, as is all work. Whoever works on it says with each step which version of the rule that is for: when somebody
//! has changed it meanwhile, or the lease is another server's, nothing is recorded, and the work ends.

use super::import_rules::{BETWEEN_REQUESTS_MS, select_rule};
use super::imports::shortened;
use super::{Entry, Result, Store, WriteTx};
use crate::model::{Actor, Choice, ImportRule, now};

/// A page of a repository's tags, to be kept.
#[derive(Debug, Clone, Copy)]
pub struct ListedPage<'a> {
    /// Those that can be tags here.
    pub tags: &'a [String],
    /// How many the registry told, with those that cannot.
    pub told: i64,
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
    /// The registry wants to be asked nothing until then; 0 when it said nothing of that.
    pub not_before: i64,
    /// What was listed so far is of no use.
    pub begin_anew: bool,
    /// It was listed well, but its tags cannot be what it wants: they are tried again after the next listing.
    pub refuses_tags: bool,
}

impl Store {
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
                    "update import_rules set pages = pages + 1, listed_tags = listed_tags + $2, next_page = $3, tried_at = $4, \
                     began_at = case when pages = 0 then $4 else began_at end where id = $1",
                )
                .bind(&rule.id)
                .bind(page.told)
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

    /// Forgets what was listed so far of a listing under way. Gives the rule as it is then; `None` when the work is not ours any more.
    pub async fn begin_listing_anew(&self, rule: &ImportRule, lease_ms: i64) -> Result<Option<ImportRule>> {
        let mut tx = self.write_tx().await?;
        if !tx.keep_rule(rule, self.owner(), lease_ms).await? {
            return Ok(None);
        }
        tx.drop_pages(rule, rule.listing + 1).await?;
        let rule = sqlx::query_as(select_rule!("where r.id = $1")).bind(&rule.id).fetch_one(&mut *tx).await?;
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
             failing_since = coalesce(failing_since, $6), failures = failures + 1, next_at = $7, \
             not_before = case when not_before > $8 then not_before else $8 end, hinted_at = null, \
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
            tx.record_rule_state(rule, "import-rule.fail", Some(&message), &Actor::schedule()).await?;
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
             unapplied = 1, next_at = case when hinted_at is not null and $5 < $3 then $5 else $3 end, hinted_at = null, outcome = 'ok', reason = null, message = null, failing_since = null, failures = 0, \
             requested_at = case when requested_at > $4 then requested_at else null end where id = $1",
        )
        .bind(&rule.id)
        .bind(now())
        .bind(again_at)
        .bind(rule.requested_at.unwrap_or(0))
        .bind(now().saturating_add(BETWEEN_REQUESTS_MS))
        .execute(&mut **self)
        .await?;
        if rule.outcome == "failed" {
            self.record_rule_state(rule, "import-rule.recover", None, &Actor::schedule()).await?;
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

    /// Who was told that a rule fails is told that it does not any more, although it never went well: it is gone, or about something else.
    pub(super) async fn end_rule_failure(&mut self, rule: &ImportRule, reason: &str, actor: &Actor) -> Result<()> {
        if rule.outcome != "failed" {
            return Ok(());
        }
        self.record_rule_state(rule, "import-rule.recover", Some(reason), actor).await
    }

    async fn record_rule_state(
        &mut self,
        rule: &ImportRule,
        action: &str,
        reason: Option<&str>,
        actor: &Actor,
    ) -> Result<()> {
        let (title, project) = (rule.title(), Some(rule.project.as_str()));
        let entry =
            Entry { action, project, object: &title, from: Some(&rule.spec.repository), reason, ..Entry::default() };
        self.record(actor, entry).await?;
        Ok(())
    }
}
