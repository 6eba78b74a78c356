//! The endpoints that the edge knows: a sorted list, so that ten thousand of them stay small.

use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::key::Keys;
use crate::limit::RateLimit;

/// One endpoint with its active keys and its own limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The active keys. None: the endpoint exists only where unsigned events are allowed.
    pub keys: Keys,
    /// The pipeline's own limit, if it has one.
    pub rate_limit: Option<RateLimit>,
}

/// All endpoints.
///
/// **Shape:** endpoint → record, ordered by endpoint, each once. Empty means that every request
/// gets the 401.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointTable {
    records: Vec<Arc<Record>>,
    /// How many endpoints have so many keys, from none to [`Keys::MOST`].
    with_keys: [usize; Keys::MOST + 1],
}

impl EndpointTable {
    /// The record of an endpoint.
    pub fn find(&self, endpoint: &Endpoint) -> Option<&Arc<Record>> {
        self.position(endpoint).ok().and_then(|at| self.records.get(at))
    }

    /// All records, in the order of their endpoints.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Record>> {
        self.records.iter()
    }

    /// Adds a record or replaces the endpoint's old one.
    pub fn upsert(&mut self, record: Arc<Record>) {
        self.counted(&record, |count| count.saturating_add(1));
        match self.position(&record.endpoint) {
            Ok(at) => {
                if let Some(place) = self.records.get_mut(at) {
                    let old = core::mem::replace(place, record);
                    self.counted(&old, |count| count.saturating_sub(1));
                }
            }
            Err(at) => self.records.insert(at, record),
        }
    }

    /// Takes an endpoint out and gives its record, if it was there.
    pub fn remove(&mut self, endpoint: &Endpoint) -> Option<Arc<Record>> {
        let at = self.position(endpoint).ok()?;
        let record = self.records.remove(at);
        self.counted(&record, |count| count.saturating_sub(1));
        Some(record)
    }

    /// The number of keys of the endpoint that has most; 0 without any key.
    pub fn most_keys(&self) -> usize {
        self.with_keys.iter().rposition(|count| *count > 0).unwrap_or_default()
    }

    /// The number of endpoints.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// True without endpoints.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn position(&self, endpoint: &Endpoint) -> Result<usize, usize> {
        // Pages come sorted: the usual place of a new record is the end.
        if self.records.last().is_none_or(|last| last.endpoint < *endpoint) {
            return Err(self.records.len());
        }
        self.records.binary_search_by(|record| record.endpoint.cmp(endpoint))
    }

    fn counted(&mut self, record: &Record, change: impl Fn(usize) -> usize) {
        if let Some(count) = self.with_keys.get_mut(record.keys.len()) {
            *count = change(*count);
        }
    }
}

impl FromIterator<Record> for EndpointTable {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        let mut table = Self::default();
        records.into_iter().for_each(|record| table.upsert(Arc::new(record)));
        table
    }
}
