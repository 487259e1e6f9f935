//! The place of a check on this server. It asks in one of many; what it has to download takes one of few, and gives the other back: a
//! registry that takes hours to send what changed keeps nobody from asking.

use std::sync::Arc;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::server::store::{self, DueImport, Store};

/// Checks that ask at once, at all registries together.
const ASKING: usize = 64;
/// Checks that download at once. What they download at the same time is bounded by [`super::Places`].
const DOWNLOADING: usize = 48;

/// All places of checks on this server.
#[derive(Clone)]
pub struct CheckPlaces {
    asking: Arc<Semaphore>,
    downloading: Arc<Semaphore>,
}

/// One of them, until dropped.
pub struct CheckPlace {
    asking: Option<OwnedSemaphorePermit>,
    download: Option<OwnedSemaphorePermit>,
    downloading: Arc<Semaphore>,
    may_download: bool,
}

impl Default for CheckPlaces {
    fn default() -> Self {
        Self { asking: Arc::new(Semaphore::new(ASKING)), downloading: Arc::new(Semaphore::new(DOWNLOADING)) }
    }
}

impl CheckPlaces {
    /// What is free.
    pub fn free(&self) -> store::Free {
        store::Free { questions: self.asking.available_permits(), downloads: self.downloading.available_permits() }
    }

    /// Whether no check is under way.
    pub fn are_free(&self) -> bool {
        self.free() == store::Free { questions: ASKING, downloads: DOWNLOADING }
    }

    /// A place to ask in, and one for a download if that is `sure` to follow and there is one. It waits only when more come than were free.
    pub async fn enter(&self, sure: bool) -> Result<CheckPlace, AcquireError> {
        let downloading = Arc::clone(&self.downloading);
        let download = if sure { Arc::clone(&downloading).try_acquire_owned().ok() } else { None };
        let asking = Some(Arc::clone(&self.asking).acquire_owned().await?);
        Ok(CheckPlace { asking, download, downloading, may_download: false })
    }
}

impl CheckPlace {
    /// Whether the check may download now, on this server and from its registry; from then on it asks no more.
    pub(super) async fn may_download(&mut self, store: &Store, one: &DueImport) -> Result<bool, store::Error> {
        if self.may_download {
            return Ok(true);
        }
        if self.download.is_none() {
            self.download = Arc::clone(&self.downloading).try_acquire_owned().ok();
        }
        if self.download.is_none() || !store.begin_download(one).await? {
            return Ok(false);
        }
        self.asking = None;
        self.may_download = true;
        Ok(true)
    }
}
