//! A ledger that cannot be written: how long to wait before it is tried again.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Set by any task whose write failed, cleared by the next one that succeeds.
#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<Option<Since>>);

#[derive(Clone, Copy, Debug)]
struct Since {
    pause: Duration,
    until: Instant,
}

impl Trouble {
    /// A write failed. Returns how long to wait before the next one: twice as long each time.
    pub(super) fn failed(&self, now: Instant) -> Duration {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = match *since {
            // Several tasks fail at the same time: that is one failure.
            Some(known) if now < known.until => return known.until.duration_since(now),
            Some(known) => (known.pause * 2).min(LONGEST),
            None => SHORTEST,
        };
        *since = Some(Since { pause, until: now + pause });
        pause
    }

    pub(super) fn is_over(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How long nothing should be begun. `None` while all is well; zero when it is time to try
    /// whether the ledger can be written.
    pub(super) fn pause(&self, now: Instant) -> Option<Duration> {
        let since = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.map(|since| since.until.saturating_duration_since(now))
    }
}

/// Pause after the first failure.
const SHORTEST: Duration = Duration::from_secs(1);
/// The pauses grow to this: short enough that a disk with room again is noticed while people watch.
const LONGEST: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_and_end_with_the_first_success() {
        let trouble = Trouble::default();
        let mut now = Instant::now();
        assert_eq!(trouble.pause(now), None);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            pauses.push(trouble.failed(now).as_secs());
            let left = trouble.failed(now);
            assert_eq!(trouble.pause(now), Some(left), "a second failure at once adds nothing");
            now += left;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(trouble.pause(now), Some(Duration::ZERO));
        trouble.is_over();
        assert_eq!(trouble.pause(now), None);
        assert_eq!(trouble.failed(now), SHORTEST);
    }
}
