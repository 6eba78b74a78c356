//! Bitbucket Data Center: what a promotion does, against a fake that refuses what Bitbucket refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

mod clients;

use std::time::Duration;

use clients::{Difference, connection, edit, labels, new};
use lockgate_core::pipeline::{Forge as Kind, MergeMethod};
use lockgate_core::secret::Sensitive;
use lockgate_forge::{Check, CheckState, Credentials, Fault, Forge, PullRequest, Repository, Seen, State, connect};
use lockgate_forge_fakes::Bitbucket;

const TOKEN: &str = "BBDC-0123456789abcdef";
const GIT: &str = "scm/team/app.git";
const HEAD: &str = "promotion-ns-web-prod";

/// A fake with one repository whose promotion branch is one commit ahead.
async fn fake() -> Bitbucket {
    let fake = Bitbucket::start(TOKEN);
    add(&fake, "team/app");
    fake
}

fn add(fake: &Bitbucket, path: &str) {
    let path = format!("scm/{path}.git");
    fake.git().create(&path, &[("a.yaml", "version: 1\n")]);
    fake.git().commit(&path, HEAD, &[("a.yaml", "version: 2\n")], "Promote");
}

fn forge_at(fake: &Bitbucket, path: &str, credentials: Credentials) -> Box<dyn Forge> {
    let repository = Repository::parse(Kind::BitbucketServer, &fake.repository_url(path), None).unwrap();
    connect(&repository, connection(credentials)).unwrap()
}

fn token(token: &str) -> Credentials {
    Credentials::Token(Sensitive::new(token))
}

fn forge(fake: &Bitbucket) -> Box<dyn Forge> {
    forge_at(fake, "team/app", token(TOKEN))
}

async fn open(fake: &Bitbucket) -> PullRequest {
    forge(fake).create(&new(HEAD)).await.unwrap()
}

async fn state(fake: &Bitbucket, number: u64) -> State {
    match forge(fake).look(number, None).await.unwrap() {
        Seen::Changed { pull, .. } => pull.state,
        Seen::Unchanged => panic!("no tag was given"),
    }
}

fn reviewers(fake: &Bitbucket, number: u64) -> Vec<String> {
    let shown = fake.pull(number);
    shown["reviewers"].as_array().unwrap().iter().map(|user| user["user"]["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_pull_request_is_opened_once_found_and_changed() {
    let fake = fake().await;
    let forge = forge(&fake);
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap(), None);
    let made = forge.create(&new(HEAD)).await.unwrap();
    assert_eq!(fake.requests().len(), 2, "find, create");
    assert_eq!((made.number, made.state.clone(), made.handle.as_str()), (1, State::Open, "0"));
    assert_eq!((made.head.as_str(), made.base.as_str()), (HEAD, "main"));
    assert_eq!(made.head_commit, fake.git().tip(GIT, HEAD));
    assert!(made.url.ends_with("/projects/TEAM/repos/app/pull-requests/1"), "{}", made.url);

    assert_eq!(forge.create(&new(HEAD)).await.unwrap_err().fault, Fault::Exists);
    let before = fake.requests().len();
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap(), Some(made.clone()));
    assert_eq!(forge.update(1, &edit(&made.title, &made.body)).await.unwrap(), made);
    assert_eq!(fake.requests().len() - before, 2, "one that is there already costs a find and a look");

    let changed = forge.update(1, &edit("Promote to 3", "**3**")).await.unwrap();
    assert_eq!((changed.title.as_str(), changed.body.as_str(), changed.handle.as_str()), ("Promote to 3", "**3**", "1"));
    assert_eq!(fake.pull(1)["description"], "**3**");
}

#[tokio::test]
async fn labels_are_refused_and_none_are_fine() {
    let fake = fake().await;
    let error = forge(&fake).add_labels(1, &labels(&["prod"])).await.unwrap_err();
    assert!(matches!(&error.fault, Fault::Unsupported(words) if words.contains("labels")), "{error}");
    forge(&fake).add_labels(1, &[]).await.unwrap();
    assert!(fake.requests().is_empty());
}

#[tokio::test]
async fn personal_and_other_addresses_reach_their_repository() {
    let fake = fake().await;
    add(&fake, "~jane/app");
    let made = forge_at(&fake, "~jane/app", token(TOKEN)).create(&new(HEAD)).await.unwrap();
    assert_eq!(fake.requests()[0].path, "/rest/api/latest/projects/~jane/repos/app/pull-requests");
    for url in ["/users/jane/repos/app", "/scm/~jane/app.git", "/scm/~JANE/app.git"] {
        let repository = Repository::parse(Kind::BitbucketServer, &format!("{}{url}", fake.url()), None).unwrap();
        let forge = connect(&repository, connection(token(TOKEN))).unwrap();
        assert_eq!(forge.find_open(HEAD, "main").await.unwrap(), Some(made.clone()), "{url}");
    }
}

