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
//! What a forge cannot do is [`ForgeFault::Unsupported`], never silently left out.

mod azure;
mod bitbucket;
mod connection;
mod error;
mod explain;
mod gitea;
mod github;
mod gitlab;
mod http;
mod model;
mod pause;
mod repository;
mod says;
mod texts;

use std::time::Duration;

use async_trait::async_trait;
use lockgate_core::pipeline::{Forge as Kind, MergeMethod};

pub use crate::connection::{Connection, Credentials, Observer};
pub use crate::error::{ForgeError, ForgeFault};
pub use crate::model::{
    Check, CheckState, Edit, GitToken, Mergeability, NewPullRequest, PullRequest, PullRequestState,
    Seen, UNSEEN,
};
pub use crate::repository::{AddressError, Repository};

/// The pull requests of one repository.
///
/// Titles and bodies that are longer than the forge takes are shortened by [`Repository::fit`] in
/// [`Forge::create`] and [`Forge::update`] too, so that nothing is refused for its length.
#[async_trait]
pub trait Forge: Send + Sync {
    /// The open pull request from `head` of this very repository (never a fork's) into `base`. All
    /// pages are read where the forge cannot filter by itself. Where there are several, the one
    /// with the lowest number.
    async fn find_open(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError>;

    /// The newest pull request from `head` of this repository into `base`, whatever its state, with
    /// its whole body. A caller that crashed before it noted the number finds its pull request
    /// again, also when a person was quicker to merge or close it. Whether it is the caller's own
    /// only its body says: an older one from the same branch is found too.
    async fn find_newest(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError>;

    /// Opens one. [`ForgeFault::Exists`] if there is an open one already,
    /// [`ForgeFault::NothingToMerge`] if the branches are equal, [`ForgeFault::NotYet`] if the
    /// forge has not seen the push yet.
    async fn create(&self, new: &NewPullRequest) -> Result<PullRequest, ForgeError>;

    /// Gives an open one another title and body. Only the requests that are needed.
    async fn update(&self, number: u64, edit: &Edit) -> Result<PullRequest, ForgeError>;

    /// Closes an open one without a merge. Closing what is closed or merged is done, and changes
    /// nothing. [`ForgeFault::Gone`] if it was deleted.
    async fn close(&self, number: u64) -> Result<(), ForgeError>;

    /// Adds these labels to those that it has. Missing labels are made where the forge wants that.
    async fn add_labels(&self, number: u64, labels: &[String]) -> Result<(), ForgeError>;

    /// Asks for reviews. Those who were asked before stay.
    async fn request_reviewers(&self, number: u64, reviewers: &[String]) -> Result<(), ForgeError>;

    /// Lets the forge merge it by itself as soon as its rules allow, or no longer. `method` applies
    /// to switching on; `None` leaves it to the forge. Switching off what is off, merged, closed
    /// or deleted is done. [`ForgeFault::NotYet`] where switching on now would merge what no check
    /// has seen.
    async fn set_auto_merge(
        &self,
        pull: &PullRequest,
        on: bool,
        method: Option<MergeMethod>,
    ) -> Result<(), ForgeError>;

    /// Whether the forge will merge it by itself, as it says now. A request only where the pull
    /// request itself does not tell (Bitbucket, Gitea): forges switch it off by themselves, for
    /// example after a push, so that what was once switched on says nothing.
    async fn auto_merge(&self, pull: &PullRequest) -> Result<bool, ForgeError> {
        Ok(pull.auto_merge == Some(true))
    }

    /// How it stands now. `tag` is that of the last [`Seen::Changed`]: where the forge has
    /// conditional requests, an unchanged one costs one request that does not count against limits.
    /// [`ForgeFault::Gone`] if it was deleted while its repository can still be seen.
    async fn look(&self, number: u64, tag: Option<&str>) -> Result<Seen, ForgeError>;

    /// Commit statuses and, where the forge has them, check runs of a commit; the newest of each
    /// name, all pages.
    async fn checks(&self, commit: &str) -> Result<Vec<Check>, ForgeError>;

    /// Sets a commit status; one of the same name is replaced.
    async fn set_check(&self, commit: &str, check: &Check) -> Result<(), ForgeError>;

    /// Adds a comment for people.
    async fn comment(&self, number: u64, text: &str) -> Result<(), ForgeError>;

    /// The password for git over https where the credentials themselves are none: a GitHub App's
    /// installation token, which lives for an hour. It is good for `valid_for` at least, so that
    /// who fetches for longer asks again in time; more than 50 minutes are not promised. `None`:
    /// git takes what the Secret has.
    async fn git_token(&self, _valid_for: Duration) -> Result<Option<GitToken>, ForgeError> {
        Ok(None)
    }
}

/// The client for a repository.
///
/// # Errors
/// [`ForgeFault::Credentials`] where the forge cannot be talked to with what the connection holds;
/// [`ForgeFault::Connection`] where CA or proxy cannot be used. No request is made.
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
