//! A real Gitea: the flows of the client, which its fake has in `sidecar/forge/tests/gitea.rs`, and what only a real one shows.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

#[path = "../../sidecar/forge/tests/gitea/flows.rs"]
mod flows;

use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use lockgate_e2e::gitea::{ADMINISTRATOR, Gitea};
use lockgate_e2e::{Lease, Logs, Shared};
use serde_json::{Value, json};

use flows::{Who, World, test_all};

static REAL: Shared<Real> = Shared::new();

struct Real {
    gitea: Gitea,
    bot: String,
    reader: String,
    stranger: String,
    repositories: AtomicUsize,
}

impl Real {
    fn start() -> Result<Self> {
        let gitea = Gitea::start()?;
        for user in ["lockgate", "ada", "eve"] {
            gitea.create_user(user)?;
        }
        gitea.create_organization("acme")?;
        gitea.create_team("acme", "Ops", &["lockgate", "ada"])?;
        gitea.api("POST", "/orgs/acme/labels", Some(&json!({"name": "shared", "color": "#1d76db"})))?;
        let bot = gitea.create_token("lockgate", &["write:repository", "write:issue"])?;
        let reader = gitea.create_token("lockgate", &["read:repository"])?;
        let stranger = gitea.create_token("eve", &["write:repository", "write:issue"])?;
        Ok(Self { gitea, bot, reader, stranger, repositories: AtomicUsize::new(0) })
    }

    fn name(&self) -> String {
        format!("app-{}", self.repositories.fetch_add(1, Ordering::Relaxed))
    }

    /// As the administrator, on a repository.
    fn api(&self, method: &str, path: &str, below: &str, body: Option<&Value>) -> Value {
        self.gitea.api(method, &format!("/repos/{path}{below}"), body).unwrap()
    }

    fn pull(&self, path: &str, number: u64) -> Value {
        self.api("GET", path, &format!("/pulls/{number}"), None)
    }
}

impl Logs for Real {
    fn logs(&self) -> String {
        self.gitea.logs()
    }
}

fn real() -> Lease<Real> {
    REAL.lease(Real::start).unwrap()
}

impl World for Real {
    fn repository(&self) -> String {
        let name = self.name();
        self.gitea.create_repository("acme", &name).unwrap();
        format!("acme/{name}")
    }
    fn own_repository(&self) -> String {
        let name = self.name();
        let repository = json!({"name": name, "auto_init": true, "default_branch": "main"});
        self.gitea.api("POST", "/admin/users/lockgate/repos", Some(&repository)).unwrap();
        format!("lockgate/{name}")
    }
    fn address(&self, path: &str) -> String {
        self.gitea.repository_url(path)
    }
    fn token(&self, who: Who) -> String {
        match who {
            Who::Bot => &self.bot,
            Who::Reader => &self.reader,
            Who::Stranger => &self.stranger,
            Who::Nobody => "0000000000000000000000000000000000000000",
        }
        .to_owned()
    }
    fn commit(&self, path: &str, branch: &str, file: &str, text: &str) -> String {
        self.gitea.commit(path, branch, &[(file, text)]).unwrap()
    }
    fn branch(&self, path: &str, branch: &str, from: &str) {
        self.api("POST", path, "/branches", Some(&json!({"new_branch_name": branch, "old_branch_name": from})));
    }
    fn merge(&self, path: &str, number: u64) {
        self.gitea.merge(path, number).unwrap();
    }
    fn close(&self, path: &str, number: u64) {
        self.gitea.close(path, number).unwrap();
    }
    fn delete_branch(&self, path: &str, branch: &str) {
        self.api("DELETE", path, &format!("/branches/{branch}"), None);
    }
    fn require_check(&self, path: &str, context: &str) {
        self.gitea.protect(path, "main", &[context]).unwrap();
    }
    fn forbid_squash(&self, path: &str) {
        self.api("PATCH", path, "", Some(&json!({"allow_squash_merge": false})));
    }
    fn pull_of_fork(&self, path: &str, branch: &str) -> u64 {
        let fork = self.name();
        self.api("POST", path, "/forks", Some(&json!({"name": fork})));
        let fork = format!("{ADMINISTRATOR}/{fork}");
        self.gitea.commit(&fork, branch, &[("fork.txt", "a fork's\n")]).unwrap();
        let pull = json!({"title": "from a fork", "head": format!("{fork}:{branch}"), "base": "main"});
        self.api("POST", path, "/pulls", Some(&pull))["number"].as_u64().unwrap()
    }
    fn reviewers(&self, path: &str, number: u64) -> Vec<String> {
        let pull = self.pull(path, number);
        let names = |list: &str, name: &str, before: &str| {
            let list = pull[list].as_array().unwrap();
            list.iter().map(|one| format!("{before}{}", one[name].as_str().unwrap())).collect::<Vec<_>>()
        };
        [names("requested_reviewers", "login", ""), names("requested_reviewers_teams", "name", "acme/")].concat()
    }
    fn comments(&self, path: &str, number: u64) -> Vec<String> {
        let comments = self.api("GET", path, &format!("/issues/{number}/comments"), None);
        comments.as_array().unwrap().iter().map(|comment| comment["body"].as_str().unwrap().to_owned()).collect()
    }
}

test_all!(real());
