//! Sync: what the edge judges by.

use core::fmt;
use core::time::Duration;

use lockgate_edge::endpoint::{PathPrefix, PipelineKey};
use lockgate_edge::key::{Key, Keys};
use lockgate_edge::limit::RateLimit;
use lockgate_edge::signature::Algorithm;
use lockgate_edge::units::{format_duration, parse_duration};
use lockgate_edge::{Certainty, Change, EdgeSettings, Freshness, Record, SyncAnswer, SyncQuestion};

use super::{WireError, endpoint};
use crate::v1;

impl From<SyncQuestion> for v1::SyncRequest {
    fn from(question: SyncQuestion) -> Self {
        let refused = question.refused.into_iter();
        Self {
            version: question.version,
            cursor: question.cursor,
            refused: refused
                .map(|(endpoint, count)| v1::Refused { endpoint: endpoint.into(), count })
                .collect(),
        }
    }
}

/// What is refused beyond the first hundred endpoints is dropped.
impl TryFrom<v1::SyncRequest> for SyncQuestion {
    type Error = WireError;

    fn try_from(request: v1::SyncRequest) -> Result<Self, WireError> {
        let refused = request.refused.iter().take(MAX_REFUSED);
        Ok(Self {
            version: request.version,
            cursor: request.cursor,
            refused: refused
                .map(|refused| Ok((endpoint("refused", &refused.endpoint)?, refused.count)))
                .collect::<Result<_, WireError>>()?,
        })
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
            complete: answer.certainty.complete,
            unreadable: answer.certainty.unreadable.into_iter().map(Into::into).collect(),
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
        let unreadable = pipelines("unreadable", &response.unreadable)?;
        Ok(Self {
            version: response.version,
            certainty: Certainty { complete: response.complete, unreadable },
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
            .map(|bytes| Key::new("", bytes))
            .collect::<Result<_, _>>()
            .and_then(Keys::new)
            .map_err(|source| WireError::Key { endpoint: endpoint.clone(), source })?;
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
            freshness_past: format_duration(settings.freshness.past),
            freshness_future: format_duration(settings.freshness.future),
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
        Ok(Self {
            path_prefix: PathPrefix::new(&message.path_prefix).map_err(WireError::Prefix)?,
            body_limit: message.body_limit,
            rate_limit: rate_limit("rate_limit", message.rate_limit)?,
            pre_auth: rate_limit("pre_auth", message.pre_auth)?,
            algorithms: algorithms.collect::<Result<_, _>>()?,
            allow_unsigned: pipelines("allow_unsigned", &message.allow_unsigned)?,
            wait: duration("wait", &message.wait)?,
            freshness: Freshness {
                past: duration("freshness_past", &message.freshness_past)?,
                future: duration("freshness_future", &message.freshness_future)?,
            },
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

fn pipelines(field: &'static str, names: &[String]) -> Result<Vec<PipelineKey>, WireError> {
    let parse = |name: &String| name.parse().map_err(|source| WireError::Name { field, source });
    names.iter().map(parse).collect()
}

fn duration(field: &'static str, text: &str) -> Result<Duration, WireError> {
    parse_duration(text).map_err(|source| WireError::Duration { field, source })
}

fn rate_limit(field: &'static str, message: Option<v1::RateLimit>) -> Result<RateLimit, WireError> {
    let message = message.ok_or(WireError::Missing { field })?;
    let interval = duration(field, &message.interval)?;
    RateLimit::new(message.requests, interval)
        .map_err(|source| WireError::RateLimit { field, source })
}

/// Endpoints of one question.
const MAX_REFUSED: usize = 100;
