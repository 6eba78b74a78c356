//! What follows from a delivery: a pure function of the delivery and of what the ledger says of its
//! Pipeline. The ledger may ask again after somebody else has written; nothing here has an effect.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockgate_core::decide::{Action, Decision, Plan, Refusal};
use lockgate_core::event::Event;
use lockgate_core::pipeline::{Pipeline, StrategyKind};
use lockgate_core::promotion::{Change, EventSummary, Intent, Promotion, PromotionId, State};
use lockgate_core::retry::later;
use lockgate_edge::Charge;
use lockgate_edge::endpoint::Endpoint;
use lockgate_edge::reply::Reply;

use super::{Settings, answer};
use crate::ledger::{
    Answered, Ask, DeliveryAsk, Digest, Excerpt, KeyId, KeyUse, NewDelivery, Recorded, Write,
    Writes,
};
use crate::metrics::{DeliveryOutcome, Metrics, PromotionOutcome};
use crate::view::DeliveryView;

/// A verified delivery and all that its judgement depends on, but for the ledger.
pub(super) struct Case {
    pub(super) endpoint: Endpoint,
    pub(super) digest: Digest,
    /// The key that verified it, and the name of that data key. `None` for an unsigned one that is
    /// allowed.
    pub(super) key: Option<(KeyId, String)>,
    /// The event, if the body is one of the right time.
    pub(super) admitted: Result<Event, Refusal>,
    pub(super) pipeline: Arc<Pipeline>,
    pub(super) settings: Arc<Settings>,
    pub(super) now: Timestamp,
    /// Random, for the ids of the promotions that it may start.
    pub(super) seed: [u8; 10],
}

/// What a judgement says beside its writes.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) outcome: Judged,
    /// The environment promoted to; the reporting one where nothing is promoted.
    pub(super) environment: String,
    /// What happened to promotions, for the metrics.
    pub(super) events: Vec<(Arc<Promotion>, PromotionOutcome)>,
}

/// What to answer.
#[derive(Debug)]
pub(super) enum Judged {
    /// This; it is on record, or repeated from there.
    Answered {
        outcome: DeliveryOutcome,
        answer: Answered,
        report: Box<DeliveryView>,
        /// For the log: why.
        message: String,
    },
    /// What becomes of these promotions within the wait.
    Wait { promotions: Vec<Arc<Promotion>>, duplicate: bool },
}

impl Case {
    /// What has to be known of the Pipeline.
    pub(super) fn ask(&self) -> Ask {
        Ask {
            pipeline: self.pipeline.key().clone(),
            delivery: Some(DeliveryAsk {
                endpoint: self.endpoint.clone(),
                digest: self.digest,
                key: self.key.as_ref().map(|(key, _)| *key),
                now: self.now,
            }),
            history: self.plan().map(|plan| plan.query()),
            promotions: Vec::new(),
        }
    }

