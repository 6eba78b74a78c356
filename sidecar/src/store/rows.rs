//! What the store keeps beside promotions: deliveries with their first answers, and the event
//! stream.

use std::time::Duration;

use jiff::Timestamp;
use lockgate_core::promotion::{Promotion, PromotionId};
use lockgate_core::revision::Revision;
use lockgate_edge::endpoint::Endpoint;
use serde::{Deserialize, Serialize};

use super::view::Status;

/// SHA-256 of a body.
pub type Digest = [u8; 32];

/// Which key verified a delivery: a fingerprint, never the key.
pub type KeyId = [u8; 16];

/// A delivery that is recorded for the first time.
#[derive(Clone, Debug)]
pub struct NewDelivery {
    /// Where it was posted.
    pub endpoint: Endpoint,
    /// What was posted.
    pub digest: Digest,
    /// Which key verified it.
    pub key: KeyId,
    /// When it came.
    pub received_at: Timestamp,
    /// Until when its answer is kept.
    pub expires_at: Timestamp,
}

/// The first answer to a delivery, as it is repeated. 429 and 503 are never recorded, so it needs
/// no more headers than these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// HTTP status.
    pub status: u16,
    /// Of the body.
    pub content_type: String,
    /// `Location`.
    pub location: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

/// A delivery that was recorded before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FinishedDelivery {
    /// Its first answer stands.
    Answered(Answered),
    /// Its answer is still being worked out; it depends on these promotions.
    Running(Vec<PromotionId>),
}

/// When an open pull request is looked at next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Not before this time.
    pub at: Timestamp,
    /// The pause that leads to it; the next one depends on it.
    pub pause: Duration,
    /// What the forge calls the state that was seen last, where it has a name for it.
    pub tag: Option<String>,
}

/// One entry of the event stream: something happened to a promotion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// When.
    pub time: Timestamp,
    /// The state that it entered, or `Promote` for a notification.
    #[serde(rename = "type")]
    pub kind: String,
    /// Which promotion.
    pub promotion: PromotionId,
    /// Its pipeline's namespace.
    pub namespace: String,
    /// Its pipeline's name.
    pub pipeline: String,
    /// The environment it promotes to.
    pub environment: String,
    /// The target, where it is for one alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What is promoted.
    pub revision: Revision,
    /// What is written.
    pub version: String,
    /// Why, CamelCase; empty where there is nothing to say.
    pub reason: String,
    /// For people.
    pub message: String,
}

impl Entry {
    /// An entry about a promotion as it is now.
    #[must_use]
    pub fn of(promotion: &Promotion, time: Timestamp, kind: &str, message: &str) -> Self {
        let view = Status::of(&promotion.state);
        Self {
            time,
            kind: kind.to_owned(),
            promotion: promotion.id,
            namespace: promotion.pipeline.namespace().to_owned(),
            pipeline: promotion.pipeline.name().to_owned(),
            environment: promotion.to.clone(),
            target: promotion.target.as_ref().map(ToString::to_string),
            revision: promotion.revision.clone(),
            version: promotion.version.to_string(),
            reason: view.reason.to_owned(),
            message: if message.is_empty() { view.message } else { message.to_owned() },
        }
    }
}
