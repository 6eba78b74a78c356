//! One attempt at one promotion: claim, carry out, conclude.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockgate_core::pipeline::{GitStrategy, PullRequest, Strategy, StrategyKind};
use lockgate_core::promotion::{
    Change, DoneDetail, Failure, FailureReason, Promotion, PromotionId, PullRequestRecord, State,
    Success,
};
use lockgate_core::retry::{RetryPolicy, later};
use lockgate_edge::endpoint::PipelineKey;

use super::fault::Fault;
use super::forges::Forges;
use super::notification::Notifier;
use super::repository::{Job, Mirrors, Site};
use super::{Settings, git, notification, pull_request};
use crate::metrics::{Metrics, Phase, PromotionOutcome};
use crate::pipelines::{Catalog, Snapshot};
use crate::store::{Entry, Look, Store, StoreError, Tx};

/// What every attempt works with.
pub(super) struct Context {
    pub(super) catalog: Catalog,
    pub(super) store: Store,
    pub(super) settings: Settings,
    pub(super) metrics: Metrics,
    /// Notification-controller, if one is configured; the error is why it cannot be told anything.
    pub(super) notifier: Result<Option<Notifier>, String>,
    pub(super) mirrors: Mirrors,
    pub(super) forges: Forges,
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
    /// There is a pull request.
    PullRequest {
        pull: PullRequestRecord,
        /// What was asked for beside it and cannot be had.
        incomplete: Option<Failure>,
        /// A person was quicker: it is not open any more.
        ended: Option<Ended>,
    },
    /// Trying again may help.
    Passing { failure: Failure, retry_after: Option<Duration> },
    /// Trying again cannot help before something changes; `base` is the tip of the base branch,
    /// where it was seen.
    Permanent { failure: Failure, base: Option<String> },
}

/// How a pull request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Merged { commit: Option<String>, at: Option<Timestamp> },
    Closed,
}

impl Ended {
    /// `None` while it is open.
    pub(super) fn of(state: lockgate_forge::State) -> Option<Self> {
        match state {
            lockgate_forge::State::Open => None,
            lockgate_forge::State::Merged { commit, at } => Some(Self::Merged { commit, at }),
            lockgate_forge::State::Closed => Some(Self::Closed),
        }
    }

    pub(super) fn change(self) -> Change {
        match self {
            Self::Merged { commit, at } => Change::Merged { commit, at },
            Self::Closed => Change::Closed,
        }
    }
}

impl Outcome {
    /// Sorts a failure by its reason.
    pub(super) fn failed(reason: FailureReason, message: impl Into<String>) -> Self {
        let failure = Failure { reason, message: message.into() };
        if reason.is_permanent() {
            Self::Permanent { failure, base: None }
        } else {
            Self::Passing { failure, retry_after: None }
        }
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

/// Chooses the strategy by what the Pipeline says now, not by what it said when the promotion
/// began.
async fn carry_out(context: &Arc<Context>, promotion: &Promotion, first: bool) -> Outcome {
    let snapshot = context.catalog.snapshot();
    match work_of(&snapshot, promotion) {
        Work::PullRequest(strategy) => {
            pull_request::carry_out(context, &snapshot, promotion, *strategy, first).await
        }
        Work::Git(strategy) => {
            git::carry_out(context, &snapshot, promotion, &strategy, first).await
        }
        Work::Notification => match &context.notifier {
            Ok(notifier) => {
                notification::carry_out(notifier.as_ref(), promotion, Timestamp::now()).await
            }
            Err(message) => Outcome::failed(FailureReason::Internal, message),
        },
        Work::NotBuilt(kind) => Outcome::Passing {
            failure: Failure {
                reason: FailureReason::UnsupportedStrategy,
                message: format!("strategy {kind} is not built yet"),
            },
            retry_after: None,
        },
        Work::Impossible(reason, message) => Outcome::failed(reason, message),
    }
}

/// What a promotion asks for, by the Pipeline of a snapshot.
pub(super) enum Work {
    PullRequest(Box<PullRequest>),
    Git(GitStrategy),
    Notification,
    NotBuilt(StrategyKind),
    Impossible(FailureReason, String),
}

impl Work {
    /// The repository that it writes to.
    pub(super) fn site(&self) -> Option<Site> {
        match self {
            Self::PullRequest(strategy) => Some(Site::from(strategy.as_ref())),
            Self::Git(strategy) => Some(Site::from(strategy)),
            Self::Notification | Self::NotBuilt(_) | Self::Impossible(..) => None,
        }
    }
}

/// Whether the base branch of a promotion's repository has another tip than `seen`.
pub(super) async fn base_moved(
    context: &Arc<Context>,
    snapshot: &Snapshot,
    promotion: &Promotion,
    work: &Work,
    seen: &str,
) -> Result<bool, Fault> {
    match work {
        Work::PullRequest(strategy) => {
            pull_request::base_moved(context, snapshot, promotion, strategy, seen).await
        }
        Work::Git(strategy) => {
            Job::new(context, snapshot, promotion, Site::from(strategy), false)?
                .base_moved(seen)
                .await
        }
        Work::Notification | Work::NotBuilt(_) | Work::Impossible(..) => Ok(false),
    }
}

pub(super) fn work_of(snapshot: &Snapshot, promotion: &Promotion) -> Work {
    work_into(snapshot, &promotion.pipeline, &promotion.to)
}

pub(super) fn work_into(snapshot: &Snapshot, key: &PipelineKey, environment: &str) -> Work {
    let Some(pipeline) = snapshot.pipeline(key) else {
        return Work::Impossible(
            FailureReason::PipelineChanged,
            format!("pipeline {key} does not exist any more"),
        );
    };
    if pipeline.environment(environment).is_none() {
        return Work::Impossible(
            FailureReason::PipelineChanged,
            format!("pipeline {key} has no environment {environment} any more"),
        );
    }
    match pipeline.promotion_into(environment).strategy {
        Some(Strategy::PullRequest(strategy)) => Work::PullRequest(strategy),
        Some(Strategy::Git(strategy)) => Work::Git(strategy),
        Some(Strategy::Notification) => Work::Notification,
        Some(other @ Strategy::Webhook(_)) => Work::NotBuilt(other.kind()),
        None => Work::Impossible(
            FailureReason::NoStrategy,
            format!("pipeline {key} has no promotion strategy for {environment}"),
        ),
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
        Outcome::Permanent { base: Some(base), .. } => tx.record_base(id, base)?,
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
