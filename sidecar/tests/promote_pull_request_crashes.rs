//! A process that dies between any two requests of a promotion by pull request: the next one finds
//! what exists and goes on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod world;

use std::time::Duration;

use lockgate::promote::Poll;
use lockgate_core::promotion::{FailureReason, Promotion, State};
use lockgate_forge::ForgeFault;
use serde_json::{Value, json};
use world::forge::{FakeForge, folder};
use world::{Options, World, hmac, manifest, pipeline};

const BRANCH: &str = "promotion-team-podinfo-prod";

async fn forge() -> FakeForge {
    FakeForge::start(&[("prod.yaml", &manifest("podinfo", "1.0.0"))]).await
}

fn start(dir: &tempfile::TempDir, forge: &FakeForge, more: &Value, wait: Duration) -> World {
    let poll = Poll { min: Duration::from_millis(50), max: Duration::from_millis(100) };
    let options = Options { wait, poll, ..forge.options() };
    World::start(
        dir.path(),
        vec![pipeline("podinfo", &forge.strategy(more))],
        vec![hmac(), forge.secret()],
        options,
    )
}

fn number(promotion: &Promotion) -> u64 {
    promotion.state.pull_request().unwrap_or_else(|| panic!("{:?}", promotion.state)).number
}

/// What a person does between the death of one process and the start of the next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Meanwhile {
    Nothing,
    Merges,
    Closes,
}

/// Kills at request `index` of the promotion of 1.2.0, before or after the forge has done it, and
/// starts again. False: there are not so many requests.
async fn crash(older: bool, more: &Value, index: usize, after: bool, meanwhile: Meanwhile) -> bool {
    let (dir, forge) = (folder(), forge().await);
    let case = format!("older: {older}, request {index}, after: {after}, {meanwhile:?}");
    // Nothing is looked at before the process dies.
    let settled = Duration::from_secs(3600);
    let options = Options { poll: Poll { min: settled, max: settled }, ..forge.options() };
    let pipelines = vec![pipeline("podinfo", &forge.strategy(more))];
    let world = World::start(dir.path(), pipelines, vec![hmac(), forge.secret()], options);
    if older {
        assert_eq!(number(&world.promote("podinfo", "1.1.0").await), 1);
    }
    forge.take_calls();
    forge.stop_at(index, after);
    let died = {
        let body = world::success("1.2.0");
        tokio::select! {
            _ = world.deliver("podinfo", &body) => false,
            () = forge.stopped() => true,
        }
    };
    world.kill(dir.path()).await;
    forge.go_on();
    let opened = forge.pulls().len();
    if died && opened > 0 && meanwhile == Meanwhile::Merges {
        forge.merge(1);
    }
    if died && opened > 0 && meanwhile == Meanwhile::Closes {
        forge.close(1);
    }
    forge.take_calls();
    let world = start(&dir, &forge, more, Duration::from_secs(10));
    let promotion = world
        .all()
        .await
        .into_iter()
        .find(|promotion| promotion.revision.as_str() == "1.2.0")
        .unwrap();
    let now = world
        .until_it(promotion.id, "through", |it| {
            !matches!(it.state, State::Pending { .. } | State::Running { .. })
        })
        .await;
    let requests = forge.take_work();
    let untouched = opened == 0 || meanwhile == Meanwhile::Nothing;
    if untouched {
        assert!(matches!(now.state, State::PullRequestOpen { .. }), "{case}: {:?}", now.state);
        assert_eq!((forge.pulls().len(), number(&now)), (1, 1), "{case}");
        let pull = forge.pull(1);
        assert_eq!(pull.seen.title, "Promote team/podinfo in prod to 1.2.0", "{case}");
        assert!(pull.seen.body.contains(&now.id.to_string()), "{case}");
        assert_eq!(forge.show(BRANCH, "prod.yaml"), manifest("podinfo", "1.2.0"), "{case}");
        if more.get("labels").is_some() {
            assert_eq!(
                (pull.seen.labels, pull.reviewers, pull.auto_merge),
                (vec!["l".to_owned()], vec!["ada".to_owned()], true),
                "{case}"
            );
        }
        assert!(requests.len() <= 2 + 3, "{case}: {requests:?}");
    } else if died {
        check_ended(&forge, &now, older, meanwhile, &case);
    }
    world.stop().await;
    died
}

/// A person ended the pull request while the process was dead.
fn check_ended(forge: &FakeForge, now: &Promotion, older: bool, meanwhile: Meanwhile, case: &str) {
    // Closing or merging what still says 1.1.0 says nothing about 1.2.0, unless 1.2.0 was on its
    // branch.
    let said_ours = forge.pull(1).seen.body.contains(&now.id.to_string());
    match (meanwhile, said_ours) {
        (Meanwhile::Merges, true) => assert_eq!(now.state.name(), "Merged", "{case}"),
        (Meanwhile::Closes, true) => assert_eq!(now.state.name(), "Closed", "{case}"),
        (_, false) => {
            assert!(older, "{case}");
            assert!(
                // The older one's end says nothing about this one, whose commit a person may have
                // merged with it.
                matches!(now.state.name(), "PullRequestOpen" | "Done" | "Merged" | "Closed"),
                "{case}: {:?}",
                now.state
            );
        }
        (Meanwhile::Nothing, _) => unreachable!("{case}"),
    }
    assert!(forge.open().len() <= 1, "{case}");
    if matches!(now.state.name(), "Merged" | "Closed") {
        assert_eq!((forge.pulls().len(), forge.open().len()), (1, 0), "{case}");
    }
}

