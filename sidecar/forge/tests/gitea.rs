//! The client against the fake Gitea. The real one has the same tests in
//! `tests/tests/e2e_gitea.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod conformance;
#[path = "gitea/flows.rs"]
mod flows;
mod limits;

use std::time::Duration;

use lockgate_core::pipeline::Forge as Kind;
use lockgate_core::secret::Sensitive;
use lockgate_forge::{Connection, Credentials, ForgeFault, Repository, connect};
use lockgate_forge_fakes::gitea::{Gitea, Rights};

use conformance::{Client, HEAD, World, observed, token};

const TOKEN: &str = "0123456789";

struct Fake {
    gitea: Gitea,
    path: &'static str,
}

impl Fake {
    fn with(path: &'static str) -> Self {
        let gitea = Gitea::start(TOKEN);
        gitea.limit_pages(5);
        gitea.add_token("reads", "lockgate", Rights { write: false, member: true });
        gitea.add_token("stranger", "eve", Rights { write: true, member: false });
        gitea.add_user("ada");
        gitea.add_team("acme", "Ops");
        gitea.add_organization_label("acme", "shared");
        let fake = Self { gitea, path };
        fake.gitea.git().create(&fake.git(), &[("README.md", "# app\n")]);
        fake.commit(HEAD, "version: 2\n");
        fake
    }

    /// In the git host.
    fn git(&self) -> String {
        format!("{}.git", self.path)
    }
}

impl World for Fake {
    const KIND: Kind = Kind::Gitea;
    const PEOPLE: [&'static str; 2] = ["ada", "acme/Ops"];
    const RIGHT: &'static str = "write:repository and write:issue";
    const KEYS: &'static str = "Gitea takes `token`, or `username` and `password`";

    fn start() -> Self {
        Self::with("acme/app")
    }
    fn address(&self) -> String {
        self.gitea.repository_url(self.path)
    }
    fn unknown(&self) -> String {
        self.gitea.repository_url("acme/unknown")
    }
    fn page(&self, number: u64) -> String {
        format!("{}/pulls/{number}", self.address().trim_end_matches(".git"))
    }
    fn token(&self) -> String {
        TOKEN.to_owned()
    }
    fn reader(&self) -> String {
        "reads".to_owned()
    }
    fn commit(&self, branch: &str, text: &str) -> String {
        self.gitea.git().commit(&self.git(), branch, &[("versions.yaml", text)], "a change")
    }
    fn branch(&self, branch: &str, from: &str) {
        self.gitea.git().git(&self.git(), &["branch", branch, from]);
    }
    fn tip(&self, branch: &str) -> Option<String> {
        self.gitea.git().tip(&self.git(), branch)
    }
    fn merge(&self, number: u64) {
        self.gitea.merge(self.path, number);
    }
    fn close(&self, number: u64) {
        self.gitea.close(self.path, number);
    }
    fn delete(&self, number: u64) {
        self.gitea.delete(self.path, number);
    }
    fn age(&self, number: u64) {
        self.gitea.age(self.path, number);
    }
    fn disarm(&self, number: u64) {
        self.gitea.disarm(self.path, number);
    }
    fn open_strangers(&self) {
        for _ in 0..6 {
            self.gitea.pull_of_fork(self.path, HEAD, "main");
        }
    }
    fn hold(&self) {
        self.gitea.require_check(self.path, "main", "ci");
    }
    fn waits(&self, number: u64) -> bool {
        self.gitea.is_scheduled(self.path, number)
    }
    fn reviewers(&self, number: u64) -> Vec<String> {
        self.gitea.reviewers(self.path, number)
    }
    fn comments(&self, number: u64) -> Vec<String> {
        self.gitea.comments(self.path, number)
    }
}

impl flows::Gitea for Fake {
    fn start_own() -> Self {
        Self::with("lockgate/app")
    }
    fn stranger(&self) -> String {
        "stranger".to_owned()
    }
    fn delete_branch(&self, branch: &str) {
        self.gitea.delete_branch(self.path, branch);
    }
    fn forbid_squash(&self) {
        self.gitea.allow_squash(self.path, false);
    }
}

conformance::test_all!(Fake);
flows::test_flows!(Fake);

#[tokio::test]
async fn strange_answers_are_named_and_survived() {
    let fake = Fake::start();
    limits::strange_answers_are_named_and_survived(
        &fake,
        |status, headers, text| fake.gitea.answer_next(status, headers, text),
        r#"[null]"#,
    )
    .await;
}

#[tokio::test]
async fn limits_and_failures_pass_and_say_when() {
    let fake = Fake::start();
    limits::pass_and_say_when(&fake, |status| fake.gitea.fail_next(status)).await;
}

/// Issue: after a merged or closed one, a promotion that crashed between push and create was taken
/// for ended, because the old one's head seemed to be what was just pushed.
#[tokio::test]
async fn on_forgejo_what_has_ended_shows_the_head_that_it_ended_with() {
    let fake = Fake::start();
    let client = Client::of(&fake);
    let closed = client.open(HEAD).await;
    fake.close(1);
    fake.gitea.be_forgejo();
    let pushed = fake.commit(HEAD, "version: 3\n");
    let newest = client.forge.find_newest(HEAD, "main").await.unwrap().unwrap();
    assert_eq!((newest.number, &newest.head_commit), (1, &closed.head_commit));
    assert_ne!(newest.head_commit.as_deref(), Some(pushed.as_str()));
    assert_eq!(newest.body, closed.body, "whose it is only its body says");
    assert_eq!(client.look(1).await.head_commit, closed.head_commit);
    assert_eq!(client.forge.find_open(HEAD, "main").await.unwrap(), None);
    // An open one shows where its branch is; its list begins with an entry that is null.
    let open = client.open(HEAD).await;
    assert_eq!(open.head_commit.as_deref(), Some(pushed.as_str()));
    assert_eq!(client.forge.find_open(HEAD, "main").await.unwrap().unwrap().number, 2);
    fake.merge(2);
    fake.commit(HEAD, "version: 4\n");
    assert_eq!(client.look(2).await.head_commit.as_deref(), Some(pushed.as_str()));
}

#[tokio::test]
async fn a_repository_without_pull_requests_or_archived_or_renamed_says_so() {
    let fake = Fake::start();
    let client = Client::of(&fake);
    let forge = &client.forge;
    client.open(HEAD).await;
    fake.gitea.set(fake.path, "has_pull_requests", false);
    for error in [
        forge.find_open(HEAD, "main").await.unwrap_err(),
        forge.find_newest(HEAD, "main").await.unwrap_err(),
        forge.create(&conformance::new(HEAD)).await.unwrap_err(),
        forge.look(1, None).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("pull requests are switched off"), "{error}");
    }
    let fake = Fake::start();
    fake.gitea.set(fake.path, "archived", true);
    let error = Client::of(&fake).forge.create(&conformance::new(HEAD)).await.unwrap_err();
    assert!(error.to_string().contains("the repository is archived"), "{error}");
    let fake = Fake::start();
    fake.gitea.rename(fake.path, "acme/new");
    let error = Client::of(&fake).forge.find_open(HEAD, "main").await.unwrap_err();
    let is_moved =
        matches!(&error.fault, ForgeFault::Moved { to } if to.contains("/repos/acme/new"));
    assert!(is_moved, "{error}");
}

