//! How requests end at the edge, and the names under which that is counted.

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

/// The gauge of known endpoints.
pub const ENDPOINTS_METRIC: &str = "lockgate_edge_endpoints";
/// The gauge of the version that a worker judges by: its last 16 bits. They show whether all
/// workers and gateways agree, and are too few to guess a weak key by.
pub const VERSION_METRIC: &str = "lockgate_edge_sync_version";
/// The gauge of seconds since the sidecar last answered the worker that waits longest; since that
/// worker's start if it never has.
pub const AGE_METRIC: &str = "lockgate_edge_sync_age_seconds";
/// The counter of questions to the sidecar that got no answer, or none that makes sense.
pub const SYNC_FAILED_METRIC: &str = "lockgate_edge_sync_failed_total";
