//! A forge in memory with real repositories behind it, which counts what it is asked, can refuse it, and can make time stand still in the middle of it.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use jiff::Timestamp;
use lockgate::promote::Connect;
use lockgate_core::pipeline::MergeMethod;
use lockgate_core::secret::Secret;
use lockgate_forge::{Check, Edit, Fault, Forge, ForgeError, NewPullRequest, PullRequest, Seen, State};
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
    refusals: Vec<(&'static str, Fault)>,
    /// Stands still at the call of this index, before or after it has done its work.
    stop_at: Option<(usize, bool)>,
    /// Whether it has entity tags.
    tags: bool,
    /// Whether answers tell if it merges by itself.
    tells_auto_merge: bool,
}

/// A pull request and what a test wants to know of it.
#[derive(Clone)]
pub struct Pull {
    pub seen: PullRequest,
    pub reviewers: Vec<String>,
    pub auto_merge: bool,
    version: u64,
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
        self.pulls().into_iter().filter(|pull| pull.seen.state == State::Open).collect()
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
    pub fn refuse(&self, operation: &'static str, fault: Fault) {
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
        self.end(number, State::Merged { commit: Some(commit.clone()), at: Some(Timestamp::now()) });
        commit
    }

    /// Merges with another commit than the one on the branch.
    pub fn squash(&self, number: u64, files: &[(&str, &str)]) {
        let commit = self.host.commit(REPOSITORY, "main", files, "squashed");
        self.end(number, State::Merged { commit: Some(commit), at: None });
    }

    pub fn close(&self, number: u64) {
        self.end(number, State::Closed);
    }

    pub fn delete_branch(&self, branch: &str) {
        self.host.git(REPOSITORY, &["update-ref", "-d", &format!("refs/heads/{branch}")]);
    }

    fn end(&self, number: u64, state: State) {
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
        let mut books = self.books();
        let number = books.pulls.len() as u64 + 1;
        let seen = PullRequest {
            number,
            url: format!("https://forge.example/org/manifests/pulls/{number}"),
            title: title.to_owned(),
            body: body.to_owned(),
            head: head.to_owned(),
            head_commit: None,
            base: "main".to_owned(),
            state: State::Open,
            labels: Vec::new(),
            auto_merge: None,
            handle: String::new(),
        };
        books.pulls.push(Pull { seen, reviewers: Vec::new(), auto_merge: false, version: 1 });
        number
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

    async fn call<T>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&mut Books) -> Result<T, Fault> + Send,
    ) -> Result<T, ForgeError> {
        let stop = {
            let mut books = self.books();
            books.calls.push(operation);
            books.stop_at.filter(|(index, _)| *index == books.calls.len() - 1).map(|(_, after)| after)
        };
        if stop == Some(false) {
            self.stand_still().await;
        }
        let result = {
            let mut books = self.books();
            match books.refusals.iter().position(|(refused, _)| *refused == operation) {
                Some(at) => Err(books.refusals.remove(at).1),
                None => work(&mut books),
            }
        };
        if stop == Some(true) {
            self.stand_still().await;
        }
        result.map_err(|fault| ForgeError { operation, place: "forge.example/org/manifests".to_owned(), fault })
    }

    async fn stand_still(&self) {
        self.inner.stopped.notify_one();
        futures::future::pending::<()>().await;
    }

    fn seen(&self, pull: &Pull, tells: bool) -> PullRequest {
        let open = pull.seen.state == State::Open;
        let head_commit = if open { self.tip(&pull.seen.head) } else { pull.seen.head_commit.clone() };
        PullRequest { head_commit, auto_merge: tells.then_some(pull.auto_merge), ..pull.seen.clone() }
    }
}

fn find(books: &mut Books, number: u64) -> Result<&mut Pull, Fault> {
    let missing = || Fault::NotFound(format!("pull request {number}"));
    let pull = books.pulls.iter_mut().find(|pull| pull.seen.number == number).ok_or_else(missing)?;
    if pull.seen.state != State::Open {
        return Err(Fault::Invalid("it is not open".to_owned()));
    }
    pull.version += 1;
    Ok(pull)
}

