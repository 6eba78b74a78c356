//! One request from its headers to its answer.

mod judge;
#[cfg(test)]
mod tests;

use core::ops::Range;
use core::time::Duration;
use std::sync::Arc;

use self::judge::{judge_head, unauthentic};
use crate::endpoint::Endpoint;
use crate::head::Declared;
use crate::limit::{
    PreAuth, RateLimit, SharedCells, Source, Verdict, charge_endpoint, give_back_endpoint,
};
use crate::reply::Reply;
use crate::signature::{Signature, Verifier};
use crate::signed_time::is_fresh;
use crate::worker::{Place, Worker};
use crate::{Answer, Charge, EdgeSettings, Forward, Freshness, Head, Outcome, Record};

/// What a judgement may ask of the proxy. Asked only where the answer matters: each is a call out
/// of the sandbox.
pub trait Surroundings: SharedCells {
    /// Nanoseconds since the Unix epoch. May step back.
    fn now(&self) -> u64;

    /// The request's source as `address:port`, from the connection and never from a header. Empty
    /// if the proxy does not know it.
    fn source_address(&self) -> Vec<u8>;

    /// These bytes of the body that has come so far; nothing if the proxy does not have them.
    fn body(&self, range: Range<usize>) -> Option<Vec<u8>>;
}

/// What the proxy does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Hold the request and read on.
    Wait,
    /// Answer now.
    Refuse(Refusal),
    /// Authentic: hand it to the sidecar, and its answer to [`Exchange::answered`].
    Forward(Forward),
}

/// A refusal: what is counted and what is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What is counted.
    pub outcome: Outcome,
    /// What is answered.
    pub reply: Reply,
}

/// The state of one request. Each call may change what its worker knows.
#[derive(Debug)]
pub struct Exchange(Phase);

#[derive(Debug)]
enum Phase {
    Reading(Box<Reading>),
    /// Refused, but the body is small: read to its end first, so that the connection lives on.
    Draining(Box<Draining>),
    /// With the sidecar.
    Delivering(Box<Delivering>),
    Over,
}

#[derive(Debug)]
struct Reading {
    endpoint: Endpoint,
    /// The endpoint's record as it was at the headers; none if there is no such endpoint.
    record: Option<Arc<Record>>,
    claim: Claim,
    /// The first piece of the body: usually all of it, and then the only copy.
    first: Vec<u8>,
    seen: usize,
    /// Held while the body is large and not verified.
    place: Option<Place>,
    body_limit: u64,
    rate_limit: RateLimit,
    pre_auth: PreAuth,
    freshness: Freshness,
    request_id: String,
    traceparent: String,
}

#[derive(Debug)]
enum Claim {
    Signed(Verifier),
    /// The pipeline allows it, by name, in the sidecar's configuration.
    Unsigned,
}

#[derive(Debug)]
struct Draining {
    refusal: Refusal,
    /// What a sender pays that does not finish; none where there is no table yet.
    pre_auth: Option<PreAuth>,
}

#[derive(Debug)]
struct Delivering {
    endpoint: Endpoint,
    rate_limit: RateLimit,
    pre_auth: PreAuth,
    /// Who has paid so far.
    paid: Charge,
    source: Source,
    /// None for an unsigned event.
    mark: Option<[u8; 16]>,
}

impl Exchange {
    /// Judges the headers. `ended` means that no body follows; the judgement is then complete.
    pub fn begin(
        worker: &mut Worker,
        head: &Head<'_>,
        ended: bool,
        around: &impl Surroundings,
    ) -> (Self, Step) {
        match judge_head(worker, head, ended, around) {
            Ok(reading) => {
                let mut exchange = Self(Phase::Reading(Box::new(reading)));
                let step = if ended { exchange.finish(worker, around) } else { Step::Wait };
                (exchange, step)
            }
            Err(refusal) => {
                let small =
                    matches!(head.declared(), Declared::Bytes(bytes) if bytes <= SMALL_BODY);
                if small && !ended {
                    let pre_auth = worker.edge().map(|edge| pre_auth(&edge.settings));
                    let draining = Draining { refusal, pre_auth };
                    (Self(Phase::Draining(Box::new(draining))), Step::Wait)
                } else {
                    (Self(Phase::Over), Step::Refuse(refusal))
                }
            }
        }
    }

