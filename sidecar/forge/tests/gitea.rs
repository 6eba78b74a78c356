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

use conformance::{HEAD, World, observed, token};

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
async fn limits_and_failures_pass_and_say_when() {
    let fake = Fake::start();
    limits::pass_and_say_when(&fake, |status| fake.gitea.fail_next(status)).await;
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
