//! The endpoints that the edge knows: a sorted list, so that ten thousand of them stay small.

use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::key::Key;
use crate::limit::RateLimit;

/// One endpoint with its active keys and its own limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// The active keys. None: the endpoint exists only where unsigned events are allowed.
    pub keys: Arc<[Key]>,
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
}

impl EndpointTable {
    /// The record of an endpoint.
    pub fn find(&self, endpoint: &Endpoint) -> Option<&Arc<Record>> {
        self.position(endpoint).ok().and_then(|at| self.records.get(at))
    }

    /// Adds a record or replaces the endpoint's old one.
    pub fn upsert(&mut self, record: Arc<Record>) {
        match self.position(&record.endpoint) {
            Ok(at) => {
                if let Some(old) = self.records.get_mut(at) {
                    *old = record;
                }
            }
            Err(at) => self.records.insert(at, record),
        }
    }

    /// Takes an endpoint out. Not there is fine.
    pub fn remove(&mut self, endpoint: &Endpoint) {
        if let Ok(at) = self.position(endpoint) {
            self.records.remove(at);
        }
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
}

impl FromIterator<Record> for EndpointTable {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        let mut table = Self::default();
        records.into_iter().for_each(|record| table.upsert(Arc::new(record)));
        table
    }
}
