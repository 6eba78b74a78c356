//! Azure DevOps: our client against the fake, and Microsoft's own client beside it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

#[path = "azure/client.rs"]
mod client;
#[path = "azure/refusals.rs"]
mod refusals;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use lockgate_core::pipeline::{Forge as Kind, MergeMethod};
use lockgate_core::secret::Sensitive;
use lockgate_forge::{
    Check, CheckState, Connection, Credentials, Edit, Fault, Forge, NewPullRequest, PullRequest, Repository, Seen, State, connect,
};
use lockgate_forge_fakes::Azure;
use serde_json::json;

const TOKEN: &str = "abcdefghijklmnopqrstuvwxyz234567abcdefghijklmnopqrst";
const HEAD: &str = "promotion-ns-app-prod";
const BLOCK: &str = "<details>\n<summary>metadata</summary>\n!!! DO NOT EDIT !!!\n\nns/app/prod\n</details>\n";

/// A server with one repository, whose names have spaces, and a client of it.
struct World {
    fake: Azure,
    forge: Box<dyn Forge>,
    path: String,
}

impl World {
    /// With `HEAD` one commit ahead of `main`.
    async fn new() -> Self {
        let world = Self::equal().await;
        world.commit("1.1.0");
        world
    }

    /// With nothing to promote.
    async fn equal() -> Self {
        let fake = Azure::start(TOKEN);
        let path = Azure::path("Main Collection", "My Project", "My Repo");
        fake.git().create(&path, &[("app.yaml", "version: 1.0.0\n")]);
        let forge = client(&fake, TOKEN);
        Self { fake, forge, path }
    }

    fn commit(&self, version: &str) -> String {
        self.fake.git().commit(&self.path, HEAD, &[("app.yaml", &format!("version: {version}\n"))], "promote")
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
        let below = |path: &str| path.split_once("My%20Repo/").map_or(path.to_owned(), |(_, below)| below.to_owned());
        self.fake.requests()[from..].iter().map(|request| format!("{} {}", request.method, below(&request.path))).collect()
    }
}

fn client(fake: &Azure, token: &str) -> Box<dyn Forge> {
    client_of(fake, Credentials::Token(Sensitive::new(token)), "My Repo")
}

fn client_of(fake: &Azure, credentials: Credentials, name: &str) -> Box<dyn Forge> {
    let url = fake.repository_url("Main Collection", "My Project", name);
    let repository = Repository::parse(Kind::AzureDevOps, &url, None).unwrap();
    connect(&repository, connection(credentials)).unwrap()
}

fn connection(credentials: Credentials) -> Connection {
    Connection { credentials, ca: None, proxy: None, observer: Arc::new(|_, _| ()), timeout: Duration::from_secs(10) }
}

fn new(title: &str, body: &str) -> NewPullRequest {
    NewPullRequest { title: title.to_owned(), body: body.to_owned(), head: HEAD.to_owned(), base: "main".to_owned() }
}

#[tokio::test]
async fn a_promotion_is_opened_found_again_and_updated() {
    let world = World::new().await;
    assert_eq!(world.forge.find_open(HEAD, "main").await.unwrap(), None);
    let made = world.open().await;
    let below = ["GET pullrequests", "GET stats/branches", "POST pullrequests"];
    assert_eq!(world.asked(0), below, "three requests make a pull request");
    assert_eq!((made.number, made.state.clone(), made.auto_merge), (1, State::Open, Some(false)));
    assert_eq!((made.head.as_str(), made.base.as_str(), made.body.as_str()), (HEAD, "main", BLOCK));
    assert_eq!(made.head_commit, world.fake.git().tip(&world.path, HEAD));
    let url = world.fake.repository_url("Main Collection", "My Project", "My Repo");
    assert_eq!(made.url, format!("{url}/pullrequest/1"));

    let error = world.forge.create(&new("again", "")).await.unwrap_err();
    assert_eq!((error.operation, error.fault), ("create", Fault::Exists));

    let before = world.fake.requests().len();
    let found = world.forge.find_open(HEAD, "main").await.unwrap().unwrap();
    assert_eq!(world.asked(before), ["GET pullrequests", "GET pullrequests/1"]);
    assert_eq!(PullRequest { handle: String::new(), ..made }, found);
    assert_eq!(world.forge.find_newest(HEAD, "main").await.unwrap(), Some(found));

    let (title, body) = ("Promote ns/app in prod to 1.2.0".to_owned(), format!("{BLOCK}{}", "text ".repeat(200)));
    let before = world.fake.requests().len();
    let updated = world.forge.update(1, &Edit { title: title.clone(), body: body.clone() }).await.unwrap();
    assert_eq!(world.asked(before), ["PATCH pullrequests/1"]);
    assert_eq!((updated.title.clone(), updated.body.clone()), (title, body));
    // The list shows 400 characters of it.
    assert_eq!(world.forge.find_open(HEAD, "main").await.unwrap(), Some(updated));
}