async fn every_request(older: bool, meanwhile: Meanwhile, least: usize) {
    let more = json!({"labels": ["l"], "reviewers": ["ada"], "autoMerge": true});
    for after in [false, true] {
        let mut index = 0;
        while crash(older, &more, index, after, meanwhile).await {
            index += 1;
        }
        assert!(index >= least, "only {index} requests were interrupted");
    }
}

#[tokio::test]
async fn a_new_promotion_survives_a_death_at_each_of_its_requests() {
    every_request(false, Meanwhile::Nothing, 4).await;
}

#[tokio::test]
async fn an_update_survives_a_death_at_each_of_its_requests() {
    every_request(true, Meanwhile::Nothing, 3).await;
}

#[tokio::test]
async fn a_person_who_merges_meanwhile_is_believed() {
    every_request(false, Meanwhile::Merges, 4).await;
    every_request(true, Meanwhile::Merges, 3).await;
}

#[tokio::test]
async fn a_person_who_closes_meanwhile_is_believed() {
    every_request(false, Meanwhile::Closes, 4).await;
    every_request(true, Meanwhile::Closes, 3).await;
}

#[tokio::test]
async fn a_death_while_looking_changes_nothing() {
    for after in [false, true] {
        let (dir, forge) = (folder(), forge().await);
        // Request 0 opens, request 1 is the first look.
        forge.stop_at(1, after);
        let world = start(&dir, &forge, &json!({}), Duration::from_secs(10));
        let promotion = world.promote("podinfo", "1.2.0").await;
        forge.stopped().await;
        world.kill(dir.path()).await;
        forge.go_on();
        forge.merge(1);
        let world = start(&dir, &forge, &json!({}), Duration::from_secs(10));
        world.until(promotion.id, "Merged").await;
        assert_eq!(forge.pulls().len(), 1);
        world.stop().await;
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_leads_to_no_second_pull_request() {
    // The forge has done it, and its answer never came: the next attempt is told that there is one.
    let (dir, forge) = (folder(), forge().await);
    forge.refuse("create", ForgeFault::TimedOut(Duration::from_secs(30)));
    let world = start(&dir, &forge, &json!({}), Duration::from_millis(10));
    let promotion = world.promote("podinfo", "1.2.0").await;
    forge.add(BRANCH, "half done", "");
    world.until(promotion.id, "PullRequestOpen").await;
    assert_eq!(forge.pulls().len(), 1);
    assert_eq!(forge.pull(1).seen.title, "Promote team/podinfo in prod to 1.2.0");
    world.stop().await;
}

#[tokio::test]
async fn a_pull_request_that_the_search_does_not_show_is_found_when_the_forge_names_it() {
    let (dir, forge) = (folder(), forge().await);
    // The branch was deleted, the pull request is open: some forges leave it so.
    forge.add(BRANCH, "left over", "");
    let world = start(&dir, &forge, &json!({}), Duration::from_secs(10));
    let promotion = world.promote("podinfo", "1.2.0").await;
    assert_eq!((number(&promotion), forge.pulls().len()), (1, 1));
    assert_eq!(forge.take_work(), ["create", "find", "update"]);
    world.stop().await;
}

#[tokio::test]
async fn a_branch_without_its_pull_request_is_named_until_the_reason_is_gone() {
    let (dir, forge) = (folder(), forge().await);
    forge.refuse(
        "create",
        ForgeFault::PermissionDenied { right: "pull request write", detail: "no".to_owned() },
    );
    let world = start(&dir, &forge, &json!({}), Duration::from_secs(10));
    let promotion = world.promote("podinfo", "1.2.0").await;
    let State::Failed { failure, .. } = &promotion.state else { panic!("{:?}", promotion.state) };
    assert_eq!(failure.reason, FailureReason::PermissionDenied);
    let words = format!(
        "create on forge.example/org/manifests: token lacks pull request write: no; branch {BRANCH} is pushed"
    );
    assert!(
        failure.message.starts_with(&words) && failure.message.contains("Secret team/forge"),
        "{}",
        failure.message
    );
    let tip = forge.tip(BRANCH);
    world.stop().await;
    let world = start(&dir, &forge, &json!({}), Duration::from_secs(10));
    let open = world.until(promotion.id, "PullRequestOpen").await;
    assert_eq!((number(&open), forge.pulls().len(), tip.is_some()), (1, 1, true));
    world.stop().await;
}

#[tokio::test]
async fn what_a_reviewer_commits_before_the_pull_request_could_be_noted_is_kept() {
    let (dir, forge) = (folder(), forge().await);
    forge.stop_at(0, true);
    let world = start(&dir, &forge, &json!({}), Duration::from_millis(10));
    let promotion = world.promote("podinfo", "1.2.0").await;
    forge.stopped().await;
    world.kill(dir.path()).await;
    forge.go_on();
    let theirs = forge.host.commit(
        world::forge::REPOSITORY,
        BRANCH,
        &[("values.yaml", "replicas: 2\n")],
        "raise the replicas",
    );
    let world = start(&dir, &forge, &json!({}), Duration::from_secs(10));
    let open = world.until(promotion.id, "PullRequestOpen").await;
    assert_eq!((number(&open), forge.pulls().len(), forge.tip(BRANCH)), (1, 1, Some(theirs)));
    forge.merge(1);
    world.until(promotion.id, "Merged").await;
    world.stop().await;
}
