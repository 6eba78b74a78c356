//! What the headers alone decide, and the answer to what is not authentic.

use super::{Claim, Reading, Refusal, SMALL_BODY, Surroundings, pre_auth, source};
use crate::endpoint::{Endpoint, parse_path};
use crate::head::{Declared, Field};
use crate::limit::Verdict;
use crate::reply::Reply;
use crate::signature::{Signature, Verifier};
use crate::worker::Worker;
use crate::{Edge, EdgeSettings, Head, Outcome, Record};

/// The answer to what is not authentic: 401, or 503 for as long as the endpoint may be missing by
/// mistake. Both are the same for all.
pub(super) fn unauthentic(
    worker: &mut Worker,
    endpoint: &Endpoint,
    known: bool,
    now: u64,
) -> Refusal {
    if known {
        worker.syncer.count_refused(endpoint);
    }
    if !worker.edge().is_some_and(|edge| edge.is_certain_of(endpoint, now)) {
        return Refusal::unavailable();
    }
    let outcome = if known { Outcome::Signature } else { Outcome::Unknown };
    Refusal { outcome, reply: Reply::unauthorized() }
}

pub(super) fn judge_head(
    worker: &mut Worker,
    head: &Head<'_>,
    ended: bool,
    around: &impl Surroundings,
) -> Result<Reading, Refusal> {
    let edge = worker.syncer.edge().ok_or_else(Refusal::unavailable)?;
    let settings = &edge.settings;
    if head.method != b"POST" {
        return Err(Refusal { outcome: Outcome::Method, reply: Reply::method_not_allowed() });
    }
    let endpoint = parse_path(&settings.path_prefix, head.path)
        .map_err(|_| Refusal { outcome: Outcome::Path, reply: Reply::not_found() })?;
    let record = edge.usable(&endpoint).cloned();
    let pre_auth = pre_auth(settings);
    let claim = if record.as_ref().is_some_and(|record| edge.is_open(record)) {
        Claim::Unsigned
    } else if let Some(signature) = claimed(head.signature, settings) {
        Claim::Signed(verifier(edge, &signature, record.as_deref()))
    } else {
        let now = around.now();
        if let Verdict::Limited { retry_after } = pre_auth.charge(around, source(around), now) {
            return Err(Refusal::pre_auth_limited(retry_after));
        }
        let known = record.is_some();
        let refusal = unauthentic(worker, &endpoint, known, now);
        // A missing signature says nothing of the endpoint: it is counted alike for all.
        return Err(match refusal.outcome {
            Outcome::Unknown => Refusal { outcome: Outcome::Signature, ..refusal },
            _ => refusal,
        });
    };
    if !head.is_plain_json() {
        return Err(Refusal { outcome: Outcome::Type, reply: Reply::unsupported_type() });
    }
    let declared = match head.declared() {
        Declared::Nonsense => return Err(Refusal::too_large(settings.body_limit)),
        Declared::Bytes(bytes) if bytes > settings.body_limit => {
            return Err(Refusal::too_large(settings.body_limit));
        }
        Declared::Bytes(bytes) => bytes,
        Declared::Nothing if ended => 0,
        Declared::Nothing => settings.body_limit.max(SMALL_BODY + 1),
    };
    let small = declared <= SMALL_BODY;
    let certain = small && matches!(claim, Claim::Signed(_));
    if !certain
        && let Verdict::Limited { retry_after } =
            pre_auth.peek(around, source(around), around.now())
    {
        return Err(Refusal::pre_auth_limited(retry_after));
    }
    let rate_limit =
        record.as_ref().and_then(|record| record.rate_limit).unwrap_or(settings.rate_limit);
    let (body_limit, freshness) = (settings.body_limit, settings.freshness);
    let place = if small {
        None
    } else {
        let place = worker.unverified.take(source(around), declared.min(body_limit), body_limit);
        Some(place.ok_or_else(Refusal::unavailable)?)
    };
    Ok(Reading {
        endpoint,
        record,
        claim,
        first: Vec::new(),
        seen: 0,
        place,
        body_limit,
        rate_limit,
        pre_auth,
        freshness,
        request_id: head.request_id(),
        traceparent: head.traceparent(),
    })
}

/// As many keys for every endpoint, dummies included, as the endpoint with most keys has.
fn verifier(edge: &Edge, signature: &Signature, record: Option<&Record>) -> Verifier {
    let keys = record.map(|record| &*record.keys).unwrap_or_default();
    Verifier::new(signature, keys, edge.table.most_keys())
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
