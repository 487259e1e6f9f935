//! Forgets what has ended: expired sessions and tokens, traffic and what registries were asked long ago, and uploads that nobody goes on with.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::Controller;
use crate::model::now;
use crate::server::blobs::{Blobs, UploadId};
use crate::server::store::Store;
use crate::server::wake;

const EVERY: Duration = Duration::from_secs(60 * 60);
/// How long an upload may rest before it counts as given up.
const UPLOADS_REST_MS: i64 = 24 * 60 * 60 * 1000;

/// Sweeps once an hour.
pub struct Housekeeping {
    pub store: Store,
    pub blobs: Arc<dyn Blobs>,
}

#[async_trait]
impl Controller for Housekeeping {
    fn name(&self) -> &'static str {
        "housekeeping"
    }

    fn signal(&self) -> Option<wake::Controller> {
        None
    }

    async fn reconcile(&self) -> anyhow::Result<Option<Duration>> {
        self.store.sweep_sessions().await?;
        self.store.sweep_tokens().await?;
        self.store.sweep_traffic().await?;
        self.store.sweep_budgets().await?;
        for upload in self.store.list_stale_uploads(now() - UPLOADS_REST_MS).await? {
            if let Ok(id) = upload.id.parse::<UploadId>() {
                self.blobs.abort(&id).await?;
            }
            self.store.end_upload(&upload.id).await?;
        }
        Ok(Some(EVERY))
    }
}
