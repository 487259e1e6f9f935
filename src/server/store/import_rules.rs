//! Import rules: what a stream takes in of a repository in another registry. Carrying them out is in `import_rule_work`, what that does
//! to tags in `import_rule_tags`.

mod spec;

use spec::{bind_spec, check, told};

use super::{Entry, Error, Result, Store, WriteTx, check_version, new_id};
use crate::model::{Actor, AppName, ImportRule, ImportRuleSpec, now};
use crate::server::wake::Controller;

const KIND: &str = "importrules";
/// The most rules of a stream: each of them lists a repository.
const AT_MOST: i64 = 20;
/// Names that are addresses below the stream's rules.
const ADDRESSES: [&str; 2] = ["new", "dry-run"];
/// A repository is not listed twice within this time, whoever asks for it.
const BETWEEN_REQUESTS_MS: i64 = 60_000;

macro_rules! select_rule {
    ($rest:literal) => {
        concat!(
            "select r.id, r.stream_id, p.name as project, s.name as stream, r.name, r.repository, r.pattern_kind, r.pattern, r.tag_order, \
             r.newest, r.insecure, r.import_mode, r.reference_policy, r.interval_ms, r.listing_interval_ms, r.paused_at, r.created_at, \
             r.created_by, r.version, r.next_at, r.not_before, r.requested_at, r.requested_by, r.listing, r.listed_at, r.next_page, \
             r.began_at, r.pages, r.listed_tags, r.unapplied, r.tried_at, r.outcome, r.reason, r.message, r.failing_since, r.failures, r.seen, \
             r.fitting, r.chosen, r.made, r.left_alone \
             from import_rules r join streams s on s.id = r.stream_id join projects p on p.id = s.project_id ",
            $rest
        )
    };
}
pub(super) use select_rule;

impl Store {
    /// Rules of a project whose last listing failed, those that fail longest first.
    pub async fn list_failing_import_rules(&self, project_id: &str, limit: i64) -> Result<Vec<ImportRule>> {
        let rules = sqlx::query_as(select_rule!(
            "where s.project_id = $1 and r.failing_since is not null order by r.failing_since, r.id limit $2"
        ))
        .bind(project_id)
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(rules)
    }

    /// Refuses a rule that can never work as written, or takes from where this actor may not. One that takes what the one before it took
    /// stays as it is.
    pub async fn check_import_rule(
        &self,
        spec: &ImportRuleSpec,
        before: Option<&ImportRuleSpec>,
        actor: &Actor,
    ) -> Result<()> {
        let repository = check(spec)?;
        if before.is_some_and(|before| before.takes_the_same(spec)) {
            return Ok(());
        }
        self.check_registry("repository", &repository, spec.insecure == 1, actor).await
    }

    /// Makes a rule; without a name one is made from its pattern. It is listed at once.
    pub async fn create_import_rule(
        &self,
        project: &str,
        stream: &str,
        name: Option<&AppName>,
        spec: &ImportRuleSpec,
        is_paused: bool,
        actor: &Actor,
    ) -> Result<ImportRule> {
        self.check_import_rule(spec, None, actor).await?;
        let mut tx = self.write_tx().await?;
        let owner = tx.stream(project, stream).await?;
        let name = match name {
            Some(name) if ADDRESSES.contains(&name.as_str()) => {
                return Err(Error::invalid(
                    "name",
                    format!("{name} is an address of its own here: choose another name"),
                ));
            }
            Some(name) if tx.find_import_rule(project, stream, name.as_str()).await?.is_some() => {
                return Err(Error::Exists { kind: KIND, name: name.to_string() });
            }
            Some(name) => name.to_string(),
            None => tx.free_rule_name(project, stream, spec).await?,
        };
        let (rules,): (i64,) = sqlx::query_as("select count(*) from import_rules where stream_id = $1")
            .bind(&owner.id)
            .fetch_one(&mut *tx)
            .await?;
        if rules >= AT_MOST {
            return Err(Error::invalid(
                "name",
                format!("a stream has at most {AT_MOST} import rules: delete one first"),
            ));
        }
        let id = new_id();
        let object = format!("{stream} import rule {name}");
        let version = tx.record_rule("import-rule.create", project, &object, Some(spec), actor).await?;
        let insert = sqlx::query(
            "insert into import_rules (id, repository, pattern_kind, pattern, tag_order, newest, insecure, import_mode, reference_policy, \
             interval_ms, listing_interval_ms, stream_id, name, paused_at, created_at, created_by, version, next_at) \
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $15)",
        );
        bind_spec(insert.bind(&id), spec)
            .bind(&owner.id)
            .bind(&name)
            .bind(is_paused.then(now))
            .bind(now())
            .bind(&actor.name)
            .bind(version)
            .execute(&mut *tx)
            .await?;
        let rule = tx.import_rule(project, stream, &name).await?;
        tx.wake(Controller::ImportRules);
        tx.commit().await?;
        Ok(rule)
    }

