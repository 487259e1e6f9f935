//! The world of the model: three repositories, an app, a clock, and what happens in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use super::deeds::Upload;
use super::figures;
use super::memory::Memory;
use super::needs::{DAY, Item, Made, Needs};
use crate::model::time::testing::TIME;
use crate::model::{Actor, GarbageKind, Stream};
use crate::server::blobs::Blobs as _;
use crate::server::collector::Collector;
use crate::server::store::testing::{Contents, TestStore};
use crate::server::store::{Deletion, Moment, RollbackDepth};

pub(super) const GRACE: i64 = DAY;
const HOUR: i64 = DAY / 24;

pub struct World {
    pub(super) store: TestStore,
    pub(super) memory: Arc<Memory>,
    collector: Collector,
    pub(super) random: StdRng,
    pub(super) seed: u64,
    pub(super) now: i64,
    pub(super) streams: Vec<Stream>,
    pub(super) made: BTreeMap<String, Made>,
    /// Manifests of repositories that are marked, and those of them that were there for the sake of another one.
    marked: BTreeSet<(String, String)>,
    parts: BTreeSet<(String, String)>,
    pub(super) uploads: Vec<Upload>,
    /// A blob whose row is gone and whose bytes are about to go.
    deletion: Option<Deletion>,
    /// What was not needed, and the first whole pass that could see it so.
    pub(super) idle: BTreeMap<Item, Option<i64>>,
}

impl World {
    pub async fn new(store: TestStore, seed: u64) -> Self {
        let now = 1_800_000_000_000;
        TIME.set(Some(now));
        let ada = Actor::person("ada");
        let mut streams = Vec::new();
        for (project, stream) in [("demo", "a"), ("demo", "b"), ("other", "c")] {
            if store.find_stream(project, "a").await.unwrap().is_none() {
                store.create_project(&project.parse().unwrap(), "", "", None, &ada).await.unwrap();
            }
            streams.push(store.ensure_stream(project, &stream.parse().unwrap(), &ada).await.unwrap());
        }
        let memory = Arc::new(Memory::default());
        let collector = Collector::new((*store).clone(), memory.clone());
        let random = StdRng::seed_from_u64(seed);
        Self {
            store,
            memory,
            collector,
            random,
            seed,
            now,
            streams,
            made: BTreeMap::new(),
            marked: BTreeSet::new(),
            parts: BTreeSet::new(),
            uploads: Vec::new(),
            deletion: None,
            idle: BTreeMap::new(),
        }
    }

    pub async fn run(mut self, steps: usize) {
        for step in 0..steps {
            self.step(step).await;
        }
        // Whatever is left undone, three whole passes end it.
        self.crash();
        for _ in 0..3 {
            self.advance(GRACE + HOUR);
            self.pass(steps).await;
        }
        TIME.set(None);
    }

    async fn step(&mut self, step: usize) {
        match self.random.random_range(0..100) {
            0..30 => self.upload_step().await,
            30..36 => self.mount().await,
            36..54 => self.put_manifest().await,
            54..57 => self.delete_tag().await,
            57..60 => self.delete_manifest().await,
            60..62 => self.delete_blob().await,
            62..67 => self.roll_back().await,
            67..70 => self.app_step().await,
            70..73 => self.set_rule().await,
            73..76 => self.ask().await,
            76 => self.keep().await,
            77 => self.crash(),
            78..90 => {
                // Now and then a holiday: apps keep what is older than 30 days only by number.
                let hours = if self.random.random_bool(0.05) { 10 * 24 } else { self.random.random_range(1..10) };
                self.advance(hours * HOUR);
            }
            90..93 => self.mark(step).await,
            93..97 => self.sweep(step).await,
            97..99 => self.delete_step(step).await,
            _ => self.pass(step).await,
        }
    }

    fn advance(&mut self, by: i64) {
        self.now += by;
        TIME.set(Some(self.now));
    }

    /// The process dies: what it had in hand is gone, what it had done stays.
    fn crash(&mut self) {
        self.uploads.clear();
        self.deletion = None;
    }

    pub(super) fn moment(&self) -> Moment {
        Moment { now: self.now, grace_ms: GRACE, depth: RollbackDepth::default() }
    }

    pub(super) fn stream(&mut self) -> Stream {
        self.streams.choose(&mut self.random).unwrap().clone()
    }

