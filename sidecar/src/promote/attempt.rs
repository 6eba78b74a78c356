//! One attempt at one promotion: claim, carry out, conclude.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lockgate_core::pipeline::{Strategy, StrategyKind};
use lockgate_core::promotion::{Change, DoneDetail, Failure, FailureReason, Promotion, PromotionId, State, Success};
use lockgate_core::retry::RetryPolicy;

use super::notification::Notifier;
use super::{Settings, git, notification};
use crate::metrics::{Metrics, Phase, PromotionOutcome};
use crate::pipelines::{Catalog, Snapshot};
use crate::store::{Entry, Store, StoreError, Tx};

/// What every attempt works with.
pub(super) struct Context {
    pub(super) catalog: Catalog,
    pub(super) store: Store,
    pub(super) settings: Settings,
    pub(super) metrics: Metrics,
    /// Notification-controller, if one is configured; the error is why it cannot be told anything.
    pub(super) notifier: Result<Option<Notifier>, String>,
    pub(super) mirrors: git::Mirrors,
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nothing is left to do.
    Done {
        detail: DoneDetail,
        /// An entry for the event stream beside the one of the state.
        announce: Option<String>,
    },
    /// Trying again may help.
    Passing { failure: Failure, retry_after: Option<Duration> },
    /// Trying again cannot help before something changes; `base` is the tip of the base branch, where it was seen.
    Permanent { failure: Failure, base: Option<String> },
}

impl Outcome {
    /// Sorts a failure by its reason.
    pub(super) fn failed(reason: FailureReason, message: impl Into<String>) -> Self {
        let failure = Failure { reason, message: message.into() };
        if reason.is_permanent() { Self::Permanent { failure, base: None } } else { Self::Passing { failure, retry_after: None } }
    }
}

