//! Cool-downs: what is new in another registry waits here until it is old enough for the tag that follows it.
//!
//! ```text
//!   found ──> waits, since it was seen here first ──> old enough ──> passes, by its digest
//!               │   └── replaced there meanwhile: waits on behind what replaced it, and passes only when nothing has for
//!               │       two cool-downs
//!               └── the source means again what the tag has: waits no more
//! ```
//!
//! What an image says of its own age counts for nothing. Nothing is fetched before it passes: what was withdrawn meanwhile never comes.

use super::{DueImport, Entry, Error, Result, Store, TAG_PRECONDITION, WriteTx};
use crate::model::{Actor, now};
use crate::server::wake::Controller;

/// So many replaced ones wait behind the newest. Of more, the one that came last before the newest goes: the oldest and the newest stay.
const REPLACED_AT_MOST: i64 = 16;
/// After so many cool-downs in which nothing passed, what was replaced there passes, too.
const SHUT_FOR_AT_MOST: i64 = 2;

/// What may come of a digest that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// The tag has it already.
    Had,
    /// Whatever the source means is taken over.
    Open,
    /// This one is taken over, whatever the source means by now; `by`: who said that it need not wait.
    Only { digest: String, by: Option<String> },
    /// Nothing yet.
    Shut,
}

/// One that waits.
#[derive(sqlx::FromRow)]
struct Waiting {
    digest: String,
    first_seen_at: i64,
    adopt_by: Option<String>,
}

impl Store {
    /// Whether what a check found may be taken over now; notes when it was seen first, if it may not.
    pub async fn pass(&self, due: &DueImport, found: &str) -> Result<Passage> {
        let (tag, import) = (&due.tag, &due.import);
        let cool_down = tag.cool_down_ms.unwrap_or(0);
        let is_first = tag.digest.is_none() || import.passed_digest.is_none();
        if (cool_down == 0 && import.cooling_digest.is_none()) || is_first {
            return Ok(Passage::Open);
        }
        let mut tx = self.write_tx().await?;
        tx.check_claim(due, self.owner()).await?;
        let this_one = || Passage::Only { digest: found.to_owned(), by: None };
        if import.passed_digest.as_deref() == Some(found) {
            tx.end_cool_down(&tag.id).await?;
            tx.touch(&tag.project);
            tx.commit_soon().await?;
            // Of another mode the same digest is another image.
            return Ok(if import.generation == tag.generation { Passage::Had } else { this_one() });
        }
        if cool_down == 0 {
            return Ok(Passage::Open);
        }
        // A rejected image is refused by the tag, and what the tag points to changes nothing: neither has to wait.
        if tag.digest.as_deref() == Some(found) || tx.is_rejected(&tag.id, found).await? {
            return Ok(this_one());
        }
        let is_news = tx.note_seen(&tag.id, found).await?;
        let waiting = tx.waiting(&tag.id).await?;
        if is_news {
            tx.touch(&tag.project);
            // Its age counts from here: it has to last.
            tx.commit().await?;
        }
        Ok(choose(waiting, found, cool_down, now()))
    }

    /// Forgets one that was replaced and cannot be had any more.
    pub async fn forget_waiting(&self, tag_id: &str, digest: &str) -> Result<()> {
        let mut tx = self.write_tx().await?;
        sqlx::query("delete from cooling_digests where tag_id = $1 and digest = $2")
            .bind(tag_id)
            .bind(digest)
            .execute(&mut *tx)
            .await?;
        tx.commit_soon().await
    }

    /// Lets what waits for a tag's cool-down pass now: the newest one, which must be `seen` if that is given. It is fetched at once.
    pub async fn adopt_now(
        &self,
        project: &str,
        stream: &str,
        tag: &str,
        seen: Option<&str>,
        actor: &Actor,
    ) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let tag = tx.live_tag(project, stream, tag).await?;
        let newest = tx.waiting(&tag.id).await?.into_iter().next();
        let Some(newest) = newest else {
            return Err(Error::Conflict(format!("nothing waits for the cool-down of {}", tag.title())));
        };
        if seen.is_some_and(|seen| seen != newest.digest) {
            return Err(Error::Conflict(format!(
                "something newer waits for the cool-down of {} by now: {}; look at it and decide again",
                tag.title(),
                newest.digest
            )));
        }
        sqlx::query("update cooling_digests set adopt_by = $3 where tag_id = $1 and digest = $2")
            .bind(&tag.id)
            .bind(&newest.digest)
            .bind(&actor.name)
            .execute(&mut *tx)
            .await?;
        tx.want_check(&tag, actor).await?;
        let entry = Entry {
            action: "import.adopt-now",
            project: Some(project),
            object: &tag.title(),
            from: tag.digest.as_deref(),
            to: Some(&newest.digest),
            ..Entry::default()
        };
        tx.record(actor, entry).await?;
        tx.wake(Controller::Imports);
        tx.commit().await
    }
}

