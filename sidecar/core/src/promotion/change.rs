//! What can happen to a promotion.

use core::time::Duration;

use jiff::Timestamp;

use super::{DoneDetail, Failure, PromotionId, PullRequestRecord};

/// Something that happens to a promotion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A worker begins an attempt: Pending → Running.
    Attempted,
    /// The attempt brought a result: Running → `PullRequestOpen` or Done.
    Succeeded(Success),
    /// The attempt failed with an error that may pass: Running → Pending, or Failed once patience
    /// is used up.
    FailedPassing {
        /// What went wrong.
        failure: Failure,
        /// What the peer asked for.
        retry_after: Option<Duration>,
    },
    /// The attempt failed for good: Running or Pending → Failed.
    FailedPermanent(Failure),
    /// A look at the pull request found it open, or could not find out: `PullRequestOpen` stays,
    /// with what is known now.
    Followed {
        /// The pull request.
        pull: PullRequestRecord,
        /// What was asked for beside it and cannot be had.
        incomplete: Option<Failure>,
        /// Why nobody knows whether it was merged.
        unfollowed: Option<Failure>,
    },
    /// The pull request was merged.
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
    /// What made it fail may be gone: Failed → Pending.
    TakenUpAgain,
    /// A person approved: `WaitingApproval` → Pending.
    Approved {
        /// Who, where that is known.
        by: Option<String>,
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
            Self::Attempted => "Attempted",
            Self::Succeeded(_) => "Succeeded",
            Self::FailedPassing { .. } => "FailedPassing",
            Self::FailedPermanent(_) => "FailedPermanent",
            Self::Followed { .. } => "Followed",
            Self::Merged { .. } => "Merged",
            Self::Closed => "Closed",
            Self::Superseded { .. } => "Superseded",
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
