//! What new Pipelines, Secrets and commits mean for promotions that wait.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod world;

use std::time::{Duration, Instant};

use lockgate_core::pipeline::Pipeline;
use lockgate_core::promotion::{FailureReason, Promotion, State};
use lockgate_core::retry::RetryPolicy;
use serde_json::json;
use world::{Options, Repo, World, git_strategy, hmac, manifest, pipeline, pipeline_with};

fn reason(promotion: &Promotion) -> Option<FailureReason> {
    match &promotion.state {
        State::Failed { failure, .. } => Some(failure.reason),
        _ => None,
    }
}

/// A receiver that refuses every connection, so that a notification stays pending for long.
async fn nobody() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}

fn patient(address: String) -> Options {
    Options {
        wait: Duration::from_millis(50),
        notification: Some(address),
        retry: RetryPolicy {
            delay: Duration::from_secs(3600),
            max_delay: Duration::from_secs(3600),
            ..RetryPolicy::default()
        },
        ..Options::default()
    }
}

fn notifying(manual: bool) -> Pipeline {
    pipeline_with("podinfo", &json!({"notification": {}}), &json!({"manual": manual}))
}

async fn until_failed_once(world: &World, promotion: &Promotion) -> Promotion {
    let failed = |it: &Promotion| matches!(it.state, State::Pending { last_error: Some(_), .. });
    world.until_it(promotion.id, "its first attempt failed", failed).await
}

#[tokio::test]
async fn a_change_makes_due_what_would_wait_for_an_hour() {
    let dir = tempfile::tempdir().unwrap();
    let world =
        World::start(dir.path(), vec![notifying(false)], vec![hmac()], patient(nobody().await));
    let promotion = world.promote("podinfo", "1.0.0").await;
    until_failed_once(&world, &promotion).await;
    let other = pipeline_with("podinfo", &json!({"notification": {}}), &json!({"after": "all"}));
    world.source.replace(vec![other], vec![hmac()]);
    let tried = |it: &Promotion| matches!(it.state, State::Pending { attempts: 2, .. });
    world.until_it(promotion.id, "tried again", tried).await;
    world.stop().await;
}

#[tokio::test]
async fn manual_counts_at_every_claim_and_goes_with_the_pipeline() {
    let dir = tempfile::tempdir().unwrap();
    let world =
        World::start(dir.path(), vec![notifying(false)], vec![hmac()], patient(nobody().await));
    let promotion = world.promote("podinfo", "1.0.0").await;
    until_failed_once(&world, &promotion).await;
    // It is due at once, and what the Pipeline says now counts.
    world.source.replace(vec![notifying(true)], vec![hmac()]);
    world.until(promotion.id, "WaitingApproval").await;
    world.source.replace(vec![notifying(false)], vec![hmac()]);
    until_failed_once(&world, &promotion).await;
    world.stop().await;
}

#[tokio::test]
async fn what_is_left_of_a_deleted_pipeline_ends_and_comes_back_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let other = || pipeline("other", &json!({"notification": {}}));
    let world = World::start(
        dir.path(),
        vec![notifying(true), other()],
        vec![hmac()],
        patient(nobody().await),
    );
    let waiting = world.promote("podinfo", "1.0.0").await;
    assert_eq!(waiting.state.name(), "WaitingApproval");
    let pending = world.promote("other", "1.0.0").await;
    until_failed_once(&world, &pending).await;
    world.source.replace(vec![], vec![hmac()]);
    for promotion in [&waiting, &pending] {
        let ended = world.until(promotion.id, "Failed").await;
        assert_eq!(reason(&ended), Some(FailureReason::PipelineDeleted));
    }
    world.source.replace(vec![notifying(true), other()], vec![hmac()]);
    world.until(waiting.id, "WaitingApproval").await;
    until_failed_once(&world, &pending).await;
    world.stop().await;
}

#[tokio::test]
async fn all_failed_promotions_of_a_repository_are_taken_up_when_it_moves() {
    let dir = tempfile::tempdir().unwrap();
    let repo = Repo::at(dir.path(), &[("prod.yaml", "no: marker\n")]);
    let names = ["a", "b", "c", "d", "e", "f"];
    let pipelines =
        names.iter().map(|name| pipeline(name, &git_strategy(&repo, "branch"))).collect();
    let options = Options { recheck: Duration::from_millis(100), ..Options::default() };
    let world = World::start(dir.path(), pipelines, vec![hmac()], options);
    let mut promotions = Vec::new();
    for name in names {
        let promotion = world.promote(name, "1.1.0").await;
        assert_eq!(reason(&promotion), Some(FailureReason::MarkerNotFound), "{name}");
        promotions.push(promotion);
    }
    let files: Vec<(String, String)> =
        names.iter().map(|name| (format!("{name}.yaml"), manifest(name, "1.0.0"))).collect();
    let files: Vec<(&str, &str)> =
        files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    repo.commit(&files, "add the markers");
    for promotion in promotions {
        world.until(promotion.id, "Done").await;
    }
    world.stop().await;
}

#[tokio::test]
async fn a_promotion_that_ends_at_once_needs_no_claim() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), vec![notifying(false)], vec![hmac()], Options::default());
    let promotion = world.promote("podinfo", "1.0.0").await;
    assert_eq!(promotion.state.name(), "Done");
    let events = world.ledger.events(None, 10).await.unwrap();
    let kinds: Vec<&str> = events.iter().map(|(_, entry)| entry.kind.as_str()).collect();
    assert_eq!(kinds, ["Pending", "Promote", "Done"]);
    world.stop().await;
}

#[tokio::test]
async fn every_delivery_leaves_its_outcome() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), vec![notifying(false)], vec![hmac()], Options::default());
    let body = world::success("1.0.0");
    world.deliver("podinfo", &body).await;
    world.deliver("podinfo", &body).await;
    world.deliver("podinfo", b"{").await;
    world.deliver("podinfo", &world::event("1.1.0", &json!({"reason": "UpgradeFailed"}))).await;
    let found = world.ledger.deliveries(Default::default()).await.unwrap();
    let mut told: Vec<(u16, &str, bool)> =
        found.iter().map(|it| (it.status, it.reason.as_str(), it.promotion.is_some())).collect();
    told.sort_unstable();
    let malformed = told.iter().position(|(status, ..)| *status == 400).unwrap();
    assert!(!told.remove(malformed).1.is_empty());
    assert_eq!(told, [(202, "Done", true), (202, "Duplicate", false), (202, "NotASuccess", false)]);
    world.stop().await;
}

#[tokio::test]
async fn many_promotions_at_once_are_on_disk_in_few_commits() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::start(dir.path(), vec![notifying(false)], vec![hmac()], Options::default());
    let began = Instant::now();
    let deliveries = (0..64).map(|number| {
        let body = world::event(&format!("build-{number}"), &json!({}));
        let world = &world;
        async move { world.deliver("podinfo", &body).await }
    });
    let replies = futures::future::join_all(deliveries).await;
    assert!(replies.iter().all(|reply| reply.status == 202), "{replies:?}");
    assert_eq!(world.all().await.len(), 64);
    assert!(began.elapsed() < Options::default().wait);
    world.stop().await;
}