#[tokio::test]
async fn a_body_that_is_too_long_is_cut_and_keeps_its_metadata() {
    let world = World::new().await;
    let body = format!("{BLOCK}{}", "a line of the list of changes\n".repeat(300));
    let made = world.forge.create(&new("Promote", &body)).await.unwrap();
    assert!(made.body.starts_with(BLOCK) && made.body.contains("cut here") && made.body.chars().count() <= 4000);
    let updated = world.forge.update(1, &Edit { title: "Promote".to_owned(), body }).await.unwrap();
    assert_eq!(updated.body, made.body);
}

#[tokio::test]
async fn a_pull_request_of_a_fork_or_of_other_branches_is_never_ours() {
    let world = World::new().await;
    world.fake.open_from_fork(&world.path, HEAD, "main");
    world.fake.open_by_jane(&world.path, HEAD, "release");
    world.fake.open_by_jane(&world.path, "other", "main");
    assert_eq!(world.forge.find_open(HEAD, "main").await.unwrap(), None);
    assert_eq!(world.forge.find_newest(HEAD, "main").await.unwrap(), None);
    // In another repository of the collection.
    let other = Azure::path("Main Collection", "My Project", "Other");
    world.fake.git().create(&other, &[("a", "b")]);
    world.fake.git().commit(&other, HEAD, &[("a", "c")], "promote");
    world.fake.open_by_jane(&other, HEAD, "main");
    assert_eq!(world.forge.find_open(HEAD, "main").await.unwrap(), None);
    assert_eq!(world.open().await.number, 5);
}

#[tokio::test]
async fn all_pages_are_looked_at() {
    let world = World::new().await;
    let first = world.fake.open_by_jane(&world.path, HEAD, "main");
    for _ in 0..230 {
        world.fake.open_from_fork(&world.path, HEAD, "main");
    }
    let found = world.forge.find_open(HEAD, "main").await.unwrap().unwrap();
    assert_eq!(found.number, first, "it is on the last page: the newest come first");
    assert_eq!(world.asked(0).len(), 3 + 1);
    let skips: Vec<String> = world.fake.requests().iter().map(|request| request.query.clone()).collect();
    assert!(skips[2].contains("skip=200"), "{skips:?}");
}

#[tokio::test]
async fn of_several_the_lowest_open_and_the_highest_of_all_are_found() {
    let world = World::new().await;
    world.fake.open_by_jane(&world.path, HEAD, "main");
    world.fake.open_by_jane(&world.path, HEAD, "main");
    world.fake.open_by_jane(&world.path, HEAD, "main");
    world.fake.close(3);
    assert_eq!(world.forge.find_open(HEAD, "main").await.unwrap().unwrap().number, 1);
    let newest = world.forge.find_newest(HEAD, "main").await.unwrap().unwrap();
    assert_eq!((newest.number, newest.state), (3, State::Closed));
}

#[tokio::test]
async fn completed_and_abandoned_ones_are_followed_to_their_end() {
    let world = World::new().await;
    let made = world.open().await;
    assert_eq!(world.look(made.number).await.state, State::Open);
    world.commit("1.1.1");
    let before = world.fake.requests().len();
    let pull = world.look(made.number).await;
    assert_eq!(world.asked(before), ["GET pullrequests/1"]);
    assert_eq!(pull.head_commit, world.fake.git().tip(&world.path, HEAD), "a push moves its head");

    let commit = world.fake.merge(made.number);
    let merged = world.look(made.number).await;
    let State::Merged { commit: Some(shown), at: Some(_) } = &merged.state else { panic!("{merged:?}") };
    assert_eq!(*shown, commit);
    assert_eq!(world.forge.find_open(HEAD, "main").await.unwrap(), None);
    assert_eq!(world.forge.find_newest(HEAD, "main").await.unwrap().map(|pull| pull.state), Some(merged.state));
    let error = world.forge.update(1, &Edit { title: "late".to_owned(), body: String::new() }).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Conflict(_)) && error.is_passing(), "{error}");

    world.commit("1.2.0");
    let second = world.open().await;
    world.fake.close(second.number);
    assert_eq!(world.look(second.number).await.state, State::Closed);
    assert_eq!(world.forge.find_newest(HEAD, "main").await.unwrap().map(|pull| pull.number), Some(2));
}

