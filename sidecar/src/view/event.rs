//! The event stream: what happened to promotions.

use jiff::Timestamp;
use lockgate_core::promotion::Promotion;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::promotion::Status;

/// One entry of the event stream: something happened to a promotion. The ledger keeps it as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    pub time: Timestamp,
    /// The state that the promotion entered, or `Promote` for a notification.
    #[serde(rename = "type")]
    pub kind: String,
    /// The promotion's id.
    pub promotion: String,
    pub namespace: String,
    pub pipeline: String,
    /// The environment that is promoted to.
    pub environment: String,
    /// Absent where the promotion is for the whole environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    pub revision: String,
    /// What is written.
    pub version: String,
    /// CamelCase; empty where nothing went wrong.
    pub reason: String,
    /// For people: what happened, and what to do next.
    pub message: String,
}

impl Entry {
    /// An entry about a promotion as it is now. `message` says what happened; where it is empty,
    /// the promotion's own message does.
    #[must_use]
    pub fn of(promotion: &Promotion, time: Timestamp, kind: &str, message: &str) -> Self {
        let status = Status::of(promotion);
        Self {
            time,
            kind: kind.to_owned(),
            promotion: promotion.id.to_string(),
            namespace: promotion.pipeline.namespace().to_owned(),
            pipeline: promotion.pipeline.name().to_owned(),
            environment: promotion.to.clone(),
            target: promotion.target.as_ref().map(ToString::to_string),
            revision: promotion.revision.to_string(),
            version: promotion.version.to_string(),
            reason: status.reason.to_owned(),
            message: if message.is_empty() { status.message } else { message.to_owned() },
        }
    }
}

/// An entry with its number in the stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NumberedEntry {
    /// Grows with each entry; the `after` of the next question.
    pub seq: u64,
    #[serde(flatten)]
    pub entry: Entry,
}
