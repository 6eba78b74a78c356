//! GitLab: what a promotion does, against a fake that refuses what GitLab refuses.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

mod clients;

use std::time::Duration;

use clients::{Difference, connection, edit, labels, new};
use lockgate_core::pipeline::{Forge as Kind, MergeMethod};
use lockgate_core::secret::Sensitive;
use lockgate_forge::{Check, CheckState, Credentials, Fault, Forge, ForgeError, PullRequest, Repository, Seen, State, connect};
use lockgate_forge_fakes::GitLab;

const TOKEN: &str = "glpat-0123456789abcdef";
const PROJECT: &str = "group/sub/app";
const HEAD: &str = "promotion-ns-web-prod";

/// A fake with one project whose promotion branch is one commit ahead.
async fn fake() -> GitLab {
    let fake = GitLab::start(TOKEN);
    fake.git().create("group/sub/app.git", &[("a.yaml", "version: 1\n")]);
    fake.git().commit("group/sub/app.git", HEAD, &[("a.yaml", "version: 2\n")], "Promote");
    fake
}

fn forge_at(fake: &GitLab, path: &str, token: &str) -> Box<dyn Forge> {
    let repository = Repository::parse(Kind::GitLab, &fake.repository_url(path), None).unwrap();
    connect(&repository, connection(Credentials::Token(Sensitive::new(token)))).unwrap()
}

fn forge(fake: &GitLab) -> Box<dyn Forge> {
    forge_at(fake, PROJECT, TOKEN)
}

async fn open(fake: &GitLab) -> PullRequest {
    forge(fake).create(&new(HEAD)).await.unwrap()
}

async fn state(fake: &GitLab, number: u64) -> State {
    match forge(fake).look(number, None).await.unwrap() {
        Seen::Changed { pull, .. } => pull.state,
        Seen::Unchanged => panic!("no tag was given"),
    }
}

#[tokio::test]
async fn a_merge_request_is_opened_once_found_and_changed() {
    let fake = fake().await;
    let forge = forge(&fake);
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap(), None);
    let made = forge.create(&new(HEAD)).await.unwrap();
    assert_eq!(fake.requests().len(), 3, "find, compare, create");
    assert_eq!((made.number, made.state.clone(), made.auto_merge), (1, State::Open, Some(false)));
    assert_eq!((made.head.as_str(), made.base.as_str()), (HEAD, "main"));
    assert_eq!(made.head_commit, fake.git().tip("group/sub/app.git", HEAD));
    assert!(made.url.ends_with("/group/sub/app/-/merge_requests/1"), "{}", made.url);
    assert_eq!(fake.requests()[2].body["remove_source_branch"], true);

    assert_eq!(forge.create(&new(HEAD)).await.unwrap_err().fault, Fault::Exists);
    let before = fake.requests().len();
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap(), Some(made.clone()));
    assert_eq!(forge.update(1, &edit(&made.title, &made.body)).await.unwrap(), made);
    assert_eq!(fake.requests().len() - before, 2, "one that is there already costs a find and a look");

    let changed = forge.update(1, &edit("Promote to 3", "**3**")).await.unwrap();
    assert_eq!((changed.title.as_str(), changed.body.as_str()), ("Promote to 3", "**3**"));
    assert_eq!(fake.pull(1)["description"], "**3**");
    forge.add_labels(1, &labels(&["promotion", "prod"])).await.unwrap();
    forge.add_labels(1, &labels(&["prod"])).await.unwrap();
    assert_eq!(forge.find_newest(HEAD, "main").await.unwrap().unwrap().labels, labels(&["promotion", "prod"]));
    let error = forge.add_labels(1, &labels(&["a,b"])).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Invalid(_)), "{error}");
}

#[tokio::test]
async fn a_project_in_subgroups_is_one_segment_of_the_path() {
    let fake = fake().await;
    for path in ["one/app", "a/b/c/d/my.app"] {
        fake.git().create(&format!("{path}.git"), &[("a", "1")]);
        fake.git().commit(&format!("{path}.git"), HEAD, &[("a", "2")], "Promote");
        let made = forge_at(&fake, path, TOKEN).create(&new(HEAD)).await.unwrap();
        assert!(made.url.contains(&format!("/{path}/-/merge_requests/")), "{}", made.url);
        let request = fake.requests().pop().unwrap();
        assert_eq!(request.path, format!("/api/v4/projects/{}/merge_requests", path.replace('/', "%2F")));
    }
}

