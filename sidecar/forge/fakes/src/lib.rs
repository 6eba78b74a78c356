//! Stateful fakes of forges on loopback.
//!
//! Each fake serves the part of its forge's interface that promotions need, from state that
//! requests change, and refuses what the real one refuses; the module of each says which page of
//! the forge's documentation each behaviour comes from. The git side is real: [`GitHost`] serves
//! bare repositories through `git http-backend`, with basic authentication where it has a password.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "used by tests and benchmarks only"
)]

mod azure;
mod bitbucket;
mod git_host;
pub mod gitea;
mod github;
mod gitlab;
mod interface;
mod server;

pub use azure::Azure;
pub use bitbucket::Bitbucket;
pub use git_host::{GitHost, git};
pub use github::GitHub;
pub use gitlab::GitLab;
pub use interface::Fake;
pub use server::{Log, Recorded, Server, record};
