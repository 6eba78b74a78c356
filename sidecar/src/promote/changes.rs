//! What new Pipelines and Secrets mean for a promotion: pure.

use jiff::Timestamp;
use lockgate_core::promotion::{Change, Promotion, State};

use super::plan::{Plan, deleted};
use crate::pipelines::Snapshot;

/// Why a promotion changes without an attempt or an event.
#[derive(Clone, Copy, Debug)]
pub(super) enum Occasion<'a> {
    /// The process has started: what failed may have been repaired meanwhile.
    Start,
    /// There are new Pipelines or Secrets.
    Changed {
        /// Those before.
        before: &'a Snapshot,
    },
}

/// What the Pipelines of `after` ask of a promotion that nobody works on, with the message for the
/// event stream. `None` where nothing changes.
pub(super) fn asked(
    promotion: &Promotion,
    occasion: Occasion<'_>,
    after: &Snapshot,
    now: Timestamp,
) -> Option<(Change, &'static str)> {
    let Promotion { pipeline, to, state, .. } = promotion;
    // At a start the folder may not be mounted yet.
    if let (Occasion::Changed { .. }, Some(failure)) = (occasion, deleted(after, pipeline)) {
        let ended = state.failure().is_some_and(|known| known.reason == failure.reason)
            && matches!(state, State::Failed { .. });
        return (!ended).then_some((Change::PipelineDeleted { failure }, ""));
    }
    let changed = match occasion {
        Occasion::Start => true,
        Occasion::Changed { before } => differs(before, after, promotion),
    };
    let why = match occasion {
        Occasion::Start => "",
        Occasion::Changed { .. } => "its Pipeline or Secret has changed",
    };
    match state {
        State::WaitingApproval
            if after.pipeline(pipeline).is_some() && !Plan::is_manual(after, pipeline, to) =>
        {
            Some((Change::Released, "the Pipeline does not ask for an approval any more"))
        }
        State::Failed { .. } if changed && after.pipeline(pipeline).is_some() => {
            Some((Change::TakenUpAgain, why))
        }
        State::Pending { next_attempt_at, .. } if changed && *next_attempt_at > now => {
            // What ended the process twice waits also at a start.
            match (occasion, state) {
                (Occasion::Start, State::Pending { crashes: 2.., .. }) => None,
                _ => Some((Change::DueNow, why)),
            }
        }
        State::PullRequestOpen { pull, incomplete, unfollowed, poll }
            if matches!(occasion, Occasion::Changed { .. }) && changed && poll.at > now =>
        {
            let poll = lockgate_core::promotion::Poll { at: now, tag: None, ..poll.clone() };
            let (pull, incomplete) = (pull.clone(), incomplete.clone());
            let unfollowed = unfollowed.clone();
            Some((Change::Followed { pull, incomplete, unfollowed, poll }, ""))
        }
        _ => None,
    }
}

/// Whether what a promotion depends on is not the same in two snapshots.
pub(super) fn differs(before: &Snapshot, after: &Snapshot, promotion: &Promotion) -> bool {
    let key = &promotion.pipeline;
    before.pipeline(key).map(AsRef::as_ref) != after.pipeline(key).map(AsRef::as_ref) || {
        let name = Plan::of(after, promotion).secret_ref;
        name.is_some_and(|name| {
            before.secret(key.namespace(), &name) != after.secret(key.namespace(), &name)
        })
    }
}
