//! Versions that go back, and promotions that can edit only a part of what is marked.

use lockgate_core::promotion::{FailureReason, Promotion, State};
use serde_json::json;

use crate::world::forge::{FakeForge, REPOSITORY, folder};
use crate::world::{World, hmac, manifest, pipeline_with};
use crate::{BRANCH, forge, number, start};

fn failed(promotion: &Promotion) -> (FailureReason, &str) {
    match &promotion.state {
        State::Failed { failure, .. } => (failure.reason, &failure.message),
        other => panic!("not failed: {other:?}"),
    }
}

#[tokio::test]
async fn a_pull_request_that_goes_back_says_so_also_when_an_open_one_is_rewritten() {
    let (dir, forge) = (folder(), forge().await);
    let world = start(&dir, &forge, &json!({}));
    world.promote("podinfo", "1.3.0").await;
    assert_eq!(forge.pull(1).seen.title, "Promote team/podinfo in prod to 1.3.0");
    // dev is rolled back: 1.2.0 is later than the field, and earlier than what was proposed.
    world.promote("podinfo", "1.2.0").await;
    let pull = forge.pull(1).seen;
    assert_eq!(pull.title, "Promote team/podinfo in prod to 1.2.0 (back from 1.3.0)");
    assert!(pull.body.contains("**This goes back from `1.3.0`.**"), "{}", pull.body);
    let subject = forge.host.git(REPOSITORY, &["log", "-1", "--format=%s", BRANCH]);
    assert_eq!(subject.trim(), pull.title);
    // The title is read back: the branch is still known to be untouched.
    forge.merge(1);
    world.until(world.all().await[0].id, "Merged").await;
    world.promote("podinfo", "1.1.0").await;
    let pull = forge.pull(2).seen;
    assert_eq!(pull.title, "Promote team/podinfo in prod to 1.1.0 (back from 1.2.0)");
    world.promote("podinfo", "1.4.0").await;
    let pull = forge.pull(2).seen;
    assert_eq!(pull.title, "Promote team/podinfo in prod to 1.4.0");
    assert!(!pull.body.contains("goes back"), "{}", pull.body);
    world.stop().await;
}

#[tokio::test]
async fn the_first_promotion_ever_does_not_lower_a_field_and_a_later_one_may() {
    let (dir, forge) =
        (folder(), FakeForge::start(&[("prod.yaml", &manifest("podinfo", "1.5.0"))]).await);
    let world = start(&dir, &forge, &json!({}));
    let promotion = world.promote("podinfo", "1.2.0").await;
    let (reason, message) = failed(&promotion);
    assert_eq!(reason, FailureReason::BehindField);
    for words in ["prod.yaml:4", "1.5.0", "1.2.0", "team/podinfo/prod"] {
        assert!(message.contains(words), "{words}: {message}");
    }
    assert_eq!((forge.pulls().len(), forge.tip(BRANCH)), (0, None));
    let later = world.promote("podinfo", "1.6.0").await;
    assert_eq!(number(&later), 1);
    let back = world.promote("podinfo", "1.4.0").await;
    assert_eq!(number(&back), 1);
    assert!(forge.pull(1).seen.title.ends_with("to 1.4.0 (back from 1.6.0)"));
    world.stop().await;
}

#[tokio::test]
async fn half_a_promotion_is_refused_unless_the_pipeline_allows_it_and_then_it_shows() {
    let template = "version: {{ .Values.version }} # {\"$promotion\": \"team:podinfo:prod\"}\n";
    for allow in [false, true] {
        let dir = folder();
        let forge = FakeForge::start(&[
            ("prod.yaml", &manifest("podinfo", "1.0.0")),
            ("template.yaml", template),
        ])
        .await;
        let more = if allow { json!({"incomplete": "allow"}) } else { json!({}) };
        let pipelines = vec![pipeline_with("podinfo", &forge.strategy(&json!({})), &more)];
        let world =
            World::start(dir.path(), pipelines, vec![hmac(), forge.secret()], forge.options());
        let promotion = world.promote("podinfo", "1.2.0").await;
        let incomplete = match &promotion.state {
            State::PullRequestOpen { incomplete, .. } => incomplete.clone(),
            State::Failed { failure, .. } => Some(failure.clone()),
            other => panic!("{other:?}"),
        };
        let failure = incomplete.expect("what was left out");
        assert_eq!(failure.reason, FailureReason::IncompleteMarkers);
        assert!(
            failure.message.contains("1 of 2 marked places")
                && failure.message.contains("template.yaml:1"),
            "{}",
            failure.message
        );
        assert_eq!(promotion.state.name() == "PullRequestOpen", allow);
        assert_eq!(forge.pulls().len(), usize::from(allow));
        if allow {
            assert!(forge.pull(1).seen.body.contains("**Incomplete:**"));
            assert_eq!(forge.show(BRANCH, "template.yaml"), template);
        } else {
            assert!(failure.message.contains("promotion.incomplete: allow"), "{}", failure.message);
        }
        world.stop().await;
    }
}
