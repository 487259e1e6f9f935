//! Delivering notices: claimed under a lease of their target, tried until one attempt succeeds or the last one failed, and kept with every
//! attempt.

use secrecy::SecretString;

use super::notice_targets::{off, record};
use super::{Error, Result, Store, WriteTx};
use crate::model::{Actor, Notice, NoticeAttempt, NoticeState, now};
use crate::server::wake::Controller;

macro_rules! select_notice {
    ($rest:literal) => {
        concat!(
            "select n.id, n.sequence, n.kind, n.object, n.body, n.created_at, n.state, n.next_at, n.attempts, n.failures, n.ended_at, \
             n.last_answer from notices n ",
            $rest
        )
    };
}

/// A notice to be sent now, and where to.
#[derive(Debug, Clone)]
pub struct DueNotice {
    pub notice: Notice,
    pub project: String,
    pub target_id: String,
    pub url: String,
    /// `None` when it was sealed with another key than this server's.
    pub secret: Option<SecretString>,
}

impl Store {
    /// Takes the targets that wait longest, each with the notice that is due first: one at a time, so that they come in order while all
    /// goes well, and one that does not answer keeps nobody else waiting.
    pub async fn claim_notices(&self, lease_ms: i64, limit: i64) -> Result<Vec<DueNotice>> {
        if self.next_notice_at().await?.is_none_or(|at| at > now()) {
            return Ok(Vec::new());
        }
        let mut tx = self.write_tx().await?;
        let targets: Vec<(String, String, String, String)> = sqlx::query_as(
            "select t.id, p.name, t.url, t.secret from notice_targets t join projects p on p.id = t.project_id where t.off_at is null \
             and (t.lease_until is null or t.lease_until < $1) \
             and exists (select 1 from notices n where n.target_id = t.id and n.next_at <= $1) order by t.tried_at, t.id limit $2",
        )
        .bind(now())
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        let mut claimed = Vec::with_capacity(targets.len());
        for (target_id, project, url, sealed) in targets {
            let notice: Notice = sqlx::query_as(select_notice!(
                "where n.target_id = $1 and n.next_at <= $2 order by n.next_at, n.sequence limit 1"
            ))
            .bind(&target_id)
            .bind(now())
            .fetch_one(&mut *tx)
            .await?;
            sqlx::query("update notice_targets set lease_owner = $2, lease_until = $3 where id = $1")
                .bind(&target_id)
                .bind(self.owner())
                .bind(now().saturating_add(lease_ms))
                .execute(&mut *tx)
                .await?;
            let secret = self.unseal_notice_secret(&target_id, &sealed);
            claimed.push(DueNotice { notice, project, target_id, url, secret });
        }
        tx.commit().await?;
        Ok(claimed)
    }

    /// When the next notice is due, in milliseconds since the epoch.
    pub async fn next_notice_at(&self) -> Result<Option<i64>> {
        let (next,): (Option<i64>,) = sqlx::query_as(
            "select min(case when d.lease_until is not null and d.lease_until > d.next_at then d.lease_until else d.next_at end) \
             from (select t.lease_until, (select min(n.next_at) from notices n where n.target_id = t.id and n.next_at is not null) \
               as next_at from notice_targets t where t.off_at is null) d where d.next_at is not null",
        )
        .fetch_one(self.pool())
        .await?;
        Ok(next)
    }

