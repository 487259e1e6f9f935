//! The writes of rules within a transaction: what a rule's own verbs and those of its stream share.
//!
//! Where the rule is the stream's `spec.dockerImageRepository`, another repository is another spec: then the stream's version and
//! generation move with it, so that who read the stream before does not write over it.

use super::spec::{bind_spec, check, told};
use crate::model::{Actor, ImportRule, ImportRuleSpec, Stream, now};
use crate::server::store::{Entry, Error, Result, WriteTx, new_id};
use crate::server::wake::Controller;

/// The most rules of a stream: each of them lists a repository.
const AT_MOST: i64 = 20;

impl WriteTx {
    /// Makes a rule of a name that is free. It is listed at once.
    pub(in crate::server::store) async fn insert_rule(
        &mut self,
        stream: &Stream,
        name: &str,
        spec: &ImportRuleSpec,
        is_paused: bool,
        actor: &Actor,
    ) -> Result<()> {
        let repository = check(spec)?;
        self.check_reference("repository", &repository, spec.insecure == 1, actor).await?;
        let (rules,): (i64,) = sqlx::query_as("select count(*) from import_rules where stream_id = $1")
            .bind(&stream.id)
            .fetch_one(&mut **self)
            .await?;
        if rules >= AT_MOST {
            return Err(Error::invalid(
                "name",
                format!("a stream has at most {AT_MOST} import rules: delete one first"),
            ));
        }
        let object = format!("{} import rule {name}", stream.name);
        let version = self.record_rule("import-rule.create", &stream.project, &object, Some(spec), actor).await?;
        let insert = sqlx::query(
            "insert into import_rules (id, repository, pattern_kind, pattern, tag_order, newest, insecure, import_mode, reference_policy, \
             interval_ms, listing_interval_ms, stream_id, name, paused_at, created_at, created_by, version, next_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $15)",
        );
        bind_spec(insert.bind(new_id()), spec)
            .bind(&stream.id)
            .bind(name)
            .bind(is_paused.then(now))
            .bind(now())
            .bind(&actor.name)
            .bind(version)
            .execute(&mut **self)
            .await?;
        self.wake(Controller::ImportRules);
        self.mark_stream_of_rule(stream, name, version).await
    }

    /// Sets all of a rule but its name.
    pub(in crate::server::store) async fn change_rule(
        &mut self,
        stream: &Stream,
        before: &ImportRule,
        spec: &ImportRuleSpec,
        is_paused: bool,
        actor: &Actor,
    ) -> Result<()> {
        let repository = check(spec)?;
        // What was allowed once stays so, and is no way to any other tag of that registry.
        if !before.spec.takes_the_same(spec) {
            self.check_reference("repository", &repository, spec.insecure == 1, actor).await?;
        }
        let action = match (before.paused_at.is_some(), is_paused) {
            (false, true) => "import-rule.pause",
            (true, false) => "import-rule.resume",
            _ => "import-rule.update",
        };
        let sequence = self.record_rule(action, &before.project, &before.title(), Some(spec), actor).await?;
        let earliest = before.listed_at.map_or(now(), |at| now().max(at.saturating_add(spec.listing_interval_ms)));
        let update = sqlx::query(
            "update import_rules set repository = $2, pattern_kind = $3, pattern = $4, tag_order = $5, newest = $6, insecure = $7, \
             import_mode = $8, reference_policy = $9, interval_ms = $10, listing_interval_ms = $11, paused_at = $12, version = $13, \
             next_at = $14, unapplied = case when listing > 0 then 1 else 0 end where id = $1",
        );
        bind_spec(update.bind(&before.id), spec)
            .bind(if is_paused { before.paused_at.or_else(|| Some(now())) } else { None })
            .bind(sequence)
            .bind(before.next_at.min(earliest))
            .execute(&mut **self)
            .await?;
        if !before.spec.takes_from_the_same(spec) {
            self.end_rule_failure(before, "it takes from elsewhere now", actor).await?;
            self.forget_listings(&before.id).await?;
        }
        self.wake(Controller::ImportRules);
        if before.spec.repository == spec.repository {
            return Ok(());
        }
        self.mark_stream_of_rule(stream, &before.name, sequence).await
    }

    /// Forgets a rule. The tags that it made stay as they are, and go on following.
    pub(in crate::server::store) async fn delete_rule(
        &mut self,
        stream: &Stream,
        rule: &ImportRule,
        actor: &Actor,
    ) -> Result<()> {
        self.end_rule_failure(rule, "it is deleted", actor).await?;
        let sequence = self.record_rule("import-rule.delete", &rule.project, &rule.title(), None, actor).await?;
        sqlx::query("delete from import_rules where id = $1").bind(&rule.id).execute(&mut **self).await?;
        self.mark_stream_of_rule(stream, &rule.name, sequence).await
    }

    pub(super) async fn record_rule(
        &mut self,
        action: &str,
        project: &str,
        object: &str,
        spec: Option<&ImportRuleSpec>,
        actor: &Actor,
    ) -> Result<i64> {
        let to = spec.map(told);
        let entry = Entry { action, project: Some(project), object, to: to.as_deref(), ..Entry::default() };
        self.record(actor, entry).await
    }

    async fn mark_stream_of_rule(&mut self, stream: &Stream, rule: &str, sequence: i64) -> Result<()> {
        if rule != ImportRule::OF_STREAM {
            return Ok(());
        }
        self.mark_stream(stream, sequence, true).await
    }

    /// What was listed is of another repository: begins anew.
    async fn forget_listings(&mut self, rule_id: &str) -> Result<()> {
        sqlx::query("delete from import_rule_pages where rule_id = $1").bind(rule_id).execute(&mut **self).await?;
        sqlx::query(
            "update import_rules set next_at = $2, not_before = 0, listing = 0, listed_at = null, next_page = null, pages = 0, \
             listed_tags = 0, unapplied = 0, tried_at = null, outcome = 'new', reason = null, message = null, failing_since = null, \
             failures = 0, seen = 0, fitting = 0, chosen = 0, made = 0, left_alone = 0 where id = $1",
        )
        .bind(rule_id)
        .bind(now())
        .execute(&mut **self)
        .await?;
        Ok(())
    }
}
