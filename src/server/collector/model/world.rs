//! The world of the model: three repositories, an app, a clock, and what happens in them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio_util::sync::CancellationToken;

use super::memory::Memory;
use super::needs::{DAY, Item, Made, Needs};
use crate::model::time::testing::TIME;
use crate::model::{
    Actor, AppSpec, EventKind, GarbageKind, ImageChild, ImageLayer, NewImage, RetentionRule, RollbackMode, Stream,
    StreamTag,
};
use crate::server::blobs::Blobs as _;
use crate::server::collector::Collector;
use crate::server::hash::sha256;
use crate::server::store::testing::{Contents, TestStore, repository};
use crate::server::store::{AppFields, Claim, Deletion, Moment, TagMove, TagRollback};

const GRACE: i64 = DAY;
const HOUR: i64 = DAY / 24;
/// Different blobs there may be.
const BLOBS: u8 = 12;

/// A push under way: claimed, then perhaps with its bytes here.
struct Upload {
    stream: usize,
    blob: u8,
    claim: Claim,
    arrived: bool,
}

pub struct World {
    store: TestStore,
    memory: Arc<Memory>,
    collector: Collector,
    random: StdRng,
    seed: u64,
    now: i64,
    streams: Vec<Stream>,
    made: BTreeMap<String, Made>,
    /// Manifests of repositories that are marked, and those of them that were there for the sake of another one.
    marked: BTreeSet<(String, String)>,
    parts: BTreeSet<(String, String)>,
    uploads: Vec<Upload>,
    /// A blob whose row is gone and whose bytes are about to go.
    deletion: Option<Deletion>,
    /// What was not needed, and the first whole pass that could see it so.
    idle: BTreeMap<Item, Option<i64>>,
}

