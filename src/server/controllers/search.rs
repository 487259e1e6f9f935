//! Makes searchable what was there before an upgrade, then looks now and then for what servers of an older version wrote beside this one.
//! When the base of images came, went or got another name, these are found by it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;
use tracing::info;

use super::Controller;
use crate::server::store::{FillPlace, Store};
use crate::server::wake;

/// Things in one transaction: pushes wait no longer than it takes.
const BATCH: i64 = 50;
/// Things looked at in one step of a walk, nearly all of which have what they need.
const STRIDE: i64 = 500;
/// Others come in between two batches.
const PAUSE: Duration = Duration::from_millis(20);
/// How often everything is looked at. Servers are exchanged within minutes.
const WALK_EVERY: Duration = Duration::from_secs(15 * 60);

/// The controller.
pub struct SearchFill {
    store: Store,
    walk: Mutex<Walk>,
}

#[derive(Default)]
struct Walk {
    place: FillPlace,
    ended: Option<Instant>,
}

impl SearchFill {
    /// Over this store.
    pub fn new(store: Store) -> Self {
        Self { store, walk: Mutex::default() }
    }

    /// Where the walk is; how long until the next one begins when it has ended.
    fn place(&self) -> Result<FillPlace, Duration> {
        let walk = self.walk.lock().unwrap_or_else(PoisonError::into_inner);
        match walk.ended.and_then(|ended| WALK_EVERY.checked_sub(ended.elapsed())) {
            Some(left) => Err(left),
            None => Ok(walk.place.clone()),
        }
    }
}

#[async_trait]
impl Controller for SearchFill {
    fn name(&self) -> &'static str {
        "search"
    }

    fn signal(&self) -> Option<wake::Controller> {
        Some(wake::Controller::Search)
    }

    async fn reconcile(&self) -> anyhow::Result<Option<Duration>> {
        // Like what is searched by, what is sorted by and what the past is read from is missing of what an older server beside this one wrote.
        self.store.fill_sort_keys().await?;
        self.store.complete_older_rows().await?;
        if self.store.index_due_bases(BATCH).await? {
            return Ok(Some(PAUSE));
        }
        if self.store.index_some_pending(BATCH).await? > 0 {
            if !self.store.is_search_filling().await? {
                info!("The search finds everything that was there before the upgrade");
            }
            return Ok(Some(PAUSE));
        }
        let place = match self.place() {
            Ok(place) => place,
            Err(left) => return Ok(Some(left)),
        };
        let (indexed, next) = self.store.index_missing(&place, STRIDE).await?;
        if indexed > 0 {
            info!("Made {indexed} things searchable that an older server wrote");
        }
        let wait = if next.is_some() { PAUSE } else { WALK_EVERY };
        let ended = next.is_none().then(Instant::now);
        *self.walk.lock().unwrap_or_else(PoisonError::into_inner) = Walk { place: next.unwrap_or_default(), ended };
        Ok(Some(wait))
    }
}
