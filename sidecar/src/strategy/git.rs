//! Strategy `git`: a plain git server gets the promotion branch, or the commit on the base branch
//! itself.
//!
//! Before anything is pushed, the promotion's own trailer is looked for: what an earlier attempt
//! pushed before a crash is found, not made again.

use std::sync::Arc;
use std::time::Instant;

use lockgate_core::naming::PROMOTION_TRAILER;
use lockgate_core::pipeline::Push;
use lockgate_core::promotion::{DoneDetail, FailureReason};
use lockgate_git::{Commit, CommitId, GitError, Mirror};

use super::fault::Fault;
use super::order::Order;
use super::outcome::{Outcome, Seen};
use super::ownership::Claim;
use super::repository::Job;
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
fn push_branch(
    job: &Job,
    mirror: &Mirror,
    seen_now: &mut Option<Seen>,
) -> Result<DoneDetail, Fault> {
    let survey = job.survey(mirror)?;
    *seen_now = Some(survey.seen(&job.base_branch));
    let name = &survey.branch;
    match &survey.claim {
        Claim::Ours(Some(id)) if *id == job.order.id => {
            let message = format!("{name} has {}", job.order.version);
            return Ok(done(survey.head.as_ref(), name, message));
        }
        Claim::Foreign(_) => return Err(survey.modified(None)),
        Claim::Free | Claim::Ours(_) | Claim::Merged | Claim::OfAnother(_) => {}
    }
    let Some(commit) = job.commit(mirror, &survey.base)? else { return Ok(job.already()) };
    job.push(mirror, name, survey.head.as_ref(), &commit.id)?;
    Ok(done(Some(&commit.id), name, wrote(job, &commit)))
}

/// One commit on the base branch itself. A lost race is run again on the new tip.
fn push_direct(
    job: &Job,
    mirror: &Mirror,
    seen_now: &mut Option<Seen>,
) -> Result<DoneDetail, Fault> {
    let branch = &job.base_branch;
    let mut lost = None;
    let mut seen: Option<CommitId> = None;
    for _ in 0..DIRECT_TRIES {
        let tip = job.base(mirror)?;
        *seen_now = Some(Seen::branch(branch.as_str(), Some(tip.to_string())));
        if let Some(found) = pushed_before(job, mirror, seen.as_ref(), &tip)? {
            return Ok(done(Some(&found), branch, format!("{branch} has {}", job.order.version)));
        }
        let Some(commit) = job.commit(mirror, &tip)? else { return Ok(job.already()) };
        match job.push(mirror, branch, Some(&tip), &commit.id) {
            Ok(()) => return Ok(done(Some(&commit.id), branch, wrote(job, &commit))),
            Err(race @ GitError::PushRace { .. }) => (lost, seen) = (Some(race), Some(tip)),
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

fn wrote(job: &Job, commit: &Commit) -> String {
    let mut paths: Vec<&str> = commit.files.iter().map(|change| change.path.as_str()).collect();
    paths.dedup();
    format!("wrote {} to {}", job.order.version, paths.join(", "))
}

fn done(commit: Option<&CommitId>, branch: &str, message: String) -> DoneDetail {
    DoneDetail { commit: commit.map(ToString::to_string), branch: Some(branch.to_owned()), message }
}

/// Races on a busy base branch that one attempt runs; the retry schedule goes on after them.
const DIRECT_TRIES: usize = 5;
