//! The collector against a model: random pushes, moves, deletions, rules and crashes at every step of it, on a clock that jumps. After
//! everything the collector did, what `needs` says is needed has to be there; after each whole pass, what was not needed for the grace
//! has to be gone; and the figures of streams and projects always are what counting gives. The order of events comes from a seed alone; a
//! failure prints it.
//!
//! 10^5 steps; `WEIR_MODEL_STEPS` sets another number, and `WEIR_MODEL_SEED` begins behind that world.

mod deeds;
mod figures;
mod memory;
mod needs;
mod world;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::memory::Memory;
use self::world::World;
use super::Collector;
use crate::model::{Actor, GarbageKind};
use crate::server::blobs::Blobs;
use crate::server::hash::sha256;
use crate::server::store::testing::{
    STEPS_OF_A_WORLD, TestStore, each_store, half_of_the_worlds, project, quick_store,
};
use crate::server::store::{Moment, RollbackDepth};

const STEPS: usize = 100_000;

async fn walk(store: TestStore, seed: u64, steps: usize) {
    World::new(store, seed).await.run(steps).await;
}

#[tokio::test]
async fn nothing_needed_is_lost_and_no_rubbish_stays_in_odd_worlds() {
    half_of_the_worlds(1, STEPS, walk).await;
}

#[tokio::test]
async fn nothing_needed_is_lost_and_no_rubbish_stays_in_even_worlds() {
    half_of_the_worlds(2, STEPS, walk).await;
}

/// Worlds that only longer runs come to. In the first somebody keeps an image whose signature is in another repository; in the others an
/// index was marked long ago, and the one that lists it only now: what the lower one lists has to wait for both.
#[tokio::test]
async fn what_was_lost_once_is_not_again() {
    for seed in [1249, 1073, 1288] {
        World::new(quick_store().await, seed).await.run(STEPS_OF_A_WORLD).await;
    }
}

#[tokio::test]
async fn it_holds_on_each_database() {
    for (seed, store) in (1001..).zip(each_store().await) {
        World::new(store, seed).await.run(400).await;
    }
}

/// A store whose repository has blobs that nothing needs, and the collector over both.
async fn with_rubbish(store: &TestStore, count: u8) -> (Arc<Memory>, Collector, Vec<String>) {
    project(store, "demo").await;
    let stream = store.ensure_stream("demo", &"app".parse().unwrap(), &Actor::person("ada")).await.unwrap();
    let memory = Arc::new(Memory::default());
    let mut digests = Vec::new();
    for n in 0..count {
        let digest = sha256(&[n]);
        memory.put(&digest, vec![n].into()).await.unwrap();
        store.link_blob(&stream.id, digest.as_str(), 1, None).await.unwrap();
        digests.push(digest.to_string());
    }
    (memory.clone(), Collector::new((**store).clone(), memory), digests)
}

fn later(hours: i64) -> Moment {
    let (now, depth) = (crate::model::now() + hours * 3_600_000, RollbackDepth::default());
    Moment { now, grace_ms: 24 * 3_600_000, depth }
}

#[tokio::test]
async fn one_blob_that_cannot_be_deleted_keeps_no_other() {
    for store in each_store().await {
        let (memory, collector, digests) = with_rubbish(&store, 20).await;
        memory.break_blob(Some(&digests[7]));
        let stop = CancellationToken::new();
        assert_eq!(collector.pass(&later(1), &stop).await.unwrap().marked, 0, "all of it is young");
        assert_eq!(collector.pass(&later(25), &stop).await.unwrap().marked, 40, "the links and the blobs");
        assert_eq!(collector.pass(&later(48), &stop).await.unwrap().blobs, 0, "marked for less than the grace");
        let preview = store.preview_collection(&later(50)).await.unwrap();
        assert_eq!((preview.swept.len(), crate::server::store::bytes_of(&preview.swept)), (40, 20));
        let report = collector.pass(&later(50), &stop).await.unwrap();
        assert_eq!((report.blobs, report.bytes, report.links), (19, 19, 20));
        assert!(matches!(report.failed.as_slice(), [failed] if failed.contains(&digests[7])), "{:?}", report.failed);
        assert_eq!(memory.digests(), [digests[7].clone()]);
        memory.break_blob(None);
        assert_eq!(collector.pass(&later(50), &stop).await.unwrap().blobs, 1, "the next pass takes it up");
        assert!(memory.digests().is_empty());
    }
}

#[tokio::test]
async fn what_is_asked_for_or_kept_stays() {
    for store in each_store().await {
        let (memory, collector, digests) = with_rubbish(&store, 3).await;
        let stop = CancellationToken::new();
        collector.pass(&later(25), &stop).await.unwrap();
        let stream = store.find_stream("demo", "app").await.unwrap().unwrap();
        assert!(store.is_marked(&stream.id, &digests[0]).await.unwrap());
        store.keep_digest(&digests[0], later(100).now).await.unwrap();
        assert!(store.try_claim_blob(&digests[1]).await.unwrap().is_some());
        collector.pass(&later(50), &stop).await.unwrap();
        assert!(memory.has(&digests[0]), "somebody keeps it");
        assert!(memory.has(&digests[1]), "its mark was taken back, and set anew just now");
        assert!(!memory.has(&digests[2]));
        collector.pass(&later(75), &stop).await.unwrap();
        assert_eq!(memory.digests(), [digests[0].clone()]);
    }
}

#[tokio::test]
async fn a_push_that_meets_a_deletion_waits_or_is_refused() {
    for store in each_store().await {
        let (memory, collector, digests) = with_rubbish(&store, 1).await;
        let (digest, stream) = (&digests[0], store.find_stream("demo", "app").await.unwrap().unwrap());
        collector.pass(&later(25), &CancellationToken::new()).await.unwrap();
        store.sweep_rows(GarbageKind::Link, "", &later(50)).await.unwrap();
        let mut moment = later(50);
        moment.grace_ms = 0;
        let early = store.claim_blob(digest).await.unwrap();
        assert!(store.begin_deletion(digest, &moment).await.unwrap().is_none(), "the claim took the mark back");
        store.mark_unneeded(GarbageKind::Blob, "", &moment).await.unwrap();
        let deletion = store.begin_deletion(digest, &moment).await.unwrap().expect("nothing needs it");
        assert!(store.try_claim_blob(digest).await.unwrap().is_none(), "who comes now waits");
        let refused = store.link_claimed_blob(&early, &stream.id, 1, None).await;
        assert!(refused.is_err(), "who claimed before is not acknowledged");
        memory.delete(&digest.parse().unwrap()).await.unwrap();
        store.end_deletion(&deletion).await.unwrap();
        let claim = store.try_claim_blob(digest).await.unwrap().expect("the deletion is over");
        memory.put(&digest.parse().unwrap(), vec![0].into()).await.unwrap();
        store.link_claimed_blob(&claim, &stream.id, 1, None).await.unwrap();
        assert!(store.begin_deletion(digest, &moment).await.unwrap().is_none());
        assert_eq!(store.find_blob(&stream.id, digest).await.unwrap(), Some(1));
    }
}
