//! How a worker keeps its table: a question at a time, the sidecar answers when there is something
//! to say.
//!
//! A full table may come in pages; it is staged and replaces the old one after its last page, so
//! that no request ever meets half a table. Unchanged records are shared with the old table: a
//! restart of the sidecar does not double the memory. A lost call is asked again after a pause,
//! from the tick: never from the callback that says it was lost, which would spin while nobody
//! listens. Times are the host's and may step back.

use core::time::Duration;
use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::{Edge, EdgeSettings, EndpointTable, Record};

/// What a worker asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncQuestion {
    /// The version it judges by; 0 for none.
    pub version: u64,
    /// Who gave out that version; empty for none.
    pub instance: String,
    /// Where the next page begins; empty for a new question.
    pub cursor: String,
}

/// What the sidecar answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncAnswer {
    /// The version that the worker has after the last page.
    pub version: u64,
    /// Who answers: changes when the sidecar restarts.
    pub instance: String,
    /// What is new.
    pub change: Change,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
    /// What holds for every endpoint.
    pub settings: EdgeSettings,
}

/// What is new since the version that was asked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A page of the whole table.
    Full(Vec<Record>),
    /// What differs from `base`. Both lists empty: nothing changed.
    Delta {
        /// The version that was asked with.
        base: u64,
        /// New or changed endpoints.
        upserts: Vec<Record>,
        /// Endpoints that are gone.
        removals: Vec<Endpoint>,
    },
}

/// A worker's side of the conversation. Owns what the worker judges by.
#[derive(Debug, Default)]
pub struct Syncer {
    edge: Option<Edge>,
    instance: String,
    staging: Option<Staging>,
    call: Call,
    failures: u32,
    answered_at: Option<u64>,
}

#[derive(Debug)]
struct Staging {
    version: u64,
    instance: String,
    table: EndpointTable,
    cursor: String,
}

#[derive(Debug, Default)]
enum Call {
    #[default]
    Ready,
    Running {
        since: u64,
    },
    Pausing {
        since: u64,
        pause: u64,
    },
}

impl Syncer {
    /// What to judge by; nothing until the first complete answer.
    pub fn edge(&self) -> Option<&Edge> {
        self.edge.as_ref()
    }

    /// The question to ask now, if it is time. `now` is in nanoseconds of the host's clock.
    pub fn ask(&mut self, now: u64) -> Option<SyncQuestion> {
        let waiting = match &mut self.call {
            Call::Ready => false,
            // A call that outlived its own deadline was lost: the proxy forgot to say so.
            Call::Running { since } => within(since, now, nanos(LOST_AFTER)),
            Call::Pausing { since, pause } => within(since, now, *pause),
        };
        if waiting {
            return None;
        }
        self.call = Call::Running { since: now };
        let version = self.edge.as_ref().map_or(0, |edge| edge.version);
        let instance = self.instance.clone();
        let cursor =
            self.staging.as_ref().map(|staging| staging.cursor.clone()).unwrap_or_default();
        Some(SyncQuestion { version, instance, cursor })
    }

    /// Takes an answer. True: there is more to fetch or something changed, so ask again at once.
    /// False: at the next tick (a sidecar that answers at once with nothing must not become a busy
    /// loop).
    pub fn answer(&mut self, answer: SyncAnswer, now: u64) -> bool {
        let held = match &mut self.call {
            Call::Running { since } => !within(since, now, nanos(HELD)),
            Call::Ready | Call::Pausing { .. } => false,
        };
        self.call = Call::Ready;
        self.failures = 0;
        self.answered_at = Some(now);
        match answer.change {
            Change::Full(records) => {
                let news = self.edge.as_ref().is_none_or(|edge| edge.version != answer.version)
                    || self.instance != answer.instance
                    || answer.next.is_some();
                self.stage(records, answer.version, answer.instance, answer.next, answer.settings);
                news || held
            }
            Change::Delta { base, upserts, removals } => {
                self.staging = None;
                let ours = self.instance == answer.instance;
                let Some(edge) = self.edge.as_mut().filter(|edge| ours && edge.version == base)
                else {
                    // A delta to something else than what we have: begin anew.
                    self.instance = String::new();
                    self.pause(now, false);
                    return false;
                };
                let changed = edge.version != answer.version;
                upserts.into_iter().for_each(|record| edge.table.upsert(Arc::new(record)));
                removals.iter().for_each(|endpoint| edge.table.remove(endpoint));
                edge.settings = answer.settings;
                edge.version = answer.version;
                changed || held
            }
        }
    }

    /// The call failed or its answer made no sense. What the worker has stays good.
    pub fn fail(&mut self, now: u64) {
        self.failures = self.failures.saturating_add(1);
        self.staging = None;
        self.pause(now, true);
    }

    /// How long ago the sidecar last answered.
    pub fn age(&self, now: u64) -> Option<Duration> {
        self.answered_at.map(|at| Duration::from_nanos(now.saturating_sub(at)))
    }

    fn stage(
        &mut self,
        records: Vec<Record>,
        version: u64,
        instance: String,
        next: Option<String>,
        settings: EdgeSettings,
    ) {
        let mut staging = self
            .staging
            .take()
            .filter(|staging| staging.version == version && staging.instance == instance)
            .unwrap_or_else(|| Staging {
                version,
                instance,
                table: EndpointTable::default(),
                cursor: String::new(),
            });
        let old = self.edge.as_ref().map(|edge| &edge.table);
        for record in records {
            let kept = old
                .and_then(|old| old.find(&record.endpoint))
                .filter(|kept| ***kept == record)
                .cloned();
            staging.table.upsert(kept.unwrap_or_else(|| Arc::new(record)));
        }
        match next {
            Some(cursor) => {
                staging.cursor = cursor;
                self.staging = Some(staging);
            }
            None => {
                self.instance = staging.instance;
                self.edge = Some(Edge { settings, table: staging.table, version });
            }
        }
    }

    fn pause(&mut self, now: u64, failed: bool) {
        let doublings = if failed { self.failures.saturating_sub(1).min(MAX_DOUBLINGS) } else { 0 };
        let pause = nanos(FIRST_PAUSE) << doublings;
        // The low digits of the host's clock differ between workers: good enough to spread them.
        let jitter = now % (pause / 2).max(1);
        self.call = Call::Pausing { since: now, pause: pause.saturating_add(jitter) };
    }
}

/// True if `now` is less than `span` after `since`. If the clock stepped back before `since`, the
/// wait begins anew.
fn within(since: &mut u64, now: u64, span: u64) -> bool {
    *since = (*since).min(now);
    now - *since < span
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The deadline of one question: the sidecar holds it for 20 s at most.
pub const SYNC_DEADLINE: Duration = Duration::from_secs(25);
const LOST_AFTER: Duration = Duration::from_secs(30);
/// An answer that took this long was held by the sidecar: asking again at once cannot spin.
const HELD: Duration = Duration::from_secs(1);
/// A sidecar that restarts is back within about a second.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// 100 ms · 2⁴ = 1.6 s, and up to half of that as jitter.
const MAX_DOUBLINGS: u32 = 4;
