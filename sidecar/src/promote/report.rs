//! Counts and logs what became of a promotion, each thing once.

use std::time::Duration;

use jiff::Timestamp;
use lockgate_core::pipeline::StrategyKind;
use lockgate_core::promotion::{Promotion, State};

use super::Context;
use crate::metrics::{Phase, PromotionOutcome};

pub(super) fn report(context: &Context, promotion: &Promotion) {
    let Promotion { id, pipeline, to, version, .. } = promotion;
    let strategy = promotion.strategy.map_or("none", StrategyKind::as_str);
    let outcome = match &promotion.state {
        State::Done(detail) => {
            let took = since(promotion.created_at, promotion.updated_at);
            context.metrics.phase(pipeline, to, Phase::Total, took);
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
        State::Failed { failure, .. } => {
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
