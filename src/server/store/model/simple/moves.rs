//! How the model's tags move, what holds keep back, and what comes of that.

use std::collections::{BTreeSet, VecDeque};

use super::{Answer, Held, Image, Place, Row, Simple, Tag, TagNumber, Until, stream_of};
use crate::model::{EventKind, Outcome};

/// What is to become of a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wish {
    pub kind: EventKind,
    pub image: Image,
    pub place: Place,
}

/// What waits for the end of a hold.
#[derive(Debug, Clone, Copy)]
enum Waiting {
    Image(Image, Place),
    Name(u8),
}

/// What became of a wish: the outcome, whether those who follow the tag hear of it, and in which cascade.
struct Step {
    outcome: Outcome,
    is_news: bool,
    cascade: Option<usize>,
}

fn is_automatic(kind: EventKind) -> bool {
    use EventKind::{Build, Follow, Import, Push};
    matches!(kind, Push | Import | Build | Follow)
}

impl Simple {
    /// Ends the hold and gives the tag what waited for that.
    pub fn resume(&mut self, tag: TagNumber) -> Answer {
        let held = self.tags[tag].held.take()?;
        Some(self.waiting(tag, held.since).and_then(|(_, waiting)| self.apply(tag, waiting)).into_iter().collect())
    }

    fn apply(&mut self, tag: TagNumber, waiting: Waiting) -> Option<Outcome> {
        match waiting {
            Waiting::Image(image, place) => Some(self.move_tag(tag, Wish { kind: EventKind::Api, image, place }, None)),
            Waiting::Name(name) => {
                self.tags[tag].name = Some(name);
                self.pass_name_on(tag, name);
                None
            }
        }
    }

    /// What the newest row that was kept back since then tells, and its kind: the word of what the tag follows is the one of now.
    fn waiting(&self, tag: TagNumber, since: usize) -> Option<(EventKind, Waiting)> {
        let Tag { image, place, name, follows, rows, set, .. } = &self.tags[tag];
        let counts = |row: &&Row| {
            row.outcome == Outcome::Held
                && row.image.is_none_or(|image| !self.is_rejected(tag, image))
                && (row.kind != EventKind::Import || row.set == *set)
        };
        let row = rows[since..].iter().rev().find(counts)?;
        let waiting = match (row.kind, *follows) {
            (EventKind::Follow, None) => return None,
            (EventKind::Follow, Some(source)) => match &self.tags[source] {
                Tag { name: Some(name), .. } => Waiting::Name(*name),
                Tag { image, place, .. } => {
                    Waiting::Image(image.filter(|image| !self.is_rejected(tag, *image))?, *place)
                }
            },
            _ => Waiting::Image(row.image?, row.place),
        };
        let is_had = match waiting {
            Waiting::Name(named) => *name == Some(named),
            Waiting::Image(waits, at) => name.is_none() && (*image, *place) == (Some(waits), at),
        };
        (!is_had).then_some((row.kind, waiting))
    }

    /// What holds the tag when something moves it. What is over by then ends first.
    fn hold_in_force(&mut self, tag: TagNumber, mover: EventKind) -> Option<Held> {
        let held = self.tags[tag].held?;
        match held.until {
            Until::Date(day, _) if day <= self.today => {}
            _ => return Some(held),
        }
        self.tags[tag].held = None;
        match self.waiting(tag, held.since) {
            Some((EventKind::Follow, _)) if mover == EventKind::Follow => {}
            Some((_, waiting)) => drop(self.apply(tag, waiting)),
            None => {}
        }
        None
    }

    /// Whether a hold kept anything back.
    fn has_held_back(&self, tag: TagNumber, held: Held) -> bool {
        self.tags[tag].rows[held.since..].iter().any(|row| row.outcome == Outcome::Held)
    }

    /// The tag follows that tag from now on, and points to this image if there is one.
    pub fn set(&mut self, tag: TagNumber, follows: Option<TagNumber>, image: Option<(Image, Place)>) -> Answer {
        self.make(tag);
        let changed = &mut self.tags[tag];
        (changed.deleted, changed.follows, changed.set) = (false, follows, changed.set + 1);
        if let Some((image, place)) = image {
            self.move_tag(tag, Wish { kind: EventKind::Api, image, place }, None);
        }
        Some(Vec::new())
    }

    /// Where a stream finds an image: where its newest move brought it, or where the tag that it moved finds it by now.
    pub fn newest_place(&self, stream: usize, image: Image) -> Place {
        let of_tag = |tag: &Tag| {
            let moved = |row: &&Row| row.outcome == Outcome::Moved;
            let row = *tag.rows.iter().filter(moved).rfind(|row| row.image == Some(image))?;
            // Not one that was deleted meanwhile, and made anew without an image.
            let is_there = tag.image.is_some() && tag.rows.iter().rfind(moved).is_some_and(|last| last.at == row.at);
            Some((row.at, if is_there { tag.place } else { row.place }))
        };
        let neighbours = (0..self.tags.len()).filter(|other| stream_of(*other) == stream);
        neighbours.filter_map(|other| of_tag(&self.tags[other])).max().map_or(0, |(_, place)| place)
    }

