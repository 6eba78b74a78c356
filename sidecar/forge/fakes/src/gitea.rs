//! A Gitea that holds state, on loopback.
//!
//! It serves what promotions need of Gitea's interface and behaves as Gitea 1.26.0 does; the tests
//! of `sidecar/forge/tests/{conformance,gitea}` are run against both, so that the two agree. What
//! was seen there and is kept:
//!
//! - `GET pulls/{base}/{head}` finds any pull request of these branches in whatever state, never a
//!   fork's.
//! - A pull request without commits is opened; one for branches that have an open one is 409.
//! - For a moment a new one cannot be merged, nor its merge scheduled: 405 "Please try again
//!   later"; so too with conflicts.
//! - A scheduled merge happens when the required checks succeed, without any at once, and not at
//!   all in a style that the repository does not allow. Scheduling again is 409, taking back what
//!   is not scheduled 404.
//! - Unknown labels are passed over, in an organization its labels count too, and equal names are
//!   allowed.
//! - Lists have `X-Total-Count`; there are no entity tags.
//! - A token is refused for its scopes before anything is looked at, its user for each operation in
//!   other words.
//!
//! Simpler than the real one: every account is a member of the organization or a stranger, every
//! repository is public to all accounts and lies in an organization unless its owner is an account,
//! a merge of whatever style leaves a merge commit, and what Gitea does in the background (merges,
//! closing after a branch is gone) has happened when the answer comes.

mod answers;
mod api;
mod asking;
mod checks;
mod merge;
mod pulls;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::routing::any;

use crate::GitHost;
use crate::gitea::state::{Account, GiteaState};
use crate::interface::Reply;
use crate::server::{Recorded, Server};

/// What a token may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Scopes `write:repository` and `write:issue`, else `read:repository`.
    pub write: bool,
    /// Whether its account may write to the repositories of every organization.
    pub member: bool,
}

/// The running fake. It ends when this goes away.
pub struct Gitea {
    server: Server,
    world: World,
}

/// What the handlers share.
#[derive(Clone)]
struct World {
    git: GitHost,
    state: Arc<Mutex<GiteaState>>,
}

impl World {
    fn state(&self) -> MutexGuard<'_, GiteaState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gitea {
    /// Starts one without repositories. `token` belongs to the account `lockgate`, which may do
    /// everything, and is the password for git.
    pub fn start(token: &str) -> Self {
        let git = GitHost::new(token);
        let mut made = None;
        let server = Server::start_with(|address| {
            let world = World {
                git: git.clone(),
                state: Arc::new(Mutex::new(GiteaState::new(format!("http://{address}")))),
            };
            made = Some(world.clone());
            Router::new()
                .route("/api/v1/{*path}", any(api::serve))
                .with_state(world)
                .merge(git.router())
        });
        let fake = Self { server, world: made.unwrap() };
        fake.add_token(token, "lockgate", Rights { write: true, member: true });
        fake
    }

    /// The address for a Pipeline: `repository_url("org/repo")`.
    pub fn repository_url(&self, path: &str) -> String {
        format!("{}/{path}.git", self.server.url())
    }

    /// The repositories; `org/repo.git` is that of `org/repo`. One that is made here exists for the
    /// interface too.
    pub fn git(&self) -> &GitHost {
        &self.world.git
    }

    /// Makes an account with a token for the interface.
    pub fn add_token(&self, token: &str, account: &str, rights: Rights) {
        let mut state = self.world.state();
        state.users.insert(account.to_owned());
        state.accounts.insert(token.to_owned(), Account { name: account.to_owned(), rights });
    }

    /// Makes an account that may be asked for reviews.
    pub fn add_user(&self, name: &str) {
        self.world.state().users.insert(name.to_owned());
    }

    /// Makes a team of an organization.
    pub fn add_team(&self, organization: &str, name: &str) {
        self.world.state().teams.push((organization.to_owned(), name.to_owned()));
    }

    /// Makes a label for all repositories of an organization.
    pub fn add_organization_label(&self, organization: &str, name: &str) {
        self.world.state().organization_labels.push((organization.to_owned(), name.to_owned()));
    }

    /// Protects a branch: nothing is merged into it before this check has succeeded.
    pub fn require_check(&self, path: &str, branch: &str, context: &str) {
        self.world.state().repository(path).required.push((branch.to_owned(), context.to_owned()));
    }

    /// Whether a repository may be merged into by squashing.
    pub fn allow_squash(&self, path: &str, allowed: bool) {
        self.world.state().repository(path).squash = allowed;
    }

