//! Events as notification-controller sends them, byte for byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

use lockgate_core::decide::{Refusal, admit};
use lockgate_core::event::{Event, EventError, EventProblem, Severity};
use lockgate_core::pipeline::Reasons;
use lockgate_core::revision::RevisionError;
use lockgate_edge::Freshness;

const UPGRADED: &str = include_str!("../../../filter/edge/tests/fixtures/events/upgraded.json");
const INSTALLED: &str =
    include_str!("../../../filter/edge/tests/fixtures/events/installed-prefixed-keys.json");
const RECONCILED: &str =
    include_str!("../../../filter/edge/tests/fixtures/events/kustomization-reconciled.json");
const ROLLED_BACK: &str =
    include_str!("../../../filter/edge/tests/fixtures/events/rolled-back.json");
const PROGRESSING: &str =
    include_str!("../../../filter/edge/tests/fixtures/events/kustomization-progressing.json");

fn event(text: &str) -> Event {
    Event::parse(text.as_bytes()).unwrap()
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn revision_version_and_success_of_every_example() {
    for (text, success, revision, version) in [
        (UPGRADED, true, "6.5.4+0cc9a8446c95", "6.5.4"),
        (INSTALLED, true, "6.7.0", "6.7.0"),
        (
            RECONCILED,
            true,
            "v1.4.2@sha256:3b6f2cf0a5f6f5f0f2c0d7f59e0a1f4a6bb1b3c9b0f3a1f5d8a7c6e5f4d3c2b1",
            "v1.4.2",
        ),
        (ROLLED_BACK, false, "6.5.4+0cc9a8446c95", "6.5.4"),
        (
            PROGRESSING,
            false,
            "main@sha1:7d1b2c3f4e5a69788796a5b4c3d2e1f001122334",
            "7d1b2c3f4e5a69788796a5b4c3d2e1f001122334",
        ),
    ] {
        let event = event(text);
        assert_eq!(event.succeeded(&Reasons::default()), success, "{text}");
        let (got_revision, got_version) = event.revision().unwrap();
        assert_eq!((got_revision.as_str(), got_version.as_str()), (revision, version));
    }
    assert_eq!(event(UPGRADED).cluster(), Some("eu-staging-1"));
    assert_eq!(event(PROGRESSING).cluster(), None);
    assert_eq!(event(UPGRADED).involved_object.group(), "helm.toolkit.fluxcd.io");
    assert_eq!(
        event(PROGRESSING).message,
        "Deployment/apps/web configured\nService/apps/web created <new & changed>"
    );
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_prefixed_and_a_plain_revision_must_agree() {
    let with = |plain: &str| {
        INSTALLED.replace("\"cluster\":", &format!("\"revision\":\"{plain}\",\"cluster\":"))
    };
    assert!(event(&with("6.7.0")).revision().is_ok());
    let different = event(&with("6.7.1")).revision().unwrap_err();
    assert_eq!(different, RevisionError::Different { group: "helm.toolkit.fluxcd.io".to_owned() });
    // The prefix is the object's own group, not any group.
    let other = INSTALLED
        .replace("helm.toolkit.fluxcd.io/revision", "kustomize.toolkit.fluxcd.io/revision");
    assert_eq!(event(&other).revision(), Err(RevisionError::Missing));
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_missing_revision_has_the_originals_text() {
    for without in [
        UPGRADED.replace("\"revision\"", "\"other\""),
        UPGRADED.replace("\"revision\":\"6.5.4+0cc9a8446c95\"", "\"revision\":\"\""),
    ] {
        let error = event(&without).revision().unwrap_err();
        assert_eq!(error.to_string(), "event has no 'revision' in the metadata field.");
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn only_severity_info_with_a_listed_reason_is_a_success() {
    let reasons = Reasons::default();
    let upgraded = event(UPGRADED);
    for severity in [Severity::Error, Severity::Trace, Severity::Other] {
        assert!(!Event { severity, ..upgraded.clone() }.succeeded(&reasons));
    }
    for reason in [
        "UpgradeFailed",
        "RollbackSucceeded",
        "UninstallSucceeded",
        "DriftCorrected",
        "DependencyNotReady",
        "upgradesucceeded",
        "",
    ] {
        assert!(
            !Event { reason: reason.to_owned(), ..upgraded.clone() }.succeeded(&reasons),
            "{reason}"
        );
    }
    let tests_only = Reasons::new(["TestSucceeded"]);
    assert!(!upgraded.succeeded(&tests_only));
    assert!(Event { reason: "TestSucceeded".to_owned(), ..upgraded }.succeeded(&tests_only));
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn an_old_helm_controllers_message_stands_for_its_reason() {
    let old = |message: &str| Event {
        reason: "info".to_owned(),
        message: message.to_owned(),
        ..event(UPGRADED)
    };
    for message in [
        "Helm install succeeded",
        "Helm upgrade succeeded, revision 2",
        "Release reconciliation succeeded",
    ] {
        assert!(old(message).succeeded(&Reasons::default()), "{message}");
    }
    for message in [
        "Helm upgrade has started",
        "Helm upgrade failed: Helm upgrade succeeded",
        "Dependencies do not meet ready condition",
        "",
    ] {
        assert!(!old(message).succeeded(&Reasons::default()), "{message}");
    }
    assert!(!old("Helm upgrade succeeded").succeeded(&Reasons::new(["TestSucceeded"])));
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_body_that_is_not_an_event_is_told_what_is_missing() {
    assert!(matches!(Event::parse(b""), Err(EventError::NotJson { .. })));
    assert!(matches!(Event::parse(b"{\"a\":"), Err(EventError::NotJson { line: 1, .. })));
    assert!(matches!(Event::parse(b"\xff"), Err(EventError::NotJson { .. })));
    for body in ["null", "[]", "7", "\"text\""] {
        assert_eq!(Event::parse(body.as_bytes()), Err(EventError::NotAnObject), "{body}");
    }
    let error =
        Event::parse(b"{\"involvedObject\":{\"kind\":\"\"},\"timestamp\":\"yesterday\",\"reason\":7,\"metadata\":{\"a\":1}}")
            .unwrap_err();
    assert_eq!(
        error.to_string(),
        "body is not a Flux event: involvedObject.kind is missing, involvedObject.name is missing, involvedObject.namespace is missing, \
         involvedObject.apiVersion is missing, severity is missing, timestamp is not an RFC 3339 time, reason is not a string, \
         metadata has a value that is not a string"
    );
    let no_object =
        Event::parse(b"{\"involvedObject\":[],\"severity\":\"info\",\"reason\":\"r\",\"timestamp\":\"2026-01-01T00:00:00Z\"}");
    assert_eq!(
        no_object,
        Err(EventError::Fields(vec![EventProblem::NotAnObject("involvedObject")]))
    );
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn deep_nesting_is_an_error_and_not_a_crash() {
    let body = format!("{}{}", "[".repeat(60_000), "]".repeat(5_000));
    assert!(matches!(Event::parse(body.as_bytes()), Err(EventError::NotJson { .. })));
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn an_event_may_be_ten_minutes_old_and_two_minutes_ahead() {
    let freshness = Freshness::default();
    let at = |now: &str| admit(UPGRADED.as_bytes(), now.parse().unwrap(), &freshness);
    assert!(at("2026-11-20T09:14:07Z").is_ok());
    assert!(at("2026-11-20T09:24:07Z").is_ok());
    assert!(matches!(at("2026-11-20T09:24:07.001Z"), Err(Refusal::TooOld { .. })));
    assert!(at("2026-11-20T09:12:07Z").is_ok());
    assert!(matches!(at("2026-11-20T09:12:06.999Z"), Err(Refusal::FromTheFuture { .. })));
    assert_eq!(at("2027-01-01T00:00:00Z").unwrap_err().status(), 401);
    assert_eq!(
        admit(b"{}", "2026-11-20T09:14:07Z".parse().unwrap(), &freshness).unwrap_err().status(),
        400
    );
    // Go's zero time.
    let zero = UPGRADED.replace("2026-11-20T09:14:07Z", "0001-01-01T00:00:00Z");
    assert!(matches!(
        admit(zero.as_bytes(), "2026-11-20T09:14:07Z".parse().unwrap(), &freshness),
        Err(Refusal::TooOld { .. })
    ));
}

#[cfg(not(target_arch = "wasm32"))]
proptest::proptest! {
    #[test]
    fn no_body_makes_the_parser_panic(body in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let _checked = Event::parse(&body).is_ok();
    }

    #[test]
    fn a_damaged_event_never_panics(position in 0_usize..654, byte in proptest::num::u8::ANY) {
        let mut body = UPGRADED.as_bytes().to_vec();
        body[position] = byte;
        if let Ok(event) = Event::parse(&body) {
            let _revision = event.revision().is_ok();
        }
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn what_an_event_says_of_its_object_is_at_most_as_long_as_a_name() {
    let parse = |field: &str, length: usize| {
        let mut event = serde_json::json!({
            "involvedObject": {"kind": "K", "namespace": "n", "name": "n", "apiVersion": "v1", "uid": "u", "resourceVersion": "1"},
            "severity": "info", "timestamp": "2026-11-20T09:14:07Z", "reason": "UpgradeSucceeded",
        });
        event["involvedObject"][field] = "x".repeat(length).into();
        Event::parse(event.to_string().as_bytes())
    };
    for field in ["kind", "namespace", "name", "apiVersion", "uid", "resourceVersion"] {
        assert!(parse(field, 253).is_ok(), "{field}");
        let error = parse(field, 254).unwrap_err().to_string();
        let expected = format!("involvedObject.{field} is longer than 253 bytes");
        assert!(error.contains(&expected), "{error}");
    }
}
