//! What runs apps: a contract over existing engines, which do replicas, rolling updates and health.

use async_trait::async_trait;
use secrecy::SecretString;

use crate::model::{AppSpec, Digest};

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
    /// The engine's word: `running`, `starting`, `failed`, …
    pub state: String,
    /// Runs and is healthy as far as the engine knows.
    pub ready: bool,
    /// Since when it is in that state, milliseconds since the epoch.
    pub since: i64,
    /// The engine's error, if any.
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
    /// The engine gave up or paused the update, with its reason.
    pub failed: Option<String>,
    /// Replicas that should run or do; ended ones are left out.
    pub replicas: Vec<Replica>,
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
    async fn apply(&self, desired: &Desired) -> Result<(), RolloutError>;

    /// What runs now.
    async fn observe(&self, project: &str, app: &str) -> Result<Observed, RolloutError>;

    /// Stops and removes the app; no-op when there is none.
    async fn remove(&self, project: &str, app: &str) -> Result<(), RolloutError>;

    /// Names `(project, app)` of all apps this engine runs for Weir.
    async fn list(&self) -> Result<Vec<(String, String)>, RolloutError>;
}
