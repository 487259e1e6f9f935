//! Times: milliseconds since the epoch inside, RFC 3339 in UTC outside.

use std::time::{SystemTime, UNIX_EPOCH};

/// The present, in milliseconds since the epoch.
pub fn now() -> i64 {
    #[cfg(test)]
    if let Some(now) = testing::TIME.get() {
        return now;
    }
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |elapsed| i64::try_from(elapsed.as_millis()).unwrap_or(i64::MAX))
}

/// RFC 3339 in UTC with whole seconds, `2026-11-21T03:11:00Z`, as Kubernetes writes times.
pub fn rfc3339(ms: i64) -> String {
    jiff::Timestamp::from_second(ms.div_euclid(1000)).map_or_else(|_| String::new(), |time| time.to_string())
}

/// What people and programs write for a time: RFC 3339, or less of it. Without a zone it is UTC, without a time of day midnight.
pub fn parse_time(text: &str) -> Option<i64> {
    let full = match text.len() {
        10 => format!("{text}T00:00:00Z"),
        16 => format!("{text}:00Z"),
        17 => format!("{}:00Z", text.trim_end_matches('Z')),
        _ => text.to_owned(),
    };
    let at: jiff::Timestamp = full.parse().ok()?;
    Some(at.as_millisecond())
}

/// A clock that a test sets.
#[cfg(test)]
pub(crate) mod testing {
    use std::cell::Cell;

    thread_local! {
        /// What [`super::now`] tells on this thread, unless that is the time.
        pub(crate) static TIME: Cell<Option<i64>> = const { Cell::new(None) };
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn writes_whole_seconds_in_utc() {
        assert_eq!(super::rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(super::rfc3339(1_795_230_660_999), "2026-11-21T03:11:00Z");
    }
}