#[tokio::test]
async fn a_fork_s_merge_request_is_never_ours() {
    let fake = fake().await;
    fake.git().create("mallory/app.git", &[("a", "1")]);
    fake.git().commit("mallory/app.git", HEAD, &[("a", "evil")], "Promote");
    // More than a page of them, before and after ours.
    fake.limit_pages(2);
    for _ in 0..3 {
        fake.pull_from_fork(PROJECT, "mallory/app", HEAD, "main");
    }
    let forge = forge(&fake);
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap(), None);
    let made = forge.create(&new(HEAD)).await.unwrap();
    for _ in 0..3 {
        fake.pull_from_fork(PROJECT, "mallory/app", HEAD, "main");
    }
    let before = fake.requests().len();
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap().map(|pull| pull.number), Some(made.number));
    assert_eq!(forge.find_newest(HEAD, "main").await.unwrap().map(|pull| pull.number), Some(made.number));
    assert_eq!(fake.requests().len() - before, 4, "two pages each");
}

#[tokio::test]
async fn merged_and_closed_are_told_apart_and_the_newest_is_found() {
    let fake = fake().await;
    let forge = forge(&fake);
    let first = open(&fake).await;
    fake.close(first.number);
    assert_eq!(state(&fake, first.number).await, State::Closed);
    let second = open(&fake).await;
    fake.merge(second.number);
    let State::Merged { commit, at } = state(&fake, second.number).await else { panic!("not merged") };
    assert_eq!(commit, fake.git().tip("group/sub/app.git", "main"));
    assert!(at.is_some());
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap(), None);
    assert_eq!(forge.find_newest(HEAD, "main").await.unwrap().unwrap().number, second.number);
    assert_eq!(forge.find_newest(HEAD, "release").await.unwrap(), None);
}

#[tokio::test]
async fn nothing_is_opened_for_nothing() {
    let fake = fake().await;
    fake.git().git("group/sub/app.git", &["branch", "same", "main"]);
    let error = forge(&fake).create(&new("same")).await.unwrap_err();
    assert_eq!(error.fault, Fault::NothingToMerge);
    assert_eq!(fake.requests().len(), 1);
}

#[tokio::test]
async fn every_refusal_is_sorted_and_names_what_and_where() {
    let fake = fake().await;
    fake.add_token("reader", true);
    fake.add_token("stranger", false);
    let place = Repository::parse(Kind::GitLab, &fake.repository_url(PROJECT), None).unwrap().to_string();
    for (path, token, fault) in [
        (PROJECT, "wrong", "create on 127.0.0.1/group/sub/app: the credentials were refused"),
        (
            PROJECT,
            "reader",
            "create on 127.0.0.1/group/sub/app: token lacks scope `api` with the role Developer: The request requires higher privileges than provided by the access token.: insufficient_scope",
        ),
        (
            PROJECT,
            "stranger",
            "create on 127.0.0.1/group/sub/app: 127.0.0.1/group/sub/app does not exist, or the token may not see it",
        ),
        ("group/none", TOKEN, "create on 127.0.0.1/group/none: 127.0.0.1/group/none does not exist, or the token may not see it"),
    ] {
        let error = forge_at(&fake, path, token).create(&new(HEAD)).await.unwrap_err();
        assert_eq!(error.to_string(), fault);
        assert!(!error.is_passing());
    }
    let error = forge(&fake).create(&new("no-such-branch")).await.unwrap_err();
    assert!(error.to_string().contains("Source branch \\\"no-such-branch\\\" does not exist"), "{error}");
    let error = forge(&fake).look(7, None).await.unwrap_err();
    assert_eq!(error.fault, Fault::NotFound("merge request !7".to_owned()));
    assert_eq!(error.place, place);
    let unsupported = Credentials::App { app: 1, installation: 2, private_key: Sensitive::new("key") };
    let repository = Repository::parse(Kind::GitLab, "https://gitlab.com/a/b", None).unwrap();
    let error = connect(&repository, connection(unsupported)).err().unwrap();
    assert!(error.to_string().contains("`token`, or `username` and `password`"), "{error}");
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
async fn auto_merge_waits_for_the_pipeline_and_can_be_taken_back() {
    let fake = fake().await;
    let forge = forge(&fake);
    fake.set_pipeline(true);
    let pull = open(&fake).await;
    let before = fake.requests().len();
    forge.set_auto_merge(&pull, true, None).await.unwrap();
    assert_eq!(fake.requests().len() - before, 1);
    let armed = forge.find_open(HEAD, "main").await.unwrap().unwrap();
    assert_eq!(armed.auto_merge, Some(true));
    forge.set_auto_merge(&armed, false, None).await.unwrap();
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap().unwrap().auto_merge, Some(false));
    // Twice is as once; and where nothing is left to wait for, it is merged at once.
    forge.set_auto_merge(&armed, false, None).await.unwrap();
    fake.set_pipeline(false);
    forge.set_auto_merge(&pull, true, None).await.unwrap();
    assert!(matches!(state(&fake, pull.number).await, State::Merged { .. }));
}