    /// `total` bytes of the body have come so far; `ended`: that is all of it.
    pub fn body(
        &mut self,
        worker: &mut Worker,
        total: usize,
        ended: bool,
        around: &impl Surroundings,
    ) -> Step {
        let refused = match &mut self.0 {
            Phase::Reading(reading) => reading.read(total, around).err(),
            Phase::Draining(draining) => {
                let small = u64::try_from(total).is_ok_and(|total| total <= SMALL_BODY);
                (!small).then(|| draining.refusal.clone())
            }
            Phase::Delivering(_) | Phase::Over => None,
        };
        match refused {
            Some(refusal) => {
                self.close(worker);
                Step::Refuse(refusal)
            }
            None if ended => self.finish(worker, around),
            None => Step::Wait,
        }
    }

    /// The request is complete: at the headers, at the end of the body, or at the trailers. Judges
    /// once; asked again, waits.
    pub fn finish(&mut self, worker: &mut Worker, around: &impl Surroundings) -> Step {
        match core::mem::replace(&mut self.0, Phase::Over) {
            Phase::Reading(mut reading) => {
                if let Some(place) = reading.place.take() {
                    worker.unverified.give_back(place);
                }
                match reading.finish(worker, around) {
                    Ok((delivering, forward)) => {
                        self.0 = Phase::Delivering(Box::new(delivering));
                        Step::Forward(forward)
                    }
                    Err(refusal) => Step::Refuse(refusal),
                }
            }
            Phase::Draining(draining) => Step::Refuse(draining.refusal),
            delivering @ Phase::Delivering(_) => {
                self.0 = delivering;
                Step::Wait
            }
            Phase::Over => Step::Wait,
        }
    }

    /// The sidecar has answered, or (`None`) it has not and will not.
    pub fn answered(
        &mut self,
        worker: &mut Worker,
        answer: Option<Answer>,
        around: &impl Surroundings,
    ) -> Refusal {
        let phase = core::mem::replace(&mut self.0, Phase::Over);
        // Without an answer the endpoint got nothing for its token.
        let charge = answer.as_ref().map_or(Charge::Source, |answer| answer.charge);
        if let Phase::Delivering(delivering) = phase {
            delivering.settle(charge, around);
            let again = |answer: &Answer| matches!(answer.reply.status, 429 | 503);
            if let Some(mark) = delivering.mark
                && answer.as_ref().is_none_or(again)
            {
                worker.messages.forget(&mark);
            }
        }
        match answer {
            Some(answer) => Refusal { outcome: Outcome::Forwarded, reply: answer.reply },
            None => Refusal::unavailable(),
        }
    }

    /// The stream ends. What it was counted as, if nothing has been counted yet: the sender left
    /// while the sidecar has its delivery.
    pub fn end(&mut self, worker: &mut Worker, around: &impl Surroundings) -> Option<Outcome> {
        // A body that was begun and not finished has held memory for nothing.
        let unfinished = match &self.0 {
            Phase::Reading(reading) => Some(reading.pre_auth),
            Phase::Draining(draining) => draining.pre_auth,
            Phase::Delivering(_) | Phase::Over => None,
        };
        if let Some(pre_auth) = unfinished {
            pre_auth.charge(around, source(around), around.now());
        }
        let delivering = matches!(self.0, Phase::Delivering(_));
        self.close(worker);
        delivering.then_some(Outcome::Forwarded)
    }

    fn close(&mut self, worker: &mut Worker) {
        if let Phase::Reading(reading) = core::mem::replace(&mut self.0, Phase::Over)
            && let Some(place) = reading.place
        {
            worker.unverified.give_back(place);
        }
    }
}

impl Reading {
    /// Takes in what is new of the body.
    fn read(&mut self, total: usize, around: &impl Surroundings) -> Result<(), Refusal> {
        if !u64::try_from(total).is_ok_and(|total| total <= self.body_limit) {
            // It was read for nothing, and nobody has signed it.
            self.pre_auth.charge(around, source(around), around.now());
            return Err(Refusal::too_large(self.body_limit));
        }
        if total <= self.seen {
            return Ok(());
        }
        let piece = around.body(self.seen..total).ok_or_else(Refusal::unavailable)?;
        if let Claim::Signed(verifier) = &mut self.claim {
            verifier.update(&piece);
        }
        if self.seen == 0 {
            self.first = piece;
        }
        self.seen = total;
        Ok(())
    }

