//! What the edge judges by: the settings that hold everywhere, and the endpoints.

use core::time::Duration;

use crate::endpoint::{PathPrefix, PipelineKey};
use crate::limit::RateLimit;
use crate::signature::Algorithm;
use crate::table::EndpointTable;

/// Everything the edge judges by. All of it comes from the sidecar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// What holds for every endpoint.
    pub settings: EdgeSettings,
    /// The endpoints.
    pub table: EndpointTable,
    /// The sidecar's version of both.
    pub version: u64,
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
    /// Per source address, for what is not authentic.
    pub pre_auth: RateLimit,
    /// The algorithms that are accepted.
    pub algorithms: Vec<Algorithm>,
    /// Pipelines whose endpoints without a key accept unsigned events.
    pub allow_unsigned: Vec<PipelineKey>,
    /// How long the sidecar may hold a delivery before it answers.
    pub wait: Duration,
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
        }
    }
}

/// Promotable events have 0.6 to 1 KiB; a body this large is a giant error event or an attack.
pub const DEFAULT_BODY_LIMIT: u64 = 64 * 1024;
/// Leaves room for Flux's retries within its 15 s.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(5);
