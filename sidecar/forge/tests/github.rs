//! GitHub's client against the stateful fake; every test ends with its exchanges held against what GitHub publishes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

#[path = "github/app.rs"]
mod app;
mod contract;
#[path = "github/faults.rs"]
mod faults;
#[path = "github/merging.rs"]
mod merging;

use std::sync::{Arc, Mutex};

use lockgate_core::pipeline::Forge as Kind;
use lockgate_core::secret::Sensitive;
use lockgate_forge::{
    Check, CheckState, Connection, Credentials, Edit, Fault, Forge, NewPullRequest, Repository, Seen, State, connect,
};
use lockgate_forge_fakes::GitHub;
use serde_json::json;

const TOKEN: &str = "ghp_topsecrettoken";
const REPOSITORY: &str = "org/repo";
const HEAD: &str = "promotion-default-app-prod";

/// A fake with a repository that has a commit to promote, and a client for it.
struct Setting {
    fake: GitHub,
    forge: Box<dyn Forge>,
    /// Operation and status of each request, as the client told.
    told: Arc<Mutex<Vec<(&'static str, u16)>>>,
}

impl Setting {
    fn new() -> Self {
        Self::with(Credentials::Token(Sensitive::new(TOKEN)))
    }

    fn with(credentials: Credentials) -> Self {
        let fake = GitHub::start(TOKEN);
        fake.create_repository(REPOSITORY, &[("app.yaml", "version: 1\n")]);
        commit(&fake);
        let told = Arc::default();
        let forge = client(&fake.repository_url(REPOSITORY), None, connection(credentials, &told));
        Self { fake, forge, told }
    }

    async fn create(&self) -> lockgate_forge::PullRequest {
        self.forge.create(&new()).await.unwrap()
    }

    fn told(&self) -> Vec<(&'static str, u16)> {
        self.told.lock().unwrap().clone()
    }

    fn requests(&self) -> Vec<String> {
        self.fake.requests().iter().map(|request| format!("{} {}", request.method, request.path)).collect()
    }

    fn tip(&self) -> String {
        self.fake.git().tip("org/repo.git", HEAD).unwrap()
    }

