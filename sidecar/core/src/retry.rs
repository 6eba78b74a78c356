//! When a failed promotion is tried again.
//!
//! The first `threshold` attempts follow the original's schedule. A passing error then keeps the
//! promotion alive with longer pauses, because a forge that is down for an hour must lose nothing.

use core::time::Duration;

use jiff::Timestamp;

/// The schedule of attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Pause after the first failed attempt; each later one is twice as long.
    pub delay: Duration,
    /// Longest pause during the first `threshold` attempts.
    pub max_delay: Duration,
    /// Attempts that follow the quick schedule. 0 counts as 1.
    pub threshold: u32,
    /// How long passing errors are put up with, from the time the promotion was taken up.
    pub give_up_after: Duration,
}

impl Default for RetryPolicy {
    /// 2 s, 20 s and 3 attempts as the original (`promotion.retry`); a day of patience is ours.
    fn default() -> Self {
        Self {
            delay: Duration::from_secs(2),
            max_delay: Duration::from_secs(20),
            threshold: 3,
            give_up_after: Duration::from_secs(24 * 60 * 60),
        }
    }
}

impl RetryPolicy {
    /// The pause after failed attempt number `attempt` (the first is 1; 0 counts as 1).
    ///
    /// Up to the threshold: `min(delay · 2^(n-1), max_delay)`. After it the pause doubles from
    /// `max_delay` to [`LONGEST_PAUSE`], so it never becomes shorter from one attempt to the next.
    #[must_use]
    pub fn pause_after(&self, attempt: u32) -> Duration {
        let attempt = attempt.max(1);
        let threshold = self.threshold.max(1);
        if attempt <= threshold {
            return doubled(self.delay, attempt - 1).min(self.max_delay);
        }
        doubled(self.max_delay, attempt - threshold).min(LONGEST_PAUSE.max(self.max_delay))
    }

    /// Whether a passing error at `now` ends a promotion that was taken up at `taken_up_at`.
    #[must_use]
    pub fn gives_up(&self, taken_up_at: Timestamp, now: Timestamp) -> bool {
        now >= later(taken_up_at, self.give_up_after)
    }
}

/// The pauses of a passing error grow to this. Short enough that a repaired forge is noticed while
/// people watch.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);

/// The longest pause that a peer can ask for: whatever a header says, a repaired forge is noticed
/// within the hour.
pub const LONGEST_WISH: Duration = Duration::from_secs(60 * 60);

/// How long a promotion waits whose attempts have ended the process twice.
pub const AFTER_TWO_CRASHES: Duration = Duration::from_secs(5 * 60);

/// `time + pause`, at most the last time that can be written.
#[must_use]
pub fn later(time: Timestamp, pause: Duration) -> Timestamp {
    time.checked_add(pause).unwrap_or(Timestamp::MAX)
}

fn doubled(pause: Duration, times: u32) -> Duration {
    2_u32.checked_pow(times).map_or(Duration::MAX, |factor| pause.saturating_mul(factor))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn the_default_schedule_is_2_and_4_and_8_seconds_then_grows_to_5_minutes() {
        let policy = RetryPolicy::default();
        let pauses: Vec<u64> = (1..=9).map(|n| policy.pause_after(n).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 40, 80, 160, 300, 300, 300]);
        assert_eq!(policy.pause_after(u32::MAX), LONGEST_PAUSE);
        assert_eq!(policy.pause_after(0), policy.pause_after(1));
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn the_documents_example_is_capped_at_its_maximum() {
        let policy = RetryPolicy {
            max_delay: Duration::from_secs(15),
            threshold: 6,
            ..RetryPolicy::default()
        };
        let pauses: Vec<u64> = (1..=6).map(|n| policy.pause_after(n).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 15, 15, 15]);
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn patience_ends_after_a_day_and_not_before() {
        let policy = RetryPolicy::default();
        let start: Timestamp = "2026-11-20T09:00:00Z".parse().unwrap();
        assert!(!policy.gives_up(start, "2026-11-21T08:59:59Z".parse().unwrap()));
        assert!(policy.gives_up(start, "2026-11-21T09:00:00Z".parse().unwrap()));
        let endless = RetryPolicy { give_up_after: Duration::MAX, ..policy };
        assert!(!endless.gives_up(start, "2126-11-21T09:00:00Z".parse().unwrap()));
    }

    #[cfg(not(target_arch = "wasm32"))]
    proptest::proptest! {
        #[test]
        fn pauses_never_become_shorter(delay in 1_u64..100, longer in 0_u64..1000, threshold in 0_u32..20, attempt in 1_u32..80) {
            let policy = RetryPolicy {
                delay: Duration::from_secs(delay),
                max_delay: Duration::from_secs(delay + longer),
                threshold,
                give_up_after: Duration::from_secs(60),
            };
            proptest::prop_assert!(policy.pause_after(attempt) <= policy.pause_after(attempt + 1));
            proptest::prop_assert!(policy.pause_after(attempt) <= LONGEST_PAUSE.max(policy.max_delay));
        }
    }
}
