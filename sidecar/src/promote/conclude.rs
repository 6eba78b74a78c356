//! What an outcome means for its promotion: pure, so that the ledger may ask again.

use std::time::Duration;

use jiff::Timestamp;
use lockgate_core::promotion::{Change, Owner, Poll, Promotion, State, Success};
use lockgate_core::retry::{RetryPolicy, later};

use crate::ledger::Writes;
use crate::strategy::Outcome;
use crate::view::Entry;

/// What a conclusion depends on beside the promotion and the outcome.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) owner: Owner,
    pub(super) policy: RetryPolicy,
    /// The pause before the first poll of a pull request.
    pub(super) first_poll: Duration,
    /// Whether Pipeline or Secret have changed since the attempt began.
    pub(super) outdated: bool,
    pub(super) now: Timestamp,
}

/// The promotion after its attempt, and the announcement that belongs to it. `None` where the
/// promotion is not this worker's any more: a newer one took its place, and goes on from here.
pub(super) fn conclude(
    before: &Promotion,
    outcome: &Outcome,
    terms: &Terms,
) -> Option<(Promotion, Option<Entry>)> {
    let now = terms.now;
    let apply = |promotion: &Promotion, change| promotion.apply(change, now, &terms.policy).ok();
    let running = match &before.state {
        // The claim was in memory only.
        State::Pending { .. } => apply(before, Change::Attempted { owner: terms.owner })?,
        State::Running { owner, .. } if *owner == terms.owner => before.clone(),
        State::Superseded { .. } => before.clone(),
        _ => return None,
    };
    let change = match outcome {
        Outcome::Done { detail, .. } => Change::Succeeded(Success::Done(detail.clone())),
        Outcome::PullRequest { pull, incomplete, .. } => {
            let poll =
                Poll { at: later(now, terms.first_poll), pause: terms.first_poll, tag: None };
            Change::Succeeded(Success::PullRequestOpen {
                pull: pull.clone(),
                incomplete: incomplete.clone(),
                poll,
            })
        }
        Outcome::Passing { failure, retry_after } => {
            Change::FailedPassing { failure: failure.clone(), retry_after: *retry_after }
        }
        Outcome::Permanent { failure, .. } if terms.outdated => {
            Change::Outdated { failure: failure.clone() }
        }
        Outcome::Permanent { failure, seen } => {
            Change::FailedPermanent { failure: failure.clone(), seen: seen.clone() }
        }
    };
    let concluded = apply(&running, change)?;
    match outcome {
        Outcome::Done { announce: Some(message), .. } => {
            let entry = Entry::of(&concluded, now, ANNOUNCEMENT, message);
            Some((concluded, Some(entry)))
        }
        // A person was quicker.
        Outcome::PullRequest { ended: Some(ended), .. } => {
            let ended = apply(&concluded, ended.clone().change());
            Some((ended.unwrap_or(concluded), None))
        }
        _ => Some((concluded, None)),
    }
}

/// The writes of a conclusion.
pub(super) fn writes(before: &Promotion, after: Promotion, announcement: Option<Entry>) -> Writes {
    let mut writes = Writes::soon();
    writes.list.extend(announcement.map(crate::ledger::Write::Entry));
    writes.change(before, &after.into(), "");
    writes
}

/// The kind of the event stream's entry for a notification: the reason of the original's event.
const ANNOUNCEMENT: &str = "Promote";

#[cfg(test)]
mod tests;
