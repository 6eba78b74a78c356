//! A real Gitea: the tests of the client, which its fake has in `sidecar/forge/tests/gitea.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

#[path = "../../sidecar/forge/tests/conformance/mod.rs"]
mod conformance;
#[path = "../../sidecar/forge/tests/gitea/flows.rs"]
mod flows;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use lockgate_core::pipeline::Forge as Kind;
use lockgate_e2e::gitea::{ADMINISTRATOR, Gitea};
use lockgate_e2e::{Lease, Logs, Shared};
use serde_json::{Value, json};

use conformance::{HEAD, World};

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
        gitea.api(
            "POST",
            "/orgs/acme/labels",
            Some(&json!({"name": "shared", "color": "#1d76db"})),
        )?;
        let bot = gitea.create_token("lockgate", &["write:repository", "write:issue"])?;
        let reader = gitea.create_token("lockgate", &["read:repository"])?;
        let stranger = gitea.create_token("eve", &["write:repository", "write:issue"])?;
        Ok(Self { gitea, bot, reader, stranger, repositories: AtomicUsize::new(0) })
    }

    fn name(&self) -> String {
        format!("app-{}", self.repositories.fetch_add(1, Ordering::Relaxed))
    }
}

impl Logs for Real {
    fn logs(&self) -> String {
        self.gitea.logs()
    }
}

/// A repository that no other test uses.
struct Place {
    real: Lease<Real>,
    path: String,
    /// A fork of it, once there is one.
    fork: OnceLock<String>,
}

impl Place {
    fn with(make: impl FnOnce(&Real, &str) -> String) -> Self {
        let real = REAL.lease(Real::start).unwrap();
        let path = make(&real, &real.name());
        let place = Self { real, path, fork: OnceLock::new() };
        place.commit(HEAD, "version: 2\n");
        place
    }

    /// As the administrator, on the repository.
    fn api(&self, method: &str, below: &str, body: Option<&Value>) -> Value {
        self.real.gitea.api(method, &format!("/repos/{}{below}", self.path), body).unwrap()
    }

    fn list(&self, below: &str) -> Vec<Value> {
        self.api("GET", below, None).as_array().unwrap().clone()
    }
}

impl World for Place {
    const KIND: Kind = Kind::Gitea;
    /// It is told two minutes later.
    const TELLS_CONFLICTS: bool = false;
    const PEOPLE: [&'static str; 2] = ["ada", "acme/Ops"];
    const RIGHT: &'static str = "write:repository and write:issue";
    const KEYS: &'static str = "Gitea takes `token`, or `username` and `password`";

    fn start() -> Self {
        Self::with(|real, name| {
            real.gitea.create_repository("acme", name).unwrap();
            format!("acme/{name}")
        })
    }
    fn address(&self) -> String {
        self.real.gitea.repository_url(&self.path)
    }
    fn unknown(&self) -> String {
        self.real.gitea.repository_url("acme/unknown")
    }
    fn page(&self, number: u64) -> String {
        format!("{}/pulls/{number}", self.address().trim_end_matches(".git"))
    }
    fn token(&self) -> String {
        self.real.bot.clone()
    }
    fn reader(&self) -> String {
        self.real.reader.clone()
    }
    fn commit(&self, branch: &str, text: &str) -> String {
        self.real.gitea.commit(&self.path, branch, &[("versions.yaml", text)]).unwrap()
    }
    fn branch(&self, branch: &str, from: &str) {
        self.api(
            "POST",
            "/branches",
            Some(&json!({"new_branch_name": branch, "old_branch_name": from})),
        );
    }
    fn tip(&self, branch: &str) -> Option<String> {
        self.api("GET", &format!("/branches/{branch}"), None)["commit"]["id"]
            .as_str()
            .map(str::to_owned)
    }
    fn merge(&self, number: u64) {
        self.real.gitea.merge(&self.path, number).unwrap();
    }
    fn close(&self, number: u64) {
        self.real.gitea.close(&self.path, number).unwrap();
    }
    fn delete(&self, number: u64) {
        self.api("DELETE", &format!("/issues/{number}"), None);
    }
    fn disarm(&self, number: u64) {
        self.api("DELETE", &format!("/pulls/{number}/merge"), None);
    }
    /// One of a fork. There can be no second open one, so that an earlier one is closed.
    fn open_strangers(&self) {
        let fork = self.fork.get_or_init(|| {
            let name = self.real.name();
            self.api("POST", "/forks", Some(&json!({"name": name})));
            let fork = format!("{ADMINISTRATOR}/{name}");
            self.real.gitea.commit(&fork, HEAD, &[("fork.txt", "a fork's\n")]).unwrap();
            fork
        });
        for pull in
            self.list("/pulls?state=open").iter().filter(|pull| pull["title"] == "from a fork")
        {
            self.close(pull["number"].as_u64().unwrap());
        }
        let pull =
            json!({"title": "from a fork", "head": format!("{fork}:{HEAD}"), "base": "main"});
        self.api("POST", "/pulls", Some(&pull));
    }
    fn hold(&self) {
        self.real.gitea.protect(&self.path, "main", &["ci"]).unwrap();
    }
    /// As the events of its page say.
    fn waits(&self, number: u64) -> bool {
        let events = self.list(&format!("/issues/{number}/timeline"));
        let last = events
            .iter()
            .rev()
            .filter_map(|event| event["type"].as_str())
            .find(|kind| kind.contains("scheduled_merge"));
        last == Some("pull_scheduled_merge")
    }
    fn reviewers(&self, number: u64) -> Vec<String> {
        let pull = self.api("GET", &format!("/pulls/{number}"), None);
        let names = |list: &str, name: &str, before: &str| {
            let list = pull[list].as_array().unwrap();
            list.iter()
                .map(|one| format!("{before}{}", one[name].as_str().unwrap()))
                .collect::<Vec<_>>()
        };
        [
            names("requested_reviewers", "login", ""),
            names("requested_reviewers_teams", "name", "acme/"),
        ]
        .concat()
    }
    fn comments(&self, number: u64) -> Vec<String> {
        let comments = self.list(&format!("/issues/{number}/comments"));
        comments.iter().map(|comment| comment["body"].as_str().unwrap().to_owned()).collect()
    }
}

impl flows::Gitea for Place {
    fn start_own() -> Self {
        Self::with(|real, name| {
            let repository = json!({"name": name, "auto_init": true, "default_branch": "main"});
            real.gitea.api("POST", "/admin/users/lockgate/repos", Some(&repository)).unwrap();
            format!("lockgate/{name}")
        })
    }
    fn stranger(&self) -> String {
        self.real.stranger.clone()
    }
    fn delete_branch(&self, branch: &str) {
        self.api("DELETE", &format!("/branches/{branch}"), None);
    }
    fn forbid_squash(&self) {
        self.api("PATCH", "", Some(&json!({"allow_squash_merge": false})));
    }
}

conformance::test_all!(Place);
flows::test_flows!(Place);
