//! The repository of a promotion: where it is, whose branches are whose, and the commit that
//! carries the version.
//!
//! Shared by every strategy that writes to git. The commit is always made on the tip of the base
//! branch that was just fetched, so a promotion branch never carries old history. Everything on a
//! mirror blocks.

use std::sync::Arc;

use lockgate_core::naming::{Destination, version_of_message};
use lockgate_core::promotion::{DoneDetail, FailureReason};
use lockgate_git::{
    Ahead, Commit, CommitId, CommitMeta, CommitOutcome, GitError, Marker, Mirror, Remote, Search,
};

use super::Executor;
use super::credentials;
use super::fault::Fault;
use super::order::{Order, Site};
use super::outcome::Seen;
use super::ownership::{Claim, Foreign, Survey};

/// One order with everything that work on its repository needs.
pub(super) struct Job {
    executor: Arc<Executor>,
    pub(super) order: Arc<Order>,
    pub(super) remote: Remote,
    pub(super) base_branch: String,
}

impl Job {
    /// Where to go and as whom, from the order's own Secret.
    pub(super) fn new(
        executor: &Arc<Executor>,
        order: &Arc<Order>,
        site: Site,
    ) -> Result<Self, Fault> {
        let remote = credentials::remote(&site, &executor.settings.git)?;
        let (executor, order) = (Arc::clone(executor), Arc::clone(order));
        Ok(Self { executor, order, remote, base_branch: site.base_branch })
    }

