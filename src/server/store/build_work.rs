//! What workers do with builds: claim them, write down how far they are, and end them; and what becomes of those that lost theirs.

use super::builds::{BuildRequest, resolve, select_build};
use super::members::has_any_role;
use super::{Entry, Result, Store, WriteTx};
use crate::model::{Actor, ActorKind, Build, BuildPhase, BuildStep, NewConfigInput, ResolvedInput, now};
use crate::server::wake::Controller;

/// How often a build that the system broke is tried again by itself.
const ATTEMPTS: i64 = 3;

/// How a build lost its worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The server was asked to stop.
    Stop,
    /// Its process is gone, or was not heard of in time.
    Worker,
}

impl Lost {
    fn message(self) -> &'static str {
        match self {
            Self::Stop => "The server was stopped while this build ran.",
            Self::Worker => "The server ended while this build ran. What was left of the build was removed.",
        }
    }
}

/// How a build ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildEnd {
    pub phase: BuildPhase,
    pub reason: Option<String>,
    pub message: Option<String>,
    pub digest: Option<String>,
}

impl Store {
    /// Takes the oldest queued build whose config has none under way, or `None`.
    pub async fn claim_build(&self, owner: &str, lease_ms: i64) -> Result<Option<Build>> {
        let mut tx = self.write_tx().await?;
        let next: Option<(String,)> = sqlx::query_as(
            "select b.id from builds b join cascades k on k.id = b.cascade_id where b.phase = 'New' and k.paused_at is null \
             and not exists (select 1 from builds o where o.config_id = b.config_id and o.phase in ('Pending', 'Running')) \
             order by b.queued_at, b.sequence limit 1",
        )
        .fetch_optional(&mut *tx)
        .await?;
        let Some((id,)) = next else { return Ok(None) };
        sqlx::query("update builds set phase = 'Pending', lease_owner = $2, lease_until = $3 where id = $1")
            .bind(&id)
            .bind(owner)
            .bind(now() + lease_ms)
            .execute(&mut *tx)
            .await?;
        let build: Build = sqlx::query_as(select_build!("where b.id = $1")).bind(&id).fetch_one(&mut *tx).await?;
        tx.touch(&build.project);
        tx.commit().await?;
        Ok(Some(build))
    }

    /// Extends the lease. Gives false when the build must stop: it is cancelled, ended, or somebody else's.
    pub async fn renew_build(&self, id: &str, owner: &str, lease_ms: i64) -> Result<bool> {
        let renewed: Option<(i64,)> = sqlx::query_as(
            "update builds set lease_until = $3 where id = $1 and lease_owner = $2 and phase in ('Pending', 'Running') \
             returning case when cancel_requested_at is null then 1 else 0 end",
        )
        .bind(id)
        .bind(owner)
        .bind(now() + lease_ms)
        .fetch_optional(self.pool())
        .await?;
        Ok(renewed.is_some_and(|(go_on,)| go_on == 1))
    }

    /// The build runs now.
    pub async fn record_running(&self, build: &Build) -> Result<()> {
        let mut tx = self.write_tx().await?;
        sqlx::query("update builds set phase = 'Running', started_at = $2, version = version + 1 where id = $1 and phase = 'Pending'")
            .bind(&build.id)
            .bind(now())
            .execute(&mut *tx)
            .await?;
        tx.touch(&build.project);
        tx.commit().await
    }

    /// The steps so far; the commit once it is known.
    pub async fn record_progress(&self, build: &Build, steps: &[BuildStep], revision: Option<&str>) -> Result<()> {
        let mut tx = self.write_tx().await?;
        sqlx::query("update builds set steps = $2, revision = coalesce($3, revision) where id = $1")
            .bind(&build.id)
            .bind(serde_json::to_string(steps)?)
            .bind(revision)
            .execute(&mut *tx)
            .await?;
        tx.touch(&build.project);
        tx.commit().await
    }

