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
        // Each gets its batch: neither bases that change all the time keep what came before an upgrade waiting, nor the other way round.
        let has_bases = self.store.index_due_bases(BATCH).await?;
        let has_pending = self.store.index_some_pending(BATCH).await? > 0;
        if has_pending && !self.store.is_search_filling().await? {
            info!("The search finds everything that was there before the upgrade");
        }
        let place = match self.place() {
            Ok(place) if !has_pending => place,
            Err(left) if !has_pending && !has_bases => return Ok(Some(left)),
            _ => return Ok(Some(PAUSE)),
        };
        let (indexed, next) = self.store.index_missing(&place, STRIDE).await?;
        if indexed > 0 {
            info!("Made {indexed} things searchable that an older server wrote");
        }
        let wait = if next.is_some() || has_bases { PAUSE } else { WALK_EVERY };
        let ended = next.is_none().then(Instant::now);
        *self.walk.lock().unwrap_or_else(PoisonError::into_inner) = Walk { place: next.unwrap_or_default(), ended };
        Ok(Some(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Actor, EventKind, NewImage};
    use crate::server::store::TagMove;
    use crate::server::store::testing::{TestStore, each_store, project, run};

    async fn push(store: &TestStore, name: &str, n: u32, layers: &[String]) {
        let actor = Actor::person("ada");
        let stream = store.ensure_stream("demo", &name.parse().unwrap(), &actor).await.unwrap();
        let image = NewImage {
            digest: format!("sha256:{n:064x}"),
            manifest: "{}".to_owned(),
            config: Some(serde_json::json!({"rootfs": {"diff_ids": layers}}).to_string()),
            annotations: "{}".to_owned(),
            ..NewImage::default()
        };
        let tag = "latest".parse().unwrap();
        let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        store.put_manifest(&stream, &image, [to], &actor).await.unwrap();
    }

    #[tokio::test]
    async fn neither_what_is_due_nor_what_is_pending_waits_for_the_other() {
        for store in each_store().await {
            project(&store, "demo").await;
            for n in 0..BATCH + 10 {
                let layers = ["sha256:base".to_owned(), format!("sha256:own{n}")];
                push(&store, &format!("app-{n}"), u32::try_from(n).unwrap() + 10, &layers).await;
            }
            push(&store, "base", 1, &["sha256:base".to_owned()]).await;
            run(&store, "insert into search_pending (kind, id, digest) select 'stream', id, '' from streams").await;
            let filling = SearchFill::new(Store::clone(&store));
            filling.reconcile().await.unwrap();
            filling.reconcile().await.unwrap();
            // Each needed two steps.
            assert!(!store.is_search_filling().await.unwrap());
            filling.reconcile().await.unwrap();
            assert!(!store.index_due_bases(1).await.unwrap());
        }
    }
}
