//! What one worker of the proxy knows beside the request at hand.
//!
//! Everything here has a bound that no sender can move.

use crate::Edge;
use crate::endpoint::Endpoint;
use crate::limit::Source;
use crate::sorted::Sorted;
use crate::sync::Syncer;

/// A worker of the proxy.
#[derive(Debug, Default)]
pub struct Worker {
    /// What to judge by, and how it is kept in step.
    pub syncer: Syncer,
    pub(crate) messages: Messages,
    pub(crate) unverified: Unverified,
}

impl Worker {
    /// A worker that judges by this table, as if the sidecar had sent it.
    pub fn with(edge: Edge) -> Self {
        Self { syncer: Syncer::with(edge), ..Self::default() }
    }

    pub(crate) fn edge(&self) -> Option<&Edge> {
        self.syncer.edge()
    }
}

/// The messages that came lately: a repetition of one is its source's to pay for. A copy of a
/// genuine event can then take a token of the endpoint once for each worker, and gives it back when
/// the sidecar has answered.
///
/// **Shape:** a fixed number of places; a message's MAC names its own, and a newer message takes
/// it.
#[derive(Debug, Default)]
pub(crate) struct Messages(Vec<[u8; 16]>);

impl Messages {
    pub(crate) fn contains(&self, mark: &[u8; 16]) -> bool {
        self.0.get(place(mark)) == Some(mark)
    }

    pub(crate) fn insert(&mut self, mark: [u8; 16]) {
        if self.0.is_empty() {
            self.0 = vec![[0; 16]; MESSAGES];
        }
        if let Some(found) = self.0.get_mut(place(&mark)) {
            *found = mark;
        }
    }

    /// The message was not taken: sent again, it counts.
    pub(crate) fn forget(&mut self, mark: &[u8; 16]) {
        if let Some(found) = self.0.get_mut(place(mark)).filter(|found| *found == mark) {
            *found = [0; 16];
        }
    }
}

fn place([low, high, ..]: &[u8; 16]) -> usize {
    usize::from(u16::from_le_bytes([*low, *high])) % MESSAGES
}

/// Large bodies that are being read and whose signature is not verified yet. The proxy holds them
/// in memory, so there is a bound on all of them and on those of one source.
#[derive(Debug, Default)]
pub(crate) struct Unverified {
    bytes: u64,
    /// Only sources that hold something.
    by_source: Sorted<Source, u64>,
}

/// A place for one large body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    source: Source,
    bytes: u64,
}

impl Unverified {
    /// A place for a body of up to `bytes`, if there is one.
    pub(crate) fn take(&mut self, source: Source, bytes: u64, body_limit: u64) -> Option<Place> {
        let in_all = UNVERIFIED_BYTES.max(body_limit.saturating_mul(SOURCES_AT_LEAST));
        let held = self.by_source.get(&source).copied().unwrap_or_default();
        let fits = self.bytes.saturating_add(bytes) <= in_all
            && held.saturating_add(bytes) <= in_all / SOURCES_AT_LEAST;
        fits.then(|| {
            self.bytes = self.bytes.saturating_add(bytes);
            self.by_source.insert(source, held.saturating_add(bytes));
            Place { source, bytes }
        })
    }

    pub(crate) fn give_back(&mut self, place: Place) {
        self.bytes = self.bytes.saturating_sub(place.bytes);
        if let Some(held) = self.by_source.get_mut(&place.source) {
            *held = held.saturating_sub(place.bytes);
            if *held == 0 {
                self.by_source.remove(&place.source);
            }
        }
    }
}

/// Refused signatures of known endpoints, for the sidecar: it tells people.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    /// Since the last question.
    fresh: Sorted<Endpoint, u32>,
    /// In the question that is under way.
    asked: Sorted<Endpoint, u32>,
}

impl Refused {
    pub(crate) fn count(&mut self, endpoint: &Endpoint) {
        add(&mut self.fresh, endpoint, 1);
    }

