//! What runs apps: a contract over existing engines, which do replicas, rolling updates and health.

use async_trait::async_trait;
use secrecy::SecretString;

use crate::model::{AppSpec, Digest};

#[cfg(test)]
mod conformance;
pub mod fake;
pub mod none;
pub mod swarm;

/// The wanted state of one app on its engine.
#[derive(Debug, Clone)]
pub struct Desired {
    pub project: String,
    pub app: String,
    /// The image, always by digest: `host/project/stream@sha256:…`.
    pub image: String,
    pub digest: Digest,
    /// The rollout's number; the engine carries it as a label so that what is observed can be told apart.
    pub rollout: i64,
    pub spec: AppSpec,
    /// User name and token with which the engine pulls; `None` when the registry needs none.
    pub registry: Option<(String, SecretString)>,
}

/// One replica as the engine reports it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Replica {
    /// The engine's id of the task.
    pub id: String,
    /// Node or host.
    pub node: String,
    /// The digest of the image it runs, when the engine tells.
    pub digest: Option<Digest>,
    /// The engine's word: `running`, `starting`, `preparing`, …; `stopping` when it runs but is to end.
    pub state: String,
    /// Runs, is to go on running, and is healthy as far as the engine knows.
    pub ready: bool,
    /// Since when it is in that state, milliseconds since the epoch.
    pub since: i64,
    /// The engine's error, if any: its own, or that of the replica it replaces.
    pub message: Option<String>,
    /// Ports on the node that reach this replica, `(container, published)`.
    pub ports: Vec<(u16, u16)>,
}

/// What the engine says of an app.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Observed {
    /// The engine has the app at all.
    pub exists: bool,
    /// The rollout it was last given.
    pub rollout: Option<i64>,
    /// An update is under way.
    pub updating: bool,
    /// The engine gave up or paused the update, or replicas end again and again; with the reason.
    pub failed: Option<String>,
    /// With `failed`: it may pass by itself (the image could not be fetched just then), so applying again may help.
    #[serde(default)]
    pub retryable: bool,
    /// Replicas that should run or do; ended ones are left out.
    pub replicas: Vec<Replica>,
}

impl Observed {
    /// How many replicas were seen ready with this digest.
    pub fn ready_with(&self, digest: &Digest) -> usize {
        self.replicas.iter().filter(|r| r.ready && r.digest.as_ref() == Some(digest)).count()
    }

    /// Whether exactly `replicas` run, all of them ready and with this digest, and the engine is at rest.
    /// Only this makes a rollout complete.
    pub fn settled(&self, digest: &Digest, replicas: u32) -> bool {
        let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
        self.exists
            && !self.updating
            && self.failed.is_none()
            && self.replicas.len() == wanted
            && self.ready_with(digest) == wanted
    }
}

/// Whether trying again later may help; that alone decides retry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RolloutError {
    /// The engine is away or busy.
    #[error("{0}")]
    Transient(String),
    /// The engine refused what it was asked.
    #[error("{0}")]
    Permanent(String),
}

/// An engine that runs apps. All calls are idempotent.
#[async_trait]
pub trait Rollout: Send + Sync + 'static {
    /// `Ok` when apps can run here; otherwise one sentence with the command that helps.
    async fn check(&self) -> Result<(), String>;

    /// Makes the engine want this state; returns once it accepted, not once it is done.
    ///
    /// What the engine wants already is left alone: replicas restart only when what they run changes, not for
    /// another rollout number or another token. An update the engine gave up is started again.
    async fn apply(&self, desired: &Desired) -> Result<(), RolloutError>;

    /// What runs now.
    async fn observe(&self, project: &str, app: &str) -> Result<Observed, RolloutError>;

    /// Stops and removes the app; no-op when there is none.
    async fn remove(&self, project: &str, app: &str) -> Result<(), RolloutError>;

    /// Names `(project, app)` of all apps this engine runs for this Weir, in order.
    async fn list(&self) -> Result<Vec<(String, String)>, RolloutError>;
}
