//! What the store keeps beside promotions: deliveries with their first answers.

use std::time::Duration;

use jiff::Timestamp;
use lockgate_core::promotion::PromotionId;
use lockgate_edge::endpoint::Endpoint;

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
