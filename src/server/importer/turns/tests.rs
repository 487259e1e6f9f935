//! Who stood in line for long has less time left for the turn itself, and may find at its end that nobody is asked any more.

use tokio::sync::oneshot;

use super::*;
use crate::model::{Actor, InsecureRegistries};
use crate::server::blobs::Filesystem;
use crate::server::importer::{MirrorSets, SiteLogins, Surroundings};
use crate::server::oci::{Client, Options};
use crate::server::store::testing::{TestStore, project, quick_store};
use crate::server::store::{RestKind, Store};

struct Scene {
    store: TestStore,
    importer: Importer,
    source: Source,
    _blobs: tempfile::TempDir,
}

impl Scene {
    /// Somebody who is patient for so long is to ask a registry.
    async fn begin(patience: Duration) -> Self {
        let (store, blobs) = (quick_store().await, tempfile::tempdir().expect("a directory"));
        project(&store, "demo").await;
        let around = Surroundings {
            own_hosts: Vec::new(),
            mirrors: MirrorSets::default(),
            logins: SiteLogins::default(),
            insecure: InsecureRegistries::default(),
            tracker: tokio_util::task::TaskTracker::new(),
            stop: tokio_util::sync::CancellationToken::new(),
        };
        let kept = Arc::new(Filesystem::open(blobs.path()).await.expect("a blob store"));
        let client = Arc::new(Client::new(Options::default()));
        let importer = Importer::new(Store::clone(&store), kept, client, around);
        let source = importer.source("demo", "registry.example/org/app:1", false).await.expect("a source");
        let source = source.waiting(Wait::of(patience));
        store.take_slot(&source.budget, "demo", now() + 60_000).await.expect("asked");
        Self { store, importer, source, _blobs: blobs }
    }

    /// Others have taken all turns of the next so many milliseconds.
    async fn next_turn_in(&self, ms: i64) {
        let statement = format!("update registry_budgets set gap_ms = {ms}, next_slot_at = {}", now() + ms);
        let mut tx = self.store.write_tx().await.expect("a transaction");
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut *tx).await.expect("set");
        tx.commit().await.expect("committed");
    }

    async fn next_slot_at(&self) -> i64 {
        self.store.find_budget(&self.source.budget.id).await.expect("asked").expect("a budget").next_slot_at
    }

    /// Lets somebody else be first in the registry's line while `meanwhile` happens; what then comes of it.
    async fn stand_behind(&self, meanwhile: impl Future<Output = ()>) -> Result<(), ImportError> {
        let line = self.importer.shared.turns.line(&self.source.budget.id);
        let first = line.first.lock().await;
        let (stands, is_there) = oneshot::channel();
        let standing = async {
            let standing = line.join(&self.source.project);
            _ = stands.send(());
            self.importer.stand(&self.source, &line, &standing.0).await
        };
        let other = async {
            _ = is_there.await;
            meanwhile.await;
            drop(first);
        };
        tokio::join!(standing, other).0
    }
}

#[tokio::test]
async fn no_turn_is_taken_that_comes_after_what_is_left_of_somebodys_patience() {
    let scene = Scene::begin(Duration::from_millis(2000)).await;
    let before = StdMutex::new(0);
    let came = scene.stand_behind(async {
        sleep(Duration::from_millis(500)).await;
        // That is less than the whole of the patience.
        scene.next_turn_in(1900).await;
        *before.lock().expect("nobody else has it") = scene.next_slot_at().await;
    });
    let came = came.await;
    let before = before.into_inner().expect("nobody else has it");
    assert_eq!(scene.next_slot_at().await, before, "nobody would have waited for it");
    assert!(matches!(came, Err(ImportError::AskedTooMuch { .. })), "{came:?}");
}

#[tokio::test]
async fn nobody_takes_a_turn_at_a_registry_that_was_paused_or_rests_since() {
    for paused in [true, false] {
        let scene = Scene::begin(Duration::from_secs(60)).await;
        let before = scene.next_slot_at().await;
        let came = scene.stand_behind(async {
            let (host, actor) = (&scene.source.budget.host, Actor::person("ada"));
            if paused {
                scene.store.pause_registry(host, None, &actor).await.expect("paused");
            } else {
                let hour = Some(3_600_000);
                scene.store.rest_budget(&scene.source.budget, hour, RestKind::Unavailable).await.expect("it rests");
            }
        });
        match came.await {
            Err(ImportError::Paused { .. }) if paused => {}
            Err(ImportError::Resting { .. }) if !paused => {}
            other => panic!("{other:?}"),
        }
        assert_eq!(scene.next_slot_at().await, before, "nothing was taken");
    }
}
