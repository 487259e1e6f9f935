//! Import rules: what a stream takes in of a repository in another registry. Carrying them out is in `import_rule_work`, what that does
//! to tags in `import_rule_tags`.

mod spec;
mod writes;

use spec::check;

use super::{Error, Result, Store, WriteTx, check_version};
use crate::model::{Actor, AppName, ImportRule, ImportRuleSpec, now};
use crate::server::wake::Controller;

const KIND: &str = "importrules";
/// Names that are addresses below the stream's rules.
const ADDRESSES: [&str; 2] = ["new", "dry-run"];
/// A repository is not listed twice within this time, whoever asks for it.
pub(super) const BETWEEN_REQUESTS_MS: i64 = 60_000;

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
        tx.insert_rule(&owner, &name, spec, is_paused, actor).await?;
        let rule = tx.import_rule(project, stream, &name).await?;
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
        let mut tx = self.write_tx().await?;
        let before = tx.import_rule(project, stream, name).await?;
        check_version(before.version, version)?;
        let owner = tx.stream(project, stream).await?;
        tx.change_rule(&owner, &before, spec, is_paused, actor).await?;
        let rule = tx.import_rule(project, stream, name).await?;
        tx.commit().await?;
        Ok(rule)
    }

    /// Forgets a rule. The tags that it made stay as they are, and go on following.
    pub async fn delete_import_rule(&self, project: &str, stream: &str, name: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let rule = tx.import_rule(project, stream, name).await?;
        let owner = tx.stream(project, stream).await?;
        tx.delete_rule(&owner, &rule, actor).await?;
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
    pub(super) async fn find_import_rule(
        &mut self,
        project: &str,
        stream: &str,
        name: &str,
    ) -> Result<Option<ImportRule>> {
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
        // What a rule takes does not make it what the stream as a whole takes.
        let is_spoken_for = |name: &str| ADDRESSES.contains(&name) || name == ImportRule::OF_STREAM;
        while is_spoken_for(&name) || self.find_import_rule(project, stream, &name).await?.is_some() {
            number += 1;
            name = format!("{usual}-{number}");
        }
        Ok(name)
    }
}

#[cfg(test)]
mod tests;
