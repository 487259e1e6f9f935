//! What tags do, as simply as it can be said: the rules of moves, holds and rejected images, without a database.

use std::collections::{BTreeSet, VecDeque};

use crate::model::{EventKind, Outcome};

pub type TagNumber = usize;
pub type Image = u8;

/// Something that is done to a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// A push, an import or a build brings an image for so many tags, beginning with this one, of one stream.
    Put {
        kind: EventKind,
        first: TagNumber,
        count: usize,
        image: Image,
    },
    Follow {
        tag: TagNumber,
        source: TagNumber,
    },
    /// It is fed by pushes alone from now on.
    Free {
        tag: TagNumber,
    },
    Pin {
        tag: TagNumber,
        image: Image,
    },
    RollBack {
        tag: TagNumber,
        row: usize,
        reject: bool,
    },
    Hold {
        tag: TagNumber,
    },
    /// What holds the tag ends with the first image that it never pointed to.
    HoldUntilNewer {
        tag: TagNumber,
    },
    /// Holds the tag until a moment of a day, which no other hold has.
    HoldUntilDate {
        tag: TagNumber,
        day: i64,
        moment: i64,
    },
    /// A day passes, and nobody has looked yet which holds that ends.
    DayPasses,
    /// Somebody looks.
    EndDue,
    Reject {
        tag: TagNumber,
        image: Image,
    },
    Allow {
        tag: TagNumber,
        image: Image,
    },
    Resume {
        tag: TagNumber,
    },
    Delete {
        tag: TagNumber,
    },
    Restore {
        tag: TagNumber,
    },
    /// The cascade with this place in the order in which they were opened.
    Undo {
        cascade: usize,
    },
}

/// What became of each move that was to be made; nothing at all when it was refused.
pub type Answer = Option<Vec<Outcome>>;

