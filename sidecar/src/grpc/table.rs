//! What Sync answers: pages of the whole table, or the difference between two versions of it. Pure.
//!
//! A version is a hash of all that a worker judges by, so replicas that judge alike name it alike,
//! and a restart changes nothing. The last few versions are kept, so that a worker that is a little
//! behind gets a delta, and pages that were begun go on with the version they began with. Versions
//! share the rows that did not change: a kept version of 10,000 endpoints costs 80 kB.

use std::{
    cmp::Ordering,
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use lockgate_api::v1;
use lockgate_edge::endpoint::Endpoint;
use lockgate_edge::{Certainty, Change, EdgeSettings, Record, SyncAnswer, SyncQuestion};
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::pipelines::Snapshot;

/// The versions of the table that are still known.
pub(super) struct Tables {
    settings: EdgeSettings,
    /// Oldest first, never empty after [`Tables::new`].
    known: Mutex<VecDeque<Version>>,
}

/// All that a worker judges by, but for the settings, which never change.
#[derive(Clone)]
struct Version {
    /// The hash of it; never 0.
    number: u64,
    certainty: Certainty,
    /// In the order of their endpoints.
    rows: Arc<[Arc<Row>]>,
}

/// One endpoint as it is told.
struct Row {
    record: Arc<Record>,
    hash: u64,
    /// Bytes on the wire.
    size: usize,
}

/// The question's cursor is of a version that is not known here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct UnknownCursor;

impl Tables {
    pub(super) fn new(settings: EdgeSettings, snapshot: &Snapshot) -> Self {
        let tables = Self { settings, known: Mutex::new(VecDeque::new()) };
        tables.push(snapshot);
        tables
    }

    /// Takes a newer snapshot. True if a worker would judge by it in another way.
    pub(super) fn push(&self, snapshot: &Snapshot) -> bool {
        let before = self.lock().back().cloned();
        let old: &[Arc<Row>] = before.as_ref().map_or(&[], |before| &before.rows);
        let rows: Arc<[Arc<Row>]> = self.rows(snapshot, old).into();
        let certainty = certainty(snapshot);
        let number = self.number(&certainty, &rows);
        if before.is_some_and(|before| before.number == number) {
            return false;
        }
        let mut known = self.lock();
        known.push_back(Version { number, certainty, rows });
        if known.len() > KEPT {
            known.pop_front();
        }
        true
    }

    /// The answer to a question; `None` if there is nothing new to say.
    pub(super) fn answer(
        &self,
        question: &SyncQuestion,
    ) -> Result<Option<SyncAnswer>, UnknownCursor> {
        let known = self.lock();
        let Some(newest) = known.back() else { return Ok(None) };
        if !question.cursor.is_empty() {
            let (number, after) = cursor(&question.cursor).ok_or(UnknownCursor)?;
            // The newest of that number: a table may come back to what it was.
            let version = known.iter().rfind(|version| version.number == number);
            return Ok(Some(self.page(version.ok_or(UnknownCursor)?, Some(&after))));
        }
        if question.version == newest.number {
            return Ok(None);
        }
        let base = known.iter().rfind(|version| version.number == question.version);
        let delta = base.and_then(|base| difference(&base.rows, &newest.rows));
        Ok(Some(match delta {
            Some((upserts, removals)) => {
                let change = Change::Delta { base: question.version, upserts, removals };
                self.envelope(newest, change, None)
            }
            None => self.page(newest, None),
        }))
    }

    /// The answer when nothing happened for a while: no change to the version that was asked with.
    pub(super) fn unchanged(&self, number: u64) -> Option<SyncAnswer> {
        let known = self.lock();
        let version = known.iter().rfind(|version| version.number == number)?;
        let change = Change::Delta { base: number, upserts: Vec::new(), removals: Vec::new() };
        Some(self.envelope(version, change, None))
    }

    fn page(&self, version: &Version, after: Option<&Endpoint>) -> SyncAnswer {
        let start = after
            .map_or(0, |after| version.rows.partition_point(|row| row.record.endpoint <= *after));
        let rest = version.rows.get(start..).unwrap_or_default();
        let mut room = Room::default();
        let page: Vec<Record> = rest
            .iter()
            .take_while(|row| room.takes(row.size))
            .map(|row| Record::clone(&row.record))
            .collect();
        let next = if rest.len() > page.len() {
            page.last().map(|last| format!("{}:{}", version.number, last.endpoint))
        } else {
            None
        };
        self.envelope(version, Change::Full(page), next)
    }

    fn envelope(&self, version: &Version, change: Change, next: Option<String>) -> SyncAnswer {
        SyncAnswer {
            version: version.number,
            certainty: version.certainty.clone(),
            change,
            next,
            settings: self.settings.clone(),
        }
    }

    /// Endpoints with a key, and those of pipelines that allow unsigned events; unchanged ones are
    /// the old ones.
    fn rows(&self, snapshot: &Snapshot, old: &[Arc<Row>]) -> Vec<Arc<Row>> {
        let mut old = old.iter().peekable();
        let unsigned = |endpoint: &Endpoint| {
            !self.settings.allow_unsigned.is_empty()
                && self.settings.allow_unsigned.contains(&endpoint.pipeline_key())
        };
        snapshot
            .endpoints()
            .iter()
            .filter(|record| !record.keys.is_empty() || unsigned(&record.endpoint))
            .map(|record| {
                while old.next_if(|old| old.record.endpoint < record.endpoint).is_some() {}
                match old.peek().filter(|old| old.record == *record) {
                    Some(old) => Arc::clone(old),
                    None => Arc::new(Row::new(record)),
                }
            })
            .collect()
    }

    /// Shown to people in part, so it has 53 bits: a number that JSON and Prometheus keep exactly.
    fn number(&self, certainty: &Certainty, rows: &[Arc<Row>]) -> u64 {
        let told = v1::SyncResponse {
            complete: certainty.complete,
            unreadable: certainty.unreadable.iter().map(ToString::to_string).collect(),
            settings: Some(self.settings.clone().into()),
            ..v1::SyncResponse::default()
        };
        let mut hash = Sha256::new().chain_update(told.encode_to_vec());
        for row in rows {
            hash.update(row.hash.to_le_bytes());
        }
        (first_bytes(&hash.finalize()) >> 11).max(1)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Version>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Row {
    fn new(record: &Arc<Record>) -> Self {
        let told = v1::Endpoint::from(Record::clone(record)).encode_to_vec();
        Self {
            record: Arc::clone(record),
            hash: first_bytes(&Sha256::digest(&told)),
            size: told.len(),
        }
    }
}

/// What one answer may hold. The first row always fits: an endpoint has at most 33 kB.
#[derive(Default)]
struct Room {
    rows: usize,
    bytes: usize,
}

impl Room {
    fn takes(&mut self, bytes: usize) -> bool {
        self.rows += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        self.rows <= PAGE && self.bytes <= PAGE_BYTES
    }
}

fn certainty(snapshot: &Snapshot) -> Certainty {
    let unreadable = snapshot.unreadable();
    if unreadable.len() > MAX_UNREADABLE {
        return Certainty { complete: false, ..Certainty::default() };
    }
    Certainty { complete: snapshot.complete(), unreadable: unreadable.into_iter().collect() }
}

/// `<version>:<endpoint>`, the last of the page before.
fn cursor(text: &str) -> Option<(u64, Endpoint)> {
    let (version, endpoint) = text.split_once(':')?;
    Some((version.parse().ok()?, endpoint.parse().ok()?))
}

/// New and changed endpoints, and those that are gone; `None` if that is more than one answer
/// holds.
fn difference(old: &[Arc<Row>], new: &[Arc<Row>]) -> Option<(Vec<Record>, Vec<Endpoint>)> {
    let (mut upserts, mut removals) = (Vec::new(), Vec::new());
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    let mut room = Room::default();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return Some((upserts, removals)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.record.endpoint.cmp(&new.record.endpoint),
        };
        let (left, came) = match order {
            Ordering::Less => (old.next(), None),
            Ordering::Greater => (None, new.next()),
            Ordering::Equal => (old.next(), new.next()),
        };
        let size = match (left, came) {
            (Some(left), Some(came)) if Arc::ptr_eq(left, came) || left.record == came.record => {
                continue;
            }
            (_, Some(came)) => {
                upserts.push(Record::clone(&came.record));
                came.size
            }
            (Some(left), None) => {
                removals.push(left.record.endpoint.clone());
                left.record.endpoint.as_str().len()
            }
            (None, None) => continue,
        };
        if !room.takes(size) {
            return None;
        }
    }
}

fn first_bytes(digest: &[u8]) -> u64 {
    digest.first_chunk::<8>().copied().map_or(0, u64::from_le_bytes)
}

/// Endpoints of one answer.
const PAGE: usize = 500;
/// Bytes of one answer's endpoints. A worker holds an answer in memory as a whole.
const PAGE_BYTES: usize = 1 << 20;
/// Names of pipelines that one answer tells; with more, nothing is certain.
const MAX_UNREADABLE: usize = 100;
/// Versions that are kept: a worker asks again within a second of each change.
const KEPT: usize = 16;
