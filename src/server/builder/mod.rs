//! What runs builds: a contract, its real back ends, and a fake one for tests that need no containers.

pub mod buildah;
#[cfg(test)]
pub(in crate::server) mod conformance;
pub mod dockerfile;
pub mod fake;
pub mod git;
mod prepare;
mod process;

use async_trait::async_trait;
use secrecy::SecretString;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::model::{Digest, Source};

/// Credentials for a git repository, from a project's secret.
#[derive(Debug, Clone)]
pub enum GitCredentials {
    /// User name and password or token, for `https://`.
    Basic { username: String, password: SecretString },
    /// A private key in OpenSSH's format, for `ssh://`; known hosts in `known_hosts`' format, if given.
    SshKey { private_key: SecretString, known_hosts: Option<String> },
}

/// The registry a build pulls from and pushes to: Weir's own, seen from where builds run.
#[derive(Debug, Clone)]
pub struct RegistryAccess {
    /// `host:port`
    pub host: String,
    pub username: String,
    pub password: SecretString,
    /// Plain HTTP.
    pub insecure: bool,
}

/// An image reference of the Dockerfile and the exact image it stands for in this build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedInput {
    /// As the Dockerfile means it, after substitution of `ARG`s.
    pub reference: String,
    /// What buildah is given instead, by digest: `host/project/stream@sha256:…`.
    pub pull_spec: String,
    /// Absent for an external `from` of the strategy, which is taken as its author wrote it.
    pub digest: Option<Digest>,
}

/// One build, with everything resolved that can be.
#[derive(Debug, Clone)]
pub struct BuildJob {
    /// The build's id, unique for ever; names its work directory and marks its processes.
    pub id: String,
    pub project: String,
    /// The build's name, `<config>-<number>`.
    pub name: String,
    pub source: Source,
    pub git_credentials: Option<GitCredentials>,
    /// A commit to build instead of the source's `ref`.
    pub commit: Option<String>,
    pub inputs: Vec<PinnedInput>,
    /// References that are no stream's and may be pulled from where they say; anything else the Dockerfile names and
    /// `inputs` does not pin ends the build as [`BuildFailure::Unresolved`].
    pub external: Vec<String>,
    /// Replaces the image of the last `FROM`, already pinned.
    pub strategy_from: Option<PinnedInput>,
    pub build_args: Vec<(String, String)>,
    /// Variables set in the image after each `FROM`.
    pub env: Vec<(String, String)>,
    /// Labels for the result, besides those the builder derives from the sources.
    pub labels: Vec<(String, String)>,
    /// Where to push, `host/project/stream:tag`; `None` builds without pushing.
    pub output: Option<String>,
    pub registry: RegistryAccess,
    pub no_cache: bool,
}

/// What the sources say before anything is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    pub dockerfile: String,
    pub revision: Option<Revision>,
}

/// The commit that was checked out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Revision {
    pub commit: String,
    pub author: String,
    /// Author date, RFC 3339.
    pub date: String,
    /// The subject line.
    pub message: String,
    pub reference: String,
}

/// What a running build tells while it runs, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// A step began: `fetch`, `pull`, `build`, `push`.
    Step(&'static str),
    /// The sources are there.
    Fetched(Fetched),
    /// One line of the log, without its newline.
    Line(String),
}

/// The image a build made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildOutput {
    /// Digest of the pushed manifest; `None` when the build had no output.
    pub digest: Option<Digest>,
}

/// Why a build did not end well.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildFailure {
    /// The build's own doing: phase Failed. `reason` is one of the REST door's (`FetchSourceFailed`, …).
    #[error("{message}")]
    Failed { reason: &'static str, message: String },
    /// The system's doing: phase Error.
    #[error("{message}")]
    Error { reason: &'static str, message: String },
    /// It was asked to stop.
    #[error("The build was cancelled.")]
    Cancelled,
    /// Bases the Dockerfile names were not among the job's inputs: resolve these and run again.
    #[error("the Dockerfile names images that were not resolved: {}", .0.join(", "))]
    Unresolved(Vec<String>),
}

/// Runs builds. Every method may be dropped at any await: what was begun is then killed or left for [`Builder::reap`].
#[async_trait]
pub trait Builder: Send + Sync + 'static {
    /// `Ok` when builds can run here; otherwise one sentence that says what to do.
    async fn check(&self) -> Result<(), String>;

    /// Reads the Dockerfile (and the commit) of a source without building.
    async fn fetch(&self, source: &Source, credentials: Option<&GitCredentials>) -> Result<Fetched, BuildFailure>;

    /// Builds and pushes. Events arrive in order; the channel's bound slows the build, never drops a line.
    /// Cancelling kills every process of the build before this returns.
    async fn run(
        &self,
        job: BuildJob,
        events: mpsc::Sender<BuildEvent>,
        cancel: CancellationToken,
    ) -> Result<BuildOutput, BuildFailure>;

    /// Kills and removes whatever an earlier server process left of this build; no-op when there is nothing.
    async fn reap(&self, build_id: &str) -> anyhow::Result<()>;
}
