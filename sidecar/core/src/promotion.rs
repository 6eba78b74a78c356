//! A promotion and its life.
//!
//! ```text
//! WaitingApproval ─ approved ─▶ Pending ◀──────── passing error, restart ────────┐
//!        │ rejected              │  ▲                                            │
//!        ▼                       ▼  └── taken up again ── Failed ◀─ permanent ─ Running ─▶ Done
//!     Rejected                 Running                                           │
//!                                                              PullRequestOpen ◀─┘ ─▶ Merged | Closed
//! ```
//!
//! While its pull request is followed, what is known of it can change without the state doing so.
//! Every unfinished state can become `Superseded`. All transitions are in [`Promotion::apply`];
//! nothing else changes a state, so a worker that comes too late (its promotion was superseded
//! while it ran) gets a [`TransitionError`] and changes nothing.

use core::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{Event, ObjectRef};
use crate::pipeline::{StrategyKind, TargetId};
use crate::retry::{RetryPolicy, later};
use crate::revision::{Revision, Version};
use lockgate_edge::endpoint::PipelineKey;

mod change;
mod failure;
mod id;

pub use change::{Change, Success, TransitionError};
pub use failure::{Failure, FailureReason};
pub use id::{PromotionId, PromotionIdError};

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
    },
    /// A worker owns it.
    Running {
        /// Number of the attempt, from 1.
        attempt: u32,
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
    Failed(Failure),
    /// A newer promotion took its place.
    Superseded {
        /// The newer one.
        by: PromotionId,
    },
    /// A person said no.
    Rejected,
}

impl State {
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
            Self::Failed(_) => "Failed",
            Self::Superseded { .. } => "Superseded",
            Self::Rejected => "Rejected",
        }
    }

    /// Whether nothing more will happen by itself. `Failed` is final, yet can be taken up again.
    #[must_use]
    pub fn is_final(&self) -> bool {
        !self.is_active()
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

/// A pull request as a promotion remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullRequestRecord {
    /// Address for people.
    pub url: String,
    /// Number in its repository.
    pub number: u64,
    /// Its repository, such as `github.com/org/repo`: the number means nothing elsewhere.
    pub repository: String,
    /// The branch it comes from.
    pub branch: String,
    /// The commit on that branch that carries the version.
    pub commit: String,
    /// Since when it carries the version.
    pub opened_at: Timestamp,
    /// Whether the forge was asked to merge it by itself.
    pub auto_merge: bool,
}

/// What was done without a pull request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneDetail {
    /// The commit that carries the version, if one was made or found.
    pub commit: Option<String>,
    /// The branch it was pushed to.
    pub branch: Option<String>,
    /// Text for people, such as `already at 1.2.3`.
    pub message: String,
}

/// The event that led to a promotion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventSummary {
    /// Identity of the delivery.
    pub id: String,
    /// The event's reason.
    pub reason: String,
    /// The event's time.
    pub time: Timestamp,
    /// The object that reported.
    pub involved_object: ObjectRef,
}

impl EventSummary {
    /// The summary of an event that came in a delivery.
    #[must_use]
    pub fn new(delivery: &str, event: &Event) -> Self {
        Self {
            id: delivery.to_owned(),
            reason: event.reason.clone(),
            time: event.timestamp,
            involved_object: event.involved_object.clone(),
        }
    }
}

/// What a new promotion is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The pipeline.
    pub pipeline: PipelineKey,
    /// The environment that reported.
    pub from: String,
    /// The environment to bring to the revision.
    pub to: String,
    /// One target of it, with `per: target`.
    pub target: Option<TargetId>,
    /// What was reported.
    pub revision: Revision,
    /// What is written.
    pub version: Version,
    /// How, as the pipeline says now.
    pub strategy: Option<StrategyKind>,
    /// Why.
    pub event: EventSummary,
}

/// One intent to bring an environment, or one target of it, to a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Promotion {
    /// Identity.
    pub id: PromotionId,
    /// The pipeline.
    pub pipeline: PipelineKey,
    /// The environment that reported.
    pub from: String,
    /// The environment to bring to the revision.
    pub to: String,
    /// One target of it, with `per: target`.
    pub target: Option<TargetId>,
    /// What was reported.
    pub revision: Revision,
    /// What is written.
    pub version: Version,
    /// Where it is in its life.
    pub state: State,
    /// How, as the pipeline said when it began; `None` where no strategy applied.
    pub strategy: Option<StrategyKind>,
    /// Why.
    pub event: EventSummary,
    /// Who approved it, where a person had to.
    #[serde(default)]
    pub approved_by: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is worked on: made, approved or taken up again. Patience is counted from here.
    pub taken_up_at: Timestamp,
    /// When its state last changed.
    pub updated_at: Timestamp,
}

