//! GitHub's client against the stateful fake; every test ends with its exchanges held against what
//! GitHub publishes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

#[path = "github/app.rs"]
mod app;
mod conformance;
mod contract;
#[path = "github/faults.rs"]
mod faults;
mod limits;
#[path = "github/merging.rs"]
mod merging;

use conformance::{HEAD, Told, World, names, new, observed, token};
use lockgate_core::pipeline::Forge as Kind;
use lockgate_forge::{
    Check, CheckState, Connection, Credentials, Forge, ForgeFault, Mergeability, PullRequest,
    PullRequestState, Repository, Seen, connect,
};
use lockgate_forge_fakes::GitHub;
use serde_json::{Value, json};

const TOKEN: &str = "ghp_topsecrettoken";
const REPOSITORY: &str = "org/repo";
const GIT: &str = "org/repo.git";

/// A fake with a repository that has a commit to promote, and a client for it.
struct Setting {
    fake: GitHub,
    forge: Box<dyn Forge>,
    /// Operation and status of each request, as the client told.
    told: Told,
}

impl Setting {
    fn new() -> Self {
        Self::with(token(TOKEN))
    }

    fn with(credentials: Credentials) -> Self {
        let fake = GitHub::start(TOKEN);
        fake.create_repository(REPOSITORY, &[("app.yaml", "version: 1\n")]);
        commit(&fake);
        let (connection, told) = observed(credentials);
        let forge = client(&fake.repository_url(REPOSITORY), None, connection);
        Self { fake, forge, told }
    }

    async fn create(&self) -> PullRequest {
        self.forge.create(&new(HEAD)).await.unwrap()
    }

    fn told(&self) -> Vec<(&'static str, u16)> {
        self.told.lock().unwrap().clone()
    }

    fn requests(&self) -> Vec<String> {
        self.fake
            .requests()
            .iter()
            .map(|request| format!("{} {}", request.method, request.path))
            .collect()
    }

    /// Of the branch that is promoted.
    fn head(&self) -> String {
        self.tip(HEAD).unwrap()
    }

    /// To be called at the end of each test.
    fn hold_to_contract(&self) {
        contract::check("github.mjs", &self.fake.requests());
    }
}