/// Of those that wait, the newest first, the one that may pass.
fn choose(waiting: Vec<Waiting>, found: &str, cool_down: i64, now: i64) -> Passage {
    let is_old = |one: &Waiting, times: i64| one.first_seen_at.saturating_add(cool_down.saturating_mul(times)) <= now;
    let is_shut_for_long = waiting.last().is_some_and(|oldest| is_old(oldest, SHUT_FOR_AT_MOST));
    let may_pass =
        |one: &Waiting| one.adopt_by.is_some() || (is_old(one, 1) && (one.digest == found || is_shut_for_long));
    match waiting.into_iter().find(may_pass) {
        Some(Waiting { digest, adopt_by, .. }) => Passage::Only { digest, by: adopt_by },
        None => Passage::Shut,
    }
}

impl WriteTx {
    /// Refuses, with [`TAG_PRECONDITION`], a check whose tag was changed or deleted meanwhile, or taken over by another server.
    async fn check_claim(&mut self, due: &DueImport, owner: &str) -> Result<()> {
        let generation: Option<(i64,)> = sqlx::query_as(
            "select t.generation from tag_imports i join tags t on t.id = i.tag_id where i.tag_id = $1 and i.lease_owner = $2",
        )
        .bind(&due.tag.id)
        .bind(owner)
        .fetch_optional(&mut **self)
        .await?;
        if generation == Some((due.tag.generation,)) {
            return Ok(());
        }
        let message = format!("{} was changed or deleted since it was looked up", due.tag.title());
        Err(Error::invalid(TAG_PRECONDITION, message))
    }

    /// Notes a digest that has to wait; false when it waits already, as the newest. What came after one that the source goes back to waits
    /// no more.
    async fn note_seen(&mut self, tag_id: &str, digest: &str) -> Result<bool> {
        let noted = sqlx::query(
            "insert into cooling_digests (tag_id, digest, first_seen_at) values ($1, $2, $3) on conflict (tag_id, digest) do nothing",
        )
        .bind(tag_id)
        .bind(digest)
        .bind(now())
        .execute(&mut **self)
        .await?
        .rows_affected();
        if noted == 0 {
            let taken_back = sqlx::query(
                "delete from cooling_digests where tag_id = $1 and first_seen_at > (select w.first_seen_at from cooling_digests w \
                 where w.tag_id = $1 and w.digest = $2)",
            )
            .bind(tag_id)
            .bind(digest)
            .execute(&mut **self)
            .await?;
            return Ok(taken_back.rows_affected() > 0);
        }
        sqlx::query(
            "delete from cooling_digests where tag_id = $1 and digest in (select digest from cooling_digests where tag_id = $1 \
             and adopt_by is null and $2 < (select count(*) from cooling_digests where tag_id = $1) - 1 \
             order by first_seen_at desc, digest desc limit 1 offset 1)",
        )
        .bind(tag_id)
        .bind(REPLACED_AT_MOST)
        .execute(&mut **self)
        .await?;
        Ok(true)
    }

    /// What waits for a tag's cool-down, the newest first.
    async fn waiting(&mut self, tag_id: &str) -> Result<Vec<Waiting>> {
        let waiting = sqlx::query_as(
            "select digest, first_seen_at, adopt_by from cooling_digests where tag_id = $1 order by first_seen_at desc, digest desc",
        )
        .bind(tag_id)
        .fetch_all(&mut **self)
        .await?;
        Ok(waiting)
    }

    /// A digest passed: what waited no longer than it does so no more.
    pub(super) async fn note_passed(&mut self, tag_id: &str, digest: &str) -> Result<()> {
        sqlx::query("update tag_imports set passed_digest = $2 where tag_id = $1")
            .bind(tag_id)
            .bind(digest)
            .execute(&mut **self)
            .await?;
        sqlx::query(
            "delete from cooling_digests where tag_id = $1 and first_seen_at <= coalesce((select w.first_seen_at from cooling_digests w \
             where w.tag_id = $1 and w.digest = $2), $3)",
        )
        .bind(tag_id)
        .bind(digest)
        .bind(i64::MAX)
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    /// When the newest of what waits is old enough, if that is still to come.
    pub(super) async fn next_passage_at(&mut self, tag_id: &str) -> Result<Option<i64>> {
        let newest: Option<(i64,)> = sqlx::query_as(
            "select w.first_seen_at + coalesce(t.cool_down_ms, 0) from cooling_digests w join tags t on t.id = w.tag_id \
             where w.tag_id = $1 order by w.first_seen_at desc limit 1",
        )
        .bind(tag_id)
        .fetch_optional(&mut **self)
        .await?;
        Ok(newest.map(|(at,)| at).filter(|at| *at > now()))
    }

    /// The tag follows something else: nothing of what it followed waits, and what it follows now is taken over at once.
    pub(super) async fn begin_anew(&mut self, tag_id: &str) -> Result<()> {
        sqlx::query("update tag_imports set passed_digest = null where tag_id = $1")
            .bind(tag_id)
            .execute(&mut **self)
            .await?;
        self.end_cool_down(tag_id).await
    }

    async fn end_cool_down(&mut self, tag_id: &str) -> Result<()> {
        sqlx::query("delete from cooling_digests where tag_id = $1").bind(tag_id).execute(&mut **self).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