#[tokio::test]
async fn equal_branches_leave_nothing_behind() {
    let world = World::equal().await;
    let main = world.fake.git().tip(&world.path, "main").unwrap();
    world.fake.git().git(&world.path, &["update-ref", &format!("refs/heads/{HEAD}"), &main]);
    for _ in 0..2 {
        let error = world.forge.create(&new("Promote", "")).await.unwrap_err();
        assert_eq!(error.fault, Fault::NothingToMerge);
        // The second time the base is ahead of the head: as little to merge.
        world.fake.git().commit(&world.path, "main", &[("other", "x")], "work");
    }
    assert_eq!(world.asked(0), ["GET stats/branches", "GET stats/branches"]);
}

#[tokio::test]
async fn auto_complete_is_switched_on_and_off() {
    let world = World::new().await;
    let made = world.open().await;
    let before = world.fake.requests().len();
    world.forge.set_auto_merge(&made, true, Some(MergeMethod::Squash)).await.unwrap();
    assert_eq!(world.asked(before), ["PATCH pullrequests/1"], "who made it is who we are");
    let shown = world.fake.pull(1);
    assert_eq!(shown["autoCompleteSetBy"]["id"], Azure::USER);
    assert_eq!(shown["completionOptions"], json!({"deleteSourceBranch": true, "mergeStrategy": "squash"}));
    assert_eq!(world.look(1).await.auto_merge, Some(true));

    world.forge.set_auto_merge(&made, false, None).await.unwrap();
    assert_eq!(world.look(1).await.auto_merge, Some(false));
    assert_eq!(world.fake.pull(1)["autoCompleteSetBy"], json!(null));

    // Somebody else's: who we are has to be asked.
    let found = world.forge.find_open(HEAD, "main").await.unwrap().unwrap();
    for (method, expected) in [
        (None, json!({"deleteSourceBranch": true})),
        (Some(MergeMethod::Merge), json!({"deleteSourceBranch": true, "mergeStrategy": "noFastForward"})),
        (Some(MergeMethod::Rebase), json!({"deleteSourceBranch": true, "mergeStrategy": "rebase"})),
    ] {
        let before = world.fake.requests().len();
        world.forge.set_auto_merge(&found, true, method).await.unwrap();
        assert_eq!(world.asked(before), ["GET /Main%20Collection/_apis/connectionData", "PATCH pullrequests/1"]);
        assert_eq!(world.fake.pull(1)["completionOptions"], expected);
    }
    world.fake.merge(1);
    assert_eq!(world.fake.git().tip(&world.path, HEAD), None, "its branch is gone");
}

#[tokio::test]
async fn labels_reviewers_and_a_comment_are_added() {
    let world = World::new().await;
    let made = world.open().await;
    for _ in 0..2 {
        world.forge.add_labels(made.number, &["promotion".to_owned(), "prod".to_owned()]).await.unwrap();
    }
    assert_eq!(world.look(1).await.labels, ["promotion", "prod"]);

    let before = world.fake.requests().len();
    world.forge.request_reviewers(1, &["Jane@example.com".to_owned(), Azure::SAMS[1].to_owned()]).await.unwrap();
    assert_eq!(world.asked(before), ["GET /Main%20Collection/_apis/identities", "POST pullRequests/1/reviewers"]);
    world.forge.request_reviewers(1, &["sam1@example.com".to_owned()]).await.unwrap();
    let asked: Vec<_> = world.fake.pull(1)["reviewers"].as_array().unwrap().iter().map(|who| who["id"].clone()).collect();
    assert_eq!(asked, [Azure::JANE, Azure::SAMS[1], Azure::SAMS[0]]);
    for (name, words) in [
        ("Sam", "2 reviewers are called \"Sam\""),
        ("nobody@example.com", "no reviewer has the e-mail address, account or display name \"nobody@example.com\""),
        ("00000000-0000-0000-0000-000000000001", "A valid reviewer must be supplied"),
    ] {
        let error = world.forge.request_reviewers(1, &[name.to_owned()]).await.unwrap_err();
        assert!(matches!(&error.fault, Fault::Invalid(text) if text.contains(words)), "{name}: {error}");
    }
    world.fake.fail_next(203);
    let error = world.forge.request_reviewers(1, &["Jane Doe".to_owned()]).await.unwrap_err();
    assert!(matches!(error.fault, Fault::PermissionDenied { right: "Identity (Read)", .. }), "{error}");
    let before = world.fake.requests().len();
    world.forge.request_reviewers(1, &[]).await.unwrap();
    assert_eq!(world.fake.requests().len(), before);

    world.forge.comment(1, "superseded by 1.2.0").await.unwrap();
    let threads = world.fake.pull(1)["threads"].clone();
    assert_eq!(threads[0]["comments"][0]["content"], "superseded by 1.2.0");
    assert_eq!(threads[0]["status"], "closed", "it must not hold up a merge");
}

