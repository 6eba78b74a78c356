//! What the edge sends to the sidecar, and what it gets back.

use crate::endpoint::Endpoint;
use crate::key::Fingerprint;
use crate::reply::Reply;
use crate::signature::Signature;

/// An authenticated delivery on its way to the sidecar, which verifies it again and trusts neither
/// `fingerprint` nor `source`.
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

/// What the sidecar says of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What the sender gets.
    pub reply: Reply,
    /// Whose limit the delivery counts against.
    pub charge: Charge,
}

/// Whose limit a delivery counts against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charge {
    /// The endpoint's: a fresh event from somebody who has the key.
    Endpoint,
    /// Its source's: whatever a copy of an old message can cause as well, such as an event that is
    /// too old, repeated or replayed elsewhere, no event at all, or one that could not be taken. It
    /// must not use up what genuine events need.
    Source,
}
