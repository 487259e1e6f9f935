//! Ends holds whose date has come, and lets what waited for that move the tag.

use std::time::Duration;

use async_trait::async_trait;

use super::Controller;
use crate::model::now;
use crate::server::store::Store;
use crate::server::wake;

/// A date that somebody sets meanwhile is seen so late at most.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The holds' calendar.
pub struct Holds {
    pub store: Store,
}

#[async_trait]
impl Controller for Holds {
    fn name(&self) -> &'static str {
        "holds"
    }

    fn signal(&self) -> Option<wake::Controller> {
        None
    }

    async fn reconcile(&self) -> anyhow::Result<Option<Duration>> {
        let next = self.store.end_due_holds().await?;
        let wait = next.map(|at| Duration::from_millis(u64::try_from(at - now()).unwrap_or(0)));
        Ok(Some(wait.map_or(LOOK_AGAIN, |wait| wait.min(LOOK_AGAIN))))
    }
}
