//! The pull request of a promotion that a newer one has overtaken: it is looked at once, because a
//! person may have merged it, and does not merge by itself any more. The newer promotion takes it
//! over; where that one ends without a pull request, it is closed with the reason.
//!
//! Example: 1.3.0 turns out bad in dev and is rolled back to 1.2.0. The promotion of 1.2.0 finds
//! "already there", and without this the pull request for 1.3.0 would still merge by itself.

use std::sync::Arc;

use jiff::Timestamp;
use lockgate_core::promotion::{Change, Cleanup, Promotion, PromotionId, State};

use super::Context;
use super::attempt::Ended;
use super::plan::Plan;
use super::report::report;
use crate::ledger::LedgerError;
use crate::strategy::{self, Fault, Retired};

/// What the newer promotion means for the older one's pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Newer {
    /// It may still take the pull request over.
    Unfinished,
    /// It has it.
    TookOver,
    /// It ended without one.
    Ended { version: String, state: &'static str },
}

/// Takes the next step of a clean-up.
///
/// # Errors
/// What the ledger says; the step is repeated then.
pub(super) async fn run(
    context: Arc<Context>,
    promotion: Arc<Promotion>,
) -> Result<Ended, LedgerError> {
    let snapshot = context.catalog.snapshot();
    let ended = Ended { silent: false, snapshot: Arc::clone(&snapshot) };
    let State::Superseded { by, cleanup } = &promotion.state else { return Ok(ended) };
    let (Cleanup::Due { pull } | Cleanup::Disarmed { pull }) = cleanup else { return Ok(ended) };
    let newer = newer(&context, *by, pull.number).await?;
    let plan = Plan::of(&snapshot, &promotion);
    let change = match (cleanup, newer, plan.order(&promotion, false)) {
        (_, Newer::TookOver, _) => Some(Change::CleanedUp),
        (_, _, Err(failure)) => {
            tracing::info!(promotion = %promotion.id, pipeline = %promotion.pipeline, url = pull.url, reason = %failure.reason, "an overtaken pull request is left as it is: {}", failure.message);
            Some(Change::CleanedUp)
        }
        (Cleanup::Due { .. }, _, Ok(order)) => match context.executor.disarm(&order, pull).await {
            Ok(Retired::Done) => Some(Change::Disarmed),
            Ok(Retired::Ended(strategy::Ended::Merged { commit, at })) => {
                Some(Change::Merged { commit, at })
            }
            Ok(Retired::Ended(_) | Retired::TakenOver) => Some(Change::CleanedUp),
            Err(fault) => given_up(&promotion, &fault),
        },
        (_, Newer::Ended { version, state }, Ok(order)) => {
            let reason = format!(
                "Lockgate closed this: {version} came after it, and that promotion is {state}. \
                 Reopen it if you want it all the same."
            );
            match context.executor.retire(&order, pull, &reason).await {
                Ok(Retired::Ended(strategy::Ended::Merged { commit, at })) => {
                    Some(Change::Merged { commit, at })
                }
                Ok(Retired::Done | Retired::TakenOver | Retired::Ended(_)) => {
                    Some(Change::CleanedUp)
                }
                Err(fault) => given_up(&promotion, &fault),
            }
        }
        (_, Newer::Unfinished, Ok(_)) => None,
    };
    if let Some(change) = change {
        let (policy, now) = (context.settings.retry, Timestamp::now());
        let written =
            context.ledger.change(&promotion.pipeline, promotion.id, "", move |current| {
                current.apply(change.clone(), now, &policy).ok()
            });
        if let Some((_, after)) = written.await?
            && let State::Merged { .. } = after.state
        {
            report(&context, &after);
        }
    }
    Ok(ended)
}

/// A fault that may pass is tried again; after any other the pull request is left to people.
fn given_up(promotion: &Promotion, fault: &Fault) -> Option<Change> {
    tracing::warn!(promotion = %promotion.id, pipeline = %promotion.pipeline, reason = %fault.reason, "an overtaken pull request could not be cleaned up: {}", fault.message);
    fault.reason.is_permanent().then_some(Change::CleanedUp)
}

/// How the newest promotion of the chain stands. One that is not kept any more has ended.
async fn newer(context: &Context, by: PromotionId, number: u64) -> Result<Newer, LedgerError> {
    let mut next = by;
    for _ in 0..CHAIN {
        let Some(promotion) = context.ledger.promotion(next).await? else { break };
        match &promotion.state {
            State::Superseded { by, .. } => next = *by,
            state if state.pull_request().is_some_and(|pull| pull.number == number) => {
                return Ok(Newer::TookOver);
            }
            State::WaitingApproval | State::Pending { .. } | State::Running { .. } => {
                return Ok(Newer::Unfinished);
            }
            state => {
                let version = promotion.version.to_string();
                return Ok(Newer::Ended { version, state: state.name() });
            }
        }
    }
    Ok(Newer::Ended { version: "a newer version".to_owned(), state: "Done" })
}

/// Promotions that may have overtaken each other before one is not followed any further.
const CHAIN: usize = 100;
