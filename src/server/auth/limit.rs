//! How often somebody may try to sign in: a burst of attempts for each user and address, refilled slowly.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// Attempts at once.
const BURST: NonZeroU32 = NonZeroU32::new(5).unwrap();
/// Time after which one more is allowed.
const REFILL: Duration = Duration::from_secs(12);
/// From how many keys on those that are full again are dropped: names are the attacker's to invent.
const SWEEP_FROM: usize = 10_000;

/// Who tries, and from where.
#[derive(Debug, Clone, Copy)]
pub struct Attempt<'a> {
    pub user: &'a str,
    pub address: &'a str,
}

/// The attempts made lately in this process. Behind a proxy all share its address, and the limit is one for each user.
pub(super) struct Limits {
    attempts: DefaultKeyedRateLimiter<String>,
    clock: DefaultClock,
}

impl Default for Limits {
    fn default() -> Self {
        let quota = Quota::with_period(REFILL).unwrap_or(Quota::per_minute(BURST)).allow_burst(BURST);
        Self { attempts: RateLimiter::keyed(quota), clock: DefaultClock::default() }
    }
}

impl Limits {
    /// Counts an attempt; refused with the seconds to wait.
    pub(super) fn attempt(&self, attempt: &Attempt<'_>) -> Result<(), u64> {
        if self.attempts.len() > SWEEP_FROM {
            self.attempts.retain_recent();
        }
        // Neither part contains a line break.
        let key = format!("{}\n{}", attempt.user, attempt.address);
        self.attempts.check_key(&key).map_err(|until| {
            let wait = until.wait_time_from(self.clock.now());
            wait.as_secs() + 1
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_attempt_waits_and_others_do_not() {
        let limits = Limits::default();
        let attempt = Attempt { user: "ada", address: "192.0.2.1" };
        for _ in 0..5 {
            assert_eq!(limits.attempt(&attempt), Ok(()));
        }
        let wait = limits.attempt(&attempt).unwrap_err();
        assert!((1..=12).contains(&wait), "{wait}");
        assert_eq!(limits.attempt(&Attempt { address: "192.0.2.2", ..attempt }), Ok(()));
        assert_eq!(limits.attempt(&Attempt { user: "bob", ..attempt }), Ok(()));
    }
}
