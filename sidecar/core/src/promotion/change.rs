//! What can happen to a promotion.

use core::time::Duration;

use jiff::Timestamp;

use super::{DoneDetail, Failure, Owner, Poll, PromotionId, PullRequestRecord, Seen};

/// Something that happens to a promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A worker begins an attempt: Pending → Running.
    Attempted {
        /// The worker's process.
        owner: Owner,
    },
    /// The attempt brought a result: Running → `PullRequestOpen` or Done. If a newer promotion came
    /// meanwhile, the pull request that it opened is to be cleaned up.
    Succeeded(Success),
    /// The attempt failed with an error that may pass: Running → Pending, or Failed once patience
    /// is used up.
    FailedPassing {
        /// What went wrong.
        failure: Failure,
        /// What the peer asked for. At most an hour of it counts.
        retry_after: Option<Duration>,
    },
    /// The attempt failed for good, or the pull request is gone: Running, Pending or
    /// `PullRequestOpen` → Failed.
    FailedPermanent {
        /// What went wrong.
        failure: Failure,
        /// The branches that the attempt saw.
        seen: Option<Seen>,
    },
    /// The attempt failed for good, but its Pipeline or Secret has changed since it began: Running
    /// → Pending, due now. The attempt does not count.
    Outdated {
        /// What went wrong with the old ones.
        failure: Failure,
    },
    /// What it depends on has changed: Pending stays, due now, with new patience.
    DueNow,
    /// The Pipeline asks for an approval now: Pending → `WaitingApproval`.
    Held,
    /// The Pipeline does not ask for an approval any more: `WaitingApproval` → Pending.
    Released,
    /// The Pipeline is gone: any unfinished state, or Failed for another reason → Failed.
    PipelineDeleted {
        /// Says so.
        failure: Failure,
    },
    /// The repository was looked at after a failure that had not come so far: Failed stays, and is
    /// compared with this from now on.
    Looked {
        /// The branches.
        seen: Seen,
    },
    /// A poll found the pull request open, or could not find out: `PullRequestOpen` stays, with
    /// what is known now.
    Followed {
        /// The pull request.
        pull: PullRequestRecord,
        /// What was asked for beside it and cannot be had.
        incomplete: Option<Failure>,
        /// Why nobody knows whether it was merged.
        unfollowed: Option<Failure>,
        /// When it is polled next.
        poll: Poll,
    },
    /// The pull request was merged: `PullRequestOpen` → Merged, also of a superseded promotion
    /// whose pull request is not cleaned up yet.
    Merged {
        /// The commit on the base branch, where the forge tells it.
        commit: Option<String>,
        /// When, where the forge tells it.
        at: Option<Timestamp>,
    },
    /// The pull request was closed without a merge.
    Closed,
    /// A newer promotion takes its place: any unfinished state → Superseded.
    Superseded {
        /// The newer one.
        by: PromotionId,
    },
    /// The superseded promotion's pull request will not merge by itself any more.
    Disarmed,
    /// Nothing is left to do about the superseded promotion's pull request.
    CleanedUp,
    /// What made it fail may be gone: Failed → Pending.
    TakenUpAgain,
    /// A person approved: `WaitingApproval` → Pending.
    Approved {
        /// Who.
        by: String,
    },
    /// A person said no: `WaitingApproval` → Rejected.
    Rejected,
    /// The process that ran it has died: Running → Pending. The attempt counts.
    Recovered,
    /// The process stops and gives it back: Running → Pending. The attempt does not count.
    Parked,
}

impl Change {
    /// The change's name, in PascalCase.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Attempted { .. } => "Attempted",
            Self::Succeeded(_) => "Succeeded",
            Self::FailedPassing { .. } => "FailedPassing",
            Self::FailedPermanent { .. } => "FailedPermanent",
            Self::Outdated { .. } => "Outdated",
            Self::DueNow => "DueNow",
            Self::Held => "Held",
            Self::Released => "Released",
            Self::PipelineDeleted { .. } => "PipelineDeleted",
            Self::Looked { .. } => "Looked",
            Self::Followed { .. } => "Followed",
            Self::Merged { .. } => "Merged",
            Self::Closed => "Closed",
            Self::Superseded { .. } => "Superseded",
            Self::Disarmed => "Disarmed",
            Self::CleanedUp => "CleanedUp",
            Self::TakenUpAgain => "TakenUpAgain",
            Self::Approved { .. } => "Approved",
            Self::Rejected => "Rejected",
            Self::Recovered => "Recovered",
            Self::Parked => "Parked",
        }
    }
}

/// What a good attempt brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Success {
    /// There is a pull request now.
    PullRequestOpen {
        /// It.
        pull: PullRequestRecord,
        /// What was asked for beside it and cannot be had.
        incomplete: Option<Failure>,
        /// When it is polled first.
        poll: Poll,
    },
    /// There is nothing to wait for.
    Done(DoneDetail),
}

/// A change that is not possible in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a promotion that is {state} cannot be {change}")]
pub struct TransitionError {
    /// The state's name.
    pub state: &'static str,
    /// The change's name.
    pub change: &'static str,
}

impl TransitionError {
    /// The error's name for metrics and conditions.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        "ImpossibleTransition"
    }
}
