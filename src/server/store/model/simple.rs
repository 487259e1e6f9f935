//! What tags do, as simply as it can be said: the rules of moves, holds and rejected images, without a database.

pub use self::deed::Deed;
use self::moves::Wish;
use crate::model::{EventKind, Outcome};

mod deed;
mod moves;

pub type TagNumber = usize;
pub type Image = u8;
/// Where an image is pulled from: 0 is the tag's own stream, the others are other registries.
pub type Place = u8;

/// What became of each move that was to be made; nothing at all when it was refused.
pub type Answer = Option<Vec<Outcome>>;

/// One row of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub kind: EventKind,
    pub outcome: Outcome,
    pub image: Option<Image>,
    pub from: Option<Image>,
    pub place: Place,
    pub cascade: usize,
    /// Its place among all rows of all tags.
    at: usize,
    /// As what the tag was set when it was attempted last.
    set: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// How many rows there were.
    since: usize,
    /// The cascade that holds it.
    cascade: Option<usize>,
    until: Until,
}

/// What ends a hold besides a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    Resumed,
    Newer,
    /// The end of a day, and its order among such.
    Date(i64, i64),
}

#[derive(Debug, Clone, Default)]
pub struct Tag {
    /// Its place in the order in which tags were made; none was not made yet.
    made: Option<usize>,
    pub deleted: bool,
    pub image: Option<Image>,
    pub place: Place,
    /// What it names instead of its image.
    pub name: Option<u8>,
    pub follows: Option<TagNumber>,
    /// How often somebody said what it should be.
    set: usize,
    pub rows: Vec<Row>,
    pub held: Option<Held>,
    /// With the cascade that rejected it, if it was not a person's word alone.
    pub rejected: Vec<(Image, Option<usize>)>,
}

/// Tags, of which neighbours share a stream; cascades: whether each is undone; and which day it is.
#[derive(Debug, Default)]
pub struct Simple {
    pub tags: Vec<Tag>,
    pub cascades: Vec<bool>,
    pub today: i64,
    /// Counts tags that were made, and rows.
    count: usize,
}

/// So many tags share a stream.
pub const NEIGHBOURS: usize = 4;

pub fn stream_of(tag: TagNumber) -> usize {
    tag / NEIGHBOURS
}

impl Tag {
    /// What held it before goes on, but until that.
    fn hold(&mut self, cascade: Option<usize>, until: Until) {
        self.held.get_or_insert(Held { since: self.rows.len(), cascade, until }).until = until;
    }
}

impl Simple {
    pub fn new(tags: usize) -> Self {
        Self { tags: vec![Tag::default(); tags], ..Self::default() }
    }

    fn is_live(&self, tag: TagNumber) -> bool {
        self.tags[tag].made.is_some() && !self.tags[tag].deleted
    }

    fn next(&mut self) -> usize {
        self.count += 1;
        self.count
    }

    fn make(&mut self, tag: TagNumber) {
        if self.tags[tag].made.is_none() {
            self.tags[tag].made = Some(self.next());
        }
    }

    fn open_cascade(&mut self) -> usize {
        self.cascades.push(false);
        self.cascades.len() - 1
    }

