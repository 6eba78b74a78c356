//! GitLab: what a promotion does, against a fake that refuses what GitLab refuses.

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
#[path = "gitlab/merging.rs"]
mod merging;
#[path = "gitlab/places.rs"]
mod places;

use clients::Difference;
use conformance::{Client, HEAD, World, edit, names, new, token};
use lockgate_core::pipeline::Forge as Kind;
use lockgate_forge::{Check, CheckState, ForgeFault, PullRequestState};
use lockgate_forge_fakes::GitLab;

const TOKEN: &str = "glpat-0123456789abcdef";
const PROJECT: &str = "group/sub/app";
const GIT: &str = "group/sub/app.git";

/// With the project `group/sub/app`, and pages of two entries.
struct Fake(GitLab);

impl World for Fake {
    const KIND: Kind = Kind::GitLab;
    const HAS_TAGS: bool = true;
    const PEOPLE: [&'static str; 2] = ["jane", "joe"];
    const RIGHT: &'static str = "scope `api` with the role Developer: The request requires higher privileges than provided by \
                                 the access token.: insufficient_scope";
    const KEYS: &'static str = "`token`, or `username` and `password`";

    fn start() -> Self {
        let fake = GitLab::start(TOKEN);
        fake.limit_pages(2);
        fake.add_user("jane");
        fake.add_user("joe");
        for path in [GIT, "mallory/app.git"] {
            fake.git().create(path, &[("a.yaml", "version: 1\n")]);
            fake.git().commit(path, HEAD, &[("a.yaml", "version: 2\n")], "Promote");
        }
        Self(fake)
    }
    fn address(&self) -> String {
        self.0.repository_url(PROJECT)
    }
    fn unknown(&self) -> String {
        self.0.repository_url("group/none")
    }
    fn page(&self, number: u64) -> String {
        format!("{}/{PROJECT}/-/merge_requests/{number}", self.0.url())
    }
    fn token(&self) -> String {
        TOKEN.to_owned()
    }
    fn reader(&self) -> String {
        self.0.add_token("reader", true);
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
        for _ in 0..3 {
            self.0.pull_from_fork(PROJECT, "mallory/app", HEAD, "main");
        }
    }
    fn hold(&self) {
        self.0.set_pipeline(true);
    }
    fn release(&self, _number: u64) {
        self.0.set_pipeline(false);
    }
    fn waits(&self, number: u64) -> bool {
        self.0.pull(number)["merge_when_pipeline_succeeds"] == true
    }
    fn reviewers(&self, number: u64) -> Vec<String> {
        let shown = self.0.pull(number);
        shown["reviewers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["username"].as_str().unwrap().to_owned())
            .collect()
    }
    fn comments(&self, number: u64) -> Vec<String> {
        self.0.notes(number)
    }
}

conformance::test_all!(Fake);

/// A fake, and a client of its project.
fn start() -> (GitLab, Client) {
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
        r#"[null]"#,
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
    assert_eq!((client.told().len(), made.auto_merge), (3, Some(false)), "find, compare, create");
    assert_eq!(fake.requests()[2].body["remove_source_branch"], true);
    forge.find_open(HEAD, "main").await.unwrap();
    forge.update(1, &edit(&made.title, &made.body)).await.unwrap();
    assert_eq!(client.told().len(), 2, "one that is there already costs a find and a look");
    fake.git().git(GIT, &["branch", "same", "main"]);
    forge.create(&new("same")).await.unwrap_err();
    assert_eq!(client.told().len(), 1, "what is nothing to merge costs a comparison");
}

#[tokio::test]
async fn labels_keep_their_order_and_hold_no_comma() {
    let (_fake, client) = start();
    client.open(HEAD).await;
    client.forge.add_labels(1, &names(&["promotion", "prod"])).await.unwrap();
    client.forge.add_labels(1, &names(&["prod"])).await.unwrap();
    assert_eq!(
        client.forge.find_newest(HEAD, "main").await.unwrap().unwrap().labels,
        names(&["promotion", "prod"])
    );
    let error = client.forge.add_labels(1, &names(&["a,b"])).await.unwrap_err();
    assert!(matches!(error.fault, ForgeFault::Invalid(_)), "{error}");
}

#[tokio::test]
async fn pages_are_read_one_after_the_other() {
    let fake = Fake::start();
    let client = Client::of(&fake);
    fake.open_strangers();
    client.open(HEAD).await;
    fake.open_strangers();
    client.told();
    client.forge.find_open(HEAD, "main").await.unwrap();
    client.forge.find_newest(HEAD, "main").await.unwrap();
    assert_eq!(client.told().len(), 4, "two pages each");
}

#[tokio::test]
async fn what_does_not_exist_or_is_not_shown_is_named() {
    let (fake, client) = start();
    fake.add_token("stranger", false);
    let stranger = Client::with::<Fake>(&fake.repository_url(PROJECT), token("stranger"));
    let place = "127.0.0.1/group/sub/app";
    let error = stranger.forge.create(&new(HEAD)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("create on {place}: {place} does not exist, or the token may not see it")
    );
    let error = client.forge.create(&new("no-such-branch")).await.unwrap_err();
    assert!(
        error.to_string().contains("Source branch \\\"no-such-branch\\\" does not exist"),
        "{error}"
    );
    let error = client.forge.look(7, None).await.unwrap_err();
    assert_eq!(
        (error.fault, error.place.as_str()),
        (ForgeFault::Gone("merge request !7".to_owned()), place)
    );
}

#[tokio::test]
async fn the_newest_of_several_pipelines_counts_and_a_check_may_stay_as_it_is() {
    let (fake, client) = start();
    let forge = &client.forge;
    let commit = fake.git().tip(GIT, HEAD).unwrap();
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
    for state in
        [CheckState::Pending, CheckState::Pending, CheckState::Success, CheckState::Failure]
    {
        forge.set_check(&commit, &check(state)).await.unwrap();
        let checks = forge.checks(&commit).await.unwrap();
        assert_eq!(checks.len(), 2);
        assert!(checks.contains(&check(state)), "{checks:?}");
        assert!(
            checks.iter().any(|check| check.name == "flaky" && check.state == CheckState::Success)
        );
    }
    let error = forge.set_check(&"0".repeat(40), &check(CheckState::Success)).await.unwrap_err();
    assert!(
        matches!(&error.fault, ForgeFault::NotFound(thing) if thing.starts_with("commit 000")),
        "{error}"
    );
}

#[tokio::test]
async fn no_text_of_ours_commands_gitlab() {
    let (fake, client) = start();
    let forge = &client.forge;
    let mut wanted = new(HEAD);
    "from the event:\n/merge".clone_into(&mut wanted.body);
    let pull = forge.create(&wanted).await.unwrap();
    forge.comment(pull.number, "/close\nhello").await.unwrap();
    forge.update(pull.number, &edit("t", "b\n/close")).await.unwrap();
    assert_eq!(client.look(pull.number).await.state, PullRequestState::Open);
    assert_eq!(fake.notes(pull.number), ["\\/close\nhello"]);
}

#[tokio::test]
async fn a_draft_stays_one() {
    let (fake, client) = start();
    let forge = &client.forge;
    let pull = client.open(HEAD).await;
    fake.mark_as_draft(pull.number);
    let found = forge.find_open(HEAD, "main").await.unwrap().unwrap();
    assert_eq!(found.title, pull.title);
    assert_eq!(
        forge.update(pull.number, &edit("Promote to 3", "b")).await.unwrap().title,
        "Promote to 3"
    );
    assert_eq!(fake.pull(pull.number)["title"], "Draft: Promote to 3");
    let error = forge.set_auto_merge(&found, true, None).await.unwrap_err();
    assert!(error.to_string().contains("it is a draft"), "{error}");
}

#[tokio::test]
async fn a_reviewer_who_was_asked_is_not_asked_again_and_one_who_is_nobody_is_named() {
    let (fake, client) = start();
    let forge = &client.forge;
    fake.add_user("eve");
    client.open(HEAD).await;
    forge.request_reviewers(1, &names(&["joe", "jane"])).await.unwrap();
    client.told();
    forge.request_reviewers(1, &names(&["joe", "jane"])).await.unwrap();
    assert_eq!(client.told().len(), 1, "nothing to change");
    let error = forge.request_reviewers(1, &names(&["nobody"])).await.unwrap_err();
    assert!(error.to_string().contains("\"nobody\" is not a user"), "{error}");
    fake.limit_reviewers(2);
    let error = forge.request_reviewers(1, &names(&["eve"])).await.unwrap_err();
    assert!(
        matches!(&error.fault, ForgeFault::Unsupported(words) if words.contains("more than 2 reviewers")),
        "{error}"
    );
}

/// The same flow by python-gitlab. What differs is in the table.
#[tokio::test(flavor = "multi_thread")]
async fn another_client_asks_the_same() {
    let (ours, theirs) = (Fake::start(), Fake::start());
    ours.hold();
    theirs.hold();
    clients::promote(&*Client::of(&ours).forge, &ours.tip(HEAD).unwrap(), Fake::HAS_LABELS).await;
    clients::run("gitlab.py", &[&theirs.0.url(), TOKEN, PROJECT, HEAD]).await;
    for field in ["title", "labels", "reviewers"] {
        assert_eq!(ours.0.pull(1)[field], theirs.0.pull(1)[field]);
    }
    assert_eq!(ours.comments(1), theirs.comments(1));
    clients::compare(
        &ours.0.requests(),
        &theirs.0.requests(),
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
