//! What is counted and timed while promotions are carried out: each thing when it happens, once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod world;

use lockgate_forge::ForgeFault;
use serde_json::json;
use world::forge::{FakeForge, folder};
use world::{World, hmac, manifest, pipeline, pipeline_with};

async fn outcome(world: &World, outcome: &str, count: u32) {
    world
        .until_counted(&format!("strategy=\"pull-request\",outcome=\"{outcome}\"}} {count}\n"))
        .await;
}

async fn timed(world: &World, phase: &str, count: u32) {
    world
        .until_counted(&format!(
            "_count{{namespace=\"team\",pipeline=\"podinfo\",environment=\"prod\",phase=\"{phase}\"}} {count}\n"
        ))
        .await;
}

#[tokio::test]
async fn every_outcome_is_counted_and_every_phase_is_timed() {
    let forge = FakeForge::start(&[("prod.yaml", &manifest("podinfo", "1.0.0"))]).await;
    let dir = folder();
    let pipelines = vec![pipeline("podinfo", &forge.strategy(&json!({})))];
    let world = World::start(dir.path(), pipelines, vec![hmac(), forge.secret()], forge.options());

    let first = world.promote("podinfo", "1.0.1").await;
    outcome(&world, "started", 1).await;
    outcome(&world, "pull_request_open", 1).await;
    for phase in ["accept", "queue", "git", "forge"] {
        timed(&world, phase, 1).await;
    }
    forge.close(1);
    world.until(first.id, "Closed").await;
    outcome(&world, "closed", 1).await;

    world.promote("podinfo", "1.0.2").await;
    let third = world.promote("podinfo", "1.0.3").await;
    outcome(&world, "superseded", 1).await;
    forge.merge(forge.open()[0].seen.number);
    world.until(third.id, "Merged").await;
    outcome(&world, "merged", 1).await;
    timed(&world, "merge", 1).await;
    timed(&world, "total", 1).await;

    forge.refuse("create", ForgeFault::Server { status: 502, retry_after: None });
    world.promote("podinfo", "1.0.4").await;
    outcome(&world, "retried", 1).await;
    outcome(&world, "pull_request_open", 4).await;

    forge.close(forge.open()[0].seen.number);
    outcome(&world, "closed", 2).await;
    forge.refuse("create", ForgeFault::AuthenticationFailed);
    world.promote("podinfo", "1.0.5").await;
    outcome(&world, "failed", 1).await;
    world.promote("podinfo", "1.0.5").await;
    outcome(&world, "taken_up_again", 1).await;
    // What failed, was closed or superseded never arrived: it has no time.
    timed(&world, "total", 1).await;
    world.stop().await;
}

#[tokio::test]
async fn a_promotion_that_waits_for_a_person_is_counted_as_waiting() {
    let forge = FakeForge::start(&[("prod.yaml", &manifest("podinfo", "1.0.0"))]).await;
    let dir = folder();
    let manual = json!({"manual": true});
    let pipelines = vec![pipeline_with("podinfo", &forge.strategy(&json!({})), &manual)];
    let world = World::start(dir.path(), pipelines, vec![hmac(), forge.secret()], forge.options());
    world.promote("podinfo", "1.0.1").await;
    outcome(&world, "waiting", 1).await;
    world.stop().await;
}
