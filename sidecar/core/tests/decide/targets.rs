//! Pipelines whose environments have several targets: a promotion for each, or one after all of
//! them.

use lockgate_core::decide::LatestState;
use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::model::{Model, cluster, event, notification, pipeline, two_clusters};

#[test]
fn per_target_every_target_has_a_promotion_of_its_own() {
    let mut model =
        Model::new(two_clusters(&json!({"per": "target", "strategy": {"notification": {}}})));
    assert_eq!(model.report("a", "1.0.0", 0), "start 1, start 2");
    model.end(1, LatestState::Promoted);
    model.end(2, LatestState::Failed);
    assert_eq!(model.report("a", "1.0.0", 60), "again 2");
    assert_eq!(model.report("b", "1.0.0", 70), "join 1, join 2");
    assert_eq!(model.report("b", "1.1.0", 80), "start 3, start 4 over 2");
    assert_eq!(model.promotions[2].0.as_ref().unwrap().to_string(), "x/prod");
    assert_eq!(model.report("b", "1.1.0", 90), "AlreadyStarted");
}

#[test]
fn after_all_waits_until_every_target_has_the_revision() {
    let mut model =
        Model::new(two_clusters(&json!({"after": "all", "strategy": {"notification": {}}})));
    assert_eq!(model.report("a", "1.0.0", 0), "WaitingForTargets");
    assert_eq!(model.report("a", "1.0.0", 10), "WaitingForTargets");
    assert_eq!(model.report("b", "1.0.0", 20), "start 1");
    model.end(1, LatestState::Promoted);
    assert_eq!(model.report("b", "1.1.0", 30), "WaitingForTargets");
    assert_eq!(model.report("a", "1.2.0", 40), "WaitingForTargets");
    assert_eq!(model.report("b", "1.2.0", 50), "start 2");
    assert_eq!(
        model.report("a", "1.1.0", 60),
        "WaitingForTargets",
        "a rollback waits for the others too"
    );
    assert_eq!(model.report("b", "1.1.0", 70), "start 3 over 2");
}

#[test]
fn a_target_that_is_unknown_counts_for_any_and_never_for_all() {
    let mut any = Model::new(two_clusters(&notification()));
    assert_eq!(any.report("elsewhere", "1.0.0", 0), "start 1");
    assert_eq!(any.objects["uid-elsewhere"].target, None);

    let mut all =
        Model::new(two_clusters(&json!({"after": "all", "strategy": {"notification": {}}})));
    assert_eq!(all.report("a", "1.0.0", 0), "WaitingForTargets");
    let mut unnamed = event("b", "1.0.0", 10);
    unnamed.metadata.remove("cluster");
    assert_eq!(all.deliver(&unnamed), "WaitingForTargets");
    // The sender is told to name its cluster; the repetition then counts.
    assert_eq!(all.report("b", "1.0.0", 20), "start 1");
}

#[test]
fn what_was_held_back_starts_at_a_repetition_once_everything_is_there() {
    let mut model =
        Model::new(two_clusters(&json!({"after": "all", "strategy": {"notification": {}}})));
    for (cluster, seconds) in [("a", 0), ("b", 1)] {
        model.report(cluster, "1.0.0", seconds);
    }
    assert_eq!(model.report("a", "1.1.0", 60), "WaitingForTargets");
    let mut unnamed = event("b", "1.1.0", 70);
    unnamed.metadata.remove("cluster");
    assert_eq!(model.deliver(&unnamed), "WaitingForTargets");
    assert_eq!(model.report("b", "1.1.0", 80), "start 2 over 1");
    assert_eq!(model.report("b", "1.1.0", 90), "AlreadyStarted");
}

#[test]
fn a_single_target_needs_no_cluster_name() {
    let environments = json!([{"name": "dev", "targets": [cluster("a", "dev")]}, {"name": "prod", "targets": [{"namespace": "prod"}]}]);
    let mut model = Model::new(pipeline(
        &json!({"after": "all", "strategy": {"notification": {}}}),
        &environments,
    ));
    let mut unnamed = event("a", "1.0.0", 0);
    unnamed.metadata.remove("cluster");
    assert_eq!(model.deliver(&unnamed), "start 1");
}