    /// Changes a rule. Its tags follow as soon as that is read, from the last listing; another repository is listed at once.
    #[expect(
        clippy::too_many_arguments,
        reason = "each of them is told by its type, and they are all that a change consists of"
    )]
    pub async fn update_import_rule(
        &self,
        project: &str,
        stream: &str,
        name: &str,
        spec: &ImportRuleSpec,
        is_paused: bool,
        version: Option<i64>,
        actor: &Actor,
    ) -> Result<ImportRule> {
        let repository = check(spec)?;
        let mut tx = self.write_tx().await?;
        let before = tx.import_rule(project, stream, name).await?;
        check_version(before.version, version)?;
        // What was allowed once stays so, and is no way to any other tag of that registry.
        if !before.spec.takes_the_same(spec) {
            tx.check_reference("repository", &repository, spec.insecure == 1, actor).await?;
        }
        let action = match (before.paused_at.is_some(), is_paused) {
            (false, true) => "import-rule.pause",
            (true, false) => "import-rule.resume",
            _ => "import-rule.update",
        };
        let sequence = tx.record_rule(action, project, &before.title(), Some(spec), actor).await?;
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
            .execute(&mut *tx)
            .await?;
        if !before.spec.takes_from_the_same(spec) {
            tx.end_rule_failure(&before, "it takes from elsewhere now", actor).await?;
            tx.forget_listings(&before.id).await?;
        }
        let rule = tx.import_rule(project, stream, name).await?;
        tx.wake(Controller::ImportRules);
        tx.commit().await?;
        Ok(rule)
    }

    /// Forgets a rule. The tags that it made stay as they are, and go on following.
    pub async fn delete_import_rule(&self, project: &str, stream: &str, name: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let rule = tx.import_rule(project, stream, name).await?;
        tx.end_rule_failure(&rule, "it is deleted", actor).await?;
        tx.record_rule("import-rule.delete", project, &rule.title(), None, actor).await?;
        sqlx::query("delete from import_rules where id = $1").bind(&rule.id).execute(&mut *tx).await?;
        tx.commit().await
    }

    /// Somebody wants the repository listed now: as soon as its registry may be asked, and it was not listed a moment ago.
    pub async fn request_listing(&self, project: &str, stream: &str, name: &str, actor: &Actor) -> Result<ImportRule> {
        let mut tx = self.write_tx().await?;
        let rule = tx.import_rule(project, stream, name).await?;
        if rule.paused_at.is_some() {
            return Err(Error::Conflict(format!("the import rule {name} is paused: resume it first")));
        }
        tx.record_rule("import-rule.request", project, &rule.title(), None, actor).await?;
        // The rest of its registry may be over earlier than the rule has noted: whoever asks there knows.
        let not_before = rule.tried_at.map_or(0, |at| at.saturating_add(BETWEEN_REQUESTS_MS));
        sqlx::query("update import_rules set requested_at = $2, requested_by = $3, not_before = $4 where id = $1")
            .bind(&rule.id)
            .bind(now())
            .bind(&actor.name)
            .bind(not_before)
            .execute(&mut *tx)
            .await?;
        let rule = tx.import_rule(project, stream, name).await?;
        tx.wake(Controller::ImportRules);
        tx.commit().await?;
        Ok(rule)
    }

    /// A stream's rules by name.
    pub async fn list_import_rules(&self, stream_id: &str) -> Result<Vec<ImportRule>> {
        let rules = sqlx::query_as(select_rule!("where r.stream_id = $1 order by r.name"))
            .bind(stream_id)
            .fetch_all(self.pool())
            .await?;
        Ok(rules)
    }

    /// A rule by name, if there is one.
    pub async fn find_import_rule(&self, project: &str, stream: &str, name: &str) -> Result<Option<ImportRule>> {
        let rule = sqlx::query_as(select_rule!("where p.name = $1 and s.name = $2 and r.name = $3"))
            .bind(project)
            .bind(stream)
            .bind(name)
            .fetch_optional(self.pool())
            .await?;
        Ok(rule)
    }

    /// A rule by name, or an error that says it is not there.
    pub async fn load_import_rule(&self, project: &str, stream: &str, name: &str) -> Result<ImportRule> {
        self.find_import_rule(project, stream, name).await?.ok_or_else(|| Error::not_found(KIND, name))
    }
}

impl WriteTx {
    async fn find_import_rule(&mut self, project: &str, stream: &str, name: &str) -> Result<Option<ImportRule>> {
        let rule = sqlx::query_as(select_rule!("where p.name = $1 and s.name = $2 and r.name = $3"))
            .bind(project)
            .bind(stream)
            .bind(name)
            .fetch_optional(&mut **self)
            .await?;
        Ok(rule)
    }

    async fn import_rule(&mut self, project: &str, stream: &str, name: &str) -> Result<ImportRule> {
        self.find_import_rule(project, stream, name).await?.ok_or_else(|| Error::not_found(KIND, name))
    }

    /// The usual name of such a rule, with a number when there is one of that name.
    async fn free_rule_name(&mut self, project: &str, stream: &str, spec: &ImportRuleSpec) -> Result<String> {
        let usual = spec.usual_name();
        let mut name = usual.clone();
        let mut number = 1;
        while ADDRESSES.contains(&name.as_str()) || self.find_import_rule(project, stream, &name).await?.is_some() {
            number += 1;
            name = format!("{usual}-{number}");
        }
        Ok(name)
    }

    async fn record_rule(
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

#[cfg(test)]
mod tests;
