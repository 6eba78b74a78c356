//! What to do about the pull request of a promotion branch.
//!
//! [`next`] is a table: from what is known it gives what to do, or the one question still to ask.
//! It asks as little as it can: a first attempt on a free branch asks nothing.

use super::Owner;
use crate::promotion::PromotionId;

/// What is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// No earlier attempt of this promotion can have left anything.
    pub first: bool,
    /// This promotion.
    pub id: PromotionId,
    /// Whose the branch is.
    pub owner: Owner,
    /// What the forge has answered.
    pub answer: Answer,
    /// Whether the base has every change of the branch, though as other commits. `None`: it was not
    /// asked.
    pub contained: Option<bool>,
}

/// What the forge has answered about pull requests from the branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was not asked.
    None,
    /// The open one, or that there is none.
    Open(Option<Pull>),
    /// The newest one, whatever its state, or that there is none.
    Newest(Option<Pull>),
}

/// A pull request from the branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pull {
    /// Where it is in its life.
    pub state: PullState,
    /// Which destination its metadata block names.
    pub names: Names,
    /// The promotion whose id its body has.
    pub promotion: Option<PromotionId>,
}

/// Where a pull request is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PullState {
    /// It waits to be merged.
    Open,
    /// It was merged.
    Merged,
    /// It was closed without a merge.
    Closed,
}

/// Which destination a pull request's metadata block names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// None: a person opened it.
    Nothing,
    /// This one.
    This,
    /// Another one.
    Another,
}

/// A question, or what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask the forge for the open pull request.
    AskOpen,
    /// Ask the forge for the newest pull request.
    AskNewest,
    /// Ask git whether the base has every change of the branch.
    AskContained,
    /// Write the branch anew and open a pull request.
    Open,
    /// Write the branch anew and update the pull request that was found.
    Update,
    /// It is as this promotion wants it: see to its settings alone.
    Keep,
    /// A person has ended this promotion's pull request.
    Ended,
    /// The branch is another destination's: go on with our other name.
    OtherName,
    /// A person's work is on the branch: touch nothing.
    Modified,
}

/// From what is known to what to do.
#[must_use]
pub fn next(known: &Known) -> Next {
    match &known.owner {
        Owner::Another(_) => Next::OtherName,
        Owner::Nobody | Owner::Ours(_) | Owner::Merged => free_to_write(known),
        Owner::Original | Owner::Person { .. } => not_ours(known),
    }
}

/// The branch may be written anew. Who knows that nothing of this promotion exists asks less.
fn free_to_write(known: &Known) -> Next {
    let pull = match (&known.owner, known.first, known.answer) {
        (Owner::Nobody, true, _) => return Next::Open,
        (_, true, Answer::None) => return Next::AskOpen,
        (_, false, Answer::None | Answer::Open(_)) => return Next::AskNewest,
        (_, _, Answer::Open(pull) | Answer::Newest(pull)) => pull,
    };
    let Some(pull) = pull else { return Next::Open };
    let of_this = pull.promotion == Some(known.id);
    let pushed = known.owner == Owner::Ours(Some(known.id));
    match pull.state {
        // The branch has nothing of ours, and its pull request is another destination's.
        PullState::Open if pull.names == Names::Another && !is_ours(&known.owner) => {
            Next::OtherName
        }
        PullState::Open if of_this && pushed => Next::Keep,
        PullState::Open => Next::Update,
        // One without our id was of another version: a person said nothing about this one.
        PullState::Merged | PullState::Closed if of_this => Next::Ended,
        PullState::Merged | PullState::Closed => Next::Open,
    }
}

fn is_ours(owner: &Owner) -> bool {
    matches!(owner, Owner::Ours(_) | Owner::Person { on_ours: true })
}

