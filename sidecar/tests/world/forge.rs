//! A forge in memory with real repositories behind it, which counts what it is asked, can refuse
//! it, and can make time stand still in the middle of it.

mod api;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::Timestamp;
use lockgate::strategy::Connect;
use lockgate_core::secret::Secret;
use lockgate_forge::{ForgeFault, Mergeability, PullRequest, PullRequestState};
use lockgate_forge_fakes::GitHost;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::{Options, secret};

pub const TOKEN: &str = "forge-token-hunter2";
/// The repository, as its address has it.
pub const REPOSITORY: &str = "org/manifests.git";

/// The forge and its only repository.
#[derive(Clone)]
pub struct FakeForge {
    pub host: GitHost,
    pub address: String,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<Books>,
    stopped: Notify,
}

#[derive(Default)]
struct Books {
    pulls: Vec<Pull>,
    calls: Vec<&'static str>,
    refusals: Vec<(&'static str, ForgeFault)>,
    /// Stands still at the call of this index, before or after it has done its work.
    stop_at: Option<(usize, bool)>,
    /// Whether it has entity tags.
    tags: bool,
    /// Whether answers tell if it merges by itself.
    tells_auto_merge: bool,
}

impl Books {
    fn open(&mut self, head: &str, base: &str, title: &str, body: &str) -> &Pull {
        let number = self.pulls.len() as u64 + 1;
        let seen = PullRequest {
            number,
            url: format!("https://forge.example/org/manifests/pulls/{number}"),
            title: title.to_owned(),
            body: body.to_owned(),
            head: head.to_owned(),
            head_commit: None,
            base: base.to_owned(),
            state: PullRequestState::Open,
            mergeability: Mergeability::Unknown,
            labels: Vec::new(),
            auto_merge: None,
            handle: String::new(),
        };
        self.pulls.push(Pull {
            seen,
            reviewers: Vec::new(),
            auto_merge: false,
            version: 1,
            deleted: false,
            comments: Vec::new(),
        });
        self.pulls.last().unwrap()
    }
}

/// A pull request and what a test wants to know of it.
#[derive(Clone)]
pub struct Pull {
    pub seen: PullRequest,
    pub reviewers: Vec<String>,
    pub auto_merge: bool,
    version: u64,
    deleted: bool,
    pub comments: Vec<String>,
}

impl FakeForge {
    /// Serves a repository with these files on its branch `main`.
    pub async fn start(files: &[(&str, &str)]) -> Self {
        let host = GitHost::new(TOKEN);
        host.create(REPOSITORY, files);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/{REPOSITORY}", listener.local_addr().unwrap());
        let router = host.router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let inner = Arc::new(Inner::default());
        {
            let mut books = inner.state.lock().unwrap();
            books.tags = true;
            books.tells_auto_merge = true;
        }
        Self { host, address, inner }
    }

    /// What a sidecar needs to reach it.
    pub fn options(&self) -> Options {
        Options { connect: self.connect(), ..Options::default() }
    }

    pub fn connect(&self) -> Connect {
        let forge = self.clone();
        Connect::with(move |_, _| Ok(Box::new(forge.clone())))
    }

    /// The strategy of a pipeline, with more settings.
    pub fn strategy(&self, more: &Value) -> Value {
        let mut settings = json!({"type": "gitea", "url": self.address, "baseBranch": "main", "secretRef": {"name": "forge"}});
        for (key, value) in more.as_object().unwrap() {
            settings[key] = value.clone();
        }
        json!({"pull-request": settings})
    }

    pub fn secret(&self) -> Secret {
        secret("forge", &json!({"token": TOKEN}))
    }

    pub fn pulls(&self) -> Vec<Pull> {
        self.books().pulls.clone()
    }

    pub fn open(&self) -> Vec<Pull> {
        self.pulls().into_iter().filter(|pull| pull.seen.state == PullRequestState::Open).collect()
    }

    /// The names of the requests so far, which begin anew.
    pub fn take_calls(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.books().calls)
    }

    pub fn calls(&self) -> Vec<&'static str> {
        self.books().calls.clone()
    }

    /// The requests so far that were no looks, which begin anew.
    pub fn take_work(&self) -> Vec<&'static str> {
        self.take_calls().into_iter().filter(|call| *call != "look").collect()
    }

    /// Refuses the next request of an operation; several refusals are used up in order.
    pub fn refuse(&self, operation: &'static str, fault: ForgeFault) {
        self.books().refusals.push((operation, fault));
    }

    pub fn forgive(&self) {
        self.books().refusals.clear();
    }

    pub fn without_tags(&self) {
        self.books().tags = false;
    }

    pub fn without_telling_auto_merge(&self) {
        self.books().tells_auto_merge = false;
    }

    /// Stands still at the request of this index.
    pub fn stop_at(&self, index: usize, after: bool) {
        self.books().stop_at = Some((index, after));
    }

    /// Resolves when it stands still.
    pub async fn stopped(&self) {
        self.inner.stopped.notified().await;
    }

    pub fn go_on(&self) {
        self.books().stop_at = None;
    }

    /// Merges as a person does by the forge's page.
    pub fn merge(&self, number: u64) -> String {
        let head = self.pull(number).seen.head;
        let commit = self.host.merge(REPOSITORY, &head, "main");
        self.end(
            number,
            PullRequestState::Merged { commit: Some(commit.clone()), at: Some(Timestamp::now()) },
        );
        commit
    }

    /// Merges with another commit than the one on the branch.
    pub fn squash(&self, number: u64, files: &[(&str, &str)]) {
        let commit = self.host.commit(REPOSITORY, "main", files, "squashed");
        self.end(number, PullRequestState::Merged { commit: Some(commit), at: None });
    }

    pub fn close(&self, number: u64) {
        self.end(number, PullRequestState::Closed);
    }

    /// As some forges let their administrators do.
    pub fn delete(&self, number: u64) {
        self.change(number, |pull| pull.deleted = true);
    }

    pub fn delete_branch(&self, branch: &str) {
        self.host.git(REPOSITORY, &["update-ref", "-d", &format!("refs/heads/{branch}")]);
    }

    fn end(&self, number: u64, state: PullRequestState) {
        self.change(number, |pull| pull.seen.state = state);
    }

    pub fn change(&self, number: u64, change: impl FnOnce(&mut Pull)) {
        let tip = self.host.tip(REPOSITORY, &self.pull(number).seen.head);
        let mut books = self.books();
        let pull = books.pulls.iter_mut().find(|pull| pull.seen.number == number).unwrap();
        pull.seen.head_commit = tip;
        pull.version += 1;
        change(pull);
    }

    pub fn pull(&self, number: u64) -> Pull {
        self.pulls().into_iter().find(|pull| pull.seen.number == number).expect("the pull request")
    }

    /// Opens one as somebody else does.
    pub fn add(&self, head: &str, title: &str, body: &str) -> u64 {
        self.books().open(head, "main", title, body).seen.number
    }

    pub fn show(&self, branch: &str, path: &str) -> String {
        self.host.git(REPOSITORY, &["show", &format!("{branch}:{path}")])
    }

    pub fn tip(&self, branch: &str) -> Option<String> {
        self.host.tip(REPOSITORY, branch)
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.host.repository(REPOSITORY)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.inner.state.lock().unwrap()
    }
}

/// A folder for data.
pub fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// Installs a hook in a bare repository.
pub fn hook(repository: &Path, name: &str, script: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    let path = repository.join("hooks").join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
