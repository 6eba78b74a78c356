//! Whose a promotion branch is, and what to do about the pull request that is found for it.
//!
//! ```text
//! commits between base and tip ─▶ Contents ─▶ (are ours untouched?) ─▶ Owner ─▶ pull::next ─▶ a question, or what to do
//! ```
//!
//! A branch may be replaced only if nothing on it is a person's. So everything between the base and
//! the tip counts, in whatever order: one commit that is not ours makes it a person's branch.

use crate::naming::{Destination, parse_trailers, version_of_message};
use crate::promotion::PromotionId;
use crate::revision::Version;

pub mod pull;

/// A commit that the branch has and its base does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit<'a> {
    /// The whole message.
    pub message: &'a str,
    /// `Name <email>`.
    pub author: &'a str,
    /// `Name <email>`.
    pub committer: &'a str,
    /// How many parents it has.
    pub parents: usize,
}

/// What the messages on a branch say. Whether the commits of ours are untouched only their content
/// tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// The base has everything.
    Nothing,
    /// Commits of this destination, and merges. It is ours if they are nothing else.
    Ours(Claimed),
    /// Commits of another destination, whose branch happens to have our name.
    OfAnother(String),
    /// Commits that the original made, and nothing else.
    Original,
    /// Commits of a person.
    Person {
        /// Some of the commits are ours.
        on_ours: bool,
    },
}

/// What has to be true of the commits on a branch that claims to be ours. Commits are named by
/// their place in the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The promotion that made the newest commit of ours.
    pub promotion: Option<PromotionId>,
    /// Each is its parent with this version written, and nothing else.
    pub edits: Vec<(usize, Version)>,
    /// Each is the second parent, which is the base, with one of these versions written.
    pub updates: Vec<usize>,
}

/// Whose a branch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// There is no such branch.
    Nobody,
    /// All of it is ours. The promotion is the one that made its newest commit.
    Ours(Option<PromotionId>),
    /// The base has everything that is on it.
    Merged,
    /// All of it is another destination's.
    Another(String),
    /// All of it is the original's.
    Original,
    /// A person has committed to it, or another tool.
    Person {
        /// Some of its commits are ours.
        on_ours: bool,
    },
}

impl Contents {
    /// Judges the commits between base and tip, newest first.
    #[must_use]
    pub fn of(commits: &[Commit<'_>], destination: &Destination<'_>) -> Self {
        if commits.is_empty() {
            return Self::Nothing;
        }
        let target = destination.to_string();
        let trailers: Vec<_> =
            commits.iter().map(|commit| parse_trailers(commit.message)).collect();
        let is_ours =
            |at: usize| trailers.get(at).and_then(|it| it.target.as_deref()) == Some(&*target);
        if (0..commits.len()).any(is_ours) {
            return claimed(commits, is_ours, |at| trailers.get(at).and_then(|it| it.promotion));
        }
        if let Some(another) = trailers.into_iter().find_map(|it| it.target) {
            return Self::OfAnother(another);
        }
        if commits.iter().all(is_the_originals) {
            return Self::Original;
        }
        Self::Person { on_ours: false }
    }
}

/// A branch with at least one commit that has our trailer.
fn claimed(
    commits: &[Commit<'_>],
    is_ours: impl Fn(usize) -> bool,
    promotion: impl Fn(usize) -> Option<PromotionId>,
) -> Contents {
    let mut claimed = Claimed { promotion: None, edits: Vec::new(), updates: Vec::new() };
    for (at, commit) in commits.iter().enumerate() {
        match (is_ours(at), version_of_message(commit.message)) {
            (true, Some(version)) => {
                if claimed.edits.is_empty() {
                    claimed.promotion = promotion(at);
                }
                claimed.edits.push((at, version));
            }
            // A forge's button that brings the base in makes a merge.
            (false, _) if commit.parents == 2 => claimed.updates.push(at),
            _ => return Contents::Person { on_ours: true },
        }
    }
    Contents::Ours(claimed)
}

/// The original's author has no address. The committer is compared too, because an amended commit
/// keeps its author.
fn is_the_originals(commit: &Commit<'_>) -> bool {
    let by = |who: &str| who.trim().trim_end_matches("<>").trim_end() == ORIGINAL_AUTHOR;
    commit.message.trim() == ORIGINAL_MESSAGE
        && commit.parents == 1
        && by(commit.author)
        && by(commit.committer)
}

/// Source: pipeline-controller 0.8, `server/strategy/pullrequest`.
const ORIGINAL_AUTHOR: &str = "Promotion Server";
const ORIGINAL_MESSAGE: &str = "promoting version";

#[cfg(test)]
mod tests;