    /// The Dockerfile takes in other images than the request knew: these are the config's inputs now, and this build uses what they point
    /// to now. Gives them resolved.
    pub async fn record_found_inputs(&self, build: &Build, found: &[NewConfigInput]) -> Result<Vec<ResolvedInput>> {
        let mut tx = self.write_tx().await?;
        tx.write_inputs(&build.config_id, found).await?;
        let config = tx.config_by_id(&build.config_id).await?;
        let inputs = tx.inputs(&build.config_id).await?;
        let resolved = resolve(&config, &inputs)?;
        tx.use_up(&config.id, &resolved).await?;
        sqlx::query("update builds set inputs = $2 where id = $1")
            .bind(&build.id)
            .bind(serde_json::to_string(&resolved)?)
            .execute(&mut *tx)
            .await?;
        tx.touch(&build.project);
        tx.commit().await?;
        Ok(resolved)
    }

    /// Appends whole lines to a build's log; each of `lines` is without its newline.
    pub async fn append_log(&self, build_id: &str, lines: &[String]) -> Result<()> {
        if lines.is_empty() {
            return Ok(());
        }
        let count = i64::try_from(lines.len()).unwrap_or(i64::MAX);
        let mut text = String::with_capacity(lines.iter().map(|line| line.len() + 1).sum());
        for line in lines {
            // PostgreSQL's text cannot hold NUL.
            text.push_str(&line.replace('\0', "\u{fffd}"));
            text.push('\n');
        }
        let mut tx = self.write_tx().await?;
        let total: (i64,) =
            sqlx::query_as("update builds set log_lines = log_lines + $2 where id = $1 returning log_lines")
                .bind(build_id)
                .bind(count)
                .fetch_one(&mut *tx)
                .await?;
        sqlx::query("insert into build_logs (build_id, first_line, lines, text) values ($1, $2, $3, $4)")
            .bind(build_id)
            .bind(total.0 - count + 1)
            .bind(count)
            .bind(text)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        self.wake().logged(build_id);
        Ok(())
    }

    /// Ends a build, once: a second end changes nothing and gives false.
    pub async fn finish_build(&self, build: &Build, end: &BuildEnd) -> Result<bool> {
        let mut tx = self.write_tx().await?;
        let ended = tx.finish(build, end, &Actor::build(build.name())).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Builds whose worker is gone: their lease ran out.
    pub async fn list_lost_builds(&self) -> Result<Vec<Build>> {
        let builds = sqlx::query_as(select_build!(
            "where b.phase in ('Pending', 'Running') and b.lease_until < $1 order by b.sequence"
        ))
        .bind(now())
        .fetch_all(self.pool())
        .await?;
        Ok(builds)
    }

    /// Ends every lease: what the only process using this database does when it starts.
    pub async fn end_all_leases(&self) -> Result<()> {
        for statement in [
            "update builds set lease_until = 0 where phase in ('Pending', 'Running')",
            "update apps set lease_owner = null, lease_until = null",
            "update tag_imports set lease_owner = null, lease_until = null",
            "update import_rules set lease_owner = null, lease_until = null",
            "update notice_targets set lease_owner = null, lease_until = null",
            "update repository_images set complete_at = null where source is not null or more_from is not null",
            "update layer_readings set lease_owner = null, lease_until = null where lease_owner is not null",
        ] {
            sqlx::query(statement).execute(self.pool()).await?;
        }
        Ok(())
    }

    /// Ends a build whose worker is gone. One whose image arrived before is complete; any other is requested again with the inputs as
    /// they are now, unless it was to be cancelled, or was lost too often and so perhaps brings its worker down.
    pub async fn give_up_build(&self, build: &Build, lost: Lost) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let arrived: Option<(String,)> =
            sqlx::query_as("select digest from tag_events where build_id = $1 order by sequence desc limit 1")
                .bind(&build.id)
                .fetch_optional(&mut *tx)
                .await?;
        let cancelled = build.cancel_requested_at.is_some();
        let (phase, reason) = match (&arrived, cancelled) {
            (Some(_), _) => (BuildPhase::Complete, None),
            (None, true) => (BuildPhase::Cancelled, Some("CancelledBuild")),
            (None, false) => (BuildPhase::Error, Some("BuildPodDeleted")),
        };
        let end = BuildEnd {
            phase,
            reason: reason.map(str::to_owned),
            message: Some(lost.message().to_owned()),
            digest: arrived.map(|(digest,)| digest),
        };
        let ended = tx.finish(build, &end, &Actor::system("builds")).await?;
        let attempt = build.attempt + i64::from(lost == Lost::Worker);
        if ended && phase == BuildPhase::Error && attempt <= ATTEMPTS {
            tx.retry(build, attempt).await?;
        }
        tx.commit().await
    }

