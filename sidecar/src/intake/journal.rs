//! One log line for a delivery that led to nothing, at most one a second for each endpoint: who
//! asks at night why nothing happened finds it, and a sender that goes wild does not fill the disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use lockgate_edge::endpoint::Endpoint;

use crate::view::DeliveryView;

#[derive(Default)]
pub(super) struct Journal {
    last: Mutex<HashMap<Endpoint, Last>>,
}

struct Last {
    at: Instant,
    /// Lines that were left out since.
    skipped: u32,
}

impl Journal {
    pub(super) fn note(&self, endpoint: &Endpoint, report: &DeliveryView, message: &str) {
        if let Some(skipped) = self.admits(endpoint, Instant::now()) {
            tracing::info!(
                %endpoint, status = report.status, reason = report.reason, object = report.object,
                revision = report.revision, skipped, "a delivery led to no promotion: {message}"
            );
        }
    }

    /// How many lines were left out since the last one; `None` if this one is left out too.
    fn admits(&self, endpoint: &Endpoint, now: Instant) -> Option<u32> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() >= ENDPOINTS {
            last.retain(|_, last| now.duration_since(last.at) < PAUSE);
        }
        match last.get_mut(endpoint) {
            Some(known) if now.duration_since(known.at) < PAUSE => {
                known.skipped = known.skipped.saturating_add(1);
                None
            }
            Some(known) => {
                known.at = now;
                Some(std::mem::take(&mut known.skipped))
            }
            None => {
                last.insert(endpoint.clone(), Last { at: now, skipped: 0 });
                Some(0)
            }
        }
    }
}

/// Between two lines of one endpoint.
const PAUSE: Duration = Duration::from_secs(1);
/// Endpoints that are remembered; those without a line in the last second give way.
const ENDPOINTS: usize = 4096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    #[test]
    fn an_endpoint_gets_one_line_a_second_and_the_next_one_says_how_many_were_left_out() {
        let journal = Journal::default();
        let (one, other) = ("team/a/dev".parse().unwrap(), "team/b/dev".parse().unwrap());
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        assert_eq!(journal.admits(&one, at(0)), Some(0));
        assert_eq!(journal.admits(&one, at(10)), None);
        assert_eq!(journal.admits(&one, at(999)), None);
        assert_eq!(journal.admits(&other, at(999)), Some(0));
        assert_eq!(journal.admits(&one, at(1000)), Some(2));
        assert_eq!(journal.admits(&one, at(2001)), Some(0));
    }
}
