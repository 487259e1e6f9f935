//! Builds: requests, the queue, and what a running build records. Which configs build by themselves is in `propagation`.

use sha2::{Digest as _, Sha256};

use super::members::has_any_role;
use super::{Entry, Error, Result, Store, WriteTx, new_id};
use crate::model::{
    Actor, ActorKind, Build, BuildConfig, BuildPhase, BuildStep, ConfigInput, InputKind, NewConfigInput, ResolvedInput,
    now,
};
use crate::server::wake::Controller;

macro_rules! select_build {
    ($rest:literal) => {
        concat!(
            "select b.id, b.config_id, c.name as config, b.project_id, p.name as project, b.number, b.phase, b.reason, b.message, b.spec, \
             b.inputs, b.revision, b.commit_requested, b.trigger_kind, b.trigger_text, b.actor_kind, b.actor, b.sequence, b.cause, \
             b.cascade_id, k.number as cascade_number, b.rebuild_of, b.attempt, b.steps, b.output_digest, b.output_sequence, b.queued_at, \
             b.started_at, b.finished_at, b.cancel_requested_at, b.cancel_requested_by, b.log_lines, b.version \
             from builds b join build_configs c on c.id = b.config_id join projects p on p.id = b.project_id \
             left join cascades k on k.id = b.cascade_id ",
            $rest
        )
    };
}
pub(super) use select_build;

/// How often a build that the system broke is tried again by itself.
const ATTEMPTS: i64 = 3;

/// Why a build is requested.
#[derive(Debug, Clone)]
pub struct BuildRequest<'a> {
    /// `manual`, `image`, `config`, `webhook`, `rebuild` or `retry`
    pub kind: &'a str,
    /// The cause in words.
    pub text: String,
    pub actor: Actor,
    pub cause: Option<i64>,
    /// `None` opens a cascade.
    pub cascade: Option<String>,
    /// A commit to build instead of the config's `ref`.
    pub commit: Option<String>,
    pub rebuild_of: Option<i64>,
    pub attempt: i64,
}

