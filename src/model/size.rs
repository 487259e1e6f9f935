//! Sizes and counts in words: the one way in which pages, messages and forms write them. Bytes come in units of 1000.

use std::str::FromStr;

/// Units and how many bytes they are.
const UNITS: [(&str, f64); 5] = [("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12)];

/// `1 build`, `2 builds`
pub fn counted(count: impl TryInto<u64>, what: &str) -> String {
    let count = count.try_into().unwrap_or_default();
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A size as people read it: `812 B`, `3.4 MB`.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub fn size_words(bytes: i64) -> String {
    let mut size = bytes as f64;
    for unit in ["B", "kB", "MB", "GB"] {
        if size.abs() < 999.5 {
            return if unit == "B" || size.abs() >= 99.5 {
                format!("{size:.0} {unit}")
            } else {
                format!("{size:.1} {unit}")
            };
        }
        size /= 1000.0;
    }
    format!("{size:.1} TB")
}

/// A size as people type it: `500 MB`, `1.5 GB`, or bytes without a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub i64);

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SizeError;

impl std::fmt::Display for SizeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("write a size with its unit, for instance 500 MB or 1.5 GB")
    }
}

impl std::error::Error for SizeError {}

impl FromStr for ByteSize {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let text = text.trim();
        let letters = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (number, unit) = text.split_at(letters);
        let number: f64 = number.trim().replace(',', ".").parse().map_err(|_| SizeError)?;
        let unit = if unit.is_empty() { "B" } else { unit };
        let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or(SizeError)?;
        let bytes = (number * factor).round();
        // Beyond this a float does not tell one byte from the next; nothing is that large.
        if !(0.0..=9e15).contains(&bytes) {
            return Err(SizeError);
        }
        #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
        Ok(Self(bytes as i64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_sizes() {
        for (bytes, words) in
            [(0, "0 B"), (812, "812 B"), (3_412_000, "3.4 MB"), (340_000_000, "340 MB"), (-2_100_000, "-2.1 MB")]
        {
            assert_eq!(size_words(bytes), words);
        }
    }

    #[test]
    fn reads_what_people_type() {
        for (text, bytes) in
            [("0", 0), ("812", 812), ("10 MB", 10_000_000), ("1.5gb", 1_500_000_000), (" 2 tb ", 2_000_000_000_000)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "MB", "-1 GB", "1 GiB", "ten", "1e300", "NaN", "inf", "1 GB 2"] {
            assert_eq!(text.parse::<ByteSize>(), Err(SizeError), "{text}");
        }
    }
}
