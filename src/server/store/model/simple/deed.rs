//! What may be done.

use super::{Image, Place, TagNumber};
use crate::model::EventKind;

/// Something that is done to a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// A push, an import or a build brings an image for so many tags, beginning with this one, of one stream.
    Put {
        kind: EventKind,
        first: TagNumber,
        count: usize,
        image: Image,
        place: Place,
    },
    /// It only names an image elsewhere from now on.
    Name {
        tag: TagNumber,
        name: u8,
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
