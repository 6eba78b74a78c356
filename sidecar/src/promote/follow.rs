//! One look at an open pull request: merged, closed, or to be looked at again later.
//!
//! A look costs one request; where the forge has conditional ones, nothing but that. Its pauses
//! grow from `forge.poll.min` to `forge.poll.max` while nothing happens. A look that fails changes
//! nothing but the status and the pause: the pull request stays open until the forge says
//! otherwise.

use std::sync::Arc;

use jiff::Timestamp;
use lockgate_core::promotion::{Change, PromotionId, PullRequestRecord, State};
use lockgate_core::retry::later;

use super::attempt::{Context, report};
use super::plan::Plan;
use crate::store::{Look, StoreError};
use crate::strategy::{Fault, Polled, Switched};

/// Looks once and writes down what it saw.
///
/// # Errors
/// What the store says; the look is repeated then.
pub(super) async fn run(context: Arc<Context>, id: PromotionId) -> Result<(), StoreError> {
    let Some((promotion, last)) = context.store.look(id).await? else { return Ok(()) };
    let State::PullRequestOpen { pull, .. } = &promotion.state else { return Ok(()) };
    let plan = Plan::of(&context.catalog.snapshot(), &promotion);
    let found = match plan.order(&promotion, false) {
        Ok(order) => context.executor.poll(&order, pull, last.tag.as_deref()).await,
        Err(failure) => Err(Fault::new(failure.reason, failure.message)),
    };
    let now = Timestamp::now();
    let next = next(&context, &last, &found, now);
    let (policy, seen) = (context.settings.retry, pull.clone());
    let written = context.store.transaction(move |tx| {
        let Some(current) = tx.promotion(id)? else { return Ok(None) };
        let State::PullRequestOpen { pull, incomplete, unfollowed } = current.state.clone() else {
            return Ok(None);
        };
        if pull.number != seen.number {
            return Ok(None);
        }
        let change = match found {
            Ok(Polled::Ended(ended)) => ended.change(),
            Ok(Polled::Open { switched: Some(Switched { on, refused }), .. }) => Change::Followed {
                pull: PullRequestRecord { auto_merge: on, ..pull },
                incomplete: refused,
                unfollowed: None,
            },
            Ok(_) => Change::Followed { pull, incomplete, unfollowed: None },
            Err(fault) => Change::Followed { pull, incomplete, unfollowed: Some(fault.failure()) },
        };
        let Ok(changed) = current.apply(change, now, &policy) else { return Ok(None) };
        tx.schedule_look(id, &next)?;
        if changed.state == current.state {
            return Ok(None);
        }
        let cleared = unfollowed.is_some() && changed.state.name() == current.state.name();
        tx.update_promotion(changed.clone(), if cleared { "followed again" } else { "" })?;
        Ok(Some(changed))
    });
    let Some(changed) = written.await? else { return Ok(()) };
    match &changed.state {
        State::PullRequestOpen { unfollowed: Some(failure), .. } => {
            tracing::warn!(promotion = %id, pipeline = %changed.pipeline, environment = %changed.to, reason = %failure.reason, "the pull request cannot be followed: {}", failure.message);
        }
        State::PullRequestOpen { incomplete: Some(failure), .. } => {
            tracing::warn!(promotion = %id, pipeline = %changed.pipeline, environment = %changed.to, reason = %failure.reason, "the pull request is not as the pipeline asks: {}", failure.message);
        }
        State::PullRequestOpen { .. } => {
            tracing::info!(promotion = %id, pipeline = %changed.pipeline, environment = %changed.to, "the pull request is followed");
        }
        _ => report(&context, &changed),
    }
    Ok(())
}

fn next(context: &Context, last: &Look, found: &Result<Polled, Fault>, now: Timestamp) -> Look {
    let poll = context.settings.poll;
    let longer = last.pause.saturating_mul(2).clamp(poll.min, poll.max);
    let (pause, tag) = match found {
        Ok(Polled::Unchanged) => (longer, last.tag.clone()),
        // A new tag: somebody is at work on it. Without tags that cannot be told.
        Ok(Polled::Open { tag, switched: None }) if tag.is_some() && *tag != last.tag => {
            (poll.min, tag.clone())
        }
        Ok(Polled::Open { tag, .. }) => (longer, tag.clone()),
        Ok(Polled::Ended(_)) => (poll.max, None),
        Err(fault) if fault.reason.is_permanent() => (poll.max, None),
        Err(fault) => (longer.max(fault.retry_after.unwrap_or_default()), last.tag.clone()),
    };
    Look { at: later(now, pause), pause, tag }
}
