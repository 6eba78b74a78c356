//! Auto-merge, on and off.

use lockgate_core::pipeline::MergeMethod;
use lockgate_forge::{ForgeError, ForgeFault, PullRequestState};

use super::{GIT, start};
use crate::conformance::HEAD;

#[tokio::test]
async fn auto_merge_is_asked_for_and_where_nothing_is_left_to_wait_for_a_merge() {
    let (fake, client) = start();
    let forge = &client.forge;
    fake.set_pipeline(true);
    let pull = client.open(HEAD).await;
    client.told();
    forge.set_auto_merge(&pull, true, None).await.unwrap();
    assert_eq!(client.told().len(), 3, "the project, its pipeline, and then it is asked for");
    let armed = forge.find_open(HEAD, "main").await.unwrap().unwrap();
    assert_eq!(armed.auto_merge, Some(true));
    forge.set_auto_merge(&armed, false, None).await.unwrap();
    assert_eq!(forge.find_open(HEAD, "main").await.unwrap().unwrap().auto_merge, Some(false));
    fake.set_pipeline(false);
    forge.set_auto_merge(&pull, true, None).await.unwrap();
    assert!(matches!(client.look(1).await.state, PullRequestState::Merged { .. }));
}

#[tokio::test]
async fn an_older_gitlab_waits_too() {
    let (fake, client) = start();
    fake.forget_auto_merge();
    fake.set_pipeline(true);
    let pull = client.open(HEAD).await;
    client.forge.set_auto_merge(&pull, true, None).await.unwrap();
    assert_eq!(fake.pull(1)["merge_when_pipeline_succeeds"], true);
    assert_eq!(client.look(1).await.state, PullRequestState::Open);
}

#[tokio::test]
async fn what_cannot_be_merged_is_explained() {
    let (fake, client) = start();
    let pull = client.open(HEAD).await;
    for (status, passing, words) in [
        ("checking", true, "still finding out"),
        ("preparing", true, "still finding out"),
        ("conflict", false, "it conflicts with its base branch"),
        ("not_approved", false, "approvals are missing"),
        ("something_new", false, "its rules do not allow it"),
    ] {
        fake.set_merge_status(Some(status));
        let error = client.forge.set_auto_merge(&pull, true, None).await.unwrap_err();
        assert_eq!(error.is_passing(), passing, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    fake.set_merge_status(None);
    fake.allow_merge(false);
    for on in [true, false] {
        let error = client.forge.set_auto_merge(&pull, on, None).await.unwrap_err();
        assert!(error.to_string().contains("the right to merge into the base branch"), "{error}");
    }
    fake.allow_merge(true);
    let other = fake.git().commit(GIT, HEAD, &[("a.yaml", "version: 9\n")], "not ours");
    let error = client.forge.set_auto_merge(&pull, true, None).await.unwrap_err();
    assert!(
        matches!(&error.fault, ForgeFault::Conflict(words) if words.contains(&other)),
        "{error}"
    );
}

#[tokio::test]
async fn a_merge_method_is_what_the_project_has_or_it_is_refused() {
    use MergeMethod::{Merge, Rebase, Squash};
    let (fake, client) = start();
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
        let pull = client.open(HEAD).await;
        let outcome = client.forge.set_auto_merge(&pull, true, Some(method)).await;
        match outcome {
            Ok(()) => assert!(supported, "{settings:?} {method:?}"),
            Err(ForgeError { fault: ForgeFault::Unsupported(words), .. }) => {
                assert!(
                    !supported && words.contains(settings.0) && words.contains(settings.1),
                    "{words}"
                );
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
async fn nothing_is_merged_that_no_pipeline_has_judged() {
    let (fake, client) = start();
    let pull = client.open(HEAD).await;
    let head = pull.head_commit.clone().unwrap();
    let before = "0".repeat(40);
    // "Pipelines must succeed" is off: GitLab would merge at once.
    fake.touch(true);
    for (pipeline, words) in [
        (None, "has no pipeline yet"),
        (Some(("success", Some(before.as_str()))), "has no pipeline yet"),
        (Some(("running", Some(&before))), "has no pipeline yet"),
        (Some(("failed", None)), "is \"failed\""),
        (Some(("canceled", None)), "is \"canceled\""),
    ] {
        if let Some((status, commit)) = pipeline {
            fake.set_head_pipeline(status, commit);
        }
        let error = client.forge.set_auto_merge(&pull, true, None).await.unwrap_err();
        assert!(matches!(error.fault, ForgeFault::NotYet(_)) && error.is_passing(), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(client.look(1).await.state, PullRequestState::Open);
    }
    fake.set_head_pipeline("success", Some(&head));
    client.forge.set_auto_merge(&pull, true, None).await.unwrap();
    assert!(matches!(client.look(1).await.state, PullRequestState::Merged { .. }));
}

#[tokio::test]
async fn a_project_without_pipelines_is_not_waited_for() {
    let (fake, client) = start();
    fake.touch(true);
    fake.set(serde_json::json!({"jobs_enabled": false}));
    let pull = client.open(HEAD).await;
    client.forge.set_auto_merge(&pull, true, None).await.unwrap();
    assert!(matches!(client.look(1).await.state, PullRequestState::Merged { .. }));
}
