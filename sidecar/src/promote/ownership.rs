//! Whose branch is it? Decided from the message of its tip alone.

use lockgate_core::naming::{Destination, parse_trailers};
use lockgate_core::promotion::PromotionId;

/// Who may push to a branch with our name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// A promotion to this destination made its tip: it may be replaced. The id says which one.
    Ours(Option<PromotionId>),
    /// It belongs to another destination whose name happens to be the same: we take our other name.
    OfAnother(String),
    /// A person, or a tool that we do not know, has committed to it: nothing may be pushed.
    Foreign,
}

/// Judges a branch by the message of its tip.
#[must_use]
pub fn ownership(message: &str, destination: &Destination<'_>) -> Ownership {
    let trailers = parse_trailers(message);
    match trailers.target {
        Some(target) if target == destination.to_string() => Ownership::Ours(trailers.promotion),
        Some(target) => Ownership::OfAnother(target),
        None => Ownership::Foreign,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

    use super::*;

    #[test]
    fn a_branch_belongs_to_the_destination_in_its_tips_trailer() {
        let pipeline = "team-a/web".parse().unwrap();
        let destination = Destination { pipeline: &pipeline, environment: "prod", target: None };
        let id: PromotionId = "0193f6a1-5b3c-7c21-8e0c-1f1d6f5f7c21".parse().unwrap();
        for (message, expected) in [
            (format!("Promote\n\nLockgate-Promotion: {id}\nLockgate-Target: team-a/web/prod\n"), Ownership::Ours(Some(id))),
            ("Promote\n\nLockgate-Target: team-a/web/prod\n".to_owned(), Ownership::Ours(None)),
            (
                format!("Promote\n\nLockgate-Promotion: {id}\nLockgate-Target: team/a-web/prod\n"),
                Ownership::OfAnother("team/a-web/prod".to_owned()),
            ),
            (
                format!("Promote\n\nLockgate-Promotion: {id}\nLockgate-Target: team-a/web/prod/east/web\n"),
                Ownership::OfAnother("team-a/web/prod/east/web".to_owned()),
            ),
            (format!("Promote\n\nLockgate-Promotion: {id}\n"), Ownership::Foreign),
            ("fix the build by hand".to_owned(), Ownership::Foreign),
            ("promoting version".to_owned(), Ownership::Foreign),
            (String::new(), Ownership::Foreign),
        ] {
            assert_eq!(ownership(&message, &destination), expected, "{message:?}");
        }
    }
}
