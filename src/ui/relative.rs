//! How long ago, in words. The server writes it into the page and the browser's island keeps it true, with the same words.

const SECOND: i64 = 1000;
const MINUTE: i64 = 60 * SECOND;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// The distance between two moments (milliseconds since 1970) as a person says it: "3 minutes ago", "in 2 hours".
/// Rounds down, so that "1 hour ago" is never said of 59 minutes.
pub fn relative(now_ms: i64, then_ms: i64) -> String {
    let distance = now_ms.saturating_sub(then_ms);
    let size = distance.saturating_abs();
    if size < 10 * SECOND {
        return "just now".to_owned();
    }
    let (length, unit) = match size {
        0..MINUTE => (SECOND, "second"),
        MINUTE..HOUR => (MINUTE, "minute"),
        HOUR..DAY => (HOUR, "hour"),
        _ if size < 30 * DAY => (DAY, "day"),
        _ if size < 365 * DAY => (30 * DAY, "month"),
        _ => (365 * DAY, "year"),
    };
    let count = size / length;
    let plural = if count == 1 { "" } else { "s" };
    if distance > 0 { format!("{count} {unit}{plural} ago") } else { format!("in {count} {unit}{plural}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_how_long_ago() {
        let now = 1_700_000_000_000;
        for (distance, words) in [
            (0, "just now"),
            (9_999, "just now"),
            (-9_999, "just now"),
            (10 * SECOND, "10 seconds ago"),
            (59_999, "59 seconds ago"),
            (MINUTE, "1 minute ago"),
            (3 * MINUTE + 59 * SECOND, "3 minutes ago"),
            (HOUR - 1, "59 minutes ago"),
            (HOUR, "1 hour ago"),
            (DAY - 1, "23 hours ago"),
            (DAY, "1 day ago"),
            (29 * DAY, "29 days ago"),
            (30 * DAY, "1 month ago"),
            (364 * DAY, "12 months ago"),
            (365 * DAY, "1 year ago"),
            (-15 * MINUTE, "in 15 minutes"),
            (-2 * DAY, "in 2 days"),
        ] {
            assert_eq!(relative(now, now - distance), words);
        }
    }

    #[test]
    fn survives_the_ends_of_time() {
        assert!(relative(i64::MAX, i64::MIN).ends_with("years ago"));
        assert!(relative(i64::MIN, i64::MAX).starts_with("in "));
    }
}
