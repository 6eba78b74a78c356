//! Azure DevOps Server 2022: pull requests of real repositories.
//!
//! Pages are those of learn.microsoft.com/rest/api/azure/devops (view azure-devops-rest-7.0) unless
//! another is named; error texts and keys are as users reported them in public issues, which are
//! named.
//!
//! | refused | as | source |
//! |---|---|---|
//! | wrong token or scheme | 203 and the sign-in page, 401 TF400813 for PATCH | microsoft/azure-devops-auth-samples#52, MicrosoftDocs/vsts-rest-api-specs#574 |
//! | no `api-version` in query or `Accept`, but for GET | 400 VssVersionNotSpecifiedException | "Get started with the REST APIs" |
//! | a version above 7.0 | 400 VssVersionOutOfRangeException | "REST API versioning" |
//! | `connectionData` without `-preview` | 400 VssInvalidPreviewVersionException | RooCodeInc/Roomote#896 |
//! | unknown repository | 404 TF401019 | shayki5/azure-devops-create-pr-task#191 |
//! | unknown pull request | 404 TF401180 | "Pull Requests - Get Pull Request" |
//! | a reference without `refs/heads/`, or one that does not exist | 400 TF401398 | mburumaxwell/paklo#1365 |
//! | no title or reference | 400 InvalidArgumentValueException | "Pull Requests - Create" |
//! | an active one for both branches | 409 TF401179 | shayki5/azure-devops-create-pr-task#31 |
//! | a description above 4,000 characters, another property in an update | 400 InvalidArgumentValueException | "Pull Requests - Update" |
//! | an update of one that is not active | 409 TF401181 | microsoft/coe-starter-kit#6729 names the key; the status is a guess |
//! | a writer without the permission | 403 TF401027 | shayki5/azure-devops-create-pr-task#35 |
//! | an unknown reviewer | 400 InvalidArgumentValueException | "Pull Request Reviewers - Create Pull Request Reviewers" |
//! | a branch without statistics | 400 | mburumaxwell/paklo#1614 |
//! | too many requests | 429 TF400733 with `Retry-After` | "Rate and usage limits" |
//!
//! A wrong token gets the page although Microsoft's clients and ours ask for 401
//! (`X-TFS-FedAuthRedirect: Suppress`): not every front end heeds that. Not refused, as in the real
//! one: equal branches (shayki5/azure-devops-create-pr-task#37). Lists cut descriptions to 400
//! characters ("Get Pull Requests") and leave out labels and auto-complete, which no page promises.
//! Enumerations are taken as words and as numbers, as Microsoft's clients send them. Auto-complete
//! waits: [`Azure::merge`] is the policy's last word.

mod answers;
mod api;
mod locations;
mod people;
mod pulls;
mod statuses;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::middleware::from_fn_with_state;
use serde_json::{Value, json};

use crate::GitHost;
use crate::interface::Reply;
use crate::server::{Recorded, Server};
use pulls::Pull;

/// A server with the collection (or organization) and projects of the repositories that its git
/// host has.
pub struct Azure {
    shared: Arc<Shared>,
    server: Server,
}

pub(crate) struct Shared {
    token: String,
    git: GitHost,
    state: Mutex<AzureState>,
}

#[derive(Default)]
pub(crate) struct AzureState {
    pulls: Vec<Pull>,
    /// Repository, commit, status.
    statuses: Vec<(String, String, Value)>,
    requests: Vec<Recorded>,
    fail: VecDeque<u16>,
    replies: VecDeque<Reply>,
    is_disabled: bool,
    is_forbidden: bool,
    newest_version: String,
    next_status: u64,
}