    /// How many entries a page has at most (`MAX_RESPONSE_ITEMS`), whatever is asked for. 50 unless
    /// this says otherwise.
    pub fn limit_pages(&self, entries: usize) {
        self.world.state().page = entries;
    }

    /// A person merges a pull request. The commit that this leaves on its base.
    pub fn merge(&self, path: &str, number: u64) -> String {
        self.world.merge(path, number).unwrap()
    }

    /// A person closes a pull request.
    pub fn close(&self, path: &str, number: u64) {
        self.world.state().repository(path).pull(number).unwrap().close();
    }

    /// A person removes a branch, which closes its pull requests.
    pub fn delete_branch(&self, path: &str, branch: &str) {
        self.world.delete_branch(path, branch);
    }

    /// A person opens a pull request from the branch `head` of a fork. Its number.
    pub fn pull_of_fork(&self, path: &str, head: &str, base: &str) -> u64 {
        self.world.open(path, "stranger", "from a fork", "", head, base, true)
    }

    /// The head branches of the open pull requests, oldest first.
    pub fn open_heads(&self, path: &str) -> Vec<String> {
        let mut state = self.world.state();
        state
            .repository(path)
            .pulls
            .iter()
            .filter(|pull| !pull.closed)
            .map(|pull| pull.head.clone())
            .collect()
    }

    /// Users and teams who are asked for a review of a pull request.
    pub fn reviewers(&self, path: &str, number: u64) -> Vec<String> {
        self.world.state().repository(path).pull(number).unwrap().reviewers.clone()
    }

    /// The comments on a pull request.
    pub fn comments(&self, path: &str, number: u64) -> Vec<String> {
        self.world.state().repository(path).pull(number).unwrap().comments.clone()
    }

    /// Whether a merge is scheduled.
    pub fn is_scheduled(&self, path: &str, number: u64) -> bool {
        self.world.state().repository(path).pull(number).unwrap().scheduled.is_some()
    }

    /// Every request of the interface since the start.
    pub fn requests(&self) -> Vec<Recorded> {
        self.world.state().requests.clone()
    }

    /// How long every answer of the interface takes from now on.
    pub fn set_latency(&self, latency: Duration) {
        self.world.state().latency = latency;
    }

    /// The next request of the interface gets this and changes nothing.
    pub fn answer_next(&self, status: u16, headers: &[(&'static str, &str)], text: &str) {
        self.world.state().replies.push_back(Reply::text(status, headers, text));
    }

    /// From now on as Forgejo and Gitea before 1.24: `head.sha` of what has ended is where the
    /// branch is now (go-gitea/gitea, `services/convert/pull.go` before 1.24), and lists begin with
    /// an entry that is null, as the description of Forgejo's interface announces.
    pub fn be_forgejo(&self) {
        self.world.state().forgejo = true;
    }

    /// Settings of a repository: `archived`, `has_pull_requests`.
    pub fn set(&self, path: &str, setting: &'static str, value: bool) {
        self.world.state().repository(path).flags.push((setting, value));
    }

    /// Its administrator deletes it. Source: "Delete an issue".
    pub fn delete(&self, path: &str, number: u64) {
        self.world.state().repository(path).pulls.retain(|pull| pull.number != number);
    }

    /// A person takes a scheduled merge back.
    pub fn disarm(&self, path: &str, number: u64) {
        self.world.state().repository(path).pull(number).unwrap().cancel();
    }

    /// Two minutes and more have passed since it was last changed.
    pub fn age(&self, path: &str, number: u64) {
        self.world.state().repository(path).pull(number).unwrap().aged = true;
    }

    /// A person writes another title, such as one with `WIP:` before it.
    pub fn retitle(&self, path: &str, number: u64, title: &str) {
        title.clone_into(&mut self.world.state().repository(path).pull(number).unwrap().title);
    }

    /// The repository has another name from now on; the old one redirects. Source:
    /// `routers/api/v1/api.go`, `context.RedirectToRepo`.
    pub fn rename(&self, path: &str, name: &str) {
        self.world.state().repository(path).moved_to = Some(name.to_owned());
    }

    /// The title and body of a pull request.
    pub fn texts(&self, path: &str, number: u64) -> (String, String) {
        let mut state = self.world.state();
        let pull = state.repository(path).pull(number).unwrap();
        (pull.title.clone(), pull.body.clone())
    }

    /// The next request of the interface is answered with this status and changes nothing; 429 and
    /// 503 come with `Retry-After: 7`.
    pub fn fail_next(&self, status: u16) {
        self.world.state().failures.push_back(status);
    }
}
