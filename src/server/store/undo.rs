//! What people do to a whole cascade: undo it, stop it, pause it. Undoing puts every tag and app that it moved back, with digests that exist,
//! in one transaction and without builds.

use std::collections::{BTreeMap, BTreeSet};

use super::builds::select_build;
use super::moves::Move;
use super::rollouts::RolloutRequest;
use super::{Error, Result, Store, WriteTx, new_id};
use crate::model::{Actor, Build, Cascade, EventKind, Outcome, now};
use crate::server::wake::Controller;

/// What an undo put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undone {
    /// Number of the cascade that put things back.
    pub cascade: i64,
    pub tags: usize,
    pub apps: usize,
}

impl Store {
    /// Puts every tag and app that a cascade moved back to where it was, without builds. What somebody moved since stays.
    pub async fn undo_cascade(&self, project: &str, number: i64, actor: &Actor) -> Result<Undone> {
        let mut tx = self.write_tx().await?;
        let cascade = tx.cascade(project, number).await?;
        if cascade.undone_at.is_some() {
            return Err(Error::Conflict(format!("cascade {number} is undone already")));
        }
        let undoing = new_id();
        let note = tx.reason_in_freeze(&cascade.project_id, None).await?;
        let reason = format!("undo of cascade {number}");
        let reason = tx.reason_in_freeze(&cascade.project_id, Some(&reason)).await?.unwrap_or_default();
        let root = tx.record_cascade("cascade.undo", project, number, &undoing, note.as_deref(), actor).await?;
        tx.open_cascade(&undoing, &cascade.project_id, &format!("Undo: {}", cascade.title), "restore", root, actor)
            .await?;
        sqlx::query("update cascades set undoes = $2 where id = $1")
            .bind(&undoing)
            .bind(&cascade.id)
            .execute(&mut *tx)
            .await?;
        tx.stop_builds_of(&cascade, actor).await?;
        tx.lift_decisions_of(&cascade, actor).await?;
        let tags = tx.put_tags_back(&cascade, &undoing, &reason, root, actor).await?;
        let apps = tx.put_apps_back(&cascade, &undoing, &reason, root, actor).await?;
        sqlx::query("update cascades set undone_at = $2, undone_by = $3 where id = $1")
            .bind(&cascade.id)
            .bind(now())
            .bind(&actor.name)
            .execute(&mut *tx)
            .await?;
        let (number,): (i64,) =
            sqlx::query_as("select number from cascades where id = $1").bind(&undoing).fetch_one(&mut *tx).await?;
        tx.wake(Controller::Triggers);
        tx.commit().await?;
        Ok(Undone { cascade: number, tags, apps })
    }

    /// Stops a cascade: queued and running builds are cancelled, what it would still start does not start. What it did stays.
    pub async fn cancel_cascade(&self, project: &str, number: i64, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let cascade = tx.cascade(project, number).await?;
        tx.record_cascade("cascade.cancel", project, number, &cascade.id, None, actor).await?;
        tx.stop_builds_of(&cascade, actor).await?;
        let moved: Vec<(String,)> = sqlx::query_as(
            "select distinct e.tag_id from tag_events e join tags t on t.id = e.tag_id and t.event_sequence = e.sequence \
             where e.cascade_id = $1",
        )
        .bind(&cascade.id)
        .fetch_all(&mut *tx)
        .await?;
        let fed = tx.configs_fed_by(&moved.into_iter().map(|(id,)| id).collect()).await?;
        tx.settle_configs(&fed, &cascade.id).await?;
        sqlx::query("update cascades set cancelled_at = $2, paused_at = null where id = $1")
            .bind(&cascade.id)
            .bind(now())
            .execute(&mut *tx)
            .await?;
        tx.commit().await
    }

    /// Pauses or resumes a cascade: while paused none of its queued builds starts, and no app takes what it moved.
    pub async fn pause_cascade(&self, project: &str, number: i64, paused: bool, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let cascade = tx.cascade(project, number).await?;
        let action = if paused { "cascade.pause" } else { "cascade.resume" };
        tx.record_cascade(action, project, number, &cascade.id, None, actor).await?;
        sqlx::query("update cascades set paused_at = $2 where id = $1")
            .bind(&cascade.id)
            .bind(paused.then(now))
            .execute(&mut *tx)
            .await?;
        tx.wake(Controller::Builds);
        tx.commit().await
    }
}

impl WriteTx {
    pub(super) async fn cascade(&mut self, project: &str, number: i64) -> Result<Cascade> {
        sqlx::query_as(
            "select k.id, k.project_id, k.number, k.title, k.root_sequence, k.kind, k.actor_kind, k.actor, k.created_at, k.paused_at, \
             k.cancelled_at, k.undone_at, k.undone_by, k.undoes from cascades k join projects p on p.id = k.project_id \
             where p.name = $1 and k.number = $2",
        )
        .bind(project)
        .bind(number)
        .fetch_optional(&mut **self)
        .await?
        .ok_or_else(|| Error::not_found("cascades", number.to_string()))
    }

