//! One poll of an open pull request: merged, closed, or to be polled again later.
//!
//! A poll costs one request; where the forge has conditional ones, nothing but that. Its pauses
//! grow from `forge.poll.min` to `forge.poll.max` while nothing happens. A poll that fails changes
//! nothing but the status and the pause: the pull request stays open until the forge says
//! otherwise.

use std::sync::Arc;

use jiff::Timestamp;
use lockgate_core::promotion::{Change, Poll, Promotion, State};
use lockgate_core::retry::{LONGEST_WISH, later};

use super::Context;
use super::attempt::Ended;
use super::plan::Plan;
use super::report::report;
use crate::ledger::LedgerError;
use crate::strategy::{Fault, Polled};

/// Polls once and writes down what it saw.
///
/// # Errors
/// What the ledger says; the poll is repeated then.
pub(super) async fn run(
    context: Arc<Context>,
    promotion: Arc<Promotion>,
) -> Result<Ended, LedgerError> {
    let snapshot = context.catalog.snapshot();
    let State::PullRequestOpen { pull, poll: last, .. } = &promotion.state else {
        return Ok(Ended { silent: false, snapshot });
    };
    let plan = Plan::of(&snapshot, &promotion);
    let found = match plan.order(&promotion, false) {
        Ok(order) => context.executor.poll(&order, pull, last.tag.as_deref()).await,
        Err(failure) => Err(Fault::new(failure.reason, failure.message)),
    };
    let now = Timestamp::now();
    let next = next(&context.settings.poll, last, &found, now);
    let (policy, number) = (context.settings.retry, pull.number);
    let unfollowed = matches!(&promotion.state, State::PullRequestOpen { unfollowed: Some(_), .. });
    let cleared = if unfollowed && found.is_ok() { "followed again" } else { "" };
    let found = Arc::new(found);
    let written = context
        .ledger
        .change(&promotion.pipeline, promotion.id, cleared, move |current| {
            let State::PullRequestOpen { pull, incomplete, .. } = &current.state else {
                return None;
            };
            if pull.number != number {
                return None;
            }
            let (pull, incomplete, poll) = (pull.clone(), incomplete.clone(), next.clone());
            let change = match found.as_ref() {
                Ok(Polled::Ended(ended)) => ended.clone().change(),
                Ok(Polled::Open { news: Some(news), .. }) => Change::Followed {
                    pull: news.pull.clone(),
                    incomplete: news.incomplete(incomplete),
                    unfollowed: None,
                    poll,
                },
                Ok(_) => Change::Followed { pull, incomplete, unfollowed: None, poll },
                Err(fault) => {
                    let unfollowed = Some(fault.failure());
                    Change::Followed { pull, incomplete, unfollowed, poll }
                }
            };
            current.apply(change, now, &policy).ok()
        })
        .await?;
    if let Some((before, after)) = written
        && before.updated_at != after.updated_at
    {
        tell(&context, &after);
    }
    Ok(Ended { silent: false, snapshot })
}

fn tell(context: &Context, promotion: &Promotion) {
    let Promotion { id, pipeline, to, .. } = promotion;
    match &promotion.state {
        State::PullRequestOpen { unfollowed: Some(failure), .. } => {
            tracing::warn!(promotion = %id, %pipeline, environment = %to, reason = %failure.reason, "the pull request cannot be followed: {}", failure.message);
        }
        State::PullRequestOpen { incomplete: Some(failure), .. } => {
            tracing::warn!(promotion = %id, %pipeline, environment = %to, reason = %failure.reason, "the pull request is not as the pipeline asks: {}", failure.message);
        }
        State::PullRequestOpen { .. } => {
            tracing::info!(promotion = %id, %pipeline, environment = %to, "the pull request is followed");
        }
        _ => report(context, promotion),
    }
}

fn next(pauses: &super::Poll, last: &Poll, found: &Result<Polled, Fault>, now: Timestamp) -> Poll {
    let longer = last.pause.saturating_mul(2).clamp(pauses.min, pauses.max);
    let (pause, tag) = match found {
        Ok(Polled::Unchanged) => (longer, last.tag.clone()),
        // A new tag: somebody is at work on it. Without tags that cannot be told.
        Ok(Polled::Open { tag, .. }) if tag.is_some() && *tag != last.tag => {
            (pauses.min, tag.clone())
        }
        Ok(Polled::Open { tag, .. }) => (longer, tag.clone()),
        Ok(Polled::Ended(_)) => (pauses.max, None),
        Err(fault) if fault.reason.is_permanent() => (pauses.max, None),
        Err(fault) => {
            let wish = fault.retry_after.unwrap_or_default().min(LONGEST_WISH);
            (longer.max(wish), last.tag.clone())
        }
    };
    Poll { at: later(now, pause), pause, tag }
}
