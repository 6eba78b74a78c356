//! Pull requests on five forges behind one trait.
//!
//! ```text
//! Repository::parse(kind, url) ─▶ connect(repository, connection) ─▶ Box<dyn Forge>
//! ```
//!
//! A [`Forge`] is one repository on one forge with one set of credentials. Every operation is a few
//! requests and holds no state: what exists is always asked for, so a caller that crashed between
//! two calls finds what it made. Nothing is repeated here; errors say whether repeating can help
//! ([`ForgeError::is_passing`]) and when the forge asked for it.
//!
//! What a forge cannot do is [`Fault::Unsupported`], never silently left out.

mod azure;
mod bitbucket;
mod error;
mod gitea;
mod github;
mod gitlab;
mod http;
mod model;
mod repository;

use async_trait::async_trait;
use lockgate_core::pipeline::{Forge as Kind, MergeMethod};
use lockgate_core::secret::Sensitive;

pub use crate::error::{Fault, ForgeError};
pub use crate::http::{Connection, Credentials, Observer};
pub use crate::model::{Check, CheckState, Edit, NewPullRequest, PullRequest, Seen, State};
pub use crate::repository::{AddressError, Repository};

/// The pull requests of one repository.
#[async_trait]
pub trait Forge: Send + Sync {
    /// The open pull request from `head` of this very repository (never a fork's) into `base`. All
    /// pages are looked at where the forge cannot filter by itself. Of several the lowest number.
    async fn find_open(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError>;

    /// The newest pull request from `head` of this repository into `base`, whatever its state: what
    /// a caller that crashed before it noted the number finds again, also when a person was quicker
    /// to merge or close it.
    async fn find_newest(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError>;

    /// Opens one. [`Fault::Exists`] if there is an open one already, [`Fault::NothingToMerge`] if
    /// the branches are equal.
    async fn create(&self, new: &NewPullRequest) -> Result<PullRequest, ForgeError>;

    /// Gives an open one another title and body. Only the requests that are needed.
    async fn update(&self, number: u64, edit: &Edit) -> Result<PullRequest, ForgeError>;

    /// Sees to it that it has these labels, among others that people set. Missing labels are made
    /// where the forge wants that.
    async fn add_labels(&self, number: u64, labels: &[String]) -> Result<(), ForgeError>;

    /// Asks for reviews. Those who were asked before stay.
    async fn request_reviewers(&self, number: u64, reviewers: &[String]) -> Result<(), ForgeError>;

    /// Has the forge merge it by itself as soon as its rules allow, or no longer. `method` applies
    /// to switching on; `None` leaves it to the forge.
    async fn set_auto_merge(
        &self,
        pull: &PullRequest,
        on: bool,
        method: Option<MergeMethod>,
    ) -> Result<(), ForgeError>;

    /// How it stands now. `tag` is that of the last [`Seen::Changed`]: where the forge has
    /// conditional requests, an unchanged one costs one request that does not count against limits.
    async fn look(&self, number: u64, tag: Option<&str>) -> Result<Seen, ForgeError>;

    /// Commit statuses and, where the forge has them, check runs of a commit; the newest of each
    /// name, all pages.
    async fn checks(&self, commit: &str) -> Result<Vec<Check>, ForgeError>;

    /// Sets a commit status; one of the same name is replaced.
    async fn set_check(&self, commit: &str, check: &Check) -> Result<(), ForgeError>;

    /// Adds a comment for people.
    async fn comment(&self, number: u64, text: &str) -> Result<(), ForgeError>;

    /// The password for git over https (user name `x-access-token`) where the credentials
    /// themselves are none: a GitHub App's installation token, good for 30 seconds at least.
    /// `None`: git takes what the Secret has.
    async fn git_token(&self) -> Result<Option<Sensitive>, ForgeError> {
        Ok(None)
    }
}

/// The client for a repository.
///
/// # Errors
/// [`Fault::Credentials`] where the forge cannot be talked to with what the connection holds;
/// [`Fault::Connection`] where CA or proxy cannot be used. No request is made.
pub fn connect(
    repository: &Repository,
    connection: Connection,
) -> Result<Box<dyn Forge>, ForgeError> {
    Ok(match repository.kind() {
        Kind::GitHub => Box::new(github::GitHub::new(repository, connection)?),
        Kind::GitLab => Box::new(gitlab::GitLab::new(repository, connection)?),
        Kind::BitbucketServer => Box::new(bitbucket::Bitbucket::new(repository, connection)?),
        Kind::AzureDevOps => Box::new(azure::Azure::new(repository, connection)?),
        Kind::Gitea => Box::new(gitea::Gitea::new(repository, connection)?),
    })
}
