//! The built module itself: what it asks of its host, what it lets out, how large it is.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use lockgate_e2e::artifacts;
use lockgate_e2e::event::sign;
use support::{KEY, forged, module, ready, signed};

#[test]
fn the_module_has_at_most_250_kilobytes() {
    let size = std::fs::metadata(artifacts::filter().unwrap()).unwrap().len();
    assert!(size <= 250_000, "{size} bytes");
}

#[test]
fn nothing_of_a_key_or_a_body_leaves_the_worker() {
    let (proxy, mut vm) = ready();
    let secret_body = br#"{"token":"very-private-text"}"#;
    vm.send(&signed(secret_body)).unwrap();
    vm.send(&forged(secret_body)).unwrap();
    let (call, _) = support::question(&mut vm, &proxy);
    vm.fail(call.token, 14).unwrap();
    let signature = sign(KEY, secret_body);
    let shared = proxy.shared_data().into_iter().flat_map(|(key, value)| [key, value]);
    let logged = vm.log().iter().map(|(_, text)| text.clone().into_bytes());
    for text in shared.chain(logged).chain(proxy.metric_names().into_iter().map(String::into_bytes))
    {
        for secret in [KEY, b"very-private-text", &signature.as_bytes()[7..]] {
            assert!(
                !text.windows(secret.len()).any(|window| window == secret),
                "{}",
                String::from_utf8_lossy(&text)
            );
        }
    }
}

#[test]
fn every_statistic_is_there_from_the_start() {
    let (proxy, _) = ready();
    let names = proxy.metric_names();
    for outcome in [
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
    ] {
        assert!(names.contains(&format!("lockgate_edge_{outcome}_total")), "{outcome}: {names:?}");
    }
    assert_eq!(proxy.metric("lockgate_edge_endpoints"), Some(1));
    assert_eq!(proxy.metric("lockgate_edge_sync_version"), Some(1));
    assert_eq!(proxy.metric("lockgate_edge_sync_failed_total"), Some(0));
    assert!(names.contains(&"lockgate_edge_sync_age_seconds".to_owned()), "{names:?}");
    assert!(
        names.iter().all(|name| name.starts_with("lockgate_edge_")),
        "the bootstrap keeps no other name: {names:?}"
    );
}

#[test]
fn the_module_imports_nothing_but_host_calls_of_the_proxy() {
    for import in module().imports() {
        let name = import
            .strip_prefix("env.proxy_")
            .unwrap_or_else(|| panic!("{import} is no host call of proxy-wasm"));
        assert!(HOST_CALLS.contains(&name), "{import} is not in version 0.2.1 of the interface");
    }
}

/// Calls that are not in this list trap in the test host, so the other tests show that it is long
/// enough.
#[test]
fn the_bootstrap_allows_every_host_call_of_the_test_host_and_no_other() {
    let allowed: Vec<String> =
        allowed_capabilities().into_iter().filter(|name| !name.starts_with("proxy_on_")).collect();
    let mut sorted = allowed.clone();
    sorted.sort();
    assert_eq!(sorted, module().provided().unwrap());
}

#[test]
fn the_bootstrap_allows_every_callback_that_a_request_needs() {
    let allowed = allowed_capabilities();
    let needed = [
        "context_create",
        "vm_start",
        "configure",
        "tick",
        "request_headers",
        "request_body",
        "request_trailers",
        "grpc_receive",
        "grpc_close",
        "done",
        "delete",
    ];
    let exports = module().exports();
    assert!(
        allowed.contains(&"proxy_on_memory_allocate".to_owned())
            && exports.contains(&"malloc".to_owned())
    );
    for name in needed.map(|name| format!("proxy_on_{name}")) {
        assert!(
            allowed.contains(&name),
            "{name} is not in envoy/envoy.yaml: Envoy would skip it in silence"
        );
        assert!(exports.contains(&name), "the module does not export {name}");
    }
}

/// The list of `envoy/envoy.yaml`.
fn allowed_capabilities() -> Vec<String> {
    let text = std::fs::read_to_string(lockgate_e2e::envoy::Bootstrap::template()).unwrap();
    let list = text.split("allowed_capabilities:").nth(1).expect("a capability list");
    list.lines()
        .skip(1)
        .map_while(|line| line.trim().strip_suffix(": {}"))
        .map(str::to_owned)
        .collect()
}

/// Without the `proxy_` that all of them begin with.
const HOST_CALLS: &[&str] = &[
    "add_header_map_value",
    "call_foreign_function",
    "close_stream",
    "continue_stream",
    "define_metric",
    "dequeue_shared_queue",
    "done",
    "enqueue_shared_queue",
    "get_buffer_bytes",
    "get_current_time_nanoseconds",
    "get_header_map_pairs",
    "get_header_map_value",
    "get_log_level",
    "get_metric",
    "get_property",
    "get_shared_data",
    "get_status",
    "grpc_call",
    "grpc_cancel",
    "grpc_close",
    "grpc_send",
    "grpc_stream",
    "http_call",
    "increment_metric",
    "log",
    "record_metric",
    "register_shared_queue",
    "remove_header_map_value",
    "replace_header_map_value",
    "resolve_shared_queue",
    "send_local_response",
    "set_buffer_bytes",
    "set_effective_context",
    "set_header_map_pairs",
    "set_property",
    "set_shared_data",
    "set_tick_period_milliseconds",
];