    /// Writes what became of an attempt. `retry_at` is when to try again; without it the notice has come to its end.
    pub async fn record_attempt(
        &self,
        due: &DueNotice,
        attempt: &NoticeAttempt,
        answer: &str,
        retry_at: Option<i64>,
    ) -> Result<()> {
        let state = match (&attempt.problem, retry_at) {
            (None, _) => NoticeState::Delivered,
            (Some(_), Some(_)) => NoticeState::Waiting,
            (Some(_), None) => NoticeState::Failed,
        };
        let mut tx = self.write_tx().await?;
        // A target turned off meanwhile has had its notices dropped: that stays, unless this one did arrive.
        let numbered: Option<(i64,)> = sqlx::query_as(
            "update notices set attempts = attempts + 1, last_answer = $2, failures = case when $3 = 'delivered' then 0 else failures + 1 end, \
             state = case when $3 <> 'delivered' and state = 'dropped' then state else $3 end, \
             next_at = case when state = 'dropped' then null else $4 end, \
             ended_at = case when $3 = 'waiting' and state <> 'dropped' then null else $5 end where id = $1 returning attempts",
        )
        .bind(&due.notice.id)
        .bind(answer)
        .bind(state.as_str())
        .bind(retry_at.filter(|_| attempt.problem.is_some()))
        .bind(now())
        .fetch_optional(&mut *tx)
        .await?;
        if let Some((number,)) = numbered {
            write_attempt(&mut tx, &due.notice.id, number, attempt).await?;
        }
        sqlx::query(
            "update notice_targets set lease_owner = null, lease_until = null, tried_at = $2, tried_id = $3 \
             where id = $1 and lease_owner = $4",
        )
        .bind(&due.target_id)
        .bind(now())
        .bind(&due.notice.id)
        .bind(self.owner())
        .execute(&mut *tx)
        .await?;
        tx.touch(&due.project);
        tx.commit().await
    }

    /// Sends a notice again, with the id it has.
    pub async fn resend_notice(&self, project: &str, target: &str, id: &str, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let found = tx.notice_target(project, target).await?;
        if found.off_at.is_some() {
            return Err(off(target));
        }
        let asked = sqlx::query(
            "update notices set state = 'waiting', next_at = $3, failures = 0, ended_at = null where id = $2 and target_id = $1",
        )
        .bind(&found.id)
        .bind(id)
        .bind(now())
        .execute(&mut *tx)
        .await?
        .rows_affected();
        if asked == 0 {
            return Err(Error::not_found("notice deliveries", id));
        }
        record(&mut tx, "notice.resend", project, target, Some(id), actor).await?;
        tx.wake(Controller::Notices);
        tx.commit().await
    }

    /// A target's notices, newest first, of rows before `before`.
    pub async fn list_notices(&self, target_id: &str, before: Option<i64>, limit: i64) -> Result<Vec<Notice>> {
        let notices = sqlx::query_as(select_notice!(
            "where n.target_id = $1 and n.sequence < $2 order by n.sequence desc limit $3"
        ))
        .bind(target_id)
        .bind(before.unwrap_or(i64::MAX))
        .bind(limit)
        .fetch_all(self.pool())
        .await?;
        Ok(notices)
    }

    /// One of a target's notices, and every attempt to deliver it, the last first.
    pub async fn load_notice(&self, target_id: &str, id: &str) -> Result<(Notice, Vec<NoticeAttempt>)> {
        let notice: Option<Notice> = sqlx::query_as(select_notice!("where n.target_id = $1 and n.id = $2"))
            .bind(target_id)
            .bind(id)
            .fetch_optional(self.pool())
            .await?;
        let notice = notice.ok_or_else(|| Error::not_found("notice deliveries", id))?;
        let attempts = sqlx::query_as(
            "select number, at, duration_ms, request, status, response, problem from notice_attempts where notice_id = $1 \
             order by number desc limit 200",
        )
        .bind(id)
        .fetch_all(self.pool())
        .await?;
        Ok((notice, attempts))
    }

    /// Forgets notices that came to their end so long ago.
    pub async fn tidy_notices(&self, keep_ms: i64) -> Result<u64> {
        let _turn = self.turn().await;
        let gone =
            sqlx::query("delete from notices where ended_at < $1").bind(now() - keep_ms).execute(self.pool()).await?;
        Ok(gone.rows_affected())
    }
}

async fn write_attempt(tx: &mut WriteTx, notice_id: &str, number: i64, attempt: &NoticeAttempt) -> Result<()> {
    sqlx::query(
        "insert into notice_attempts (notice_id, number, at, duration_ms, request, status, response, problem) \
         values ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(notice_id)
    .bind(number)
    .bind(attempt.at)
    .bind(attempt.duration_ms)
    .bind(&attempt.request)
    .bind(attempt.status)
    .bind(attempt.response.as_deref())
    .bind(attempt.problem.as_deref())
    .execute(&mut **tx)
    .await?;
    Ok(())
}
