//! One delivery, from its signature to its answer.
//!
//! ```text
//! verify ─▶ admit ─▶ one step of the ledger: first answer? replay? ─▶ decide ─▶ delivery + object + promotions ─▶ wait ─▶ answer, recorded
//! ```
//!
//! - Nothing in a delivery is believed before its signature was verified here, with keys of our
//!   own; what the filter says of the key or the source decides nothing.
//! - The intent is on disk before the wait begins, and so is a failure before it is told. The
//!   answer of a success follows within 50 ms: after a `kill -9` in between, the same delivery
//!   finds its promotion and gets the answer of that. A sender that asks again gets the first
//!   answer; while it is being worked out, that sender waits for the same promotions.
//! - 503 is never recorded: Flux sends the same bytes again, and then they count.

mod answer;
mod journal;
mod judge;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use lockgate_core::decide::admit;
use lockgate_core::promotion::{Promotion, State};
use lockgate_core::retry::RetryPolicy;
use lockgate_edge::Answer;
use lockgate_edge::Freshness;
use lockgate_edge::endpoint::{Endpoint, PipelineKey};
use lockgate_edge::reply::Reply;
use lockgate_edge::signature::{Signature, Verifier};

use crate::ledger::{
    Ask, DeliveryAsk, Digest, KeyId, Ledger, LedgerError, Recorded, Watch, When, Write, Writes,
};
use crate::metrics::{DeliveryOutcome, Metrics, Phase};
use crate::pipelines::{Catalog, Snapshot};
use crate::promote::Scheduler;

use journal::Journal;
use judge::{Case, Judged};

/// A request that the filter passed on.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Where it was posted.
    pub endpoint: Endpoint,
    /// Its body, byte for byte.
    pub body: Bytes,
    /// Its signature; `None` where it had none.
    pub signature: Option<Signature>,
    /// For the log.
    pub source_address: String,
    /// For the log.
    pub request_id: String,
    /// For the log.
    pub traceparent: String,
}

/// What the intake needs to know.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How far an event's time may be from ours.
    pub freshness: Freshness,
    /// How long a delivery may wait for its promotions.
    pub wait: Duration,
    /// Where people reach the API, without a slash at its end; `None` where they do not.
    pub public_url: Option<String>,
    /// Pipelines whose endpoints without a `secretRef` take unsigned events.
    pub allow_unsigned: BTreeSet<PipelineKey>,
    /// For the promotions it starts and takes up again.
    pub retry: RetryPolicy,
}

/// Takes deliveries; clones share everything.
#[derive(Clone)]
pub struct Intake {
    catalog: Catalog,
    ledger: Arc<dyn Ledger>,
    settings: Arc<Settings>,
    scheduler: Scheduler,
    metrics: Metrics,
    journal: Arc<Journal>,
}

/// What a signature proved.
enum Proof {
    /// One of the endpoint's keys made it.
    Signed { key: KeyId, name: String },
    /// The installation asks for none here.
    Unsigned,
}

impl Intake {
    /// An intake.
    #[must_use]
    pub fn new(
        catalog: Catalog,
        ledger: Arc<dyn Ledger>,
        settings: Settings,
        scheduler: Scheduler,
        metrics: Metrics,
    ) -> Self {
        let (settings, journal) = (Arc::new(settings), Arc::default());
        Self { catalog, ledger, settings, scheduler, metrics, journal }
    }

    /// Judges a delivery that arrived at `now` and answers it, which may take the whole wait.
    pub async fn deliver(&self, delivery: Delivery, now: Timestamp) -> Answer {
        let (outcome, reply) = match self.judge(&delivery, now).await {
            Ok(answered) => answered,
            Err(error) => {
                tracing::error!(%error, endpoint = %delivery.endpoint, request.id = delivery.request_id, "a delivery could not be stored");
                (DeliveryOutcome::Unavailable, Reply::unavailable())
            }
        };
        self.metrics.delivery(outcome);
        tracing::debug!(
            endpoint = %delivery.endpoint, outcome = outcome.as_str(), status = reply.status, source.address = delivery.source_address,
            request.id = delivery.request_id, traceparent = delivery.traceparent, "delivery answered"
        );
        Answer { reply, charge: outcome.charge() }
    }

