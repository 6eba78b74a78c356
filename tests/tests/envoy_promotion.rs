//! Real Envoy, the built filter, the real sidecar and real git: what an authentic event leads to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lockgate_e2e::{App, Lease, Options, Shared, Stack, Strategy};

static STACK: Shared = Shared::new();

fn stack() -> Lease {
    STACK.lease(|| Stack::start(&Options::shared(8, Strategy::GitBranch))).unwrap()
}

fn promotion_branch(app: &App, environment: &str) -> String {
    format!("promotion-{}-{}-{environment}", app.namespace, app.name)
}

#[test]
fn a_signed_event_becomes_a_commit() {
    let stack = stack();
    let app = stack.app().unwrap();
    let request = app.request("dev", &app.upgraded("dev", "1.2.0")).unwrap();
    let answer = stack.edge.send(&request).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    let promotion = answer.json().unwrap()["promotion"].clone();
    assert_eq!(
        (&promotion["from"], &promotion["to"], &promotion["revision"]),
        (&"dev".into(), &"staging".into(), &"1.2.0".into())
    );
    let id = promotion["id"].as_str().unwrap();
    stack.sidecar.wait_for_state(id, "Done", Duration::from_secs(10)).unwrap();

    let branch = promotion_branch(app, "staging");
    assert_eq!(stack.repository.commits_ahead(&branch).unwrap(), 1);
    let diff = stack.repository.diff(&branch).unwrap();
    let changed: Vec<&str> = diff
        .lines()
        .filter(|line| {
            line.starts_with(['+', '-']) && !line.starts_with("+++") && !line.starts_with("---")
        })
        .collect();
    let line = |version: &str| {
        format!("      version: {version} # {{\"$promotion\": \"team-a:{}:staging\"}}", app.name)
    };
    assert_eq!(changed, [format!("-{}", line("1.0.0")), format!("+{}", line("1.2.0"))]);

    // Flux sends the same bytes again when it missed the answer.
    let again = stack.edge.send_h2(&request).unwrap();
    assert_eq!((again.status, again.json().unwrap()["promotion"]["id"].as_str()), (202, Some(id)));
    assert_eq!(stack.repository.commits_ahead(&branch).unwrap(), 1);
    assert_eq!(stack.sidecar.promotions(&app.namespace, &app.name).unwrap().len(), 1);
}

#[test]
fn a_signed_event_over_http2_becomes_a_commit() {
    let stack = stack();
    let app = stack.app().unwrap();
    let answer = stack
        .edge
        .send_h2(&app.request("staging", &app.upgraded("staging", "2.0.0")).unwrap())
        .unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
    let id = answer.json().unwrap()["promotion"]["id"].as_str().unwrap().to_owned();
    stack.sidecar.wait_for_state(&id, "Done", Duration::from_secs(10)).unwrap();
    assert_eq!(stack.repository.commits_ahead(&promotion_branch(app, "prod")).unwrap(), 1);
}

#[test]
fn an_event_that_is_no_success_promotes_nothing() {
    let stack = stack();
    let app = stack.app().unwrap();
    for (reason, severity) in [
        ("UpgradeFailed", "error"),
        ("UpgradeSucceeded", "error"),
        ("RollbackSucceeded", "info"),
        ("Progressing", "info"),
    ] {
        let event = app.upgraded("dev", "1.2.0").because(reason, severity);
        let answer = stack.edge.send(&app.request("dev", &event).unwrap()).unwrap();
        assert_eq!(answer.status, 202, "{reason} {severity}: {}", answer.text());
        assert!(
            answer.json().unwrap()["promotion"].is_null(),
            "{reason} {severity}: {}",
            answer.text()
        );
    }
    assert!(stack.sidecar.promotions(&app.namespace, &app.name).unwrap().is_empty());
    assert_eq!(stack.repository.tip(&promotion_branch(app, "staging")).unwrap(), None);
}

#[test]
fn what_is_authentic_but_wrong_is_told_so() {
    let stack = stack();
    let app = stack.app().unwrap();
    let fresh = app.upgraded("dev", "1.2.0");
    let now = Timestamp::now();
    let not_json = app.signed("dev", b"not an event");
    let old = app.request("dev", &fresh.clone().at(now - SignedDuration::from_mins(30))).unwrap();
    let future =
        app.request("dev", &fresh.clone().at(now + SignedDuration::from_mins(30))).unwrap();
    let other_object =
        app.request("dev", &fresh.clone().about(&app.target("dev"), "another")).unwrap();
    let other_target = app.request("dev", &fresh.clone().about("elsewhere", &app.name)).unwrap();
    let last = app.request("prod", &app.upgraded("prod", "1.2.0")).unwrap();
    for (what, request, status) in [
        ("not JSON", not_json, 400),
        ("too old", old, 401),
        ("from the future", future, 401),
        ("another application", other_object, 422),
        ("another target", other_target, 422),
        ("the last environment", last, 422),
    ] {
        let answer = stack.edge.send(&request).unwrap();
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{what}");
    }
    assert!(stack.sidecar.promotions(&app.namespace, &app.name).unwrap().is_empty());
}