#[tokio::test]
async fn a_draft_stays_one() {
    let fake = Fake::start();
    let client = Client::of(&fake);
    let pull = client.open(HEAD).await;
    for prefix in ["WIP: ", "[wip] "] {
        fake.gitea.retitle(fake.path, 1, &format!("{prefix}{}", pull.title));
        assert_eq!(client.look(1).await.title, pull.title);
        let edited = client.forge.update(1, &conformance::edit("Promote to 3", "b")).await.unwrap();
        assert_eq!(edited.title, "Promote to 3");
        assert_eq!(fake.gitea.texts(fake.path, 1).0, format!("{prefix}Promote to 3"));
    }
}

#[tokio::test]
async fn a_gitea_that_is_slow_is_given_up() {
    let fake = Fake::start();
    let connection = Connection { timeout: Duration::from_millis(500), ..observed(token(TOKEN)).0 };
    let forge =
        connect(&Repository::parse(Kind::Gitea, &fake.address(), None).unwrap(), connection)
            .unwrap();
    fake.gitea.set_latency(Duration::from_secs(2));
    let error = forge.find_open(HEAD, "main").await.unwrap_err();
    assert_eq!(error.fault, ForgeFault::TimedOut(Duration::from_millis(500)));
    let sent = fake.gitea.requests();
    assert_eq!(
        (sent.len(), sent[0].method.as_str(), sent[0].path.as_str()),
        (1, "GET", "/api/v1/repos/acme/app/pulls")
    );
}

#[test]
fn a_github_app_is_no_credential_of_gitea() {
    let repository = Repository::parse(Kind::Gitea, "https://codeberg.org/acme/app", None).unwrap();
    let app = Credentials::App { app: 1, installation: 2, private_key: Sensitive::new("key") };
    let error = connect(&repository, observed(app).0).err().unwrap();
    assert_eq!(
        error.to_string(),
        "connect on codeberg.org/acme/app: Gitea takes `token`, or `username` and `password`"
    );
}
