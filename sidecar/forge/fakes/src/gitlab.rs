//! GitLab's REST API v4, the part that promotions need, on real repositories.
//!
//! What it refuses, and where that is written (docs.gitlab.com unless said otherwise):
//! - a project is one path segment, its full path percent-encoded, or its id: "REST API",
//!   "Namespaced paths";
//! - only `PRIVATE-TOKEN` or `Authorization: Bearer`, never basic: "REST API authentication"; a
//!   token without the scope gets 403 `insufficient_scope`, a project that it may not see 404 `404
//!   Project Not Found`;
//! - lists have pages (`per_page` ≤ 100, `X-Next-Page`): "REST API", "Pagination";
//! - merge requests: "Merge requests API". Missing fields 400; branches that do not exist or are
//!   the same 422; a second open one for the same branches 409; one without a difference is opened
//!   all the same;
//! - merge: a commit that is not the head 409; not the right 401; what cannot be merged 405, and
//!   the reason is only in `detailed_merge_status`; `auto_merge` waits while a pipeline runs, else
//!   merges at once; a server before 17.11 ignores it as it does every field that it does not know
//!   (`lib/api/merge_requests.rb`, where all of this can be read);
//! - cancelling what is not on: 201 with an error in the body, 406 in its `http_status`
//!   (`AutoMergeService#cancel`);
//! - lines that begin with `/` are commands: "GitLab quick actions";
//! - statuses: "Commits API"; bringing one to where it is already is 400
//!   (`lib/api/commit_statuses.rb`);
//! - one reviewer only without a license: "Merge request reviews";
//! - answers to GET carry a weak `ETag`, and 304 for the same (`Rack::ETag`,
//!   `Rack::ConditionalGet`).

mod api;
mod merging;
mod project;
mod state;

use serde_json::{Value, json};

use crate::interface::Fake;
use state::{GitLabState, Rights};

/// A running GitLab. Every repository `PATH.git` of [`Fake::git`] is a project.
pub type GitLab = Fake<GitLabState>;

impl GitLab {
    /// With `token` everything may be done; git takes it as the password.
    pub fn start(token: &str) -> Self {
        Self::serve(token, GitLabState::new)
    }

    /// A person merges it.
    pub fn merge(&self, iid: u64) {
        self.state().merge(iid);
    }

    /// A person closes it.
    pub fn close(&self, iid: u64) {
        self.state().pull(iid).state = "closed";
    }

    /// A person marks it as a draft.
    pub fn mark_as_draft(&self, iid: u64) {
        let mut state = self.state();
        let pull = state.pull(iid);
        pull.title = format!("Draft: {}", pull.title);
    }

    /// Somebody proposes to merge a branch of a fork.
    pub fn pull_from_fork(&self, project: &str, fork: &str, head: &str, base: &str) -> u64 {
        let mut state = self.state();
        state.open(project, fork, head, base, "from a fork", "")
    }

    /// A token that may only read, or nothing at all.
    pub fn add_token(&self, token: &str, may_read: bool) {
        let rights = if may_read { Rights::Read } else { Rights::Nothing };
        self.state().tokens.insert(token.to_owned(), rights);
    }

    /// A person; gives the id.
    pub fn add_user(&self, username: &str) -> u64 {
        let mut state = self.state();
        state.users.push(username.to_owned());
        state.users.len() as u64
    }

    /// Whether a pipeline runs for every merge request. What waited for its end is merged.
    pub fn set_pipeline(&self, runs: bool) {
        let mut state = self.state();
        state.pipeline = runs;
        if !runs {
            let waiting = state.pulls.iter().filter(|pull| pull.auto_merge).map(|pull| pull.iid);
            waiting.collect::<Vec<_>>().into_iter().for_each(|iid| state.merge(iid));
        }
    }

    /// Why nothing can be merged, as GitLab calls it; `None`: all can.
    pub fn set_merge_status(&self, status: Option<&str>) {
        self.state().detailed_merge_status = status.map(str::to_owned);
    }

    /// From now on as before 17.11.
    pub fn forget_auto_merge(&self) {
        self.state().knows_auto_merge = false;
    }

    /// Whether the token may merge.
    pub fn allow_merge(&self, may: bool) {
        self.state().may_merge = may;
    }

    /// How many reviewers a merge request can have.
    pub fn limit_reviewers(&self, most: usize) {
        self.state().reviewers = most;
    }

    /// Pages hold no more than this, so that a test needs few.
    pub fn limit_pages(&self, most: usize) {
        self.state().page = most;
    }

    /// Settings of the projects: `merge`, `rebase_merge` or `ff`; `never`, `always`, `default_on`
    /// or `default_off`.
    pub fn set_merge_method(&self, method: &'static str, squash: &'static str) {
        let mut state = self.state();
        (state.merge_method, state.squash_option) = (method, squash);
    }

    /// More fields of the projects, such as `{"archived": true}`.
    pub fn set(&self, settings: Value) {
        self.state().settings = settings;
    }

    /// The pipeline of every head, or of another commit, as GitLab shows it.
    pub fn set_head_pipeline(&self, status: &str, commit: Option<&str>) {
        self.state().head_pipeline = Some((status.to_owned(), commit.map(str::to_owned)));
    }

    /// Whether everything was changed just now.
    pub fn touch(&self, touched: bool) {
        self.state().touched = touched;
    }

    /// GitLab cancels auto-merge a moment after a push. Source: "Auto-merge".
    pub fn disarm(&self, iid: u64) {
        self.state().pull(iid).auto_merge = false;
    }

    /// Its owner deletes it. Source: "Delete a merge request".
    pub fn delete(&self, iid: u64) {
        self.state().pulls.retain(|pull| pull.iid != iid);
    }

    /// The project has another path from now on.
    pub fn rename(&self, path: &str) {
        self.state().moved_to = Some(path.to_owned());
    }

    /// A merge request as the API shows it.
    pub fn pull(&self, iid: u64) -> Value {
        let state = self.state();
        let pull = state.pulls.iter().find(|pull| pull.iid == iid).unwrap();
        state.show(pull)
    }

    /// Comments on a merge request.
    pub fn notes(&self, iid: u64) -> Vec<String> {
        self.state()
            .notes
            .iter()
            .filter(|(number, _)| *number == iid)
            .map(|(_, text)| text.clone())
            .collect()
    }

    /// One more status of a commit, as from a job.
    pub fn add_status(&self, commit: &str, name: &str, status: &str) {
        let mut state = self.state();
        let id = state.statuses.len() as u64 + 1;
        state.statuses.push(json!({"id": id, "sha": commit, "name": name, "status": status, "allow_failure": false}));
    }
}
