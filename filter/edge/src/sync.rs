//! How a worker keeps its table: a question at a time, the sidecar answers when there is something
//! to say.
//!
//! A version is a hash of what a worker judges by, so every replica of the sidecar that judges
//! alike answers alike. A full table may come in pages; it is staged and replaces the old one after
//! its last page, so that no request ever meets half a table. Unchanged records are shared with the
//! old table: a new table does not double the memory. A lost call is asked again after a pause,
//! from the tick: never from the callback that says it was lost, which would spin while nobody
//! listens. Times are the host's and may step back.

use core::time::Duration;
use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::worker::Refused;
use crate::{Certainty, Edge, EdgeSettings, EndpointTable, Record};

/// What a worker asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SyncQuestion {
    /// The version it judges by; 0 for none.
    pub version: u64,
    /// Where the next page begins; empty for a new question.
    pub cursor: String,
    /// Known endpoints → how many signatures were refused since the last question; at most 100.
    pub refused: Vec<(Endpoint, u32)>,
}

/// What the sidecar answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncAnswer {
    /// The version that the worker has after the last page; never 0.
    pub version: u64,
    /// How sure the sidecar is that it knows every endpoint.
    pub certainty: Certainty,
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
    staging: Option<Staging>,
    call: Call,
    failures: u32,
    /// When the sidecar last answered; before that, when it was first asked.
    heard: Option<u64>,
    /// When the last two full tables began to come.
    fulls: [u64; 2],
    /// The next question asks for the whole table, whatever the worker has.
    anew: bool,
    refused: Refused,
}

#[derive(Debug)]
struct Staging {
    version: u64,
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
    /// As if the sidecar had sent this table.
    pub(crate) fn with(edge: Edge) -> Self {
        Self { edge: Some(edge), ..Self::default() }
    }

    /// What to judge by; nothing until the first complete answer.
    pub fn edge(&self) -> Option<&Edge> {
        self.edge.as_ref()
    }

    /// The question to ask now, if it is time. `now` is in nanoseconds of the host's clock.
    pub fn ask(&mut self, now: u64) -> Option<SyncQuestion> {
        self.heard.get_or_insert(now);
        if let Some(edge) = &mut self.edge {
            edge.forget_gone(now);
        }
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
        let edge = self.edge.as_ref().filter(|_| !self.anew);
        let cursor = self.staging.as_ref().map(|staging| staging.cursor.clone());
        Some(SyncQuestion {
            version: edge.map_or(0, |edge| edge.version),
            cursor: cursor.unwrap_or_default(),
            refused: self.refused.ask(),
        })
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
        self.heard = Some(now);
        self.refused.told();
        match answer.change {
            Change::Full(records) => {
                let continues =
                    self.staging.as_ref().is_some_and(|staged| staged.version == answer.version);
                let often = !continues && self.is_often(now);
                let news = self.edge.as_ref().is_none_or(|edge| edge.version != answer.version)
                    || answer.next.is_some();
                self.stage(records, &answer.next, answer.version);
                if answer.next.is_none() {
                    self.replace(answer.settings, answer.certainty, now);
                }
                if often {
                    // Replicas that do not agree, or a table that never stands still.
                    self.pause(now, CALM);
                    return false;
                }
                news || held
            }
            Change::Delta { base, upserts, removals } => {
                self.staging = None;
                let Some(edge) = self.edge.as_mut().filter(|edge| edge.version == base) else {
                    // A delta to something else than what we have: begin anew.
                    self.anew = true;
                    self.pause(now, FIRST_PAUSE);
                    return false;
                };
                let changed = edge.version != answer.version;
                for record in upserts {
                    edge.gone.remove(&record.endpoint);
                    edge.table.upsert(Arc::new(record));
                }
                for endpoint in removals {
                    if edge.table.remove(&endpoint).is_some() {
                        edge.gone.insert(endpoint, now);
                    }
                }
                edge.settings = answer.settings;
                edge.certainty = answer.certainty;
                edge.version = answer.version;
                changed || held
            }
        }
    }

    /// The call failed or its answer made no sense. What the worker has stays good.
    pub fn fail(&mut self, now: u64) {
        self.failures = self.failures.saturating_add(1);
        self.staging = None;
        self.refused.fail();
        let doublings = self.failures.saturating_sub(1).min(MAX_DOUBLINGS);
        self.pause(now, FIRST_PAUSE.saturating_mul(1 << doublings));
    }

    /// When the sidecar last answered; before its first answer, when it was first asked.
    pub fn heard(&self) -> Option<u64> {
        self.heard
    }

    /// A signature was refused on an endpoint that exists.
    pub(crate) fn count_refused(&mut self, endpoint: &Endpoint) {
        self.refused.count(endpoint);
    }

    /// Whether this is the third full table within a second.
    fn is_often(&mut self, now: u64) -> bool {
        let [last, one_before] = self.fulls;
        self.fulls = [now, last];
        one_before > 0 && now.saturating_sub(one_before) < nanos(CALM)
    }

    fn stage(&mut self, records: Vec<Record>, next: &Option<String>, version: u64) {
        let mut staging =
            self.staging.take().filter(|staging| staging.version == version).unwrap_or_else(|| {
                Staging { version, table: EndpointTable::default(), cursor: String::new() }
            });
        let old = self.edge.as_ref().map(|edge| &edge.table);
        for record in records {
            let kept = old
                .and_then(|old| old.find(&record.endpoint))
                .filter(|kept| ***kept == record)
                .cloned();
            staging.table.upsert(kept.unwrap_or_else(|| Arc::new(record)));
        }
        staging.cursor = next.clone().unwrap_or_default();
        self.staging = Some(staging);
    }

    /// The staged table is whole.
    fn replace(&mut self, settings: EdgeSettings, certainty: Certainty, now: u64) {
        let Some(staging) = self.staging.take() else { return };
        self.anew = false;
        let mut edge = Edge::new(settings, staging.table, staging.version);
        edge.certainty = certainty;
        if let Some(old) = self.edge.take() {
            edge.gone = old.gone;
            edge.gone.retain(|endpoint, _| edge.table.find(endpoint).is_none());
            for record in old.table.iter() {
                if edge.table.find(&record.endpoint).is_none() {
                    edge.gone.insert(record.endpoint.clone(), now);
                }
            }
        }
        self.edge = Some(edge);
    }

    fn pause(&mut self, now: u64, pause: Duration) {
        let pause = nanos(pause);
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
/// Two full tables in this time are fine (a start, and a change at once); after a third one the
/// worker pauses for as long.
const CALM: Duration = Duration::from_secs(1);