    fn finish(
        self,
        worker: &mut Worker,
        around: &impl Surroundings,
    ) -> Result<(Delivering, Forward), Refusal> {
        let now = around.now();
        let (signature, fingerprint) = match self.claim {
            Claim::Unsigned => (None, None),
            Claim::Signed(verifier) => {
                let signature = verifier.signature().clone();
                let found = verifier.finish();
                let keys = self.record.as_ref().map(|record| &*record.keys).unwrap_or_default();
                let Some(key) = found.and_then(|index| keys.get(index)) else {
                    self.pre_auth.charge(around, source(around), now);
                    let known = self.record.is_some();
                    return Err(unauthentic(worker, &self.endpoint, known, now));
                };
                (Some(signature), Some(key.fingerprint()))
            }
        };
        let body = if self.first.len() == self.seen {
            self.first
        } else {
            around.body(0..self.seen).ok_or_else(Refusal::unavailable)?
        };
        let address = around.source_address();
        let source = Source::parse(&address);
        let mark = signature.as_ref().map(Signature::mark);
        // The endpoint pays for fresh events alone. Who holds only old messages can use up nothing
        // but the limit of the address they come from.
        let repeated = mark.is_some_and(|mark| worker.messages.contains(&mark));
        let paid = if repeated || !is_fresh(&body, self.freshness, now) {
            if let Verdict::Limited { retry_after } = self.pre_auth.charge(around, source, now) {
                return Err(Refusal::pre_auth_limited(retry_after));
            }
            Charge::Source
        } else {
            if let Verdict::Limited { retry_after } =
                charge_endpoint(around, &self.endpoint, self.rate_limit, now)
            {
                let reply = Reply::limited(retry_after);
                return Err(Refusal { outcome: Outcome::Limited, reply });
            }
            Charge::Endpoint
        };
        if let Some(mark) = mark {
            worker.messages.insert(mark);
        }
        let forward = Forward {
            endpoint: self.endpoint.clone(),
            signature,
            fingerprint,
            source: String::from_utf8_lossy(&address).into_owned(),
            request_id: self.request_id,
            traceparent: self.traceparent,
            body,
        };
        let delivering = Delivering {
            endpoint: self.endpoint,
            rate_limit: self.rate_limit,
            pre_auth: self.pre_auth,
            paid,
            source,
            mark,
        };
        Ok((delivering, forward))
    }
}

impl Delivering {
    /// Takes back what the wrong one has paid.
    fn settle(&self, charge: Charge, around: &impl Surroundings) {
        match (self.paid, charge) {
            (Charge::Endpoint, Charge::Source) => {
                give_back_endpoint(around, &self.endpoint, self.rate_limit);
                self.pre_auth.charge(around, self.source, around.now());
            }
            // The clocks of edge and sidecar differ by more than events may be old.
            (Charge::Source, Charge::Endpoint) => {
                self.pre_auth.give_back(around, self.source);
                charge_endpoint(around, &self.endpoint, self.rate_limit, around.now());
            }
            (Charge::Endpoint, Charge::Endpoint) | (Charge::Source, Charge::Source) => {}
        }
    }
}

impl Refusal {
    /// 503.
    pub fn unavailable() -> Self {
        Self { outcome: Outcome::Unavailable, reply: Reply::unavailable() }
    }

    fn too_large(limit: u64) -> Self {
        Self { outcome: Outcome::Length, reply: Reply::too_large(limit) }
    }

    fn pre_auth_limited(wait: Duration) -> Self {
        Self { outcome: Outcome::PreauthLimited, reply: Reply::limited(wait) }
    }
}

fn pre_auth(settings: &EdgeSettings) -> PreAuth {
    PreAuth { limit: settings.pre_auth }
}

fn source(around: &impl Surroundings) -> Source {
    Source::parse(&around.source_address())
}

/// Declared bodies up to this are read to their end before a refusal: an HTTP/1 connection then
/// lives on, which halves the proxy's work, and an HTTP/2 client sees the status. Also what is
/// verified although the source's limit is used up: about 50 µs of hashing.
const SMALL_BODY: u64 = 16 * 1024;
