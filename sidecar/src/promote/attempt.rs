//! One attempt at one promotion: claim, carry out, conclude.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use lockgate_core::promotion::{Change, FailureReason, Promotion, PromotionId, State};

use super::Context;
use super::changes::differs;
use super::conclude::{self, Terms};
use super::plan::Plan;
use super::report::{report, since};
use crate::ledger::{Ask, LedgerError, PromotionFilter, Writes};
use crate::metrics::Phase;
use crate::pipelines::Snapshot;
use crate::strategy::{History, Outcome, Work};

/// How a task ended, for the choice of the next ones.
#[derive(Debug)]
pub(super) struct Ended {
    /// The host did not answer.
    pub(super) silent: bool,
    /// The Pipelines that it worked with. Newer ones may ask for more.
    pub(super) snapshot: Arc<Snapshot>,
}

/// Runs one attempt from claim to conclusion. Does nothing if the promotion is not pending any
/// more.
///
/// # Errors
/// `Stopped` once the ledger has ended. A conclusion is repeated until the ledger takes it.
pub(super) async fn run(
    context: Arc<Context>,
    promotion: Arc<Promotion>,
    first: bool,
) -> Result<Ended, LedgerError> {
    let snapshot = context.catalog.snapshot();
    if hold(&context, &snapshot, &promotion).await? {
        return Ok(Ended { silent: false, snapshot });
    }
    if let State::Pending { attempts: 0, .. } = promotion.state {
        let waited = since(promotion.taken_up_at, Timestamp::now());
        context.metrics.phase(&promotion.pipeline, &promotion.to, Phase::Queue, waited);
    }
    let outcome = {
        let work = carry_out(&context, &snapshot, &promotion, first);
        tokio::pin!(work);
        tokio::select! {
            outcome = &mut work => outcome,
            () = tokio::time::sleep(CLAIM) => {
                claim(&context, &promotion).await?;
                work.await
            }
        }
    };
    let silent = matches!(
        &outcome,
        Outcome::Passing { failure, .. }
            if matches!(failure.reason, FailureReason::TimedOut | FailureReason::Unreachable)
    );
    let outdated = differs(&snapshot, &context.catalog.snapshot(), &promotion);
    if let Some(concluded) = conclude_for_sure(&context, &promotion, outcome, outdated).await? {
        report(&context, &concluded);
    }
    Ok(Ended { silent, snapshot })
}

/// Gives a promotion back to people if its Pipeline asks for their approval now. True if so.
async fn hold(
    context: &Context,
    snapshot: &Snapshot,
    promotion: &Promotion,
) -> Result<bool, LedgerError> {
    let Promotion { id, pipeline, to, approved_by, .. } = promotion;
    if approved_by.is_some() || !Plan::is_manual(snapshot, pipeline, to) {
        return Ok(false);
    }
    let (policy, now) = (context.settings.retry, Timestamp::now());
    let why = "the Pipeline asks for an approval now";
    context
        .ledger
        .change(pipeline, *id, why, move |promotion| {
            promotion.apply(Change::Held, now, &policy).ok()
        })
        .await?;
    tracing::info!(promotion = %id, %pipeline, environment = %to, "promotion waits: {why}");
    Ok(true)
}

/// Writes the claim of an attempt that takes longer than a moment. Where a newer promotion took its
/// place, the conclusion will find that out.
async fn claim(context: &Context, promotion: &Promotion) -> Result<(), LedgerError> {
    let (policy, owner, now) = (context.settings.retry, context.owner, Timestamp::now());
    let claimed = context.ledger.change(&promotion.pipeline, promotion.id, "", move |promotion| {
        promotion.apply(Change::Attempted { owner }, now, &policy).ok()
    });
    match claimed.await {
        Err(LedgerError::Stopped) => Err(LedgerError::Stopped),
        Err(error) => {
            // The work goes on: its outcome is written, or written again and again.
            context.trouble.failed(Instant::now());
            tracing::debug!(promotion = %promotion.id, %error, "a claim could not be written");
            Ok(())
        }
        Ok(_) => Ok(()),
    }
}

