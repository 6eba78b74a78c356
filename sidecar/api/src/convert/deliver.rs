//! Deliver: one delivery and its answer.

use core::fmt;
use std::borrow::Cow;

use lockgate_edge::key::Fingerprint;
use lockgate_edge::reply::{JSON, PROBLEM, Reply};
use lockgate_edge::signature::Signature;
use lockgate_edge::{Answer, Charge, Forward};

use super::{WireError, endpoint};
use crate::v1;

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
impl From<Answer> for v1::DeliverResponse {
    fn from(answer: Answer) -> Self {
        let Answer { reply, charge } = answer;
        let charge = match charge {
            Charge::Endpoint => v1::Charge::Endpoint,
            Charge::Source => v1::Charge::Source,
        };
        Self {
            charge: charge.into(),
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
impl TryFrom<v1::DeliverResponse> for Answer {
    type Error = WireError;

    fn try_from(response: v1::DeliverResponse) -> Result<Self, WireError> {
        let charge = match response.charge() {
            v1::Charge::Endpoint => Charge::Endpoint,
            v1::Charge::Source => Charge::Source,
            v1::Charge::Unspecified => return Err(WireError::Missing { field: "charge" }),
        };
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
        let reply = Reply {
            status,
            content_type,
            location: Some(response.location).filter(|location| !location.is_empty()),
            retry_after: Some(response.retry_after_seconds).filter(|seconds| *seconds > 0),
            allow: None,
            body: response.body,
        };
        Ok(Self { reply, charge })
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
