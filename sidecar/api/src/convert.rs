//! Wire ↔ core.

use core::fmt;
use std::borrow::Cow;

use lockgate_edge::endpoint::{Endpoint, EndpointError, PathPrefix, PipelineKey, PrefixError};
use lockgate_edge::key::{Fingerprint, Key};
use lockgate_edge::limit::{RateLimit, RateLimitError};
use lockgate_edge::reply::{JSON, PROBLEM, Reply};
use lockgate_edge::signature::{Algorithm, Signature, SignatureError};
use lockgate_edge::units::{UnitError, format_duration, parse_duration};
use lockgate_edge::{Change, EdgeSettings, Forward, Record, SyncAnswer, SyncQuestion};
use thiserror::Error;

use crate::v1;

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
    /// A key that core refuses; its bytes are not told.
    #[error("a key of {endpoint} is too short")]
    Key {
        /// Whose key.
        endpoint: Endpoint,
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
            Self::Key { .. } => "KeyTooShort",
            Self::Duration { .. } => "InvalidDuration",
            Self::RateLimit { .. } => "InvalidRateLimit",
            Self::Signature { .. } => "InvalidSignature",
        }
    }
}

impl From<SyncQuestion> for v1::SyncRequest {
    fn from(question: SyncQuestion) -> Self {
        Self { version: question.version, instance: question.instance, cursor: question.cursor }
    }
}

impl From<v1::SyncRequest> for SyncQuestion {
    fn from(request: v1::SyncRequest) -> Self {
        Self { version: request.version, instance: request.instance, cursor: request.cursor }
    }
}

impl From<SyncAnswer> for v1::SyncResponse {
    fn from(answer: SyncAnswer) -> Self {
        let change = match answer.change {
            Change::Full(records) => v1::sync_response::Change::Full(v1::Table {
                endpoints: records.into_iter().map(Into::into).collect(),
            }),
            Change::Delta { base, upserts, removals } => {
                v1::sync_response::Change::Delta(v1::Delta {
                    base,
                    upserts: upserts.into_iter().map(Into::into).collect(),
                    removals: removals.into_iter().map(Into::into).collect(),
                })
            }
        };
        Self {
            version: answer.version,
            instance: answer.instance,
            change: Some(change),
            more: answer.next.is_some(),
            cursor: answer.next.unwrap_or_default(),
            settings: Some(answer.settings.into()),
        }
    }
}

impl TryFrom<v1::SyncResponse> for SyncAnswer {
    type Error = WireError;

    fn try_from(response: v1::SyncResponse) -> Result<Self, WireError> {
        if response.version == 0 {
            return Err(WireError::Missing { field: "version" });
        }
        if response.more == response.cursor.is_empty() {
            return Err(WireError::Contradiction { field: "more", other: "cursor" });
        }
        let change = match response.change.ok_or(WireError::Missing { field: "change" })? {
            v1::sync_response::Change::Full(table) => Change::Full(
                table.endpoints.into_iter().map(Record::try_from).collect::<Result<_, _>>()?,
            ),
            v1::sync_response::Change::Delta(_) if response.more => {
                return Err(WireError::Contradiction { field: "more", other: "delta" });
            }
            v1::sync_response::Change::Delta(delta) => Change::Delta {
                base: delta.base,
                upserts: delta
                    .upserts
                    .into_iter()
                    .map(Record::try_from)
                    .collect::<Result<_, _>>()?,
                removals: delta
                    .removals
                    .iter()
                    .map(|name| endpoint("removals", name))
                    .collect::<Result<_, _>>()?,
            },
        };
        Ok(Self {
            version: response.version,
            instance: response.instance,
            change,
            next: response.more.then_some(response.cursor),
            settings: response
                .settings
                .ok_or(WireError::Missing { field: "settings" })?
                .try_into()?,
        })
    }
}

impl From<Record> for v1::Endpoint {
    fn from(record: Record) -> Self {
        Self {
            keys: record.keys.iter().map(|key| key.bytes().to_vec()).collect(),
            rate_limit: record.rate_limit.map(Into::into),
            name: record.endpoint.into(),
        }
    }
}

impl TryFrom<v1::Endpoint> for Record {
    type Error = WireError;

    fn try_from(message: v1::Endpoint) -> Result<Self, WireError> {
        let endpoint = endpoint("name", &message.name)?;
        let keys = message
            .keys
            .iter()
            .map(|bytes| {
                Key::new("", bytes).map_err(|_| WireError::Key { endpoint: endpoint.clone() })
            })
            .collect::<Result<_, _>>()?;
        let rate_limit =
            message.rate_limit.map(|limit| rate_limit("rate_limit", Some(limit))).transpose()?;
        Ok(Self { endpoint, keys, rate_limit })
    }
}

impl From<RateLimit> for v1::RateLimit {
    fn from(limit: RateLimit) -> Self {
        Self { requests: limit.requests.get(), interval: format_duration(limit.interval) }
    }
}

impl From<EdgeSettings> for v1::EdgeSettings {
    fn from(settings: EdgeSettings) -> Self {
        Self {
            path_prefix: settings.path_prefix.into(),
            body_limit: settings.body_limit,
            rate_limit: Some(settings.rate_limit.into()),
            pre_auth: Some(settings.pre_auth.into()),
            algorithms: settings
                .algorithms
                .iter()
                .map(|algorithm| algorithm.name().to_string())
                .collect(),
            allow_unsigned: settings.allow_unsigned.into_iter().map(Into::into).collect(),
            wait: format_duration(settings.wait),
        }
    }
}