#[async_trait]
impl Forge for FakeForge {
    async fn find_open(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError> {
        self.call("find", |books| {
            let found = books
                .pulls
                .iter()
                .find(|pull| (pull.seen.head.as_str(), pull.seen.base.as_str(), &pull.seen.state) == (head, base, &State::Open));
            Ok(found.map(|pull| self.seen(pull, books.tells_auto_merge)))
        })
        .await
    }

    async fn find_newest(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError> {
        self.call("find", |books| {
            let found = books.pulls.iter().rev().find(|pull| (pull.seen.head.as_str(), pull.seen.base.as_str()) == (head, base));
            Ok(found.map(|pull| self.seen(pull, books.tells_auto_merge)))
        })
        .await
    }

    async fn create(&self, new: &NewPullRequest) -> Result<PullRequest, ForgeError> {
        let created = self
            .call("create", |books| {
                if books.pulls.iter().any(|pull| pull.seen.head == new.head && pull.seen.state == State::Open) {
                    return Err(Fault::Exists);
                }
                match self.host.is_ahead(REPOSITORY, &new.head, &new.base) {
                    None => Err(Fault::NotFound(format!("branch {}", new.head))),
                    Some(false) => Err(Fault::NothingToMerge),
                    Some(true) => {
                        let number = books.pulls.len() as u64 + 1;
                        let seen = PullRequest {
                            number,
                            url: format!("https://forge.example/org/manifests/pulls/{number}"),
                            title: new.title.clone(),
                            body: new.body.clone(),
                            head: new.head.clone(),
                            head_commit: None,
                            base: new.base.clone(),
                            state: State::Open,
                            labels: Vec::new(),
                            auto_merge: None,
                            handle: String::new(),
                        };
                        books.pulls.push(Pull { seen, reviewers: Vec::new(), auto_merge: false, version: 1 });
                        let tells = books.tells_auto_merge;
                        Ok(self.seen(books.pulls.last().unwrap(), tells))
                    }
                }
            })
            .await?;
        Ok(created)
    }

    async fn update(&self, number: u64, edit: &Edit) -> Result<PullRequest, ForgeError> {
        self.call("update", |books| {
            let tells = books.tells_auto_merge;
            let pull = find(books, number)?;
            (pull.seen.title, pull.seen.body) = (edit.title.clone(), edit.body.clone());
            Ok(self.seen(&pull.clone(), tells))
        })
        .await
    }

    async fn add_labels(&self, number: u64, labels: &[String]) -> Result<(), ForgeError> {
        self.call("labels", |books| {
            find(books, number)?.seen.labels.extend(labels.iter().cloned());
            Ok(())
        })
        .await
    }

    async fn request_reviewers(&self, number: u64, reviewers: &[String]) -> Result<(), ForgeError> {
        self.call("reviewers", |books| {
            let pull = find(books, number)?;
            pull.reviewers.extend(reviewers.iter().filter(|name| !pull.reviewers.contains(name)).cloned().collect::<Vec<_>>());
            Ok(())
        })
        .await
    }

    async fn set_auto_merge(&self, pull: &PullRequest, on: bool, _method: Option<MergeMethod>) -> Result<(), ForgeError> {
        self.call("auto_merge", |books| {
            find(books, pull.number)?.auto_merge = on;
            Ok(())
        })
        .await
    }

    async fn look(&self, number: u64, tag: Option<&str>) -> Result<Seen, ForgeError> {
        self.call("look", |books| {
            let missing = || Fault::NotFound(format!("pull request {number}"));
            let pull = books.pulls.iter().find(|pull| pull.seen.number == number).ok_or_else(missing)?;
            let current = books.tags.then(|| pull.version.to_string());
            if tag.is_some() && tag == current.as_deref() {
                return Ok(Seen::Unchanged);
            }
            Ok(Seen::Changed { pull: self.seen(pull, books.tells_auto_merge), tag: current })
        })
        .await
    }

    async fn checks(&self, _commit: &str) -> Result<Vec<Check>, ForgeError> {
        Ok(Vec::new())
    }

    async fn set_check(&self, _commit: &str, _check: &Check) -> Result<(), ForgeError> {
        Ok(())
    }

    async fn comment(&self, _number: u64, _text: &str) -> Result<(), ForgeError> {
        Ok(())
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
