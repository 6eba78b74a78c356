//! What Sync answers: pages of the whole table, or the difference between two versions of it. Pure.
//!
//! The last few versions are kept, so that a worker that is a little behind gets a delta, and pages
//! that were begun go on with the version they began with. Versions share the records that did not
//! change: a kept version of 10,000 endpoints costs 80 kB.

use std::{
    cmp::Ordering,
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use lockgate_edge::endpoint::Endpoint;
use lockgate_edge::{Change, EdgeSettings, Record, SyncAnswer, SyncQuestion};

use crate::pipelines::Snapshot;

/// All endpoints of one version, in order.
type Records = Arc<[Arc<Record>]>;

/// The versions of the table that are still known.
pub(super) struct Tables {
    /// Tells this process from others: their versions mean nothing here.
    instance: String,
    settings: EdgeSettings,
    /// Oldest first, never empty after [`Tables::new`].
    known: Mutex<VecDeque<(u64, Records)>>,
}

impl Tables {
    pub(super) fn new(instance: String, settings: EdgeSettings, snapshot: &Snapshot) -> Self {
        let tables = Self { instance, settings, known: Mutex::new(VecDeque::new()) };
        tables.push(snapshot);
        tables
    }

    /// Takes a newer snapshot. True if any endpoint differs; the version stays as it was otherwise.
    pub(super) fn push(&self, snapshot: &Snapshot) -> bool {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.back().cloned();
        let old: &[Arc<Record>] = before.as_ref().map_or(&[], |(_, records)| records);
        let records: Records = self.records(snapshot, old).into();
        let same = before.as_ref().is_some_and(|(version, before)| {
            snapshot.version <= *version
                || (before.len() == records.len()
                    && before.iter().zip(records.iter()).all(|(a, b)| Arc::ptr_eq(a, b)))
        });
        if same {
            return false;
        }
        known.push_back((snapshot.version, records));
        if known.len() > KEPT {
            known.pop_front();
        }
        true
    }

    /// The answer to a question; `None` if there is nothing new to say.
    pub(super) fn answer(&self, question: &SyncQuestion) -> Option<SyncAnswer> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let (version, records) = known.back()?;
        let ours = question.instance == self.instance;
        if let Some((paged, after)) = cursor(&question.cursor)
            && let Some((version, records)) = known.iter().find(|(version, _)| *version == paged)
        {
            return Some(self.page(*version, records, Some(&after)));
        }
        if !ours || question.version == 0 || !question.cursor.is_empty() {
            return Some(self.page(*version, records, None));
        }
        if question.version == *version {
            return None;
        }
        let Some((_, base)) = known.iter().find(|(known, _)| *known == question.version) else {
            return Some(self.page(*version, records, None));
        };
        let (upserts, removals) = difference(base, records);
        if upserts.len() + removals.len() > PAGE {
            return Some(self.page(*version, records, None));
        }
        Some(self.envelope(
            *version,
            Change::Delta { base: question.version, upserts, removals },
            None,
        ))
    }

    /// The answer when nothing happened for a while: the version that was asked with, and no
    /// change.
    pub(super) fn unchanged(&self, version: u64) -> SyncAnswer {
        self.envelope(
            version,
            Change::Delta { base: version, upserts: Vec::new(), removals: Vec::new() },
            None,
        )
    }

    fn page(&self, version: u64, records: &Records, after: Option<&Endpoint>) -> SyncAnswer {
        let start =
            after.map_or(0, |after| records.partition_point(|record| record.endpoint <= *after));
        let rest = records.get(start..).unwrap_or_default();
        let page: Vec<Record> =
            rest.iter().take(PAGE).map(|record| Record::clone(record)).collect();
        let next = if rest.len() > PAGE {
            page.last().map(|last| format!("{version}:{}", last.endpoint))
        } else {
            None
        };
        self.envelope(version, Change::Full(page), next)
    }

    fn envelope(&self, version: u64, change: Change, next: Option<String>) -> SyncAnswer {
        SyncAnswer {
            version,
            instance: self.instance.clone(),
            change,
            next,
            settings: self.settings.clone(),
        }
    }

    /// Endpoints with a key, and those of pipelines that allow unsigned events; unchanged ones are
    /// the old ones.
    fn records(&self, snapshot: &Snapshot, old: &[Arc<Record>]) -> Vec<Arc<Record>> {
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
                while old.next_if(|old| old.endpoint < record.endpoint).is_some() {}
                Arc::clone(old.peek().filter(|old| **old == record).unwrap_or(&record))
            })
            .collect()
    }
}

/// `<version>:<endpoint>`, the last of the page before.
fn cursor(text: &str) -> Option<(u64, Endpoint)> {
    let (version, endpoint) = text.split_once(':')?;
    Some((version.parse().ok()?, endpoint.parse().ok()?))
}

fn difference(old: &[Arc<Record>], new: &[Arc<Record>]) -> (Vec<Record>, Vec<Endpoint>) {
    let (mut upserts, mut removals) = (Vec::new(), Vec::new());
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return (upserts, removals),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(old), Some(new)) => old.endpoint.cmp(&new.endpoint),
        };
        match order {
            Ordering::Less => removals.extend(old.next().map(|record| record.endpoint.clone())),
            Ordering::Greater => upserts.extend(new.next().map(|record| Record::clone(record))),
            Ordering::Equal => {
                if let (Some(old), Some(new)) = (old.next(), new.next())
                    && old != new
                {
                    upserts.push(Record::clone(new));
                }
            }
        }
    }
}

/// Endpoints of one answer.
const PAGE: usize = 500;
/// Versions that are kept: a worker asks again within a second of each change.
const KEPT: usize = 16;
