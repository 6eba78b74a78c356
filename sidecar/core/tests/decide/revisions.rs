//! Which revision a promotion is for: newer ones, repetitions, those behind, those that go back,
//! stale events.

use lockgate_core::decide::LatestState;
use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::model::{Model, event, one_promotion_of, two_clusters};

#[test]
fn a_new_revision_starts_a_promotion_and_supersedes_an_unfinished_one() {
    let mut model = one_promotion_of("1.0.0", LatestState::Active);
    assert_eq!(model.report("a", "1.1.0", 60), "start 2 over 1");
    model.end(2, LatestState::Promoted);
    assert_eq!(model.report("a", "1.2.0", 120), "start 3");
}

#[test]
fn the_second_cluster_joins_the_promotion_of_the_first() {
    for state in [LatestState::Active, LatestState::Promoted] {
        let mut model = one_promotion_of("1.0.0", state);
        assert_eq!(model.report("b", "1.0.0", 5), "join 1");
    }
}

#[test]
fn an_object_that_repeats_itself_starts_nothing_unless_its_promotion_failed() {
    let mut model = one_promotion_of("1.0.0", LatestState::Promoted);
    assert_eq!(model.report("a", "1.0.0", 600), "AlreadyPromoted");
    model.end(1, LatestState::Failed);
    assert_eq!(model.report("a", "1.0.0", 1200), "again 1");
    assert_eq!(model.report("a", "1.0.0", 1800), "AlreadyStarted");
}

#[test]
fn a_failed_promotion_is_taken_up_by_another_cluster_and_superseded_by_nobody() {
    let mut model = one_promotion_of("1.0.0", LatestState::Failed);
    assert_eq!(model.report("b", "1.0.0", 5), "again 1");
    model.end(1, LatestState::Failed);
    assert_eq!(model.report("b", "1.1.0", 10), "start 2");
}

#[test]
fn a_repetition_with_no_promotion_yet_starts_one() {
    let mut model = one_promotion_of("1.0.0", LatestState::Promoted);
    model.promotions.clear();
    assert_eq!(model.report("a", "1.0.0", 60), "start 1");
}

#[test]
fn a_lower_version_from_a_cluster_that_lags_is_behind() {
    let mut model = one_promotion_of("1.10.0", LatestState::Promoted);
    assert_eq!(model.report("b", "1.9.0", 60), "Behind");
    assert_eq!(model.report("b", "1.9.0", 660), "Behind");
    assert_eq!(model.report("b", "1.10.0", 700), "join 1");
}

#[test]
fn revisions_without_an_order_follow_their_arrival() {
    let mut model = one_promotion_of("main@sha1:bbbb", LatestState::Promoted);
    assert_eq!(model.report("b", "main@sha1:aaaa", 60), "start 2");
    // The first cluster still repeats what has been overtaken, and later catches up.
    assert_eq!(model.report("a", "main@sha1:bbbb", 120), "Behind");
    assert_eq!(model.report("a", "main@sha1:aaaa", 180), "join 2");
}

#[test]
fn an_object_that_goes_back_from_the_latest_is_a_rollback() {
    let mut model = one_promotion_of("1.0.0", LatestState::Promoted);
    assert_eq!(model.report("a", "1.1.0", 60), "start 2");
    assert_eq!(model.report("a", "1.0.0", 120), "start 3 over 2");
    // The other cluster has never reported 1.1.0: for it 1.0.0 is simply the latest.
    assert_eq!(model.report("b", "1.0.0", 130), "join 3");
    // Back to a version that was never promoted, lower than the latest.
    model.end(3, LatestState::Promoted);
    assert_eq!(model.report("a", "0.9.0", 180), "start 4");
}

#[test]
fn a_cluster_that_reports_an_earlier_promotion_late_is_behind_and_no_rollback() {
    let mut model = one_promotion_of("main@sha1:aaaa", LatestState::Promoted);
    assert_eq!(model.report("a", "main@sha1:bbbb", 60), "start 2");
    assert_eq!(model.report("b", "main@sha1:aaaa", 70), "Behind");
    assert_eq!(model.report("b", "main@sha1:bbbb", 80), "join 2");
    assert_eq!(model.report("b", "main@sha1:aaaa", 90), "start 3 over 2");
}

#[test]
fn within_one_object_an_older_event_is_stale_and_changes_nothing() {
    let mut model = one_promotion_of("1.0.0", LatestState::Promoted);
    assert_eq!(model.report("a", "1.1.0", 60), "start 2");
    let before = model.objects.clone();
    assert_eq!(model.report("a", "1.0.0", 30), "Stale");
    assert_eq!(model.objects, before);
    // A clock that was set back: the resource version has grown.
    let mut set_back = event("a", "1.2.0", 30);
    set_back.involved_object.resource_version = "99999".to_owned();
    assert_eq!(model.deliver(&set_back), "start 3 over 2");
}

#[test]
fn at_equal_times_the_resource_version_decides_and_then_the_lower_version_is_stale() {
    let at = |revision: &str, resource_version: &str| {
        let mut event = event("a", revision, 0);
        event.involved_object.resource_version = resource_version.to_owned();
        event
    };
    for (resource_version, revision, expected) in [
        ("999", "2.0.0", "Stale"),
        ("1001", "0.9.0", "start 2 over 1"),
        ("1000", "0.9.0", "Stale"),
        ("1000", "2.0.0", "start 2 over 1"),
        ("1000", "main@sha1:aaaa", "start 2 over 1"),
        ("", "0.9.0", "Stale"),
        ("", "2.0.0", "start 2 over 1"),
        ("opaque", "2.0.0", "start 2 over 1"),
        ("01000", "0.9.0", "Stale"),
        ("100000000000000000000000000000000000000000", "0.9.0", "start 2 over 1"),
    ] {
        let mut model = one_promotion_of("1.0.0", LatestState::Active);
        assert_eq!(
            model.deliver(&at(revision, resource_version)),
            expected,
            "{resource_version:?} {revision}"
        );
    }
    // Without resource versions an earlier time alone is stale.
    let mut model = one_promotion_of("1.0.0", LatestState::Active);
    let mut earlier = event("a", "1.1.0", -1);
    earlier.involved_object.resource_version = String::new();
    assert_eq!(model.deliver(&earlier), "Stale");
}

#[test]
fn manual_promotions_wait_and_a_rejected_one_stays_rejected() {
    let mut model =
        Model::new(two_clusters(&json!({"manual": true, "strategy": {"notification": {}}})));
    assert_eq!(model.report("a", "1.0.0", 0), "start 1 waiting");
    assert_eq!(model.report("a", "1.1.0", 60), "start 2 waiting over 1");
    model.end(2, LatestState::Promoted);
    assert_eq!(model.report("a", "1.1.0", 120), "AlreadyPromoted");
    assert_eq!(model.report("b", "1.1.0", 130), "join 2");
}
