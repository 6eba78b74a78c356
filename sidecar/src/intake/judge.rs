//! The part of a delivery that must see one state of the store and leave one behind.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use lockgate_core::decide::{Action, Decision, Plan, Refusal, admit};
use lockgate_core::event::Event;
use lockgate_core::pipeline::{Pipeline, StrategyKind};
use lockgate_core::promotion::{Change, EventSummary, Intent, Promotion, PromotionId};
use lockgate_core::retry::later;
use lockgate_edge::Charge;
use lockgate_edge::endpoint::Endpoint;
use lockgate_edge::reply::Reply;

use super::{Settings, answer};
use crate::metrics::{DeliveryOutcome, Metrics, PromotionOutcome};
use crate::store::{Answered, Digest, FinishedDelivery, KeyId, NewDelivery, StoreError, Tx};

/// A verified delivery and all that its judgement depends on, but for the store.
pub(super) struct Judgement {
    pub(super) endpoint: Endpoint,
    pub(super) digest: Digest,
    /// `None` for an unsigned one that is allowed.
    pub(super) key: Option<KeyId>,
    pub(super) body: Bytes,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) settings: Arc<Settings>,
    pub(super) now: Timestamp,
}

/// What the transaction left behind.
pub(super) struct Verdict {
    pub(super) outcome: Judged,
    /// Whether there is something new for the scheduler.
    pub(super) work: bool,
    /// The environment promoted to; the reporting one where nothing is promoted.
    pub(super) environment: String,
    events: Vec<(Promotion, PromotionOutcome)>,
}

/// What to answer.
pub(super) enum Judged {
    /// This; it is on record, or repeated from there.
    Answered { outcome: DeliveryOutcome, answer: Answered },
    /// What becomes of these promotions within the wait.
    Wait { promotions: Vec<Promotion>, duplicate: bool },
}

impl Judgement {
    pub(super) fn run(self, tx: &mut Tx<'_>) -> Result<Verdict, StoreError> {
        tx.forget_expired(self.now)?;
        let event = match admit(&self.body, self.now, &self.settings.freshness) {
            Ok(event) => event,
            Err(refusal) => return self.refuse_unadmitted(tx, &refusal),
        };
        let delivery = self.delivery(event.timestamp);
        match tx.delivery(&self.endpoint, &self.digest, self.now)? {
            Some(FinishedDelivery::Answered(answer)) => {
                return Ok(
                    self.verdict(Judged::Answered { outcome: DeliveryOutcome::Duplicate, answer })
                );
            }
            Some(FinishedDelivery::Running(ids)) => {
                let promotions = ids
                    .into_iter()
                    .filter_map(|id| tx.promotion(id).transpose())
                    .collect::<Result<_, _>>()?;
                return Ok(self.verdict(Judged::Wait { promotions, duplicate: true }));
            }
            None => {}
        }
        if let Some(key) = &self.key
            && tx.delivered_elsewhere(&self.endpoint, &self.digest, key, self.now)?
        {
            tracing::warn!(endpoint = %self.endpoint, "a delivery was refused: the same body under the same key came to another endpoint before");
            return self.answer(tx, &delivery, DeliveryOutcome::Replayed, &Reply::unauthorized());
        }
        let decision = match Plan::new(&self.pipeline, self.endpoint.environment(), &event) {
            Err(decision) => decision,
            Ok(plan) => {
                let history = tx.history(&plan.query())?;
                plan.decide(&history)
            }
        };
        self.act(tx, &delivery, &event, decision)
    }

    /// The body is no event, or its time is off. Judged before duplicates, so it never replaces a
    /// first answer.
    fn refuse_unadmitted(&self, tx: &mut Tx<'_>, refusal: &Refusal) -> Result<Verdict, StoreError> {
        let (outcome, time) = match refusal {
            Refusal::TooOld { time } | Refusal::FromTheFuture { time } => {
                (DeliveryOutcome::Stale, *time)
            }
            _ => (DeliveryOutcome::Malformed, self.now),
        };
        let answer = answer::answered(&answer::refusal(refusal));
        let delivery = self.delivery(time);
        if delivery.expires_at > self.now
            && tx.delivery(&self.endpoint, &self.digest, self.now)?.is_none()
        {
            tx.record_delivery(&delivery, &FinishedDelivery::Answered(answer.clone()))?;
        }
        Ok(self.verdict(Judged::Answered { outcome, answer }))
    }

