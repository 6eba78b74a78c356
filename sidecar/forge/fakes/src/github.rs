//! A fake GitHub Enterprise Server: REST below `/api/v3`, GraphQL at `/api/graphql`, and both at
//! the root as on github.com.
//!
//! Sources: docs.github.com, REST API pages "Pulls", "Commit statuses", "Check runs", "Rate
//! limits", "Troubleshooting" (the 422s), "Apps"; GraphQL "Mutations". Answers have every field
//! that GitHub's OpenAPI description requires.

mod api;
mod checks;
mod graphql;
mod pulls;
mod shapes;
mod state;

use std::sync::{Arc, Mutex, MutexGuard};

use serde_json::{Value, json};

use crate::GitHost;
use crate::interface::Reply;
use crate::server::{Log, Recorded, Server};
use state::{GitHubState, Life, Pull, Repo};

/// A server that ends with this.
pub struct GitHub {
    server: Server,
    shared: Shared,
    token: String,
}

/// What the handlers work on.
#[derive(Clone)]
struct Shared {
    git: GitHost,
    log: Log,
    state: Arc<Mutex<GitHubState>>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, GitHubState> {
        self.state.lock().unwrap()
    }
}

impl GitHub {
    /// An empty one. `token` is good for the interface, and as a password for git.
    pub fn start(token: &str) -> Self {
        let state = GitHubState { tokens: vec![token.to_owned()], ..GitHubState::default() };
        let shared = Shared {
            git: GitHost::new(token),
            log: Log::default(),
            state: Arc::new(Mutex::new(state)),
        };
        let server = Server::start(api::router(shared.clone()));
        shared.lock().url = server.url();
        Self { server, shared, token: token.to_owned() }
    }

    /// `http://127.0.0.1:1234`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The accepted token.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// For cloning and for Pipelines.
    pub fn repository_url(&self, repository: &str) -> String {
        format!("{}/{repository}.git", self.url())
    }

    /// The git side; repositories are called `org/repo.git` there.
    pub fn git(&self) -> &GitHost {
        &self.shared.git
    }