    pub(super) fn destination(&self) -> Destination<'_> {
        self.order.destination()
    }

    /// Runs blocking work on the mirror, where blocking is allowed.
    pub(super) async fn blocking<T, F>(self: &Arc<Self>, work: F) -> Result<T, Fault>
    where
        T: Send + 'static,
        F: FnOnce(&Self, &Mirror) -> Result<T, Fault> + Send + 'static,
    {
        let job = Arc::clone(self);
        blocking(move || on_mirror(&job.executor, &job.remote, |mirror| work(&job, mirror))).await
    }

    /// Fetches, and finds out which of our two branch names is ours to use.
    pub(super) fn survey(&self, mirror: &Mirror) -> Result<Survey, Fault> {
        let destination = self.destination();
        let mut names = vec![destination.branch(), destination.branch_after_collision()];
        names.dedup();
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        let branches = mirror.fetch_branches(&self.remote, &self.base_branch, &wanted)?;
        let claim = |head: &CommitId| -> Result<Claim, Fault> {
            let message = mirror.commit_message(head)?;
            match Claim::of_message(&message, &destination) {
                // The trailers of a commit survive its amendment.
                Claim::Ours(_) if !self.is_untouched(mirror, head, &message)? => {
                    Ok(Claim::Foreign(Foreign { on_ours: true, by_a_tool: false }))
                }
                Claim::Foreign(_) => {
                    let ahead = mirror.ahead(&branches.base, head, MOST_AHEAD)?;
                    Ok(self.updated(mirror, &ahead)?.unwrap_or_else(|| Claim::of_commits(&ahead)))
                }
                other => Ok(other),
            }
        };
        Survey::choose(branches.base, names, &branches.heads, claim)
    }

    /// The claim to a branch that is a commit of ours and what a forge adds when somebody updates
    /// it from the base branch: merges that change nothing else.
    fn updated(&self, mirror: &Mirror, ahead: &[Ahead]) -> Result<Option<Claim>, Fault> {
        let destination = self.destination();
        let of = |commit: &Ahead| Claim::of_message(&commit.message, &destination);
        let (ours, others): (Vec<&Ahead>, Vec<&Ahead>) =
            ahead.iter().partition(|commit| matches!(of(commit), Claim::Ours(_)));
        let [ours] = ours.as_slice() else { return Ok(None) };
        if !self.is_untouched(mirror, &ours.id, &ours.message)? {
            return Ok(None);
        }
        let Some(version) = version_of_message(&ours.message) else { return Ok(None) };
        let markers = self.markers();
        for other in others {
            if !mirror.is_edit_with_update(&other.id, &markers, &version)? {
                return Ok(None);
            }
        }
        Ok(Some(of(ours)))
    }

    /// Whether a commit of ours is as we made it. It may have been rebased.
    fn is_untouched(&self, mirror: &Mirror, head: &CommitId, message: &str) -> Result<bool, Fault> {
        let Some(version) = version_of_message(message) else { return Ok(false) };
        Ok(mirror.is_edit(head, &self.markers(), &version)?)
    }

    fn markers(&self) -> Vec<Marker> {
        self.destination().markers().into_iter().map(Marker::Promotion).collect()
    }

    /// Fetches the base branch alone.
    pub(super) fn base(&self, mirror: &Mirror) -> Result<CommitId, Fault> {
        Ok(mirror.fetch(&self.remote, &self.base_branch, None)?.base)
    }

    pub(super) fn push(
        &self,
        mirror: &Mirror,
        branch: &str,
        expected: Option<&CommitId>,
        new: &CommitId,
    ) -> Result<(), GitError> {
        mirror.push(&self.remote, branch, expected, new)
    }

    /// The commit on top of `base`; `None` where every marked value is the version already.
    pub(super) fn commit(&self, mirror: &Mirror, base: &CommitId) -> Result<Option<Commit>, Fault> {
        let markers = self.markers();
        let search = mirror.find(base, &markers)?;
        if search.found.is_empty() {
            return Err(self.no_marker(&markers, &search));
        }
        let settings = &self.executor.settings.git;
        let meta = CommitMeta {
            message: self.order.texts.commit_message.clone(),
            author_name: settings.author_name.clone(),
            author_email: settings.author_email.clone(),
            // Not the time of this attempt: the same work on the same base is the same commit.
            time: self.order.time.as_second(),
            signing_key: settings.signing_key.clone(),
        };
        let (commit, incomplete) = match mirror.commit(base, &search, &self.order.version, &meta)? {
            CommitOutcome::Created(commit) => (Some(commit.clone()), commit.incomplete),
            CommitOutcome::Unchanged { incomplete } => (None, incomplete),
        };
        for skipped in &incomplete {
            tracing::warn!(promotion = %self.order.id, path = %skipped.path, line = skipped.line, "a marker was passed over: {}", skipped.reason);
        }
        Ok(commit)
    }

    fn no_marker(&self, markers: &[Marker], search: &Search) -> Fault {
        let names: Vec<String> = markers.iter().map(ToString::to_string).collect();
        let mut message =
            format!("no marker {} on branch {}", names.join(" or "), self.base_branch);
        for skipped in search.skipped.iter().take(SKIPPED_SHOWN) {
            let line = skipped.line.map(|line| format!(":{line}")).unwrap_or_default();
            message.push_str(&format!("; passed over {}{line}: {}", skipped.path, skipped.reason));
        }
        if search.skipped.len() > SKIPPED_SHOWN {
            message.push_str(&format!(" and {} more", search.skipped.len() - SKIPPED_SHOWN));
        }
        if let Some(off) = search.switched_off.first() {
            let line = off.line.map(|line| format!(":{line}")).unwrap_or_default();
            message.push_str(&format!("; {}{line}: {}", off.path, off.reason));
        }
        if !search.overlooked.is_empty() {
            message.push_str(&format!("; not looked into: {}", search.overlooked));
        }
        Fault::new(FailureReason::MarkerNotFound, message)
    }

    /// The result where the base branch has the version.
    pub(super) fn already(&self) -> DoneDetail {
        DoneDetail {
            commit: None,
            branch: None,
            message: format!("already at {}", self.order.version),
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!(%error, "work in git ended by a panic");
        Err(Fault::new(FailureReason::Internal, "the work in git ended by a fault of lockgate"))
    })
}

fn on_mirror<T>(
    executor: &Executor,
    remote: &Remote,
    work: impl FnOnce(&Mirror) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let mirror = executor.mirrors.open(&executor.settings.mirrors, &remote.url)?;
    let outcome = work(&mirror);
    if matches!(&outcome, Err(fault) if fault.reason == FailureReason::MirrorUnusable) {
        executor.mirrors.forget(&remote.url);
    } else {
        executor.mirrors.look_after(mirror);
    }
    outcome
}

/// What the branches point at now, in one exchange. Nothing is fetched.
pub(super) async fn tips(
    executor: &Arc<Executor>,
    remote: Remote,
    names: Vec<String>,
) -> Result<Seen, Fault> {
    let executor = Arc::clone(executor);
    blocking(move || {
        on_mirror(&executor, &remote, |mirror| {
            let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
            let tips = mirror.tips(&remote, &wanted)?;
            let tips = tips.iter().map(|tip| tip.as_ref().map(ToString::to_string));
            Ok(Seen(names.iter().cloned().zip(tips).collect()))
        })
    })
    .await
}

/// Passed-over markers that a failure names.
const SKIPPED_SHOWN: usize = 3;
/// Commits of a promotion branch that are looked at.
const MOST_AHEAD: usize = 1000;
