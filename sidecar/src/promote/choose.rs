//! What starts next: a pure function of what is due and what runs.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockgate_core::promotion::PromotionId;
use lockgate_core::retry::later;

/// What a task does for a promotion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// An attempt to carry it out. Takes a worker.
    Attempt,
    /// A question about its pull request, or the end of an old one. Takes no worker.
    Poll,
}

/// Where a task works. `None` in either: nothing is shared there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) repository: Option<Arc<str>>,
    pub(super) host: Option<Arc<str>>,
}

/// Something that waits for its time.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) id: PromotionId,
    pub(super) kind: Kind,
    pub(super) due: Timestamp,
    pub(super) place: &'a Place,
}

/// A task that runs.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) id: PromotionId,
    pub(super) kind: Kind,
    pub(super) place: Place,
    pub(super) since: Timestamp,
}

/// What may run at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Attempts.
    pub(super) workers: usize,
    /// Polls.
    pub(super) pollers: usize,
}

/// What to do now.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// These, in this order.
    pub(super) start: Vec<PromotionId>,
    /// When to choose again, if nothing happens before.
    pub(super) next: Option<Timestamp>,
    /// Attempts that are due and wait for a worker or their repository.
    pub(super) waiting: usize,
}

/// Chooses. `candidates` come in the order of their times; `silent` are the hosts whose last
/// attempt ended without an answer.
///
/// - One task per promotion, one attempt per repository, and no poll where an attempt works, so
///   that a token is not used by two at once for long.
/// - A host gets at most half of the workers; the silent ones share a quarter, at least one. So a
///   few hosts that accept and say nothing do not hold up everybody else.
/// - An attempt that has taken longer than [`PATIENCE`] stops counting as a worker, for as many
///   attempts again: a host that goes silent while all work there is not waited for either.
pub(super) fn choose<'a>(
    candidates: impl Iterator<Item = Candidate<'a>>,
    running: &[Running],
    silent: &HashSet<Arc<str>>,
    limits: Limits,
    now: Timestamp,
) -> Choice {
    let mut choice = Choice::default();
    let mut load = Load::new(running, silent, limits, now);
    // When an attempt stops counting, others may start.
    choice.next = load.next_relief(now);
    for candidate in candidates {
        if candidate.due > now {
            let next = choice.next.map_or(candidate.due, |next| next.min(candidate.due));
            choice.next = Some(next);
            break;
        }
        if load.takes(&candidate) {
            load.add(&candidate, now);
            choice.start.push(candidate.id);
        } else if candidate.kind == Kind::Attempt && !load.has(candidate.id) {
            choice.waiting += 1;
        }
    }
    choice
}

struct Load<'a> {
    running: Vec<Running>,
    silent: &'a HashSet<Arc<str>>,
    limits: Limits,
    now: Timestamp,
}

impl<'a> Load<'a> {
    fn new(
        running: &[Running],
        silent: &'a HashSet<Arc<str>>,
        limits: Limits,
        now: Timestamp,
    ) -> Self {
        Self { running: running.to_vec(), silent, limits, now }
    }

    fn add(&mut self, candidate: &Candidate<'_>, now: Timestamp) {
        let Candidate { id, kind, place, .. } = candidate;
        self.running.push(Running { id: *id, kind: *kind, place: (*place).clone(), since: now });
    }

    fn has(&self, id: PromotionId) -> bool {
        self.running.iter().any(|running| running.id == id)
    }

    fn of(&self, kind: Kind) -> impl Iterator<Item = &Running> {
        self.running.iter().filter(move |running| running.kind == kind)
    }

    fn is_long(&self, running: &Running) -> bool {
        later(running.since, PATIENCE) <= self.now
    }

    /// When the next running attempt stops counting.
    fn next_relief(&self, now: Timestamp) -> Option<Timestamp> {
        let reliefs = self.of(Kind::Attempt).map(|running| later(running.since, PATIENCE));
        reliefs.filter(|at| *at > now).min()
    }

    fn takes(&self, candidate: &Candidate<'_>) -> bool {
        let shares = |running: &&Running| {
            candidate.place.repository.is_some()
                && running.place.repository == candidate.place.repository
        };
        if self.has(candidate.id) {
            return false;
        }
        match candidate.kind {
            Kind::Attempt => {
                let long = self.of(Kind::Attempt).filter(|running| self.is_long(running)).count();
                let capacity = self.limits.workers + long.min(self.limits.workers);
                self.of(Kind::Attempt).count() < capacity
                    && !self.of(Kind::Attempt).any(|running| shares(&running))
                    && self.host_takes(candidate, self.limits.workers)
            }
            Kind::Poll => {
                self.of(Kind::Poll).count() < self.limits.pollers
                    && !self.running.iter().any(|running| shares(&running))
                    && self.host_takes(candidate, self.limits.pollers)
            }
        }
    }

    fn host_takes(&self, candidate: &Candidate<'_>, all: usize) -> bool {
        let Some(host) = &candidate.place.host else { return true };
        let at = |running: &&Running| running.place.host.as_ref() == Some(host);
        if self.of(candidate.kind).filter(at).count() >= (all / 2).max(1) {
            return false;
        }
        let is_silent =
            |host: Option<&Arc<str>>| host.is_some_and(|host| self.silent.contains(host));
        !is_silent(Some(host))
            || self
                .of(candidate.kind)
                .filter(|running| is_silent(running.place.host.as_ref()))
                .count()
                < (all / 4).max(1)
    }
}

/// How long an attempt counts as one that takes a worker. Longer than a promotion takes on a warm
/// mirror by far.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests;
