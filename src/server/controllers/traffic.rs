//! Writes the pulls that were counted in memory, every few seconds.

use std::time::Duration;

use async_trait::async_trait;

use super::Controller;
use crate::server::pulls::Pulls;
use crate::server::store::Store;
use crate::server::wake;

const EVERY: Duration = Duration::from_secs(5);

/// The writer of pulls. What comes in after its last run is written when the server stops.
pub struct Traffic {
    pub store: Store,
    pub pulls: Pulls,
}

#[async_trait]
impl Controller for Traffic {
    fn name(&self) -> &'static str {
        "traffic"
    }

    fn signal(&self) -> Option<wake::Controller> {
        None
    }

    async fn reconcile(&self) -> anyhow::Result<Option<Duration>> {
        self.pulls.flush(&self.store).await?;
        Ok(Some(EVERY))
    }
}
