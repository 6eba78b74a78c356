//! One attempt at one promotion: claim, carry out, conclude.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockgate_core::pipeline::StrategyKind;
use lockgate_core::promotion::{Change, FailureReason, Promotion, PromotionId, State, Success};
use lockgate_core::retry::{RetryPolicy, later};

use super::Settings;
use super::plan::Plan;
use crate::metrics::{Metrics, Phase, PromotionOutcome};
use crate::pipelines::Catalog;
use crate::store::{Look, Store, StoreError, Tx};
use crate::strategy::{Executor, Observer, Order, Outcome, Part};
use crate::view::Entry;

/// What every attempt works with.
pub(super) struct Context {
    pub(super) catalog: Catalog,
    pub(super) store: Store,
    pub(super) settings: Settings,
    pub(super) metrics: Metrics,
    pub(super) executor: Arc<Executor>,
}

impl Observer for Metrics {
    fn spent(&self, order: &Order, part: Part, time: Duration) {
        let phase = match part {
            Part::Git => Phase::Git,
            Part::Forge => Phase::Forge,
        };
        self.phase(&order.pipeline, &order.environment, phase, time);
    }

    fn forge_request(&self, forge: &'static str, operation: &'static str, code: u16) {
        Self::forge_request(self, forge, operation, code);
    }
}

/// Runs one attempt from claim to conclusion. Does nothing if the promotion is not pending any
/// more.
///
/// # Errors
/// The claim's only: nothing has been done then. A conclusion is repeated until the store takes it.
pub(super) async fn run(context: Arc<Context>, id: PromotionId) -> Result<(), StoreError> {
    let policy = context.settings.retry;
    let now = Timestamp::now();
    let Some((before, claimed)) =
        context.store.transaction(move |tx| claim(tx, id, now, &policy)).await?
    else {
        return Ok(());
    };
    if let State::Pending { attempts: 0, .. } = before.state {
        context.metrics.phase(
            &claimed.pipeline,
            &claimed.to,
            Phase::Queue,
            since(before.taken_up_at, now),
        );
    }
    // Untouched since it was made, so no earlier attempt can have left anything outside.
    let first = before.updated_at == before.created_at;
    let outcome = carry_out(&context, &claimed, first).await;
    let Some(concluded) = conclude_for_sure(&context, id, outcome).await else { return Ok(()) };
    report(&context, &concluded);
    Ok(())
}

fn claim(
    tx: &mut Tx<'_>,
    id: PromotionId,
    now: Timestamp,
    policy: &RetryPolicy,
) -> Result<Option<(Promotion, Promotion)>, StoreError> {
    let Some(before) = tx.promotion(id)? else { return Ok(None) };
    // Superseded since it was chosen: somebody else's business now.
    let Ok(claimed) = before.apply(Change::Attempted, now, policy) else { return Ok(None) };
    tx.update_promotion(claimed.clone(), "")?;
    Ok(Some((before, claimed)))
}

/// Carries out what the Pipeline says now, not what it said when the promotion began.
async fn carry_out(context: &Context, promotion: &Promotion, first: bool) -> Outcome {
    let plan = Plan::of(&context.catalog.snapshot(), promotion);
    match plan.order(promotion, first) {
        Ok(order) => context.executor.carry_out(order).await,
        // It waits until this version can, or the Pipeline says otherwise.
        Err(failure) if failure.reason == FailureReason::UnsupportedStrategy => {
            Outcome::Passing { failure, retry_after: None }
        }
        Err(failure) => Outcome::of(failure),
    }
}

/// Writes the outcome, again and again while the store is in trouble: what was done outside must
/// not be forgotten. Gives up when the store has ended for good; the next start repeats the attempt
/// then.
async fn conclude_for_sure(
    context: &Context,
    id: PromotionId,
    outcome: Outcome,
) -> Option<Promotion> {
    let (policy, first_look) = (context.settings.retry, context.settings.poll.min);
    let outcome = Arc::new(outcome);
    loop {
        let shared = Arc::clone(&outcome);
        match context
            .store
            .transaction(move |tx| conclude(tx, id, &shared, Timestamp::now(), &policy, first_look))
            .await
        {
            Ok(concluded) => return concluded,
            Err(StoreError::Stopped) => return None,
            Err(error) => {
                tracing::error!(promotion = %id, %error, "the outcome of a promotion could not be stored, trying again");
                tokio::time::sleep(STORE_PAUSE).await;
            }
        }
    }
}

