//! When a tag is checked, changed without changing what it follows: by whom it is for, and for all tags at the start of a server that was
//! configured otherwise before.

use super::tag_specs::FIRST_CHECK_WITHIN_MS;
use super::{Entry, Result, Store, WriteTx};
use crate::model::{Actor, Tag, now};
use crate::server::wake::Controller;

/// Tags on a schedule whose images are known as their spec has them now: what plans their next check is the schedule alone.
macro_rules! settled {
    () => {
        "lease_until is null and requested_at is null and found_at is null and outcome in ('ok', 'unchanged', 'failed') \
         and exists (select 1 from tags t where t.id = tag_imports.tag_id and t.scheduled = 1 and t.deleted_at is null \
           and t.generation = tag_imports.generation)"
    };
}

impl Store {
    /// Lets the plans of checks be those of a server that checks so often, or, at zero, only when somebody asks. What stands still although
    /// it is scheduled goes on; images by digest cannot change once they are here.
    pub async fn begin_schedule(&self, interval_ms: i64) -> Result<()> {
        let mut tx = self.write_tx().await?;
        match interval_ms {
            0 => {
                sqlx::query(concat!(
                    "update tag_imports set next_at = null, overdue_at = null where next_at is not null and ",
                    settled!()
                ))
                .execute(&mut *tx)
                .await?;
            }
            within => {
                sqlx::query(concat!(
                    "update tag_imports set next_at = $1, overdue_at = $2 where next_at is null and ",
                    settled!(),
                    " and (outcome = 'failed' or exists (select 1 from tags t where t.id = tag_imports.tag_id and t.source not like '%@%'))"
                ))
                .bind(now())
                .bind(now().saturating_add(within))
                .execute(&mut *tx)
                .await?;
            }
        }
        tx.wake(Controller::Imports);
        tx.commit_soon().await
    }
}

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

    /// Checked at once when it was not scheduled, else no later than the new interval says; not at all on a server without a schedule.
    async fn plan_check(&mut self, tag: &Tag, interval_ms: Option<i64>) -> Result<()> {
        if !self.schedules {
            return Ok(());
        }
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