/// The branch has commits that are not ours. Only its pull request can say that they may go.
fn not_ours(known: &Known) -> Next {
    let pull = match known.answer {
        Answer::None | Answer::Open(_) => return Next::AskNewest,
        Answer::Newest(None) => return Next::Modified,
        Answer::Newest(Some(pull)) => pull,
    };
    let of_this = pull.promotion == Some(known.id);
    match (pull.state, pull.names) {
        // This promotion's. A person worked on it before it could be noted.
        (PullState::Open, _) if of_this => Next::Keep,
        (PullState::Merged | PullState::Closed, _) if of_this => Next::Ended,
        // The original's, for this destination.
        (PullState::Open, Names::This)
            if known.owner == Owner::Original && pull.promotion.is_none() =>
        {
            Next::Update
        }
        // Another destination's, whoever has committed to it.
        (PullState::Open, Names::Another) if !is_ours(&known.owner) => Next::OtherName,
        // Squashed or rebased into the base: nothing is lost if the base has it all.
        (PullState::Merged, _) => match known.contained {
            None => Next::AskContained,
            Some(true) => Next::Open,
            Some(false) => Next::Modified,
        },
        (PullState::Open | PullState::Closed, _) => Next::Modified,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    fn id(text: &str) -> PromotionId {
        format!("0193f6a1-5b3c-7c21-8e0c-1f1d6f5f7c{text}").parse().unwrap()
    }

    fn known(owner: &Owner, first: bool, answer: Answer) -> Known {
        Known { first, id: id("21"), owner: owner.clone(), answer, contained: None }
    }

    fn pull(state: PullState, names: Names, promotion: Option<&str>) -> Option<Pull> {
        Some(Pull { state, names, promotion: promotion.map(id) })
    }

    const THIS: Option<&str> = Some("21");
    const OLDER: Option<&str> = Some("20");

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn a_branch_that_may_be_written_is_opened_updated_kept_or_has_been_ended() {
        use Answer::{Newest, Open};
        use PullState::{Closed, Merged};
        let (ours, older) = (Owner::Ours(Some(id("21"))), Owner::Ours(Some(id("20"))));
        let (nobody, merged) = (Owner::Nobody, Owner::Merged);
        let open = PullState::Open;
        for (owner, first, answer, expected) in [
            (&nobody, true, Answer::None, Next::Open),
            (&older, true, Answer::None, Next::AskOpen),
            (&merged, true, Answer::None, Next::AskOpen),
            (&older, true, Open(None), Next::Open),
            (&older, true, Open(pull(open, Names::This, OLDER)), Next::Update),
            (&older, true, Open(pull(open, Names::Nothing, None)), Next::Update),
            (&merged, true, Open(pull(open, Names::This, OLDER)), Next::Update),
            (&merged, true, Open(pull(open, Names::Another, None)), Next::OtherName),
            (&nobody, false, Answer::None, Next::AskNewest),
            (&ours, false, Answer::None, Next::AskNewest),
            (&ours, false, Newest(None), Next::Open),
            (&ours, false, Newest(pull(open, Names::This, THIS)), Next::Keep),
            // Pushed, and its text is still the older one's.
            (&ours, false, Newest(pull(open, Names::This, OLDER)), Next::Update),
            (&older, false, Newest(pull(open, Names::This, THIS)), Next::Update),
            (&nobody, false, Newest(pull(open, Names::This, THIS)), Next::Update),
            (&nobody, false, Newest(pull(open, Names::Another, None)), Next::OtherName),
            (&ours, false, Newest(pull(Merged, Names::This, THIS)), Next::Ended),
            (&nobody, false, Newest(pull(Closed, Names::This, THIS)), Next::Ended),
            (&merged, false, Newest(pull(Merged, Names::This, THIS)), Next::Ended),
            // An older promotion's has ended: whatever its head is now, it says nothing of this.
            (&ours, false, Newest(pull(Merged, Names::This, OLDER)), Next::Open),
            (&ours, false, Newest(pull(Closed, Names::This, OLDER)), Next::Open),
            (&ours, false, Newest(pull(Closed, Names::Nothing, None)), Next::Open),
        ] {
            let got = next(&known(owner, first, answer));
            assert_eq!(got, expected, "{owner:?}, first: {first}, {answer:?}");
        }
    }

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn a_branch_with_other_commits_is_touched_only_where_its_pull_request_allows_it() {
        use Answer::{Newest, Open};
        use PullState::{Closed, Merged};
        let (original, person) = (Owner::Original, Owner::Person { on_ours: false });
        let on_ours = Owner::Person { on_ours: true };
        let open = PullState::Open;
        for (owner, answer, expected) in [
            (&person, Answer::None, Next::AskNewest),
            (&original, Open(None), Next::AskNewest),
            (&original, Newest(None), Next::Modified),
            (&person, Newest(None), Next::Modified),
            (&original, Newest(pull(open, Names::This, None)), Next::Update),
            // The original's block with an id of ours: a person has put other commits there.
            (&original, Newest(pull(open, Names::This, OLDER)), Next::Modified),
            (&original, Newest(pull(open, Names::Nothing, None)), Next::Modified),
            (&original, Newest(pull(Closed, Names::This, None)), Next::Modified),
            (&person, Newest(pull(open, Names::This, None)), Next::Modified),
            (&person, Newest(pull(open, Names::This, OLDER)), Next::Modified),
            (&on_ours, Newest(pull(open, Names::This, OLDER)), Next::Modified),
            (&on_ours, Newest(pull(open, Names::This, THIS)), Next::Keep),
            (&on_ours, Newest(pull(Merged, Names::This, THIS)), Next::Ended),
            (&person, Newest(pull(Closed, Names::This, THIS)), Next::Ended),
            (&person, Newest(pull(open, Names::Another, None)), Next::OtherName),
            (&original, Newest(pull(open, Names::Another, None)), Next::OtherName),
            (&person, Newest(pull(open, Names::Another, OLDER)), Next::OtherName),
            (&on_ours, Newest(pull(open, Names::Another, None)), Next::Modified),
            (&person, Newest(pull(Merged, Names::This, OLDER)), Next::AskContained),
            (&person, Newest(pull(Closed, Names::This, OLDER)), Next::Modified),
        ] {
            for first in [true, false] {
                let got = next(&known(owner, first, answer));
                assert_eq!(got, expected, "{owner:?}, {answer:?}");
            }
        }
        let merged = known(&person, false, Newest(pull(Merged, Names::This, OLDER)));
        let with = |contained| Known { contained: Some(contained), ..merged.clone() };
        assert_eq!((next(&with(true)), next(&with(false))), (Next::Open, Next::Modified));
        let another = known(&Owner::Another("a/b/c".to_owned()), true, Answer::None);
        assert_eq!(next(&another), Next::OtherName);
    }
}
