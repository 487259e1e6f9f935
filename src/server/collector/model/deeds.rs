//! What people and their clients do in the world of the model.

use std::collections::BTreeSet;

use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::needs::{Item, Made};
use super::world::{GRACE, World};
use crate::model::{
    Actor, AppSpec, EventKind, HoldUntil, ImageChild, ImageLayer, NewImage, RetentionRule, RollbackMode, Stream,
    StreamTag,
};
use crate::server::blobs::Blobs as _;
use crate::server::hash::sha256;
use crate::server::store::testing::repository;
use crate::server::store::{AppFields, Claim, TagMove, TagRollback};

/// Different blobs there may be.
const BLOBS: u8 = 12;

/// A push under way: claimed, then perhaps with its bytes here.
pub(super) struct Upload {
    stream: usize,
    blob: u8,
    claim: Claim,
    arrived: bool,
}

fn blob(number: u8) -> String {
    sha256(&[number]).to_string()
}

/// No two sizes are alike, nor is any sum of some.
fn blob_size(number: u8) -> i64 {
    1 << number
}

/// A manifest's text, which is as long as it is.
fn manifest(made: &Made) -> String {
    format!("{made:?}")
}

/// Bytes of a blob or manifest of the model.
pub(super) fn size_of(made: Option<&Made>, digest: &str) -> i64 {
    match made {
        Some(made) => manifest(made).len() as i64,
        None => (0..BLOBS).find(|number| blob(*number) == digest).map(blob_size).expect("a blob of the model"),
    }
}

impl World {
    pub(super) async fn upload_step(&mut self) {
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
        if self.store.link_claimed_blob(&upload.claim, &stream, blob_size(upload.blob), None).await.is_ok() {
            self.linked(&stream, upload.blob);
            assert!(self.memory.has(&blob(upload.blob)), "an acknowledged blob has no bytes (seed {})", self.seed);
        }
    }

    pub(super) async fn mount(&mut self) {
        let (from, to, number) = (self.stream(), self.stream(), self.random.random_range(0..BLOBS));
        if self.store.mount_blob(&from.id, &to.id, &blob(number)).await.unwrap() {
            self.linked(&to.id, number);
            assert!(self.memory.has(&blob(number)), "a mounted blob has no bytes (seed {})", self.seed);
        }
    }

    pub(super) async fn put_manifest(&mut self) {
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
        let digest = sha256(manifest(&made).as_bytes()).to_string();
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

    pub(super) async fn delete_tag(&mut self) {
        let (stream, tag) = (self.stream(), self.tag());
        // Refused while the app uses it, or when there is none.
        let _ = self.store.delete_tag(&stream.project, &stream.name, tag, &Actor::person("ada")).await;
    }

    pub(super) async fn delete_manifest(&mut self) {
        let stream = self.stream();
        let Some(digest) = self.any_served(&stream).await else { return };
        let _ = self.store.delete_manifest(&stream, &digest, &Actor::person("ada")).await;
    }

    pub(super) async fn delete_blob(&mut self) {
        let (stream, number) = (self.stream(), self.random.random_range(0..BLOBS));
        let _ = self.store.unlink_blob(&stream, &blob(number), &Actor::person("ada")).await;
    }

    pub(super) async fn any_served(&mut self, stream: &Stream) -> Option<String> {
        let (_, served) = repository(&self.store, &stream.id).await;
        served.choose(&mut self.random).cloned()
    }

    /// Goes back to a row, at times to one whose image is gone: that is refused, and nothing else is.
    pub(super) async fn roll_back(&mut self) {
        let (stream, tag) = (self.stream(), self.tag());
        let Ok(found) = self.store.tag(&stream.project, &stream.name, tag).await else { return };
        let rows = self.store.list_history(&found.id, None, 20).await.unwrap();
        let Some(row) = rows.choose(&mut self.random).filter(|row| row.digest.is_some()) else { return };
        let rollback = TagRollback { mode: RollbackMode::Tag, reject: false, ..TagRollback::to(row.sequence) };
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
    pub(super) async fn app_step(&mut self) {
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
            if let Ok(rollout) = self.store.roll_back_app("demo", "app", number, None, HoldUntil::Resumed, &ada).await {
                self.needed_again(&rollout.digest);
                self.store.resume_app("demo", "app", &ada).await.unwrap();
            }
        }
    }

    pub(super) async fn set_rule(&mut self) {
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
    pub(super) async fn ask(&mut self) {
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

    pub(super) async fn keep(&mut self) {
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
        manifest: manifest(made),
        subject: made.subject.clone(),
        config_digest: made.blobs.first().cloned(),
        layers: made.blobs.iter().skip(1).map(layer).collect(),
        children: made.children.iter().map(child).collect(),
        ..NewImage::default()
    }
}
