//! Names that pull a tag as it was: `latest--asof-20261101T1403Z`.

use std::str::FromStr;

use super::TagName;

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
}
