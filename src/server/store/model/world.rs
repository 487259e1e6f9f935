//! The world of the model: eight tags in two streams of two projects, what is done to them, and what the store says then.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::simple::{Answer, Deed, Image, NEIGHBOURS, Row, Simple, TagNumber, stream_of};
use crate::model::time::testing::TIME;
use crate::model::{Actor, Digest, EventKind, HoldUntil, NewImage, Outcome, RollbackMode, SourceKind, Stream, TagName};
use crate::server::store::testing::TestStore;
use crate::server::store::{Error, Result, TagMove, TagRollback, TagSpec};

const STREAMS: [(&str, &str); 2] = [("demo", "a"), ("other", "b")];
const NAMES: [&str; NEIGHBOURS] = ["latest", "1", "2", "3"];
const TAGS: usize = STREAMS.len() * NAMES.len();
const IMAGES: Image = 8;
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

/// How a tag stands, as both have to say it.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    image: Option<Image>,
    deleted: bool,
    follows: Option<TagNumber>,
    held: bool,
    rejected: BTreeSet<Image>,
    rows: usize,
}

/// A history row as it is read: sequence, stream, tag, kind, outcome, digests.
type ReadRow = (i64, String, String, String, String, Option<String>, Option<String>);

fn digest(image: Image) -> String {
    format!("sha256:{image:064x}")
}

fn image_of(digest: Option<String>) -> Option<Image> {
    digest.map(|digest| Image::from_str_radix(&digest["sha256:".len()..], 16).expect("an image of the model"))
}

fn number_of(stream: &str, tag: &str) -> TagNumber {
    let stream = STREAMS.iter().position(|(_, name)| *name == stream).expect("a stream of the model");
    stream * NAMES.len() + NAMES.iter().position(|name| *name == tag).expect("a tag of the model")
}

