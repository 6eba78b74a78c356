//! Wire ↔ edge.

mod deliver;
mod sync;

use lockgate_edge::endpoint::{Endpoint, EndpointError, PrefixError};
use lockgate_edge::key::KeyError;
use lockgate_edge::limit::RateLimitError;
use lockgate_edge::signature::SignatureError;
use lockgate_edge::units::UnitError;
use thiserror::Error;

/// Why a message is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WireError {
    /// A field that must be set is not, or holds the reserved empty value.
    #[error("{field} is missing")]
    Missing {
        /// The field's name.
        field: &'static str,
    },
    /// A number outside of its range.
    #[error("{field} is {got}, expected {expected}")]
    Range {
        /// The field's name.
        field: &'static str,
        /// What was given.
        got: u64,
        /// What is allowed.
        expected: &'static str,
    },
    /// Two fields that contradict each other.
    #[error("{field} and {other} contradict each other")]
    Contradiction {
        /// One field.
        field: &'static str,
        /// The other one.
        other: &'static str,
    },
    /// Text that has no place in a header.
    #[error("{field} is not visible ASCII text")]
    Header {
        /// The field's name.
        field: &'static str,
    },
    /// A name of an endpoint or a pipeline.
    #[error("{field}: {source}")]
    Name {
        /// The field's name.
        field: &'static str,
        /// What is wrong.
        source: EndpointError,
    },
    /// The path prefix.
    #[error("path_prefix: {0}")]
    Prefix(PrefixError),
    /// A key that is refused, or one too many; its bytes are not told.
    #[error("{endpoint}: {source}")]
    Key {
        /// Whose key.
        endpoint: Endpoint,
        /// What is wrong.
        source: KeyError,
    },
    /// A duration.
    #[error("{field}: {source}")]
    Duration {
        /// The field's name.
        field: &'static str,
        /// What is wrong.
        source: UnitError,
    },
    /// A rate limit.
    #[error("{field}: {source}")]
    RateLimit {
        /// The field's name.
        field: &'static str,
        /// What is wrong.
        source: RateLimitError,
    },
    /// A signature or an algorithm.
    #[error("{field}: {source}")]
    Signature {
        /// The field's name.
        field: &'static str,
        /// What is wrong.
        source: SignatureError,
    },
}

impl WireError {
    /// The reason in CamelCase.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "FieldMissing",
            Self::Range { .. } => "FieldOutOfRange",
            Self::Contradiction { .. } => "FieldsContradict",
            Self::Header { .. } => "FieldNotText",
            Self::Name { .. } | Self::Prefix(_) => "InvalidName",
            Self::Key { source, .. } => source.reason(),
            Self::Duration { .. } => "InvalidDuration",
            Self::RateLimit { .. } => "InvalidRateLimit",
            Self::Signature { .. } => "InvalidSignature",
        }
    }
}

fn endpoint(field: &'static str, name: &str) -> Result<Endpoint, WireError> {
    name.parse().map_err(|source| WireError::Name { field, source })
}
