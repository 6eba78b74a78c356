//! How an attempt ended.

use std::time::Duration;

use jiff::Timestamp;
use lockgate_core::promotion::{Change, DoneDetail, Failure, FailureReason, PullRequestRecord};

pub use lockgate_core::promotion::Seen;

/// How an attempt ended.
#[derive(Debug)]
pub enum Outcome {
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
    /// Trying again may help; not before `retry_after`, where the peer asked for a pause.
    Passing { failure: Failure, retry_after: Option<Duration> },
    /// Trying again cannot help before something changes.
    Permanent {
        failure: Failure,
        /// What the attempt saw; it is worth another one when that has changed. `None`: it saw
        /// nothing of the repository.
        seen: Option<Seen>,
    },
}

impl Outcome {
    /// Sorts a failure by its reason.
    pub fn failed(reason: FailureReason, message: impl Into<String>) -> Self {
        Self::of(Failure { reason, message: message.into() })
    }

    /// Sorts a failure by its reason.
    #[must_use]
    pub fn of(failure: Failure) -> Self {
        if failure.reason.is_permanent() {
            Self::Permanent { failure, seen: None }
        } else {
            Self::Passing { failure, retry_after: None }
        }
    }
}

/// How a pull request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    Merged {
        /// The commit on the base branch, where the forge tells it.
        commit: Option<String>,
        /// When, where the forge tells it.
        at: Option<Timestamp>,
    },
    Closed,
    /// It is not there any more. Unlike a closed one it says nothing about its version.
    Deleted(Failure),
}

impl Ended {
    pub(super) fn deleted(pull: &PullRequestRecord, error: &lockgate_forge::ForgeError) -> Self {
        Self::Deleted(Failure {
            reason: FailureReason::PullRequestDeleted,
            message: format!("{} was deleted before it was merged ({error})", pull.url),
        })
    }

    /// `None` while it is open.
    #[must_use]
    pub fn of(state: lockgate_forge::PullRequestState) -> Option<Self> {
        match state {
            lockgate_forge::PullRequestState::Open => None,
            lockgate_forge::PullRequestState::Merged { commit, at } => {
                Some(Self::Merged { commit, at })
            }
            lockgate_forge::PullRequestState::Closed => Some(Self::Closed),
        }
    }

    #[must_use]
    pub fn change(self) -> Change {
        match self {
            Self::Merged { commit, at } => Change::Merged { commit, at },
            Self::Closed => Change::Closed,
            Self::Deleted(failure) => Change::FailedPermanent { failure, seen: None },
        }
    }
}
