//! The whole path: a signed event through real Envoy, the filter and the sidecar to a pull request
//! on a real Gitea, and on to its end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use std::time::Duration;

use anyhow::Result;
use lockgate_e2e::apps::secret;
use lockgate_e2e::gitea::{Gitea, PASSWORD};
use lockgate_e2e::repository::manifest;
use lockgate_e2e::stack::NAMESPACE;
use lockgate_e2e::{
    Answer, App, AppSpec, Lease, Logs, Options, PullRequest, Shared, Stack, Strategy,
};
use serde_json::{Value, json};

static WORLD: Shared<World> = Shared::new();

/// Each application has a repository of its own, `acme/<name>`.
struct World {
    stack: Stack,
    gitea: Gitea,
    bot: String,
}

/// Application, its Secret, whether it merges by itself. One for each test, or round of it.
const APPS: [(&str, &str, bool); 9] = [
    ("opened", "bot", false),
    ("updated", "bot", false),
    ("refreshed", "bot", false),
    ("merged", "bot", false),
    ("closed", "bot", false),
    ("automatic", "bot", true),
    ("reader", "reader", false),
    ("stranger", "stranger", false),
    ("halves", "halves", false),
];

impl World {
    fn start() -> Result<Self> {
        let gitea = Gitea::start()?;
        for user in ["lockgate", "eve"] {
            gitea.create_user(user)?;
        }
        gitea.create_organization("acme")?;
        gitea.create_team("acme", "Ops", &["lockgate"])?;
        let bot = gitea.create_token("lockgate", &["write:repository", "write:issue"])?;
        let reader = gitea.create_token("lockgate", &["read:repository"])?;
        let stranger = gitea.create_token("eve", &["write:repository", "write:issue"])?;
        for (name, ..) in APPS {
            gitea.create_repository("acme", name)?;
            let texts = ["staging", "prod"].map(|environment| {
                (file(name, environment), manifest(NAMESPACE, name, environment))
            });
            let files: Vec<(&str, &str)> =
                texts.iter().map(|(file, text)| (file.as_str(), text.as_str())).collect();
            gitea.commit(&format!("acme/{name}"), "main", &files)?;
        }
        let app = |(name, secret, auto_merge): (&str, &str, bool)| {
            let url = gitea.repository_url(&format!("acme/{name}"));
            AppSpec::new(
                name,
                Strategy::PullRequest(PullRequest { url, secret: secret.to_owned(), auto_merge }),
            )
        };
        let secrets: [(&str, &[(&str, &str)]); 4] = [
            ("bot", &[("token", &bot)]),
            ("reader", &[("token", &reader)]),
            ("stranger", &[("token", &stranger)]),
            // git may write, the token may not.
            ("halves", &[("username", "lockgate"), ("password", PASSWORD), ("token", &reader)]),
        ];
        let stack = Stack::start(&Options {
            apps: APPS.map(app).to_vec(),
            wait: Duration::from_secs(20),
            settings: format!("{}forge:\n  poll: {{min: 200ms, max: 1s}}\n", Options::LIFTED),
            files: secrets
                .map(|(name, data)| (secret_file(name), secret(NAMESPACE, name, data)))
                .to_vec(),
            ..Options::default()
        })?;
        Ok(Self { stack, gitea, bot })
    }

    fn app(&self, name: &str) -> &App {
        self.stack.app_named(name).unwrap()
    }

    /// The answer to a signed event: dev has `revision`.
    fn deliver(&self, name: &str, revision: &str) -> Answer {
        let app = self.app(name);
        self.stack.edge.send(&app.request("dev", &app.upgraded("dev", revision)).unwrap()).unwrap()
    }

    /// Such an event that leads to a pull request: the promotion of the answer.
    fn promote(&self, name: &str, revision: &str) -> Value {
        let answer = self.deliver(name, revision);
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json().unwrap()["promotion"].take()
    }

    fn until(&self, promotion: &Value, state: &str) -> Value {
        self.stack
            .sidecar
            .wait_for_state(promotion["id"].as_str().unwrap(), state, FOLLOWED)
            .unwrap()
    }

    /// `below` a repository, in JSON.
    fn get(&self, name: &str, below: &str) -> Value {
        self.gitea.api("GET", &format!("/repos/acme/{name}{below}"), None).unwrap()
    }

    /// The numbers of all pull requests, whatever their state.
    fn pulls(&self, name: &str) -> Vec<u64> {
        let pulls = self.get(name, "/pulls?state=all");
        pulls.as_array().unwrap().iter().map(|pull| pull["number"].as_u64().unwrap()).collect()
    }

    fn text(&self, name: &str, below: &str) -> String {
        let answer =
            self.gitea.request("GET", &format!("/repos/acme/{name}{below}"), None).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text()
    }

    /// The marked line of a file on a branch.
    fn version(&self, name: &str, environment: &str, branch: &str) -> String {
        let text = self.text(name, &format!("/raw/{}?ref={branch}", file(name, environment)));
        text.lines()
            .find_map(|line| line.trim().strip_prefix("version: ")?.split(' ').next())
            .unwrap()
            .to_owned()
    }
}

