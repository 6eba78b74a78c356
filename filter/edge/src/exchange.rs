//! One request from its headers to its judgement.

use core::ops::Range;
use std::sync::Arc;

use crate::endpoint::{Endpoint, parse_path};
use crate::head::{Declared, Field};
use crate::key::Fingerprint;
use crate::limit::{PreAuth, RateLimit, SharedCells, Source, Verdict, charge_endpoint};
use crate::reply::Reply;
use crate::signature::{Signature, Verifier};
use crate::{Edge, EdgeSettings, Head, Outcome, Record};

/// What a judgement may ask of the proxy. Asked only where the answer matters: each is a call out
/// of the sandbox.
pub trait Surroundings: SharedCells {
    /// Nanoseconds since the Unix epoch. May step back.
    fn now(&self) -> u64;

    /// The request's source, from the connection and never from a header.
    fn source(&self) -> Source;
}

/// What the proxy does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Hold the request and read on.
    Wait,
    /// Answer now.
    Refuse(Refusal),
    /// Authentic: send it to the sidecar with the whole body.
    Forward(Admission),
}

/// What to do with the body that has come so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Body {
    /// Nothing.
    Skip,
    /// Pass these bytes to [`Exchange::feed`].
    Read(Range<usize>),
    /// Answer now.
    Refuse(Refusal),
}

/// A refusal: what is counted and what is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is counted.
    pub outcome: Outcome,
    /// What is answered.
    pub reply: Reply,
}

/// An authentic request within its limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    /// Where it was posted.
    pub endpoint: Endpoint,
    /// The signature; none where the pipeline allows unsigned events.
    pub signature: Option<Signature>,
    /// The key that made it.
    pub fingerprint: Option<Fingerprint>,
    /// `X-Request-Id`, if it is short text.
    pub request_id: String,
    /// W3C trace context, if it is short text.
    pub traceparent: String,
}

/// The state of one request.
#[derive(Debug)]
pub struct Exchange(Phase);

#[derive(Debug)]
enum Phase {
    Reading(Box<Reading>),
    /// Refused, but the body is small: read to its end first, so that the connection lives on.
    Draining(Box<Refusal>),
    Judged,
}

#[derive(Debug)]
struct Reading {
    endpoint: Endpoint,
    /// The endpoint's record as it was at the headers; none if there is no such endpoint.
    record: Option<Arc<Record>>,
    claim: Claim,
    seen: usize,
    body_limit: u64,
    rate_limit: RateLimit,
    pre_auth: PreAuth,
    request_id: String,
    traceparent: String,
}

#[derive(Debug)]
enum Claim {
    Signed(Verifier),
    /// The pipeline allows it, by name, in the sidecar's configuration.
    Unsigned,
}

impl Exchange {
    /// Judges the headers. `ended` means that no body follows; the judgement is then complete.
    pub fn begin(
        edge: Option<&Edge>,
        head: &Head<'_>,
        ended: bool,
        around: &impl Surroundings,
    ) -> (Self, Step) {
        match judge_head(edge, head, ended, around) {
            Ok(reading) => {
                let mut exchange = Self(Phase::Reading(Box::new(reading)));
                let step = if ended { exchange.finish(around) } else { Step::Wait };
                (exchange, step)
            }
            Err(refusal) => {
                let small =
                    matches!(head.declared(), Declared::Bytes(bytes) if bytes <= SMALL_BODY);
                if small && !ended {
                    (Self(Phase::Draining(Box::new(refusal))), Step::Wait)
                } else {
                    (Self(Phase::Judged), Step::Refuse(refusal))
                }
            }
        }
    }

    /// `total` bytes of the body have come so far.
    pub fn body(&mut self, total: usize, around: &impl Surroundings) -> Body {
        match &mut self.0 {
            Phase::Reading(reading) => {
                if u64::try_from(total).is_ok_and(|total| total <= reading.body_limit) {
                    return if total > reading.seen {
                        Body::Read(reading.seen..total)
                    } else {
                        Body::Skip
                    };
                }
                // It was read for nothing, and nobody has signed it.
                reading.pre_auth.charge(around, around.source(), around.now());
                let refusal = Refusal::too_large(reading.body_limit);
                self.0 = Phase::Judged;
                Body::Refuse(refusal)
            }
            Phase::Draining(refusal) => {
                if u64::try_from(total).is_ok_and(|total| total <= SMALL_BODY) {
                    return Body::Skip;
                }
                let refusal = (**refusal).clone();
                self.0 = Phase::Judged;
                Body::Refuse(refusal)
            }
            Phase::Judged => Body::Skip,
        }
    }

    /// Hashes the bytes that [`body`](Self::body) asked for.
    pub fn feed(&mut self, bytes: &[u8]) {
        if let Phase::Reading(reading) = &mut self.0 {
            reading.seen = reading.seen.saturating_add(bytes.len());
            if let Claim::Signed(verifier) = &mut reading.claim {
                verifier.update(bytes);
            }
        }
    }

    /// The request is complete: at the headers, at the end of the body, or at the trailers. Judges
    /// once; asked again, waits.
    pub fn finish(&mut self, around: &impl Surroundings) -> Step {
        match core::mem::replace(&mut self.0, Phase::Judged) {
            Phase::Reading(reading) => reading.finish(around),
            Phase::Draining(refusal) => Step::Refuse(*refusal),
            Phase::Judged => Step::Wait,
        }
    }
}