    async fn judge(
        &self,
        delivery: &Delivery,
        now: Timestamp,
    ) -> Result<(DeliveryOutcome, Reply), LedgerError> {
        let started = Instant::now();
        let Some((snapshot, proof)) = self.verified(delivery).await else {
            tracing::warn!(endpoint = %delivery.endpoint, request.id = delivery.request_id, "the edge verified a signature that the keys here do not");
            return Ok((DeliveryOutcome::Disagree, Reply::unavailable()));
        };
        let key_name = delivery.endpoint.pipeline_key();
        let Some(pipeline) = snapshot.pipeline(&key_name).cloned() else {
            return Ok((DeliveryOutcome::Disagree, Reply::unavailable()));
        };
        let case = Arc::new(Case {
            endpoint: delivery.endpoint.clone(),
            digest: Digest::of(&delivery.body),
            key: match proof {
                Proof::Signed { key, name } => Some((key, name)),
                Proof::Unsigned => None,
            },
            admitted: admit(&delivery.body, now, &self.settings.freshness),
            pipeline,
            settings: Arc::clone(&self.settings),
            now,
            seed: seed(),
        });
        // Listening begins before the step, so that nothing that follows it can be missed.
        let watch = self.ledger.news().watch(case.ids());
        let judged = {
            let case = Arc::clone(&case);
            self.ledger.decide(case.ask(), move |excerpt| case.judge(excerpt)).await?
        };
        if !judged.events.is_empty() {
            self.metrics.phase(&key_name, &judged.environment, Phase::Accept, started.elapsed());
        }
        judged.count(&self.metrics);
        if let Some((_, name)) = case.key.as_ref().filter(|_| judged.admitted()) {
            self.metrics.key_used(&delivery.endpoint, name, now);
        }
        match judged.outcome {
            Judged::Answered { outcome, answer, report, message } => {
                self.journal.note(&delivery.endpoint, &report, &message);
                Ok((outcome, answer::reply(answer)))
            }
            Judged::Wait { promotions, duplicate } => {
                let promotions = self.settle(promotions, watch).await?;
                let (outcome, reply) =
                    answer::of_promotions(&promotions, self.settings.public_url.as_deref());
                let reply = self.record(&case, &promotions, reply).await?;
                Ok((if duplicate { DeliveryOutcome::Duplicate } else { outcome }, reply))
            }
        }
    }

    /// Puts the answer of a delivery on record. The first one stands, and is returned.
    async fn record(
        &self,
        case: &Arc<Case>,
        promotions: &[Arc<Promotion>],
        reply: Reply,
    ) -> Result<Reply, LedgerError> {
        let ask = Ask {
            delivery: Some(DeliveryAsk {
                endpoint: case.endpoint.clone(),
                digest: case.digest,
                key: None,
                now: case.now,
            }),
            ..Ask::promotions(case.pipeline.key(), Vec::new())
        };
        let mut report = case.report(reply.status, "");
        if let Some(promotion) = promotions.first() {
            let failure = promotion.state.failure();
            report.reason = failure
                .map_or(promotion.state.name(), |failure| failure.reason.as_str())
                .to_owned();
            report.promotion = Some(promotion.id.to_string());
        }
        let (endpoint, digest) = (case.endpoint.clone(), case.digest);
        let stands = self
            .ledger
            .decide(ask, move |excerpt| {
                let mut writes = Writes::soon();
                writes.add(Write::Outcome(endpoint.clone(), report.clone()));
                let answer = match &excerpt.delivery {
                    Some(Recorded::Answered(first)) => first.clone(),
                    _ => answer::answered(&reply),
                };
                // A refusal is on disk before it is given.
                if answer.status >= 400 {
                    writes.when = When::Now;
                }
                writes.add(Write::Answer(endpoint.clone(), digest, answer.clone()));
                (writes, answer)
            })
            .await?;
        Ok(answer::reply(stands))
    }