/// What was refused is an answer; that something is broken is none.
fn answer<T>(done: Result<T>, outcomes: impl FnOnce(T) -> Vec<Outcome>) -> Result<Answer> {
    match done {
        Ok(done) => Ok(Some(outcomes(done))),
        Err(Error::NotFound { .. } | Error::Conflict(_) | Error::Invalid { .. }) => Ok(None),
        Err(broken) => Err(broken),
    }
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
            0..38 => {
                let count = self.random.random_range(1..=NEIGHBOURS - tag % NEIGHBOURS);
                Deed::Put { kind: moves[self.random.random_range(0..moves.len())], first: tag, count, image }
            }
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

    async fn perform(&self, deed: Deed) -> Result<Answer> {
        let (store, ada) = (&self.store, Actor::person("ada"));
        match deed {
            Deed::Put { kind, first, count, image } => {
                let image = NewImage { digest: digest(image), manifest: "{}".to_owned(), ..NewImage::default() };
                let names = (first..first + count).map(|tag| self.names(tag).2.parse().unwrap());
                let names: Vec<TagName> = names.collect();
                let to = |tag| TagMove { tag, kind, reference: None, cause: None, build_id: None };
                let put = store.put_manifest(&self.streams[stream_of(first)], &image, names.iter().map(to), &ada).await;
                answer(put, |moves| moves.into_iter().map(|moved| moved.outcome).collect())
            }
            Deed::Follow { tag, source } => {
                let (project, stream, name) = self.names(source);
                let source = Some((SourceKind::ImageStreamTag, format!("{stream}:{name}")));
                self.set(tag, TagSpec { source, source_project: Some(project.to_owned()), ..TagSpec::default() }).await
            }
            Deed::Free { tag } => self.set(tag, TagSpec::default()).await,
            Deed::Pin { tag, image } => {
                let source = Some((SourceKind::ImageStreamImage, digest(image)));
                self.set(tag, TagSpec { source, ..TagSpec::default() }).await
            }
            Deed::RollBack { tag, row, reject } => {
                let (project, stream, name) = self.names(tag);
                let to = self.rows[tag].get(row).copied().unwrap_or_default();
                let back = TagRollback { mode: RollbackMode::Tag, reject, ..TagRollback::to(to) };
                let moved = store.roll_back_tag(project, stream, name, &back, &ada).await;
                answer(moved, |moved| vec![moved.outcome])
            }
            Deed::Hold { tag } => {
                let (project, stream, name) = self.names(tag);
                answer(store.hold_tag(project, stream, name, None, &ada).await, |()| Vec::new())
            }
            Deed::HoldUntilNewer { tag } => {
                let (project, stream, name) = self.names(tag);
                let set = store.set_hold_end(project, stream, name, HoldUntil::Newer, &ada).await;
                answer(set, |()| Vec::new())
            }
            Deed::HoldUntilDate { tag, day, moment } => {
                let (project, stream, name) = self.names(tag);
                let until = HoldUntil::Date(BEGINNING + day * DAY + moment);
                let held = store.hold_tag_until(project, stream, name, None, until, &ada).await;
                answer(held, |()| Vec::new())
            }
            Deed::DayPasses => {
                self.set_clock();
                Ok(Some(Vec::new()))
            }
            Deed::EndDue => answer(store.end_due_holds().await, |_| Vec::new()),
            Deed::Reject { tag, image } => {
                let (project, stream, name) = self.names(tag);
                let image: Digest = digest(image).parse().expect("a digest");
                answer(store.reject_image(project, stream, name, &image, None, &ada).await, |()| Vec::new())
            }
            Deed::Allow { tag, image } => {
                let (project, stream, name) = self.names(tag);
                let image: Digest = digest(image).parse().expect("a digest");
                answer(store.allow_image(project, stream, name, &image, &ada).await, |()| Vec::new())
            }
            Deed::Resume { tag } => {
                let (project, stream, name) = self.names(tag);
                let resumed = store.resume_tag(project, stream, name, &ada).await;
                answer(resumed, |moved| moved.map(|moved| moved.outcome).into_iter().collect())
            }
            Deed::Delete { tag } => {
                let (project, stream, name) = self.names(tag);
                answer(store.delete_tag(project, stream, name, &ada).await, |()| Vec::new())
            }
            Deed::Restore { tag } => {
                let (project, stream, name) = self.names(tag);
                let moved = store.restore_tag(project, stream, name, None, &ada).await;
                answer(moved, |moved| vec![moved.outcome])
            }
            Deed::Undo { cascade } => {
                let (project, number) = &self.cascades[cascade];
                answer(store.undo_cascade(project, *number, &ada).await, |_| Vec::new())
            }
        }
    }

    /// It is late on the model's day.
    fn set_clock(&self) {
        TIME.set(Some(BEGINNING + self.simple.today * DAY + DAY - 1));
    }

    async fn set(&self, tag: TagNumber, spec: TagSpec) -> Result<Answer> {
        let (project, stream, name) = self.names(tag);
        let (stream, name) = (stream.parse().unwrap(), name.parse().unwrap());
        let set = self.store.set_tag(project, &stream, &name, &spec, None, &Actor::person("ada")).await;
        answer(set, |_| Vec::new())
    }

    fn names(&self, tag: TagNumber) -> (&'static str, &'static str, &'static str) {
        let (project, stream) = STREAMS[stream_of(tag)];
        (project, stream, NAMES[tag % NAMES.len()])
    }

    /// Both say the same of every tag, and of every row that came.
    async fn compare(&mut self) {
        self.compare_news().await;
        for (number, found) in self.read_tags().await {
            let expected = self.standing(number);
            if found != expected {
                let names = self.names(number);
                self.fail(&format!("{names:?} stands so in the store: {found:?}; and so in the model: {expected:?}"));
            }
        }
    }

    /// Both say the same of every row and every cascade that came.
    async fn compare_news(&mut self) {
        let (came, opened) = self.read_news().await;
        for (sequence, stream, tag, kind, outcome, to, from) in &came {
            let number = number_of(stream, tag);
            let at = self.rows[number].len();
            let row = self.simple.tags[number].rows.get(at);
            let row = row.map(|Row { kind, outcome, image, from, .. }| (*kind, *outcome, *image, *from));
            let image = |digest: &Option<String>| image_of(digest.clone());
            let found = (kind.parse().unwrap(), outcome.parse().unwrap(), image(to), image(from));
            if row != Some(found) {
                self.fail(&format!("row {at} of {stream}:{tag} is {found:?} in the store, {row:?} in the model"));
            }
            self.seen = *sequence;
            self.rows[number].push(*sequence);
        }
        self.cascades.extend(opened);
        if self.cascades.len() != self.simple.cascades.len() {
            self.fail(&format!("{} cascades instead of {}", self.cascades.len(), self.simple.cascades.len()));
        }
    }

    fn standing(&self, tag: TagNumber) -> Standing {
        let tag = &self.simple.tags[tag];
        let rejected = tag.rejected.iter().map(|(image, _)| *image).collect();
        let (image, deleted, follows, held) = (tag.image, tag.deleted, tag.follows, tag.held.is_some());
        Standing { image, deleted, follows, held, rejected, rows: tag.rows.len() }
    }

    /// Rows and cascades that are new.
    async fn read_news(&self) -> (Vec<ReadRow>, Vec<(String, i64)>) {
        let rows = sqlx::query_as(
            "select e.sequence, s.name, t.name, e.kind, e.outcome, e.digest, e.from_digest from tag_events e \
             join tags t on t.id = e.tag_id join streams s on s.id = t.stream_id where e.sequence > $1 order by e.sequence",
        );
        let rows = rows.bind(self.seen).fetch_all(self.store.pool()).await.unwrap();
        let known = i64::try_from(self.cascades.len()).unwrap();
        let opened = sqlx::query_as(
            "select p.name, k.number from cascades k join projects p on p.id = k.project_id \
             order by k.root_sequence limit 200 offset $1",
        );
        (rows, opened.bind(known).fetch_all(self.store.pool()).await.unwrap())
    }

    async fn read_tags(&self) -> Vec<(TagNumber, Standing)> {
        type ReadTag = (String, String, Option<String>, i64, Option<String>, Option<String>, i64, i64);
        let tags: Vec<ReadTag> = sqlx::query_as(
            "select s.name, t.name, t.digest, case when t.deleted_at is null then 0 else 1 end, fs.name, f.name, \
             (select count(*) from holds h where h.tag_id = t.id and h.ended_at is null), t.event_number \
             from tags t join streams s on s.id = t.stream_id left join tags f on f.id = t.follows_tag_id \
             left join streams fs on fs.id = f.stream_id",
        )
        .fetch_all(self.store.pool())
        .await
        .unwrap();
        let rejected: Vec<(String, String, String)> = sqlx::query_as(
            "select s.name, t.name, r.digest from rejected_digests r join tags t on t.id = r.tag_id \
             join streams s on s.id = t.stream_id where r.ended_at is null",
        )
        .fetch_all(self.store.pool())
        .await
        .unwrap();
        let standing = |(stream, tag, digest, deleted, followed_stream, followed, holds, rows): ReadTag| {
            let of_tag = |(of, name, _): &&(String, String, String)| (of, name) == (&stream, &tag);
            let images = rejected.iter().filter(of_tag).filter_map(|(.., digest)| image_of(Some(digest.clone())));
            let follows = followed_stream.zip(followed).map(|(stream, tag)| number_of(&stream, &tag));
            let (held, rejected, rows) = (holds == 1, images.collect(), usize::try_from(rows).unwrap());
            let standing = Standing { image: image_of(digest), deleted: deleted == 1, follows, held, rejected, rows };
            (number_of(&stream, &tag), standing)
        };
        tags.into_iter().map(standing).collect()
    }
}
