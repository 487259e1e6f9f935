//! What registries say about how often they may be asked.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::{Deserialize, Serialize};

/// An allowance as a registry tells it in `ratelimit-*` headers (Docker Hub's form: `100;w=21600`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    pub limit: Option<u64>,
    pub remaining: Option<u64>,
    /// The window the numbers are for, in seconds.
    pub window_seconds: Option<u64>,
}

impl RateLimit {
    /// None when the headers tell nothing.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let (limit, window) = number_and_window(headers, "ratelimit-limit");
        let (remaining, other_window) = number_and_window(headers, "ratelimit-remaining");
        let told = Self { limit, remaining, window_seconds: window.or(other_window) };
        (told != Self::default()).then_some(told)
    }
}

fn number_and_window(headers: &HeaderMap, name: &str) -> (Option<u64>, Option<u64>) {
    let Some(text) = headers.get(name).and_then(|value| value.to_str().ok()) else { return (None, None) };
    let mut parts = text.split([';', ',']).map(str::trim);
    let number = parts.next().and_then(|number| number.parse().ok());
    let window = parts.find_map(|part| part.strip_prefix("w=")).and_then(|window| window.parse().ok());
    (number, window)
}

/// How long `Retry-After` asks to wait; it may be seconds or a date. Capped at a day: a registry's slip must not
/// silence its imports for good.
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            // `GMT` is the obsolete zone that HTTP still writes.
            let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default()
        }
    };
    Some(wait.min(Duration::from_secs(24 * 3600)))
}

/// Whether a 429 turns away the rate of requests, rather than tell that an allowance of pulls is used up. Registries
/// that count pulls say so in `ratelimit-*` headers or in a coded body; the guard before them answers bare text.
pub(super) fn is_abuse(headers: &HeaderMap, body: &str) -> bool {
    let body = body.to_ascii_lowercase();
    if body.contains("abuse") {
        return true;
    }
    let counted =
        RateLimit::of(headers).is_some() || body.contains("pull rate limit") || body.contains("toomanyrequests");
    !counted
}

/// A duration as people say it.
pub(super) fn minutes(wait: Duration) -> String {
    match wait.as_secs() {
        seconds if seconds < 100 => format!("{seconds} s"),
        seconds if seconds < 7200 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h", seconds.div_ceil(3600)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    #[test]
    fn reads_docker_hubs_allowance() {
        let told = headers(&[("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "76;w=21600")]);
        let expected = RateLimit { limit: Some(100), remaining: Some(76), window_seconds: Some(21600) };
        assert_eq!(RateLimit::of(&told), Some(expected));
        assert_eq!(RateLimit::of(&headers(&[("ratelimit-limit", "many")])), None);
    }

    #[test]
    fn reads_retry_after_in_both_forms() {
        let wait = |text| retry_after(&headers(&[("retry-after", text)]));
        assert_eq!(wait("120"), Some(Duration::from_secs(120)));
        assert_eq!(wait("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("Tue, 31 Dec 2999 23:59:59 GMT"), Some(Duration::from_secs(86400)));
        assert_eq!(wait("99999999999"), Some(Duration::from_secs(86400)));
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn tells_a_used_up_allowance_from_abuse() {
        let hub = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
        assert!(!is_abuse(&HeaderMap::new(), hub));
        assert!(is_abuse(&HeaderMap::new(), "Too Many Requests"));
        assert!(is_abuse(&HeaderMap::new(), "You have triggered an abuse detection mechanism"));
        assert!(!is_abuse(&headers(&[("ratelimit-remaining", "0;w=21600")]), ""));
    }
}
