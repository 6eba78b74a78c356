//! What waits for its time, in memory: read from the ledger at the start, then kept up to date by
//! its news.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockgate_core::pipeline::StrategyKind;
use lockgate_core::promotion::{Cleanup, Promotion, PromotionId, State};
use lockgate_core::retry::later;

use super::choose::{Candidate, Kind, Place};
use super::plan::{Plan, Step};
use crate::ledger::Destination;
use crate::pipelines::Snapshot;

/// Promotions that something may be left to do for.
pub(super) struct Agenda {
    entries: HashMap<PromotionId, Entry>,
    /// What has a time, by that.
    due: BTreeSet<(Timestamp, PromotionId)>,
    /// Destination → its latest promotion, where that one has failed.
    failed: BTreeMap<Destination, PromotionId>,
    /// Promotions whose wait was warned about.
    warned: HashSet<PromotionId>,
    /// Between two steps of a clean-up. Nobody waits for it.
    pause: Duration,
}

pub(super) struct Entry {
    pub(super) promotion: Arc<Promotion>,
    /// What to do at its time; `None` where nothing has one.
    work: Option<(Kind, Timestamp)>,
    place: Place,
    /// No attempt can have left anything outside yet.
    pub(super) first: bool,
}

/// Whether a promotion was just made by this process, or may have been tried by an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    News,
    Read,
}

impl Entry {
    /// Where its work is.
    pub(super) fn place(&self) -> &Place {
        &self.place
    }
}

impl Agenda {
    pub(super) fn new(pause: Duration) -> Self {
        Self {
            entries: HashMap::new(),
            due: BTreeSet::new(),
            failed: BTreeMap::new(),
            warned: HashSet::new(),
            pause,
        }
    }

    /// Takes in a promotion as it is now.
    pub(super) fn learn(&mut self, promotion: Arc<Promotion>, heard: Heard, snapshot: &Snapshot) {
        let id = promotion.id;
        let before = self.remove(id);
        let destination = Destination::of(&promotion);
        if promotion.state.is_active() {
            // An unfinished promotion is its destination's latest.
            self.failed.remove(&destination);
        }
        match &promotion.state {
            State::Failed { .. } => drop(self.failed.insert(destination, id)),
            state if state.has_work() => {}
            _ => {
                self.warned.remove(&id);
                return;
            }
        }
        let untouched = promotion.is_untouched();
        let first = match before {
            Some(before) => before.first && untouched,
            None => heard == Heard::News && untouched,
        };
        let (work, place) = self.plan(&promotion, snapshot);
        if let Some((_, at)) = work {
            self.due.insert((at, id));
        }
        self.entries.insert(id, Entry { promotion, work, place, first });
    }

    /// Forgets everything: it is read anew.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.due.clear();
        self.failed.clear();
    }

    /// Pipelines or Secrets have changed: where everything works may have too.
    pub(super) fn plan_again(&mut self, snapshot: &Snapshot) {
        let all: Vec<Arc<Promotion>> = self.promotions().cloned().collect();
        for promotion in all {
            let (work, place) = self.plan(&promotion, snapshot);
            let id = promotion.id;
            if let Some(entry) = self.entries.get_mut(&id) {
                if let Some((_, at)) = entry.work {
                    self.due.remove(&(at, id));
                }
                if let Some((_, at)) = work {
                    self.due.insert((at, id));
                }
                (entry.work, entry.place) = (work, place);
            }
        }
    }

    /// What to do for a promotion, when, and where.
    fn plan(
        &mut self,
        promotion: &Promotion,
        snapshot: &Snapshot,
    ) -> (Option<(Kind, Timestamp)>, Place) {
        let work = match &promotion.state {
            State::Pending { next_attempt_at, .. } => Some((Kind::Attempt, *next_attempt_at)),
            State::PullRequestOpen { poll, .. } => Some((Kind::Poll, poll.at)),
            // The newer promotion's attempt comes first if it can: no poll begins in a repository
            // where an attempt works. It takes most pull requests over, and nothing is left to do.
            State::Superseded { cleanup: Cleanup::Due { .. }, .. } => {
                Some((Kind::Poll, later(promotion.updated_at, NEWER_FIRST)))
            }
            State::Superseded { cleanup: Cleanup::Disarmed { .. }, .. } => {
                Some((Kind::Poll, later(promotion.updated_at, self.pause)))
            }
            _ => None,
        };
        let plan = Plan::of(snapshot, promotion);
        if let (Step::NotBuilt(kind), Some((Kind::Attempt, _))) = (&plan.step, work) {
            self.warn(promotion, *kind);
            return (None, Place::default());
        }
        let site = plan.site();
        let host = site.as_ref().map(|site| site.host()).filter(|host| !host.is_empty());
        let repository = site.map(|site| Arc::from(site.repository()));
        (work, Place { repository, host: host.map(Arc::from) })
    }

    fn warn(&mut self, promotion: &Promotion, strategy: StrategyKind) {
        if self.warned.insert(promotion.id) {
            tracing::warn!(promotion = %promotion.id, pipeline = %promotion.pipeline, environment = %promotion.to, %strategy,
                "promotion waits: this version does not carry out its strategy; choose another one in the Pipeline");
        }
    }

    fn remove(&mut self, id: PromotionId) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        if let Some((at, _)) = entry.work.map(|(_, at)| (at, ())) {
            self.due.remove(&(at, id));
        }
        if let State::Failed { .. } = entry.promotion.state {
            let destination = Destination::of(&entry.promotion);
            if self.failed.get(&destination) == Some(&id) {
                self.failed.remove(&destination);
            }
        }
        Some(entry)
    }

    pub(super) fn get(&self, id: PromotionId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// Puts off a step of a clean-up that has to wait, or could not be taken.
    pub(super) fn put_off(&mut self, id: PromotionId, now: Timestamp) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let (State::Superseded { .. }, Some((kind, at))) = (&entry.promotion.state, entry.work) {
            let next = later(now, self.pause);
            self.due.remove(&(at, id));
            self.due.insert((next, id));
            entry.work = Some((kind, next));
        }
    }

    /// A task begins for a promotion: what it does outside is not the first any more.
    pub(super) fn begun(&mut self, id: PromotionId) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.first = false;
        }
    }

    /// The promotions that no attempt was made at.
    pub(super) fn first(&self) -> HashSet<PromotionId> {
        self.entries.iter().filter(|(_, entry)| entry.first).map(|(id, _)| *id).collect()
    }

    /// What has a time, in the order of those.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> {
        self.due.iter().filter_map(|(at, id)| {
            let entry = self.entries.get(id)?;
            let (kind, _) = entry.work?;
            Some(Candidate { id: *id, kind, due: *at, place: &entry.place })
        })
    }

    pub(super) fn promotions(&self) -> impl Iterator<Item = &Arc<Promotion>> {
        self.entries.values().map(|entry| &entry.promotion)
    }

    /// The failed promotions that are their destination's latest.
    pub(super) fn failed(&self) -> impl Iterator<Item = &Arc<Promotion>> {
        self.failed.values().filter_map(|id| self.entries.get(id)).map(|entry| &entry.promotion)
    }
}

/// How much later than the newer promotion a clean-up is due.
const NEWER_FIRST: Duration = Duration::from_millis(100);
