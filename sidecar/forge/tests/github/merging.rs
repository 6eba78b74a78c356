//! Auto-merge, on and off.

use lockgate_core::pipeline::MergeMethod;
use lockgate_forge::{ForgeFault, PullRequest, PullRequestState, Seen};

use super::{HEAD, REPOSITORY, Setting, TOKEN, client, commit, new, observed, token};

impl Setting {
    async fn look(&self) -> PullRequest {
        let Seen::Changed { pull, .. } = self.forge.look(1, None).await.unwrap() else {
            panic!("unchanged")
        };
        pull
    }
}

#[tokio::test]
async fn what_waits_for_a_check_is_merged_by_github() {
    let setting = Setting::new();
    setting.fake.require_status(REPOSITORY, "ci");
    let pull = setting.create().await;
    setting.forge.set_auto_merge(&pull, true, Some(MergeMethod::Squash)).await.unwrap();
    assert_eq!(setting.fake.pull(REPOSITORY, 1)["auto_merge"], "squash");
    let pull = setting.look().await;
    assert_eq!((pull.auto_merge, &pull.state), (Some(true), &PullRequestState::Open));

    let before = setting.requests().len();
    setting.forge.set_auto_merge(&pull, true, Some(MergeMethod::Squash)).await.unwrap();
    assert_eq!(setting.requests().len(), before, "it is on already");

    setting.fake.set_status(REPOSITORY, &setting.head(), "ci", "success");
    assert!(matches!(setting.look().await.state, PullRequestState::Merged { .. }));
    assert_eq!(setting.requests()[1], "POST /api/graphql");
    setting.hold_to_contract();
}

#[tokio::test]
async fn on_github_com_graphql_is_below_the_root_of_the_interface() {
    let setting = Setting::new();
    setting.fake.require_status(REPOSITORY, "ci");
    let (connection, _) = observed(token(TOKEN));
    let forge = client("https://github.com/org/repo", Some(&setting.fake.url()), connection);
    let pull = forge.create(&new(HEAD)).await.unwrap();
    forge.set_auto_merge(&pull, true, None).await.unwrap();
    assert_eq!(setting.requests(), ["POST /repos/org/repo/pulls", "POST /graphql"]);
    setting.hold_to_contract();
}

#[tokio::test]
async fn what_nothing_holds_up_is_merged_at_once() {
    let setting = Setting::new();
    let pull = setting.create().await;
    setting.forge.set_auto_merge(&pull, true, Some(MergeMethod::Merge)).await.unwrap();
    assert!(matches!(setting.look().await.state, PullRequestState::Merged { .. }));
    let merge = &setting.fake.requests()[3];
    assert_eq!(merge.body, serde_json::json!({"sha": pull.head_commit, "merge_method": "merge"}));
    assert_eq!(setting.told()[1..4], [("auto_merge", 200); 3], "refused, looked at, merged");
    setting.hold_to_contract();
}

#[tokio::test]
async fn what_was_just_pushed_waits_for_checks_that_may_still_begin() {
    let setting = Setting::new();
    let pull = setting.create().await;
    setting.fake.touch(REPOSITORY, 1);
    let error = setting.forge.set_auto_merge(&pull, true, None).await.unwrap_err();
    assert!(matches!(error.fault, ForgeFault::NotYet(_)) && error.is_passing(), "{error}");
    assert_eq!(setting.look().await.state, PullRequestState::Open);
    setting.hold_to_contract();
}

#[tokio::test]
async fn where_there_is_a_merge_queue_it_is_put_into_that_and_taken_out_again() {
    let setting = Setting::new();
    setting.fake.queue(REPOSITORY);
    let pull = setting.create().await;
    setting.forge.set_auto_merge(&pull, true, None).await.unwrap();
    setting.forge.set_auto_merge(&pull, true, None).await.unwrap();
    assert_eq!(setting.fake.queued(REPOSITORY), [1]);
    let unknown = PullRequest { auto_merge: None, ..pull };
    setting.forge.set_auto_merge(&unknown, false, None).await.unwrap();
    assert_eq!(setting.fake.queued(REPOSITORY), [0; 0]);
    setting.forge.set_auto_merge(&unknown, false, None).await.unwrap();
    setting.hold_to_contract();
}

#[tokio::test]
async fn what_somebody_pushed_meanwhile_is_not_merged() {
    let setting = Setting::new();
    let pull = setting.create().await;
    commit(&setting.fake);
    let error = setting.forge.set_auto_merge(&pull, true, None).await.unwrap_err();
    assert!(
        matches!(&error.fault, ForgeFault::Conflict(text) if text.contains("Head branch was modified")),
        "{error}"
    );
    assert_eq!(setting.look().await.state, PullRequestState::Open);
    setting.hold_to_contract();
}

#[tokio::test]
async fn checks_that_are_not_required_are_waited_for() {
    let setting = Setting::new();
    let pull = setting.create().await;
    setting.fake.set_status(REPOSITORY, &setting.head(), "ci", "pending");
    let error = setting.forge.set_auto_merge(&pull, true, None).await.unwrap_err();
    assert!(matches!(error.fault, ForgeFault::NotYet(_)) && error.is_passing(), "{error}");
    setting.fake.set_status(REPOSITORY, &setting.head(), "ci", "success");
    setting.forge.set_auto_merge(&pull, true, None).await.unwrap();
    assert!(matches!(setting.look().await.state, PullRequestState::Merged { .. }));
    setting.hold_to_contract();
}

#[tokio::test]
async fn a_repository_without_auto_merge_says_where_to_allow_it() {
    let setting = Setting::new();
    setting.fake.allow_auto_merge(REPOSITORY, false);
    let pull = setting.create().await;
    let error = setting.forge.set_auto_merge(&pull, true, None).await.unwrap_err();
    assert!(
        matches!(error.fault, ForgeFault::Unsupported(_))
            && error.to_string().contains("Allow auto-merge"),
        "{error}"
    );
    setting.hold_to_contract();
}

#[tokio::test]
async fn auto_merge_is_switched_off_only_where_it_is_on() {
    let setting = Setting::new();
    setting.fake.require_status(REPOSITORY, "ci");
    let off = setting.create().await;
    setting.forge.set_auto_merge(&off, false, None).await.unwrap();
    assert_eq!(setting.requests().len(), 1, "it is off already");

    setting.forge.set_auto_merge(&off, true, None).await.unwrap();
    let on = setting.look().await;
    setting.forge.set_auto_merge(&on, false, None).await.unwrap();
    assert_eq!(setting.fake.pull(REPOSITORY, 1)["auto_merge"], serde_json::Value::Null);
    // A person was quicker: GitHub refuses, and a look shows that there is nothing left to do.
    setting.forge.set_auto_merge(&on, false, None).await.unwrap();
    setting.hold_to_contract();
}

#[tokio::test]
async fn one_that_is_closed_is_refused_in_githubs_words() {
    let setting = Setting::new();
    let pull = setting.create().await;
    setting.fake.close(REPOSITORY, 1);
    let error = setting.forge.set_auto_merge(&pull, true, None).await.unwrap_err();
    assert!(
        matches!(&error.fault, ForgeFault::Invalid(text) if text.contains("is closed")),
        "{error}"
    );
    setting.hold_to_contract();
}
