//! What streams and projects should hold, counted from nothing but the links that are there.

use std::collections::{BTreeMap, BTreeSet};

use super::deeds::size_of;
use super::world::World;
use crate::server::store::testing::Contents;

/// Who holds what: the content, a blob or a manifest, with its size.
#[derive(Default)]
struct Holdings(BTreeMap<(bool, String), (i64, BTreeSet<String>)>);

impl Holdings {
    fn add(&mut self, is_manifest: bool, digest: &str, size: i64, holder: &str) {
        let held = self.0.entry((is_manifest, digest.to_owned())).or_insert_with(|| (size, BTreeSet::new()));
        held.1.insert(holder.to_owned());
    }

    /// All bytes of a holder, and those nobody else holds.
    fn of(&self, holder: &str) -> (i64, i64) {
        let held = || self.0.values().filter(|(_, holders)| holders.contains(holder));
        let own = held().filter(|(_, holders)| holders.len() == 1);
        (held().map(|(size, _)| size).sum(), own.map(|(size, _)| size).sum())
    }
}

/// The figures that pages show are the ones that counting gives.
pub async fn check(world: &World, contents: &Contents, step: usize) {
    let (mut by_stream, mut by_project) = (Holdings::default(), Holdings::default());
    for (is_manifest, rows) in [(false, &contents.links), (true, &contents.served)] {
        for (stream_id, digest, _) in rows {
            let size = size_of(world.made.get(digest).filter(|_| is_manifest), digest);
            by_stream.add(is_manifest, digest, size, stream_id);
            let stream = world.streams.iter().find(|stream| stream.id == *stream_id).expect("a stream of the model");
            by_project.add(is_manifest, digest, size, &stream.project);
        }
    }
    let seed = world.seed;
    for stream in &world.streams {
        let usage = world.store.stream_usage(&stream.id).await.expect("figures");
        let shown = (usage.bytes, usage.own_bytes);
        assert_eq!(shown, by_stream.of(&stream.id), "of {} (seed {seed}, step {step})", stream.name);
        let usage = world.store.project_usage(&stream.project).await.expect("figures");
        let shown = (usage.bytes, usage.own_bytes);
        assert_eq!(shown, by_project.of(&stream.project), "of {} (seed {seed}, step {step})", stream.project);
    }
}
