//! Bitbucket Data Center's REST API, the part that promotions need, on real repositories.
//!
//! What it refuses, and where that is written (developer.atlassian.com, "Bitbucket Data Center REST
//! API"; the names of exceptions are those of the Java API, `com.atlassian.bitbucket.…`):
//! - credentials are `Authorization: Bearer` with an HTTP access token, or basic: "HTTP access
//!   tokens"; wrong ones get 401 with an authentication exception, a missing right 401 with an
//!   `AuthorisationException`; the token of a project or a repository is a bearer only;
//! - lists have pages: `values`, `isLastPage`, `nextPageStart`: "Paged APIs";
//! - `GET …/pull-requests`: `at` must be a whole ref; `direction` says whether it is the branch
//!   that they come from;
//! - `POST …/pull-requests`: `fromRef` and `toRef` with id, slug and project; 404
//!   `NoSuchBranchException`; 409 `DuplicatePullRequestException` and `EmptyPullRequestException`;
//! - `PUT …/pull-requests/{id}`: another version 409 `PullRequestOutOfDateException`; reviewers
//!   that are not in the body are removed; unknown ones 409 `InvalidPullRequestReviewersException`;
//!   not open 409 `IllegalPullRequestStateException`;
//! - `POST …/merge`: merges, or with `autoMerge` (8.15) waits while a check forbids it; a server
//!   before 8.15 does not know the field; a check that forbids it 409
//!   `PullRequestMergeVetoedException`;
//! - `POST …/auto-merge` tries only what was asked for before: 400; `DELETE` is 204 and 409 where
//!   it is not open;
//! - `POST …/commits/{id}/builds` wants `key`, `state` and `url`.

mod api;
mod state;

use serde_json::Value;

use crate::interface::Fake;
use state::BitbucketState;

/// A running Bitbucket. Every repository `scm/KEY/SLUG.git` (in small letters) of [`Fake::git`] is
/// one of its own, whose path is `key/slug` or `~jane/slug`.
pub type Bitbucket = Fake<BitbucketState>;

impl Bitbucket {
    /// With `token` everything may be done, as a bearer or as anybody's password; git takes it as
    /// the password.
    pub fn start(token: &str) -> Self {
        Self::serve(token, BitbucketState::new)
    }

    /// A person merges it.
    pub fn merge(&self, id: u64) {
        self.state().merge(id);
    }

    /// A person declines it.
    pub fn close(&self, id: u64) {
        self.state().end(id);
    }

    /// A person marks it as a draft.
    pub fn mark_as_draft(&self, id: u64) {
        let mut state = self.state();
        let pull = state.pull(id);
        (pull.draft, pull.version) = (true, pull.version + 1);
    }

    /// From now on the token is a repository's: no password.
    pub fn take_bearers_only(&self) {
        self.state().bearers_only = true;
    }

    /// A pull request between two repositories, such as from a fork.
    pub fn pull_between(&self, from: (&str, &str), to: (&str, &str)) -> u64 {
        self.state().open(from, to, "between repositories", "", &[])
    }

    /// A token that may only read.
    pub fn add_reader(&self, token: &str) {
        self.state().tokens.insert(token.to_owned(), false);
    }

    /// A person.
    pub fn add_user(&self, name: &str) {
        self.state().users.push(name.to_owned());
    }

    /// Whether a merge check forbids merging. What waited for it is merged.
    pub fn veto(&self, vetoed: bool) {
        let mut state = self.state();
        state.vetoed = vetoed;
        if !vetoed {
            let waiting =
                state.pulls.iter().filter(|pull| pull.auto_merge.is_some()).map(|pull| pull.id);
            waiting.collect::<Vec<_>>().into_iter().for_each(|id| state.merge(id));
        }
    }

    /// Pages hold no more than this, so that a test needs few.
    pub fn limit_pages(&self, most: usize) {
        self.state().page = most;
    }

    /// `None`: as before 8.15; else whether the repositories have auto-merge on.
    pub fn set_auto_merge(&self, setting: Option<bool>) {
        self.state().auto_merge = setting;
    }

    /// What auto-merge was asked with, if it is on.
    pub fn auto_merge(&self, id: u64) -> Option<Value> {
        self.state().pull(id).auto_merge.clone()
    }

    /// Bitbucket takes auto-merge back when somebody pushes. Source: "Auto-merge".
    pub fn disarm(&self, id: u64) {
        self.state().pull(id).auto_merge = None;
    }

    /// Its author deletes it. Source: "Delete pull request".
    pub fn delete(&self, id: u64) {
        self.state().pulls.retain(|pull| pull.id != id);
    }

    /// Archives every repository.
    pub fn archive(&self) {
        self.state().archived = true;
    }

    /// A pull request as the API shows it.
    pub fn pull(&self, id: u64) -> Value {
        let state = self.state();
        let pull = state.pulls.iter().find(|pull| pull.id == id).unwrap();
        state.show(pull)
    }

    /// Comments on a pull request.
    pub fn comments(&self, id: u64) -> Vec<String> {
        self.state()
            .comments
            .iter()
            .filter(|(number, _)| *number == id)
            .map(|(_, text)| text.clone())
            .collect()
    }
}
