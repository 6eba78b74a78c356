//! The client against the fake Gitea. The real one has the same flows in `tests/tests/e2e_gitea.rs`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

#[path = "gitea/flows.rs"]
mod flows;

use std::sync::Arc;
use std::time::Duration;

use lockgate_core::pipeline::Forge as Kind;
use lockgate_core::secret::Sensitive;
use lockgate_forge::{Connection, Credentials, Fault, Repository, connect};
use lockgate_forge_fakes::gitea::{Gitea, Rights};

use flows::{Who, World, test_all};

struct Fake(Gitea);

const TOKEN: &str = "0123456789";

fn fake() -> Box<Fake> {
    let gitea = Gitea::start(TOKEN);
    gitea.limit_pages(5);
    gitea.add_token("reads", "lockgate", Rights { write: false, member: true });
    gitea.add_token("stranger", "eve", Rights { write: true, member: false });
    gitea.add_user("ada");
    gitea.add_team("acme", "Ops");
    gitea.add_organization_label("acme", "shared");
    Box::new(Fake(gitea))
}

impl World for Fake {
    fn repository(&self) -> String {
        self.0.git().create("acme/app.git", &[("README.md", "# app\n")]);
        "acme/app".to_owned()
    }
    fn own_repository(&self) -> String {
        self.0.git().create("lockgate/app.git", &[("README.md", "# app\n")]);
        "lockgate/app".to_owned()
    }
    fn address(&self, path: &str) -> String {
        self.0.repository_url(path)
    }
    fn token(&self, who: Who) -> String {
        match who {
            Who::Bot => TOKEN,
            Who::Reader => "reads",
            Who::Stranger => "stranger",
            Who::Nobody => "nobody",
        }
        .to_owned()
    }
    fn commit(&self, path: &str, branch: &str, file: &str, text: &str) -> String {
        self.0.git().commit(&format!("{path}.git"), branch, &[(file, text)], "a change")
    }
    fn branch(&self, path: &str, branch: &str, from: &str) {
        self.0.git().git(&format!("{path}.git"), &["branch", branch, from]);
    }
    fn merge(&self, path: &str, number: u64) {
        self.0.merge(path, number);
    }
    fn close(&self, path: &str, number: u64) {
        self.0.close(path, number);
    }
    fn delete_branch(&self, path: &str, branch: &str) {
        self.0.delete_branch(path, branch);
    }
    fn require_check(&self, path: &str, context: &str) {
        self.0.require_check(path, "main", context);
    }
    fn forbid_squash(&self, path: &str) {
        self.0.allow_squash(path, false);
    }
    fn pull_of_fork(&self, path: &str, branch: &str) -> u64 {
        self.0.pull_of_fork(path, branch, "main")
    }
    fn reviewers(&self, path: &str, number: u64) -> Vec<String> {
        self.0.reviewers(path, number)
    }
    fn comments(&self, path: &str, number: u64) -> Vec<String> {
        self.0.comments(path, number)
    }
}

test_all!(fake());

fn connection(credentials: Credentials) -> Connection {
    Connection { credentials, ca: None, proxy: None, observer: Arc::new(|_, _| ()), timeout: Duration::from_millis(500) }
}

#[tokio::test]
async fn what_a_gitea_in_trouble_answers_is_passing() {
    let fake = fake();
    let repository = Repository::parse(Kind::Gitea, &fake.address(&fake.repository()), None).unwrap();
    let forge = connect(&repository, connection(Credentials::Token(Sensitive::new(TOKEN)))).unwrap();
    for status in [429, 500, 502, 503] {
        fake.0.fail_next(status);
        let error = forge.find_open("promotion", "main").await.unwrap_err();
        assert!(error.is_passing(), "{error}");
    }
    fake.0.set_latency(Duration::from_secs(2));
    let error = forge.find_open("promotion", "main").await.unwrap_err();
    assert_eq!(error.fault, Fault::TimedOut(Duration::from_millis(500)));
    let sent = fake.0.requests();
    assert_eq!((sent.len(), sent[0].method.as_str(), sent[0].path.as_str()), (5, "GET", "/api/v1/repos/acme/app/pulls"));
}

#[test]
fn a_github_app_is_no_credential_of_gitea() {
    let repository = Repository::parse(Kind::Gitea, "https://codeberg.org/acme/app", None).unwrap();
    let app = Credentials::App { app: 1, installation: 2, private_key: Sensitive::new("key") };
    let error = connect(&repository, connection(app)).err().unwrap();
    assert_eq!(error.to_string(), "connect on codeberg.org/acme/app: Gitea takes `token`, or `username` and `password`");
}