#[tokio::test]
async fn statuses_of_the_commit_and_of_its_pull_request_are_read() {
    let world = World::new().await;
    let made = world.open().await;
    let commit = made.head_commit.unwrap();
    let check = |name: &str, state: CheckState, description: &str, url: Option<&str>| Check {
        name: name.to_owned(),
        state,
        description: description.to_owned(),
        url: url.map(str::to_owned),
    };
    assert_eq!(world.forge.checks(&commit).await.unwrap(), []);
    let flux = |state, words: &str| check("fluxcd/kustomization/apps/0c9c", state, words, Some("https://ci.example/1"));
    let ci = check("ci", CheckState::Failure, "", None);
    for one in [&flux(CheckState::Pending, "waits"), &ci, &flux(CheckState::Success, "ready")] {
        world.forge.set_check(&commit, one).await.unwrap();
    }
    assert_eq!(world.forge.checks(&commit).await.unwrap(), [ci.clone(), flux(CheckState::Success, "ready")]);
    for number in 0..205 {
        world.forge.set_check(&commit, &check(&format!("x/{number:03}"), CheckState::Success, "", None)).await.unwrap();
    }
    assert_eq!(world.forge.checks(&commit).await.unwrap().len(), 2 + 205, "all pages");

    // Statuses of the pull request, and of its pushes: the last of these is another commit's.
    let head = world.commit("1.1.1");
    post_status(&world, json!({"state": "succeeded", "context": {"name": "build", "genre": "whole"}})).await;
    post_status(&world, json!({"state": "failed", "context": {"name": "build", "genre": "push"}, "iterationId": 1})).await;
    post_status(&world, json!({"state": "succeeded", "context": {"name": "lint", "genre": "push"}, "iterationId": 2})).await;
    let names: Vec<_> = world.forge.checks(&head).await.unwrap().into_iter().map(|check| (check.name, check.state)).collect();
    assert_eq!(names, [("push/lint".to_owned(), CheckState::Success), ("whole/build".to_owned(), CheckState::Success)]);
}

/// What a service of others posts on pull request 1.
async fn post_status(world: &World, body: serde_json::Value) {
    let url = world.fake.repository_url("Main Collection", "My Project", "My Repo").replace("_git", "_apis/git/repositories");
    let request = reqwest::Client::new().post(format!("{url}/pullRequests/1/statuses?api-version=7.0"));
    let answer = request.basic_auth("", Some(TOKEN)).json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
}

#[tokio::test]
async fn every_request_is_observed_with_its_operation() {
    let world = World::new().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let writer = Arc::clone(&seen);
    let url = world.fake.repository_url("Main Collection", "My Project", "My Repo");
    let connection = Connection {
        observer: Arc::new(move |operation, status| writer.lock().unwrap().push((operation, status))),
        ..connection(Credentials::Basic { username: "someone".to_owned(), password: Sensitive::new(TOKEN) })
    };
    let forge = connect(&Repository::parse(Kind::AzureDevOps, &url, None).unwrap(), connection).unwrap();
    forge.find_open(HEAD, "main").await.unwrap();
    forge.create(&new("Promote", "")).await.unwrap();
    forge.create(&new("Promote", "")).await.unwrap_err();
    let expected = [("find", 200), ("create", 200), ("create", 201), ("create", 200), ("create", 409)];
    assert_eq!(*seen.lock().unwrap(), expected);
}