#[tokio::test]
async fn an_older_gitlab_waits_too() {
    let fake = fake().await;
    fake.forget_auto_merge();
    fake.set_pipeline(true);
    let pull = open(&fake).await;
    forge(&fake).set_auto_merge(&pull, true, None).await.unwrap();
    assert_eq!(fake.pull(1)["merge_when_pipeline_succeeds"], true);
    assert_eq!(state(&fake, 1).await, State::Open);
}

#[tokio::test]
async fn what_cannot_be_merged_is_explained() {
    let fake = fake().await;
    let pull = open(&fake).await;
    for (status, passing, words) in [
        ("checking", true, "still finding out"),
        ("preparing", true, "still finding out"),
        ("conflict", false, "it conflicts with its base branch"),
        ("not_approved", false, "approvals are missing"),
        ("something_new", false, "its rules do not allow it"),
    ] {
        fake.set_merge_status(Some(status));
        let error = forge(&fake).set_auto_merge(&pull, true, None).await.unwrap_err();
        assert_eq!(error.is_passing(), passing, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    fake.set_merge_status(None);
    fake.allow_merge(false);
    for on in [true, false] {
        let error = forge(&fake).set_auto_merge(&pull, on, None).await.unwrap_err();
        assert!(error.to_string().contains("the right to merge into the base branch"), "{error}");
    }
    fake.allow_merge(true);
    let other = fake.git().commit("group/sub/app.git", HEAD, &[("a.yaml", "version: 9\n")], "not ours");
    let error = forge(&fake).set_auto_merge(&pull, true, None).await.unwrap_err();
    assert!(matches!(&error.fault, Fault::Conflict(words) if words.contains(&other)), "{error}");
}

#[tokio::test]
async fn a_merge_method_is_what_the_project_has_or_it_is_refused() {
    use MergeMethod::{Merge, Rebase, Squash};
    let fake = fake().await;
    fake.set_pipeline(true);
    for (settings, method, supported, squash) in [
        (("merge", "default_off"), Merge, true, false),
        (("rebase_merge", "default_off"), Merge, true, false),
        (("ff", "default_off"), Merge, false, false),
        (("merge", "always"), Merge, false, false),
        (("merge", "default_on"), Merge, true, false),
        (("ff", "default_on"), Rebase, true, false),
        (("merge", "default_off"), Rebase, false, false),
        (("merge", "default_off"), Squash, true, true),
        (("merge", "never"), Squash, false, false),
    ] {
        fake.set_merge_method(settings.0, settings.1);
        let pull = open(&fake).await;
        let outcome = forge(&fake).set_auto_merge(&pull, true, Some(method)).await;
        match outcome {
            Ok(()) => assert!(supported, "{settings:?} {method:?}"),
            Err(ForgeError { fault: Fault::Unsupported(words), .. }) => {
                assert!(!supported && words.contains(settings.0) && words.contains(settings.1), "{words}");
            }
            Err(other) => panic!("{other}"),
        }
        let shown = fake.pull(pull.number);
        assert_eq!(shown["merge_when_pipeline_succeeds"], supported, "{settings:?} {method:?}");
        assert!(!supported || shown["squash"] == squash, "{settings:?} {method:?}");
        fake.close(pull.number);
    }
}

#[tokio::test]
async fn looking_at_what_did_not_change_is_one_conditional_request() {
    let fake = fake().await;
    let forge = forge(&fake);
    let pull = open(&fake).await;
    let Seen::Changed { tag: Some(tag), .. } = forge.look(pull.number, None).await.unwrap() else { panic!("no tag") };
    let before = fake.requests().len();
    assert_eq!(forge.look(pull.number, Some(&tag)).await.unwrap(), Seen::Unchanged);
    assert_eq!(fake.requests().len() - before, 1);
    fake.merge(pull.number);
    assert!(matches!(forge.look(pull.number, Some(&tag)).await.unwrap(), Seen::Changed { .. }));
}

#[tokio::test]
async fn checks_are_the_newest_of_each_name_from_all_pages() {
    let fake = fake().await;
    let forge = forge(&fake);
    let commit = fake.git().tip("group/sub/app.git", HEAD).unwrap();
    fake.limit_pages(2);
    for _ in 0..5 {
        fake.add_status(&commit, "flaky", "failed");
    }
    fake.add_status(&commit, "flaky", "success");
    let check = |state| Check {
        name: "lockgate/prod".to_owned(),
        state,
        description: "healthy".to_owned(),
        url: Some("https://lockgate.example/1".to_owned()),
    };
    // The second time GitLab refuses the change, but it is what was asked for.
    for state in [CheckState::Pending, CheckState::Pending, CheckState::Success, CheckState::Failure] {
        forge.set_check(&commit, &check(state)).await.unwrap();
        let checks = forge.checks(&commit).await.unwrap();
        assert_eq!(checks.len(), 2);
        assert!(checks.contains(&check(state)), "{checks:?}");
        assert!(checks.iter().any(|check| check.name == "flaky" && check.state == CheckState::Success));
    }
    let error = forge.set_check(&"0".repeat(40), &check(CheckState::Success)).await.unwrap_err();
    assert!(matches!(&error.fault, Fault::NotFound(thing) if thing.starts_with("commit 000")), "{error}");
}

#[tokio::test]
async fn no_text_of_ours_commands_gitlab() {
    let fake = fake().await;
    let forge = forge(&fake);
    let mut wanted = new(HEAD);
    "from the event:\n/merge".clone_into(&mut wanted.body);
    let pull = forge.create(&wanted).await.unwrap();
    forge.comment(pull.number, "/close\nhello").await.unwrap();
    forge.update(pull.number, &edit("t", "b\n/close")).await.unwrap();
    assert_eq!(state(&fake, pull.number).await, State::Open);
    assert_eq!(fake.notes(pull.number), ["\\/close\nhello"]);
}

#[tokio::test]
async fn a_draft_stays_one() {
    let fake = fake().await;
    let forge = forge(&fake);
    let pull = open(&fake).await;
    fake.mark_as_draft(pull.number);
    let found = forge.find_open(HEAD, "main").await.unwrap().unwrap();
    assert_eq!(found.title, pull.title);
    assert_eq!(forge.update(pull.number, &edit("Promote to 3", "b")).await.unwrap().title, "Promote to 3");
    assert_eq!(fake.pull(pull.number)["title"], "Draft: Promote to 3");
    let error = forge.set_auto_merge(&found, true, None).await.unwrap_err();
    assert!(error.to_string().contains("it is a draft"), "{error}");
}

#[tokio::test]
async fn reviewers_are_added_to_those_who_were_asked() {
    let fake = fake().await;
    let forge = forge(&fake);
    let pull = open(&fake).await;
    for user in ["jane", "joe", "eve"] {
        fake.add_user(user);
    }
    let names = || -> Vec<String> {
        let shown = fake.pull(pull.number);
        shown["reviewers"].as_array().unwrap().iter().map(|user| user["username"].as_str().unwrap().to_owned()).collect()
    };
    forge.request_reviewers(pull.number, &labels(&["jane"])).await.unwrap();
    forge.request_reviewers(pull.number, &labels(&["joe", "jane"])).await.unwrap();
    assert_eq!(names(), ["jane", "joe"]);
    let before = fake.requests().len();
    forge.request_reviewers(pull.number, &labels(&["joe", "jane"])).await.unwrap();
    assert_eq!(fake.requests().len() - before, 1, "nothing to change");
    let error = forge.request_reviewers(pull.number, &labels(&["nobody"])).await.unwrap_err();
    assert!(error.to_string().contains("\"nobody\" is not a user"), "{error}");
    fake.limit_reviewers(2);
    let error = forge.request_reviewers(pull.number, &labels(&["eve"])).await.unwrap_err();
    assert!(matches!(&error.fault, Fault::Unsupported(words) if words.contains("more than 2 reviewers")), "{error}");
}

#[tokio::test]
async fn a_password_is_a_token_and_no_secret_is_shown() {
    let fake = fake().await;
    let repository = Repository::parse(Kind::GitLab, &fake.repository_url(PROJECT), None).unwrap();
    let basic = |password: &str| Credentials::Basic { username: "oauth2".to_owned(), password: Sensitive::new(password) };
    let connection_of = |password: &str| connection(basic(password));
    // As `echo` leaves it.
    let forge = connect(&repository, connection_of(&format!("{TOKEN}\n"))).unwrap();
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap(), None);
    let wrong = connection_of("hunter2-secret");
    let mut texts = vec![format!("{wrong:?}")];
    let forge = connect(&repository, wrong).unwrap();
    let error = forge.find_open(HEAD, "main").await.unwrap_err();
    texts.extend([error.to_string(), format!("{error:?}")]);
    drop(fake);
    let error = forge.find_open(HEAD, "main").await.unwrap_err();
    assert!(error.is_passing());
    texts.extend([error.to_string(), format!("{error:?}")]);
    let error = connect(&repository, connection_of("hunter2\u{1}secret")).err().unwrap();
    texts.extend([error.to_string(), format!("{error:?}")]);
    assert!(!texts.iter().any(|text| text.contains("hunter2") || text.contains("secret")), "{texts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pushed_is_what_is_merged() {
    let fake = fake().await;
    let folder = tempfile::tempdir().unwrap();
    let url = fake.repository_url(PROJECT).replace("http://", &format!("http://oauth2:{TOKEN}@"));
    clients::git(folder.path(), &["clone", "--quiet", "--branch", HEAD, &url, "."]);
    clients::git(folder.path(), &["commit", "--quiet", "--allow-empty", "-m", "more"]);
    clients::git(folder.path(), &["push", "--quiet", "origin", "HEAD"]);
    let pull = open(&fake).await;
    assert_eq!(pull.head_commit, Some(clients::git(folder.path(), &["rev-parse", "HEAD"]).trim().to_owned()));
}

/// The same flow by python-gitlab. What differs is in the table.
#[tokio::test(flavor = "multi_thread")]
async fn another_client_asks_the_same() {
    let ours = fake().await;
    let theirs = fake().await;
    for fake in [&ours, &theirs] {
        fake.add_user("jane");
        fake.set_pipeline(true);
    }
    let forge = forge(&ours);
    let commit = ours.git().tip("group/sub/app.git", HEAD).unwrap();
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap(), None);
    let pull = forge.create(&new(HEAD)).await.unwrap();
    forge.update(pull.number, &edit("Promote to 3", "**3**")).await.unwrap();
    forge.add_labels(pull.number, &labels(&["prod"])).await.unwrap();
    forge.request_reviewers(pull.number, &labels(&["jane"])).await.unwrap();
    forge.set_auto_merge(&pull, true, Some(MergeMethod::Squash)).await.unwrap();
    forge.set_auto_merge(&pull, false, None).await.unwrap();
    forge.look(pull.number, None).await.unwrap();
    let check = Check {
        name: "lockgate".to_owned(),
        state: CheckState::Success,
        description: "d".to_owned(),
        url: Some("https://l.example".to_owned()),
    };
    forge.set_check(&commit, &check).await.unwrap();
    forge.checks(&commit).await.unwrap();
    forge.comment(pull.number, "hello").await.unwrap();

    clients::run("gitlab.py", &[&theirs.url(), TOKEN, PROJECT, HEAD]).await;
    assert_eq!(ours.pull(1)["title"], theirs.pull(1)["title"]);
    assert_eq!(ours.pull(1)["labels"], theirs.pull(1)["labels"]);
    assert_eq!(ours.pull(1)["reviewers"], theirs.pull(1)["reviewers"]);
    assert_eq!(ours.notes(1), theirs.notes(1));
    clients::compare(
        &ours.requests(),
        &theirs.requests(),
        &[
            Difference {
                request: "GET /api/v4/projects/group%2Fsub%2Fapp/merge_requests",
                field: "?page",
                reason: "python-gitlab asks for the first page without its number",
            },
            Difference {
                request: "GET /api/v4/projects/group%2Fsub%2Fapp/repository/commits/COMMIT/statuses",
                field: "?page",
                reason: "python-gitlab asks for the first page without its number",
            },
            Difference {
                request: "PUT /api/v4/projects/group%2Fsub%2Fapp/merge_requests/1",
                field: "labels",
                reason: "python-gitlab sends all labels with each change, which would undo what a person did meanwhile",
            },
        ],
    );
}
