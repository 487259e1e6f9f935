//! Tells of freezes whose beginning or end has come: the ledger, open pages, and the controllers that may go on.

use std::time::Duration;

use async_trait::async_trait;

use super::Controller;
use crate::model::now;
use crate::server::store::Store;
use crate::server::wake;

/// A freeze that somebody makes meanwhile is told of so late at most. It is in force without that.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// The freezes' calendar.
pub struct Freezes {
    pub store: Store,
}

#[async_trait]
impl Controller for Freezes {
    fn name(&self) -> &'static str {
        "freezes"
    }

    fn signal(&self) -> Option<wake::Controller> {
        None
    }

    async fn reconcile(&self) -> anyhow::Result<Option<Duration>> {
        let next = self.store.note_freezes().await?;
        let wait = next.map(|at| Duration::from_millis(u64::try_from(at - now()).unwrap_or(0)));
        Ok(Some(wait.map_or(LOOK_AGAIN, |wait| wait.min(LOOK_AGAIN))))
    }
}
