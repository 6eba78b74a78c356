//! What the edge sends to the sidecar.

use crate::endpoint::Endpoint;
use crate::key::Fingerprint;
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
