//! What a failed attempt saw of its repository.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The branches that an attempt looked at: name → commit at the tip, `None` for a branch that does
/// not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seen(pub BTreeMap<String, Option<String>>);

impl Seen {
    /// One branch.
    #[must_use]
    pub fn branch(name: impl Into<String>, tip: Option<String>) -> Self {
        Self(BTreeMap::from([(name.into(), tip)]))
    }

    /// Whether one of the branches has another tip in `now`. A branch that `now` does not tell of
    /// has not changed.
    #[must_use]
    pub fn has_changed(&self, now: &Self) -> bool {
        self.0.iter().any(|(name, tip)| now.0.get(name).is_some_and(|current| current != tip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
    #[cfg_attr(not(target_arch = "wasm32"), test)]
    fn a_branch_that_moves_appears_or_goes_is_a_change() {
        let of = |branches: &[(&str, Option<&str>)]| {
            Seen(branches.iter().map(|(n, t)| ((*n).to_owned(), t.map(str::to_owned))).collect())
        };
        let seen = of(&[("main", Some("1")), ("promotion", Some("2"))]);
        for (now, changed) in [
            (of(&[("main", Some("1")), ("promotion", Some("2"))]), false),
            (of(&[("main", Some("1")), ("other", Some("2"))]), false),
            (of(&[("main", Some("3"))]), true),
            (of(&[("main", None)]), true),
            (of(&[("main", Some("1")), ("promotion", None)]), true),
        ] {
            assert_eq!(seen.has_changed(&now), changed, "{now:?}");
        }
        assert!(of(&[("main", None)]).has_changed(&of(&[("main", Some("1"))])));
    }
}
