//! What registries say about how often they may be asked.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use serde::{Deserialize, Serialize};

/// An allowance as a registry tells it in `ratelimit-*` headers (Docker Hub's form: `100;w=21600`), or in `x-ratelimit-*` as GitHub does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    pub limit: Option<u64>,
    pub remaining: Option<u64>,
    /// The window the numbers are for, in seconds.
    pub window_seconds: Option<u64>,
    /// In how many seconds the allowance is whole again.
    pub reset_seconds: Option<u64>,
}

/// Before the names of these headers: the usual ones count more than those that some registries use instead.
const PREFIXES: [&str; 2] = ["", "x-"];
/// A larger number of `ratelimit-reset` is a time, in seconds since the epoch, and not how long that is away.
const LONGEST_RESET: u64 = 1_000_000_000;

impl RateLimit {
    /// None when the headers tell nothing.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        PREFIXES.into_iter().find_map(|prefix| Self::under(headers, prefix))
    }

    fn under(headers: &HeaderMap, prefix: &str) -> Option<Self> {
        let read = |name: &str| number_and_window(headers, &format!("{prefix}ratelimit-{name}"));
        let ((limit, window), (remaining, other_window)) = (read("limit"), read("remaining"));
        if limit.is_none() && remaining.is_none() {
            return None;
        }
        let reset_seconds = read("reset").0.map(|reset| match reset {
            time if time > LONGEST_RESET => {
                time.saturating_sub(u64::try_from(Timestamp::now().as_second()).unwrap_or(0))
            }
            seconds => seconds,
        });
        Some(Self { limit, remaining, window_seconds: window.or(other_window), reset_seconds })
    }
}

fn number_and_window(headers: &HeaderMap, name: &str) -> (Option<u64>, Option<u64>) {
    let Some(text) = headers.get(name).and_then(|value| value.to_str().ok()) else { return (None, None) };
    let mut parts = text.split([';', ',']).map(str::trim);
    let number = parts.next().and_then(|number| number.parse().ok());
    let window = parts.find_map(|part| part.strip_prefix("w=")).and_then(|window| window.parse().ok());
    (number, window)
}

/// How long a registry that refuses for now asks to be left alone; when nothing remains of its allowance, until that is whole again.
pub(super) fn rest(headers: &HeaderMap) -> Option<Duration> {
    let used_up = || RateLimit::of(headers).filter(|told| told.remaining == Some(0));
    retry_after(headers).or_else(|| Some(capped(Duration::from_secs(used_up()?.reset_seconds?))))
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
    Some(capped(wait))
}

fn capped(wait: Duration) -> Duration {
    wait.min(Duration::from_secs(24 * 3600))
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
pub fn minutes(wait: Duration) -> String {
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
        let expected =
            RateLimit { limit: Some(100), remaining: Some(76), window_seconds: Some(21600), reset_seconds: None };
        assert_eq!(RateLimit::of(&told), Some(expected));
        assert_eq!(RateLimit::of(&headers(&[("ratelimit-limit", "many")])), None);
    }

    #[test]
    fn reads_when_an_allowance_is_whole_again() {
        let reset = |pairs: &[(&'static str, &str)]| RateLimit::of(&headers(pairs)).and_then(|told| told.reset_seconds);
        assert_eq!(reset(&[("ratelimit-remaining", "7"), ("ratelimit-reset", "90")]), Some(90));
        assert_eq!(reset(&[("ratelimit-reset", "90")]), None, "of what it does not say");
        assert_eq!(reset(&[("x-ratelimit-limit", "60"), ("x-ratelimit-reset", "30")]), Some(30));
        assert_eq!(
            reset(&[
                ("ratelimit-limit", "60"),
                ("ratelimit-reset", "30"),
                ("x-ratelimit-limit", "1"),
                ("x-ratelimit-reset", "9")
            ]),
            Some(30)
        );
        let soon = (Timestamp::now().as_second() + 600).to_string();
        let left = reset(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", &soon)]).expect("a time");
        assert!((590..=600).contains(&left), "{left}");
        assert_eq!(reset(&[("ratelimit-remaining", "0"), ("ratelimit-reset", "1500000000")]), Some(0), "it is over");
    }

    #[test]
    fn who_refuses_without_a_time_means_until_the_allowance_is_whole_again() {
        let wait = |pairs: &[(&'static str, &str)]| rest(&headers(pairs)).map(|wait| wait.as_secs());
        let used_up = [("ratelimit-remaining", "0"), ("ratelimit-reset", "300")];
        assert_eq!(wait(&used_up), Some(300));
        assert_eq!(wait(&[("retry-after", "20"), used_up[0], used_up[1]]), Some(20));
        assert_eq!(wait(&[("ratelimit-remaining", "5"), used_up[1]]), None, "it minds something else");
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
