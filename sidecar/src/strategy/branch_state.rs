//! The branch that a promotion works with, as of a fetch, and whose it is.
//!
//! The rules are in [`lockgate_core::branch`]; here git is asked what they need to know.

use std::collections::BTreeMap;

use lockgate_core::branch::{Claimed, Commit, Contents, Owner};
use lockgate_core::promotion::FailureReason;
use lockgate_git::{Ahead, CommitId, GitError, Mirror};

use super::fault::Fault;
use super::outcome::Seen;
use super::repository::Job;

#[derive(Clone, Debug)]
pub(super) struct BranchState {
    /// Tip of the base branch.
    pub(super) base: CommitId,
    /// The branch's name.
    pub(super) branch: String,
    /// Its tip; `None` if there is no such branch.
    pub(super) head: Option<CommitId>,
    /// Never `Another`.
    pub(super) owner: Owner,
    /// Our other name, where that is free.
    other: Option<String>,
}

impl BranchState {
    /// Chooses between our two names: the usual one, and the one after a collision. A branch that
    /// goes by the second one is ours and stays so, also when the usual name has become free: its
    /// pull request may be open.
    pub(super) fn choose(
        base: CommitId,
        names: Vec<String>,
        heads: &[Option<CommitId>],
        owner: impl Fn(&CommitId) -> Result<Owner, Fault>,
    ) -> Result<Self, Fault> {
        let mut branches = names.iter().zip(heads);
        let usual = branches.next();
        let mut other = None;
        if let Some((name, head)) = branches.next() {
            match head {
                None => other = Some(name.clone()),
                Some(head) => match owner(head)? {
                    Owner::Another(_) => {}
                    owner => {
                        let (branch, head) = (name.clone(), Some(*head));
                        return Ok(Self { base, branch, head, owner, other: None });
                    }
                },
            }
        }
        let Some((name, head)) = usual else {
            let message = "the promotion has no name for its branch";
            return Err(Fault::new(FailureReason::Internal, message));
        };
        let Some(head) = head else {
            let branch = name.clone();
            return Ok(Self { base, branch, head: None, owner: Owner::Nobody, other });
        };
        match (owner(head)?, other) {
            (Owner::Another(_), Some(branch)) => {
                Ok(Self { base, branch, head: None, owner: Owner::Nobody, other: None })
            }
            (Owner::Another(target), None) => {
                let word = if names.len() == 1 { "branch" } else { "each of the branches" };
                let message = format!(
                    "{word} {} belongs to another promotion, the one into {target}: merge or \
                     delete it, and this one goes on",
                    names.join(" and ")
                );
                Err(Fault::new(FailureReason::BranchModified, message))
            }
            (owner, other) => {
                Ok(Self { base, branch: name.clone(), head: Some(*head), owner, other })
            }
        }
    }

    /// What was seen of the repository, for a later question whether it has changed.
    pub(super) fn seen(&self, base_branch: &str) -> Seen {
        Seen(BTreeMap::from([
            (base_branch.to_owned(), Some(self.base.to_string())),
            (self.branch.clone(), self.head.as_ref().map(ToString::to_string)),
        ]))
    }

    /// The same with our other name, where that is free.
    pub(super) fn elsewhere(&self) -> Option<Self> {
        let branch = self.other.clone()?;
        Some(Self { base: self.base, branch, head: None, owner: Owner::Nobody, other: None })
    }

    /// The branch may not be pushed to.
    pub(super) fn modified(&self, pull_request: Option<&str>) -> Fault {
        let of = pull_request.map(|url| format!(" of {url}")).unwrap_or_default();
        let message = format!(
            "branch {}{of} has commits that are not lockgate's: merge or delete it, and the \
             promotion goes on",
            self.branch
        );
        Fault::new(FailureReason::BranchModified, message)
    }
}

impl Job {
    /// Fetches, and finds out which of our two branch names is ours to use.
    pub(super) fn branch_state(&self, mirror: &Mirror) -> Result<BranchState, Fault> {
        let destination = self.destination();
        let mut names = vec![destination.branch(), destination.branch_after_collision()];
        names.dedup();
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        let branches = mirror.fetch_branches(&self.remote, &self.base_branch, &wanted)?;
        BranchState::choose(branches.base, names, &branches.heads, |head| {
            self.owner(mirror, &mirror.ahead(&branches.base, head, MOST_AHEAD)?)
        })
    }

