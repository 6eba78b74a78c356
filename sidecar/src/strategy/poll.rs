//! How an open pull request stands: merged, closed, or still open.
//!
//! A poll costs one request; where the forge has conditional ones, one that does not count.

use std::sync::Arc;

use lockgate_core::pipeline::PullRequest as Settings;
use lockgate_core::promotion::{Failure, FailureReason, PullRequestRecord};
use lockgate_forge::{ForgeError, ForgeFault, Mergeability, PullRequest, Seen as Answer};

use super::Executor;
use super::fault::Fault;
use super::forges::{self, ForgeSite};
use super::order::{Order, Work};
use super::outcome::Ended;
use super::publish::off;
use super::pull_request::{REQUEST, Rebuilt, rebuild};

/// What a poll found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled {
    /// Nothing has changed since the tag.
    Unchanged,
    Open {
        /// For the next poll; `None` where the forge has no conditional requests.
        tag: Option<String>,
        /// `None`: all is as the record says.
        news: Option<News>,
    },
    Ended(Ended),
}

/// What is known now of an open pull request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    pub pull: PullRequestRecord,
    about: About,
    /// Why it is not as the Pipeline asks.
    refused: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    /// Whether the forge merges it by itself.
    Merging,
    /// Whether it can be merged into its base.
    Conflict,
}

impl News {
    /// What the pull request lacks now, where it lacked `before`.
    #[must_use]
    pub fn incomplete(&self, before: Option<Failure>) -> Option<Failure> {
        // A conflict is told by the reason of what a person must do about it. Marked places that
        // were left out stay left out.
        let still = |failure: &Failure| match (self.about, failure.reason) {
            (_, FailureReason::IncompleteMarkers) => true,
            (About::Conflict, reason) => reason != FailureReason::BranchModified,
            (About::Merging, reason) => reason == FailureReason::BranchModified,
        };
        self.refused.clone().or_else(|| before.filter(still))
    }
}

pub(super) async fn poll(
    executor: &Arc<Executor>,
    order: &Order,
    record: &PullRequestRecord,
    tag: Option<&str>,
) -> Result<Polled, Fault> {
    let (site, settings) = site(executor, order, record)?;
    // To switch merging on or off the whole pull request is needed.
    let to_switch =
        settings.auto_merge != record.auto_merge || (settings.auto_merge && !record.merging_seen);
    order.fence.pass(REQUEST)?;
    match site.forge.look(record.number, tag.filter(|_| !to_switch)).await {
        Err(error @ ForgeError { fault: ForgeFault::Gone(_), .. }) => {
            Ok(Polled::Ended(Ended::deleted(record, &error)))
        }
        Err(error) => Err(error.into()),
        Ok(Answer::Unchanged) => Ok(Polled::Unchanged),
        Ok(Answer::Changed { pull, tag }) => match Ended::of(pull.state.clone()) {
            Some(ended) => Ok(Polled::Ended(ended)),
            None => {
                let news = match pull.mergeability {
                    Mergeability::Conflicting | Mergeability::Behind => {
                        conflict(executor, order, record, &pull).await?
                    }
                    Mergeability::Clean | Mergeability::Unknown => {
                        merging(order, &site, settings, record, &pull).await?
                    }
                };
                let resolved =
                    || News { pull: record.clone(), about: About::Conflict, refused: None };
                let clean = pull.mergeability == Mergeability::Clean;
                Ok(Polled::Open { tag, news: news.or_else(|| clean.then(resolved)) })
            }
        },
    }
}

/// The client for the repository that a pull request is in.
pub(super) fn site<'a>(
    executor: &Executor,
    order: &'a Order,
    record: &PullRequestRecord,
) -> Result<(ForgeSite, &'a Settings), Fault> {
    let Work::PullRequest { settings, secret } = &order.work else {
        let message = format!(
            "pipeline {} does not promote by pull request any more; {} is not followed",
            order.pipeline, record.url
        );
        return Err(Fault::new(FailureReason::PipelineChanged, message));
    };
    let site = forges::open(executor, settings, secret)?;
    if site.repository.to_string() != record.repository {
        let message = format!(
            "the pipeline names {} now, the pull request is in {}: close {} or name its repository \
             again",
            site.repository, record.repository, record.url
        );
        return Err(Fault::new(FailureReason::PipelineChanged, message));
    }
    Ok((site, settings))
}

/// The base has changed the same lines, or its rules want the branch on top of it. A branch that is
/// all ours is made anew; what a person has done on it only a person can reconcile.
async fn conflict(
    executor: &Arc<Executor>,
    order: &Order,
    record: &PullRequestRecord,
    pull: &PullRequest,
) -> Result<Option<News>, Fault> {
    let about = About::Conflict;
    match rebuild(executor, order, record, pull).await? {
        Rebuilt::Pushed(commit) => {
            // What the forge had agreed to merge was another commit.
            let pull = PullRequestRecord { commit, merging_seen: false, ..record.clone() };
            Ok(Some(News { pull, about, refused: None }))
        }
        Rebuilt::Nothing => Ok(None),
        Rebuilt::NotOurs if pull.mergeability == Mergeability::Behind => Ok(None),
        Rebuilt::NotOurs => {
            let message = format!(
                "{} conflicts with {}, and branch {} has commits that are not lockgate's: resolve \
                 the conflict on that branch",
                pull.url, pull.base, pull.head
            );
            let refused = Some(Failure { reason: FailureReason::BranchModified, message });
            Ok(Some(News { pull: record.clone(), about, refused }))
        }
    }
}

/// Compares what the forge says of merging with what the Pipeline asks.
///
/// Forges switch it off by themselves when something is pushed. So it is switched on again until
/// one poll has seen it on, and once more for each commit that came later. What a person switches
/// for a commit that was seen stays.
async fn merging(
    order: &Order,
    site: &ForgeSite,
    settings: &Settings,
    record: &PullRequestRecord,
    pull: &PullRequest,
) -> Result<Option<News>, Fault> {
    let wanted = settings.auto_merge;
    let head = pull.head_commit.clone().unwrap_or_else(|| record.commit.clone());
    let moved = head != record.commit;
    let known = !wanted || (record.merging_seen && !moved);
    if wanted == record.auto_merge && known {
        return Ok(None);
    }
    let as_seen = PullRequestRecord {
        commit: head,
        auto_merge: wanted,
        merging_seen: true,
        ..record.clone()
    };
    order.fence.pass(REQUEST)?;
    let now = match pull.auto_merge {
        Some(now) => now,
        None => site.forge.auto_merge(pull).await?,
    };
    let about = About::Merging;
    if now == wanted {
        return Ok(Some(News { pull: as_seen, about, refused: None }));
    }
    order.fence.pass(REQUEST)?;
    let set = site.forge.set_auto_merge(pull, wanted, settings.merge_method).await;
    Ok(Some(match if wanted { set } else { off(set) } {
        Ok(()) => News { pull: as_seen, about, refused: None },
        // What may work later, the next poll tries again.
        Err(error) if error.is_passing() => {
            let pull = PullRequestRecord { auto_merge: !wanted, ..as_seen };
            News { pull, about, refused: Some(Fault::from(error).failure()) }
        }
        Err(error) => News { pull: as_seen, about, refused: Some(Fault::from(error).failure()) },
    }))
}