    /// To be called at the end of each test.
    fn hold_to_contract(&self) {
        contract::check("github.mjs", &self.fake.requests());
    }
}

fn commit(fake: &GitHub) -> String {
    fake.git().commit("org/repo.git", HEAD, &[("app.yaml", "version: 2\n")], "Promote")
}

fn connection(credentials: Credentials, told: &Arc<Mutex<Vec<(&'static str, u16)>>>) -> Connection {
    let told = Arc::clone(told);
    let observer = Arc::new(move |operation, status| told.lock().unwrap().push((operation, status)));
    Connection { credentials, ca: None, proxy: None, observer, timeout: Connection::TIMEOUT }
}

fn client(url: &str, api: Option<&str>, connection: Connection) -> Box<dyn Forge> {
    connect(&Repository::parse(Kind::GitHub, url, api).unwrap(), connection).unwrap()
}

fn new() -> NewPullRequest {
    NewPullRequest { title: "Promote".to_owned(), body: "metadata".to_owned(), head: HEAD.to_owned(), base: "main".to_owned() }
}

#[tokio::test]
async fn a_promotion_is_opened_then_found_then_updated() {
    let setting = Setting::new();
    assert_eq!(setting.forge.find_open(HEAD, "main").await.unwrap(), None);
    let made = setting.create().await;
    assert_eq!((made.number, made.title.as_str(), made.body.as_str()), (1, "Promote", "metadata"));
    assert_eq!((made.head.as_str(), made.base.as_str(), &made.state), (HEAD, "main", &State::Open));
    assert_eq!(made.url, format!("{}/org/repo/pull/1", setting.fake.url()));
    assert_eq!((made.head_commit.clone(), made.auto_merge), (Some(setting.tip()), Some(false)));
    assert_eq!(setting.forge.find_open(HEAD, "main").await.unwrap(), Some(made));
    assert_eq!(setting.forge.find_open(HEAD, "release").await.unwrap(), None);

    let edit = Edit { title: "Promote to 3".to_owned(), body: "more".to_owned() };
    let updated = setting.forge.update(1, &edit).await.unwrap();
    assert_eq!((updated.title, updated.body), (edit.title, edit.body));
    assert_eq!(setting.fake.pull(REPOSITORY, 1)["title"], "Promote to 3");
    assert_eq!(setting.told(), [("find", 200), ("create", 201), ("find", 200), ("find", 200), ("update", 200)]);
    setting.hold_to_contract();
}

#[tokio::test]
async fn a_repository_is_found_whatever_the_case_of_its_address() {
    let setting = Setting::new();
    setting.create().await;
    let address = format!("{}/Org/REPO", setting.fake.url());
    let other = client(&address, None, connection(Credentials::Token(Sensitive::new(TOKEN)), &setting.told));
    assert_eq!(other.find_open(HEAD, "main").await.unwrap().unwrap().number, 1);
    setting.hold_to_contract();
}

#[tokio::test]
async fn what_exists_is_found_after_the_refusal_to_make_it_again() {
    let setting = Setting::new();
    setting.fake.open(REPOSITORY, HEAD, "main");
    assert_eq!(setting.forge.create(&new()).await.unwrap_err().fault, Fault::Exists);
    assert_eq!(setting.forge.find_open(HEAD, "main").await.unwrap().unwrap().title, "by a person");
    setting.hold_to_contract();
}

#[tokio::test]
async fn refusals_to_open_one_say_why() {
    let setting = Setting::new();
    setting.fake.git().commit("org/repo.git", "main", &[], "later");
    setting.fake.git().git("org/repo.git", &["branch", "equal", "main"]);
    let equal = NewPullRequest { head: "equal".to_owned(), ..new() };
    assert_eq!(setting.forge.create(&equal).await.unwrap_err().fault, Fault::NothingToMerge);
    let missing = NewPullRequest { head: "missing".to_owned(), ..new() };
    let error = setting.forge.create(&missing).await.unwrap_err();
    assert_eq!(error.to_string(), "create on 127.0.0.1/org/repo: refused: head: invalid");
    setting.hold_to_contract();
}

#[tokio::test]
async fn a_fork_with_the_same_branch_is_never_taken_for_ours() {
    let setting = Setting::new();
    setting.fake.open_from(REPOSITORY, "someone/repo", HEAD, "main");
    // An organization can fork its own repository: the filter of the list does not tell these apart.
    setting.fake.open_from(REPOSITORY, "org/repo-fork", HEAD, "main");
    assert_eq!(setting.forge.find_open(HEAD, "main").await.unwrap(), None);
    assert_eq!(setting.forge.find_newest(HEAD, "main").await.unwrap(), None);
    let made = setting.create().await;
    assert_eq!(setting.forge.find_open(HEAD, "main").await.unwrap(), Some(made));
    setting.hold_to_contract();
}

#[tokio::test]
async fn every_page_is_read_until_it_is_found() {
    let setting = Setting::new();
    setting.fake.cap_pages(1);
    let made = setting.create().await;
    for fork in ["org/repo-a", "org/repo-b", "org/repo-c"] {
        setting.fake.open_from(REPOSITORY, fork, HEAD, "main");
    }
    assert_eq!(setting.forge.find_open(HEAD, "main").await.unwrap(), Some(made));
    let queries: Vec<String> = setting.fake.requests().into_iter().map(|request| request.query).collect();
    assert_eq!(queries.len(), 5, "{queries:?}");
    assert!(queries[4].ends_with("per_page=100&page=4"), "{queries:?}");
    setting.hold_to_contract();
}

#[tokio::test]
async fn the_newest_is_found_whatever_became_of_it() {
    let setting = Setting::new();
    setting.create().await;
    setting.fake.close(REPOSITORY, 1);
    assert_eq!(setting.forge.find_open(HEAD, "main").await.unwrap(), None);
    assert_eq!(setting.forge.find_newest(HEAD, "main").await.unwrap().unwrap().state, State::Closed);
    let second = setting.create().await;
    let merge = setting.fake.merge(REPOSITORY, second.number);
    let found = setting.forge.find_newest(HEAD, "main").await.unwrap().unwrap();
    assert_eq!(found.number, 2);
    assert!(matches!(found.state, State::Merged { commit: Some(commit), at: Some(_) } if commit == merge));
    setting.hold_to_contract();
}

#[tokio::test]
async fn a_look_at_what_has_not_changed_is_one_conditional_request() {
    let setting = Setting::new();
    let made = setting.create().await;
    let Seen::Changed { pull, tag: Some(tag) } = setting.forge.look(1, None).await.unwrap() else { panic!("no tag") };
    assert_eq!(pull, made);
    assert_eq!(setting.forge.look(1, Some(&tag)).await.unwrap(), Seen::Unchanged);
    assert_eq!(setting.told(), [("create", 201), ("look", 200), ("look", 304)]);

    setting.forge.add_labels(1, &["promotion".to_owned()]).await.unwrap();
    let Seen::Changed { pull, .. } = setting.forge.look(1, Some(&tag)).await.unwrap() else { panic!("unchanged") };
    assert_eq!(pull.labels, ["promotion"]);
    setting.fake.delete_branch(REPOSITORY, HEAD);
    let Seen::Changed { pull, .. } = setting.forge.look(1, Some(&tag)).await.unwrap() else { panic!("unchanged") };
    assert_eq!(pull.state, State::Closed);
    setting.hold_to_contract();
}

#[tokio::test]
async fn labels_reviewers_and_comments_are_added_to_those_of_people() {
    let setting = Setting::new();
    setting.create().await;
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    setting.forge.add_labels(1, &names(&["one"])).await.unwrap();
    setting.forge.add_labels(1, &names(&["one", "two"])).await.unwrap();
    setting.forge.request_reviewers(1, &names(&["jane", "@joe", "org/admins", "@Org/ops"])).await.unwrap();
    setting.forge.comment(1, "superseded").await.unwrap();
    assert_eq!(
        setting.fake.pull(REPOSITORY, 1),
        json!({"title": "Promote", "body": "metadata", "labels": ["one", "two"], "reviewers": ["jane", "joe"],
            "teams": ["admins", "ops"], "auto_merge": null, "comments": ["superseded"]})
    );
    let before = setting.requests().len();
    setting.forge.add_labels(1, &[]).await.unwrap();
    setting.forge.request_reviewers(1, &[]).await.unwrap();
    let error = setting.forge.request_reviewers(1, &names(&["other/team"])).await.unwrap_err();
    assert!(error.to_string().contains(r#"reviewer "other/team" is no team of org: expected USER or org/TEAM"#), "{error}");
    assert_eq!(setting.requests().len(), before, "a request that changes nothing");
    setting.hold_to_contract();
}

#[tokio::test]
async fn checks_are_the_newest_of_each_status_and_the_check_runs() {
    let setting = Setting::new();
    setting.fake.cap_pages(2);
    let tip = setting.tip();
    for (context, status) in [("ci", "pending"), ("lint", "error"), ("ci", "success"), ("flux", "failure"), ("docs", "pending")] {
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
    let mut found: Vec<(String, CheckState)> =
        setting.forge.checks(&tip).await.unwrap().into_iter().map(|check| (check.name, check.state)).collect();
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
async fn a_check_that_was_set_is_read_again() {
    let setting = Setting::new();
    let tip = setting.tip();
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
