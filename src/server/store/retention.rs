//! What streams keep of their tags' histories: everything, unless somebody set a rule.

use super::garbage::{Moment, Preview};
use super::{Entry, Error, Result, Store, WriteTx};
use crate::model::{Actor, RetentionRule, Stream};

/// More rows than this are not worth a rule by number: such a rule goes by days.
const MAX_VERSIONS: i64 = 1000;
/// A hundred years.
const MAX_DAYS: i64 = 36_500;

impl Store {
    /// The stream's rule, if it does not keep everything.
    pub async fn find_retention(&self, stream_id: &str) -> Result<Option<RetentionRule>> {
        let rule =
            sqlx::query_as("select keep_versions, keep_days, untagged_days from retention_rules where stream_id = $1")
                .bind(stream_id)
                .fetch_optional(self.pool())
                .await?;
        Ok(rule)
    }

    /// Sets what a stream keeps. Refused when an app could not go back as far as it may any more.
    pub async fn set_retention(
        &self,
        stream: &Stream,
        rule: &RetentionRule,
        moment: &Moment,
        actor: &Actor,
    ) -> Result<()> {
        let mut tx = self.write_tx().await?;
        tx.set_retention(stream, rule, moment, actor).await?;
        tx.commit().await
    }

    /// What would go by such a rule once the grace is over, row by row. Nothing is changed; refused like the rule itself.
    pub async fn preview_retention(
        &self,
        stream: &Stream,
        rule: &RetentionRule,
        moment: &Moment,
        actor: &Actor,
    ) -> Result<Preview> {
        let mut tx = self.write_tx().await?;
        // What is rubbish already is not this rule's doing.
        tx.collect_rows(&Moment { grace_ms: 0, ..*moment }).await?;
        tx.set_retention(stream, rule, moment, actor).await?;
        tx.collect_rows(&Moment { grace_ms: 0, ..*moment }).await
    }
}

impl WriteTx {
    async fn set_retention(
        &mut self,
        stream: &Stream,
        rule: &RetentionRule,
        moment: &Moment,
        actor: &Actor,
    ) -> Result<()> {
        for (field, value, most) in [
            ("keepVersions", rule.keep_versions, MAX_VERSIONS),
            ("keepDays", rule.keep_days, MAX_DAYS),
            ("untaggedDays", rule.untagged_days, MAX_DAYS),
        ] {
            if value.is_some_and(|value| !(0..=most).contains(&value)) {
                return Err(Error::invalid(
                    field,
                    format!("must be a number from 0 to {most}, or nothing for no limit"),
                ));
            }
        }
        let before: Option<RetentionRule> =
            sqlx::query_as("select keep_versions, keep_days, untagged_days from retention_rules where stream_id = $1")
                .bind(&stream.id)
                .fetch_optional(&mut **self)
                .await?;
        sqlx::query("delete from retention_rules where stream_id = $1").bind(&stream.id).execute(&mut **self).await?;
        if !rule.keeps_all() {
            sqlx::query(
                "insert into retention_rules (stream_id, keep_versions, keep_days, untagged_days, set_by, set_at) \
                 values ($1, $2, $3, $4, $5, $6)",
            )
            .bind(&stream.id)
            .bind(rule.keep_versions)
            .bind(rule.keep_days)
            .bind(rule.untagged_days)
            .bind(&actor.name)
            .bind(moment.now)
            .execute(&mut **self)
            .await?;
        }
        let broken = self.apps_broken_by_rule(&stream.id, moment).await?;
        if !broken.is_empty() {
            let message = format!(
                "{} could not go back any more as far as it may: keep more versions or more days of {}",
                broken.join(", "),
                stream.name
            );
            return Err(Error::invalid("keepVersions", message));
        }
        let (from, to) = (before.unwrap_or_default().to_string(), rule.to_string());
        let entry = Entry {
            action: "stream.set-retention",
            project: Some(&stream.project),
            object: &stream.name,
            from: Some(&from),
            to: Some(&to),
            ..Entry::default()
        };
        self.record(actor, entry).await?;
        Ok(())
    }
}
