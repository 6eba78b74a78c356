//! Azure DevOps: our client against the fake, and Microsoft's own client beside it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

#[path = "azure/client.rs"]
mod client;
mod conformance;
#[path = "azure/finding.rs"]
mod finding;
mod limits;
#[path = "azure/refusals.rs"]
mod refusals;

use conformance::{Client, HEAD, World, edit, names, token};
use lockgate_core::pipeline::{Forge as Kind, MergeMethod};
use lockgate_forge::{
    Check, CheckState, Credentials, Forge, ForgeFault, NewPullRequest, PullRequest,
    PullRequestState, Seen,
};
use lockgate_forge_fakes::Azure;
use serde_json::{Value, json};

const TOKEN: &str = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst";
const BLOCK: &str =
    "<details>\n<summary>metadata</summary>\n!!! DO NOT EDIT !!!\n\nns/app/prod\n</details>\n";

/// A server with one repository, whose names have spaces, and a client of it. Its pages are always
/// those of the real one.
struct Server {
    fake: Azure,
    forge: Box<dyn Forge>,
    /// In the git host.
    path: String,
}

impl World for Server {
    const KIND: Kind = Kind::AzureDevOps;
    const SHOWS_HANDLES: bool = false;
    const PEOPLE: [&'static str; 2] = [Azure::JANE, Azure::SAMS[1]];
    const RIGHT: &'static str = "Contribute to pull requests: TF401027";
    const KEYS: &'static str = "token (or password)";

    fn start() -> Self {
        let server = Self::equal();
        server.promote("1.1.0");
        server
    }
    fn address(&self) -> String {
        self.fake.repository_url("Main Collection", "My Project", "My Repo")
    }
    fn unknown(&self) -> String {
        self.fake.repository_url("Main Collection", "My Project", "No Repo")
    }
    fn page(&self, number: u64) -> String {
        format!("{}/pullrequest/{number}", self.address())
    }
    fn token(&self) -> String {
        TOKEN.to_owned()
    }
    fn reader(&self) -> String {
        self.fake.forbid(true);
        TOKEN.to_owned()
    }
    fn commit(&self, branch: &str, text: &str) -> String {
        self.fake.git().commit(&self.path, branch, &[("app.yaml", text)], "promote")
    }
    fn branch(&self, branch: &str, from: &str) {
        self.fake.git().git(&self.path, &["branch", branch, from]);
    }
    fn tip(&self, branch: &str) -> Option<String> {
        self.fake.git().tip(&self.path, branch)
    }
    fn merge(&self, number: u64) {
        self.fake.merge(number);
    }
    fn close(&self, number: u64) {
        self.fake.close(number);
    }
    fn delete(&self, number: u64) {
        self.fake.delete(number);
    }
    fn disarm(&self, number: u64) {
        self.fake.disarm(number);
    }
    fn open_strangers(&self) {
        self.fake.open_from_fork(&self.path, HEAD, "main");
        self.fake.open_by_jane(&self.path, HEAD, "release");
        self.fake.open_by_jane(&self.path, "other", "main");
        // In another repository of the collection.
        let other = Azure::path("Main Collection", "My Project", "Other");
        self.fake.git().create(&other, &[("a", "b")]);
        self.fake.git().commit(&other, HEAD, &[("a", "c")], "promote");
        self.fake.open_by_jane(&other, HEAD, "main");
    }
    /// Auto-complete always waits: a merge by [`Azure::merge`] is the policy's last word.
    fn hold(&self) {}
    fn release(&self, number: u64) {
        self.fake.merge(number);
    }
    fn waits(&self, number: u64) -> bool {
        self.fake.pull(number)["autoCompleteSetBy"] != Value::Null
    }
    fn reviewers(&self, number: u64) -> Vec<String> {
        let shown = self.fake.pull(number);
        shown["reviewers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|who| who["id"].as_str().unwrap().to_owned())
            .collect()
    }
    fn comments(&self, number: u64) -> Vec<String> {
        let shown = self.fake.pull(number);
        let threads = shown["threads"].as_array().unwrap().iter();
        threads
            .map(|thread| thread["comments"][0]["content"].as_str().unwrap().to_owned())
            .collect()
    }
}

conformance::test_all!(Server);

impl Server {
    /// With nothing to promote.
    fn equal() -> Self {
        let fake = Azure::start(TOKEN);
        let path = Azure::path("Main Collection", "My Project", "My Repo");
        fake.git().create(&path, &[("app.yaml", "version: 1.0.0\n")]);
        let forge = client(&fake, token(TOKEN));
        Self { fake, forge, path }
    }

    fn promote(&self, version: &str) -> String {
        self.commit(HEAD, &format!("version: {version}\n"))
    }

    async fn open(&self) -> PullRequest {
        self.forge.create(&new("Promote ns/app in prod to 1.1.0", BLOCK)).await.unwrap()
    }

    async fn look(&self, number: u64) -> PullRequest {
        match self.forge.look(number, None).await.unwrap() {
            Seen::Changed { pull, tag: None } => pull,
            other => panic!("Azure has no conditional requests: {other:?}"),
        }
    }

    /// Method, and path below the repository, of the requests since `from`.
    fn asked(&self, from: usize) -> Vec<String> {
        let below = |path: &str| {
            path.split_once("My%20Repo/").map_or(path.to_owned(), |(_, below)| below.to_owned())
        };
        self.fake.requests()[from..]
            .iter()
            .map(|request| format!("{} {}", request.method, below(&request.path)))
            .collect()
    }
}

fn client(fake: &Azure, credentials: Credentials) -> Box<dyn Forge> {
    Client::with::<Server>(
        &fake.repository_url("Main Collection", "My Project", "My Repo"),
        credentials,
    )
    .forge
}

fn new(title: &str, body: &str) -> NewPullRequest {
    NewPullRequest { title: title.to_owned(), body: body.to_owned(), ..conformance::new(HEAD) }
}

#[tokio::test]
async fn strange_answers_are_named_and_survived() {
    let world = Server::start();
    limits::strange_answers_are_named_and_survived(
        &world,
        |status, headers, text| world.fake.answer_next(status, headers, text),
        r#"{"count": 1, "value": [null]}"#,
    )
    .await;
}

#[tokio::test]
async fn limits_and_failures_pass_and_say_when() {
    let world = Server::start();
    limits::pass_and_say_when(&world, |status| world.fake.fail_next(status)).await;
}

#[tokio::test]
async fn a_body_that_is_too_long_is_cut_and_keeps_its_metadata() {
    let world = Server::start();
    let body = format!("{BLOCK}{}", "a line of the list of changes\n".repeat(300));
    let made = world.forge.create(&new("Promote", &body)).await.unwrap();
    assert!(
        made.body.starts_with(BLOCK)
            && made.body.contains("cut here")
            && made.body.chars().count() <= 4000
    );
    let updated = world.forge.update(1, &edit("Promote", &body)).await.unwrap();
    assert_eq!(updated.body, made.body);
}

#[tokio::test]
async fn auto_complete_is_switched_on_and_off() {
    let world = Server::start();
    let made = world.open().await;
    let before = world.fake.requests().len();
    world.forge.set_auto_merge(&made, true, Some(MergeMethod::Squash)).await.unwrap();
    assert_eq!(world.asked(before), ["PATCH pullrequests/1"], "who made it is who we are");
    let shown = world.fake.pull(1);
    assert_eq!(shown["autoCompleteSetBy"]["id"], Azure::USER);
    assert_eq!(
        shown["completionOptions"],
        json!({"deleteSourceBranch": true, "mergeStrategy": "squash"})
    );
    assert_eq!(world.look(1).await.auto_merge, Some(true));

    world.forge.set_auto_merge(&made, false, None).await.unwrap();
    assert_eq!(world.look(1).await.auto_merge, Some(false));
    assert_eq!(world.fake.pull(1)["autoCompleteSetBy"], json!(null));

    // Somebody else's: who we are has to be asked.
    let found = world.forge.find_open(HEAD, "main").await.unwrap().unwrap();
    for (method, expected) in [
        (None, json!({"deleteSourceBranch": true})),
        (
            Some(MergeMethod::Merge),
            json!({"deleteSourceBranch": true, "mergeStrategy": "noFastForward"}),
        ),
        (Some(MergeMethod::Rebase), json!({"deleteSourceBranch": true, "mergeStrategy": "rebase"})),
    ] {
        let before = world.fake.requests().len();
        world.forge.set_auto_merge(&found, true, method).await.unwrap();
        assert_eq!(
            world.asked(before),
            ["GET /Main%20Collection/_apis/connectionData", "PATCH pullrequests/1"]
        );
        assert_eq!(world.fake.pull(1)["completionOptions"], expected);
    }
    world.fake.merge(1);
    assert_eq!(world.fake.git().tip(&world.path, HEAD), None, "its branch is gone");
}

#[tokio::test]
async fn a_reviewer_may_be_a_mail_address_and_a_comment_is_a_closed_thread() {
    let world = Server::start();
    world.open().await;
    world.forge.add_labels(1, &names(&["promotion", "prod"])).await.unwrap();
    assert_eq!(world.look(1).await.labels, ["promotion", "prod"]);

    let before = world.fake.requests().len();
    world
        .forge
        .request_reviewers(1, &["Jane@example.com".to_owned(), Azure::SAMS[1].to_owned()])
        .await
        .unwrap();
    assert_eq!(
        world.asked(before),
        ["GET /Main%20Collection/_apis/identities", "POST pullRequests/1/reviewers"]
    );
    world.forge.request_reviewers(1, &["sam1@example.com".to_owned()]).await.unwrap();
    assert_eq!(world.reviewers(1), [Azure::JANE, Azure::SAMS[1], Azure::SAMS[0]]);
    for (name, words) in [
        ("Sam", "2 reviewers are called \"Sam\""),
        (
            "nobody@example.com",
            "no reviewer has the e-mail address, account or display name \"nobody@example.com\"",
        ),
        ("00000000-0000-0000-0000-000000000001", "A valid reviewer must be supplied"),
    ] {
        let error = world.forge.request_reviewers(1, &[name.to_owned()]).await.unwrap_err();
        assert!(
            matches!(&error.fault, ForgeFault::Invalid(text) if text.contains(words)),
            "{name}: {error}"
        );
    }
    world.fake.fail_next(203);
    let error = world.forge.request_reviewers(1, &["Jane Doe".to_owned()]).await.unwrap_err();
    assert!(
        matches!(error.fault, ForgeFault::PermissionDenied { right: "Identity (Read)", .. }),
        "{error}"
    );

    world.forge.comment(1, "superseded by 1.2.0").await.unwrap();
    assert_eq!(world.fake.pull(1)["threads"][0]["status"], "closed", "it must not hold up a merge");
}

#[tokio::test]
async fn statuses_of_the_commit_and_of_its_pull_request_are_read() {
    let world = Server::start();
    let made = world.open().await;
    let commit = made.head_commit.unwrap();
    let check = |name: &str, state: CheckState, description: &str, url: Option<&str>| Check {
        name: name.to_owned(),
        state,
        description: description.to_owned(),
        url: url.map(str::to_owned),
    };
    assert_eq!(world.forge.checks(&commit).await.unwrap(), []);
    let flux = |state, words: &str| {
        check("fluxcd/kustomization/apps/0c9c", state, words, Some("https://ci.example/1"))
    };
    let ci = check("ci", CheckState::Failure, "", None);
    for one in [&flux(CheckState::Pending, "waits"), &ci, &flux(CheckState::Success, "ready")] {
        world.forge.set_check(&commit, one).await.unwrap();
    }
    assert_eq!(
        world.forge.checks(&commit).await.unwrap(),
        [ci.clone(), flux(CheckState::Success, "ready")]
    );
    for number in 0..205 {
        world
            .forge
            .set_check(&commit, &check(&format!("x/{number:03}"), CheckState::Success, "", None))
            .await
            .unwrap();
    }
    assert_eq!(world.forge.checks(&commit).await.unwrap().len(), 2 + 205, "all pages");

    // Statuses of the pull request, and of its pushes: the last of these is another commit's.
    let head = world.promote("1.1.1");
    post_status(
        &world,
        json!({"state": "succeeded", "context": {"name": "build", "genre": "whole"}}),
    )
    .await;
    post_status(
        &world,
        json!({"state": "failed", "context": {"name": "build", "genre": "push"}, "iterationId": 1}),
    )
    .await;
    post_status(&world, json!({"state": "succeeded", "context": {"name": "lint", "genre": "push"}, "iterationId": 2})).await;
    let names: Vec<_> = world
        .forge
        .checks(&head)
        .await
        .unwrap()
        .into_iter()
        .map(|check| (check.name, check.state))
        .collect();
    assert_eq!(
        names,
        [
            ("push/lint".to_owned(), CheckState::Success),
            ("whole/build".to_owned(), CheckState::Success)
        ]
    );
}

/// What a service of others posts on pull request 1.
async fn post_status(world: &Server, body: Value) {
    let url = world
        .fake
        .repository_url("Main Collection", "My Project", "My Repo")
        .replace("_git", "_apis/git/repositories");
    let request =
        reqwest::Client::new().post(format!("{url}/pullRequests/1/statuses?api-version=7.0"));
    let answer = request.basic_auth("", Some(TOKEN)).json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

#[tokio::test]
async fn a_comparison_is_told_as_part_of_the_opening() {
    let world = Server::start();
    let client = Client::of(&world);
    client.open(HEAD).await;
    client.forge.create(&new("Promote", "")).await.unwrap_err();
    assert_eq!(client.told(), [("create", 200), ("create", 201), ("create", 200), ("create", 409)]);
}
