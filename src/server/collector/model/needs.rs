//! What is needed, worked out once more from the promises and without any of the collector's SQL: sets, and a walk along the edges.

use std::collections::{BTreeMap, BTreeSet};

use crate::server::store::testing::Contents;

pub const DAY: i64 = 24 * 60 * 60 * 1000;

/// One thing that may be needed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Item {
    Served(String, String),
    Image(String),
    Link(String, String),
    Blob(String),
}

/// A manifest as it was pushed.
#[derive(Debug, Clone, Default)]
pub struct Made {
    pub blobs: Vec<String>,
    pub children: Vec<String>,
    pub subject: Option<String>,
}

/// All that is needed at a time.
pub struct Needs<'a> {
    pub made: &'a BTreeMap<String, Made>,
    /// Manifests that were there for the sake of another one, and were not needed with it any more.
    pub parts: &'a BTreeSet<(String, String)>,
    pub now: i64,
    pub grace: i64,
}

impl Needs<'_> {
    pub fn of(&self, contents: &Contents) -> BTreeSet<Item> {
        let cutoff = self.now - self.grace;
        let mut needed = BTreeSet::new();
        let streams: BTreeSet<&String> = contents.served.iter().map(|(stream, ..)| stream).collect();
        for stream in streams {
            for digest in self.served(contents, stream) {
                needed.insert(Item::Served(stream.clone(), digest));
            }
        }
        let present: BTreeSet<&String> = contents.images.iter().map(|(digest, _)| digest).collect();
        let mut images: Vec<String> =
            self.rooted(contents).into_iter().filter(|digest| present.contains(digest)).collect();
        images.extend(needed.iter().filter_map(|item| match item {
            Item::Served(_, digest) => Some(digest.clone()),
            _ => None,
        }));
        images.extend(contents.images.iter().filter(|(_, at)| *at > cutoff).map(|(digest, _)| digest.clone()));
        while let Some(digest) = images.pop() {
            if present.contains(&digest) && needed.insert(Item::Image(digest.clone())) {
                images.extend(self.made[&digest].children.iter().cloned());
            }
        }
        let kept = |digest: &String| contents.kept.iter().any(|(kept, until)| kept == digest && *until > self.now);
        for (stream, digest, at) in &contents.links {
            let named = contents.served.iter().any(|(other, manifest, _)| {
                other == stream
                    && self.made[manifest].blobs.contains(digest)
                    && needed.contains(&Item::Served(stream.clone(), manifest.clone()))
            });
            if named || *at > cutoff || kept(digest) {
                needed.insert(Item::Link(stream.clone(), digest.clone()));
            }
        }
        for (digest, at) in &contents.blobs {
            let named = needed.iter().any(|item| match item {
                Item::Image(image) => self.made[image].blobs.contains(digest),
                Item::Link(_, link) => link == digest,
                _ => false,
            });
            if named || *at > cutoff || kept(digest) {
                needed.insert(Item::Blob(digest.clone()));
            }
        }
        needed
    }

    /// What a repository keeps serving.
    fn served(&self, contents: &Contents, stream: &str) -> BTreeSet<String> {
        let all: BTreeSet<String> =
            contents.served.iter().filter(|(other, ..)| other == stream).map(|(_, digest, _)| digest.clone()).collect();
        let Some((_, _, _, untagged)) = contents.rules.iter().find(|(other, ..)| other == stream) else { return all };
        let mut queue = self.roots(contents, stream);
        for (_, digest, at) in contents.served.iter().filter(|(other, ..)| other == stream) {
            let tagged = contents.history.iter().any(|(other, _, _, _, had, _)| other == stream && had == digest);
            let is_part = self.has_owner(&all, digest) || self.parts.contains(&(stream.to_owned(), digest.clone()));
            let untagged = !tagged && !is_part && (*untagged < 0 || *at > self.now - untagged * DAY);
            if untagged || *at > self.now - self.grace {
                queue.insert(digest.clone());
            }
        }
        let mut kept = BTreeSet::new();
        let mut queue: Vec<String> = queue.into_iter().collect();
        while let Some(digest) = queue.pop() {
            if !kept.insert(digest.clone()) {
                continue;
            }
            queue.extend(all.iter().filter(|other| self.made[*other].subject.as_ref() == Some(&digest)).cloned());
            if all.contains(&digest) {
                queue.extend(self.made[&digest].children.iter().cloned());
                queue.extend(self.made[&digest].subject.clone());
            }
        }
        kept.intersection(&all).cloned().collect()
    }

    /// Whether a manifest of a repository is there for the sake of another one.
    pub fn has_owner(&self, served: &BTreeSet<String>, digest: &String) -> bool {
        served.iter().any(|other| self.made[other].children.contains(digest))
            || self.made[digest].subject.as_ref().is_some_and(|subject| served.contains(subject))
    }

    /// What tags, histories and apps of a stream keep, and somebody.
    fn roots(&self, contents: &Contents, stream: &str) -> BTreeSet<String> {
        let mut roots = BTreeSet::new();
        roots.extend(contents.tags.iter().filter(|(other, _)| other == stream).map(|(_, digest)| digest.clone()));
        roots.extend(self.retained(contents, |other| other == stream));
        roots.extend(self.app_versions(contents, |other| other == stream));
        roots.extend(contents.kept.iter().filter(|(_, until)| *until > self.now).map(|(digest, _)| digest.clone()));
        roots
    }

    /// What keeps images whatever is served.
    fn rooted(&self, contents: &Contents) -> BTreeSet<String> {
        let mut roots: BTreeSet<String> = contents.tags.iter().map(|(_, digest)| digest.clone()).collect();
        roots.extend(self.retained(contents, |_| true));
        roots.extend(self.app_versions(contents, |_| true));
        roots.extend(contents.kept.iter().filter(|(_, until)| *until > self.now).map(|(digest, _)| digest.clone()));
        roots
    }

    fn retained(&self, contents: &Contents, of: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let mut moved: BTreeMap<&String, Vec<i64>> = BTreeMap::new();
        for (_, tag, number, ..) in contents.history.iter().filter(|row| row.3 == "moved") {
            moved.entry(tag).or_default().push(*number);
        }
        let mut retained = BTreeSet::new();
        for (stream, tag, number, _, digest, at) in contents.history.iter().filter(|(stream, ..)| of(stream)) {
            let rule = contents.rules.iter().find(|(other, ..)| other == stream);
            let (versions, days) = rule.map_or((-1, -1), |(_, versions, days, _)| (*versions, *days));
            let newer = moved.get(tag).map_or(0, |all| all.iter().filter(|other| *other > number).count()) as i64;
            if versions < 0 && days < 0 || days >= 0 && *at > self.now - days * DAY || newer < versions {
                retained.insert(digest.clone());
            }
        }
        retained
    }

    fn app_versions(&self, contents: &Contents, of: impl Fn(&str) -> bool) -> BTreeSet<String> {
        let mut all = BTreeSet::new();
        let apps: BTreeSet<&String> = contents.rollouts.iter().map(|(app, ..)| app).collect();
        for app in apps {
            let mut rollouts: Vec<_> = contents.rollouts.iter().filter(|(other, ..)| other == app).collect();
            rollouts.sort_by_key(|(_, number, ..)| -number);
            let mut versions: Vec<&String> = Vec::new();
            for (_, _, stream, digest, at) in rollouts {
                if !versions.contains(&digest) {
                    versions.push(digest);
                }
                let within = versions.iter().position(|version| *version == digest).is_some_and(|place| place < 5);
                if (within || *at > self.now - 30 * DAY) && of(stream) {
                    all.insert(digest.clone());
                }
            }
        }
        all
    }
}
