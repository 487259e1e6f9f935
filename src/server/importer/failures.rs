//! What other registries failed to give a moment ago, so that who pulls it again and again does not ask them again and again.
//!
//! Each repository has its own memory of a blob or a manifest: another one may ask with other credentials. Imports and completions have
//! times of their own and ask all the same; how they end is remembered, too.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ImportError;
use crate::model::Digest;

/// How long something is not asked for after it failed once; each further failure doubles it.
const FIRST_REST: Duration = Duration::from_secs(5);
/// How long it is not asked for at most, unless the other registry wants to be left alone for longer.
const LAST_REST: Duration = Duration::from_secs(60);
/// So long after its rest a failure still counts towards the next.
const COUNTS_FOR: Duration = Duration::from_secs(120);
/// How many failures are remembered, some 600 kB.
const AT_MOST: usize = 1024;
/// The most characters of what is remembered of one: the words may quote the other registry.
const LONGEST: usize = 300;

/// What was asked for: the stream that wants it, and the digest.
type Key = (String, Digest);

#[derive(Default)]
pub(super) struct Failures(Mutex<HashMap<Key, Failure>>);

struct Failure {
    reason: &'static str,
    message: String,
    times: u32,
    until: Instant,
}

impl Failures {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Failure>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why this is not asked for now.
    pub(super) fn recall(&self, stream_id: &str, digest: &Digest) -> Option<ImportError> {
        let failures = self.lock();
        let failure = failures.get(&(stream_id.to_owned(), digest.clone()))?;
        let left = failure.until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        Some(ImportError::Resting { reason: failure.reason.to_owned(), message: failure.message.clone(), left })
    }

    /// Remembers how a question ended; `began`: the other registry had begun to answer. A transfer that breaks off may be begun anew
    /// at once, as clients do, but not time and again.
    pub(super) fn note(&self, stream_id: &str, digest: &Digest, end: Result<(), &ImportError>, began: bool) {
        let key = (stream_id.to_owned(), digest.clone());
        let cause = match end {
            Ok(()) => {
                self.lock().remove(&key);
                return;
            }
            Err(cause) if is_theirs(cause) => cause,
            Err(_) => return,
        };
        let now = Instant::now();
        let mut failures = self.lock();
        let times =
            failures.get(&key).filter(|before| now < before.until + COUNTS_FOR).map_or(0, |before| before.times);
        let times = times.saturating_add(1);
        let rest = rest(if began { times - 1 } else { times }).max(cause.retry_after().unwrap_or_default());
        if failures.len() >= AT_MOST && !failures.contains_key(&key) {
            make_room(&mut failures, now);
        }
        let message = cause.to_string().chars().take(LONGEST).collect();
        failures.insert(key, Failure { reason: cause.reason(), message, times, until: now + rest });
    }
}

/// Whether the other registry failed, rather than this server.
fn is_theirs(cause: &ImportError) -> bool {
    match cause {
        ImportError::Upstream(_) | ImportError::Manifest(_) => true,
        ImportError::Shared(cause) => is_theirs(cause),
        _ => false,
    }
}

fn rest(times: u32) -> Duration {
    match times.checked_sub(1) {
        None => Duration::ZERO,
        Some(doublings) => FIRST_REST.saturating_mul(1 << doublings.min(10)).min(LAST_REST),
    }
}

/// Forgets what counts no more, or else what would be forgotten next.
fn make_room(failures: &mut HashMap<Key, Failure>, now: Instant) {
    failures.retain(|_, failure| now < failure.until + COUNTS_FOR);
    if failures.len() >= AT_MOST
        && let Some(next) = failures.iter().min_by_key(|(_, failure)| failure.until).map(|(key, _)| key.clone())
    {
        failures.remove(&next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::hash::sha256;
    use crate::server::oci::Error as OciError;

    fn left(failures: &Failures, digest: &Digest) -> Option<u64> {
        match failures.recall("s", digest)? {
            ImportError::Resting { left, .. } => Some(left.as_secs_f64().round() as u64),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn each_failure_lets_the_other_registry_rest_for_longer() {
        let (failures, digest) = (Failures::default(), sha256(b"blob"));
        let away =
            ImportError::from(OciError::Upstream { registry: "quay.io".to_owned(), status: 500, retry_after: None });
        let note = |began| {
            failures.note("s", &digest, Err(&away), began);
            left(&failures, &digest)
        };
        assert_eq!(left(&failures, &digest), None);
        assert_eq!([note(false), note(false), note(false), note(false), note(false)], [5, 10, 20, 40, 60].map(Some));
        failures.note("s", &digest, Ok(()), true);
        assert_eq!(left(&failures, &digest), None, "it is forgotten once it came");
        assert_eq!(
            [note(true), note(true), note(true)],
            [None, Some(5), Some(10)],
            "what broke off may begin anew once"
        );
        assert!(failures.recall("other", &digest).is_none(), "others may ask");
    }

    #[test]
    fn what_was_asked_for_is_kept_to_and_own_failures_are_no_failures() {
        let (failures, digest) = (Failures::default(), sha256(b"blob"));
        failures.note("s", &digest, Err(&ImportError::Late), false);
        failures.note("s", &digest, Err(&ImportError::Stopping), false);
        assert_eq!(left(&failures, &digest), None);
        let retry_after = Some(Duration::from_secs(600));
        let limited = OciError::RateLimited { registry: "quay.io".to_owned(), retry_after, abuse: false };
        failures.note("s", &digest, Err(&limited.into()), false);
        assert_eq!(left(&failures, &digest), Some(600));
        assert_eq!(failures.recall("s", &digest).map(|resting| resting.cause()), Some("rate-limit".to_owned()));
    }

    #[test]
    fn no_more_is_remembered_than_fits() {
        let failures = Failures::default();
        let away =
            ImportError::from(OciError::Upstream { registry: "quay.io".to_owned(), status: 500, retry_after: None });
        for number in 0..2 * AT_MOST {
            failures.note("s", &sha256(&number.to_le_bytes()), Err(&away), false);
        }
        assert_eq!(failures.lock().len(), AT_MOST);
        assert!(left(&failures, &sha256(&(2 * AT_MOST - 1).to_le_bytes())).is_some(), "the newest stays");
    }
}
