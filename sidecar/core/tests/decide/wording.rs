//! What a person is told: each answer that starts nothing says what to do next.

use lockgate_core::decide::{Decision, Freshness, NothingReason, admit};
use lockgate_core::event::{Event, Severity};
use serde_json::json;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::model::{Model, event, notification, two_clusters};

fn nothing(model: &Model, event: &Event) -> (NothingReason, String) {
    match model.decide(event) {
        Decision::Nothing { reason, message, .. } => (reason, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_event_that_starts_nothing_says_what_would() {
    let mut model = Model::new(two_clusters(&notification()));
    let failed = Event {
        severity: Severity::Error,
        reason: "UpgradeFailed".to_owned(),
        ..event("a", "1.0.0", 0)
    };
    let (reason, message) = nothing(&model, &failed);
    assert_eq!(reason, NothingReason::NotASuccess);
    for words in ["UpgradeFailed with severity error", "UpgradeSucceeded", "promotion.reasons"] {
        assert!(message.contains(words), "{message}");
    }

    model.report("a", "1.0.1", 10);
    let (reason, message) = nothing(&model, &event("a", "1.0.0", 0));
    assert_eq!(reason, NothingReason::Stale);
    assert!(message.contains("1.0.1") && message.contains("nothing is to be done"), "{message}");
}

#[test]
fn an_event_that_waits_for_other_targets_names_them_and_what_starts_it() {
    let all = json!({"strategy": {"notification": {}}, "after": "all"});
    let model = Model::new(two_clusters(&all));
    let (reason, message) = nothing(&model, &event("a", "1.0.0", 0));
    assert_eq!(reason, NothingReason::WaitingForTargets);
    assert!(message.contains("b/dev") && message.contains("starts it"), "{message}");
}

#[test]
fn a_refusal_for_time_says_whose_clock_to_check() {
    let body = json!({
        "involvedObject": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "namespace": "dev", "name": "app"},
        "severity": "info", "timestamp": "2026-11-20T09:00:00Z", "message": "m",
        "reason": "UpgradeSucceeded", "reportingController": "helm-controller",
    });
    let body = body.to_string();
    for (now, clock) in [
        ("2026-11-20T10:00:00Z", "of the sending cluster"),
        ("2026-11-20T08:00:00Z", "of the sending cluster and of the sidecar"),
    ] {
        let refusal = admit(body.as_bytes(), now.parse().unwrap(), &Freshness::default());
        let message = refusal.unwrap_err().message();
        assert!(message.contains("NTP") && message.contains(clock), "{message}");
    }
}
