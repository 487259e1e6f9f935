//! When a tag is checked, changed without changing what it follows.

use super::tag_specs::FIRST_CHECK_WITHIN_MS;
use super::{Entry, Result, WriteTx};
use crate::model::{Actor, Tag, now};
use crate::server::wake::Controller;

impl WriteTx {
    /// Changes when a tag is checked, and nothing else: what it follows stays known, so that no image is fetched again for it.
    pub(super) async fn set_schedule(
        &mut self,
        tag: &Tag,
        is_scheduled: bool,
        interval_ms: Option<i64>,
        reason: &str,
        actor: &Actor,
    ) -> Result<()> {
        let (title, source) = (tag.title(), tag.source.as_deref());
        let entry = Entry {
            action: "tag.set",
            project: Some(&tag.project),
            object: &title,
            from: source,
            to: source,
            reason: Some(reason),
            ..Entry::default()
        };
        let sequence = self.record(actor, entry).await?;
        sqlx::query("update streams set generation = generation + 1, version = $2 where id = $1")
            .bind(&tag.stream_id)
            .bind(sequence)
            .execute(&mut **self)
            .await?;
        sqlx::query("update tags set scheduled = $2, interval_ms = $3 where id = $1")
            .bind(&tag.id)
            .bind(i64::from(is_scheduled))
            .bind(interval_ms)
            .execute(&mut **self)
            .await?;
        match is_scheduled {
            true => self.plan_check(tag, interval_ms).await?,
            false => self.end_schedule(tag, reason, actor).await?,
        }
        self.wake(Controller::Imports);
        Ok(())
    }

    /// Checked at once when it was not scheduled, else no later than the new interval says.
    async fn plan_check(&mut self, tag: &Tag, interval_ms: Option<i64>) -> Result<()> {
        let within = interval_ms.unwrap_or(FIRST_CHECK_WITHIN_MS);
        let soon = if tag.scheduled == 1 { now().saturating_add(within) } else { now() };
        sqlx::query(
            "update tag_imports set overdue_at = case when next_at is null or next_at > $2 then $2 + $3 else overdue_at end, \
             next_at = case when next_at is null or next_at > $2 then $2 else next_at end where tag_id = $1",
        )
        .bind(&tag.id)
        .bind(soon)
        .bind(within)
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    /// Nobody looks any more, so that a failure would stay one for ever: it ends here, and whoever checks it at this moment has lost its
    /// lease, and records nothing.
    async fn end_schedule(&mut self, tag: &Tag, reason: &str, actor: &Actor) -> Result<()> {
        let before: Option<(String,)> = sqlx::query_as("select outcome from tag_imports where tag_id = $1")
            .bind(&tag.id)
            .fetch_optional(&mut **self)
            .await?;
        sqlx::query(
            "update tag_imports set next_at = null, overdue_at = null, lease_owner = null, lease_until = null, \
             outcome = case when outcome <> 'failed' then outcome when last_ok_at is null then 'new' else 'unchanged' end, \
             reason = null, message = null, failing_since = null, failures = 0 where tag_id = $1",
        )
        .bind(&tag.id)
        .execute(&mut **self)
        .await?;
        match before {
            Some((outcome,)) if outcome == "failed" => self.record_recovery(tag, reason, actor).await,
            _ => Ok(()),
        }
    }
}