    pub(super) fn tag(&mut self) -> &'static str {
        ["latest", "1", "2"].choose(&mut self.random).unwrap()
    }

    pub(super) fn forget_mark(&mut self, stream: &str, digest: &str) {
        let key = (stream.to_owned(), digest.to_owned());
        self.marked.remove(&key);
        self.parts.remove(&key);
        self.idle.remove(&Item::Served(key.0, key.1));
    }

    fn needs(&self, contents: &Contents) -> BTreeSet<Item> {
        Needs { made: &self.made, parts: &self.parts, now: self.now, grace: GRACE }.of(contents)
    }

    /// Manifests that are not needed now are there for the sake of others or not: the collector will remember, and so does this.
    fn remember_parts(&mut self, contents: &Contents, needed: &BTreeSet<Item>) {
        for (stream, digest, _) in &contents.served {
            let key = (stream.clone(), digest.clone());
            if needed.contains(&Item::Served(stream.clone(), digest.clone())) {
                self.marked.remove(&key);
                self.parts.remove(&key);
                continue;
            }
            if !self.marked.insert(key.clone()) {
                continue;
            }
            let served = contents.served.iter().filter(|row| row.0 == *stream).map(|row| row.1.clone()).collect();
            let needs = Needs { made: &self.made, parts: &self.parts, now: self.now, grace: GRACE };
            if needs.has_owner(&served, digest) {
                self.parts.insert(key);
            }
        }
        let is_served = |key: &(String, String)| contents.served.iter().any(|row| row.0 == key.0 && row.1 == key.1);
        self.marked.retain(is_served);
        self.parts.retain(is_served);
    }

    /// Takes back marks and sets new ones, as the first half of a pass that is then killed.
    async fn mark(&mut self, step: usize) {
        let before = Contents::read(&self.store).await.unwrap();
        let needed = self.needs(&before);
        let moment = self.moment();
        self.store.unmark_needed(&moment).await.unwrap();
        for stream in self.streams.clone() {
            self.store.mark_unneeded(GarbageKind::Manifest, &stream.id, &moment).await.unwrap();
        }
        self.remember_parts(&before, &needed);
        self.store.mark_unneeded(GarbageKind::Image, "", &moment).await.unwrap();
        if self.random.random_bool(0.5) {
            for stream in self.streams.clone() {
                self.store.mark_unneeded(GarbageKind::Link, &stream.id, &moment).await.unwrap();
            }
            self.store.mark_unneeded(GarbageKind::Blob, "", &moment).await.unwrap();
        }
        self.check(&needed, step).await;
    }

    async fn sweep(&mut self, step: usize) {
        let needed = self.needs(&Contents::read(&self.store).await.unwrap());
        let kind = *[GarbageKind::Manifest, GarbageKind::Image, GarbageKind::Link].choose(&mut self.random).unwrap();
        let stream = self.stream();
        self.store.sweep_rows(kind, &stream.id, &self.moment()).await.unwrap();
        self.check(&needed, step).await;
    }

    /// The next step of deleting a blob: its row goes, its bytes go, it is over. A crash may come between any two.
    async fn delete_step(&mut self, step: usize) {
        let needed = self.needs(&Contents::read(&self.store).await.unwrap());
        match self.deletion.take() {
            None => {
                let all = self.store.list_sweepable_blobs(&self.moment(), "").await.unwrap();
                let Some(row) = all.choose(&mut self.random) else { return };
                self.deletion = self.store.begin_deletion(&row.digest, &self.moment()).await.unwrap();
            }
            Some(deletion) => {
                // To claim the blob, as is done to look whether the lease holds, takes back its mark.
                self.idle.remove(&Item::Blob(deletion.digest.clone()));
                // A deleter that is slower than its lease has given up.
                if self.random.random_bool(0.9) && self.is_leased(&deletion).await {
                    self.memory.delete(&deletion.digest.parse().unwrap()).await.unwrap();
                    self.store.end_deletion(&deletion).await.unwrap();
                }
            }
        }
        self.check(&needed, step).await;
    }

    async fn is_leased(&self, deletion: &Deletion) -> bool {
        self.store.try_claim_blob(&deletion.digest).await.unwrap().is_none()
    }

    /// A whole pass.
    async fn pass(&mut self, step: usize) {
        let before = Contents::read(&self.store).await.unwrap();
        let needed = self.needs(&before);
        self.remember_parts(&before, &needed);
        self.collector.pass(&self.moment(), &CancellationToken::new()).await.unwrap();
        let after = self.check(&needed, step).await;
        self.check_rubbish(&after, step);
    }

    /// Nothing that was needed is gone, and what the rows promise is there.
    async fn check(&mut self, needed: &BTreeSet<Item>, step: usize) -> Contents {
        let contents = Contents::read(&self.store).await.unwrap();
        let present = items(&contents);
        for item in needed {
            assert!(present.contains(item), "{item:?} was needed and is gone (seed {}, step {step})", self.seed);
        }
        for (digest, _) in &contents.blobs {
            assert!(self.memory.has(digest), "the bytes of {digest} are gone (seed {}, step {step})", self.seed);
        }
        figures::check(self, &contents, step).await;
        self.idle.retain(|item, _| present.contains(item) && !needed.contains(item));
        for item in present.difference(needed) {
            self.idle.entry(item.clone()).or_insert(None);
        }
        contents
    }

    /// What was not needed when a whole pass saw it, and is not needed after the grace, is gone.
    fn check_rubbish(&mut self, contents: &Contents, step: usize) {
        let needed = self.needs(contents);
        let (seed, now) = (self.seed, self.now);
        self.idle.retain(|item, _| !needed.contains(item));
        for (item, since) in &mut self.idle {
            let since = *since.get_or_insert(now);
            assert!(
                since + GRACE > now,
                "{item:?} is rubbish since {} h (seed {seed}, step {step})",
                (now - since) / HOUR
            );
        }
        if self.uploads.is_empty() && self.deletion.is_none() {
            for digest in self.memory.digests() {
                let recorded = contents.blobs.iter().any(|(blob, _)| *blob == digest);
                let old = self.memory.came_at(&digest).is_some_and(|at| at <= now - GRACE);
                let deleting = contents.deleting.iter().any(|(blob, until)| *blob == digest && *until > now);
                assert!(recorded || deleting || !old, "{digest} has bytes and no row (seed {seed}, step {step})");
            }
        }
    }
}

fn items(contents: &Contents) -> BTreeSet<Item> {
    let served = contents.served.iter().map(|(stream, digest, _)| Item::Served(stream.clone(), digest.clone()));
    let links = contents.links.iter().map(|(stream, digest, _)| Item::Link(stream.clone(), digest.clone()));
    let images = contents.images.iter().map(|(digest, _)| Item::Image(digest.clone()));
    let blobs = contents.blobs.iter().map(|(digest, _)| Item::Blob(digest.clone()));
    served.chain(links).chain(images).chain(blobs).collect()
}
