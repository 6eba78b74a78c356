//! Bitbucket Data Center: what a promotion does, against a fake that refuses what Bitbucket
//! refuses.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod clients;
mod conformance;
mod limits;
#[path = "bitbucket/places.rs"]
mod places;

use clients::Difference;
use conformance::{Client, HEAD, World, edit, names};
use lockgate_core::pipeline::{Forge as Kind, MergeMethod};
use lockgate_core::secret::Sensitive;
use lockgate_forge::{Check, CheckState, Credentials, ForgeFault, PullRequestState};
use lockgate_forge_fakes::Bitbucket;
use serde_json::Value;

const TOKEN: &str = "BBDC-0123456789abcdef";
const GIT: &str = "scm/team/app.git";

/// With the repository `team/app`, and pages of two entries.
struct Fake(Bitbucket);

impl World for Fake {
    const KIND: Kind = Kind::BitbucketServer;
    const HAS_LABELS: bool = false;
    const PEOPLE: [&'static str; 2] = ["jane", "joe"];
    const RIGHT: &'static str = "repository write: You are not permitted to access this resource";
    const KEYS: &'static str = "HTTP access token in `token`";

    fn start() -> Self {
        let fake = Self(Bitbucket::start(TOKEN));
        fake.0.limit_pages(2);
        fake.0.add_user("jane");
        fake.0.add_user("joe");
        fake.add("team/app");
        fake.add("~mallory/app");
        fake
    }
    fn address(&self) -> String {
        self.0.repository_url("team/app")
    }
    fn unknown(&self) -> String {
        self.0.repository_url("team/none")
    }
    fn page(&self, number: u64) -> String {
        format!("{}/projects/TEAM/repos/app/pull-requests/{number}", self.0.url())
    }
    fn token(&self) -> String {
        TOKEN.to_owned()
    }
    fn reader(&self) -> String {
        self.0.add_reader("reader");
        "reader".to_owned()
    }
    fn commit(&self, branch: &str, text: &str) -> String {
        self.0.git().commit(GIT, branch, &[("a.yaml", text)], "a change")
    }
    fn branch(&self, branch: &str, from: &str) {
        self.0.git().git(GIT, &["branch", branch, from]);
    }
    fn tip(&self, branch: &str) -> Option<String> {
        self.0.git().tip(GIT, branch)
    }
    fn merge(&self, number: u64) {
        self.0.merge(number);
    }
    fn close(&self, number: u64) {
        self.0.close(number);
    }
    fn delete(&self, number: u64) {
        self.0.delete(number);
    }
    fn disarm(&self, number: u64) {
        self.0.disarm(number);
    }
    fn open_strangers(&self) {
        for _ in 0..2 {
            self.0.pull_between(("~mallory/app", HEAD), ("team/app", "main"));
            self.0.pull_between(("team/app", HEAD), ("~mallory/app", "main"));
            self.0.pull_between(("team/app", HEAD), ("team/app", "release"));
        }
    }
    fn hold(&self) {
        self.0.veto(true);
    }
    fn release(&self, _number: u64) {
        self.0.veto(false);
    }
    fn waits(&self, number: u64) -> bool {
        self.0.auto_merge(number).is_some_and(|asked| asked["autoMerge"] == true)
    }
    fn reviewers(&self, number: u64) -> Vec<String> {
        let shown = self.0.pull(number);
        shown["reviewers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["user"]["name"].as_str().unwrap().to_owned())
            .collect()
    }
    fn comments(&self, number: u64) -> Vec<String> {
        self.0.comments(number)
    }
}

conformance::test_all!(Fake);

impl Fake {
    /// A repository whose promotion branch is one commit ahead.
    fn add(&self, path: &str) {
        let path = format!("scm/{path}.git");
        self.0.git().create(&path, &[("a.yaml", "version: 1\n")]);
        self.0.git().commit(&path, HEAD, &[("a.yaml", "version: 2\n")], "Promote");
    }
}

/// A fake, and a client of its repository.
fn start() -> (Bitbucket, Client) {
    let fake = Fake::start();
    let client = Client::of(&fake);
    (fake.0, client)
}

#[tokio::test]
async fn strange_answers_are_named_and_survived() {
    let fake = Fake::start();
    limits::strange_answers_are_named_and_survived(
        &fake,
        |status, headers, text| fake.0.answer_next(status, headers, text),
        r#"{"values": [null], "isLastPage": true}"#,
    )
    .await;
}

#[tokio::test]
async fn limits_and_failures_pass_and_say_when() {
    let fake = Fake::start();
    limits::pass_and_say_when(&fake, |status| fake.0.fail_next(status)).await;
}

#[tokio::test]
async fn only_the_requests_that_are_needed_are_made() {
    let (fake, client) = start();
    let forge = &client.forge;
    forge.find_open(HEAD, "main").await.unwrap();
    let made = client.open(HEAD).await;
    assert_eq!((client.told().len(), made.handle.as_str()), (2, "0"), "find, create");
    forge.find_open(HEAD, "main").await.unwrap();
    forge.update(1, &edit(&made.title, &made.body)).await.unwrap();
    assert_eq!(client.told().len(), 2, "one that is there already costs a find and a look");
    assert_eq!(forge.update(1, &edit("Promote to 3", "**3**")).await.unwrap().handle, "1");
    assert_eq!(fake.pull(1)["description"], "**3**");
}

#[tokio::test]
async fn pages_are_read_one_after_the_other() {
    let fake = Fake::start();
    fake.open_strangers();
    assert_eq!(Client::of(&fake).forge.find_open(HEAD, "main").await.unwrap(), None);
    let starts: Vec<String> = fake
        .0
        .requests()
        .iter()
        .map(|request| request.query.rsplit('=').next().unwrap().to_owned())
        .collect();
    assert_eq!(starts, ["0", "2"], "two pages");
}

#[tokio::test]
async fn what_a_person_merged_cannot_be_changed() {
    let (fake, client) = start();
    client.open(HEAD).await;
    fake.merge(1);
    // The caller has to look again.
    let error = client.forge.update(1, &edit("t", "b")).await.unwrap_err();
    assert!(matches!(error.fault, ForgeFault::Conflict(_)), "{error}");
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let (_fake, client) = start();
    let error = client.forge.look(7, None).await.unwrap_err();
    assert_eq!(error.fault, ForgeFault::Gone("pull request 7".to_owned()));
}

#[tokio::test]
async fn auto_merge_is_asked_for_with_the_strategy_of_the_method() {
    use MergeMethod::{Merge, Rebase, Squash};
    let (fake, client) = start();
    let forge = &client.forge;
    fake.veto(true);
    let pull = client.open(HEAD).await;
    for (method, strategy) in [
        (None, None),
        (Some(Merge), Some("no-ff")),
        (Some(Squash), Some("squash")),
        (Some(Rebase), Some("rebase-ff-only")),
    ] {
        forge.set_auto_merge(&pull, true, method).await.unwrap();
        let asked = fake.auto_merge(pull.number).unwrap();
        assert_eq!(
            (asked["autoMerge"].as_bool(), asked["strategyId"].as_str()),
            (Some(true), strategy)
        );
        forge.set_auto_merge(&pull, false, None).await.unwrap();
        assert_eq!(fake.auto_merge(pull.number), None);
    }
    // Where nothing is left to wait for, it is merged at once, and can be taken back no more.
    fake.veto(false);
    forge.set_auto_merge(&pull, true, None).await.unwrap();
    assert!(matches!(client.look(1).await.state, PullRequestState::Merged { .. }));
    forge.set_auto_merge(&pull, false, None).await.unwrap();
}

#[tokio::test]
async fn what_does_not_know_auto_merge_does_not_merge_at_once() {
    let (fake, client) = start();
    let pull = client.open(HEAD).await;
    for (setting, words) in [(None, "older than 8.15"), (Some(false), "it is off in the settings")]
    {
        fake.set_auto_merge(setting);
        let error = client.forge.set_auto_merge(&pull, true, None).await.unwrap_err();
        assert!(
            matches!(&error.fault, ForgeFault::Unsupported(text) if text.contains(words)),
            "{error}"
        );
        assert_eq!(client.look(1).await.state, PullRequestState::Open);
        client.forge.set_auto_merge(&pull, false, None).await.unwrap();
    }
}

#[tokio::test]
async fn auto_merge_takes_another_version_but_no_other_head() {
    let (fake, client) = start();
    let forge = &client.forge;
    fake.veto(true);
    let pull = client.open(HEAD).await;
    forge.request_reviewers(pull.number, &names(&["jane"])).await.unwrap();
    forge.set_auto_merge(&pull, true, None).await.unwrap();
    assert!(fake.auto_merge(pull.number).is_some());
    forge.set_auto_merge(&pull, false, None).await.unwrap();
    fake.git().commit(GIT, HEAD, &[("a.yaml", "version: 9\n")], "not ours");
    let error = forge.set_auto_merge(&pull, true, None).await.unwrap_err();
    assert!(matches!(error.fault, ForgeFault::Conflict(_)), "{error}");
    assert_eq!(fake.auto_merge(pull.number), None);
}

#[tokio::test]
async fn a_reviewer_who_was_asked_is_not_asked_again_and_one_who_is_nobody_is_named() {
    let (_fake, client) = start();
    client.open(HEAD).await;
    client.forge.request_reviewers(1, &names(&["joe", "jane"])).await.unwrap();
    client.told();
    client.forge.request_reviewers(1, &names(&["joe", "Jane"])).await.unwrap();
    assert_eq!(client.told().len(), 1, "nothing to change");
    let error = client.forge.request_reviewers(1, &names(&["nobody"])).await.unwrap_err();
    assert_eq!(error.fault, ForgeFault::Invalid("nobody is not a user.".to_owned()));
}

#[tokio::test]
async fn a_draft_stays_one() {
    let (fake, client) = start();
    let pull = client.open(HEAD).await;
    fake.mark_as_draft(pull.number);
    client.forge.update(pull.number, &edit("other", "text")).await.unwrap();
    let shown = fake.pull(pull.number);
    assert_eq!((shown["title"].as_str(), shown["draft"].as_bool()), (Some("other"), Some(true)));
}

#[tokio::test]
async fn a_build_has_a_short_description_and_an_address() {
    let (fake, client) = start();
    let commit = fake.git().tip(GIT, HEAD).unwrap();
    let check = |name: &str, state, url: Option<&str>| Check {
        name: name.to_owned(),
        state,
        description: "d".repeat(255),
        url: url.map(str::to_owned),
    };
    let mut long = check("lockgate", CheckState::Failure, None);
    long.description.push_str("more than Bitbucket takes");
    client.forge.set_check(&commit, &long).await.unwrap();
    let place = format!("{}/projects/team/repos/app/commits/{commit}", fake.url());
    assert_eq!(
        client.forge.checks(&commit).await.unwrap(),
        [check("lockgate", CheckState::Failure, Some(&place))]
    );
    let error = client
        .forge
        .set_check(&"0".repeat(40), &check("a", CheckState::Success, None))
        .await
        .unwrap_err();
    assert!(
        matches!(&error.fault, ForgeFault::NotFound(thing) if thing.starts_with("commit 000")),
        "{error}"
    );
}

#[tokio::test]
async fn the_token_of_a_repository_is_no_password() {
    let (fake, client) = start();
    fake.take_bearers_only();
    let basic =
        Credentials::Basic { username: "lockgate".to_owned(), password: Sensitive::new(TOKEN) };
    let error = Client::with::<Fake>(&fake.repository_url("team/app"), basic)
        .forge
        .find_open(HEAD, "main")
        .await
        .unwrap_err();
    assert_eq!(error.fault, ForgeFault::AuthenticationFailed);
    assert_eq!(client.forge.find_open(HEAD, "main").await.unwrap(), None);
}

#[tokio::test]
async fn an_older_server_never_waits_to_merge() {
    let (fake, client) = start();
    let pull = client.open(HEAD).await;
    fake.set_auto_merge(None);
    assert!(!client.forge.auto_merge(&pull).await.unwrap());
}

/// The same flow by atlassian-python-api. What differs is in the table.
#[tokio::test(flavor = "multi_thread")]
async fn another_client_asks_the_same() {
    let (ours, theirs) = (Fake::start(), Fake::start());
    ours.hold();
    theirs.hold();
    clients::promote(&*Client::of(&ours).forge, &ours.tip(HEAD).unwrap(), Fake::HAS_LABELS).await;
    clients::run("bitbucket.py", &[&theirs.0.url(), TOKEN, "team", "app", HEAD]).await;
    let title = |fake: &Fake| -> Value { fake.0.pull(1)["title"].clone() };
    assert_eq!(title(&ours), title(&theirs));
    assert_eq!(ours.reviewers(1), theirs.reviewers(1));
    assert_eq!(ours.comments(1), theirs.comments(1));
    const DIRECTION: &str = "atlassian-python-api has no `direction`, without which `at` is where they go to: it filters by itself";
    const FIRST_PAGE: &str = "atlassian-python-api leaves paging out where it wants the first page";
    const OPTIONAL: &str = "not needed: a slug names a repository, and reviewers come later";
    let pulls = "GET /rest/api/latest/projects/team/repos/app/pull-requests";
    let create = "POST /rest/api/latest/projects/team/repos/app/pull-requests";
    let builds = "GET /rest/build-status/latest/commits/COMMIT";
    let allowed = [
        Difference { request: pulls, field: "?at", reason: DIRECTION },
        Difference { request: pulls, field: "?direction", reason: DIRECTION },
        Difference { request: pulls, field: "?start", reason: FIRST_PAGE },
        Difference { request: builds, field: "?limit", reason: FIRST_PAGE },
        Difference { request: builds, field: "?start", reason: FIRST_PAGE },
        Difference { request: create, field: "fromRef.repository.name", reason: OPTIONAL },
        Difference { request: create, field: "toRef.repository.name", reason: OPTIONAL },
        Difference { request: create, field: "reviewers", reason: OPTIONAL },
    ];
    clients::compare(&ours.0.requests(), &theirs.0.requests(), &allowed);
}