    /// Puts back what the cascade moved and nobody moved since, what it moved last first.
    pub fn undo(&mut self, cascade: usize) -> Answer {
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
        for (Row { from, at, .. }, tag) in moved {
            let rows = &self.tags[tag].rows;
            let last = rows.iter().rfind(|row| row.outcome == Outcome::Moved);
            let is_there = self.is_live(tag) && last.is_some_and(|row| row.cascade == cascade);
            let before = |row: &&Row| row.outcome == Outcome::Moved && row.at < at && row.image == from;
            let row = rows.iter().rfind(before).copied().filter(|_| is_there && from.is_some());
            if let Some(Row { image: Some(image), place, .. }) = row {
                self.move_tag(tag, Wish { kind: EventKind::Restore, image, place }, Some(undoing));
            }
        }
        Some(Vec::new())
    }

    /// Those that follow a tag, in the order in which they were made.
    fn followers(&self, followed: TagNumber) -> Vec<TagNumber> {
        let follows = |tag: &TagNumber| self.tags[*tag].follows == Some(followed);
        let mut followers: Vec<TagNumber> = (0..self.tags.len()).filter(follows).collect();
        followers.sort_by_key(|tag| self.tags[*tag].made);
        followers
    }

    /// Moves the tag, and once each all tags that follow it, directly or not.
    pub fn move_tag(&mut self, tag: TagNumber, wish: Wish, cascade: Option<usize>) -> Outcome {
        let step = self.move_one(tag, wish, cascade);
        let mut queue = VecDeque::from_iter(step.is_news.then_some((tag, step.cascade)));
        let mut seen = BTreeSet::from([tag]);
        while let Some((followed, cascade)) = queue.pop_front() {
            for follower in self.followers(followed) {
                if seen.insert(follower) {
                    let step = self.move_one(follower, Wish { kind: EventKind::Follow, ..wish }, cascade);
                    queue.extend(step.is_news.then_some((follower, step.cascade.or(cascade))));
                }
            }
        }
        step.outcome
    }

    /// What follows a tag that only names an image does so, too.
    pub fn pass_name_on(&mut self, tag: TagNumber, name: u8) {
        let mut queue = VecDeque::from([tag]);
        let mut seen = BTreeSet::from([tag]);
        while let Some(followed) = queue.pop_front() {
            for follower in self.followers(followed) {
                if !seen.insert(follower) {
                    continue;
                }
                let held = self.hold_in_force(follower, EventKind::Follow);
                let is_news = self.tags[follower].name != Some(name);
                match held {
                    Some(held) if is_news || self.has_held_back(follower, held) => {
                        self.write(follower, (EventKind::Follow, Outcome::Held), (None, name), None);
                    }
                    None if is_news => {
                        self.tags[follower].name = Some(name);
                        queue.push_back(follower);
                    }
                    _ => {}
                }
            }
        }
    }

    fn move_one(&mut self, tag: TagNumber, wish: Wish, cascade: Option<usize>) -> Step {
        let Wish { kind, image, place } = wish;
        let held = if is_automatic(kind) { self.hold_in_force(tag, kind) } else { None };
        let Tag { image: from, place: was, name, rows, .. } = &self.tags[tag];
        if (*from, *name) == (Some(image), None) {
            let is_elsewhere = *was != place;
            match held {
                Some(held) if is_elsewhere || self.has_held_back(tag, held) => {
                    self.write(tag, (kind, Outcome::Held), (Some(image), place), cascade);
                }
                Some(_) => {}
                None => self.tags[tag].place = place,
            }
            return Step { outcome: Outcome::Moved, is_news: is_elsewhere && held.is_none(), cascade: None };
        }
        let pointed_there = |row: &Row| row.outcome == Outcome::Moved && row.image == Some(image);
        let ends_the_hold = |held: Held| held.until == Until::Newer && !rows.iter().any(pointed_there);
        let outcome = match held {
            _ if is_automatic(kind) && self.is_rejected(tag, image) => Outcome::Rejected,
            Some(held) if !ends_the_hold(held) => Outcome::Held,
            _ => Outcome::Moved,
        };
        let written = self.write(tag, (kind, outcome), (Some(image), place), cascade);
        let has_moved = written.is_some() && outcome == Outcome::Moved;
        if has_moved {
            let tag = &mut self.tags[tag];
            (tag.image, tag.place, tag.name, tag.deleted) = (Some(image), place, None, false);
            // What moves it by itself only does so when nothing holds it, or no longer.
            tag.held = tag.held.filter(|_| !is_automatic(kind));
            // Whoever puts a rejected image back takes the rejection back.
            tag.rejected.retain(|(other, _)| *other != image);
        }
        Step { outcome, is_news: has_moved, cascade: written }
    }

    /// Writes a row, and gives its cascade; none when the newest row says the same refusal.
    fn write(
        &mut self,
        tag: TagNumber,
        (kind, outcome): (EventKind, Outcome),
        (image, place): (Option<Image>, Place),
        cascade: Option<usize>,
    ) -> Option<usize> {
        let Tag { image: from, held, rows, set, .. } = &mut self.tags[tag];
        let says_so = |row: &Row| {
            let same_place = outcome != Outcome::Held || row.place == place;
            (row.outcome, row.image, row.kind) == (outcome, image, kind) && same_place
        };
        // What an earlier hold kept back is not what this one ends with.
        let counts = outcome != Outcome::Held || held.is_some_and(|held| held.since < rows.len());
        if outcome != Outcome::Moved
            && counts
            && let Some(row) = rows.last_mut().filter(|row| says_so(row))
        {
            row.set = *set;
            return None;
        }
        let (from, set) = (*from, *set);
        let cascade = cascade.unwrap_or_else(|| self.open_cascade());
        let at = self.next();
        self.tags[tag].rows.push(Row { kind, outcome, image, from, place, cascade, at, set });
        Some(cascade)
    }
}
