//! Strategy `git`: a plain git server gets the promotion branch, or the commit on the base branch
//! itself.
//!
//! Before anything is pushed, the promotion's own trailer is looked for: what an earlier attempt
//! pushed before a crash is found, not made again.

use std::sync::Arc;
use std::time::Instant;

use lockgate_core::branch::Owner;
use lockgate_core::naming::PROMOTION_TRAILER;
use lockgate_core::pipeline::Push;
use lockgate_core::promotion::{DoneDetail, FailureReason};
use lockgate_git::{Commit, CommitId, GitError, Mirror};

use super::fault::Fault;
use super::order::Order;
use super::outcome::{Outcome, Seen};
use super::repository::{Edited, Job};
use super::{Executor, Part};

/// Brings the version into the repository.
pub(super) async fn carry_out(executor: &Arc<Executor>, order: &Arc<Order>, push: Push) -> Outcome {
    let Some(site) = order.work.site() else {
        return Outcome::failed(FailureReason::Internal, "the order names no repository");
    };
    let base_branch = site.base_branch.clone();
    let job = match Job::new(executor, order, site) {
        Ok(job) => Arc::new(job),
        Err(fault) => return fault.into_outcome(&base_branch, None),
    };
    let started = Instant::now();
    let work = job.blocking(move |job, mirror| {
        let mut seen = None;
        let outcome = match push {
            Push::Branch => push_branch(job, mirror, &mut seen),
            Push::Direct => push_direct(job, mirror, &mut seen),
        };
        Ok((outcome, seen))
    });
    let outcome = match work.await {
        Ok((Ok(detail), _)) => Outcome::Done { detail, announce: None },
        Ok((Err(fault), seen)) => fault.into_outcome(&base_branch, seen),
        Err(fault) => fault.into_outcome(&base_branch, None),
    };
    executor.observer.spent(order, Part::Git, started.elapsed());
    outcome
}

/// One commit on the tip of the base branch, pushed as the promotion branch, whatever that held of
/// ours before.
fn push_branch(job: &Job, mirror: &Mirror, seen: &mut Option<Seen>) -> Result<DoneDetail, Fault> {
    let mut state = job.branch_state(mirror)?;
    *seen = Some(state.seen(&job.base_branch));
    match &state.owner {
        Owner::Ours(Some(id)) if *id == job.order.id => {
            let message = format!("{} has {}", state.branch, job.order.version);
            return Ok(done(state.head.as_ref(), &state.branch, message));
        }
        // Without a forge nobody says that the original's branch may be taken over.
        Owner::Person { .. } | Owner::Original => return Err(state.modified(None)),
        Owner::Nobody | Owner::Ours(_) | Owner::Merged | Owner::Another(_) => {}
    }
    let edited = job.edit(mirror, &state.base, None)?;
    let Some(commit) = &edited.commit else { return Ok(job.already(&edited)) };
    job.push_to(mirror, &mut state, &commit.id)?;
    Ok(done(Some(&commit.id), &state.branch, wrote(job, &edited, commit)))
}

/// One commit on the base branch itself. A lost race is run again on the new tip.
fn push_direct(job: &Job, mirror: &Mirror, seen: &mut Option<Seen>) -> Result<DoneDetail, Fault> {
    let branch = &job.base_branch;
    let mut lost = None;
    let mut before: Option<CommitId> = None;
    for _ in 0..DIRECT_TRIES {
        let tip = job.base(mirror)?;
        *seen = Some(Seen::branch(branch.as_str(), Some(tip.to_string())));
        if let Some(found) = pushed_before(job, mirror, before.as_ref(), &tip)? {
            let message = format!("{branch} has {}", job.order.version);
            return Ok(done(Some(&found), branch, message));
        }
        let edited = job.edit(mirror, &tip, None)?;
        let Some(commit) = &edited.commit else { return Ok(job.already(&edited)) };
        match job.push(mirror, branch, Some(&tip), &commit.id) {
            Ok(()) => {
                return Ok(done(Some(&commit.id), branch, wrote(job, &edited, commit)));
            }
            Err(race @ GitError::PushRace { .. }) => (lost, before) = (Some(race), Some(tip)),
            Err(error) => return Err(error.into()),
        }
    }
    Err(lost.map_or_else(
        || Fault::new(FailureReason::PushRace, format!("branch {branch} moves too fast")),
        Fault::from,
    ))
}

/// What an earlier attempt of this promotion pushed before its process died, in the history that
/// `seen` does not have.
fn pushed_before(
    job: &Job,
    mirror: &Mirror,
    seen: Option<&CommitId>,
    tip: &CommitId,
) -> Result<Option<CommitId>, Fault> {
    if job.order.first && seen.is_none() {
        return Ok(None);
    }
    Ok(mirror.find_commit_with_trailer(seen, tip, PROMOTION_TRAILER, &job.order.id.to_string())?)
}

fn wrote(job: &Job, edited: &Edited, commit: &Commit) -> String {
    let mut paths: Vec<&str> = commit.files.iter().map(|change| change.path.as_str()).collect();
    paths.dedup();
    let mut message = format!("wrote {} to {}", job.order.version, paths.join(", "));
    if let Some(later) = &edited.back_from {
        message.push_str(&format!(", back from {later}"));
    }
    if let Some(failure) = &edited.incomplete {
        message.push_str(&format!("; {}", failure.message));
    }
    message
}

fn done(commit: Option<&CommitId>, branch: &str, message: String) -> DoneDetail {
    DoneDetail { commit: commit.map(ToString::to_string), branch: Some(branch.to_owned()), message }
}

/// Races on a busy base branch that one attempt runs; the retry schedule goes on after them.
const DIRECT_TRIES: usize = 5;
