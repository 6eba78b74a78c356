//! What follows from events, told as stories.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod answers;
mod model;
#[cfg(not(target_arch = "wasm32"))]
mod properties;
mod revisions;
mod targets;
mod wording;