/// Carries out what the Pipeline says now, not what it said when the promotion began.
async fn carry_out(
    context: &Context,
    snapshot: &Snapshot,
    promotion: &Promotion,
    first: bool,
) -> Outcome {
    match Plan::of(snapshot, promotion).order(promotion, first) {
        Ok(order) => {
            let incomplete = order.incomplete;
            let history = match order.work {
                Work::PullRequest { .. } | Work::Git { .. } => history(context, promotion).await,
                Work::Notification => History::Known,
            };
            context.executor.carry_out(order.with(history, incomplete)).await
        }
        // It waits until this version can, or the Pipeline says otherwise.
        Err(failure) if failure.reason == FailureReason::UnsupportedStrategy => {
            Outcome::Passing { failure, retry_after: None }
        }
        Err(failure) => Outcome::of(failure),
    }
}

/// Whether anything was ever brought to the destination. A later version in its files is not
/// replaced by the very first promotion, which may come from a lagging cluster after a lost data
/// folder. Where the ledger does not answer, nothing is refused for want of history.
async fn history(context: &Context, promotion: &Promotion) -> History {
    let filter = PromotionFilter {
        namespace: Some(promotion.pipeline.namespace().to_owned()),
        pipeline: Some(promotion.pipeline.name().to_owned()),
        environment: Some(promotion.to.clone()),
        ..PromotionFilter::default()
    };
    let Ok(page) = context.ledger.promotions(filter).await else { return History::Known };
    let reached = |other: &Arc<Promotion>| {
        other.id != promotion.id
            && other.target == promotion.target
            && matches!(
                other.state,
                State::Done(_)
                    | State::Merged { .. }
                    | State::Closed { .. }
                    | State::PullRequestOpen { .. }
                    | State::Superseded { .. }
            )
    };
    if page.items.iter().any(reached) { History::Known } else { History::None }
}

/// Writes the outcome, again and again while the ledger is in trouble: what was done outside must
/// not be forgotten. Meanwhile nothing else begins.
async fn conclude_for_sure(
    context: &Context,
    promotion: &Promotion,
    outcome: Outcome,
    outdated: bool,
) -> Result<Option<Arc<Promotion>>, LedgerError> {
    let id = promotion.id;
    let outcome = Arc::new(outcome);
    loop {
        let terms = Terms {
            owner: context.owner,
            policy: context.settings.retry,
            first_poll: context.settings.poll.min,
            outdated,
            now: Timestamp::now(),
        };
        match step(context, promotion, id, Arc::clone(&outcome), terms).await {
            Ok(concluded) => {
                context.trouble.is_over();
                return Ok(concluded);
            }
            Err(LedgerError::Stopped) => return Err(LedgerError::Stopped),
            Err(error) => {
                let pause = context.trouble.failed(Instant::now());
                tracing::debug!(promotion = %id, %error, "an outcome could not be written, trying again");
                tokio::time::sleep(pause).await;
            }
        }
    }
}

async fn step(
    context: &Context,
    promotion: &Promotion,
    id: PromotionId,
    outcome: Arc<Outcome>,
    terms: Terms,
) -> Result<Option<Arc<Promotion>>, LedgerError> {
    let ask = Ask::promotions(&promotion.pipeline, vec![id]);
    context
        .ledger
        .decide(ask, move |excerpt| {
            let concluded = excerpt.promotion(id).and_then(|before| {
                let (after, announcement) = conclude::conclude(before, &outcome, &terms)?;
                Some((before, after, announcement))
            });
            match concluded {
                None => (Writes::soon(), None),
                Some((before, after, announcement)) => {
                    let shown = Arc::new(after.clone());
                    (conclude::writes(before, after, announcement), Some(shown))
                }
            }
        })
        .await
}

/// An attempt that takes longer writes its claim.
pub(super) const CLAIM: Duration = Duration::from_millis(50);