impl Promotion {
    /// A new promotion: to be worked on at once, or after an approval.
    #[must_use]
    pub fn new(id: PromotionId, intent: Intent, waiting: bool, now: Timestamp) -> Self {
        Self {
            id,
            pipeline: intent.pipeline,
            from: intent.from,
            to: intent.to,
            target: intent.target,
            revision: intent.revision,
            version: intent.version,
            state: if waiting { State::WaitingApproval } else { fresh(now) },
            strategy: intent.strategy,
            event: intent.event,
            approved_by: None,
            created_at: now,
            taken_up_at: now,
            updated_at: now,
        }
    }

    /// The promotion after a change.
    ///
    /// # Errors
    /// [`TransitionError`] when the change is not possible in this state; nothing has changed then.
    pub fn apply(
        &self,
        change: Change,
        now: Timestamp,
        policy: &RetryPolicy,
    ) -> Result<Self, TransitionError> {
        let refused = TransitionError { state: self.state.name(), change: change.name() };
        let (mut taken_up_at, mut approved_by) = (self.taken_up_at, self.approved_by.clone());
        let state = match (&self.state, change) {
            (State::WaitingApproval, Change::Approved { by }) => {
                (taken_up_at, approved_by) = (now, by);
                fresh(now)
            }
            (State::Failed(_), Change::TakenUpAgain) => {
                taken_up_at = now;
                fresh(now)
            }
            (State::WaitingApproval, Change::Rejected) => State::Rejected,
            (State::Pending { attempts, .. }, Change::Attempted) => {
                State::Running { attempt: attempts.saturating_add(1) }
            }
            (
                State::Running { .. },
                Change::Succeeded(Success::PullRequestOpen { pull, incomplete }),
            ) => State::PullRequestOpen { pull, incomplete, unfollowed: None },
            (State::Running { .. }, Change::Succeeded(Success::Done(detail))) => {
                State::Done(detail)
            }
            (State::Running { attempt }, Change::FailedPassing { failure, retry_after }) => {
                passing(*attempt, failure, retry_after, taken_up_at, now, policy)
            }
            (State::Running { .. } | State::Pending { .. }, Change::FailedPermanent(failure)) => {
                State::Failed(failure)
            }
            (State::Running { attempt }, Change::Recovered) => {
                State::Pending { attempts: *attempt, next_attempt_at: now, last_error: None }
            }
            (State::Running { attempt }, Change::Parked) => State::Pending {
                attempts: attempt.saturating_sub(1),
                next_attempt_at: now,
                last_error: None,
            },
            (State::PullRequestOpen { .. }, Change::Followed { pull, incomplete, unfollowed }) => {
                State::PullRequestOpen { pull, incomplete, unfollowed }
            }
            (State::PullRequestOpen { pull, .. }, Change::Merged { commit, at }) => {
                State::Merged { pull: pull.clone(), commit, at: at.unwrap_or(now) }
            }
            (State::PullRequestOpen { pull, .. }, Change::Closed) => {
                State::Closed { pull: pull.clone() }
            }
            (state, Change::Superseded { by }) if state.is_active() && by != self.id => {
                State::Superseded { by }
            }
            _ => return Err(refused),
        };
        Ok(Self { state, taken_up_at, approved_by, updated_at: now, ..self.clone() })
    }
}

fn fresh(now: Timestamp) -> State {
    State::Pending { attempts: 0, next_attempt_at: now, last_error: None }
}

/// A forge's `Retry-After` is honoured where it is longer than our own pause.
fn passing(
    attempt: u32,
    failure: Failure,
    retry_after: Option<Duration>,
    taken_up_at: Timestamp,
    now: Timestamp,
    policy: &RetryPolicy,
) -> State {
    if policy.gives_up(taken_up_at, now) {
        let message = format!(
            "gave up after {attempt} attempts, the last failed with {}: {}",
            failure.reason, failure.message
        );
        return State::Failed(Failure { reason: FailureReason::GaveUp, message });
    }
    let pause = policy.pause_after(attempt).max(retry_after.unwrap_or_default());
    State::Pending {
        attempts: attempt,
        next_attempt_at: later(now, pause),
        last_error: Some(failure),
    }
}