    /// What the interface was asked so far; git is not written down.
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.log.all()
    }

    /// Makes a repository with one commit on `main`.
    pub fn create_repository(&self, repository: &str, files: &[(&str, &str)]) {
        self.git().create(&format!("{repository}.git"), files);
        self.shared.lock().repositories.push(Repo::new(repository));
    }

    /// Opens a pull request as a person; its number.
    pub fn open(&self, repository: &str, head: &str, base: &str) -> u64 {
        self.open_from(repository, repository, head, base)
    }

    /// Opens one whose head is a branch of a fork; its number.
    pub fn open_from(&self, repository: &str, fork: &str, head: &str, base: &str) -> u64 {
        let mut state = self.shared.lock();
        let repo = state.repository(repository).unwrap();
        let mut pull = Pull::new(repo.next_number(), head, base, "by a person", "");
        pull.head_repository = fork.to_owned();
        let number = pull.number;
        repo.pulls.push(pull);
        number
    }

    /// Merges one as a person; the commit that it left on the base.
    pub fn merge(&self, repository: &str, number: u64) -> String {
        self.shared.lock().merge(&self.shared.git, repository, number).unwrap()
    }

    /// Closes one as a person.
    pub fn close(&self, repository: &str, number: u64) {
        self.shared.lock().pull(repository, number).unwrap().life = Life::Closed;
    }

    /// Deletes a branch as a person.
    pub fn delete_branch(&self, repository: &str, branch: &str) {
        self.git().git(
            &format!("{repository}.git"),
            &["update-ref", "-d", &format!("refs/heads/{branch}")],
        );
    }

    /// Title, body, labels, reviewers (`TEAM` for teams) and the method of auto-merge.
    pub fn pull(&self, repository: &str, number: u64) -> Value {
        let mut state = self.shared.lock();
        let pull = state.pull(repository, number).unwrap();
        let (reviewers, teams) = (&pull.reviewers, &pull.teams);
        json!({"title": pull.title, "body": pull.body, "labels": pull.labels, "reviewers": reviewers, "teams": teams,
            "auto_merge": pull.auto_merge, "comments": pull.comments})
    }

    /// A commit status that merges into the repository's branches wait for.
    pub fn require_status(&self, repository: &str, context: &str) {
        self.shared.lock().repository(repository).unwrap().required.push(context.to_owned());
    }

    /// The repository's setting "Allow auto-merge".
    pub fn allow_auto_merge(&self, repository: &str, allowed: bool) {
        self.shared.lock().repository(repository).unwrap().auto_merge_allowed = allowed;
    }

    /// Sets a commit status as a person; what waits for it is merged.
    pub fn set_status(&self, repository: &str, commit: &str, context: &str, status: &str) {
        let mut state = self.shared.lock();
        state.set_status(
            &self.shared.git,
            repository,
            commit,
            json!({"context": context, "state": status}),
        );
    }

    /// Adds a check run; `conclusion` is `None` while it runs.
    pub fn add_check_run(
        &self,
        repository: &str,
        commit: &str,
        name: &str,
        conclusion: Option<&str>,
    ) {
        let run = (commit.to_owned(), name.to_owned(), conclusion.map(str::to_owned));
        self.shared.lock().repository(repository).unwrap().runs.push(run);
    }

    /// Lists have at most this many entries on a page, whatever is asked for.
    pub fn cap_pages(&self, entries: usize) {
        self.shared.lock().page_cap = Some(entries);
    }

    /// Settings of a repository: `archived`, `has_pull_requests`.
    pub fn set(&self, repository: &str, setting: &'static str, value: bool) {
        self.shared.lock().repository(repository).unwrap().settings.push((setting, value));
    }

    /// It has another name from now on. The old one redirects to its number.
    pub fn rename(&self, repository: &str, name: &str) {
        self.shared.lock().repository(repository).unwrap().moved_to = Some(name.to_owned());
    }

    /// GitHub's own people can delete a pull request.
    pub fn delete(&self, repository: &str, number: u64) {
        let mut state = self.shared.lock();
        state.repository(repository).unwrap().pulls.retain(|pull| pull.number != number);
    }

    /// Somebody has just changed it.
    pub fn touch(&self, repository: &str, number: u64) {
        self.shared.lock().pull(repository, number).unwrap().touched = true;
    }

    /// Its branches have a merge queue.
    pub fn queue(&self, repository: &str) {
        self.shared.lock().repository(repository).unwrap().queue = Some(Vec::new());
    }

    /// The pull requests in the merge queue.
    pub fn queued(&self, repository: &str) -> Vec<u64> {
        self.shared.lock().repository(repository).unwrap().queue.clone().unwrap_or_default()
    }

    /// A push by somebody without the right to write switches auto-merge off.
    pub fn disarm(&self, repository: &str, number: u64) {
        self.shared.lock().pull(repository, number).unwrap().auto_merge = None;
    }

    /// Takes the right to write from every token.
    pub fn make_read_only(&self) {
        self.shared.lock().read_only = true;
    }

    /// Answers the next request of the interface with this.
    pub fn fail_next(&self, status: u16, headers: &[(&'static str, &str)], body: Value) {
        let reply = Reply { body, ..Reply::text(status, headers, "") };
        self.shared.lock().failures.push_back(reply);
    }

    /// Answers the next request with a text that is JSON or not.
    pub fn answer_next(&self, status: u16, headers: &[(&'static str, &str)], text: &str) {
        let reply = Reply::text(status, headers, text);
        self.shared.lock().failures.push_back(reply);
    }

    /// Answers the next request with the secondary rate limit.
    pub fn limit_next(&self, status: u16, retry_after: Option<u64>) {
        let seconds = retry_after.map(|seconds| seconds.to_string());
        let headers: Vec<(&'static str, &str)> =
            seconds.iter().map(|seconds| ("retry-after", seconds.as_str())).collect();
        let message = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again.";
        self.fail_next(
            status,
            &headers,
            json!({"message": message, "documentation_url": shapes::DOCUMENTATION}),
        );
    }

    /// Installs an App. `admits` judges the JSON web tokens it comes with; its installation tokens
    /// live for `lifetime` seconds.
    pub fn install_app(
        &self,
        installation: u64,
        lifetime: i64,
        admits: impl Fn(&str) -> bool + Send + 'static,
    ) {
        self.shared.lock().app =
            Some(state::App { installation, lifetime, admits: Box::new(admits), issued: 0 });
    }

    /// The installation tokens that were given out are no longer good.
    pub fn revoke_installation_tokens(&self) {
        self.shared.lock().tokens.truncate(1);
    }
}
