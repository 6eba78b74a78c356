//! Whose branch is it? Decided from the messages of its commits; a pull request's body can tell
//! more.

use std::collections::BTreeMap;

use lockgate_core::naming::{Destination, parse_trailers};
use lockgate_core::promotion::{FailureReason, PromotionId};
use lockgate_git::{Ahead, CommitId};

use super::fault::Fault;
use super::outcome::Seen;

/// Who may push to a branch with our name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// There is no such branch.
    Free,
    /// A promotion to this destination made its tip: it may be replaced. The id says which one.
    Ours(Option<PromotionId>),
    /// It belongs to another destination whose name happens to be the same: we take our other name.
    OfAnother(String),
    /// Its tip is not ours, and the base branch has everything that is on it: nothing is lost when
    /// it is replaced.
    Merged,
    /// A person, or a tool that we do not know, has committed to it.
    Foreign(Foreign),
}

/// What else is known of a branch whose tip is not ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Foreign {
    /// Somebody has committed on top of a commit of ours, or has amended it.
    pub(super) on_ours: bool,
    /// Nothing on it need have been made by a person: each commit has the original's message, or
    /// there is only one.
    pub(super) by_a_tool: bool,
}

impl Claim {
    /// Judges a branch by the message of its tip.
    pub(super) fn of_message(message: &str, destination: &Destination<'_>) -> Self {
        let trailers = parse_trailers(message);
        match trailers.target {
            Some(target) if target == destination.to_string() => Self::Ours(trailers.promotion),
            Some(target) => Self::OfAnother(target),
            None => Self::Foreign(Foreign::default()),
        }
    }

    /// Judges a branch, whose tip has no trailer, by what it has beyond the base branch.
    pub(super) fn of_commits(ahead: &[Ahead]) -> Self {
        if ahead.is_empty() {
            return Self::Merged;
        }
        let on_ours = ahead.iter().any(|commit| parse_trailers(&commit.message).target.is_some());
        let originals = ahead.iter().all(|commit| commit.message.trim() == ORIGINAL_MESSAGE);
        Self::Foreign(Foreign { on_ours, by_a_tool: !on_ours && (originals || ahead.len() == 1) })
    }
}

/// The branch that a promotion works with, as of a fetch.
#[derive(Clone, Debug)]
pub(super) struct Survey {
    /// Tip of the base branch.
    pub(super) base: CommitId,
    /// The branch's name.
    pub(super) branch: String,
    /// Its tip.
    pub(super) head: Option<CommitId>,
    /// Whose it is; never `OfAnother`.
    pub(super) claim: Claim,
    /// Our other name, where that is free.
    other: Option<String>,
}