impl BuildRequest<'_> {
    /// Somebody pressed Start build.
    pub fn manual(actor: Actor) -> Self {
        Self {
            kind: "manual",
            text: "Manually triggered".to_owned(),
            actor,
            cause: None,
            cascade: None,
            commit: None,
            rebuild_of: None,
            attempt: 1,
        }
    }
}

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
    /// Requests a build of a config with its inputs as they are now.
    pub async fn start_build(&self, project: &str, config: &str, request: BuildRequest<'_>) -> Result<Build> {
        let mut tx = self.write_tx().await?;
        let config = tx.config(project, config).await?;
        if config.inspected_generation < config.generation {
            // A first build may come before the Dockerfile was read; its own fetch reads it then.
            tx.wake(Controller::Inspect);
        }
        let inputs = tx.inputs(&config.id).await?;
        let resolved = resolve(&config, &inputs)?;
        let build = tx.request_build(&config, resolved, request).await?;
        tx.commit().await?;
        Ok(build)
    }

    /// Requests a build with the very inputs and commit of an earlier one.
    pub async fn rebuild(&self, project: &str, config: &str, number: i64, actor: Actor) -> Result<Build> {
        let mut tx = self.write_tx().await?;
        let owner = tx.config(project, config).await?;
        let earlier = tx.build(&owner.id, number).await?;
        let commit = match &earlier.revision {
            Some(revision) => {
                serde_json::from_str::<serde_json::Value>(revision)?["commit"].as_str().map(str::to_owned)
            }
            None => earlier.commit_requested.clone(),
        };
        let request = BuildRequest {
            kind: "rebuild",
            text: format!("Rebuild of {}", earlier.name()),
            commit,
            rebuild_of: Some(number),
            cause: Some(earlier.sequence),
            ..BuildRequest::manual(actor)
        };
        let inputs = earlier.inputs()?;
        let build = tx.request_build(&owner, inputs, request).await?;
        tx.commit().await?;
        Ok(build)
    }

    /// Asks a build to stop; a queued one is cancelled at once. On a build that has ended nothing happens.
    pub async fn cancel_build(&self, project: &str, config: &str, number: i64, actor: &Actor) -> Result<Build> {
        let mut tx = self.write_tx().await?;
        let owner = tx.config(project, config).await?;
        let build = tx.build(&owner.id, number).await?;
        tx.cancel(&build, actor).await?;
        let build = tx.build(&owner.id, number).await?;
        tx.commit().await?;
        Ok(build)
    }

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
        tx.note_used(&config.id, &resolved).await?;
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

    /// Lines of a log from line `from` (counted from 1), at most `limit`, with the number of the first.
    pub async fn read_log(&self, build_id: &str, from: i64, limit: i64) -> Result<Vec<(i64, String)>> {
        let pieces: Vec<(i64, String)> = sqlx::query_as(
            "select first_line, text from build_logs where build_id = $1 and first_line + lines > $2 and first_line < $3 \
             order by first_line",
        )
        .bind(build_id)
        .bind(from)
        .bind(from.saturating_add(limit))
        .fetch_all(self.pool())
        .await?;
        let lines = pieces.iter().flat_map(|(first, text)| (*first..).zip(text.lines()));
        let wanted = |(number, _): &(i64, &str)| *number >= from && *number < from.saturating_add(limit);
        Ok(lines.filter(wanted).map(|(number, line)| (number, line.to_owned())).collect())
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

    /// The build of that number.
    pub async fn find_build(&self, project: &str, config: &str, number: i64) -> Result<Option<Build>> {
        let build = sqlx::query_as(select_build!("where p.name = $1 and c.name = $2 and b.number = $3"))
            .bind(project)
            .bind(config)
            .bind(number)
            .fetch_optional(self.pool())
            .await?;
        Ok(build)
    }

    /// The build with that id.
    pub async fn build_by_id(&self, id: &str) -> Result<Build> {
        sqlx::query_as(select_build!("where b.id = $1"))
            .bind(id)
            .fetch_optional(self.pool())
            .await?
            .ok_or_else(|| Error::not_found("builds", id))
    }

    /// Builds of a config, newest first, with a number below `before`.
    pub async fn list_builds(&self, config_id: &str, before: Option<i64>, limit: i64) -> Result<Vec<Build>> {
        let builds =
            sqlx::query_as(select_build!("where b.config_id = $1 and b.number < $2 order by b.number desc limit $3"))
                .bind(config_id)
                .bind(before.unwrap_or(i64::MAX))
                .bind(limit)
                .fetch_all(self.pool())
                .await?;
        Ok(builds)
    }

    /// Builds of a project, newest first, with a sequence below `before`.
    pub async fn list_project_builds(&self, project: &str, before: Option<i64>, limit: i64) -> Result<Vec<Build>> {
        let builds =
            sqlx::query_as(select_build!("where p.name = $1 and b.sequence < $2 order by b.sequence desc limit $3"))
                .bind(project)
                .bind(before.unwrap_or(i64::MAX))
                .bind(limit)
                .fetch_all(self.pool())
                .await?;
        Ok(builds)
    }

    /// Builds of a cascade, oldest first.
    pub async fn list_cascade_builds(&self, cascade_id: &str) -> Result<Vec<Build>> {
        let builds = sqlx::query_as(select_build!("where b.cascade_id = $1 order by b.sequence limit 1000"))
            .bind(cascade_id)
            .fetch_all(self.pool())
            .await?;
        Ok(builds)
    }

    /// Removes a build and its log. Refused while it is under way.
    pub async fn delete_build(&self, project: &str, config: &str, number: i64, actor: &Actor) -> Result<()> {
        let mut tx = self.write_tx().await?;
        let owner = tx.config(project, config).await?;
        let build = tx.build(&owner.id, number).await?;
        if !build.phase.is_final() {
            return Err(Error::Conflict(format!("build {} is not over: cancel it first", build.name())));
        }
        sqlx::query("delete from builds where id = $1").bind(&build.id).execute(&mut *tx).await?;
        tx.record(
            actor,
            Entry { action: "build.delete", project: Some(project), object: &build.name(), ..Entry::default() },
        )
        .await?;
        tx.commit().await
    }
}

/// The inputs with the digests their tags have now. An input that stands for a tag without an image cannot be built on.
pub(super) fn resolve(config: &BuildConfig, inputs: &[ConfigInput]) -> Result<Vec<ResolvedInput>> {
    inputs
        .iter()
        .map(|input| {
            let tag = input.stands_for();
            if let (Some(tag), None) = (&tag, &input.digest) {
                let message = format!(
                    "Error resolving ImageStreamTag {}:{} in namespace {}: it points to no image yet; push or import one",
                    tag.stream, tag.tag, tag.project
                );
                return Err(Error::invalid(format!("{}.from", config.name), message));
            }
            Ok(ResolvedInput {
                kind: InputKind::parse(&input.kind),
                stage: input.stage.clone(),
                reference: input.reference.clone(),
                digest: tag.as_ref().and(input.digest.clone()),
                tag,
            })
        })
        .collect()
}

impl WriteTx {
    pub(super) async fn build(&mut self, config_id: &str, number: i64) -> Result<Build> {
        sqlx::query_as(select_build!("where b.config_id = $1 and b.number = $2"))
            .bind(config_id)
            .bind(number)
            .fetch_optional(&mut **self)
            .await?
            .ok_or_else(|| Error::not_found("builds", number.to_string()))
    }