/// Runs one attempt from claim to conclusion. Does nothing if the promotion is not pending any more.
///
/// # Errors
/// The claim's only: nothing has been done then. A conclusion is repeated until the store takes it.
pub(super) async fn run(context: Arc<Context>, id: PromotionId) -> Result<(), StoreError> {
    let policy = context.settings.retry;
    let now = Timestamp::now();
    let Some((before, claimed)) = context.store.transaction(move |tx| claim(tx, id, now, &policy)).await? else {
        return Ok(());
    };
    if let State::Pending { attempts: 0, .. } = before.state {
        context.metrics.phase(&claimed.pipeline, &claimed.to, Phase::Queue, since(before.taken_up_at, now));
    }
    // Untouched since it was made, so no earlier attempt can have left anything outside.
    let first = before.updated_at == before.created_at;
    let outcome = carry_out(&context, &claimed, first).await;
    let strategy = claimed.strategy.map_or("none", StrategyKind::as_str);
    let Some(concluded) = conclude_for_sure(&context, id, outcome).await else { return Ok(()) };
    report(&context, &concluded, strategy);
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

/// Chooses the strategy by what the Pipeline says now, not by what it said when the promotion began.
async fn carry_out(context: &Arc<Context>, promotion: &Promotion, first: bool) -> Outcome {
    let snapshot = context.catalog.snapshot();
    match work_of(&snapshot, promotion) {
        Work::Git(strategy) => {
            let started = Instant::now();
            let outcome = git::carry_out(context, &snapshot, promotion, strategy, first).await;
            context.metrics.phase(&promotion.pipeline, &promotion.to, Phase::Git, started.elapsed());
            outcome
        }
        Work::Notification => match &context.notifier {
            Ok(notifier) => notification::carry_out(notifier.as_ref(), promotion, Timestamp::now()).await,
            Err(message) => Outcome::failed(FailureReason::Internal, message),
        },
        Work::NotBuilt(kind) => Outcome::Passing {
            failure: Failure { reason: FailureReason::UnsupportedStrategy, message: format!("strategy {kind} is not built yet") },
            retry_after: None,
        },
        Work::Impossible(reason, message) => Outcome::failed(reason, message),
    }
}

/// What a promotion asks for, by the Pipeline of a snapshot.
pub(super) enum Work {
    Git(lockgate_core::pipeline::GitStrategy),
    Notification,
    NotBuilt(StrategyKind),
    Impossible(FailureReason, String),
}

pub(super) fn work_of(snapshot: &Snapshot, promotion: &Promotion) -> Work {
    work_into(snapshot, &promotion.pipeline, &promotion.to)
}

pub(super) fn work_into(snapshot: &Snapshot, key: &lockgate_core::endpoint::PipelineKey, environment: &str) -> Work {
    let Some(pipeline) = snapshot.pipeline(key) else {
        return Work::Impossible(FailureReason::PipelineChanged, format!("pipeline {key} does not exist any more"));
    };
    if pipeline.environment(environment).is_none() {
        return Work::Impossible(
            FailureReason::PipelineChanged,
            format!("pipeline {key} has no environment {environment} any more"),
        );
    }
    match pipeline.promotion_into(environment).strategy {
        Some(Strategy::Git(strategy)) => Work::Git(strategy),
        Some(Strategy::Notification) => Work::Notification,
        Some(other @ (Strategy::PullRequest(_) | Strategy::Webhook(_))) => Work::NotBuilt(other.kind()),
        None => Work::Impossible(FailureReason::NoStrategy, format!("pipeline {key} has no promotion strategy for {environment}")),
    }
}

/// Writes the outcome, again and again while the store is in trouble: what was done outside must not be forgotten. Gives up when the store has ended for good; the next start repeats the attempt then.
async fn conclude_for_sure(context: &Context, id: PromotionId, outcome: Outcome) -> Option<Promotion> {
    let policy = context.settings.retry;
    let outcome = Arc::new(outcome);
    loop {
        let shared = Arc::clone(&outcome);
        match context.store.transaction(move |tx| conclude(tx, id, &shared, Timestamp::now(), &policy)).await {
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
) -> Result<Option<Promotion>, StoreError> {
    let Some(running) = tx.promotion(id)? else { return Ok(None) };
    let change = match outcome {
        Outcome::Done { detail, .. } => Change::Succeeded(Success::Done(detail.clone())),
        Outcome::Passing { failure, retry_after } => Change::FailedPassing { failure: failure.clone(), retry_after: *retry_after },
        Outcome::Permanent { failure, .. } => Change::FailedPermanent(failure.clone()),
    };
    // Superseded while it ran: the newer one goes on from here, nothing to write.
    let Ok(concluded) = running.apply(change, now, policy) else { return Ok(None) };
    match outcome {
        Outcome::Done { announce: Some(message), .. } => tx.append(&Entry::of(&concluded, now, ANNOUNCEMENT, message))?,
        Outcome::Permanent { base: Some(base), .. } => tx.record_base(id, base)?,
        _ => {}
    }
    tx.update_promotion(concluded.clone(), "")?;
    Ok(Some(concluded))
}

fn report(context: &Context, promotion: &Promotion, strategy: &'static str) {
    let Promotion { id, pipeline, to, version, .. } = promotion;
    let outcome = match &promotion.state {
        State::Done(detail) => {
            context.metrics.phase(pipeline, to, Phase::Total, since(promotion.created_at, promotion.updated_at));
            tracing::info!(promotion = %id, %pipeline, environment = %to, %version, commit = detail.commit, branch = detail.branch, "promotion done: {}", detail.message);
            PromotionOutcome::Done
        }
        State::Failed(failure) => {
            tracing::error!(promotion = %id, %pipeline, environment = %to, %version, reason = %failure.reason, "promotion failed: {}", failure.message);
            PromotionOutcome::Failed
        }
        State::Pending { next_attempt_at, last_error, .. } => {
            let (reason, message) =
                last_error.as_ref().map_or(("", ""), |failure| (failure.reason.as_str(), failure.message.as_str()));
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