impl Survey {
    /// Of our names (the usual one, and the one after a collision) chooses the one to use. A branch
    /// that goes by the second one is ours and stays so, also when the usual name has become free:
    /// its pull request may be open.
    pub(super) fn choose(
        base: CommitId,
        names: Vec<String>,
        heads: &[Option<CommitId>],
        claim: impl Fn(&CommitId) -> Result<Claim, Fault>,
    ) -> Result<Self, Fault> {
        let mut places = names.iter().zip(heads);
        let usual = places.next();
        let mut other = None;
        if let Some((name, head)) = places.next() {
            match head {
                None => other = Some(name.clone()),
                Some(head) => match claim(head)? {
                    Claim::OfAnother(_) => {}
                    claim => {
                        return Ok(Self {
                            base,
                            branch: name.clone(),
                            head: Some(*head),
                            claim,
                            other: None,
                        });
                    }
                },
            }
        }
        let Some((name, head)) = usual else {
            return Err(Fault::new(
                FailureReason::Internal,
                "the promotion has no name for its branch",
            ));
        };
        let Some(head) = head else {
            return Ok(Self { base, branch: name.clone(), head: None, claim: Claim::Free, other });
        };
        match (claim(head)?, other) {
            (Claim::OfAnother(_), Some(other)) => {
                Ok(Self { base, branch: other, head: None, claim: Claim::Free, other: None })
            }
            (Claim::OfAnother(owner), None) => {
                let message = format!(
                    "{} belongs to another promotion, the one into {owner}",
                    branches(&names)
                );
                Err(Fault::new(FailureReason::BranchModified, message))
            }
            (claim, other) => {
                Ok(Self { base, branch: name.clone(), head: Some(*head), claim, other })
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
        Some(Self { base: self.base, branch, head: None, claim: Claim::Free, other: None })
    }

    /// The branch may not be pushed to.
    pub(super) fn modified(&self, pull_request: Option<&str>) -> Fault {
        let of = pull_request.map(|url| format!(" of {url}")).unwrap_or_default();
        let message = format!(
            "branch {}{of} has commits that are not lockgate's: merge or delete it",
            self.branch
        );
        Fault::new(FailureReason::BranchModified, message)
    }
}

fn branches(names: &[String]) -> String {
    let word = if names.len() == 1 { "branch" } else { "each of the branches" };
    format!("{word} {}", names.join(" and "))
}

/// What the original writes into each of its commits, and nothing else.
const ORIGINAL_MESSAGE: &str = "promoting version";

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

    #[test]
    fn a_branch_belongs_to_the_destination_in_its_tips_trailer() {
        let pipeline = "team-a/web".parse().unwrap();
        let destination = Destination { pipeline: &pipeline, environment: "prod", target: None };
        let id: PromotionId = "0193f6a1-5b3c-7c21-8e0c-1f1d6f5f7c21".parse().unwrap();
        let foreign = || Claim::Foreign(Foreign::default());
        for (message, expected) in [
            (
                format!("Promote\n\nLockgate-Promotion: {id}\nLockgate-Target: team-a/web/prod\n"),
                Claim::Ours(Some(id)),
            ),
            ("Promote\n\nLockgate-Target: team-a/web/prod\n".to_owned(), Claim::Ours(None)),
            (
                format!("Promote\n\nLockgate-Promotion: {id}\nLockgate-Target: team/a-web/prod\n"),
                Claim::OfAnother("team/a-web/prod".to_owned()),
            ),
            (
                format!(
                    "Promote\n\nLockgate-Promotion: {id}\nLockgate-Target: team-a/web/prod/east/web\n"
                ),
                Claim::OfAnother("team-a/web/prod/east/web".to_owned()),
            ),
            (format!("Promote\n\nLockgate-Promotion: {id}\n"), foreign()),
            ("fix the build by hand".to_owned(), foreign()),
            ("promoting version".to_owned(), foreign()),
            (String::new(), foreign()),
        ] {
            assert_eq!(Claim::of_message(&message, &destination), expected, "{message:?}");
        }
    }

    fn commit(digit: &str) -> CommitId {
        digit.repeat(40).parse().unwrap()
    }

    #[test]
    fn what_is_ahead_of_the_base_tells_a_tools_branch_from_a_persons() {
        let ours = "Promote\n\nLockgate-Target: team/web/prod";
        for (messages, expected) in [
            (&[][..], Claim::Merged),
            (
                &["promoting version\n", "promoting version"][..],
                Claim::Foreign(Foreign { on_ours: false, by_a_tool: true }),
            ),
            (&["something else"][..], Claim::Foreign(Foreign { on_ours: false, by_a_tool: true })),
            (
                &["a fix", "promoting version"][..],
                Claim::Foreign(Foreign { on_ours: false, by_a_tool: false }),
            ),
            (&["a fix", ours][..], Claim::Foreign(Foreign { on_ours: true, by_a_tool: false })),
            (
                &["promoting version", ours][..],
                Claim::Foreign(Foreign { on_ours: true, by_a_tool: false }),
            ),
        ] {
            let ahead: Vec<Ahead> = messages
                .iter()
                .map(|message| Ahead { id: commit("1"), message: (*message).to_owned() })
                .collect();
            assert_eq!(Claim::of_commits(&ahead), expected, "{messages:?}");
        }
    }

    #[test]
    fn of_two_names_the_second_is_used_where_it_is_in_use_or_the_first_is_anothers() {
        let (ours, other, foreign) = (commit("1"), commit("2"), commit("3"));
        let claim = |id: &CommitId| {
            Ok(match id {
                id if *id == ours => Claim::Ours(None),
                id if *id == other => Claim::OfAnother("x/y/z".to_owned()),
                _ => Claim::Foreign(Foreign::default()),
            })
        };
        for (first, second, expected) in [
            (None, None, Ok(("a", Claim::Free, Some("b")))),
            (Some(ours), None, Ok(("a", Claim::Ours(None), Some("b")))),
            (Some(foreign), None, Ok(("a", Claim::Foreign(Foreign::default()), Some("b")))),
            (Some(other), None, Ok(("b", Claim::Free, None))),
            (Some(other), Some(ours), Ok(("b", Claim::Ours(None), None))),
            (None, Some(ours), Ok(("b", Claim::Ours(None), None))),
            (Some(ours), Some(foreign), Ok(("b", Claim::Foreign(Foreign::default()), None))),
            (None, Some(other), Ok(("a", Claim::Free, None))),
            (Some(other), Some(other), Err(FailureReason::BranchModified)),
        ] {
            let names = vec!["a".to_owned(), "b".to_owned()];
            let survey = Survey::choose(commit("0"), names, &[first, second], claim);
            let got =
                survey.as_ref().map(|s| (s.branch.as_str(), s.claim.clone(), s.other.as_deref()));
            assert_eq!(got.map_err(|fault| fault.reason), expected, "{first:?} {second:?}");
        }
        let one = Survey::choose(commit("0"), vec!["a".to_owned()], &[Some(other)], claim);
        assert_eq!(
            one.map_err(|fault| fault.reason).map(|s| s.branch),
            Err(FailureReason::BranchModified)
        );
    }
}