fn conclude(
    tx: &mut Tx<'_>,
    id: PromotionId,
    outcome: &Outcome,
    now: Timestamp,
    policy: &RetryPolicy,
    first_look: Duration,
) -> Result<Option<Promotion>, StoreError> {
    let Some(running) = tx.promotion(id)? else { return Ok(None) };
    let change = match outcome {
        Outcome::Done { detail, .. } => Change::Succeeded(Success::Done(detail.clone())),
        Outcome::PullRequest { pull, incomplete, .. } => {
            Change::Succeeded(Success::PullRequestOpen {
                pull: pull.clone(),
                incomplete: incomplete.clone(),
            })
        }
        Outcome::Passing { failure, retry_after } => {
            Change::FailedPassing { failure: failure.clone(), retry_after: *retry_after }
        }
        Outcome::Permanent { failure, .. } => Change::FailedPermanent(failure.clone()),
    };
    // Superseded while it ran: the newer one goes on from here, nothing to write.
    let Ok(concluded) = running.apply(change, now, policy) else { return Ok(None) };
    match outcome {
        Outcome::Done { announce: Some(message), .. } => {
            tx.append(&Entry::of(&concluded, now, ANNOUNCEMENT, message))?
        }
        Outcome::Permanent { seen: Some(seen), .. } => {
            tx.record_base(id, &serde_json::to_string(seen).unwrap_or_default())?
        }
        _ => {}
    }
    tx.update_promotion(concluded.clone(), "")?;
    match outcome {
        Outcome::PullRequest { ended: None, .. } => {
            tx.schedule_look(
                id,
                &Look { at: later(now, first_look), pause: first_look, tag: None },
            )?;
        }
        Outcome::PullRequest { ended: Some(ended), .. } => {
            let Ok(ended) = concluded.apply(ended.clone().change(), now, policy) else {
                return Ok(Some(concluded));
            };
            tx.update_promotion(ended.clone(), "")?;
            return Ok(Some(ended));
        }
        _ => {}
    }
    Ok(Some(concluded))
}

/// Counts and logs what became of a promotion, each thing once.
pub(super) fn report(context: &Context, promotion: &Promotion) {
    let Promotion { id, pipeline, to, version, .. } = promotion;
    let strategy = promotion.strategy.map_or("none", StrategyKind::as_str);
    let outcome = match &promotion.state {
        State::Done(detail) => {
            context.metrics.phase(
                pipeline,
                to,
                Phase::Total,
                since(promotion.created_at, promotion.updated_at),
            );
            tracing::info!(promotion = %id, %pipeline, environment = %to, %version, commit = detail.commit, branch = detail.branch, "promotion done: {}", detail.message);
            PromotionOutcome::Done
        }
        State::PullRequestOpen { pull, incomplete, .. } => {
            tracing::info!(promotion = %id, %pipeline, environment = %to, %version, url = pull.url, branch = pull.branch, commit = pull.commit, "the pull request is open");
            if let Some(failure) = incomplete {
                tracing::warn!(promotion = %id, %pipeline, environment = %to, reason = %failure.reason, "the pull request is not as the pipeline asks: {}", failure.message);
            }
            PromotionOutcome::PullRequestOpen
        }
        State::Merged { pull, commit, at } => {
            context.metrics.phase(pipeline, to, Phase::Merge, since(pull.opened_at, *at));
            context.metrics.phase(pipeline, to, Phase::Total, since(promotion.created_at, *at));
            tracing::info!(promotion = %id, %pipeline, environment = %to, %version, url = pull.url, commit, "the pull request was merged");
            PromotionOutcome::Merged
        }
        State::Closed { pull } => {
            tracing::info!(promotion = %id, %pipeline, environment = %to, %version, url = pull.url, "the pull request was closed without a merge");
            PromotionOutcome::Closed
        }
        State::Failed(failure) => {
            tracing::error!(promotion = %id, %pipeline, environment = %to, %version, reason = %failure.reason, "promotion failed: {}", failure.message);
            PromotionOutcome::Failed
        }
        State::Pending { next_attempt_at, last_error, .. } => {
            let (reason, message) = last_error
                .as_ref()
                .map_or(("", ""), |failure| (failure.reason.as_str(), failure.message.as_str()));
            tracing::warn!(promotion = %id, %pipeline, environment = %to, %version, reason, next = %next_attempt_at, "promotion will be tried again: {message}");
            PromotionOutcome::Retried
        }
        _ => return,
    };
    context.metrics.promotion_outcome(pipeline, to, strategy, outcome);
}

/// How long something took by the wall clock; a clock that was set back counts as nothing.
pub(super) fn since(start: Timestamp, end: Timestamp) -> Duration {
    Duration::try_from(end.duration_since(start)).unwrap_or_default()
}

/// The kind of the event stream's entry for a notification: the reason of the original's event.
const ANNOUNCEMENT: &str = "Promote";
/// Between two tries to store an outcome.
const STORE_PAUSE: Duration = Duration::from_secs(1);