impl World for Setting {
    const KIND: Kind = Kind::GitHub;
    const HAS_TAGS: bool = true;
    const PEOPLE: [&'static str; 2] = ["jane", "joe"];
    const RIGHT: &'static str = "pull request write";
    const KEYS: &'static str = "expected token, password, or githubAppID";

    fn start() -> Self {
        let setting = Self::new();
        setting.fake.cap_pages(2);
        setting
    }
    fn address(&self) -> String {
        self.fake.repository_url(REPOSITORY)
    }
    fn unknown(&self) -> String {
        self.fake.repository_url("org/other")
    }
    fn page(&self, number: u64) -> String {
        format!("{}/{REPOSITORY}/pull/{number}", self.fake.url())
    }
    fn token(&self) -> String {
        TOKEN.to_owned()
    }
    fn reader(&self) -> String {
        self.fake.make_read_only();
        TOKEN.to_owned()
    }
    /// An App is taken, an empty token is not.
    fn unfit() -> Credentials {
        token("\n")
    }
    fn commit(&self, branch: &str, text: &str) -> String {
        self.fake.git().commit(GIT, branch, &[("app.yaml", text)], "a change")
    }
    fn branch(&self, branch: &str, from: &str) {
        self.fake.git().git(GIT, &["branch", branch, from]);
    }
    fn tip(&self, branch: &str) -> Option<String> {
        self.fake.git().tip(GIT, branch)
    }
    fn merge(&self, number: u64) {
        self.fake.merge(REPOSITORY, number);
    }
    fn close(&self, number: u64) {
        self.fake.close(REPOSITORY, number);
    }
    fn delete(&self, number: u64) {
        self.fake.delete(REPOSITORY, number);
    }
    fn disarm(&self, number: u64) {
        self.fake.disarm(REPOSITORY, number);
    }
    fn open_strangers(&self) {
        self.fake.open_from(REPOSITORY, "someone/repo", HEAD, "main");
        // An organization can fork its own repository: the filter of the list does not tell these
        // apart.
        for fork in ["org/repo-a", "org/repo-b", "org/repo-c"] {
            self.fake.open_from(REPOSITORY, fork, HEAD, "main");
        }
    }
    fn hold(&self) {
        self.fake.require_status(REPOSITORY, "ci");
    }
    fn waits(&self, number: u64) -> bool {
        self.fake.pull(REPOSITORY, number)["auto_merge"] != Value::Null
    }
    fn reviewers(&self, number: u64) -> Vec<String> {
        strings(&self.fake.pull(REPOSITORY, number)["reviewers"])
    }
    fn comments(&self, number: u64) -> Vec<String> {
        strings(&self.fake.pull(REPOSITORY, number)["comments"])
    }
    fn finish(&self) {
        if !self.fake.requests().is_empty() {
            self.hold_to_contract();
        }
    }
}

conformance::test_all!(Setting);

fn strings(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

fn commit(fake: &GitHub) -> String {
    fake.git().commit(GIT, HEAD, &[("app.yaml", "version: 2\n")], "Promote")
}

fn client(url: &str, api: Option<&str>, connection: Connection) -> Box<dyn Forge> {
    connect(&Repository::parse(Kind::GitHub, url, api).unwrap(), connection).unwrap()
}

#[tokio::test]
async fn strange_answers_are_named_and_survived() {
    let setting = Setting::start();
    limits::strange_answers_are_named_and_survived(
        &setting,
        |status, headers, text| setting.fake.answer_next(status, headers, text),
        r#"[null]"#,
    )
    .await;
}

#[tokio::test]
async fn limits_and_failures_pass_and_say_when() {
    let setting = Setting::start();
    let body = json!({"message": "as asked for", "documentation_url": "https://docs.github.com"});
    let retry_after = |status| {
        if status == 429 || status == 503 { vec![("retry-after", "7")] } else { Vec::new() }
    };
    limits::pass_and_say_when(&setting, |status| {
        setting.fake.fail_next(status, &retry_after(status), body.clone())
    })
    .await;
}

#[tokio::test]
async fn only_the_requests_that_are_needed_are_made() {
    let setting = Setting::new();
    setting.forge.find_open(HEAD, "main").await.unwrap();
    assert_eq!(setting.create().await.auto_merge, Some(false));
    setting.forge.find_open(HEAD, "release").await.unwrap();
    setting.forge.update(1, &conformance::edit("Promote to 3", "more")).await.unwrap();
    assert_eq!(setting.fake.pull(REPOSITORY, 1)["title"], "Promote to 3");
    assert_eq!(setting.told(), [("find", 200), ("create", 201), ("find", 200), ("update", 200)]);
    setting.hold_to_contract();
}

#[tokio::test]
async fn a_repository_is_found_whatever_the_case_of_its_address() {
    let setting = Setting::new();
    setting.create().await;
    let address = format!("{}/Org/REPO", setting.fake.url());
    let other = client(&address, None, observed(token(TOKEN)).0);
    assert_eq!(other.find_open(HEAD, "main").await.unwrap().unwrap().number, 1);
    setting.hold_to_contract();
}

#[tokio::test]
async fn what_exists_is_found_after_the_refusal_to_make_it_again() {
    let setting = Setting::new();
    setting.fake.open(REPOSITORY, HEAD, "main");
    assert_eq!(setting.forge.create(&new(HEAD)).await.unwrap_err().fault, ForgeFault::Exists);
    assert_eq!(setting.forge.find_open(HEAD, "main").await.unwrap().unwrap().title, "by a person");
    setting.hold_to_contract();
}

#[tokio::test]
async fn a_branch_that_github_does_not_take_is_named() {
    let setting = Setting::new();
    let error = setting.forge.create(&new("missing")).await.unwrap_err();
    let words = "not yet: the forge has not seen the push of \"missing\" (head: invalid)";
    assert_eq!(error.to_string(), format!("create on 127.0.0.1/org/repo: {words}"));
    let mut wanted = new(HEAD);
    "gone".clone_into(&mut wanted.base);
    let error = setting.forge.create(&wanted).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "create on 127.0.0.1/org/repo: refused: base: invalid (no branch \"gone\")"
    );
    setting.hold_to_contract();
}

#[tokio::test]
async fn every_page_is_read_until_it_is_found() {
    let setting = Setting::new();
    setting.fake.cap_pages(1);
    let made = setting.create().await;
    let made = PullRequest { mergeability: Mergeability::Unknown, ..made };
    for fork in ["org/repo-a", "org/repo-b", "org/repo-c"] {
        setting.fake.open_from(REPOSITORY, fork, HEAD, "main");
    }
    assert_eq!(setting.forge.find_open(HEAD, "main").await.unwrap(), Some(made));
    let queries: Vec<String> =
        setting.fake.requests().into_iter().map(|request| request.query).collect();
    assert_eq!(queries.len(), 5, "{queries:?}");
    assert!(queries[4].ends_with("per_page=100&page=4"), "{queries:?}");
    setting.hold_to_contract();
}

#[tokio::test]
async fn labels_and_a_branch_that_is_gone_are_changes() {
    let setting = Setting::new();
    setting.create().await;
    let Seen::Changed { tag: Some(tag), .. } = setting.forge.look(1, None).await.unwrap() else {
        panic!("no tag")
    };
    assert_eq!(setting.forge.look(1, Some(&tag)).await.unwrap(), Seen::Unchanged);
    assert_eq!(setting.told(), [("create", 201), ("look", 200), ("look", 304)]);
    setting.forge.add_labels(1, &["promotion".to_owned()]).await.unwrap();
    let Seen::Changed { pull, .. } = setting.forge.look(1, Some(&tag)).await.unwrap() else {
        panic!("unchanged")
    };
    assert_eq!(pull.labels, ["promotion"]);
    setting.fake.delete_branch(REPOSITORY, HEAD);
    let Seen::Changed { pull, .. } = setting.forge.look(1, Some(&tag)).await.unwrap() else {
        panic!("unchanged")
    };
    assert_eq!(pull.state, PullRequestState::Closed);
    setting.hold_to_contract();
}

#[tokio::test]
async fn reviewers_are_users_or_teams_of_the_organization() {
    let setting = Setting::new();
    setting.create().await;
    setting
        .forge
        .request_reviewers(1, &names(&["jane", "@joe", "org/admins", "@Org/ops"]))
        .await
        .unwrap();
    assert_eq!(setting.reviewers(1), ["jane", "joe"]);
    assert_eq!(setting.fake.pull(REPOSITORY, 1)["teams"], json!(["admins", "ops"]));
    let before = setting.requests().len();
    let error = setting.forge.request_reviewers(1, &names(&["other/team"])).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains(r#"reviewer "other/team" is no team of org: expected USER or org/TEAM"#),
        "{error}"
    );
    assert_eq!(setting.requests().len(), before, "a request that changes nothing");
    setting.hold_to_contract();
}

#[tokio::test]
async fn checks_are_the_newest_of_each_status_and_the_check_runs() {
    let setting = Setting::new();
    setting.fake.cap_pages(2);
    let tip = setting.head();
    for (context, status) in [
        ("ci", "pending"),
        ("lint", "error"),
        ("ci", "success"),
        ("flux", "failure"),
        ("docs", "pending"),
    ] {
        setting.fake.set_status(REPOSITORY, &tip, context, status);
    }
    for (name, conclusion) in [
        ("unit", Some("success")),
        ("optional", Some("skipped")),
        ("twice", Some("success")),
        ("twice", Some("cancelled")),
        ("slow", None),
        ("note", Some("neutral")),
        ("late", Some("timed_out")),
    ] {
        setting.fake.add_check_run(REPOSITORY, &tip, name, conclusion);
    }
    let mut found: Vec<(String, CheckState)> = setting
        .forge
        .checks(&tip)
        .await
        .unwrap()
        .into_iter()
        .map(|check| (check.name, check.state))
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("ci", CheckState::Success),
        ("docs", CheckState::Pending),
        ("flux", CheckState::Failure),
        ("late", CheckState::Failure),
        ("lint", CheckState::Failure),
        ("note", CheckState::Success),
        ("optional", CheckState::Success),
        ("slow", CheckState::Pending),
        ("twice", CheckState::Failure),
        ("unit", CheckState::Success),
    ];
    assert_eq!(found, expected.map(|(name, state)| (name.to_owned(), state)));
    setting.hold_to_contract();
}

#[tokio::test]
async fn a_long_description_is_cut() {
    let setting = Setting::new();
    let tip = setting.head();
    let mut check = Check {
        name: "lockgate/prod".to_owned(),
        state: CheckState::Pending,
        description: "é".repeat(200),
        url: Some("https://lockgate.example.com/promotions/1".to_owned()),
    };
    setting.forge.set_check(&tip, &check).await.unwrap();
    check.state = CheckState::Success;
    setting.forge.set_check(&tip, &check).await.unwrap();
    check.description = "é".repeat(140);
    assert_eq!(setting.forge.checks(&tip).await.unwrap(), [check]);
    setting.hold_to_contract();
}
