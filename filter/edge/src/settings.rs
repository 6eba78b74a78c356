//! What the edge judges by: the settings that hold everywhere, the endpoints, and how sure it is of
//! them.

use core::time::Duration;
use std::sync::Arc;

use crate::endpoint::{Endpoint, PathPrefix, PipelineKey};
use crate::limit::RateLimit;
use crate::signature::Algorithm;
use crate::sorted::Sorted;
use crate::table::{EndpointTable, Record};

/// Everything the edge judges by. All of it comes from the sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// What holds for every endpoint.
    pub settings: EdgeSettings,
    /// The endpoints.
    pub table: EndpointTable,
    /// How sure the sidecar is that these are all.
    pub certainty: Certainty,
    /// A hash of all of it, as the sidecar computed it.
    pub version: u64,
    /// Endpoints that are gone → when they went, in nanoseconds of the host's clock. Only those of
    /// the last five seconds.
    pub(crate) gone: Sorted<Endpoint, u64>,
}

impl Edge {
    /// A table that the sidecar is sure of.
    pub fn new(settings: EdgeSettings, table: EndpointTable, version: u64) -> Self {
        Self { settings, table, certainty: Certainty::default(), version, gone: Sorted::default() }
    }

    /// The record of an endpoint that can take events: it has a key, or needs none.
    pub(crate) fn usable(&self, endpoint: &Endpoint) -> Option<&Arc<Record>> {
        self.table.find(endpoint).filter(|record| !record.keys.is_empty() || self.is_open(record))
    }

    /// Whether an endpoint takes unsigned events: it has no key, and its pipeline allows them by
    /// name in the sidecar's configuration.
    pub(crate) fn is_open(&self, record: &Record) -> bool {
        record.keys.is_empty()
            && self.settings.allow_unsigned.contains(&record.endpoint.pipeline_key())
    }

    /// Whether a request that is not authentic may be told so for good. Flux never repeats a 401,
    /// so an endpoint that is only missing for a moment must not give one.
    pub(crate) fn is_certain_of(&self, endpoint: &Endpoint, now: u64) -> bool {
        let just_gone =
            self.gone.get(endpoint).is_some_and(|at| now.saturating_sub(*at) < FAREWELL);
        let unreadable = &self.certainty.unreadable;
        self.certainty.complete
            && !just_gone
            && (unreadable.is_empty() || !unreadable.contains(&endpoint.pipeline_key()))
    }

    /// Forgets what went long ago. If the clock stepped back, the time begins anew.
    pub(crate) fn forget_gone(&mut self, now: u64) {
        self.gone.retain(|_, at| {
            *at = (*at).min(now);
            now - *at < FAREWELL
        });
    }
}

/// How sure it is which endpoints exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certainty {
    /// False while there may be endpoints that the table does not have.
    pub complete: bool,
    /// Pipelines whose document cannot be read: they may have other endpoints than the table says.
    /// A hundred at most.
    pub unreadable: Vec<PipelineKey>,
}

impl Default for Certainty {
    /// There are no other endpoints.
    fn default() -> Self {
        Self { complete: true, unreadable: Vec::new() }
    }
}

/// What holds for every endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeSettings {
    /// What precedes the endpoint in the path.
    pub path_prefix: PathPrefix,
    /// Bytes; a body of exactly this length passes.
    pub body_limit: u64,
    /// Per endpoint, after the HMAC; a pipeline may have its own.
    pub rate_limit: RateLimit,
    /// Per source address, for what is not authentic, and for what is no fresh event.
    pub pre_auth: RateLimit,
    /// The algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// Pipelines whose endpoints without a key accept unsigned events.
    pub allow_unsigned: Vec<PipelineKey>,
    /// How long the sidecar may hold a delivery before it answers.
    pub wait: Duration,
    /// How far an event's time may be from now. At the edge it decides who pays, nothing else.
    pub freshness: Freshness,
}

impl Default for EdgeSettings {
    fn default() -> Self {
        Self {
            path_prefix: PathPrefix::default(),
            body_limit: DEFAULT_BODY_LIMIT,
            rate_limit: RateLimit::endpoint_default(),
            pre_auth: RateLimit::pre_auth_default(),
            algorithms: Algorithm::ALL.to_vec(),
            allow_unsigned: Vec::new(),
            wait: DEFAULT_WAIT,
            freshness: Freshness::default(),
        }
    }
}

/// How far an event's time may be from ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// How old it may be.
    pub past: Duration,
    /// How far ahead the sender's clock may be.
    pub future: Duration,
}

impl Default for Freshness {
    /// 10 minutes, of which Flux's own retries take one; 2 minutes, more than clocks under NTP
    /// differ.
    fn default() -> Self {
        Self { past: Duration::from_secs(10 * 60), future: Duration::from_secs(2 * 60) }
    }
}

/// Promotable events have 0.6 to 1 KiB; a body this large is a giant error event or an attack.
pub const DEFAULT_BODY_LIMIT: u64 = 64 * 1024;
/// Leaves room for Flux's retries within its 15 s.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(5);
/// Nanoseconds for which an endpoint that went answers 503 to everything: a Secret that is replaced
/// by deleting and creating it, or a file that is moved, is back by then.
const FAREWELL: u64 = 5_000_000_000;
