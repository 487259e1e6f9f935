//! No engine: for servers that only build and keep images. Apps may be written down, and say why they do not run.

use async_trait::async_trait;

use super::{Desired, Observed, Rollout, RolloutError};

const REASON: &str =
    "apps do not run here: this server was started with --rollout none; start it with --rollout docker";

/// Runs nothing and says so.
pub struct NoEngine;

#[async_trait]
impl Rollout for NoEngine {
    async fn check(&self) -> Result<(), String> {
        Err(REASON.to_owned())
    }

    async fn apply(&self, _: &Desired) -> Result<(), RolloutError> {
        Err(RolloutError::Transient(REASON.to_owned()))
    }

    async fn observe(&self, _: &str, _: &str) -> Result<Observed, RolloutError> {
        Err(RolloutError::Transient(REASON.to_owned()))
    }

    async fn remove(&self, _: &str, _: &str) -> Result<(), RolloutError> {
        Ok(())
    }

    async fn list(&self) -> Result<Vec<(String, String)>, RolloutError> {
        Ok(Vec::new())
    }
}
