//! Whether it is known for sure which endpoints exist.
//!
//! Flux never repeats an event that was answered 401. So a 401 is said only by who is sure that the
//! endpoint has no such key; until then the answer is 503, and the event comes again. Everything
//! here is a function of what happened and of `now`.
//!
//! That an endpoint which lost its last key may be in the middle of a change is the edge's to know:
//! see `lockgate_edge::Edge`.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

/// What happened so far.
#[derive(Debug)]
pub(super) struct Certainty {
    started: Instant,
    /// Everything was looked at once.
    passed: bool,
    /// Nothing was found, which may mean that a volume is not mounted yet.
    empty: bool,
    /// It was ready once, and stays so.
    was_ready: bool,
    /// Documents that do not read and do not say what they are, by a name, with the time when that
    /// was first seen.
    unread: BTreeMap<Arc<str>, Instant>,
}

/// What follows, at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The first pass is through: deliveries can be taken.
    pub(super) ready: bool,
    /// No endpoint can be missing.
    pub(super) complete: bool,
    /// Every document says at least which object it is.
    pub(super) all_named: bool,
}

impl Certainty {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            started: now,
            passed: false,
            empty: false,
            was_ready: false,
            unread: BTreeMap::new(),
        }
    }

    /// Takes what a source says of a pass over everything. A document that did not read before
    /// keeps its time.
    pub(super) fn passed(
        &mut self,
        unread: impl IntoIterator<Item = Arc<str>>,
        empty: bool,
        now: Instant,
    ) {
        self.passed = true;
        self.empty = empty;
        let mut before = std::mem::take(&mut self.unread);
        self.unread = unread
            .into_iter()
            .map(|name| {
                let since = before.remove(&name).unwrap_or(now);
                (name, since)
            })
            .collect();
    }

    /// What is known at `now`.
    pub(super) fn at(&mut self, now: Instant) -> Verdict {
        let since = |then: Instant| now.saturating_duration_since(then);
        let found = !self.empty || since(self.started) >= EMPTY;
        self.was_ready |= self.passed && found;
        Verdict {
            ready: self.was_ready,
            complete: self.was_ready && self.unread.values().all(|seen| since(*seen) >= UNREAD),
            all_named: self.was_ready && self.unread.is_empty(),
        }
    }

    /// When time alone changes the verdict next.
    pub(super) fn next(&self, now: Instant) -> Option<Instant> {
        let empty = (!self.was_ready && self.passed).then_some(self.started + EMPTY);
        let unread = self.unread.values().map(|seen| *seen + UNREAD);
        empty.into_iter().chain(unread).filter(|at| *at > now).min()
    }
}

/// How long a document that says nothing of itself may hide an endpoint. A person has seen the
/// problem by then, and a stray text must not keep every refusal at 503 for ever.
const UNREAD: Duration = Duration::from_secs(10 * 60);
/// How long a folder may be empty before that is taken for its state.
const EMPTY: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(count: u64) -> Duration {
        Duration::from_secs(count)
    }

    #[test]
    fn nothing_is_known_before_the_first_pass_and_all_after_it() {
        let start = Instant::now();
        let mut certainty = Certainty::new(start);
        assert_eq!(certainty.at(start + seconds(3600)), Verdict::default());
        certainty.passed([], false, start + seconds(3600));
        let verdict = certainty.at(start + seconds(3600));
        assert!(verdict.ready && verdict.complete);
        assert_eq!(certainty.next(start + seconds(3600)), None);
    }

    #[test]
    fn a_document_that_says_nothing_of_itself_is_doubted_for_ten_minutes_and_does_not_delay_ready()
    {
        let start = Instant::now();
        let mut certainty = Certainty::new(start);
        let name: Arc<str> = "a.yaml".into();
        certainty.passed([Arc::clone(&name)], false, start);
        let verdict = certainty.at(start);
        assert!(verdict.ready && !verdict.complete);
        assert_eq!(certainty.next(start), Some(start + seconds(600)));
        // Read again and still broken: the time does not begin anew.
        certainty.passed([Arc::clone(&name)], false, start + seconds(300));
        assert!(!certainty.at(start + seconds(599)).complete);
        assert!(certainty.at(start + seconds(600)).complete);
        // Mended and broken again: it does.
        certainty.passed([], false, start + seconds(700));
        certainty.passed([name], false, start + seconds(800));
        assert!(!certainty.at(start + seconds(1399)).complete);
        assert!(certainty.at(start + seconds(1400)).complete);
    }

    #[test]
    fn an_empty_folder_is_ready_after_thirty_seconds_and_what_is_emptied_later_stays_ready() {
        let start = Instant::now();
        let mut certainty = Certainty::new(start);
        certainty.passed([], true, start);
        assert!(!certainty.at(start + seconds(29)).ready);
        assert_eq!(certainty.next(start), Some(start + seconds(30)));
        let verdict = certainty.at(start + seconds(30));
        assert!(verdict.ready && verdict.complete);
        let mut mounted = Certainty::new(start);
        mounted.passed([], true, start);
        mounted.passed([], false, start + seconds(3));
        assert!(mounted.at(start + seconds(3)).complete);
        mounted.passed([], true, start + seconds(4));
        assert!(mounted.at(start + seconds(4)).complete);
    }
}