#[tokio::test]
async fn a_pull_request_between_repositories_is_never_ours() {
    let fake = fake().await;
    fake.limit_pages(2);
    add(&fake, "~mallory/app");
    let strangers = || {
        fake.pull_between(("~mallory/app", HEAD), ("team/app", "main"));
        fake.pull_between(("team/app", HEAD), ("~mallory/app", "main"));
        fake.pull_between(("team/app", HEAD), ("team/app", "release"));
    };
    strangers();
    strangers();
    let forge = forge(&fake);
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap(), None);
    let made = forge.create(&new(HEAD)).await.unwrap();
    strangers();
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap().map(|pull| pull.number), Some(made.number));
    assert_eq!(forge.find_newest(HEAD, "main").await.unwrap().map(|pull| pull.number), Some(made.number));
    let starts: Vec<String> =
        fake.requests()[..2].iter().map(|request| request.query.rsplit('=').next().unwrap().to_owned()).collect();
    assert_eq!(starts, ["0", "2"], "two pages");
}

#[tokio::test]
async fn merged_and_declined_are_told_apart_and_the_newest_is_found() {
    let fake = fake().await;
    let forge = forge(&fake);
    let first = open(&fake).await;
    fake.close(first.number);
    assert_eq!(state(&fake, first.number).await, State::Closed);
    let second = open(&fake).await;
    fake.merge(second.number);
    let State::Merged { commit, at } = state(&fake, second.number).await else { panic!("not merged") };
    assert_eq!(commit, fake.git().tip(GIT, "main"));
    assert!(at.is_some());
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap(), None);
    assert_eq!(forge.find_newest(HEAD, "main").await.unwrap().unwrap().number, second.number);
    // What a person merged cannot be changed: the caller has to look again.
    let error = forge.update(second.number, &edit("t", "b")).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Conflict(_)), "{error}");
}

#[tokio::test]
async fn nothing_is_opened_for_nothing() {
    let fake = fake().await;
    fake.git().git(GIT, &["branch", "same", "main"]);
    assert_eq!(forge(&fake).create(&new("same")).await.unwrap_err().fault, Fault::NothingToMerge);
}

#[tokio::test]
async fn every_refusal_is_sorted_and_names_what_and_where() {
    let fake = fake().await;
    fake.add_reader("reader");
    for (path, given, text) in [
        ("team/app", "wrong", "create on 127.0.0.1/team/app: the credentials were refused"),
        (
            "team/app",
            "reader",
            "create on 127.0.0.1/team/app: token lacks repository write: You are not permitted to access this resource",
        ),
        ("team/none", TOKEN, "create on 127.0.0.1/team/none: 127.0.0.1/team/none does not exist, or the token may not see it"),
    ] {
        let error = forge_at(&fake, path, token(given)).create(&new(HEAD)).await.unwrap_err();
        assert_eq!(error.to_string(), text);
        assert!(!error.is_passing());
    }
    let error = forge(&fake).create(&new("no-such-branch")).await.unwrap_err();
    assert_eq!(error.fault, Fault::Invalid("Branch \"no-such-branch\" does not exist.".to_owned()));
    let error = forge(&fake).look(7, None).await.unwrap_err();
    assert_eq!(error.fault, Fault::NotFound("pull request 7".to_owned()));
    let app = Credentials::App { app: 1, installation: 2, private_key: Sensitive::new("key") };
    let repository = Repository::parse(Kind::BitbucketServer, "https://bb.example.com/scm/a/b.git", None).unwrap();
    let error = connect(&repository, connection(app)).err().unwrap();
    assert!(error.to_string().contains("HTTP access token in `token`"), "{error}");
}

#[tokio::test]
async fn limits_and_failures_pass_and_say_when() {
    let fake = fake().await;
    for (status, wait) in [(429, Some(Duration::from_secs(7))), (503, Some(Duration::from_secs(7))), (500, None)] {
        fake.fail_next(status);
        let error = forge(&fake).find_open(HEAD, "main").await.unwrap_err();
        assert!(error.is_passing(), "{error}");
        assert_eq!(error.retry_after(), wait);
    }
}

