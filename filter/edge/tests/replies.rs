//! What the edge answers, counts and is told, apart from any request.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test code")]

use core::time::Duration;

use lockgate_edge::reply::Reply;
use lockgate_edge::{ConfigError, Outcome, PluginConfig};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn the_plugin_is_told_a_cluster_and_nothing_else() {
    assert_eq!(
        PluginConfig::parse(br#"{"cluster": "lockgate-gate"}"#).unwrap().cluster(),
        "lockgate-gate"
    );
    for bad in [
        "",
        "envoy",
        "mesh1",
        "Lockgate",
        "lockgate gate",
        "lockgate\n",
        "xlockgate",
        &"lockgate".repeat(20),
    ] {
        let text = serde_json::to_vec(&serde_json::json!({"cluster": bad})).unwrap();
        assert_eq!(PluginConfig::parse(&text), Err(ConfigError::Cluster { name: bad.to_string() }));
    }
    for bad in [
        b"".as_slice(),
        b"{}",
        b"[]",
        b"\xff",
        b"{\"cluster\": 1}",
        b"{\"cluster\": \"lockgate\", \"key\": \"x\"}",
    ] {
        assert!(matches!(PluginConfig::parse(bad), Err(ConfigError::Shape { .. })), "{bad:?}");
    }
}

#[test]
fn constant_replies_are_problem_documents() {
    let replies = [
        Reply::unauthorized(),
        Reply::not_found(),
        Reply::method_not_allowed(),
        Reply::too_large(65_536),
        Reply::unsupported_type(),
        Reply::limited(Duration::from_millis(1)),
        Reply::unavailable(),
        Reply::bad_request("NoTimestamp", "timestamp is missing: \"quoted\"", None),
        Reply::unprocessable("NoRevision", "event has no revision", None),
        Reply::failed("BranchModified", "look at the promotion"),
    ];
    for reply in replies {
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(body["status"], reply.status);
        assert_eq!(body["type"], "about:blank");
        assert!(
            body["title"].is_string() && body["reason"].is_string() && body["detail"].is_string(),
            "{body}"
        );
        assert_eq!(reply.content_type, "application/problem+json");
        assert_eq!(reply.retry_after.is_some(), matches!(reply.status, 429 | 503));
        assert!(reply.status != 204 && !(300..400).contains(&reply.status));
    }
    assert_eq!(Reply::limited(Duration::ZERO).retry_after, Some(1));
    assert_eq!(Reply::limited(Duration::from_millis(1500)).retry_after, Some(2));
    assert_eq!(Reply::limited(Duration::from_secs(3)).retry_after, Some(3));
    assert_eq!(
        headers(&Reply::unavailable()),
        ["content-type: application/problem+json", "retry-after: 2"]
    );
    assert_eq!(
        headers(&Reply::method_not_allowed()),
        ["content-type: application/problem+json", "allow: POST"]
    );
}

#[test]
fn metric_names_are_those_of_the_contract() {
    let names: Vec<_> = Outcome::ALL.iter().map(|outcome| outcome.metric()).collect();
    let outcomes = [
        "forwarded",
        "method",
        "path",
        "length",
        "type",
        "signature",
        "unknown",
        "preauth_limited",
        "limited",
        "unavailable",
    ];
    assert_eq!(names, outcomes.map(|outcome| format!("lockgate_edge_{outcome}_total")));
}

fn headers(reply: &Reply) -> Vec<String> {
    reply.headers().map(|(name, value)| format!("{name}: {value}")).collect()
}
