//! Looking back: names that pull a tag as it was (`latest--asof-20261101T1403Z`), and moments that pages and lists are asked for.

use std::str::FromStr;

use super::{TagName, now};

/// What stands between a tag's name and the moment. No tag may have it in its name.
pub(super) const MARK: &str = "--asof-";
/// How the moment is written, in UTC.
const FORMAT: &str = "%Y%m%dT%H%MZ";
const LENGTH: usize = "20261101T1403Z".len();
const MINUTE_MS: i64 = 60_000;

/// A tag as it was when a minute ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastTag {
    pub tag: TagName,
    /// The first moment after that minute, in milliseconds since the epoch.
    pub end: i64,
}

/// Why a name with `--asof-` means no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a tag as it was is named <tag>--asof-YYYYMMDDTHHMMZ with the minute in UTC, for instance latest--asof-20261101T1403Z"
)]
pub struct PastTagError;

impl PastTag {
    /// Whether a name is of this form, well written or not.
    pub fn is_meant(name: &str) -> bool {
        name.contains(MARK)
    }
}

impl FromStr for PastTag {
    type Err = PastTagError;

    fn from_str(text: &str) -> Result<Self, PastTagError> {
        let (tag, minute) = text.split_once(MARK).ok_or(PastTagError)?;
        if minute.len() != LENGTH || !minute.bytes().all(|b| b.is_ascii_digit() || b == b'T' || b == b'Z') {
            return Err(PastTagError);
        }
        let begin = jiff::civil::DateTime::strptime(FORMAT, minute).map_err(|_| PastTagError)?;
        let begin = jiff::tz::TimeZone::UTC.to_timestamp(begin).map_err(|_| PastTagError)?;
        let tag = tag.parse().map_err(|_| PastTagError)?;
        Ok(Self { tag, end: begin.as_millisecond() + MINUTE_MS })
    }
}

/// A moment of which somebody wants to know how things were. Like a name with `--asof-` it means the end of what is written: of the minute,
/// or, where seconds are written, of the second. So `12:00` is what whoever reads "moved 12:00" in a history looks for, and an answer never
/// changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// What is from before this, in milliseconds since the epoch, counts.
    pub end: i64,
    /// As it was written.
    pub text: String,
    /// In words, in UTC.
    pub words: String,
}

/// Why a text is no moment of the past.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MomentError {
    #[error("\"{0}\" is no moment: write it as 2026-11-20T12:00Z (RFC 3339; without a zone it is UTC)")]
    Unreadable(String),
    #[error("{0} is not over yet: only what was can be looked back at")]
    Future(String),
}

impl FromStr for Moment {
    type Err = MomentError;

    fn from_str(text: &str) -> Result<Self, MomentError> {
        let unreadable = || MomentError::Unreadable(text.chars().take(60).collect());
        let written = text.trim();
        let (day, time) = written.split_once(['T', 't', ' ']).ok_or_else(unreadable)?;
        // A plus in an address is a space.
        let zone_at = time.find(['Z', 'z', '+', '-', ' ']).unwrap_or(time.len());
        let (clock, zone) = time.split_at(zone_at);
        let (whole, step) = match clock.len() {
            5 => (format!("{clock}:00"), MINUTE_MS),
            8 => (clock.to_owned(), 1000),
            9.. if clock.as_bytes()[8] == b'.' => (clock.to_owned(), 1),
            _ => return Err(unreadable()),
        };
        let zone = if zone.is_empty() { "Z".to_owned() } else { zone.replacen(' ', "+", 1) };
        let at: jiff::Timestamp = format!("{day}T{whole}{zone}").parse().map_err(|_| unreadable())?;
        let begin = at.as_millisecond();
        let shown = at.strftime(if step == MINUTE_MS { "%Y-%m-%d %H:%M UTC" } else { "%Y-%m-%d %H:%M:%S UTC" });
        let moment = Self { end: begin.saturating_add(step), text: written.to_owned(), words: shown.to_string() };
        if moment.end > now() { Err(MomentError::Future(moment.words)) } else { Ok(moment) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_read_to_its_end() {
        let past: PastTag = "v1.2-rc--asof-20261101T1403Z".parse().unwrap();
        assert_eq!(past.tag.as_str(), "v1.2-rc");
        assert_eq!(crate::model::rfc3339(past.end), "2026-11-01T14:04:00Z");
        let leap: PastTag = "a--asof-20240229T2359Z".parse().unwrap();
        assert_eq!(crate::model::rfc3339(leap.end), "2024-03-01T00:00:00Z");
    }

    #[test]
    fn what_is_no_minute_is_no_moment() {
        for bad in [
            "latest",
            "latest--asof-",
            "latest--asof-2026",
            "latest--asof-20261101T1403",
            "latest--asof-20261101T140359Z",
            "latest--asof-20261301T1403Z",
            "latest--asof-20260229T1403Z",
            "latest--asof-20261101T2403Z",
            "latest--asof-20261101T1460Z",
            "latest--asof-2026T101T1403Z",
            "--asof-20261101T1403Z",
            "a--asof-20261101T1403Z--asof-20261101T1403Z",
        ] {
            assert_eq!(bad.parse::<PastTag>(), Err(PastTagError), "{bad}");
        }
    }

    #[test]
    fn a_moment_is_the_end_of_what_is_written() {
        for (text, end, words) in [
            ("2026-11-01T14:03Z", "2026-11-01T14:04:00Z", "2026-11-01 14:03 UTC"),
            ("2026-11-01T14:03", "2026-11-01T14:04:00Z", "2026-11-01 14:03 UTC"),
            ("2026-11-01 14:03", "2026-11-01T14:04:00Z", "2026-11-01 14:03 UTC"),
            ("2026-11-01T14:03:20Z", "2026-11-01T14:03:21Z", "2026-11-01 14:03:20 UTC"),
            ("2026-11-01T14:03+01:00", "2026-11-01T13:04:00Z", "2026-11-01 13:03 UTC"),
            ("2026-11-01T14:03 01:00", "2026-11-01T13:04:00Z", "2026-11-01 13:03 UTC"),
            ("2026-11-01T00:03-05:30", "2026-11-01T05:34:00Z", "2026-11-01 05:33 UTC"),
        ] {
            let moment: Moment = text.parse().unwrap();
            assert_eq!((crate::model::rfc3339(moment.end).as_str(), moment.words.as_str()), (end, words), "{text}");
        }
        let exact: Moment = "2026-11-01T14:03:20.500Z".parse().unwrap();
        assert_eq!(exact.end % 1000, 501);
    }

    #[test]
    fn what_is_no_moment_or_not_over_is_refused_in_words() {
        for bad in [
            "",
            "now",
            "2026-11-01",
            "2026-11-01T14Z",
            "2026-13-01T14:03Z",
            "2026-11-01T25:00Z",
            "1793541780",
            "2026-11-01T14:03X",
        ] {
            assert!(matches!(bad.parse::<Moment>(), Err(MomentError::Unreadable(_))), "{bad}");
        }
        let later = "2999-01-01T00:00Z".parse::<Moment>().unwrap_err();
        assert_eq!(later.to_string(), "2999-01-01 00:00 UTC is not over yet: only what was can be looked back at");
    }
}