    /// Writes the request. Its key makes it unique: the same inputs, revision and generation after the same earlier request are the
    /// same build, however many noticed.
    pub(super) async fn request_build(
        &mut self,
        config: &BuildConfig,
        inputs: Vec<ResolvedInput>,
        request: BuildRequest<'_>,
    ) -> Result<Build> {
        let number = config.last_number + 1;
        let name = format!("{}-{number}", config.name);
        let cascade = request.cascade.clone().unwrap_or_else(new_id);
        let entry = Entry {
            action: "build.request",
            project: Some(&config.project),
            object: &name,
            reason: Some(&request.text),
            cause: request.cause,
            cascade: Some(&cascade),
            ..Entry::default()
        };
        let sequence = self.record(&request.actor, entry).await?;
        if request.cascade.is_none() {
            let title = format!("Build {name}");
            self.open_cascade(&cascade, &config.project_id, &title, request.kind, sequence, &request.actor).await?;
        }
        let inputs_json = serde_json::to_string(&inputs)?;
        let commit = request.commit.as_deref().unwrap_or_default();
        let key = hex::encode(Sha256::digest(format!(
            "{inputs_json}\n{commit}\n{}\n{}",
            config.generation, config.last_number
        )));
        sqlx::query(
            "insert into builds (id, config_id, project_id, number, key, phase, spec, inputs, commit_requested, trigger_kind, \
             trigger_text, actor_kind, actor, sequence, cause, cascade_id, rebuild_of, attempt, queued_at, version) \
             values ($1, $2, $3, $4, $5, 'New', $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $13)",
        )
        .bind(new_id())
        .bind(&config.id)
        .bind(&config.project_id)
        .bind(number)
        .bind(key)
        .bind(&config.spec)
        .bind(&inputs_json)
        .bind(request.commit.as_deref())
        .bind(request.kind)
        .bind(&request.text)
        .bind(request.actor.kind.as_str())
        .bind(&request.actor.name)
        .bind(sequence)
        .bind(request.cause)
        .bind(&cascade)
        .bind(request.rebuild_of)
        .bind(request.attempt)
        .bind(now())
        .execute(&mut **self)
        .await?;
        sqlx::query("update build_configs set last_number = $2 where id = $1")
            .bind(&config.id)
            .bind(number)
            .execute(&mut **self)
            .await?;
        if request.rebuild_of.is_none() {
            self.note_used(&config.id, &inputs).await?;
        }
        self.wake(Controller::Builds);
        self.build(&config.id, number).await
    }

    /// A request consumes the changes it saw: its inputs are not stale any more.
    async fn note_used(&mut self, config_id: &str, inputs: &[ResolvedInput]) -> Result<()> {
        for (position, input) in (0_i64..).zip(inputs) {
            sqlx::query(
                "update build_inputs set used_digest = $3, used_at = $4 where config_id = $1 and position = $2",
            )
            .bind(config_id)
            .bind(position)
            .bind(input.digest.as_deref())
            .bind(now())
            .execute(&mut **self)
            .await?;
        }
        Ok(())
    }

    /// Asks a build to stop.
    pub(super) async fn cancel(&mut self, build: &Build, actor: &Actor) -> Result<()> {
        if build.phase.is_final() || build.cancel_requested_at.is_some() {
            return Ok(());
        }
        sqlx::query("update builds set cancel_requested_at = $2, cancel_requested_by = $3 where id = $1")
            .bind(&build.id)
            .bind(now())
            .bind(&actor.name)
            .execute(&mut **self)
            .await?;
        if build.phase == BuildPhase::New {
            let end = BuildEnd {
                phase: BuildPhase::Cancelled,
                reason: Some("CancelledBuild".to_owned()),
                message: Some("The build was cancelled by the user.".to_owned()),
                digest: None,
            };
            self.finish(build, &end, actor).await?;
        } else {
            let entry = Entry {
                action: "build.cancel",
                project: Some(&build.project),
                object: &build.name(),
                cause: Some(build.sequence),
                cascade: Some(&build.cascade_id),
                ..Entry::default()
            };
            self.record(actor, entry).await?;
        }
        self.wake(Controller::Builds);
        Ok(())
    }

    async fn finish(&mut self, build: &Build, end: &BuildEnd, actor: &Actor) -> Result<bool> {
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
        let inputs = self.inputs(&config.id).await?;
        let Ok(resolved) = resolve(&config, &inputs) else { return Ok(()) };
        let request = BuildRequest {
            kind: "retry",
            text: format!("{} was interrupted", build.name()),
            actor: Actor { kind: build.actor_kind.parse().unwrap_or(ActorKind::System), name: build.actor.clone() },
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