    fn act(
        &self,
        tx: &mut Tx<'_>,
        delivery: &NewDelivery,
        event: &Event,
        decision: Decision,
    ) -> Result<Verdict, StoreError> {
        match decision {
            Decision::Refused(refusal) => self.answer(
                tx,
                delivery,
                DeliveryOutcome::Unprocessable,
                &answer::refusal(&refusal),
            ),
            Decision::Nothing { reason, message, record } => {
                if let Some(record) = record {
                    tx.record_object(&self.endpoint, &record, self.now)?;
                }
                self.answer(
                    tx,
                    delivery,
                    DeliveryOutcome::Nothing,
                    &Reply::nothing(reason.as_str(), &message),
                )
            }
            Decision::Promote { revision, version, from, to, strategy, actions, record } => {
                tx.record_object(&self.endpoint, &record, self.now)?;
                let summary = EventSummary::new(&hex(&self.digest), event);
                let mut done = Done::default();
                for action in actions {
                    let intent = Intent {
                        pipeline: self.pipeline.key().clone(),
                        from: from.clone(),
                        to: to.clone(),
                        target: action.target,
                        revision: revision.clone(),
                        version: version.clone(),
                        strategy,
                        event: summary.clone(),
                    };
                    self.carry_out(tx, action.action, intent, &mut done)?;
                }
                let ids = done.promotions.iter().map(|promotion| promotion.id).collect();
                tx.record_delivery(delivery, &FinishedDelivery::Running(ids))?;
                Ok(Verdict {
                    outcome: Judged::Wait { promotions: done.promotions, duplicate: false },
                    work: !done.events.is_empty(),
                    environment: to,
                    events: done.events,
                })
            }
        }
    }

    fn carry_out(
        &self,
        tx: &mut Tx<'_>,
        action: Action,
        intent: Intent,
        done: &mut Done,
    ) -> Result<(), StoreError> {
        match action {
            Action::Start { supersedes, waiting } => {
                let promotion = Promotion::new(fresh_id(self.now), intent, waiting, self.now);
                if let Some(older) = supersedes {
                    let by = promotion.id;
                    let superseded = self.change(
                        tx,
                        older,
                        Change::Superseded { by },
                        &format!("superseded by {by}"),
                    )?;
                    done.events
                        .extend(superseded.map(|older| (older, PromotionOutcome::Superseded)));
                }
                let outcome =
                    if waiting { PromotionOutcome::Waiting } else { PromotionOutcome::Started };
                tx.insert_promotion(promotion.clone(), "")?;
                done.events.push((promotion.clone(), outcome));
                done.promotions.push(promotion);
            }
            Action::Join(id) => done.promotions.extend(tx.promotion(id)?),
            Action::TakeUpAgain(id) => {
                match self.change(tx, id, Change::TakenUpAgain, "taken up again by an event")? {
                    Some(promotion) => {
                        done.events.push((promotion.clone(), PromotionOutcome::TakenUpAgain));
                        done.promotions.push(promotion);
                    }
                    None => done.promotions.extend(tx.promotion(id)?),
                }
            }
        }
        Ok(())
    }

    /// The changed promotion; `None` where the change does not apply to its state any more.
    fn change(
        &self,
        tx: &mut Tx<'_>,
        id: PromotionId,
        change: Change,
        message: &str,
    ) -> Result<Option<Promotion>, StoreError> {
        let Some(promotion) = tx.promotion(id)? else { return Ok(None) };
        let Ok(changed) = promotion.apply(change, self.now, &self.settings.retry) else {
            return Ok(None);
        };
        tx.update_promotion(changed.clone(), message)?;
        Ok(Some(changed))
    }

    fn answer(
        &self,
        tx: &mut Tx<'_>,
        delivery: &NewDelivery,
        outcome: DeliveryOutcome,
        reply: &Reply,
    ) -> Result<Verdict, StoreError> {
        let answer = answer::answered(reply);
        tx.record_delivery(delivery, &FinishedDelivery::Answered(answer.clone()))?;
        Ok(self.verdict(Judged::Answered { outcome, answer }))
    }

    fn verdict(&self, outcome: Judged) -> Verdict {
        Verdict {
            outcome,
            work: false,
            environment: self.endpoint.environment().to_owned(),
            events: Vec::new(),
        }
    }

    /// Kept until the event is too old to be admitted again, and a little longer for clocks that
    /// are set.
    fn delivery(&self, event_time: Timestamp) -> NewDelivery {
        NewDelivery {
            endpoint: self.endpoint.clone(),
            digest: self.digest,
            key: self.key.unwrap_or_default(),
            received_at: self.now,
            expires_at: later(later(event_time, self.settings.freshness.past), MARGIN),
        }
    }
}

impl Verdict {
    /// Whether it is a fresh event of somebody who has the key: no old or repeated message.
    pub(super) fn admitted(&self) -> bool {
        match &self.outcome {
            Judged::Answered { outcome, .. } => outcome.charge() == Charge::Endpoint,
            Judged::Wait { duplicate, .. } => !duplicate,
        }
    }

    pub(super) fn count(&self, metrics: &Metrics) {
        for (promotion, outcome) in &self.events {
            let strategy = promotion.strategy.map_or("none", StrategyKind::as_str);
            metrics.promotion_outcome(&promotion.pipeline, &promotion.to, strategy, *outcome);
        }
    }
}

#[derive(Default)]
struct Done {
    promotions: Vec<Promotion>,
    events: Vec<(Promotion, PromotionOutcome)>,
}

fn fresh_id(now: Timestamp) -> PromotionId {
    let [.., a, b, c, d, e, f, g, h, i, j] = uuid::Uuid::now_v7().into_bytes();
    PromotionId::new(now, [a, b, c, d, e, f, g, h, i, j])
}

fn hex(digest: &Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// How much longer than its freshness a delivery is remembered.
const MARGIN: std::time::Duration = std::time::Duration::from_secs(2 * 60);
