//! What all forges have in common.

use jiff::Timestamp;

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
    /// The commit at its head, where the forge tells it.
    pub head_commit: Option<String>,
    /// The branch it goes to.
    pub base: String,
    /// Where it is in its life.
    pub state: State,
    /// Labels by name; empty where the forge has none.
    pub labels: Vec<String>,
    /// Whether the forge will merge it by itself; `None` where the answer does not say.
    pub auto_merge: Option<bool>,
    /// What the forge needs beside the number to change it (GitHub: the node id; Bitbucket: the
    /// version); empty elsewhere.
    pub handle: String,
}

/// Where a pull request is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It waits to be merged.
    Open,
    /// It was merged.
    Merged {
        /// The commit that it left on the base branch, where the forge tells it.
        commit: Option<String>,
        /// When, where the forge tells it.
        at: Option<Timestamp>,
    },
    /// It was closed without a merge, or deleted.
    Closed,
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