/// One row of a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub kind: EventKind,
    pub outcome: Outcome,
    pub image: Option<Image>,
    pub from: Option<Image>,
    pub cascade: usize,
    /// Its place among all rows of all tags.
    at: usize,
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
    pub follows: Option<TagNumber>,
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
            Deed::Put { kind, first, count, image } => {
                let mut put = |tag| {
                    self.make(tag);
                    self.move_tag(tag, image, kind, None)
                };
                Some((first..first + count).map(&mut put).collect())
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
                self.set(tag, Some(source), self.tags[source].image)
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
                if known { self.set(tag, None, Some(image)) } else { None }
            }
            Deed::RollBack { tag, row, reject } => {
                let left = self.tags[tag].image;
                let to = self.tags[tag].rows.get(row).and_then(|row| row.image)?;
                if !self.is_live(tag) || left == Some(to) {
                    return None;
                }
                let cascade = self.open_cascade();
                let outcome = self.move_tag(tag, to, EventKind::Rollback, Some(cascade));
                let tag = &mut self.tags[tag];
                tag.hold(Some(cascade), Until::Resumed);
                if let (true, Some(left)) = (reject, left) {
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
                let Tag { made, image: from, mut rows, .. } = std::mem::take(&mut self.tags[tag]);
                let (kind, outcome) = (EventKind::Api, Outcome::Deleted);
                rows.push(Row { kind, outcome, image: None, from, cascade, at });
                self.tags[tag] = Tag { made, deleted: true, rows, ..Tag::default() };
                Some(Vec::new())
            }
            Deed::Restore { tag } => {
                self.tags[tag].deleted.then_some(())?;
                let last = self.tags[tag].rows.iter().rev().find(|row| row.outcome == Outcome::Moved);
                let image = last.and_then(|row| row.image)?;
                Some(vec![self.move_tag(tag, image, EventKind::Restore, None)])
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

    /// Ends the hold and makes the move that waited for that.
    fn resume(&mut self, tag: TagNumber) -> Answer {
        let Held { since, .. } = self.tags[tag].held.take()?;
        let waits =
            |row: &&Row| row.outcome == Outcome::Held && row.image.is_some_and(|image| !self.is_rejected(tag, image));
        let waiting = self.tags[tag].rows[since..].iter().rev().find(waits).and_then(|row| row.image);
        Some(waiting.map(|image| self.move_tag(tag, image, EventKind::Api, None)).into_iter().collect())
    }

    /// The tag follows that tag from now on, and points to this image if there is one.
    fn set(&mut self, tag: TagNumber, follows: Option<TagNumber>, image: Option<Image>) -> Answer {
        self.make(tag);
        let changed = &mut self.tags[tag];
        (changed.deleted, changed.follows) = (false, follows);
        if let Some(image) = image {
            self.move_tag(tag, image, EventKind::Api, None);
        }
        Some(Vec::new())
    }

    /// Puts back what the cascade moved and nobody moved since, what it moved last first.
    fn undo(&mut self, cascade: usize) -> Answer {
        if std::mem::replace(&mut self.cascades[cascade], true) {
            return None;
        }
        let undoing = self.open_cascade();
        for tag in &mut self.tags {
            tag.held = tag.held.filter(|held| held.cascade != Some(cascade));
            tag.rejected.retain(|(_, by)| *by != Some(cascade));
        }
        let of_cascade = |row: &&Row| row.cascade == cascade && row.outcome == Outcome::Moved;
        let first = |tag: TagNumber| Some((self.tags[tag].rows.iter().find(of_cascade)?.to_owned(), tag));
        let mut moved: Vec<(Row, TagNumber)> = (0..self.tags.len()).filter_map(first).collect();
        moved.sort_by_key(|(row, _)| std::cmp::Reverse(row.at));
        for (Row { from, .. }, tag) in moved {
            let last = self.tags[tag].rows.iter().rev().find(|row| row.outcome == Outcome::Moved);
            let is_there = self.is_live(tag) && last.is_some_and(|row| row.cascade == cascade);
            if let Some(from) = from.filter(|_| is_there) {
                self.move_tag(tag, from, EventKind::Restore, Some(undoing));
            }
        }
        Some(Vec::new())
    }

    /// Moves the tag, and once each all tags that follow it, directly or not.
    fn move_tag(&mut self, tag: TagNumber, image: Image, kind: EventKind, cascade: Option<usize>) -> Outcome {
        let mut cascade = cascade;
        let (outcome, changed) = self.move_one(tag, image, kind, &mut cascade);
        let mut queue = VecDeque::from_iter((changed && outcome == Outcome::Moved).then_some(tag));
        let mut seen = BTreeSet::from([tag]);
        while let Some(followed) = queue.pop_front() {
            let follows = |tag: &TagNumber| self.tags[*tag].follows == Some(followed);
            let mut followers: Vec<TagNumber> = (0..self.tags.len()).filter(follows).collect();
            followers.sort_by_key(|tag| self.tags[*tag].made);
            for follower in followers {
                if seen.insert(follower) {
                    let (outcome, changed) = self.move_one(follower, image, EventKind::Follow, &mut cascade);
                    queue.extend((changed && outcome == Outcome::Moved).then_some(follower));
                }
            }
        }
        outcome
    }

    /// What became of it, and whether that is a new row.
    fn move_one(
        &mut self,
        tag: TagNumber,
        image: Image,
        kind: EventKind,
        cascade: &mut Option<usize>,
    ) -> (Outcome, bool) {
        use EventKind::{Build, Follow, Import, Push};
        let Tag { image: from, rejected, held, rows, .. } = &self.tags[tag];
        if *from == Some(image) {
            return (Outcome::Moved, false);
        }
        let pointed_there = |row: &Row| row.outcome == Outcome::Moved && row.image == Some(image);
        let ends_the_hold = |held: &Held| match held.until {
            Until::Resumed => false,
            Until::Newer => !rows.iter().any(pointed_there),
            Until::Date(day, _) => day <= self.today,
        };
        let outcome = match kind {
            Push | Import | Build | Follow if rejected.iter().any(|(other, _)| *other == image) => Outcome::Rejected,
            Push | Import | Build | Follow if held.is_some_and(|held| !ends_the_hold(&held)) => Outcome::Held,
            _ => Outcome::Moved,
        };
        let is_automatic = matches!(kind, Push | Import | Build | Follow);
        let says_so = |row: &Row| (row.outcome, row.image, row.kind) == (outcome, Some(image), kind);
        // What an earlier hold kept back is not what this one ends with.
        let counts = outcome != Outcome::Held || held.is_some_and(|held| held.since < rows.len());
        if outcome != Outcome::Moved && counts && rows.last().is_some_and(says_so) {
            return (outcome, false);
        }
        let from = *from;
        let cascade = match *cascade {
            Some(known) => known,
            None => *cascade.insert(self.open_cascade()),
        };
        let at = self.next();
        let tag = &mut self.tags[tag];
        tag.rows.push(Row { kind, outcome, image: Some(image), from, cascade, at });
        if outcome == Outcome::Moved {
            (tag.image, tag.deleted) = (Some(image), false);
            // What moves it by itself only does so when nothing holds it, or no longer.
            tag.held = tag.held.filter(|_| !is_automatic);
            // Whoever puts a rejected image back takes the rejection back.
            tag.rejected.retain(|(other, _)| *other != image);
        }
        (outcome, true)
    }
}
