//! The states of a promotion, with what belongs to each.

use core::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{DoneDetail, Failure, Owner, PromotionId, PullRequestRecord, Seen};

/// Where a promotion is in its life.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state")]
pub enum State {
    /// A person has to approve it.
    WaitingApproval,
    /// It is to be worked on.
    #[serde(rename_all = "camelCase")]
    Pending {
        /// Attempts so far.
        attempts: u32,
        /// Not before this time.
        next_attempt_at: Timestamp,
        /// What the last attempt failed with.
        last_error: Option<Failure>,
        /// How many attempts in a row ended with their process. 0 after any attempt that ended by
        /// itself.
        #[serde(default)]
        crashes: u32,
    },
    /// A worker owns it. Written only for an attempt that takes longer than a moment.
    #[serde(rename_all = "camelCase")]
    Running {
        /// Number of the attempt, from 1.
        attempt: u32,
        /// The process that works on it.
        #[serde(default)]
        owner: Owner,
        /// What the attempt before failed with.
        #[serde(default)]
        last_error: Option<Failure>,
        /// As of `Pending`.
        #[serde(default)]
        crashes: u32,
    },
    /// Its pull request waits to be merged.
    PullRequestOpen {
        /// The pull request.
        pull: PullRequestRecord,
        /// What was asked for beside the pull request itself (labels, reviewers, merging) and
        /// cannot be had.
        incomplete: Option<Failure>,
        /// Why nobody knows at the moment whether it was merged.
        unfollowed: Option<Failure>,
        /// When it is polled next.
        poll: Poll,
    },
    /// Its pull request was merged.
    Merged {
        /// The pull request.
        pull: PullRequestRecord,
        /// The commit on the base branch, where the forge tells it.
        commit: Option<String>,
        /// When, by the forge's clock where it tells it.
        at: Timestamp,
    },
    /// Its pull request was closed by a person.
    Closed {
        /// The pull request.
        pull: PullRequestRecord,
    },
    /// It was carried out without a pull request.
    Done(DoneDetail),
    /// It cannot be carried out as things are.
    Failed {
        /// Why.
        #[serde(flatten)]
        failure: Failure,
        /// The branches that are known to fail. It is taken up again when one of them has another
        /// tip. `None`: no attempt came so far as to see them.
        #[serde(default)]
        seen: Option<Seen>,
    },
    /// A newer promotion took its place.
    Superseded {
        /// The newer one.
        by: PromotionId,
        /// What is left to do about its pull request.
        #[serde(default)]
        cleanup: Cleanup,
    },
    /// A person said no.
    Rejected,
}

impl State {
    /// To be worked on at once, for the first time.
    pub(super) fn fresh(now: Timestamp) -> Self {
        Self::Pending { attempts: 0, next_attempt_at: now, last_error: None, crashes: 0 }
    }

    /// The pull request, from its opening on.
    #[must_use]
    pub fn pull_request(&self) -> Option<&PullRequestRecord> {
        match self {
            Self::PullRequestOpen { pull, .. }
            | Self::Merged { pull, .. }
            | Self::Closed { pull } => Some(pull),
            _ => None,
        }
    }

    /// The state's name, in PascalCase, as users see it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::WaitingApproval => "WaitingApproval",
            Self::Pending { .. } => "Pending",
            Self::Running { .. } => "Running",
            Self::PullRequestOpen { .. } => "PullRequestOpen",
            Self::Merged { .. } => "Merged",
            Self::Closed { .. } => "Closed",
            Self::Done(_) => "Done",
            Self::Failed { .. } => "Failed",
            Self::Superseded { .. } => "Superseded",
            Self::Rejected => "Rejected",
        }
    }

    /// Whether it is unfinished: a newer promotion supersedes it.
    #[must_use]
    pub fn is_active(&self) -> bool {
        matches!(
            self,
            Self::WaitingApproval
                | Self::Pending { .. }
                | Self::Running { .. }
                | Self::PullRequestOpen { .. }
        )
    }

    /// Whether something is left to do for it without an event: it is unfinished, or its pull
    /// request has to be disarmed or closed.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.is_active()
            || matches!(self, Self::Superseded { cleanup, .. } if *cleanup != Cleanup::Done)
    }

    /// Why it is not where it should be: the failure that people should see.
    #[must_use]
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Failed { failure, .. } => Some(failure),
            Self::Pending { last_error, .. } | Self::Running { last_error, .. } => {
                last_error.as_ref()
            }
            Self::PullRequestOpen { incomplete, unfollowed, .. } => {
                unfollowed.as_ref().or(incomplete.as_ref())
            }
            _ => None,
        }
    }

    /// Every name that [`State::name`] gives, for labels and filters.
    pub const NAMES: [&'static str; 10] = [
        "WaitingApproval",
        "Pending",
        "Running",
        "PullRequestOpen",
        "Merged",
        "Closed",
        "Done",
        "Failed",
        "Superseded",
        "Rejected",
    ];
}

/// When an open pull request is polled next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poll {
    /// Not before this time.
    pub at: Timestamp,
    /// The pause that leads to it; the next one depends on it.
    pub pause: Duration,
    /// What the forge calls the state that was seen last, for a conditional request. `None` where
    /// it has no name for it.
    pub tag: Option<String>,
}

/// What is left to do about the pull request of a superseded promotion. The steps are taken in this
/// order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step")]
pub enum Cleanup {
    /// A person may have merged it meanwhile; if not, it must not merge by itself any more.
    Due {
        /// The pull request.
        pull: PullRequestRecord,
    },
    /// It is disarmed. The newer promotion takes it over; if that one ends without a pull request,
    /// this one is closed.
    Disarmed {
        /// The pull request.
        pull: PullRequestRecord,
    },
    /// Nothing.
    #[default]
    Done,
}
