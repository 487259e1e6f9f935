//! A builder without containers: it fetches, reads and pins like the real one, obeys a few `RUN`s as a script, and
//! pushes a tiny image made from the Dockerfile. For tests of everything around builds, and laptops without buildah.
//!
//! Understood: `RUN false` and `RUN exit n` fail, `RUN sleep n` waits, `RUN echo text` prints; other steps do nothing.

mod push;

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::Source;

use super::git::GitConfig;
use super::prepare::{Prepared, Workshop, say, tell};
use super::{BuildEvent, BuildFailure, BuildJob, BuildOutput, Builder, Fetched, GitCredentials};
use push::Registry;

/// The builder.
pub struct Fake {
    workshop: Workshop,
    client: reqwest::Client,
}

impl Fake {
    /// A builder that works below `directory`.
    pub fn new(directory: PathBuf, git: GitConfig) -> anyhow::Result<Self> {
        // Whoever came first has installed it; that is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
        Ok(Self { workshop: Workshop::new(directory, git), client })
    }

    async fn build(
        &self,
        job: &BuildJob,
        events: &mpsc::Sender<BuildEvent>,
        cancel: &CancellationToken,
    ) -> Result<BuildOutput, BuildFailure> {
        let prepared = self.workshop.prepare(job, events, cancel).await?;
        let registry = Registry { client: &self.client, access: &job.registry };
        tell(events, BuildEvent::Step("pull")).await;
        // An external base is not asked for: this builder works where there is no network.
        for input in job.strategy_from.iter().chain(&job.inputs) {
            if prepared.pulls.iter().any(|(pull_spec, _)| *pull_spec == input.pull_spec) {
                registry.manifest_exists(&input.pull_spec).await.map_err(|message| BuildFailure::Failed {
                    reason: "PullBuilderImageFailed",
                    message: format!("Failed pulling builder image {}: {message}", input.pull_spec),
                })?;
            }
        }
        tell(events, BuildEvent::Step("build")).await;
        perform(&prepared, events, cancel).await?;
        let Some(output) = &job.output else { return Ok(BuildOutput { digest: None }) };
        tell(events, BuildEvent::Step("push")).await;
        say(events, format!("Pushing {output} …")).await;
        let pushed = registry.push(output, &prepared);
        let digest = tokio::select! {
            pushed = pushed => pushed.map_err(|message| BuildFailure::Failed {
                reason: "PushImageToRegistryFailed",
                message: format!("Failed to push the image to {output}: {message}"),
            })?,
            () = cancel.cancelled() => return Err(BuildFailure::Cancelled),
        };
        say(events, format!("Pushed {output}@{digest}")).await;
        Ok(BuildOutput { digest: Some(digest) })
    }
}

/// Goes through the Dockerfile's steps as buildah would show them.
async fn perform(
    prepared: &Prepared,
    events: &mpsc::Sender<BuildEvent>,
    cancel: &CancellationToken,
) -> Result<(), BuildFailure> {
    let steps: Vec<&str> =
        prepared.dockerfile.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    for (number, step) in steps.iter().enumerate() {
        say(events, format!("STEP {}/{}: {step}", number + 1, steps.len())).await;
        if cancel.is_cancelled() {
            return Err(BuildFailure::Cancelled);
        }
        let mut words = step.split_whitespace();
        let run = words.next().is_some_and(|word| word.eq_ignore_ascii_case("run"));
        match (run, words.next(), words.next()) {
            (true, Some("false" | "exit"), _) => {
                say(events, format!("Error: error building at STEP \"{step}\": exit status 1")).await;
                let message =
                    format!("Docker build strategy has failed: error building at STEP \"{step}\": exit status 1");
                return Err(BuildFailure::Failed { reason: "DockerBuildFailed", message });
            }
            (true, Some("sleep"), seconds) => {
                let seconds =
                    seconds.and_then(|seconds| seconds.parse::<f64>().ok()).unwrap_or_default().clamp(0.0, 1e6);
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_secs_f64(seconds)) => {}
                    () = cancel.cancelled() => return Err(BuildFailure::Cancelled),
                }
            }
            (true, Some("echo"), Some(first)) => {
                let text = words.fold(first.to_owned(), |text, word| format!("{text} {word}"));
                say(events, text).await;
            }
            _ => {}
        }
    }
    Ok(())
}

#[async_trait]
impl Builder for Fake {
    async fn check(&self) -> Result<(), String> {
        Ok(())
    }

    async fn fetch(&self, source: &Source, credentials: Option<&GitCredentials>) -> Result<Fetched, BuildFailure> {
        self.workshop.fetch(source, credentials).await
    }

    async fn run(
        &self,
        job: BuildJob,
        events: mpsc::Sender<BuildEvent>,
        cancel: CancellationToken,
    ) -> Result<BuildOutput, BuildFailure> {
        let result = self.build(&job, &events, &cancel).await;
        if let Err(error) = self.workshop.clean(&job.id).await {
            tracing::warn!(build.id = %job.id, "The work directory of build {} cannot be removed: {error}", job.id);
        }
        result
    }

    async fn reap(&self, build_id: &str) -> anyhow::Result<()> {
        super::process::kill_marked(build_id).await?;
        Ok(self.workshop.clean(build_id).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn conforms() {
        let directory = tempfile::tempdir().unwrap();
        let builder = Fake::new(directory.path().join("builder"), crate::server::builder::conformance::git()).unwrap();
        crate::server::builder::conformance::suite(&builder, &directory.path().join("builder")).await;
    }
}
