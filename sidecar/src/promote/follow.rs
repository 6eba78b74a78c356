//! One look at an open pull request: merged, closed, or to be looked at again later.
//!
//! A look costs one request; where the forge has conditional ones, nothing but that. Its pauses
//! grow from `forge.poll.min` to `forge.poll.max` while nothing happens. A look that fails changes
//! nothing but the status and the pause: the pull request stays open until the forge says
//! otherwise.

use std::sync::Arc;

use jiff::Timestamp;
use lockgate_core::pipeline::PullRequest as Strategy;
use lockgate_core::promotion::{
    Change, Failure, FailureReason, Promotion, PromotionId, PullRequestRecord, State,
};
use lockgate_core::retry::later;
use lockgate_forge::Seen;

use super::attempt::{Context, Ended, Work, report, work_of};
use super::fault::Fault;
use super::forges::{self, Place};
use super::pull_request::off;
use crate::pipelines::Snapshot;
use crate::store::{Look, StoreError};

/// What a look found.
enum Found {
    Unchanged,
    Open {
        tag: Option<String>,
        /// Whether merging was switched on or off, and why it could not be.
        switched: Option<(bool, Option<Failure>)>,
    },
    Ended(Ended),
}

/// Looks once and writes down what it saw.
///
/// # Errors
/// What the store says; the look is repeated then.
pub(super) async fn run(context: Arc<Context>, id: PromotionId) -> Result<(), StoreError> {
    let Some((promotion, last)) = context.store.look(id).await? else { return Ok(()) };
    let State::PullRequestOpen { pull, .. } = &promotion.state else { return Ok(()) };
    let snapshot = context.catalog.snapshot();
    let found = look(&context, &snapshot, &promotion, pull, last.tag.as_deref()).await;
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
            Ok(Found::Ended(ended)) => ended.change(),
            Ok(Found::Open { switched: Some((on, refused)), .. }) => Change::Followed {
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

async fn look(
    context: &Arc<Context>,
    snapshot: &Snapshot,
    promotion: &Promotion,
    pull: &PullRequestRecord,
    tag: Option<&str>,
) -> Result<Found, Fault> {
    let strategy = strategy(snapshot, promotion)?;
    let place = forges::open(context, snapshot, promotion.pipeline.namespace(), &strategy)?;
    if place.repository.to_string() != pull.repository {
        let message = format!(
            "the pipeline names {} now, the pull request is in {}",
            place.repository, pull.repository
        );
        return Err(Fault::new(FailureReason::PipelineChanged, message));
    }
    // To switch merging on or off the whole pull request is needed.
    let to_switch = strategy.auto_merge != pull.auto_merge;
    match place.forge.look(pull.number, tag.filter(|_| !to_switch)).await? {
        Seen::Unchanged => Ok(Found::Unchanged),
        Seen::Changed { pull, tag } => match Ended::of(pull.state.clone()) {
            Some(ended) => Ok(Found::Ended(ended)),
            None => {
                let switched =
                    if to_switch { Some(switch(&place, &strategy, &pull).await) } else { None };
                Ok(Found::Open { tag, switched })
            }
        },
    }
}

/// Switches once for each change of the Pipeline: what a person switches on the forge afterwards
/// stays. What may work later is tried again by the next look.
async fn switch(
    place: &Place,
    strategy: &Strategy,
    pull: &lockgate_forge::PullRequest,
) -> (bool, Option<Failure>) {
    let on = strategy.auto_merge;
    if pull.auto_merge == Some(on) {
        return (on, None);
    }
    let set = place.forge.set_auto_merge(pull, on, strategy.merge_method).await;
    match if on { set } else { off(set) } {
        Ok(()) => (on, None),
        Err(error) => {
            let again = error.is_passing();
            (if again { !on } else { on }, Some(Fault::from(error).failure()))
        }
    }
}

fn strategy(snapshot: &Snapshot, promotion: &Promotion) -> Result<Strategy, Fault> {
    match work_of(snapshot, promotion) {
        Work::PullRequest(strategy) => Ok(*strategy),
        Work::Impossible(reason, message) => Err(Fault::new(reason, message)),
        Work::Git(_) | Work::Notification | Work::NotBuilt(_) => {
            let message = format!(
                "pipeline {} does not promote by pull request any more",
                promotion.pipeline
            );
            Err(Fault::new(FailureReason::PipelineChanged, message))
        }
    }
}

fn next(context: &Context, last: &Look, found: &Result<Found, Fault>, now: Timestamp) -> Look {
    let poll = context.settings.poll;
    let longer = last.pause.saturating_mul(2).clamp(poll.min, poll.max);
    let (pause, tag) = match found {
        Ok(Found::Unchanged) => (longer, last.tag.clone()),
        // A new tag: somebody is at work on it. Without tags that cannot be told.
        Ok(Found::Open { tag, switched: None }) if tag.is_some() && *tag != last.tag => {
            (poll.min, tag.clone())
        }
        Ok(Found::Open { tag, .. }) => (longer, tag.clone()),
        Ok(Found::Ended(_)) => (poll.max, None),
        Err(fault) if fault.reason.is_permanent() => (poll.max, None),
        Err(fault) => (longer.max(fault.retry_after.unwrap_or_default()), last.tag.clone()),
    };
    Look { at: later(now, pause), pause, tag }
}
