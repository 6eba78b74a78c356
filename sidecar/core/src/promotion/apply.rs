//! Every transition of a promotion.

use core::time::Duration;

use jiff::Timestamp;

use super::{Change, Cleanup, Failure, FailureReason, Promotion, State, Success, TransitionError};
use crate::retry::{AFTER_TWO_CRASHES, LONGEST_WISH, RetryPolicy, later};

impl Promotion {
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
                State::fresh(now)
            }
            (State::WaitingApproval, Change::Released) => {
                taken_up_at = now;
                State::fresh(now)
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
                State::Running { .. } | State::Pending { .. } | State::PullRequestOpen { .. },
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
