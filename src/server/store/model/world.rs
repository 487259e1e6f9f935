//! The world of the model: eight tags in two streams of two projects, what is done to them, and what the store says then.

mod compare;
mod deeds;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::simple::{Deed, Image, NEIGHBOURS, Place, Simple, TagNumber, stream_of};
use crate::model::time::testing::TIME;
use crate::model::{Actor, EventKind, Stream};
use crate::server::store::testing::TestStore;

const STREAMS: [(&str, &str); 2] = [("demo", "a"), ("other", "b")];
const NAMES: [&str; NEIGHBOURS] = ["latest", "1", "2", "3"];
const TAGS: usize = STREAMS.len() * NAMES.len();
const IMAGES: Image = 8;
/// Other registries, and names of images there.
const PLACES: Place = 2;
/// Answers are compared after every deed, all the rest after so many.
const COMPARED_AFTER: usize = 20;
/// When day 0 begins, and how long a day is.
const BEGINNING: i64 = 1_800_000_000_000;
const DAY: i64 = 86_400_000;

pub struct World {
    store: TestStore,
    random: StdRng,
    seed: u64,
    streams: Vec<Stream>,
    simple: Simple,
    deeds: Vec<Deed>,
    /// Sequences of the rows of each tag.
    rows: Vec<Vec<i64>>,
    /// The last sequence that was looked at.
    seen: i64,
    /// Project and number, in the order in which they were opened.
    cascades: Vec<(String, i64)>,
}

fn digest(image: Image) -> String {
    format!("sha256:{image:064x}")
}

impl World {
    pub async fn new(store: TestStore, seed: u64) -> Self {
        let ada = Actor::person("ada");
        let mut streams = Vec::new();
        for (project, stream) in STREAMS {
            if store.find_project(project).await.unwrap().is_none() {
                store.create_project(&project.parse().unwrap(), "", "", None, &ada).await.unwrap();
            }
            streams.push(store.ensure_stream(project, &stream.parse().unwrap(), &ada).await.unwrap());
        }
        let simple = Simple::new(TAGS);
        let (deeds, rows, cascades) = (Vec::new(), vec![Vec::new(); TAGS], Vec::new());
        let (seen, random) = (0, StdRng::seed_from_u64(seed));
        let world = Self { store, random, seed, streams, simple, deeds, rows, seen, cascades };
        world.set_clock();
        world
    }

    /// Does so many things.
    pub async fn run(mut self, steps: usize) {
        while self.deeds.len() < steps {
            let deed = self.any_deed();
            if self.deeds.len().is_multiple_of(COMPARED_AFTER) {
                self.compare().await;
            } else if matches!(deed, Deed::RollBack { .. } | Deed::Undo { .. }) {
                // These name rows and cascades, which are known by what was compared.
                self.compare_news().await;
            }
            self.deeds.push(deed);
            let expected = self.simple.perform(deed);
            let answered = self.perform(deed).await.unwrap_or_else(|broken| self.fail(&broken.to_string()));
            if answered != expected {
                self.fail(&format!("the store answers {answered:?}, the model {expected:?}"));
            }
        }
        self.compare().await;
        let (_, faults) = self.store.verify_ledger().await.unwrap();
        assert!(faults.is_empty(), "the ledger's chain is broken (seed {}): {faults:?}", self.seed);
        TIME.set(None);
    }

    fn fail(&self, difference: &str) -> ! {
        let deeds: Vec<String> = self.deeds.iter().map(|deed| format!("{deed:?}")).collect();
        panic!("{difference} (seed {}, step {})\n{}", self.seed, deeds.len(), deeds.join("\n"));
    }

    fn any_deed(&mut self) -> Deed {
        let tag = self.random.random_range(0..TAGS);
        let image = self.random.random_range(1..=IMAGES);
        let moves = [EventKind::Push, EventKind::Import, EventKind::Build];
        match self.random.random_range(0..100) {
            0..36 => {
                let count = self.random.random_range(1..=NEIGHBOURS - tag % NEIGHBOURS);
                let kind = moves[self.random.random_range(0..moves.len())];
                let is_import = kind == EventKind::Import;
                let place = if is_import { self.random.random_range(0..=PLACES) } else { 0 };
                // Often what it has already, which may come from elsewhere now.
                let same = self.simple.tags[tag].image.filter(|_| is_import && self.random.random_bool(0.3));
                Deed::Put { kind, first: tag, count, image: same.unwrap_or(image), place }
            }
            36..38 => Deed::Name { tag, name: self.random.random_range(1..=PLACES) },
            38..44 => Deed::Follow { tag, source: self.random.random_range(0..TAGS) },
            44..48 => Deed::Free { tag },
            48..52 => Deed::Pin { tag, image },
            52..63 => {
                let rows = self.simple.tags[tag].rows.len();
                // Mostly to a row of late.
                let row = rows.saturating_sub(self.random.random_range(1..6));
                Deed::RollBack { tag, row, reject: self.random.random_bool(0.7) }
            }
            63..66 => Deed::Hold { tag },
            66..70 => Deed::HoldUntilNewer { tag },
            70..75 => {
                // Today's end has come already.
                let day = self.simple.today + self.random.random_range(0..4);
                Deed::HoldUntilDate { tag, day, moment: i64::try_from(self.deeds.len()).expect("few deeds") }
            }
            75..78 => Deed::DayPasses,
            78..80 => Deed::EndDue,
            80..85 => Deed::Resume { tag },
            85..88 => Deed::Reject { tag, image },
            88..91 => {
                // Mostly one that is.
                let rejected = self.simple.tags[tag].rejected.first().filter(|_| self.random.random_bool(0.8));
                Deed::Allow { tag, image: rejected.map_or(image, |(image, _)| *image) }
            }
            91..94 => Deed::Delete { tag },
            94..97 => Deed::Restore { tag },
            _ => match self.simple.cascades.len() {
                0 => Deed::Hold { tag },
                opened => Deed::Undo { cascade: opened.saturating_sub(self.random.random_range(1..8)) },
            },
        }
    }

    /// It is late on the model's day.
    fn set_clock(&self) {
        TIME.set(Some(BEGINNING + self.simple.today * DAY + DAY - 1));
    }

    fn names(&self, tag: TagNumber) -> (&'static str, &'static str, &'static str) {
        let (project, stream) = STREAMS[stream_of(tag)];
        (project, stream, NAMES[tag % NAMES.len()])
    }
}