impl Logs for World {
    fn logs(&self) -> String {
        format!("{}\n{}", self.stack.logs(), self.gitea.logs())
    }
}

fn world() -> Lease<World> {
    WORLD.lease(World::start).unwrap()
}

fn file(app: &str, environment: &str) -> String {
    format!("apps/{app}/{environment}.yaml")
}

fn secret_file(name: &str) -> String {
    format!("{name}-forge.yaml")
}

fn branch(app: &str) -> String {
    format!("promotion-{NAMESPACE}-{app}-staging")
}

fn number(promotion: &Value) -> u64 {
    promotion["pullRequest"]["number"].as_u64().unwrap_or_else(|| panic!("{promotion}"))
}

/// The longest pause between two looks is a second; Gitea does some things in the background.
const FOLLOWED: Duration = Duration::from_secs(20);

#[test]
fn a_signed_event_becomes_a_pull_request_and_its_address_is_the_answer() {
    let world = world();
    let app = world.app("opened");
    let request = app.request("dev", &app.upgraded("dev", "1.2.0")).unwrap();
    let answer = world.stack.edge.send(&request).unwrap();
    assert_eq!(answer.status, 201, "{}", answer.text());
    let promotion = answer.json().unwrap()["promotion"].take();
    let pull = world.get("opened", "/pulls/1");
    let url = format!("{}/acme/opened/pulls/1", world.gitea.url());
    assert_eq!((answer.header("location"), &pull["html_url"]), (Some(url.as_str()), &json!(url)));
    assert_eq!(promotion["pullRequest"], json!({"url": url, "number": 1, "state": "open"}));
    assert_eq!(
        (&promotion["state"], &promotion["branch"]),
        (&json!("PullRequestOpen"), &json!(branch("opened")))
    );
    assert_eq!(promotion["commit"], pull["head"]["sha"]);

    assert_eq!(pull["title"], "Promote team-a/opened in staging to 1.2.0");
    assert_eq!(
        (&pull["head"]["ref"], &pull["base"]["ref"]),
        (&json!(branch("opened")), &json!("main"))
    );
    let body = pull["body"].as_str().unwrap();
    let block = "<details>\n<summary>metadata</summary>\n!!! DO NOT EDIT !!!\n\nteam-a/opened/staging\n</details>\n";
    assert!(body.starts_with(block), "{body}");
    for words in [
        promotion["id"].as_str().unwrap(),
        "| `apps/opened/staging.yaml` | 11 | `1.0.0` | `1.2.0` |",
    ] {
        assert!(body.contains(words), "{words}: {body}");
    }
    let diff = world.text("opened", "/pulls/1.diff");
    let changed: Vec<&str> = diff
        .lines()
        .filter(|line| {
            line.starts_with(['+', '-']) && !line.starts_with("+++") && !line.starts_with("---")
        })
        .collect();
    let line = |version: &str| {
        format!("      version: {version} # {{\"$promotion\": \"team-a:opened:staging\"}}")
    };
    assert_eq!(changed, [format!("-{}", line("1.0.0")), format!("+{}", line("1.2.0"))]);
    let commit =
        world.get("opened", &format!("/git/commits/{}", promotion["commit"].as_str().unwrap()));
    let message = commit["commit"]["message"].as_str().unwrap();
    assert!(message.starts_with("Promote team-a/opened in staging to 1.2.0\n"), "{message}");

    // Flux sends the same bytes again when it missed the answer.
    let again = world.stack.edge.send_h2(&request).unwrap();
    assert_eq!(
        (again.status, again.header("location"), again.text()),
        (201, Some(url.as_str()), answer.text())
    );
    assert_eq!(world.pulls("opened"), [1]);
}

#[test]
fn a_newer_revision_updates_the_open_pull_request() {
    let world = world();
    let older = world.promote("updated", "1.1.0");
    let newer = world.promote("updated", "1.2.0");
    assert_eq!((number(&older), number(&newer)), (1, 1));
    let pull = world.get("updated", "/pulls/1");
    assert_eq!(
        (&pull["state"], &pull["title"]),
        (&json!("open"), &json!("Promote team-a/updated in staging to 1.2.0"))
    );
    assert_eq!(pull["head"]["sha"], newer["commit"]);
    assert_ne!(older["commit"], newer["commit"]);
    let body = pull["body"].as_str().unwrap();
    assert!(
        body.contains(newer["id"].as_str().unwrap())
            && !body.contains(older["id"].as_str().unwrap()),
        "{body}"
    );
    assert_eq!(world.get("updated", "/pulls/1/commits").as_array().unwrap().len(), 1);
    assert_eq!(world.version("updated", "staging", &branch("updated")), "1.2.0");
    assert_eq!(world.pulls("updated"), [1]);
    world.until(&older, "Superseded");
}