impl Azure {
    /// Whose token it is.
    pub const USER: &'static str = "d6245f20-2af8-44f4-9451-8107cb2767db";
    /// jane@example.com, Jane Doe.
    pub const JANE: &'static str = "3b5f0c34-4aec-4bf4-8708-1d36f0dbc468";
    /// Two people with one name, whose accounts are sam1@example.com and sam2@example.com.
    pub const SAMS: [&'static str; 2] =
        ["19d9411e-9a34-45bb-b985-d24d9d87c0c9", "0b1ff1c2-9a3f-4ab7-b0ee-6a1a1d37b001"];

    /// A server without repositories, for one token.
    pub fn start(token: &str) -> Self {
        let git = GitHost::new(token);
        let state =
            Mutex::new(AzureState { newest_version: "7.0".to_owned(), ..AzureState::default() });
        let shared = Arc::new(Shared { token: token.to_owned(), git: git.clone(), state });
        let router = git.router().layer(from_fn_with_state(Arc::clone(&shared), api::serve));
        Self { shared, server: Server::start(router) }
    }

    /// Address of a repository as a Server shows it. Make it with `git().create(&Azure::path(…),
    /// …)`.
    pub fn repository_url(&self, org: &str, project: &str, repo: &str) -> String {
        format!(
            "http://{}/{}",
            self.server.address(),
            Self::path(org, project, repo).replace(' ', "%20")
        )
    }

    /// Where [`Azure::git`] keeps a repository.
    pub fn path(org: &str, project: &str, repo: &str) -> String {
        format!("{org}/{project}/_git/{repo}")
    }

    /// The repositories.
    pub fn git(&self) -> &GitHost {
        &self.shared.git
    }

    /// What the interface was asked, in order.
    pub fn requests(&self) -> Vec<Recorded> {
        self.state().requests.clone()
    }

    /// The next request gets this status: 203 and 302 with the sign-in page, others with an error
    /// of Azure's form; 429 and 503 with `Retry-After: 7`.
    pub fn fail_next(&self, status: u16) {
        self.state().fail.push_back(status);
    }

    /// The next request gets this and changes nothing.
    pub fn answer_next(&self, status: u16, headers: &[(&'static str, &str)], text: &str) {
        self.state().replies.push_back(Reply::text(status, headers, text));
    }

    /// Disables every repository. Source: "Disable a repository": nothing of it can be reached.
    pub fn disable(&self) {
        self.state().is_disabled = true;
    }

    /// It is gone, as with its project.
    pub fn delete(&self, number: u64) {
        self.state().pulls.retain(|pull| pull.id != number);
    }

    /// A push and a policy that resets votes take auto-complete back. Source: "Branch policies".
    pub fn disarm(&self, number: u64) {
        let mut state = self.state();
        state.pull(number).auto_complete_set_by = None;
    }

    /// Whether the token's owner lacks the permission to contribute to pull requests.
    pub fn forbid(&self, is_forbidden: bool) {
        self.state().is_forbidden = is_forbidden;
    }

    /// An older server.
    pub fn set_newest_version(&self, version: &str) {
        version.clone_into(&mut self.state().newest_version);
    }

    /// Somebody opens a pull request from a branch of that name in a fork.
    pub fn open_from_fork(&self, repository: &str, head: &str, base: &str) -> u64 {
        let mut pull = Pull::new(repository, head, base, Self::JANE);
        pull.is_from_fork = true;
        self.open(pull)
    }

    /// Somebody else opens a pull request in this repository.
    pub fn open_by_jane(&self, repository: &str, head: &str, base: &str) -> u64 {
        self.open(Pull::new(repository, head, base, Self::JANE))
    }

    fn open(&self, mut pull: Pull) -> u64 {
        let mut state = self.state();
        pull.id = state.next_id();
        state.pulls.push(pull);
        state.next_id() - 1
    }

    /// A person or a policy merges it; its branch goes if that was asked for.
    pub fn merge(&self, number: u64) -> String {
        let mut state = self.state();
        let pull = state.pull(number);
        pull.refresh(&self.shared.git);
        let commit = self.shared.git.merge(&pull.repository, &pull.head, &pull.base);
        pull.end("completed", Some(commit.clone()));
        if pull.options["deleteSourceBranch"] == json!(true) {
            self.shared
                .git
                .git(&pull.repository, &["update-ref", "-d", &format!("refs/heads/{}", pull.head)]);
        }
        commit
    }

    /// A person abandons it.
    pub fn close(&self, number: u64) {
        let mut state = self.state();
        let pull = state.pull(number);
        pull.refresh(&self.shared.git);
        pull.end("abandoned", None);
    }

    /// A pull request as a GET of it answers, with `threads` and `statuses` beside.
    pub fn pull(&self, number: u64) -> Value {
        let mut state = self.state();
        let pull = state.pull(number);
        pull.refresh(&self.shared.git);
        let mut shown = pull.json(false);
        shown["threads"] = pull.threads.clone().into();
        shown["statuses"] = pull.statuses.clone().into();
        shown
    }

    fn state(&self) -> MutexGuard<'_, AzureState> {
        self.shared.state.lock().unwrap()
    }
}

impl AzureState {
    fn pull(&mut self, number: u64) -> &mut Pull {
        let mut pulls = self.pulls.iter_mut();
        pulls.find(|pull| pull.id == number).expect("there is such a pull request")
    }

    /// Unique in an organization.
    fn next_id(&self) -> u64 {
        self.pulls.last().map_or(1, |pull| pull.id + 1)
    }
}
