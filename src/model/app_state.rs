//! Apps and rollouts as the store gives them.

use serde::Serialize;

use super::AppSpec;
use super::text_enum::text_enum;

/// An app: containers of the image a stream's tag points to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct App {
    pub id: String,
    pub project_id: String,
    pub project: String,
    pub name: String,
    pub labels: String,
    pub annotations: String,
    /// JSON of [`AppSpec`].
    pub spec: String,
    pub tag_id: String,
    pub image_project: String,
    pub image_stream: String,
    pub image_tag: String,
    /// Where its tag points now.
    pub tag_digest: Option<String>,
    /// 1 when a move of the tag rolls the app out.
    pub automatic: i64,
    pub generation: i64,
    /// Number of the newest rollout, 0 before the first.
    pub last_number: i64,
    /// Digest of the newest rollout.
    pub wanted_digest: Option<String>,
    /// Phase of the newest rollout.
    pub wanted_phase: Option<String>,
    pub wanted_message: Option<String>,
    /// JSON of what the engine said last.
    pub observed: Option<String>,
    pub observed_at: Option<i64>,
    /// Why the engine could not be asked.
    pub observe_error: Option<String>,
    pub held_since: Option<i64>,
    pub created_at: i64,
    pub created_by: String,
    pub deleted_at: Option<i64>,
    pub version: i64,
}

impl App {
    /// How it runs.
    pub fn spec(&self) -> serde_json::Result<AppSpec> {
        serde_json::from_str(&self.spec)
    }

    /// The tag points to another image than the newest rollout's.
    pub fn is_behind(&self) -> bool {
        self.tag_digest.is_some() && self.tag_digest != self.wanted_digest
    }
}

text_enum! {
    /// A rollout's phase.
    RolloutPhase {
        /// The engine was not told yet.
        Pending = "Pending",
        /// The engine works on it.
        Running = "Running",
        /// Every replica was observed running the image.
        Complete = "Complete",
        Failed = "Failed",
        /// A newer rollout took its place.
        Cancelled = "Cancelled",
    }
}

/// One rollout of an app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, sqlx::FromRow)]
pub struct RolloutRow {
    pub id: String,
    pub app_id: String,
    /// The app's name.
    pub app: String,
    pub project: String,
    pub number: i64,
    pub digest: String,
    /// `<project>/<stream>` the image is pulled from.
    pub repository: String,
    /// `image`, `config`, `manual`, `rollback` or `restore`
    pub kind: String,
    /// JSON of [`AppSpec`] for this rollout.
    pub spec: String,
    pub to_number: Option<i64>,
    pub actor_kind: String,
    pub actor: String,
    pub reason: Option<String>,
    pub sequence: i64,
    pub cause: Option<i64>,
    pub cascade_id: String,
    /// The cascade's number, where it is one of the app's project.
    pub cascade_number: Option<i64>,
    #[sqlx(try_from = "String")]
    pub phase: RolloutPhase,
    pub message: Option<String>,
    pub created_at: i64,
    pub started_at: Option<i64>,
    pub finished_at: Option<i64>,
}

impl RolloutRow {
    /// How the containers run.
    pub fn spec(&self) -> serde_json::Result<AppSpec> {
        serde_json::from_str(&self.spec)
    }
}
