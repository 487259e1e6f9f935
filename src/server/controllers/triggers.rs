//! Lets changes flow: requests the builds and rollouts that the rows call for. Which those are the store decides, in one transaction.

use std::time::Duration;

use async_trait::async_trait;
use tracing::info;

use super::Controller;
use crate::server::store::Store;
use crate::server::wake;

/// How long a change may wait when its signal was lost, or was sent in another process.
const RESYNC: Duration = Duration::from_secs(5);

/// The image-change triggers.
pub struct Triggers {
    store: Store,
}

impl Triggers {
    /// Over this store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }
}

#[async_trait]
impl Controller for Triggers {
    fn name(&self) -> &'static str {
        "triggers"
    }

    fn signal(&self) -> Option<wake::Controller> {
        Some(wake::Controller::Triggers)
    }

    async fn reconcile(&self) -> anyhow::Result<Option<Duration>> {
        for build in self.store.request_ready_builds().await? {
            info!(build.id = %build.id, "Requested build {}/{}: {}", build.project, build.name(), build.trigger_text);
        }
        for rollout in self.store.request_ready_rollouts().await? {
            info!(app.name = %rollout.app, "Requested rollout {} of {}/{}", rollout.number, rollout.project, rollout.app);
        }
        Ok(Some(RESYNC))
    }
}
