//! A mirror against real repositories; the git binary is the judge.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod edits;
mod pushes;
mod repositories;
#[path = "../support/mod.rs"]
mod support;

use support::MARKER;

fn manifest(version: &str) -> String {
    format!(
        "kind: HelmRelease\nspec:\n  chart:\n      version: {version} {MARKER}\n\n\n  values: [ a,b ]\n"
    )
}