#[test]
fn a_branch_that_gitea_updated_from_the_base_is_still_ours() {
    let world = world();
    let first = number(&world.promote("refreshed", "1.1.0"));
    world.gitea.commit("acme/refreshed", "main", &[("README.md", "meanwhile\n")]).unwrap();
    let answer = world
        .gitea
        .request("POST", &format!("/repos/acme/refreshed/pulls/{first}/update?style=merge"), None)
        .unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let ahead = || {
        world.get("refreshed", &format!("/compare/main...{}", branch("refreshed")))["total_commits"]
            .clone()
    };
    assert_eq!(ahead(), json!(2), "the edit and a merge");
    assert_eq!(number(&world.promote("refreshed", "1.2.0")), first);
    assert_eq!(
        (world.version("refreshed", "staging", &branch("refreshed")).as_str(), ahead()),
        ("1.2.0", json!(1))
    );
}

#[test]
fn a_pull_request_that_a_person_merges_is_followed_to_main() {
    let world = world();
    let promotion = world.promote("merged", "1.2.0");
    world.gitea.merge("acme/merged", number(&promotion)).unwrap();
    let merged = world.until(&promotion, "Merged");
    let pull = world.get("merged", "/pulls/1");
    assert_eq!(
        (&merged["commit"], &merged["pullRequest"]["state"]),
        (&pull["merge_commit_sha"], &json!("merged"))
    );
    assert_eq!(world.get("merged", "/branches/main")["commit"]["id"], merged["commit"]);
    assert_eq!(world.version("merged", "staging", "main"), "1.2.0");
    assert_eq!(world.version("merged", "prod", "main"), "1.0.0");

    // Gitea has kept the branch.
    let next = world.promote("merged", "1.3.0");
    assert_eq!((number(&next), world.pulls("merged").len()), (2, 2));
    assert_eq!(world.get("merged", "/pulls/2/commits").as_array().unwrap().len(), 1);
}

#[test]
fn a_pull_request_that_a_person_closes_is_not_opened_again_for_its_revision() {
    let world = world();
    let promotion = world.promote("closed", "1.2.0");
    world.gitea.close("acme/closed", number(&promotion)).unwrap();
    assert_eq!(world.until(&promotion, "Closed")["pullRequest"]["state"], "closed");

    let app = world.app("closed");
    let mut of_another = app.upgraded("dev", "1.2.0");
    of_another.involved_object.uid = "0e5b3c4f-6a0e-4a5f-8e0c-1f1d6f5f7c21".to_owned();
    let answer = world.stack.edge.send(&app.request("dev", &of_another).unwrap()).unwrap();
    let joined = answer.json().unwrap()["promotion"].take();
    assert_eq!(
        (answer.status, &joined["id"], &joined["state"]),
        (201, &promotion["id"], &json!("Closed"))
    );
    let mut again = app.upgraded("dev", "1.2.0");
    again.message.push_str(", once more");
    let answer = world.stack.edge.send(&app.request("dev", &again).unwrap()).unwrap();
    assert_eq!(
        (answer.status, &answer.json().unwrap()["promotion"]),
        (202, &Value::Null),
        "{}",
        answer.text()
    );
    assert_eq!(world.pulls("closed"), [1]);

    let newer = world.promote("closed", "1.3.0");
    assert_eq!((number(&newer), world.pulls("closed").len()), (2, 2));
}

#[test]
fn a_token_without_the_rights_fails_the_promotion_in_words_until_it_is_replaced() {
    let world = world();
    let url = world.gitea.url();
    let declined = "pre-receive hook declined (error: User permission denied for writing.)";
    for (name, reason, words) in [
        (
            "reader",
            "PermissionDenied",
            format!("the credentials lack a right on {url}/acme/reader.git: "),
        ),
        // Everybody may propose a change by a push, so Gitea lets a hook decide.
        (
            "stranger",
            "PushRejected",
            format!("the server refused the push to {}: {declined}", branch("stranger")),
        ),
        (
            "halves",
            "PermissionDenied",
            "create on 127.0.0.1/acme/halves: token lacks write:repository".to_owned(),
        ),
    ] {
        let answer = world.deliver(name, "1.2.0");
        assert_eq!(answer.status, 500, "{name}: {}", answer.text());
        let promotions = world.stack.sidecar.promotions(NAMESPACE, name).unwrap();
        let [promotion] = &promotions[..] else { panic!("{promotions:?}") };
        assert_eq!(
            (&promotion["state"], &promotion["reason"]),
            (&json!("Failed"), &json!(reason)),
            "{promotion}"
        );
        let message = promotion["message"].as_str().unwrap();
        assert!(message.starts_with(&words), "{message}");
        assert_eq!(world.pulls(name), [0; 0]);

        world
            .stack
            .pipelines
            .write(&secret_file(name), &secret(NAMESPACE, name, &[("token", &world.bot)]))
            .unwrap();
        let open = world.until(promotion, "PullRequestOpen");
        assert_eq!((number(&open), world.pulls(name).len()), (1, 1));
    }
}

#[test]
fn a_promotion_that_merges_by_itself_needs_no_person() {
    let world = world();
    let promotion = world.promote("automatic", "1.2.0");
    let merged = world.until(&promotion, "Merged");
    assert_eq!(merged["commit"], world.get("automatic", "/pulls/1")["merge_commit_sha"]);
    assert_eq!(world.version("automatic", "staging", "main"), "1.2.0");
}