    /// The id of another project whose stream this build takes in; `None` when it takes in nothing from there, or when whoever wrote its
    /// config may not pull there (any more).
    pub async fn find_foreign_base(&self, build_id: &str, project: &str, stream: &str) -> Result<Option<String>> {
        let build = self.build_by_id(build_id).await?;
        let inputs = build.inputs()?;
        let tags = inputs.iter().filter_map(|input| input.tag.as_ref());
        if !tags.into_iter().any(|tag| tag.project == project && tag.stream == stream) {
            return Ok(None);
        }
        let config = self.config(&build.project, &build.config).await?;
        if !has_any_role(self.pool(), project, &config.written_by).await? {
            return Ok(None);
        }
        Ok(self.find_project(project).await?.map(|project| project.id))
    }
}

impl WriteTx {
    pub(super) async fn finish(&mut self, build: &Build, end: &BuildEnd, actor: &Actor) -> Result<bool> {
        let name = build.name();
        let ended = sqlx::query(
            "update builds set phase = $2, reason = $3, message = $4, output_digest = $5, finished_at = $6, lease_owner = null, \
             lease_until = null, output_sequence = (select max(e.sequence) from tag_events e where e.build_id = $1) \
             where id = $1 and phase in ('New', 'Pending', 'Running')",
        )
        .bind(&build.id)
        .bind(end.phase.as_str())
        .bind(end.reason.as_deref())
        .bind(end.message.as_deref())
        .bind(end.digest.as_deref())
        .bind(now())
        .execute(&mut **self)
        .await?
        .rows_affected();
        if ended == 0 {
            return Ok(false);
        }
        let entry = Entry {
            action: "build.finish",
            project: Some(&build.project),
            object: &name,
            to: Some(end.phase.as_str()),
            reason: end.reason.as_deref(),
            cause: Some(build.sequence),
            cascade: Some(&build.cascade_id),
            ..Entry::default()
        };
        let sequence = self.record(actor, entry).await?;
        sqlx::query("update builds set version = $2 where id = $1")
            .bind(&build.id)
            .bind(sequence)
            .execute(&mut **self)
            .await?;
        sqlx::query("update tokens set revoked_at = $2 where build_id = $1 and revoked_at is null")
            .bind(&build.id)
            .bind(now())
            .execute(&mut **self)
            .await?;
        self.wake(Controller::Triggers);
        self.wake(Controller::Builds);
        Ok(true)
    }

    /// Requests a lost build again for the same cause.
    async fn retry(&mut self, build: &Build, attempt: i64) -> Result<()> {
        let config = self.config_by_id(&build.config_id).await?;
        let waiting: Option<(i64,)> =
            sqlx::query_as("select number from builds where config_id = $1 and phase = 'New' limit 1")
                .bind(&config.id)
                .fetch_optional(&mut **self)
                .await?;
        if waiting.is_some() {
            return Ok(());
        }
        // In a freeze it is the same build once more: what its inputs point to by now waits.
        let resolved = if self.is_frozen(&config.project_id).await? {
            build.inputs()?
        } else {
            let inputs = self.inputs(&config.id).await?;
            let Ok(resolved) = resolve(&config, &inputs) else { return Ok(()) };
            resolved
        };
        let request = BuildRequest {
            kind: "retry",
            text: format!("{} was interrupted", build.name()),
            actor: Actor {
                kind: build.actor_kind.parse().unwrap_or(ActorKind::System),
                name: build.actor.clone(),
                request: None,
            },
            cause: Some(build.sequence),
            cascade: Some(build.cascade_id.clone()),
            commit: build.commit_requested.clone(),
            rebuild_of: None,
            attempt,
        };
        self.request_build(&config, resolved, request).await?;
        Ok(())
    }
}