fn blob(number: u8) -> String {
    sha256(&[number]).to_string()
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

    fn moment(&self) -> Moment {
        Moment { now: self.now, grace_ms: GRACE }
    }

    fn stream(&mut self) -> Stream {
        self.streams.choose(&mut self.random).unwrap().clone()
    }

    fn tag(&mut self) -> &'static str {
        ["latest", "1", "2"].choose(&mut self.random).unwrap()
    }

    async fn upload_step(&mut self) {
        if self.uploads.len() < 3 && self.random.random_bool(0.5) {
            let (stream, number) =
                (self.random.random_range(0..self.streams.len()), self.random.random_range(0..BLOBS));
            let Some(claim) = self.store.try_claim_blob(&blob(number)).await.unwrap() else { return };
            self.idle.remove(&Item::Blob(blob(number)));
            self.uploads.push(Upload { stream, blob: number, claim, arrived: false });
            return;
        }
        if self.uploads.is_empty() {
            return;
        }
        let index = self.random.random_range(0..self.uploads.len());
        let upload = &mut self.uploads[index];
        if !upload.arrived {
            let digest = blob(upload.blob).parse().unwrap();
            self.memory.put(&digest, vec![upload.blob].into()).await.unwrap();
            upload.arrived = true;
            return;
        }
        let upload = self.uploads.swap_remove(index);
        let stream = self.streams[upload.stream].id.clone();
        if self.store.link_claimed_blob(&upload.claim, &stream, 1, None).await.is_ok() {
            self.linked(&stream, upload.blob);
            assert!(self.memory.has(&blob(upload.blob)), "an acknowledged blob has no bytes (seed {})", self.seed);
        }
    }

    async fn mount(&mut self) {
        let (from, to, number) = (self.stream(), self.stream(), self.random.random_range(0..BLOBS));
        if self.store.mount_blob(&from.id, &to.id, &blob(number)).await.unwrap() {
            self.linked(&to.id, number);
            assert!(self.memory.has(&blob(number)), "a mounted blob has no bytes (seed {})", self.seed);
        }
    }

    async fn put_manifest(&mut self) {
        let stream = self.stream();
        let (links, served) = repository(&self.store, &stream.id).await;
        let mut made = Made::default();
        if !served.is_empty() && self.random.random_bool(0.2) {
            made.children = served.choose_multiple(&mut self.random, 2).cloned().collect();
            made.children.sort();
        } else {
            made.blobs = links.choose_multiple(&mut self.random, 2).cloned().collect();
            made.blobs.sort();
        }
        if !served.is_empty() && self.random.random_bool(0.15) {
            made.subject = served.choose(&mut self.random).cloned();
        }
        let digest = sha256(format!("{made:?}").as_bytes()).to_string();
        let image = new_image(&digest, &made);
        let tag = self.tag().parse().unwrap();
        let to = TagMove { tag: &tag, kind: EventKind::Push, reference: None, cause: None, build_id: None };
        let to = self.random.random_bool(0.7).then_some(to);
        let put = self.store.put_manifest(&stream, &image, to, &Actor::person("ada")).await;
        assert!(put.is_ok(), "a manifest whose parts are all there was refused: {put:?} (seed {})", self.seed);
        self.forget_mark(&stream.id, &digest);
        self.made.insert(digest.clone(), made);
        self.needed_again(&digest);
    }

    /// An image is needed now, and with it all that it leads to: if that was rubbish, it is not any more, whether or not a check comes
    /// while it is needed.
    fn needed_again(&mut self, digest: &str) {
        let (mut queue, mut seen) = (vec![digest.to_owned()], BTreeSet::new());
        while let Some(digest) = queue.pop() {
            if !seen.insert(digest.clone()) {
                continue;
            }
            let Some(made) = self.made.get(&digest) else { continue };
            queue.extend(made.children.iter().chain(&made.subject).cloned());
            let referrers = self.made.iter().filter(|(_, other)| other.subject.as_ref() == Some(&digest));
            queue.extend(referrers.map(|(referrer, _)| referrer.clone()));
            self.idle.retain(|item, _| match item {
                Item::Served(_, other) | Item::Image(other) => *other != digest,
                Item::Link(_, blob) | Item::Blob(blob) => !made.blobs.contains(blob),
            });
        }
    }

    async fn delete_tag(&mut self) {
        let (stream, tag) = (self.stream(), self.tag());
        // Refused while the app uses it, or when there is none.
        let _ = self.store.delete_tag(&stream.project, &stream.name, tag, &Actor::person("ada")).await;
    }

    async fn delete_manifest(&mut self) {
        let stream = self.stream();
        let Some(digest) = self.any_served(&stream).await else { return };
        let _ = self.store.delete_manifest(&stream, &digest, &Actor::person("ada")).await;
    }

    async fn delete_blob(&mut self) {
        let (stream, number) = (self.stream(), self.random.random_range(0..BLOBS));
        let _ = self.store.unlink_blob(&stream, &blob(number), &Actor::person("ada")).await;
    }

    async fn any_served(&mut self, stream: &Stream) -> Option<String> {
        let (_, served) = repository(&self.store, &stream.id).await;
        served.choose(&mut self.random).cloned()
    }

    /// Goes back to a row, at times to one whose image is gone: that is refused, and nothing else is.
    async fn roll_back(&mut self) {
        let (stream, tag) = (self.stream(), self.tag());
        let Ok(found) = self.store.tag(&stream.project, &stream.name, tag).await else { return };
        let rows = self.store.list_history(&found.id, None, 20).await.unwrap();
        let Some(row) = rows.choose(&mut self.random).filter(|row| row.digest.is_some()) else { return };
        let rollback =
            TagRollback { to: row.sequence, mode: RollbackMode::Tag, reason: None, seen: None, reject: false };
        let ada = Actor::person("ada");
        let back = self.store.roll_back_tag(&stream.project, &stream.name, tag, &rollback, &ada).await;
        if back.is_ok() {
            let digest = row.digest.as_deref().unwrap();
            assert!(
                self.store.find_image(digest).await.unwrap().is_some(),
                "gone back to nothing (seed {})",
                self.seed
            );
            self.needed_again(digest);
            self.store.resume_tag(&stream.project, &stream.name, tag, &ada).await.unwrap();
        }
    }

    /// An app runs `demo/a:latest`, and now and then goes back.
    async fn app_step(&mut self) {
        let ada = Actor::person("ada");
        if self.store.app("demo", "app").await.is_err() {
            let fields = AppFields {
                labels: "{}".to_owned(),
                annotations: "{}".to_owned(),
                spec: AppSpec::default(),
                image: StreamTag { project: "demo".to_owned(), stream: "a".to_owned(), tag: "latest".to_owned() },
                automatic: true,
            };
            // There may be no such tag yet.
            let _ = self.store.create_app("demo", &"app".parse().unwrap(), &fields, &ada).await;
            return;
        }
        self.store.request_ready_rollouts().await.unwrap();
        let app = self.store.app("demo", "app").await.unwrap();
        if app.last_number > 1 && self.random.random_bool(0.3) {
            let number = self.random.random_range(1..=app.last_number);
            if let Ok(rollout) = self.store.roll_back_app("demo", "app", number, None, &ada).await {
                self.needed_again(&rollout.digest);
                self.store.resume_app("demo", "app", &ada).await.unwrap();
            }
        }
    }

    async fn set_rule(&mut self) {
        let stream = self.stream();
        let mut some = |of: &[i64]| {
            let value = of.choose(&mut self.random).copied();
            value.filter(|_| self.random.random_bool(0.6))
        };
        let rule = RetentionRule {
            keep_versions: some(&[0, 1, 3]),
            keep_days: some(&[0, 1, 4]),
            untagged_days: some(&[0, 2]),
        };
        // Refused when the app could not go back any more.
        let _ = self.store.set_retention(&stream, &rule, &self.moment(), &Actor::person("ada")).await;
    }

    /// A client that may push asks whether a blob is there.
    async fn ask(&mut self) {
        let (stream, number) = (self.stream(), self.random.random_range(0..BLOBS));
        if self.store.find_blob(&stream.id, &blob(number)).await.unwrap().is_none() {
            return;
        }
        assert!(self.memory.has(&blob(number)), "a blob that is served has no bytes (seed {})", self.seed);
        if self.store.is_marked(&stream.id, &blob(number)).await.unwrap() {
            self.store.refresh(&stream.id, &blob(number)).await.unwrap();
            self.linked(&stream.id, number);
        }
    }

    /// A blob of a repository is fresh, and needed for as long: see [`World::needed_again`].
    fn linked(&mut self, stream: &str, number: u8) {
        self.idle.remove(&Item::Link(stream.to_owned(), blob(number)));
        self.idle.remove(&Item::Blob(blob(number)));
    }

    async fn keep(&mut self) {
        let stream = self.stream();
        let Some(digest) = self.any_served(&stream).await else { return };
        self.store.keep_digest(&digest, self.now + GRACE).await.unwrap();
        let mut tree = vec![digest];
        while let Some(digest) = tree.pop() {
            tree.extend(self.made[&digest].children.iter().cloned());
            for stream in self.streams.clone() {
                self.forget_mark(&stream.id, &digest);
            }
            self.idle.remove(&Item::Image(digest));
        }
    }

    fn forget_mark(&mut self, stream: &str, digest: &str) {
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

fn new_image(digest: &str, made: &Made) -> NewImage {
    let layer = |layer_digest: &String| ImageLayer {
        layer_digest: layer_digest.clone(),
        size: 1,
        media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
    };
    let child = |child_digest: &String| ImageChild {
        child_digest: child_digest.clone(),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        size: 1,
        architecture: None,
        os: None,
        variant: None,
    };
    NewImage {
        digest: digest.to_owned(),
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        manifest: "{}".to_owned(),
        subject: made.subject.clone(),
        config_digest: made.blobs.first().cloned(),
        layers: made.blobs.iter().skip(1).map(layer).collect(),
        children: made.children.iter().map(child).collect(),
        ..NewImage::default()
    }
}
