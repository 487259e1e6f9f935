//! What ends a hold on a tag or an app, in words for people and in those of bodies and forms.

use std::fmt;
use std::str::FromStr;

use super::{parse_time, rfc3339};

/// What ends a hold on a tag or an app. A person who resumes it does so always.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HoldUntil {
    /// Nothing else.
    #[default]
    Resumed,
    /// An automation brings an image that the tag never pointed to; the app's tag moves to one that the app never ran.
    Newer,
    /// This time, in milliseconds since the epoch, has come.
    Date(i64),
}

/// Why a text does not say what ends a hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "\"{0}\" ends no hold: write resumed, newer, or a time as 2026-12-01T12:00Z (RFC 3339; without a zone it is UTC)"
)]
pub struct HoldUntilError(String);

impl HoldUntil {
    /// The end of a sentence that begins with "held".
    pub fn words(self) -> String {
        match self {
            Self::Resumed => "until somebody resumes it".to_owned(),
            Self::Newer => "until a newer, different image arrives, or somebody resumes it".to_owned(),
            Self::Date(at) => format!("until {}, or until somebody resumes it", rfc3339(at)),
        }
    }
}

impl fmt::Display for HoldUntil {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resumed => f.write_str("resumed"),
            Self::Newer => f.write_str("newer"),
            Self::Date(at) => f.write_str(&rfc3339(*at)),
        }
    }
}

impl FromStr for HoldUntil {
    type Err = HoldUntilError;

    fn from_str(text: &str) -> Result<Self, HoldUntilError> {
        match text {
            "resumed" => Ok(Self::Resumed),
            "newer" => Ok(Self::Newer),
            time => parse_time(time).map(Self::Date).ok_or_else(|| HoldUntilError(text.chars().take(60).collect())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_read_as_they_are_written() {
        let noon = HoldUntil::Date(1_796_126_400_000);
        for (text, until) in [
            ("resumed", HoldUntil::Resumed),
            ("newer", HoldUntil::Newer),
            ("2026-12-01T12:00", noon),
            ("2026-12-01T12:00Z", noon),
            ("2026-12-01T12:00:00Z", noon),
            ("2026-12-01T13:00:00+01:00", noon),
            ("2026-12-02", HoldUntil::Date(1_796_169_600_000)),
        ] {
            assert_eq!(text.parse(), Ok(until), "{text}");
            assert_eq!(until.to_string().parse(), Ok(until));
        }
        for bad in ["", "soon", "2026-13-01", "2026-12-01 12", "Newer", "12:00"] {
            assert!(bad.parse::<HoldUntil>().is_err(), "{bad}");
        }
    }
}