impl TryFrom<v1::EdgeSettings> for EdgeSettings {
    type Error = WireError;

    fn try_from(message: v1::EdgeSettings) -> Result<Self, WireError> {
        if message.algorithms.is_empty() {
            return Err(WireError::Missing { field: "algorithms" });
        }
        let algorithms = message.algorithms.iter().map(|name| {
            name.parse::<Algorithm>()
                .map_err(|source| WireError::Signature { field: "algorithms", source })
        });
        let allow_unsigned = message.allow_unsigned.iter().map(|name| {
            name.parse::<PipelineKey>()
                .map_err(|source| WireError::Name { field: "allow_unsigned", source })
        });
        Ok(Self {
            path_prefix: PathPrefix::new(&message.path_prefix).map_err(WireError::Prefix)?,
            body_limit: message.body_limit,
            rate_limit: rate_limit("rate_limit", message.rate_limit)?,
            pre_auth: rate_limit("pre_auth", message.pre_auth)?,
            algorithms: algorithms.collect::<Result<_, _>>()?,
            allow_unsigned: allow_unsigned.collect::<Result<_, _>>()?,
            wait: parse_duration(&message.wait)
                .map_err(|source| WireError::Duration { field: "wait", source })?,
        })
    }
}

impl From<Forward> for v1::DeliverRequest {
    fn from(forward: Forward) -> Self {
        Self {
            endpoint: forward.endpoint.into(),
            body: forward.body,
            signature: forward.signature.map(|signature| signature.to_string()).unwrap_or_default(),
            key_fingerprint: forward
                .fingerprint
                .map(|fingerprint| fingerprint.0.to_vec())
                .unwrap_or_default(),
            source_address: forward.source,
            request_id: forward.request_id,
            traceparent: forward.traceparent,
        }
    }
}

impl TryFrom<v1::DeliverRequest> for Forward {
    type Error = WireError;

    fn try_from(request: v1::DeliverRequest) -> Result<Self, WireError> {
        let signature = match request.signature.as_str() {
            "" => None,
            value => Some(
                Signature::parse(value.as_bytes())
                    .map_err(|source| WireError::Signature { field: "signature", source })?,
            ),
        };
        let length = u64::try_from(request.key_fingerprint.len()).unwrap_or(u64::MAX);
        let fingerprint = match request.key_fingerprint.as_slice() {
            [] => None,
            bytes => Some(Fingerprint(bytes.try_into().map_err(|_| WireError::Range {
                field: "key_fingerprint",
                got: length,
                expected: "0 or 16 bytes",
            })?)),
        };
        Ok(Self {
            endpoint: endpoint("endpoint", &request.endpoint)?,
            signature,
            fingerprint,
            source: request.source_address,
            request_id: request.request_id,
            traceparent: request.traceparent,
            body: request.body,
        })
    }
}

/// `Allow` is not on the wire: the sidecar never answers 405.
impl From<Reply> for v1::DeliverResponse {
    fn from(reply: Reply) -> Self {
        Self {
            status: reply.status.into(),
            content_type: reply.content_type.into_owned(),
            location: reply.location.unwrap_or_default(),
            retry_after_seconds: reply.retry_after.unwrap_or_default(),
            body: reply.body,
        }
    }
}

/// Only what is safe in a response head passes: a status of 200 to 599, header values of visible
/// ASCII.
impl TryFrom<v1::DeliverResponse> for Reply {
    type Error = WireError;

    fn try_from(response: v1::DeliverResponse) -> Result<Self, WireError> {
        let status = u16::try_from(response.status)
            .ok()
            .filter(|status| (200..=599).contains(status))
            .ok_or(WireError::Range {
                field: "status",
                got: response.status.into(),
                expected: "200 to 599",
            })?;
        let text = |field, value: &str| {
            let visible = value.bytes().all(|b| b.is_ascii_graphic() || b == b' ');
            if visible { Ok(()) } else { Err(WireError::Header { field }) }
        };
        text("content_type", &response.content_type)?;
        text("location", &response.location)?;
        let content_type = match response.content_type.as_str() {
            JSON => Cow::Borrowed(JSON),
            PROBLEM => Cow::Borrowed(PROBLEM),
            _ => Cow::Owned(response.content_type),
        };
        Ok(Self {
            status,
            content_type,
            location: Some(response.location).filter(|location| !location.is_empty()),
            retry_after: Some(response.retry_after_seconds).filter(|seconds| *seconds > 0),
            allow: None,
            body: response.body,
        })
    }
}

impl fmt::Debug for v1::Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("name", &self.name)
            .field("keys", &self.keys.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::DeliverRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliverRequest")
            .field("endpoint", &self.endpoint)
            .field("request_id", &self.request_id)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for v1::DeliverResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeliverResponse")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

fn endpoint(field: &'static str, name: &str) -> Result<Endpoint, WireError> {
    name.parse().map_err(|source| WireError::Name { field, source })
}

fn rate_limit(field: &'static str, message: Option<v1::RateLimit>) -> Result<RateLimit, WireError> {
    let message = message.ok_or(WireError::Missing { field })?;
    let interval = parse_duration(&message.interval)
        .map_err(|source| WireError::Duration { field, source })?;
    RateLimit::new(message.requests, interval)
        .map_err(|source| WireError::RateLimit { field, source })
}
