//! The repository of a promotion: where it is, and the commit that carries the version.
//!
//! Shared by every strategy that writes to git. The commit is always made on the tip of the base
//! branch that was just fetched, so a promotion branch never carries old history. Everything on a
//! mirror blocks.

use std::cmp::Ordering;
use std::sync::Arc;

use lockgate_core::naming::{Destination, title_of_a_return};
use lockgate_core::pipeline::Incomplete;
use lockgate_core::promotion::{DoneDetail, Failure, FailureReason};
use lockgate_core::revision::Version;
use lockgate_git::{
    Commit, CommitId, CommitMeta, CommitOutcome, GitError, Marker, Mirror, Occurrence, Remote,
    Search, Skipped,
};

use super::Executor;
use super::credentials;
use super::fault::Fault;
use super::order::{History, Order, Site};
use super::outcome::Seen;

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

    pub(super) fn markers(&self) -> Vec<Marker> {
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

    /// The commit on top of `base`, not pushed yet. `open` is the version of the pull request that
    /// it is to replace.
    pub(super) fn edit(
        &self,
        mirror: &Mirror,
        base: &CommitId,
        open: Option<&str>,
    ) -> Result<Edited, Fault> {
        let markers = self.markers();
        let search = mirror.find(base, &markers)?;
        if search.found.is_empty() {
            return Err(self.no_marker(&markers, &search));
        }
        let order = &self.order;
        let later = self.later_fields(&search);
        if order.history == History::None
            && let Some(field) = later.first()
        {
            return Err(self.behind(field));
        }
        let back_from = latest(
            later
                .iter()
                .map(|field| field.old.as_str())
                .chain(open.filter(|open| order.version.semver_cmp(open) == Some(Ordering::Less))),
        );
        let title = match &back_from {
            Some(later) => title_of_a_return(&order.texts.title, later),
            None => order.texts.title.clone(),
        };
        let settings = &self.executor.settings.git;
        let meta = CommitMeta {
            message: order.texts.commit_message.replacen(&order.texts.title, &title, 1),
            author_name: settings.author_name.clone(),
            author_email: settings.author_email.clone(),
            // Not the time of this attempt: the same work on the same base is the same commit.
            time: order.time.as_second(),
            signing_key: settings.signing_key.clone(),
        };
        let (commit, left_out) = match mirror.commit(base, &search, &order.version, &meta)? {
            CommitOutcome::Created(commit) => (Some(commit.clone()), commit.incomplete),
            CommitOutcome::Unchanged { incomplete } => (None, incomplete),
        };
        let incomplete = (!left_out.is_empty()).then(|| self.half(&search, &left_out));
        match incomplete {
            Some(failure) if order.incomplete == Incomplete::Refuse => {
                let message = format!(
                    "{}; nothing was pushed: mend them, or set promotion.incomplete: allow",
                    failure.message
                );
                Err(Fault::new(failure.reason, message))
            }
            incomplete => Ok(Edited { commit, title, back_from, incomplete }),
        }
    }

    /// The fields that hold a later version than the one to write.
    fn later_fields<'a>(&self, search: &'a Search) -> Vec<&'a Occurrence> {
        let is_later = |field: &&Occurrence| {
            let written = self.order.version.written(field.key.as_deref(), &field.old);
            // A field that takes a hash is neither earlier nor later.
            written.is_ok_and(|written| {
                Version::new(&written)
                    .is_ok_and(|written| written.semver_cmp(&field.old) == Some(Ordering::Less))
            })
        };
        search.found.iter().filter(is_later).collect()
    }

    fn behind(&self, field: &Occurrence) -> Fault {
        let message = format!(
            "{}:{} on branch {} holds {}, which is later than {}, and nothing is known of earlier \
             promotions to {}: retry this promotion if it is meant to go back, or promote a later \
             version",
            field.path,
            field.line,
            self.base_branch,
            field.old,
            self.order.version,
            self.destination()
        );
        Fault::new(FailureReason::BehindField, message)
    }

    fn half(&self, search: &Search, left_out: &[Skipped]) -> Failure {
        let mut message = format!(
            "{} of {} marked places on branch {} cannot be edited: {}",
            left_out.len(),
            search.found.len() + search.skipped.len(),
            self.base_branch,
            shown(left_out)
        );
        if left_out.len() > SKIPPED_SHOWN {
            message.push_str(&format!(" and {} more", left_out.len() - SKIPPED_SHOWN));
        }
        Failure { reason: FailureReason::IncompleteMarkers, message }
    }

    fn no_marker(&self, markers: &[Marker], search: &Search) -> Fault {
        let names: Vec<String> = markers.iter().map(ToString::to_string).collect();
        let mut message =
            format!("no marker {} on branch {}", names.join(" or "), self.base_branch);
        if !search.skipped.is_empty() {
            message.push_str(&format!("; passed over {}", shown(&search.skipped)));
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
    pub(super) fn already(&self, edited: &Edited) -> DoneDetail {
        let mut message = format!("already at {}", self.order.version);
        if let Some(failure) = &edited.incomplete {
            message.push_str(&format!("; {}", failure.message));
        }
        DoneDetail { commit: None, branch: None, message }
    }
}

/// What an edit came to.
pub(super) struct Edited {
    /// `None`: every marked place has the version already.
    pub(super) commit: Option<Commit>,
    /// The subject of the commit, which is the title of the pull request.
    pub(super) title: String,
    /// The later version that is left, where there is one.
    pub(super) back_from: Option<String>,
    /// Marked places that the Pipeline allows to leave out.
    pub(super) incomplete: Option<Failure>,
}

fn shown(skipped: &[Skipped]) -> String {
    let places = skipped.iter().take(SKIPPED_SHOWN).map(|skipped| {
        let line = skipped.line.map(|line| format!(":{line}")).unwrap_or_default();
        format!("{}{line}: {}", skipped.path, skipped.reason)
    });
    places.collect::<Vec<_>>().join("; ")
}

/// The latest of some semantic versions.
fn latest<'a>(versions: impl Iterator<Item = &'a str>) -> Option<String> {
    versions
        .filter_map(|text| Version::new(text).ok().map(|version| (version, text)))
        .reduce(|one, other| match one.0.semver_cmp(other.1) {
            Some(Ordering::Less) => other,
            _ => one,
        })
        .map(|(_, text)| text.to_owned())
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
