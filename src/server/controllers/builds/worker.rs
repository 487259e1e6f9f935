//! One build from its claim to its end: runs it, keeps its lease, writes its log, and records how it ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::job::{git_credentials, job, token};
use super::{BuildSettings, HEARTBEAT, LEASE, LEASE_MS};
use crate::model::{Build, BuildConfigSpec, BuildPhase, BuildStep, NewConfigInput, ResolvedInput, now};
use crate::server::builder::{BuildEvent, BuildFailure, BuildJob, BuildOutput, Builder, Fetched, dockerfile};
use crate::server::store::{self, BuildEnd, Lost, PROHIBITED, Store};

/// Lines wait at most this long for others to be written with them.
const FLUSH_AFTER: Duration = Duration::from_millis(250);
/// So many lines are written at once at most.
const FLUSH_LINES: usize = 500;

/// One build under way.
pub struct Worker {
    pub store: Store,
    pub builder: Arc<dyn Builder>,
    pub settings: Arc<BuildSettings>,
    /// The server stops.
    pub stop: CancellationToken,
    /// This build is to stop.
    pub cancel: CancellationToken,
    pub build: Build,
}

/// How a build came out, before it is recorded.
enum Outcome {
    Ended(BuildEnd),
    /// It was told to stop: the row says by whom.
    Stopped,
}

impl Outcome {
    fn end(phase: BuildPhase, reason: &str, message: impl Into<String>) -> Self {
        Self::Ended(BuildEnd { phase, reason: Some(reason.to_owned()), message: Some(message.into()), digest: None })
    }
}

impl Worker {
    /// Runs the build and records its end.
    pub async fn run(&self) {
        let outcome = tokio::select! {
            outcome = self.build() => outcome.unwrap_or_else(|problem| {
                warn!(build.id = %self.build.id, "Build {} could not be carried out: {problem:#}", self.build.name());
                Outcome::end(BuildPhase::Error, "Error", format!("Weir could not carry out the build: {problem}"))
            }),
            // It tells the build to stop when it must, and does not end itself.
            () = self.keep_lease() => Outcome::Stopped,
        };
        // The database may be away for a moment; after that, the lost lease tells the rest.
        for attempt in 1..=5_u64 {
            match self.record(&outcome).await {
                Ok(()) => return,
                Err(problem) => {
                    warn!(build.id = %self.build.id, "The end of build {} cannot be recorded: {problem}", self.build.name());
                    sleep(Duration::from_secs(attempt)).await;
                }
            }
        }
    }

    /// Makes itself heard for as long as the build runs. A build that lost its lease stops: somebody else may have it.
    async fn keep_lease(&self) {
        let mut heard = Instant::now();
        loop {
            sleep(HEARTBEAT).await;
            match self.store.renew_build(&self.build.id, self.store.owner(), LEASE_MS).await {
                Ok(true) => heard = Instant::now(),
                Ok(false) => self.cancel.cancel(),
                Err(problem) => {
                    warn!(build.id = %self.build.id, "The lease of build {} cannot be renewed: {problem}", self.build.name());
                    if heard.elapsed() > LEASE {
                        self.cancel.cancel();
                    }
                }
            }
        }
    }

