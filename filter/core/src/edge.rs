//! The judgement of one request at the edge, without a proxy: headers and lengths come in, [`Step`]s go out.
//!
//! ```text
//!  headers ─ method, path ─ signature ─ type, encoding ─ declared length ─ pre-auth limit
//!     │                         (a refusal of a small declared body waits for its end)
//!  body ──── counted, hashed once ────────────────┐
//!  end of headers, of body, or trailers ──────────┴─ finish: HMAC ─ endpoint's limit ─ forward
//! ```
//!
//! What may answer and what may be learnt: an endpoint that does not exist takes the path of one that does, with a
//! dummy key, to the same 401. The pre-authentication limit is read at the headers and charged only for what turns out
//! not to be authentic, and a small request with one well-formed signature is verified whatever it says: nobody can
//! shut signed events out, not even from the same address.
//!
//! Without a table ([`Edge`]) everything is answered 503: deny until told otherwise.

mod config;
mod exchange;
mod head;
mod sync;
mod table;

use core::time::Duration;

pub use config::{ConfigError, PluginConfig};
pub use exchange::{Admission, Body, Exchange, Refusal, Step, Surroundings};
pub use head::Head;
pub use sync::{Change, SYNC_DEADLINE, SyncAnswer, SyncQuestion, Syncer};
pub use table::{EndpointTable, Record};

use crate::endpoint::{Endpoint, PathPrefix, PipelineKey};
use crate::key::Fingerprint;
use crate::limit::RateLimit;
use crate::signature::{Algorithm, Signature};

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

/// How a request ended at the edge: the closed list of its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// Sent to the sidecar, which answered.
    Forwarded,
    /// 405.
    Method,
    /// 404.
    Path,
    /// 413.
    Length,
    /// 415.
    Type,
    /// 401: no, several, malformed or wrong signatures.
    Signature,
    /// 401: no such endpoint.
    Unknown,
    /// 429 before authentication.
    PreauthLimited,
    /// 429 after it.
    Limited,
    /// 503.
    Unavailable,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 10] = [
        Self::Forwarded,
        Self::Method,
        Self::Path,
        Self::Length,
        Self::Type,
        Self::Signature,
        Self::Unknown,
        Self::PreauthLimited,
        Self::Limited,
        Self::Unavailable,
    ];

    /// The name of its counter.
    pub fn metric(self) -> &'static str {
        match self {
            Self::Forwarded => "lockgate_edge_forwarded_total",
            Self::Method => "lockgate_edge_method_total",
            Self::Path => "lockgate_edge_path_total",
            Self::Length => "lockgate_edge_length_total",
            Self::Type => "lockgate_edge_type_total",
            Self::Signature => "lockgate_edge_signature_total",
            Self::Unknown => "lockgate_edge_unknown_total",
            Self::PreauthLimited => "lockgate_edge_preauth_limited_total",
            Self::Limited => "lockgate_edge_limited_total",
            Self::Unavailable => "lockgate_edge_unavailable_total",
        }
    }
}

/// An authenticated delivery on its way to the sidecar, which verifies it again and trusts neither `fingerprint` nor
/// `source`.
#[derive(Clone, PartialEq, Eq)]
pub struct Forward {
    /// Where it was posted.
    pub endpoint: Endpoint,
    /// The signature; none where the pipeline allows unsigned events.
    pub signature: Option<Signature>,
    /// The key that made the signature, as the edge found it.
    pub fingerprint: Option<Fingerprint>,
    /// The source address with its port, as the proxy decided; may be empty.
    pub source: String,
    /// `X-Request-Id`; may be empty.
    pub request_id: String,
    /// W3C trace context; may be empty.
    pub traceparent: String,
    /// The body, byte for byte.
    pub body: Vec<u8>,
}

impl core::fmt::Debug for Forward {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Forward")
            .field("endpoint", &self.endpoint)
            .field("signature", &self.signature)
            .field("request_id", &self.request_id)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// The gauge of known endpoints.
pub const ENDPOINTS_METRIC: &str = "lockgate_edge_endpoints";
/// The gauge of the sidecar's version that a worker judges by.
pub const VERSION_METRIC: &str = "lockgate_edge_sync_version";
/// The gauge of seconds since the sidecar last answered.
pub const AGE_METRIC: &str = "lockgate_edge_sync_age_seconds";

/// Promotable events have 0.6 to 1 KiB; a body this large is a giant error event or an attack.
pub const DEFAULT_BODY_LIMIT: u64 = 64 * 1024;
/// Leaves room for Flux's retries within its 15 s.
pub const DEFAULT_WAIT: Duration = Duration::from_secs(5);
