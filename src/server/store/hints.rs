//! Hints that something in another registry may have changed: the checks and listings that would find that out come earlier.

use super::import_rules::select_rule;
use super::{Result, Store, WriteTx};
use crate::model::{ImageReference, ImportRule, now};
use crate::server::wake::Controller;

/// Tags whose checks one hint moves.
const AT_ONCE: i64 = 1000;

/// What one hint has moved forward.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hinted {
    pub checks: usize,
    pub listings: usize,
}

/// A tag that a hint may be about.
#[derive(sqlx::FromRow)]
struct Concerned {
    tag_id: String,
    next_at: Option<i64>,
    last_try_at: i64,
    least_interval_ms: i64,
    within_ms: i64,
}

/// What may have changed: a tag of a repository, or each of them, that a project follows.
struct Hint<'a> {
    project_id: &'a str,
    repository: &'a str,
    tag: Option<&'a str>,
    least_gap_ms: i64,
}

/// A check to be made at that time, and when it is overdue.
type Check = (String, i64, i64);
/// A rule's listing to be made at that time.
type Listing = (String, i64);

impl Store {
    /// Something in another registry may have changed: moves the next check of the project's tags that follow it forward, but none
    /// closer than `least_gap_ms` to its last check, or than the registry's allowance lets it be checked; and the next listing of rules that
    /// want it, none closer than that to the last one. No tag at all stands for each tag of the repository. Gives how many moved.
    pub async fn hint_imports(
        &self,
        project_id: &str,
        repository: &str,
        tag: Option<&str>,
        least_gap_ms: i64,
    ) -> Result<Hinted> {
        let hint = Hint { project_id, repository, tag, least_gap_ms };
        let checks = self.earlier_checks(&hint).await?;
        let listings = self.earlier_listings(&hint).await?;
        // Most hints are of nobody's concern, or come again: they must not cost a write.
        if checks.is_empty() && listings.is_empty() {
            return Ok(Hinted::default());
        }
        let mut tx = self.write_tx().await?;
        tx.move_checks(&checks).await?;
        tx.move_listings(&listings).await?;
        tx.commit_soon().await?;
        Ok(Hinted { checks: checks.len(), listings: listings.len() })
    }

    async fn earlier_checks(&self, hint: &Hint<'_>) -> Result<Vec<Check>> {
        let concerned: Vec<Concerned> = sqlx::query_as(
            "select i.tag_id, i.next_at, coalesce(i.last_try_at, 0) as last_try_at, coalesce(b.least_interval_ms, 0) as least_interval_ms, \
               coalesce(t.interval_ms, $4) as within_ms \
             from tag_imports i join tags t on t.id = i.tag_id left join registry_budgets b on b.id = i.budget \
             where i.repository = $1 and i.project_id = $2 and ($3 = '' or i.upstream_tag = $3) \
             and (i.next_at is not null or (t.scheduled = 1 and i.upstream_tag <> '')) order by i.next_at, i.tag_id limit $5",
        )
        .bind(hint.repository)
        .bind(hint.project_id)
        .bind(hint.tag.unwrap_or_default())
        .bind(hint.least_gap_ms)
        .bind(AT_ONCE)
        .fetch_all(self.pool())
        .await?;
        let earlier = |one: &Concerned| {
            let at = now().max(one.last_try_at + hint.least_gap_ms.max(one.least_interval_ms));
            one.next_at.is_none_or(|next| at < next).then(|| (one.tag_id.clone(), at, at.saturating_add(one.within_ms)))
        };
        Ok(concerned.iter().filter_map(earlier).collect())
    }

    /// Listings of rules that want what was named, unless they have it already: then its check finds out.
    async fn earlier_listings(&self, hint: &Hint<'_>) -> Result<Vec<Listing>> {
        let rules: Vec<ImportRule> = sqlx::query_as(select_rule!(
            "where s.project_id = $1 and r.paused_at is null and r.hinted_at is null \
             and not exists (select 1 from tags t where t.stream_id = r.stream_id and t.name = $2) order by r.id"
        ))
        .bind(hint.project_id)
        .bind(hint.tag.unwrap_or_default())
        .fetch_all(self.pool())
        .await?;
        let rules: Vec<_> = rules.into_iter().filter(|rule| wants(rule, hint.repository, hint.tag)).collect();
        if rules.is_empty() {
            return Ok(Vec::new());
        }
        let under_way = self.rules_under_way(hint.project_id).await?;
        let earlier = |rule: &ImportRule| {
            let at = now().max(rule.tried_at.map_or(0, |tried| tried.saturating_add(hint.least_gap_ms)));
            (at < rule.next_at || under_way.contains(&rule.id)).then(|| (rule.id.clone(), at))
        };
        Ok(rules.iter().filter_map(earlier).collect())
    }

    /// Rules of a project that somebody works on.
    async fn rules_under_way(&self, project_id: &str) -> Result<Vec<String>> {
        let rules: Vec<(String,)> = sqlx::query_as(
            "select r.id from import_rules r join streams s on s.id = r.stream_id where s.project_id = $1 and r.lease_until >= $2",
        )
        .bind(project_id)
        .bind(now())
        .fetch_all(self.pool())
        .await?;
        Ok(rules.into_iter().map(|(id,)| id).collect())
    }
}

impl WriteTx {
    async fn move_checks(&mut self, checks: &[Check]) -> Result<()> {
        for (tag_id, at, overdue_at) in checks {
            sqlx::query(
                "update tag_imports set next_at = $2, overdue_at = coalesce(overdue_at, $3) where tag_id = $1 \
                 and coalesce(next_at, $2 + 1) > $2",
            )
            .bind(tag_id)
            .bind(at)
            .bind(overdue_at)
            .execute(&mut **self)
            .await?;
            self.wake(Controller::Imports);
        }
        Ok(())
    }

    async fn move_listings(&mut self, listings: &[Listing]) -> Result<()> {
        for (rule_id, at) in listings {
            // A listing under way may be past what is new: another one follows it.
            sqlx::query(
                "update import_rules set next_at = case when next_at > $2 then $2 else next_at end, \
                 hinted_at = case when lease_until >= $3 then $3 end where id = $1",
            )
            .bind(rule_id)
            .bind(at)
            .bind(now())
            .execute(&mut **self)
            .await?;
            self.wake(Controller::ImportRules);
        }
        Ok(())
    }
}

/// Whether a rule takes in such a tag of such a repository, which registries name without their host.
fn wants(rule: &ImportRule, repository: &str, tag: Option<&str>) -> bool {
    let is_there = || {
        let parsed = rule.spec.repository.parse::<ImageReference>();
        parsed.is_ok_and(|reference| reference.canonical().repository_path() == repository)
    };
    let fits = |tag: &str| rule.spec.pattern().is_ok_and(|pattern| pattern.fits(tag));
    is_there() && tag.is_none_or(fits)
}
