//! The bootstrap that users copy: Envoy itself takes it, and it says what the README promises.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use std::process::Command;
use std::time::Duration;

use lockgate_e2e::artifacts;
use lockgate_e2e::certificates::Certificates;
use lockgate_e2e::envoy::{Bootstrap, Envoy};
use serde_json::Value;

fn bootstrap(folder: &std::path::Path) -> Bootstrap {
    let (edge, admin_port) = Envoy::addresses().unwrap();
    Bootstrap {
        edge,
        admin_port,
        certificates: Certificates::create(&folder.join("tls")).unwrap(),
        filter: artifacts::filter().unwrap(),
        gate_socket: folder.join("gate.sock"),
        wait: Duration::from_secs(5),
    }
}

fn parsed() -> Value {
    let folder = tempfile::tempdir().unwrap();
    serde_saphyr::from_str(&bootstrap(folder.path()).render().unwrap()).unwrap()
}

#[test]
fn envoy_accepts_the_bootstrap_without_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let file = bootstrap(folder.path()).write(folder.path()).unwrap();
    let output = Command::new(artifacts::envoy().unwrap())
        .args(["--mode", "validate", "--log-level", "warning", "-c"])
        .arg(&file)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && text.contains("OK"), "{text}");
    let complaints: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("[warning]") || line.contains("eprecated"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:#?}");
}

#[test]
fn nothing_but_the_filter_can_answer_a_promotion() {
    let bootstrap = parsed();
    let listeners = bootstrap["static_resources"]["listeners"].as_array().unwrap();
    assert_eq!(listeners.len(), 1);
    let manager = &listeners[0]["filter_chains"][0]["filters"][0]["typed_config"];
    let routes = manager["route_config"]["virtual_hosts"][0]["routes"].as_array().unwrap();
    for route in routes {
        assert!(
            route.get("route").is_none() && route.get("redirect").is_none(),
            "no route has a way to a backend: {route}"
        );
    }
    let enabled: Vec<&Value> = routes
        .iter()
        .filter(|route| route["typed_per_filter_config"]["lockgate-edge"].is_object())
        .collect();
    assert_eq!(enabled.len(), 1);
    assert_eq!(enabled[0]["match"], serde_json::json!({"prefix": "/promotion/"}));
    assert_eq!(enabled[0]["direct_response"]["status"], 503);
    let filter = &manager["http_filters"][0];
    assert_eq!((&filter["name"], &filter["disabled"]), (&"lockgate-edge".into(), &true.into()));
    let plugin = &filter["typed_config"]["config"];
    assert_eq!(plugin["allow_on_headers_stop_iteration"], true);
    assert_eq!(plugin["failure_policy"], "FAIL_RELOAD");
    assert_eq!(bootstrap["admin"]["address"]["socket_address"]["address"], "127.0.0.1");
}

#[test]
fn what_one_client_can_hold_has_a_bound() {
    let bootstrap = parsed();
    let listener = &bootstrap["static_resources"]["listeners"][0];
    let name = format!(
        "envoy.resource_limits.listener.{}.connection_limit",
        listener["name"].as_str().unwrap()
    );
    let of_listener = bootstrap["layered_runtime"]["layers"][0]["static_layer"][name].as_u64();
    let overload = &bootstrap["overload_manager"];
    let of_process =
        overload["resource_monitors"][0]["typed_config"]["max_active_downstream_connections"]
            .as_u64();
    assert!(of_listener.unwrap() < of_process.unwrap(), "room for other listeners");
    let actions: Vec<&str> = overload["actions"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|action| action["name"].as_str()?.strip_prefix("envoy.overload_actions."))
        .collect();
    for needed in ["reset_high_memory_stream", "stop_accepting_requests"] {
        assert!(actions.contains(&needed), "{actions:?}");
    }
    let manager = &listener["filter_chains"][0]["filters"][0]["typed_config"];
    assert_eq!(manager["common_http_protocol_options"]["idle_timeout"], "10s");
    assert_eq!(listener["filter_chains"][0]["transport_socket_connect_timeout"], "3s");
}
