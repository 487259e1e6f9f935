//! Builds: requests, the queue and its lists. What workers do with them is in `build_work`, which configs build by themselves in `propagation`.

use sha2::{Digest as _, Sha256};

use super::build_work::BuildEnd;
use super::{Entry, Error, Result, Store, WriteTx, new_id};
use crate::model::resolve as resolve_tag;
use crate::model::{
    Actor, Build, BuildConfig, BuildPhase, ConfigInput, InputKind, Lookup, ResolvedInput, TagFacts, now,
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
             left join cascades k on k.id = b.cascade_id and k.project_id = b.project_id ",
            $rest
        )
    };
}
pub(super) use select_build;

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
        self.find_build_by_id(id).await?.ok_or_else(|| Error::not_found("builds", id))
    }

    /// The build with that id; `None` when it was deleted. What it led to stays, and goes on naming it.
    pub async fn find_build_by_id(&self, id: &str) -> Result<Option<Build>> {
        Ok(sqlx::query_as(select_build!("where b.id = $1")).bind(id).fetch_optional(self.pool()).await?)
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
        tx.keep_build(&build.id, &owner.name).await?;
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
            let found = match (TagFacts::of_input(input), &tag) {
                (Some(facts), Some(tag)) => Some(resolve_tag(&facts, Lookup::Image, "").map_err(|_| {
                    let message = format!(
                        "Error resolving ImageStreamTag {} in namespace {}: it points to no image yet; push or import one",
                        tag.title(),
                        tag.project
                    );
                    Error::invalid(format!("{}.from", config.name), message)
                })?),
                _ => None,
            };
            let (digest, pull_spec) = match found {
                Some(found) if found.digest.is_none() => (None, Some(found.pull_spec)),
                Some(found) => (found.digest, None),
                None => (None, None),
            };
            Ok(ResolvedInput {
                kind: InputKind::parse(&input.kind),
                stage: input.stage.clone(),
                reference: input.reference.clone(),
                tag,
                digest,
                pull_spec,
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
            self.use_up(&config.id, &inputs).await?;
        }
        self.wake(Controller::Builds);
        self.build(&config.id, number).await
    }

    /// A request consumes the changes it saw: its inputs are not stale any more.
    pub(super) async fn use_up(&mut self, config_id: &str, inputs: &[ResolvedInput]) -> Result<()> {
        for (position, input) in (0_i64..).zip(inputs) {
            self.note_used(config_id, position, input.digest.as_deref()).await?;
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
}