#[tokio::test]
async fn auto_merge_waits_for_the_checks_and_can_be_taken_back() {
    use MergeMethod::{Merge, Rebase, Squash};
    let fake = fake().await;
    let forge = forge(&fake);
    fake.veto(true);
    let pull = open(&fake).await;
    for (method, strategy) in
        [(None, None), (Some(Merge), Some("no-ff")), (Some(Squash), Some("squash")), (Some(Rebase), Some("rebase-ff-only"))]
    {
        forge.set_auto_merge(&pull, true, method).await.unwrap();
        let asked = fake.auto_merge(pull.number).unwrap();
        assert_eq!((asked["autoMerge"].as_bool(), asked["strategyId"].as_str()), (Some(true), strategy));
        forge.set_auto_merge(&pull, false, None).await.unwrap();
        assert_eq!(fake.auto_merge(pull.number), None);
    }
    // Twice is as once; and where nothing is left to wait for, it is merged at once.
    forge.set_auto_merge(&pull, false, None).await.unwrap();
    fake.veto(false);
    forge.set_auto_merge(&pull, true, None).await.unwrap();
    assert!(matches!(state(&fake, pull.number).await, State::Merged { .. }));
    forge.set_auto_merge(&pull, false, None).await.unwrap();
}

#[tokio::test]
async fn what_does_not_know_auto_merge_does_not_merge_at_once() {
    let fake = fake().await;
    let pull = open(&fake).await;
    for (setting, words) in [(None, "older than 8.15"), (Some(false), "it is off in the settings")] {
        fake.set_auto_merge(setting);
        let error = forge(&fake).set_auto_merge(&pull, true, None).await.unwrap_err();
        assert!(matches!(&error.fault, Fault::Unsupported(text) if text.contains(words)), "{error}");
        assert_eq!(state(&fake, pull.number).await, State::Open);
        forge(&fake).set_auto_merge(&pull, false, None).await.unwrap();
    }
}

#[tokio::test]
async fn auto_merge_takes_another_version_but_no_other_head() {
    let fake = fake().await;
    let forge = forge(&fake);
    fake.veto(true);
    fake.add_user("jane");
    let pull = open(&fake).await;
    forge.request_reviewers(pull.number, &labels(&["jane"])).await.unwrap();
    forge.set_auto_merge(&pull, true, None).await.unwrap();
    assert!(fake.auto_merge(pull.number).is_some());
    forge.set_auto_merge(&pull, false, None).await.unwrap();
    fake.git().commit(GIT, HEAD, &[("a.yaml", "version: 9\n")], "not ours");
    let error = forge.set_auto_merge(&pull, true, None).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Conflict(_)), "{error}");
    assert_eq!(fake.auto_merge(pull.number), None);
}

#[tokio::test]
async fn reviewers_are_added_to_those_who_were_asked_and_stay_when_the_text_changes() {
    let fake = fake().await;
    let forge = forge(&fake);
    let pull = open(&fake).await;
    fake.add_user("jane");
    fake.add_user("joe");
    forge.request_reviewers(pull.number, &labels(&["jane"])).await.unwrap();
    forge.request_reviewers(pull.number, &labels(&["joe", "jane"])).await.unwrap();
    let before = fake.requests().len();
    forge.request_reviewers(pull.number, &labels(&["joe", "Jane"])).await.unwrap();
    assert_eq!(fake.requests().len() - before, 1, "nothing to change");
    forge.update(pull.number, &edit("other", "text")).await.unwrap();
    assert_eq!(reviewers(&fake, pull.number), ["jane", "joe"]);
    let error = forge.request_reviewers(pull.number, &labels(&["nobody"])).await.unwrap_err();
    assert_eq!(error.fault, Fault::Invalid("nobody is not a user.".to_owned()));
}

#[tokio::test]
async fn a_draft_stays_one() {
    let fake = fake().await;
    let pull = open(&fake).await;
    fake.mark_as_draft(pull.number);
    forge(&fake).update(pull.number, &edit("other", "text")).await.unwrap();
    let shown = fake.pull(pull.number);
    assert_eq!((shown["title"].as_str(), shown["draft"].as_bool()), (Some("other"), Some(true)));
}