    async fn build(&self) -> anyhow::Result<Outcome> {
        let spec = self.build.spec()?;
        let mut inputs = self.build.inputs()?;
        self.store.record_running(&self.build).await?;
        let credentials = match git_credentials(&self.store, &self.build.project, &spec.source).await {
            Ok(credentials) => credentials,
            Err(
                problem @ (store::Error::NotFound { .. } | store::Error::Invalid { .. } | store::Error::Conflict(_)),
            ) => {
                return Ok(Outcome::end(BuildPhase::Failed, "FetchSourceFailed", problem.to_string()));
            }
            Err(problem) => return Err(problem.into()),
        };
        let token = token(&self.store, &self.build).await?;
        let mut journal = Journal::of(self);
        // The Dockerfile may take in what was not known at the request: then once more, with that.
        for last in [false, true] {
            if let Some(input) = self.find_prohibited(&inputs).await? {
                let message = format!("{PROHIBITED}: {}", input.reference);
                return journal.close(Outcome::end(BuildPhase::Failed, "InvalidImageReference", message)).await;
            }
            let job = job(&self.build, &spec, &inputs, credentials.clone(), &token, &self.settings);
            let result = self.run_job(job, &mut journal).await?;
            let found = journal.fetched.take().map(|fetched| self.found(&spec, &fetched));
            if let (Err(BuildFailure::Unresolved(names)), false, Some(found)) = (&result, last, &found) {
                journal
                    .lines
                    .push(format!("The Dockerfile takes in images that were not known yet: {}", names.join(", ")));
                match self.store.record_found_inputs(&self.build, found).await {
                    Ok(resolved) => inputs = resolved,
                    Err(store::Error::Invalid { message, .. }) => {
                        return journal.close(Outcome::end(BuildPhase::Failed, "InvalidImageReference", message)).await;
                    }
                    Err(problem) => return Err(problem.into()),
                }
                continue;
            }
            if let (Ok(_), Some(found)) = (&result, &found) {
                self.correct_edges(&inputs, found).await?;
            }
            return journal.close(outcome(result)).await;
        }
        Ok(Outcome::Stopped)
    }

    /// An input that no build may take in.
    async fn find_prohibited<'a>(&self, inputs: &'a [ResolvedInput]) -> anyhow::Result<Option<&'a ResolvedInput>> {
        for input in inputs {
            if let Some(digest) = &input.digest
                && self.store.is_prohibited(digest).await?
            {
                return Ok(Some(input));
            }
        }
        Ok(None)
    }

    async fn run_job(
        &self,
        job: BuildJob,
        journal: &mut Journal<'_>,
    ) -> anyhow::Result<Result<BuildOutput, BuildFailure>> {
        let (sender, receiver) = mpsc::channel(256);
        let run = self.builder.run(job, sender, self.cancel.clone());
        let (result, written) = tokio::join!(run, journal.write_all(receiver));
        written?;
        Ok(result)
    }

    fn found(&self, spec: &BuildConfigSpec, fetched: &Fetched) -> Vec<NewConfigInput> {
        let (project, own_hosts) = (&self.build.project, &self.settings.own_hosts);
        dockerfile::inputs_of_config(&fetched.dockerfile, spec, project, own_hosts).unwrap_or_default()
    }

    /// The graph follows the Dockerfile as it was really built. An older one that is built again says nothing about today.
    async fn correct_edges(&self, used: &[ResolvedInput], found: &[NewConfigInput]) -> anyhow::Result<()> {
        let same = used.len() == found.len()
            && used.iter().zip(found).all(|(used, found)| used.kind == found.kind && used.reference == found.reference);
        if same || self.build.rebuild_of.is_some() {
            return Ok(());
        }
        let config = self.store.config(&self.build.project, &self.build.config).await?;
        if config.spec == self.build.spec {
            self.store.record_inspection(&config.id, config.generation, Ok(found)).await?;
        }
        Ok(())
    }

    async fn record(&self, outcome: &Outcome) -> store::Result<()> {
        let name = self.build.name();
        let end = match outcome {
            Outcome::Ended(end) => end.clone(),
            Outcome::Stopped => {
                let row = self.store.build_by_id(&self.build.id).await?;
                if row.cancel_requested_at.is_none() {
                    if self.stop.is_cancelled() {
                        self.store.give_up_build(&row, Lost::Stop).await?;
                    }
                    return Ok(());
                }
                let message = Some("The build was cancelled by the user.".to_owned());
                BuildEnd { phase: BuildPhase::Cancelled, reason: Some("CancelledBuild".into()), message, digest: None }
            }
        };
        let phase = end.phase.as_str();
        if self.store.finish_build(&self.build, &end).await? {
            metrics::counter!("weir_builds_total", "phase" => phase).increment(1);
            info!(build.id = %self.build.id, "Build {}/{name} ended: {phase} {}", self.build.project, end.reason.unwrap_or_default());
        }
        Ok(())
    }
}