    fn plan(&self) -> Option<Plan<'_>> {
        let event = self.admitted.as_ref().ok()?;
        Plan::new(&self.pipeline, self.endpoint.environment(), event).ok()
    }

    /// The ids that the promotions get which it starts; more than it needs.
    pub(super) fn ids(&self) -> impl Iterator<Item = PromotionId> {
        let targets = self.plan().map_or(0, |plan| plan.query().targets.len());
        (0..targets).map(|number| self.id(number))
    }

    fn id(&self, number: usize) -> PromotionId {
        let mut random = self.seed;
        let [.., high, low] = &mut random;
        let number = u16::try_from(number).unwrap_or(u16::MAX);
        let [a, b] = u16::from_be_bytes([*high, *low]).wrapping_add(number).to_be_bytes();
        (*high, *low) = (a, b);
        PromotionId::new(self.now, random)
    }

    /// Judges in the order of CONTRACTS: the body, its time, a replay, a duplicate, then the
    /// Pipeline and the past.
    pub(super) fn judge(&self, excerpt: &Excerpt) -> (Writes, Verdict) {
        let event = match &self.admitted {
            Ok(event) => event,
            Err(refusal) => return self.refuse_unadmitted(excerpt, refusal),
        };
        match &excerpt.delivery {
            Some(Recorded::Answered(answer)) => {
                let report = self.report(answer.status, "Duplicate");
                let outcome = Judged::Answered {
                    outcome: DeliveryOutcome::Duplicate,
                    answer: answer.clone(),
                    report: Box::new(report.clone()),
                    message: "the same delivery came before and gets its first answer".to_owned(),
                };
                let mut writes = Writes::soon();
                writes.add(Write::Outcome(self.endpoint.clone(), report));
                return (writes, self.verdict(outcome));
            }
            Some(Recorded::Running(ids)) => {
                let promotions =
                    ids.iter().filter_map(|id| excerpt.promotion(*id)).cloned().collect();
                let outcome = Judged::Wait { promotions, duplicate: true };
                return (Writes::soon(), self.verdict(outcome));
            }
            None => {}
        }
        if excerpt.elsewhere {
            let reply = Reply::unauthorized();
            let text = "the same body under the same key came to another endpoint before";
            return self.answer(
                Writes::now(),
                event.timestamp,
                DeliveryOutcome::Replayed,
                &reply,
                ("Replayed", text),
            );
        }
        let decision = match Plan::new(&self.pipeline, self.endpoint.environment(), event) {
            Err(decision) => decision,
            Ok(plan) => plan.decide(&excerpt.history),
        };
        self.act(excerpt, event, decision)
    }

    /// The body is no event, or its time is off. Judged before duplicates, so it never replaces a
    /// first answer.
    fn refuse_unadmitted(&self, excerpt: &Excerpt, refusal: &Refusal) -> (Writes, Verdict) {
        let (outcome, time) = match refusal {
            Refusal::TooOld { time } | Refusal::FromTheFuture { time } => {
                (DeliveryOutcome::Stale, *time)
            }
            _ => (DeliveryOutcome::Malformed, self.now),
        };
        let reply = answer::refusal(refusal);
        let said = (refusal.reason(), refusal.message());
        if excerpt.delivery.is_none() && self.expiry(time) > self.now {
            return self.answer(Writes::now(), time, outcome, &reply, (said.0, &said.1));
        }
        let report = self.report(reply.status, said.0);
        let mut writes = Writes::soon();
        writes.add(Write::Outcome(self.endpoint.clone(), report.clone()));
        let answer = answer::answered(&reply);
        (
            writes,
            self.verdict(Judged::Answered {
                outcome,
                answer,
                report: Box::new(report),
                message: said.1,
            }),
        )
    }

    fn act(&self, excerpt: &Excerpt, event: &Event, decision: Decision) -> (Writes, Verdict) {
        match decision {
            Decision::Refused(refusal) => self.answer(
                Writes::now(),
                event.timestamp,
                DeliveryOutcome::Unprocessable,
                &answer::refusal(&refusal),
                (refusal.reason(), &refusal.message()),
            ),
            Decision::Nothing { reason, message, record } => {
                let mut writes = Writes::soon();
                if let Some(record) = record {
                    writes.add(Write::Object(self.endpoint.clone(), record, self.now));
                }
                self.answer(
                    writes,
                    event.timestamp,
                    DeliveryOutcome::Nothing,
                    &Reply::nothing(reason.as_str(), &message),
                    (reason.as_str(), &message),
                )
            }
            Decision::Promote { revision, version, from, to, strategy, actions, record } => {
                let mut writes = Writes::now();
                writes.add(Write::Object(self.endpoint.clone(), record, self.now));
                let summary = EventSummary::new(&self.digest.hex(), event);
                let mut done = Done::default();
                for (number, action) in actions.into_iter().enumerate() {
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
                    let id = self.id(number);
                    self.carry_out(excerpt, &mut writes, (id, intent), action.action, &mut done);
                }
                let ids = done.promotions.iter().map(|promotion| promotion.id).collect();
                writes.add(Write::Delivery(self.delivery(event.timestamp), Recorded::Running(ids)));
                writes.list.extend(self.key_used());
                let verdict = Verdict {
                    outcome: Judged::Wait { promotions: done.promotions, duplicate: false },
                    environment: to,
                    events: done.events,
                };
                (writes, verdict)
            }
        }
    }

    fn carry_out(
        &self,
        excerpt: &Excerpt,
        writes: &mut Writes,
        (id, intent): (PromotionId, Intent),
        action: Action,
        done: &mut Done,
    ) {
        let change = |older: PromotionId, change: Change| {
            let before = excerpt.promotion(older)?;
            let after = before.apply(change, self.now, &self.settings.retry).ok()?;
            Some((before, Arc::new(after)))
        };
        match action {
            Action::Start { supersedes, waiting } => {
                let first_here = is_first(excerpt, &intent);
                let promotion = Promotion::new(id, intent, waiting, self.now);
                let promotion = Arc::new(Promotion { first_here, ..promotion });
                if let Some((before, after)) =
                    supersedes.and_then(|older| change(older, Change::Superseded { by: id }))
                {
                    writes.change(before, &after, &format!("superseded by {id}"));
                    done.events.push((after, PromotionOutcome::Superseded));
                }
                let outcome =
                    if waiting { PromotionOutcome::Waiting } else { PromotionOutcome::Started };
                writes.start(&promotion);
                done.events.push((Arc::clone(&promotion), outcome));
                done.promotions.push(promotion);
            }
            Action::Join(known) => done.promotions.extend(excerpt.promotion(known).cloned()),
            Action::TakeUpAgain(known) => match change(known, Change::TakenUpAgain) {
                Some((before, after)) => {
                    writes.change(before, &after, "taken up again by an event");
                    done.events.push((Arc::clone(&after), PromotionOutcome::TakenUpAgain));
                    done.promotions.push(after);
                }
                None => done.promotions.extend(excerpt.promotion(known).cloned()),
            },
        }
    }

    /// Records an answer that is known at once. 4xx are on disk before they are given.
    fn answer(
        &self,
        mut writes: Writes,
        event_time: Timestamp,
        outcome: DeliveryOutcome,
        reply: &Reply,
        (reason, message): (&str, &str),
    ) -> (Writes, Verdict) {
        let answer = answer::answered(reply);
        let report = self.report(reply.status, reason);
        writes.add(Write::Delivery(self.delivery(event_time), Recorded::Answered(answer.clone())));
        writes.add(Write::Outcome(self.endpoint.clone(), report.clone()));
        if outcome.charge() == Charge::Endpoint {
            writes.list.extend(self.key_used());
        }
        let (report, message) = (Box::new(report), message.to_owned());
        (writes, self.verdict(Judged::Answered { outcome, answer, report, message }))
    }

    fn key_used(&self) -> Option<Write> {
        let (_, name) = self.key.as_ref()?;
        let used = KeyUse { endpoint: self.endpoint.clone(), key: name.clone(), at: self.now };
        Some(Write::KeyUsed(used))
    }

    fn verdict(&self, outcome: Judged) -> Verdict {
        Verdict { outcome, environment: self.endpoint.environment().to_owned(), events: Vec::new() }
    }

    /// How the delivery ended, for people.
    pub(super) fn report(&self, status: u16, reason: &str) -> DeliveryView {
        let (object, revision) = match &self.admitted {
            Err(_) => (String::new(), String::new()),
            Ok(event) => {
                let object = &event.involved_object;
                let revision = event.revision().map(|(revision, _)| revision.to_string());
                (
                    format!("{}/{}/{}", object.kind, object.namespace, object.name),
                    revision.unwrap_or_default(),
                )
            }
        };
        DeliveryView {
            at: self.now,
            endpoint: self.endpoint.to_string(),
            object: object.chars().take(OBJECT).collect(),
            revision,
            status,
            reason: reason.to_owned(),
            promotion: None,
        }
    }

    fn delivery(&self, event_time: Timestamp) -> NewDelivery {
        NewDelivery {
            endpoint: self.endpoint.clone(),
            digest: self.digest,
            key: self.key.as_ref().map(|(key, _)| *key).unwrap_or_default(),
            expires_at: self.expiry(event_time),
        }
    }

    /// Kept until the event is too old to be admitted again, and a little longer for clocks that
    /// are set. An event of the year 9999 is not kept until then.
    fn expiry(&self, event_time: Timestamp) -> Timestamp {
        let freshness = &self.settings.freshness;
        let newest = event_time.min(later(self.now, freshness.future));
        later(later(newest, freshness.past), MARGIN)
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

/// Whether nothing was ever brought to the destination: there was no promotion, or only such as
/// were the first themselves and came to nothing.
fn is_first(excerpt: &Excerpt, intent: &Intent) -> bool {
    let past = excerpt.history.promotions.iter().find(|past| past.target == intent.target);
    let Some(past) = past else { return false };
    match past.latest.as_ref().map(|latest| excerpt.promotion(latest.id)) {
        None => !past.ever_promoted,
        Some(None) => false,
        Some(Some(latest)) => {
            latest.first_here
                && matches!(
                    latest.state,
                    State::WaitingApproval
                        | State::Pending { .. }
                        | State::Running { .. }
                        | State::Failed { .. }
                        | State::Rejected
                )
        }
    }
}

#[derive(Default)]
struct Done {
    promotions: Vec<Arc<Promotion>>,
    events: Vec<(Arc<Promotion>, PromotionOutcome)>,
}

/// How much longer than its freshness a delivery is remembered.
const MARGIN: Duration = Duration::from_secs(2 * 60);
/// Characters of an object's name that a report keeps.
const OBJECT: usize = 253;

#[cfg(test)]
mod tests;
