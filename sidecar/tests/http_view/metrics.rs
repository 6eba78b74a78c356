//! The metrics page: what it reads from the ledger and from the Pipelines.

use std::sync::Arc;

use axum::http::StatusCode;
use lockgate::{http, metrics::Metrics};
use lockgate_core::promotion::{Failure, FailureReason, Promotion, State};

use crate::{World, catalog, get, promotion, start, world};

async fn page(world: &World) -> String {
    let page = http::metrics(Metrics::new(), catalog(), Arc::clone(&world.ledger));
    let (status, kind, text) = get(&page, "/metrics").await;
    assert_eq!(
        (status, kind.as_str()),
        (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8")
    );
    text.as_str().unwrap().to_owned()
}

fn has(text: &str, lines: &[&str]) {
    for line in lines {
        assert!(text.lines().any(|it| it == *line), "{line}\n{text}");
    }
}

/// A new promotion of `team/<name>` in this state.
async fn add(world: &World, number: u8, name: &str, state: State) {
    let promotion = Promotion { state, ..promotion(number, name) };
    start(&world.ledger, promotion).await;
}

fn failed() -> State {
    let failure = Failure {
        reason: FailureReason::MarkerNotFound,
        message: "no file has the marker".to_owned(),
    };
    State::Failed { failure, seen: None }
}

#[tokio::test]
async fn only_the_latest_promotion_of_a_destination_counts() {
    let world = world().await;
    let text = page(&world).await;
    has(
        &text,
        &[
            "lockgate_promotions{state=\"WaitingApproval\"} 2",
            "lockgate_promotions{state=\"Failed\"} 0",
            "lockgate_pipelines{valid=\"true\"} 3",
            // The Secret of zoo/c is missing.
            "lockgate_pipelines{valid=\"false\"} 1",
            "lockgate_promotions_total{namespace=\"zoo\",pipeline=\"c\",environment=\"prod\",strategy=\"notification\",outcome=\"failed\"} 0",
        ],
    );
    assert!(!text.contains("lockgate_promotion_failed{"), "{text}");
}

#[tokio::test]
async fn a_failure_is_named_until_a_newer_promotion_overtakes_it() {
    let world = world().await;
    add(&world, 6, "a", failed()).await;
    has(
        &page(&world).await,
        &[
            "lockgate_promotions{state=\"Failed\"} 1",
            "lockgate_promotion_failed{namespace=\"team\",pipeline=\"a\",environment=\"prod\",reason=\"MarkerNotFound\"} 1",
        ],
    );
    add(&world, 7, "a", State::WaitingApproval).await;
    let text = page(&world).await;
    has(&text, &["lockgate_promotions{state=\"Failed\"} 0"]);
    assert!(!text.contains("lockgate_promotion_failed{"), "{text}");
}

#[tokio::test]
async fn a_promotion_of_a_removed_pipeline_has_no_series() {
    let world = world().await;
    add(&world, 6, "gone", failed()).await;
    let text = page(&world).await;
    assert!(!text.contains("pipeline=\"gone\""), "{text}");
}