    /// Pushes a commit as the branch, or as our other one where a branch of a person stands in the
    /// way: with `promotion-a/x` there can be no `promotion-a`.
    pub(super) fn push_to(
        &self,
        mirror: &Mirror,
        branch: &mut BranchState,
        commit: &CommitId,
    ) -> Result<(), Fault> {
        match self.push(mirror, &branch.branch, branch.head.as_ref(), commit) {
            Err(blocked @ GitError::BranchBlocked { .. }) => {
                *branch = branch.elsewhere().ok_or(blocked)?;
                Ok(self.push(mirror, &branch.branch, None, commit)?)
            }
            pushed => Ok(pushed?),
        }
    }

    /// Whose a branch is, by the commits that it has beyond the base.
    fn owner(&self, mirror: &Mirror, ahead: &[Ahead]) -> Result<Owner, Fault> {
        if ahead.len() >= MOST_AHEAD {
            return Ok(Owner::Person { on_ours: true });
        }
        let commits: Vec<Commit<'_>> = ahead
            .iter()
            .map(|commit| Commit {
                message: &commit.message,
                author: &commit.author,
                committer: &commit.committer,
                parents: commit.parents,
            })
            .collect();
        Ok(match Contents::of(&commits, &self.destination()) {
            Contents::Nothing => Owner::Merged,
            Contents::OfAnother(target) => Owner::Another(target),
            Contents::Original => Owner::Original,
            Contents::Person { on_ours } => Owner::Person { on_ours },
            Contents::Ours(claimed) if self.is_untouched(mirror, ahead, &claimed)? => {
                Owner::Ours(claimed.promotion)
            }
            // The trailers of a commit survive its amendment.
            Contents::Ours(_) => Owner::Person { on_ours: true },
        })
    }

    /// Whether the commits of ours are as we made them, though perhaps rebased, and the merges
    /// bring in the base and nothing else.
    fn is_untouched(
        &self,
        mirror: &Mirror,
        ahead: &[Ahead],
        claimed: &Claimed,
    ) -> Result<bool, Fault> {
        let markers = self.markers();
        for (at, version) in &claimed.edits {
            let Some(commit) = ahead.get(*at) else { return Ok(false) };
            if !mirror.is_edit(&commit.id, &markers, version)? {
                return Ok(false);
            }
        }
        for at in &claimed.updates {
            let Some(commit) = ahead.get(*at) else { return Ok(false) };
            let mut is_update = false;
            for (_, version) in &claimed.edits {
                is_update |= mirror.is_edit_with_update(&commit.id, &markers, version)?;
            }
            if !is_update {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Commits of a promotion branch that are judged. A branch with more is not ours.
const MOST_AHEAD: usize = 1000;

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "test code"
    )]

    use super::*;

    fn commit(digit: &str) -> CommitId {
        digit.repeat(40).parse().unwrap()
    }

    #[test]
    fn the_second_of_two_names_is_used_where_it_is_in_use_or_the_first_is_anothers() {
        let (ours, other, persons) = (commit("1"), commit("2"), commit("3"));
        let person = || Owner::Person { on_ours: false };
        let owner = |id: &CommitId| {
            Ok(match id {
                id if *id == ours => Owner::Ours(None),
                id if *id == other => Owner::Another("x/y/z".to_owned()),
                _ => person(),
            })
        };
        for (first, second, expected) in [
            (None, None, Ok(("a", Owner::Nobody, Some("b")))),
            (Some(ours), None, Ok(("a", Owner::Ours(None), Some("b")))),
            (Some(persons), None, Ok(("a", person(), Some("b")))),
            (Some(other), None, Ok(("b", Owner::Nobody, None))),
            (Some(other), Some(ours), Ok(("b", Owner::Ours(None), None))),
            (None, Some(ours), Ok(("b", Owner::Ours(None), None))),
            (Some(ours), Some(persons), Ok(("b", person(), None))),
            (None, Some(other), Ok(("a", Owner::Nobody, None))),
            (Some(other), Some(other), Err(FailureReason::BranchModified)),
        ] {
            let names = vec!["a".to_owned(), "b".to_owned()];
            let state = BranchState::choose(commit("0"), names, &[first, second], owner);
            let got =
                state.as_ref().map(|s| (s.branch.as_str(), s.owner.clone(), s.other.as_deref()));
            assert_eq!(got.map_err(|fault| fault.reason), expected, "{first:?} {second:?}");
        }
        let one = BranchState::choose(commit("0"), vec!["a".to_owned()], &[Some(other)], owner);
        assert_eq!(
            one.map_err(|fault| fault.reason).map(|s| s.branch),
            Err(FailureReason::BranchModified)
        );
    }
}