fn outcome(result: Result<BuildOutput, BuildFailure>) -> Outcome {
    match result {
        Ok(output) => Outcome::Ended(BuildEnd {
            phase: BuildPhase::Complete,
            reason: None,
            message: None,
            digest: output.digest.map(String::from),
        }),
        Err(BuildFailure::Failed { reason, message }) => Outcome::end(BuildPhase::Failed, reason, message),
        Err(BuildFailure::Error { reason, message }) => Outcome::end(BuildPhase::Error, reason, message),
        Err(BuildFailure::Cancelled) => Outcome::Stopped,
        Err(unresolved @ BuildFailure::Unresolved(_)) => Outcome::end(
            BuildPhase::Failed,
            "InvalidImageReference",
            format!("Referenced image could not be resolved: {unresolved}"),
        ),
    }
}

/// What the build tells, on its way to the store: lines in batches, steps and the commit as they come.
struct Journal<'a> {
    worker: &'a Worker,
    lines: Vec<String>,
    /// Lines that are in the store.
    written: i64,
    steps: Vec<BuildStep>,
    revision: Option<String>,
    fetched: Option<Fetched>,
}

impl<'a> Journal<'a> {
    fn of(worker: &'a Worker) -> Self {
        let written = worker.build.log_lines;
        Self { worker, lines: Vec::new(), written, steps: Vec::new(), revision: None, fetched: None }
    }

    /// Writes everything that comes until the build has no more to say. The channel's bound slows a build that talks faster.
    async fn write_all(&mut self, mut events: mpsc::Receiver<BuildEvent>) -> anyhow::Result<()> {
        while let Some(event) = events.recv().await {
            self.take(event).await?;
            let deadline = tokio::time::Instant::now() + FLUSH_AFTER;
            while self.lines.len() < FLUSH_LINES {
                match timeout_at(deadline, events.recv()).await {
                    Ok(Some(event)) => self.take(event).await?,
                    Ok(None) | Err(_) => break,
                }
            }
            self.flush().await?;
        }
        Ok(())
    }

    async fn take(&mut self, event: BuildEvent) -> anyhow::Result<()> {
        match event {
            BuildEvent::Line(line) => self.lines.push(line),
            BuildEvent::Step(name) => {
                self.finish_step();
                let first_line = self.written + i64::try_from(self.lines.len())? + 1;
                self.steps.push(BuildStep { name: name.to_owned(), started_at: now(), finished_at: None, first_line });
                self.record().await?;
            }
            BuildEvent::Fetched(fetched) => {
                self.revision = fetched.revision.as_ref().map(serde_json::to_string).transpose()?;
                self.fetched = Some(fetched);
                self.record().await?;
            }
        }
        Ok(())
    }

    fn finish_step(&mut self) {
        if let Some(step) = self.steps.last_mut().filter(|step| step.finished_at.is_none()) {
            step.finished_at = Some(now());
        }
    }

    async fn record(&self) -> store::Result<()> {
        self.worker.store.record_progress(&self.worker.build, &self.steps, self.revision.as_deref()).await
    }

    async fn flush(&mut self) -> anyhow::Result<()> {
        let lines = std::mem::take(&mut self.lines);
        self.worker.store.append_log(&self.worker.build.id, &lines).await?;
        self.written += i64::try_from(lines.len())?;
        Ok(())
    }

    /// The last word: how it ended, and when the last step did.
    async fn close(mut self, outcome: Outcome) -> anyhow::Result<Outcome> {
        self.finish_step();
        match &outcome {
            Outcome::Ended(BuildEnd { reason: Some(reason), message, .. }) => {
                self.lines.push(format!("{reason}: {}", message.as_deref().unwrap_or_default()));
            }
            Outcome::Ended(_) => {}
            Outcome::Stopped => self.lines.push("The build was stopped.".to_owned()),
        }
        self.flush().await?;
        self.record().await?;
        Ok(outcome)
    }
}