    /// The snapshot whose keys verify the delivery. If the current one's do not, the source looks
    /// again, once.
    async fn verified(&self, delivery: &Delivery) -> Option<(Arc<Snapshot>, Proof)> {
        let snapshot = self.catalog.snapshot();
        if let Some(proof) = self.verify(&snapshot, delivery) {
            return Some((snapshot, proof));
        }
        let fresh = self.catalog.looked_again().await;
        let proof = self.verify(&fresh, delivery)?;
        Some((fresh, proof))
    }

    fn verify(&self, snapshot: &Snapshot, delivery: &Delivery) -> Option<Proof> {
        let keys = snapshot.endpoint_keys(&delivery.endpoint);
        if keys.is_empty() && self.takes_unsigned(snapshot, &delivery.endpoint) {
            return Some(Proof::Unsigned);
        }
        let mut verifier = Verifier::new(delivery.signature.as_ref()?, keys, keys.len());
        verifier.update(&delivery.body);
        let key = keys.get(verifier.finish()?)?;
        Some(Proof::Signed { key: key.fingerprint().0, name: key.name().to_owned() })
    }

    /// Only an endpoint without any `secretRef`: a Secret that is missing or empty never opens one.
    fn takes_unsigned(&self, snapshot: &Snapshot, endpoint: &Endpoint) -> bool {
        let key = endpoint.pipeline_key();
        self.settings.allow_unsigned.contains(&key)
            && snapshot.pipeline(&key).is_some_and(|pipeline| {
                pipeline.environment(endpoint.environment()).is_some()
                    && pipeline.endpoint_rules(endpoint.environment()).secret_ref.is_none()
            })
    }

    /// Waits until nothing more can happen to the promotions within the wait, or the process stops.
    async fn settle(
        &self,
        mut promotions: Vec<Arc<Promotion>>,
        mut watch: Watch,
    ) -> Result<Vec<Arc<Promotion>>, LedgerError> {
        let deadline = tokio::time::Instant::now() + self.settings.wait;
        let last = lockgate_core::retry::later(Timestamp::now(), self.settings.wait);
        // Promotions that were there before are listened to only now: what happened to them since
        // the step has to be looked up.
        if promotions.iter().any(|promotion| !watch.has(promotion.id)) {
            watch = self.ledger.news().watch(promotions.iter().map(|promotion| promotion.id));
            for promotion in &mut promotions {
                if let Some(current) = self.ledger.promotion(promotion.id).await? {
                    *promotion = current;
                }
            }
        }
        while !promotions.iter().all(|promotion| is_settled(promotion, last)) {
            tokio::select! {
                changed = watch.changed() => {
                    promotions
                        .iter_mut()
                        .filter(|promotion| promotion.id == changed.id)
                        .for_each(|promotion| *promotion = Arc::clone(&changed));
                }
                () = tokio::time::sleep_until(deadline) => break,
                () = self.scheduler.stopping() => break,
            }
        }
        Ok(promotions)
    }
}

/// Whether a promotion cannot get any further before `last`.
fn is_settled(promotion: &Promotion, last: Timestamp) -> bool {
    match &promotion.state {
        State::Running { .. } => false,
        State::Pending { next_attempt_at, .. } => {
            *next_attempt_at > last || promotion.strategy.is_some_and(|kind| !kind.is_built())
        }
        _ => true,
    }
}

fn seed() -> [u8; 10] {
    let [.., a, b, c, d, e, f, g, h, i, j] = uuid::Uuid::now_v7().into_bytes();
    [a, b, c, d, e, f, g, h, i, j]
}