#[tokio::test]
async fn each_look_is_one_request_and_builds_and_comments_arrive() {
    let fake = fake().await;
    fake.limit_pages(2);
    let forge = forge(&fake);
    let pull = open(&fake).await;
    let before = fake.requests().len();
    let Seen::Changed { tag, .. } = forge.look(pull.number, Some("x")).await.unwrap() else { panic!("unchanged") };
    assert_eq!((tag, fake.requests().len() - before), (None, 1));

    let commit = pull.head_commit.unwrap();
    let check = |name: &str, state, url: Option<&str>| Check {
        name: name.to_owned(),
        state,
        description: "d".repeat(255),
        url: url.map(str::to_owned),
    };
    for name in ["a", "b", "c"] {
        forge.set_check(&commit, &check(name, CheckState::Pending, Some("https://l.example"))).await.unwrap();
    }
    let mut long = check("lockgate", CheckState::Failure, None);
    long.description.push_str("more than Bitbucket takes");
    forge.set_check(&commit, &long).await.unwrap();
    forge.set_check(&commit, &check("a", CheckState::Success, Some("https://l.example"))).await.unwrap();
    let checks = forge.checks(&commit).await.unwrap();
    assert_eq!(checks.len(), 4);
    assert!(checks.contains(&check("a", CheckState::Success, Some("https://l.example"))));
    let place = format!("{}/projects/team/repos/app/commits/{commit}", fake.url());
    assert!(checks.contains(&check("lockgate", CheckState::Failure, Some(&place))), "{checks:?}");
    let error = forge.set_check(&"0".repeat(40), &check("a", CheckState::Success, None)).await.unwrap_err();
    assert!(matches!(&error.fault, Fault::NotFound(thing) if thing.starts_with("commit 000")), "{error}");

    forge.comment(pull.number, "hello").await.unwrap();
    assert_eq!(fake.comments(pull.number), ["hello"]);
}

#[tokio::test]
async fn a_password_works_too_and_no_secret_is_shown() {
    let fake = fake().await;
    let basic = |password: &str| Credentials::Basic { username: "lockgate".to_owned(), password: Sensitive::new(password) };
    assert_eq!(forge_at(&fake, "team/app", basic(TOKEN)).find_open(HEAD, "main").await.unwrap(), None);
    // The token of a repository is no password.
    fake.take_bearers_only();
    let error = forge_at(&fake, "team/app", basic(TOKEN)).find_open(HEAD, "main").await.unwrap_err();
    assert_eq!(error.fault, Fault::AuthenticationFailed);
    assert_eq!(forge(&fake).find_open(HEAD, "main").await.unwrap(), None);
    let mut texts = vec![format!("{:?}", connection(basic("hunter2"))), format!("{:?}", connection(token("hunter2")))];
    let forge = forge_at(&fake, "team/app", basic("hunter2"));
    let error = forge.find_open(HEAD, "main").await.unwrap_err();
    assert_eq!(error.fault, Fault::AuthenticationFailed);
    texts.extend([error.to_string(), format!("{error:?}")]);
    drop(fake);
    let error = forge.find_open(HEAD, "main").await.unwrap_err();
    assert!(error.is_passing());
    texts.extend([error.to_string(), format!("{error:?}")]);
    assert!(!texts.iter().any(|text| text.contains("hunter2")), "{texts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_is_what_is_merged() {
    let fake = fake().await;
    let folder = tempfile::tempdir().unwrap();
    let url = fake.repository_url("team/app").replace("http://", &format!("http://lockgate:{TOKEN}@"));
    clients::git(folder.path(), &["clone", "--quiet", "--branch", HEAD, &url, "."]);
    clients::git(folder.path(), &["commit", "--quiet", "--allow-empty", "-m", "more"]);
    clients::git(folder.path(), &["push", "--quiet", "origin", "HEAD"]);
    let pull = open(&fake).await;
    assert_eq!(pull.head_commit, Some(clients::git(folder.path(), &["rev-parse", "HEAD"]).trim().to_owned()));
}

/// The same flow by atlassian-python-api. What differs is in the table.
#[tokio::test(flavor = "multi_thread")]
async fn another_client_asks_the_same() {
    let ours = fake().await;
    let theirs = fake().await;
    for fake in [&ours, &theirs] {
        fake.add_user("jane");
        fake.veto(true);
    }
    let forge = forge(&ours);
    let commit = ours.git().tip(GIT, HEAD).unwrap();
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap(), None);
    let pull = forge.create(&new(HEAD)).await.unwrap();
    forge.request_reviewers(pull.number, &labels(&["jane"])).await.unwrap();
    let pull = forge.update(pull.number, &edit("Promote to 3", "**3**")).await.unwrap();
    forge.set_auto_merge(&pull, true, Some(MergeMethod::Squash)).await.unwrap();
    forge.set_auto_merge(&pull, false, None).await.unwrap();
    forge.look(pull.number, None).await.unwrap();
    let url = Some("https://l.example".to_owned());
    let check = Check { name: "lockgate".to_owned(), state: CheckState::Success, description: "d".to_owned(), url };
    forge.set_check(&commit, &check).await.unwrap();
    forge.checks(&commit).await.unwrap();
    forge.comment(pull.number, "hello").await.unwrap();

    clients::run("bitbucket.py", &[&theirs.url(), TOKEN, "team", "app", HEAD]).await;
    assert_eq!(ours.pull(1)["title"], theirs.pull(1)["title"]);
    assert_eq!(reviewers(&ours, 1), reviewers(&theirs, 1));
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
    clients::compare(&ours.requests(), &theirs.requests(), &allowed);
}
