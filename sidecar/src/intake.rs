//! One delivery, from its signature to its answer.
//!
//! ```text
//! verify ─▶ admit ─▶ one transaction: first answer? replay? ─▶ decide ─▶ delivery + object + promotions ─▶ wait ─▶ answer, recorded
//! ```
//!
//! - Nothing in a delivery is believed before its signature was verified here, with keys of our
//!   own; what the filter says of the key or the source decides nothing.
//! - The intent is durable before the wait begins, the answer before it is given. Whoever asks
//!   again gets that first answer; while it is being worked out, he waits for the same promotions.
//! - 503 is never recorded: Flux sends the same bytes again, and then they count.

mod answer;
mod judge;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use jiff::Timestamp;
use lockgate_core::promotion::{Promotion, State};
use lockgate_core::retry::RetryPolicy;
use lockgate_edge::Answer;
use lockgate_edge::Freshness;
use lockgate_edge::endpoint::{Endpoint, PipelineKey};
use lockgate_edge::reply::Reply;
use lockgate_edge::signature::{Signature, Verifier};
use sha2::{Digest as _, Sha256};
use tokio::sync::broadcast::error::RecvError;

use crate::metrics::{DeliveryOutcome, Metrics, Phase};
use crate::pipelines::{Catalog, Snapshot};
use crate::promote::Scheduler;
use crate::store::{Changed, Digest, KeyId, Store, StoreError};

use judge::{Judged, Judgement};

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
    store: Store,
    settings: Arc<Settings>,
    scheduler: Scheduler,
    metrics: Metrics,
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
        store: Store,
        settings: Settings,
        scheduler: Scheduler,
        metrics: Metrics,
    ) -> Self {
        Self { catalog, store, settings: Arc::new(settings), scheduler, metrics }
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
    ) -> Result<(DeliveryOutcome, Reply), StoreError> {
        let started = Instant::now();
        let Some((snapshot, proof)) = self.verified(delivery).await else {
            tracing::warn!(endpoint = %delivery.endpoint, request.id = delivery.request_id, "the edge verified a signature that the keys here do not");
            return Ok((DeliveryOutcome::Disagree, Reply::unavailable()));
        };
        let key_name = delivery.endpoint.pipeline_key();
        let Some(pipeline) = snapshot.pipeline(&key_name).cloned() else {
            return Ok((DeliveryOutcome::Disagree, Reply::unavailable()));
        };
        let (key, data_key) = match proof {
            Proof::Signed { key, name } => (Some(key), Some(name)),
            Proof::Unsigned => (None, None),
        };
        let judgement = Judgement {
            endpoint: delivery.endpoint.clone(),
            digest: digest(&delivery.body),
            key,
            body: delivery.body.clone(),
            pipeline,
            settings: Arc::clone(&self.settings),
            now,
        };
        // Listening begins before the transaction, so that nothing that follows it can be missed.
        let news = self.store.subscribe();
        let settled_digest = judgement.digest;
        let judged = self.store.transaction(move |tx| judgement.run(tx)).await?;
        if judged.work {
            self.metrics.phase(&key_name, &judged.environment, Phase::Accept, started.elapsed());
            self.scheduler.wake();
        }
        judged.count(&self.metrics);
        if let Some(data_key) = data_key.filter(|_| judged.admitted()) {
            self.metrics.key_used(&delivery.endpoint, &data_key, now);
        }
        match judged.outcome {
            Judged::Answered { outcome, answer } => Ok((outcome, answer::reply(answer))),
            Judged::Wait { promotions, duplicate } => {
                let promotions = self.settle(promotions, news).await?;
                let (outcome, reply) =
                    answer::of_promotions(&promotions, self.settings.public_url.as_deref());
                let (endpoint, first) = (delivery.endpoint.clone(), answer::answered(&reply));
                let stored = self
                    .store
                    .transaction(move |tx| tx.settle(&endpoint, &settled_digest, first, now))
                    .await?;
                Ok((
                    if duplicate { DeliveryOutcome::Duplicate } else { outcome },
                    answer::reply(stored),
                ))
            }
        }
    }

    /// The snapshot whose keys verify the delivery. If the current one's do not, the files are read
    /// again, once.
    async fn verified(&self, delivery: &Delivery) -> Option<(Arc<Snapshot>, Proof)> {
        let snapshot = self.catalog.snapshot();
        if let Some(proof) = self.verify(&snapshot, delivery) {
            return Some((snapshot, proof));
        }
        let catalog = self.catalog.clone();
        let fresh = tokio::task::spawn_blocking(move || catalog.reload_now()).await.ok()?;
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
        mut promotions: Vec<Promotion>,
        mut news: tokio::sync::broadcast::Receiver<Changed>,
    ) -> Result<Vec<Promotion>, StoreError> {
        let deadline = tokio::time::Instant::now() + self.settings.wait;
        let last = lockgate_core::retry::later(Timestamp::now(), self.settings.wait);
        while !promotions.iter().all(|promotion| is_settled(promotion, last)) {
            let heard = tokio::select! {
                heard = tokio::time::timeout_at(deadline, news.recv()) => heard,
                () = self.scheduler.stopping() => break,
            };
            match heard {
                Err(_) | Ok(Err(RecvError::Closed)) => break,
                Ok(Ok(changed)) => {
                    for promotion in promotions
                        .iter_mut()
                        .filter(|promotion| promotion.id == changed.promotion.id)
                    {
                        *promotion = Promotion::clone(&changed.promotion);
                    }
                }
                Ok(Err(RecvError::Lagged(_))) => {
                    for promotion in &mut promotions {
                        if let Some(current) = self.store.promotion(promotion.id).await? {
                            *promotion = current;
                        }
                    }
                }
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

fn digest(body: &[u8]) -> Digest {
    Sha256::digest(body).into()
}
