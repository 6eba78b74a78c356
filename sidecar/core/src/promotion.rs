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
//! Every unfinished state can become `Superseded`; a pull request that was open then is disarmed
//! and closed behind it ([`Cleanup`]). All transitions are in [`Promotion::apply`]. Nothing else
//! changes a state, so a worker that comes too late (its promotion was superseded while it ran)
//! gets a [`TransitionError`] and changes nothing.
//!
//! All that has to survive is in the record: when the pull request is polled next, the tip of the
//! base branch that a failed attempt saw, who runs it. A store needs columns only to find records.

use core::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{Event, ObjectRef};
use crate::pipeline::{StrategyKind, TargetId};
use crate::retry::{AFTER_TWO_CRASHES, LONGEST_WISH, RetryPolicy, later};
use crate::revision::{Revision, Version};
use lockgate_edge::endpoint::PipelineKey;

mod change;
mod failure;
mod id;
mod owner;
mod seen;

pub use change::{Change, Success, TransitionError};
pub use failure::{Failure, FailureReason};
pub use id::{PromotionId, PromotionIdError};
pub use owner::{Owner, OwnerError};
pub use seen::Seen;

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
        let mut updated_at = now;
        let state = match (&self.state, change) {
            (State::WaitingApproval, Change::Approved { by }) => {
                (taken_up_at, approved_by) = (now, Some(by));
                fresh(now)
            }
            (State::WaitingApproval, Change::Released) => {
                taken_up_at = now;
                fresh(now)
            }
            (State::WaitingApproval, Change::Rejected) => State::Rejected,
            (State::Pending { .. }, Change::Held) => State::WaitingApproval,
            (State::Failed { failure, .. }, Change::TakenUpAgain) => {
                taken_up_at = now;
                State::Pending {
                    attempts: 0,
                    next_attempt_at: now,
                    last_error: Some(failure.clone()),
                    crashes: 0,
                }
            }
            (State::Failed { failure, .. }, Change::Looked { seen }) => {
                updated_at = self.updated_at;
                State::Failed { failure: failure.clone(), seen: Some(seen) }
            }
            (State::Pending { attempts, last_error, crashes, .. }, Change::DueNow) => {
                taken_up_at = now;
                State::Pending {
                    attempts: *attempts,
                    next_attempt_at: now,
                    last_error: last_error.clone(),
                    crashes: *crashes,
                }
            }
            (State::Pending { attempts, last_error, crashes, .. }, Change::Attempted { owner }) => {
                State::Running {
                    attempt: attempts.saturating_add(1),
                    owner,
                    last_error: last_error.clone(),
                    crashes: *crashes,
                }
            }
            (
                State::Running { .. },
                Change::Succeeded(Success::PullRequestOpen { pull, incomplete, poll }),
            ) => State::PullRequestOpen { pull, incomplete, unfollowed: None, poll },
            (State::Running { .. }, Change::Succeeded(Success::Done(detail))) => {
                State::Done(detail)
            }
            (State::Running { attempt, .. }, Change::FailedPassing { failure, retry_after }) => {
                passing(*attempt, failure, retry_after, taken_up_at, now, policy)
            }
            (
                State::Running { .. } | State::Pending { .. },
                Change::FailedPermanent { failure, seen },
            ) => State::Failed { failure, seen },
            (State::Running { attempt, .. }, Change::Outdated { failure }) => State::Pending {
                attempts: attempt.saturating_sub(1),
                next_attempt_at: now,
                last_error: Some(failure),
                crashes: 0,
            },
            (state, Change::PipelineDeleted { failure })
                if state.is_active() || matches!(state, State::Failed { .. }) =>
            {
                State::Failed { failure, seen: None }
            }
            (State::Running { attempt, last_error, crashes, .. }, Change::Recovered) => {
                let crashes = crashes.saturating_add(1);
                // What ended the process once may end it at each start: the second time it waits,
                // so that the rest gets on.
                let pause = if crashes > 1 { AFTER_TWO_CRASHES } else { Duration::ZERO };
                State::Pending {
                    attempts: *attempt,
                    next_attempt_at: later(now, pause),
                    last_error: last_error.clone(),
                    crashes,
                }
            }
            (State::Running { attempt, last_error, .. }, Change::Parked) => State::Pending {
                attempts: attempt.saturating_sub(1),
                next_attempt_at: now,
                last_error: last_error.clone(),
                crashes: 0,
            },
            (
                State::PullRequestOpen { .. },
                Change::Followed { pull, incomplete, unfollowed, poll },
            ) => {
                let followed = State::PullRequestOpen { pull, incomplete, unfollowed, poll };
                if same_but_for_the_poll(&self.state, &followed) {
                    updated_at = self.updated_at;
                }
                followed
            }
            (State::PullRequestOpen { pull, .. }, Change::Merged { commit, at }) => {
                State::Merged { pull: pull.clone(), commit, at: at.unwrap_or(now) }
            }
            (State::PullRequestOpen { pull, .. }, Change::Closed) => {
                State::Closed { pull: pull.clone() }
            }
            (State::PullRequestOpen { pull, .. }, Change::Superseded { by }) if by != self.id => {
                State::Superseded { by, cleanup: Cleanup::Due { pull: pull.clone() } }
            }
            (state, Change::Superseded { by }) if state.is_active() && by != self.id => {
                State::Superseded { by, cleanup: Cleanup::Done }
            }
            // The attempt had opened it when the newer promotion came.
            (
                State::Superseded { by, cleanup: Cleanup::Done },
                Change::Succeeded(Success::PullRequestOpen { pull, .. }),
            ) => {
                updated_at = self.updated_at;
                State::Superseded { by: *by, cleanup: Cleanup::Due { pull } }
            }
            // A person was quicker than the newer promotion.
            (
                State::Superseded {
                    cleanup: Cleanup::Due { pull } | Cleanup::Disarmed { pull },
                    ..
                },
                Change::Merged { commit, at },
            ) => State::Merged { pull: pull.clone(), commit, at: at.unwrap_or(now) },
            (State::Superseded { by, cleanup: Cleanup::Due { pull } }, Change::Disarmed) => {
                updated_at = self.updated_at;
                State::Superseded { by: *by, cleanup: Cleanup::Disarmed { pull: pull.clone() } }
            }
            (State::Superseded { by, cleanup }, Change::CleanedUp) if *cleanup != Cleanup::Done => {
                updated_at = self.updated_at;
                State::Superseded { by: *by, cleanup: Cleanup::Done }
            }
            _ => return Err(refused),
        };
        Ok(Self { state, taken_up_at, approved_by, updated_at, ..self.clone() })
    }
}

fn fresh(now: Timestamp) -> State {
    State::Pending { attempts: 0, next_attempt_at: now, last_error: None, crashes: 0 }
}

fn same_but_for_the_poll(one: &State, other: &State) -> bool {
    match (one, other) {
        (
            State::PullRequestOpen { pull, incomplete, unfollowed, .. },
            State::PullRequestOpen { pull: p, incomplete: i, unfollowed: u, .. },
        ) => (pull, incomplete, unfollowed) == (p, i, u),
        _ => false,
    }
}

/// A forge's `Retry-After` is honoured where it is longer than our own pause, up to an hour and
/// never beyond the end of patience.
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
        let failure = Failure { reason: FailureReason::GaveUp, message };
        return State::Failed { failure, seen: None };
    }
    let wish = retry_after.unwrap_or_default().min(LONGEST_WISH);
    let pause = policy.pause_after(attempt).max(wish);
    State::Pending {
        attempts: attempt,
        next_attempt_at: later(now, pause).min(later(taken_up_at, policy.give_up_after).max(now)),
        last_error: Some(failure),
        crashes: 0,
    }
}
