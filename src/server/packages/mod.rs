//! Which packages images hold: layers read for the lists that package managers keep in them, the lists of an image's layers put on top of
//! each other, versions compared, and two images.
//!
//! A layer is read as a stream, once, whoever uses it. It was made by somebody nobody vouches for: every length it states is checked
//! against a limit before it is believed, nothing is unpacked to disk but a database of rpm's, and what is wrong is said in words.

mod compare;
mod feed;
mod hints;
mod jars;
mod languages;
mod layer;
mod lists;
mod locks;
mod members;
mod pair;
mod paths;
mod rpm;
mod settings;
mod stack;
mod unpack;
mod verdict;
mod versions;
mod views;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod real;
#[cfg(test)]
mod testing;

use std::io;
use std::time::Duration;

pub use self::compare::{Compared, ComparedLayer, PackageChange, Side};
pub use self::feed::read_blob;
pub use self::layer::{Unread, read_layer};
pub use self::pair::{Pair, Unpaired};
pub use self::settings::{SettingChange, SettingPart, setting_changes, sounds_secret};
pub use self::versions::compare_versions;
pub use self::views::Views;

/// How much of a layer is read.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes that come out of it unpacked.
    pub unpacked: u64,
    pub entries: u64,
    /// Packages, of all its lists together.
    pub packages: usize,
    /// Bytes of what is kept: names, versions, paths.
    pub text: usize,
    /// Work on it: who made it is to blame for that.
    pub time: Duration,
    /// Waiting for its bytes, which others wait behind. It is tried again later.
    pub waiting: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            unpacked: 32 * 1024 * 1024 * 1024,
            entries: 4_000_000,
            packages: 50_000,
            text: 8 * 1024 * 1024,
            time: Duration::from_secs(10 * 60),
            waiting: Duration::from_secs(60 * 60),
        }
    }
}

/// What is wrong with a layer or a list, in words that go on after "the layer was not read: ".
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

fn refusal(why: impl Into<String>) -> io::Error {
    io::Error::other(Refusal(why.into()))
}

/// Something is wrong with this server, not with the layer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Trouble(io::Error);

fn trouble(cause: io::Error) -> io::Error {
    io::Error::other(Trouble(cause))
}

/// The most characters of why something was not read: the words may quote what it is.
const LONGEST_PROBLEM: usize = 200;

/// What is said of an error that came up while a layer was read.
fn in_words(error: &io::Error) -> String {
    words_of(error).chars().take(LONGEST_PROBLEM).collect()
}

fn words_of(error: &io::Error) -> String {
    if let Some(refusal) = find_cause(error, |cause| cause.downcast_ref::<Refusal>()) {
        return refusal.to_string();
    }
    let is_end = |error: &&io::Error| error.kind() == io::ErrorKind::UnexpectedEof;
    match find_cause(error, |cause| cause.downcast_ref::<io::Error>().filter(is_end)) {
        Some(_) => "it ends in the middle".to_owned(),
        None => format!("its bytes cannot be unpacked ({error})"),
    }
}

/// The first of an error and its causes that `wanted` takes; unpackers wrap what happened below them.
fn find_cause<'a, T>(
    error: &'a io::Error,
    wanted: impl Fn(&'a (dyn std::error::Error + 'static)) -> Option<T>,
) -> Option<T> {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if let Some(found) = wanted(error) {
            return Some(found);
        }
        // An error of I/O passes over the one it was made of.
        cause = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said_in_few_words() {
        let quoted = refusal(format!("it does not read: {}", "x".repeat(100_000)));
        assert_eq!(in_words(&quoted).chars().count(), LONGEST_PROBLEM);
        assert_eq!(in_words(&io::Error::other("ö".repeat(100_000))).chars().count(), LONGEST_PROBLEM);
        assert_eq!(in_words(&refusal("short")), "short");
    }
}