    pub fn perform(&mut self, deed: Deed) -> Answer {
        match deed {
            Deed::Put { kind, first, count, image, place } => {
                let mut put = |tag| {
                    self.make(tag);
                    self.move_tag(tag, Wish { kind, image, place }, None)
                };
                Some((first..first + count).map(&mut put).collect())
            }
            Deed::Name { tag, name } => {
                self.set(tag, None, None);
                self.tags[tag].name = Some(name);
                self.pass_name_on(tag, name);
                Some(Vec::new())
            }
            Deed::Follow { tag, source } => {
                let mut at = Some(source);
                while let Some(next) = at {
                    if next == tag {
                        return None;
                    }
                    at = self.tags[next].follows;
                }
                self.make(tag);
                self.make(source);
                let Tag { image, place, name, .. } = self.tags[source];
                let Some(name) = name else { return self.set(tag, Some(source), image.map(|image| (image, place))) };
                self.set(tag, Some(source), None);
                self.tags[tag].name = Some(name);
                self.pass_name_on(tag, name);
                Some(Vec::new())
            }
            Deed::Free { tag } => self.set(tag, None, None),
            Deed::Pin { tag, image } => {
                // What only waited, or was refused, on its way from elsewhere is no image of the stream.
                let came = |row: &Row| {
                    row.outcome == Outcome::Moved
                        || matches!(row.kind, EventKind::Push | EventKind::Import | EventKind::Build)
                };
                let is_named = |row: &Row| row.image == Some(image) && came(row);
                let mut neighbours = (0..self.tags.len()).filter(|other| stream_of(*other) == stream_of(tag));
                let known = neighbours.any(|other| self.tags[other].rows.iter().any(is_named));
                let place = self.newest_place(stream_of(tag), image);
                if known { self.set(tag, None, Some((image, place))) } else { None }
            }
            Deed::RollBack { tag, row, reject } => {
                let left = self.tags[tag].image;
                let Row { image: to, place, .. } = *self.tags[tag].rows.get(row)?;
                let to = to?;
                if !self.is_live(tag) || (left == Some(to) && self.tags[tag].name.is_none()) {
                    return None;
                }
                let cascade = self.open_cascade();
                let outcome = self.move_tag(tag, Wish { kind: EventKind::Rollback, image: to, place }, Some(cascade));
                let tag = &mut self.tags[tag];
                tag.hold(Some(cascade), Until::Resumed);
                if let (true, Some(left)) = (reject, left.filter(|left| *left != to)) {
                    tag.rejected.push((left, Some(cascade)));
                }
                Some(vec![outcome])
            }
            Deed::Hold { tag } => {
                self.is_live(tag).then_some(())?;
                self.tags[tag].hold(None, Until::Resumed);
                Some(Vec::new())
            }
            Deed::HoldUntilNewer { tag } => {
                self.tags[tag].held.as_mut()?.until = Until::Newer;
                Some(Vec::new())
            }
            Deed::HoldUntilDate { tag, day, moment } => {
                (self.is_live(tag) && day > self.today).then_some(())?;
                self.tags[tag].hold(None, Until::Date(day, moment));
                Some(Vec::new())
            }
            Deed::DayPasses => {
                self.today += 1;
                Some(Vec::new())
            }
            Deed::EndDue => {
                while let Some(tag) = self.first_due() {
                    self.resume(tag);
                }
                Some(Vec::new())
            }
            Deed::Reject { tag, image } => {
                let free = self.is_live(tag) && self.tags[tag].image != Some(image) && !self.is_rejected(tag, image);
                free.then(|| self.tags[tag].rejected.push((image, None)))?;
                Some(Vec::new())
            }
            Deed::Allow { tag, image } => {
                (self.is_live(tag) && self.is_rejected(tag, image)).then_some(())?;
                self.tags[tag].rejected.retain(|(other, _)| *other != image);
                Some(Vec::new())
            }
            Deed::Resume { tag } => self.resume(tag),
            Deed::Delete { tag } => {
                self.is_live(tag).then_some(())?;
                let (cascade, at) = (self.open_cascade(), self.next());
                let Tag { made, image: from, mut rows, set, .. } = std::mem::take(&mut self.tags[tag]);
                let (kind, outcome) = (EventKind::Api, Outcome::Deleted);
                rows.push(Row { kind, outcome, image: None, from, place: 0, cascade, at, set });
                self.tags[tag] = Tag { made, deleted: true, rows, set, ..Tag::default() };
                Some(Vec::new())
            }
            Deed::Restore { tag } => {
                self.tags[tag].deleted.then_some(())?;
                let last = self.tags[tag].rows.iter().rev().find(|row| row.outcome == Outcome::Moved);
                let (image, place) = last.and_then(|row| Some((row.image?, row.place)))?;
                Some(vec![self.move_tag(tag, Wish { kind: EventKind::Restore, image, place }, None)])
            }
            Deed::Undo { cascade } => self.undo(cascade),
        }
    }

    fn is_rejected(&self, tag: TagNumber, image: Image) -> bool {
        self.tags[tag].rejected.iter().any(|(other, _)| *other == image)
    }

    /// The tag whose hold's day came first, of those that nobody has looked at.
    fn first_due(&self) -> Option<TagNumber> {
        let came = |tag: TagNumber| match self.tags[tag].held?.until {
            Until::Date(day, moment) if day <= self.today => Some((day, moment, tag)),
            _ => None,
        };
        (0..self.tags.len()).filter_map(came).min().map(|(.., tag)| tag)
    }
}
