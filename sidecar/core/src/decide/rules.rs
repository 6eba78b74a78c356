//! The two rules about order: within one object, and against the promotions that there are.

use core::cmp::Ordering;

use super::{LatestState, NothingReason, ObjectRecord, TargetHistory};
use crate::event::Event;
use crate::promotion::PromotionId;
use crate::revision::Revision;

/// Whether the object has reported something newer than this event.
///
/// Clocks step and have whole seconds, so the resource version is asked too: an earlier time counts
/// only if the resource version is not larger; at equal times the smaller resource version is the
/// older event, and where that is equal or unknown the lower semver is.
pub(super) fn is_stale(event: &Event, revision: &Revision, last: &ObjectRecord) -> bool {
    let versions =
        compare_resource_versions(&event.involved_object.resource_version, &last.resource_version);
    match event.timestamp.cmp(&last.event_time) {
        Ordering::Greater => false,
        Ordering::Less => versions != Some(Ordering::Greater),
        Ordering::Equal => match versions {
            Some(Ordering::Less) => true,
            Some(Ordering::Greater) => false,
            Some(Ordering::Equal) | None => {
                revision.semver_cmp(&last.revision) == Some(Ordering::Less)
            }
        },
    }
}

/// Kubernetes' resource versions are decimal numbers that grow; any number of digits.
fn compare_resource_versions(one: &str, other: &str) -> Option<Ordering> {
    fn digits(text: &str) -> Option<&str> {
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| text.trim_start_matches('0'))
    }
    let (one, other) = (digits(one)?, digits(other)?);
    Some(one.len().cmp(&other.len()).then_with(|| one.cmp(other)))
}

/// What to do for one destination.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Start { supersedes: Option<PromotionId> },
    Join(PromotionId),
    TakeUpAgain(PromotionId),
}

/// Judges a revision that is not stale against the promotions into one destination.
///
/// `held_back`: with `after: all`, all targets have the revision now. What its own object reported
/// before others were ready has started nothing then, so a repetition may.
pub(super) fn judge(
    revision: &Revision,
    object: Option<&ObjectRecord>,
    past: &TargetHistory,
    held_back: bool,
) -> Result<Verdict, (NothingReason, String)> {
    let Some(latest) = &past.latest else { return Ok(Verdict::Start { supersedes: None }) };
    let repeats = object.is_some_and(|object| object.revision == *revision);
    if latest.revision == *revision {
        return match (latest.state, repeats) {
            (LatestState::Failed, _) => Ok(Verdict::TakeUpAgain(latest.id)),
            (_, false) => Ok(Verdict::Join(latest.id)),
            (state, true) => Err(standing(revision, latest.id, state)),
        };
    }
    let behind = || {
        Err((
            NothingReason::Behind,
            format!(
                "{revision} has been overtaken by {}: promotion {}. To go back, deploy {revision} where \
                 {} was deployed before",
                latest.revision, latest.id, latest.revision
            ),
        ))
    };
    let supersedes = latest.state.is_unfinished().then_some(latest.id);
    if repeats && (past.ever_promoted || !held_back) {
        return behind();
    }
    let lower = revision.semver_cmp(&latest.revision) == Some(Ordering::Less);
    if !past.object_reported_latest && (past.ever_promoted || lower) {
        return behind();
    }
    Ok(Verdict::Start { supersedes })
}

/// What is said to an object that repeats the latest promotion's revision: how that one stands, and
/// what a person can do.
fn standing(revision: &Revision, id: PromotionId, state: LatestState) -> (NothingReason, String) {
    let (reason, text) = match state {
        LatestState::Waiting => (
            NothingReason::AlreadyStarted,
            "waits for a person's approval; a newer revision takes its place",
        ),
        LatestState::Active => (
            NothingReason::AlreadyStarted,
            "is being promoted; the promotion's status says how far it is",
        ),
        LatestState::Open => {
            (NothingReason::AlreadyStarted, "has an open pull request: merge it, or close it")
        }
        LatestState::Promoted => (NothingReason::AlreadyPromoted, "is promoted already"),
        LatestState::Closed => (
            NothingReason::Declined,
            "was declined: a person closed its pull request. Reopen and merge that one, or deploy \
             another revision",
        ),
        LatestState::Rejected => (
            NothingReason::Declined,
            "was declined: a person rejected it. Deploy another revision to be asked again",
        ),
        LatestState::Failed => (NothingReason::AlreadyStarted, "has failed; its status says why"),
        LatestState::Superseded => (
            NothingReason::Behind,
            "has been overtaken by a newer revision; deploy that one, or another",
        ),
    };
    (reason, format!("{revision} {text}: promotion {id}"))
}
