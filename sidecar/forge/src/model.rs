//! What all forges have in common.

use std::time::Duration;

use jiff::Timestamp;
use lockgate_core::secret::Sensitive;

/// A pull request (GitLab: merge request) as the forge shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Number in its repository (GitLab: `iid`).
    pub number: u64,
    /// Address for people.
    pub url: String,
    /// Title.
    pub title: String,
    /// Body; empty if there is none.
    pub body: String,
    /// The branch it comes from.
    pub head: String,
    /// The commit at its head, where the forge tells it. Of one that has ended: the commit that it
    /// ended with, never where the branch went afterwards.
    pub head_commit: Option<String>,
    /// The branch it goes to.
    pub base: String,
    /// Where it is in its life.
    pub state: PullRequestState,
    /// Whether it can be merged into its base as that is now. [`Mergeability::Unknown`] in lists,
    /// which no forge computes it for, and of what is not open.
    pub mergeability: Mergeability,
    /// Labels by name; empty where the forge has none.
    pub labels: Vec<String>,
    /// Whether the forge will merge it by itself; `None` where the answer does not say, see
    /// [`crate::Forge::auto_merge`].
    pub auto_merge: Option<bool>,
    /// What the forge needs beside the number to change it (GitHub: the node id; Bitbucket: the
    /// version); empty elsewhere.
    pub handle: String,
}

/// Where a pull request is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullRequestState {
    /// It waits to be merged.
    Open,
    /// It was merged.
    Merged {
        /// The commit that it left on the base branch, where the forge tells it.
        commit: Option<String>,
        /// When, where the forge tells it.
        at: Option<Timestamp>,
    },
    /// It was closed without a merge.
    Closed,
}

/// Whether a pull request conflicts with its base.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mergeability {
    /// The forge does not say, or has not found out yet.
    #[default]
    Unknown,
    /// It does not conflict. Checks or approvals may still be missing.
    Clean,
    /// It conflicts: nobody can merge it before its branch is made anew from the base, or a person
    /// resolves the conflict.
    Conflicting,
    /// It does not conflict, but the base's rules want its branch on top of the base, which has
    /// moved on: it has to be made anew as well.
    Behind,
}

/// A pull request to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPullRequest {
    /// Title, one line.
    pub title: String,
    /// Body, Markdown.
    pub body: String,
    /// The branch it comes from, in this repository.
    pub head: String,
    /// The branch it goes to.
    pub base: String,
    /// How long ago the head was pushed for the first time. For [`UNSEEN`] after that a forge that
    /// does not know the branch is [`crate::ForgeFault::NotYet`], afterwards it refuses.
    pub pushed: Duration,
}

/// For how long after a push a forge that says "no such branch" may just not have seen it. GitLab
/// was seen to take 38 s (srtab/daiv#1436), GitHub a few seconds (gitbutlerapp/gitbutler#4904).
pub const UNSEEN: Duration = Duration::from_secs(5 * 60);

/// For how long after a change of a pull request its checks may not have begun. Armed before, it
/// would be merged with no check at all: renovatebot/renovate#46236 has seen that of GitLab.
pub(crate) const SETTLED: Duration = Duration::from_secs(2 * 60);

/// A password for git that the forge gave out.
#[derive(Clone, PartialEq, Eq)]
pub struct GitToken {
    /// The password; the user name is `x-access-token`.
    pub secret: Sensitive,
    /// When git is refused with it, as the forge said; `None` where it did not.
    pub expires_at: Option<Timestamp>,
}

impl std::fmt::Debug for GitToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GitToken").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// What a pull request is to say from now on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Title, one line.
    pub title: String,
    /// Body, Markdown.
    pub body: String,
}

/// The answer to a look.
#[expect(clippy::large_enum_variant, reason = "one at a time, soon taken apart")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing has changed since the tag.
    Unchanged,
    /// How it stands.
    Changed {
        /// It.
        pull: PullRequest,
        /// To be given with the next look; `None` where the forge has no conditional requests.
        tag: Option<String>,
    },
}

/// A commit status or check run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Its context or name; on Azure DevOps `genre/name`.
    pub name: String,
    /// How it went.
    pub state: CheckState,
    /// For people; may be empty.
    pub description: String,
    /// Where to read on.
    pub url: Option<String>,
}

impl Check {
    /// What counts where a forge lists every check that was ever set: the newest of each name, the
    /// newest first. `dated` says of each when it was set, as a time or a number that grows. Of two
    /// at the same time the first.
    pub(crate) fn newest_of_each_name<D: Ord>(
        dated: impl IntoIterator<Item = (D, Self)>,
    ) -> Vec<Self> {
        let mut dated: Vec<(D, Self)> = dated.into_iter().collect();
        dated.sort_by(|(one, _), (other, _)| other.cmp(one));
        let mut newest: Vec<Self> = Vec::new();
        for (_, check) in dated {
            if !newest.iter().any(|newer| newer.name == check.name) {
                newest.push(check);
            }
        }
        newest
    }
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// It has not ended.
    Pending,
    /// It is good (GitHub's `neutral` and `skipped` too).
    Success,
    /// It is not good, or could not be run.
    Failure,
}