    /// For a question.
    pub(crate) fn ask(&mut self) -> Vec<(Endpoint, u32)> {
        self.fail();
        self.asked = core::mem::take(&mut self.fresh);
        self.asked.iter().cloned().collect()
    }

    /// The question was answered.
    pub(crate) fn told(&mut self) {
        self.asked.clear();
    }

    /// The question was lost: the next one says it again.
    pub(crate) fn fail(&mut self) {
        for (endpoint, count) in core::mem::take(&mut self.asked).iter() {
            add(&mut self.fresh, endpoint, *count);
        }
    }
}

fn add(counts: &mut Sorted<Endpoint, u32>, endpoint: &Endpoint, more: u32) {
    if let Some(count) = counts.get_mut(endpoint) {
        *count = count.saturating_add(more);
    } else if counts.len() < MAX_REFUSED {
        counts.insert(endpoint.clone(), more);
    }
}

/// More than the events that hundreds of senders send while they are fresh.
const MESSAGES: usize = 1024;
/// 256 bodies of the default limit, in each worker.
const UNVERIFIED_BYTES: u64 = 16 << 20;
/// One source gets at most this part of it.
const SOURCES_AT_LEAST: u64 = 4;
/// Endpoints of one question.
const MAX_REFUSED: usize = 100;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    const LIMIT: u64 = crate::DEFAULT_BODY_LIMIT;

    #[test]
    fn a_message_is_known_until_it_is_forgotten_or_another_takes_its_place() {
        let (one, same_place) = ([1; 16], [[1, 1].as_slice(), &[2; 14]].concat());
        let mut messages = Messages::default();
        assert!(!messages.contains(&one));
        messages.insert(one);
        assert!(messages.contains(&one));
        messages.forget(&[9; 16]);
        messages.insert(same_place.try_into().unwrap());
        assert!(!messages.contains(&one), "the table does not grow");
        messages.insert(one);
        messages.forget(&one);
        assert!(!messages.contains(&one));
    }

    #[test]
    fn large_bodies_are_bounded_in_all_and_for_each_source() {
        let mut unverified = Unverified::default();
        let source = |number: u8| Source::V4([192, 0, 2, number]);
        let take = |unverified: &mut Unverified, number| {
            let places = (0..1000).map_while(|_| unverified.take(source(number), LIMIT, LIMIT));
            places.collect::<Vec<_>>()
        };
        let first = take(&mut unverified, 1);
        assert_eq!(first.len(), 64, "a quarter");
        assert_eq!((2..=4).map(|number| take(&mut unverified, number).len()).sum::<usize>(), 192);
        assert_eq!(unverified.take(source(5), 1, LIMIT), None, "nothing is left");
        first.into_iter().for_each(|place| unverified.give_back(place));
        assert_eq!(take(&mut unverified, 5).len(), 64);
        assert_eq!(unverified.by_source.len(), 4, "who holds nothing costs nothing");
    }

    #[test]
    fn a_large_body_limit_leaves_room_for_four_bodies() {
        let limit = 100 << 20;
        let mut unverified = Unverified::default();
        for number in 0..4 {
            unverified.take(Source::V4([number; 4]), limit, limit).unwrap();
        }
        assert_eq!(unverified.take(Source::Unknown, limit, limit), None);
    }

    #[test]
    fn refusals_are_told_once_and_are_bounded() {
        let mut refused = Refused::default();
        for number in 0..300 {
            refused.count(&format!("team/p{number:03}/dev").parse().unwrap());
            refused.count(&"team/p000/dev".parse().unwrap());
        }
        let first = refused.ask();
        assert_eq!((first.len(), first.first().map(|(_, count)| *count)), (100, Some(301)));
        refused.fail();
        assert_eq!(refused.ask(), first, "a lost question is asked again");
        refused.told();
        assert_eq!(refused.ask(), []);
    }
}