    async fn stop_builds_of(&mut self, cascade: &Cascade, actor: &Actor) -> Result<()> {
        let builds: Vec<Build> = sqlx::query_as(select_build!(
            "where b.cascade_id = $1 and b.phase in ('New', 'Pending', 'Running') order by b.sequence"
        ))
        .bind(&cascade.id)
        .fetch_all(&mut **self)
        .await?;
        for build in builds {
            self.cancel(&build, actor).await?;
        }
        Ok(())
    }

    /// Holds and rejected digests that the cascade made end with it.
    async fn lift_decisions_of(&mut self, cascade: &Cascade, actor: &Actor) -> Result<()> {
        self.end_holds_of(&cascade.id, actor).await?;
        sqlx::query(
            "update rejected_digests set ended_at = $2, ended_by = $3 where cascade_id = $1 and ended_at is null",
        )
        .bind(&cascade.id)
        .bind(now())
        .bind(&actor.name)
        .execute(&mut **self)
        .await?;
        Ok(())
    }

    async fn put_tags_back(
        &mut self,
        cascade: &Cascade,
        undoing: &str,
        reason: &str,
        cause: i64,
        actor: &Actor,
    ) -> Result<usize> {
        let events: Vec<(String, i64, Option<String>)> = sqlx::query_as(
            "select tag_id, sequence, from_digest from tag_events where cascade_id = $1 and outcome = 'moved' order by sequence desc",
        )
        .bind(&cascade.id)
        .fetch_all(&mut **self)
        .await?;
        // The rows come newest first: the first of a tag is its last move in the cascade, the last one tells where it came from.
        let mut last: BTreeMap<String, i64> = BTreeMap::new();
        let mut before: Vec<(String, i64, Option<String>)> = Vec::new();
        for (tag, sequence, from) in events {
            last.entry(tag.clone()).or_insert(sequence);
            before.retain(|(other, ..)| *other != tag);
            before.push((tag, sequence, from));
        }
        let mut moved = BTreeSet::new();
        for (tag_id, first, from) in before {
            let tag = self.tag_by_id(&tag_id).await?;
            // To delete a tag is a word about it, too.
            let is_there = tag.deleted_at.is_none() && tag.event_sequence == last.get(&tag_id).copied();
            let Some(from) = from.filter(|_| is_there) else { continue };
            let row: Option<(i64, String)> = sqlx::query_as(
                "select sequence, reference from tag_events where tag_id = $1 and digest = $2 and sequence < $3 and outcome = 'moved' \
                 order by sequence desc limit 1",
            )
            .bind(&tag_id)
            .bind(&from)
            .bind(first)
            .fetch_optional(&mut **self)
            .await?;
            let Some((to, reference)) = row else { continue };
            self.check_image_is_here(&from, &tag.title()).await?;
            let movement = Move {
                reason: Some(reason),
                cause: Some(cause),
                cascade: Some(undoing),
                to_sequence: Some(to),
                ..Move::new(EventKind::Restore, &from, &reference, actor)
            };
            if self.move_tag(&tag, &movement).await?.outcome == Outcome::Moved {
                moved.insert(tag_id);
            }
        }
        let fed = self.configs_fed_by(&moved).await?;
        self.settle_configs(&fed, undoing).await?;
        Ok(moved.len())
    }

    async fn put_apps_back(
        &mut self,
        cascade: &Cascade,
        undoing: &str,
        reason: &str,
        cause: i64,
        actor: &Actor,
    ) -> Result<usize> {
        let apps: Vec<(String, i64, i64)> = sqlx::query_as(
            "select app_id, min(number), max(number) from rollouts where cascade_id = $1 group by app_id order by app_id",
        )
        .bind(&cascade.id)
        .fetch_all(&mut **self)
        .await?;
        let mut count = 0;
        for (app_id, first, last) in apps {
            let app = self.app_by_id(&app_id).await?;
            let before = self.rollout(&app_id, first - 1).await?;
            let (Some(before), true, None) = (before, app.last_number == last, app.deleted_at) else { continue };
            if Some(&before.digest) == app.wanted_digest.as_ref() {
                continue;
            }
            self.check_image_is_here(&before.digest, &format!("{} rollout #{}", app.name, before.number)).await?;
            let request = RolloutRequest {
                kind: "restore",
                digest: before.digest.clone(),
                repository: before.repository.clone(),
                spec: app.spec.clone(),
                to_number: Some(before.number),
                actor: actor.clone(),
                reason: Some(reason),
                cause: Some(cause),
                cascade: Some(undoing.to_owned()),
            };
            self.request_rollout(&app, request).await?;
            count += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