impl Reading {
    fn finish(self, around: &impl Surroundings) -> Step {
        let now = around.now();
        let (signature, fingerprint) = match self.claim {
            Claim::Unsigned => (None, None),
            Claim::Signed(verifier) => {
                let signature = verifier.signature().clone();
                let key = verifier.finish();
                let Some(record) = &self.record else {
                    self.pre_auth.charge(around, around.source(), now);
                    return Step::Refuse(Refusal::unauthorized(Outcome::Unknown));
                };
                let Some(key) = key.and_then(|index| record.keys.get(index)) else {
                    self.pre_auth.charge(around, around.source(), now);
                    return Step::Refuse(Refusal::unauthorized(Outcome::Signature));
                };
                (Some(signature), Some(key.fingerprint()))
            }
        };
        match charge_endpoint(around, &self.endpoint, self.rate_limit, now) {
            Verdict::Limited { retry_after } => Step::Refuse(Refusal {
                outcome: Outcome::Limited,
                reply: Reply::limited(retry_after),
            }),
            Verdict::Admitted => Step::Forward(Admission {
                endpoint: self.endpoint,
                signature,
                fingerprint,
                request_id: self.request_id,
                traceparent: self.traceparent,
            }),
        }
    }
}

impl Refusal {
    /// 503.
    pub fn unavailable() -> Self {
        Self { outcome: Outcome::Unavailable, reply: Reply::unavailable() }
    }

    fn unauthorized(outcome: Outcome) -> Self {
        Self { outcome, reply: Reply::unauthorized() }
    }

    fn too_large(limit: u64) -> Self {
        Self { outcome: Outcome::Length, reply: Reply::too_large(limit) }
    }

    fn pre_auth_limited(wait: core::time::Duration) -> Self {
        Self { outcome: Outcome::PreauthLimited, reply: Reply::limited(wait) }
    }
}

fn judge_head(
    edge: Option<&Edge>,
    head: &Head<'_>,
    ended: bool,
    around: &impl Surroundings,
) -> Result<Reading, Refusal> {
    let Edge { settings, table, .. } = edge.ok_or_else(Refusal::unavailable)?;
    if head.method != b"POST" {
        return Err(Refusal { outcome: Outcome::Method, reply: Reply::method_not_allowed() });
    }
    let endpoint = parse_path(&settings.path_prefix, head.path)
        .map_err(|_| Refusal { outcome: Outcome::Path, reply: Reply::not_found() })?;
    let open = |record: &Arc<Record>| {
        record.keys.is_empty() && settings.allow_unsigned.contains(&record.endpoint.pipeline_key())
    };
    // A record without keys that is not open does not exist.
    let record =
        table.find(&endpoint).filter(|record| !record.keys.is_empty() || open(record)).cloned();
    let pre_auth = PreAuth { limit: settings.pre_auth };
    let may_be_unsigned = record.as_ref().is_some_and(open);
    let claim = match claimed(head.signature, settings) {
        _ if may_be_unsigned => Claim::Unsigned,
        Some(signature) => {
            let keys = record.as_ref().map(|record| &*record.keys).unwrap_or_default();
            Claim::Signed(Verifier::new(&signature, keys))
        }
        None => {
            let (source, now) = (around.source(), around.now());
            return Err(match pre_auth.charge(around, source, now) {
                Verdict::Limited { retry_after } => Refusal::pre_auth_limited(retry_after),
                Verdict::Admitted => Refusal::unauthorized(Outcome::Signature),
            });
        }
    };
    if !head.is_plain_json() {
        return Err(Refusal { outcome: Outcome::Type, reply: Reply::unsupported_type() });
    }
    let small = match head.declared() {
        Declared::Nonsense => return Err(Refusal::too_large(settings.body_limit)),
        Declared::Bytes(bytes) if bytes > settings.body_limit => {
            return Err(Refusal::too_large(settings.body_limit));
        }
        Declared::Bytes(bytes) => bytes <= SMALL_BODY,
        Declared::Nothing => ended,
    };
    let certain = small && matches!(claim, Claim::Signed(_));
    if !certain
        && let Verdict::Limited { retry_after } =
            pre_auth.peek(around, around.source(), around.now())
    {
        return Err(Refusal::pre_auth_limited(retry_after));
    }
    let rate_limit =
        record.as_ref().and_then(|record| record.rate_limit).unwrap_or(settings.rate_limit);
    Ok(Reading {
        endpoint,
        record,
        claim,
        seen: 0,
        body_limit: settings.body_limit,
        rate_limit,
        pre_auth,
        request_id: head.request_id(),
        traceparent: head.traceparent(),
    })
}

/// The one well-formed signature with an accepted algorithm, if that is what there is.
fn claimed(field: Field<'_>, settings: &EdgeSettings) -> Option<Signature> {
    match field {
        Field::Once(value) => Signature::parse(value)
            .ok()
            .filter(|signature| settings.algorithms.contains(&signature.algorithm())),
        Field::Absent | Field::Several => None,
    }
}

/// Declared bodies up to this are read to their end before a refusal: an HTTP/1 connection then
/// lives on, which halves the proxy's work, and an HTTP/2 client sees the status. Also what is
/// verified although the source's limit is used up: about 50 µs of hashing.
const SMALL_BODY: u64 = 16 * 1024;
