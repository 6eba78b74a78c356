//! The built filter in the test host: how a worker gets, changes and keeps its endpoints.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use std::time::Duration;

use lockgate_api::v1::{EdgeSettings, SyncResponse};
use lockgate_e2e::host::{Proxy, Vm};
use prost::Message;
use support::{
    ENDPOINT, KEY, OLD_KEY, TODAY, body, delivered, delta, endpoint, event, forged, full, module,
    question, ready, replied, settings, signed, signed_with, status, sync, vm_with,
};

#[test]
fn a_new_worker_asks_for_everything() {
    let proxy = Proxy::at(TODAY);
    let mut vm = Vm::start(module(), &proxy).unwrap();
    let (call, request) = question(&mut vm, &proxy);
    assert_eq!((request.version, request.cursor.as_str()), (0, ""));
    assert!(call.timeout > Duration::from_secs(20), "a long poll of 20 s fits: {:?}", call.timeout);
    assert!(
        vm.tick_period().is_some_and(|period| period <= Duration::from_secs(1)),
        "{:?}",
        vm.tick_period()
    );
    assert_eq!(vm.calls().len(), 1, "one question at a time");
}

#[test]
fn a_worker_that_is_up_to_date_asks_for_what_comes_next() {
    let (proxy, mut vm) = ready();
    let (_, request) = question(&mut vm, &proxy);
    assert_eq!(request.version, 1);
}

#[test]
fn a_rotated_key_works_beside_the_old_one_until_that_is_removed() {
    let proxy = Proxy::at(TODAY);
    let mut vm = vm_with(&proxy, &full(1, vec![endpoint(ENDPOINT, &[OLD_KEY])]));
    delivered(vm.send(&signed_with(OLD_KEY, &body())).unwrap());
    assert_eq!(status(&mut vm, &signed(&body())), 401);
    sync(&mut vm, &proxy, &delta(1, 2, vec![endpoint(ENDPOINT, &[OLD_KEY, KEY])], &[]));
    let (_, by_old) = delivered(vm.send(&signed_with(OLD_KEY, &body())).unwrap());
    let (_, by_new) = delivered(vm.send(&signed(&body())).unwrap());
    assert_ne!(
        by_old.key_fingerprint, by_new.key_fingerprint,
        "the sidecar can tell which key is in use"
    );
    sync(&mut vm, &proxy, &delta(2, 3, vec![endpoint(ENDPOINT, &[KEY])], &[]));
    assert_eq!(status(&mut vm, &signed_with(OLD_KEY, &body())), 401);
    delivered(vm.send(&signed(&body())).unwrap());
    assert_eq!(proxy.metric("lockgate_edge_sync_version"), Some(3));
}

#[test]
fn a_request_is_judged_by_the_keys_of_its_headers() {
    let (proxy, mut vm) = ready();
    let request = signed(&body());
    let id = vm.open(&request, false).unwrap();
    sync(&mut vm, &proxy, &delta(1, 2, vec![endpoint(ENDPOINT, &[OLD_KEY])], &[]));
    vm.body(id, &request.bytes(), true).unwrap();
    delivered(vm.outcome(id).unwrap());
}

#[test]
fn a_removed_endpoint_says_come_back_for_five_seconds_and_does_not_exist_after_that() {
    let (proxy, mut vm) = ready();
    sync(&mut vm, &proxy, &delta(1, 2, Vec::new(), &[ENDPOINT]));
    for request in [signed(&body()), forged(&body()), signed(&body()).without("x-signature")] {
        let reply = replied(vm.send(&request).unwrap());
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("2")));
    }
    assert_eq!(proxy.metric("lockgate_edge_endpoints"), Some(0));
    proxy.advance(Duration::from_secs(5));
    assert_eq!(status(&mut vm, &signed(&body())), 401);
}

#[test]
fn while_the_sidecar_is_not_sure_nobody_is_sent_away_for_good() {
    let proxy = Proxy::at(TODAY);
    let known = full(1, vec![endpoint(ENDPOINT, &[KEY])]);
    let mut vm = vm_with(&proxy, &SyncResponse { complete: false, ..known.clone() });
    let unknown = signed(&body()).at("/promotion/team-a/other/dev");
    for request in [forged(&body()), unknown.clone(), signed(&body()).without("x-signature")] {
        assert_eq!(status(&mut vm, &request), 503);
    }
    delivered(vm.send(&signed(&body())).unwrap());
    let unreadable = vec!["team-a/other".to_owned()];
    sync(&mut vm, &proxy, &SyncResponse { version: 2, unreadable, ..known.clone() });
    assert_eq!((status(&mut vm, &forged(&body())), status(&mut vm, &unknown)), (401, 503));
    sync(&mut vm, &proxy, &SyncResponse { version: 3, ..known });
    assert_eq!(status(&mut vm, &unknown), 401);
}

#[test]
fn refused_signatures_are_told_with_the_next_question() {
    let (proxy, mut vm) = ready();
    let (call, _) = question(&mut vm, &proxy);
    for _ in 0..3 {
        status(&mut vm, &forged(&body()));
        status(&mut vm, &signed(&body()).at("/promotion/team-a/other/dev"));
    }
    vm.fail(call.token, 14).unwrap();
    let (_, request) = question(&mut vm, &proxy);
    let refused: Vec<_> =
        request.refused.iter().map(|refused| (refused.endpoint.as_str(), refused.count)).collect();
    assert_eq!(refused, [(ENDPOINT, 3)]);
}

#[test]
fn an_endpoint_without_keys_exists_only_where_unsigned_events_are_allowed() {
    let proxy = Proxy::at(TODAY);
    let mut response = full(1, vec![endpoint(ENDPOINT, &[]), endpoint("team-a/other/dev", &[])]);
    let mut vm = vm_with(&proxy, &response);
    let unsigned = signed(&body()).without("x-signature");
    assert_eq!(status(&mut vm, &unsigned), 401);
    response.settings =
        Some(EdgeSettings { allow_unsigned: vec!["team-a/podinfo".to_owned()], ..settings() });
    response.version = 2;
    sync(&mut vm, &proxy, &response);
    let (_, delivery) = delivered(vm.send(&unsigned).unwrap());
    assert!(delivery.signature.is_empty() && delivery.key_fingerprint.is_empty());
    assert_eq!(status(&mut vm, &unsigned.at("/promotion/team-a/other/dev")), 401);
}

#[test]
fn a_table_in_pages_counts_from_its_last_page() {
    let proxy = Proxy::at(TODAY);
    let page = |version, names: &[&str], cursor: &str| SyncResponse {
        more: !cursor.is_empty(),
        cursor: cursor.to_owned(),
        ..full(version, names.iter().map(|name| endpoint(name, &[KEY])).collect())
    };
    let mut vm = Vm::start(module(), &proxy).unwrap();
    sync(&mut vm, &proxy, &page(1, &[ENDPOINT], "next"));
    assert_eq!(status(&mut vm, &signed(&body())), 503, "half a table is no table");
    let asked = sync(&mut vm, &proxy, &page(1, &["team-a/podinfo/staging"], ""));
    assert_eq!(asked.cursor, "next");
    delivered(vm.send(&signed(&body())).unwrap());
    assert_eq!(proxy.metric("lockgate_edge_endpoints"), Some(2));

    // While a new table comes in, the old one counts.
    sync(&mut vm, &proxy, &page(2, &["team-a/podinfo/prod"], "more"));
    delivered(vm.send(&signed(&body())).unwrap());
    sync(&mut vm, &proxy, &page(2, &["team-a/podinfo/qa"], ""));
    assert_eq!(status(&mut vm, &signed(&body())), 503);
    proxy.advance(Duration::from_secs(5));
    assert_eq!(status(&mut vm, &signed(&body())), 401);
}

#[test]
fn the_last_good_set_is_kept_while_the_sidecar_is_away() {
    let (proxy, mut vm) = ready();
    for code in [14, 13, 4, 10, 14, 14, 14, 14] {
        let (call, _) = question(&mut vm, &proxy);
        vm.fail(call.token, code).unwrap();
        assert!(vm.calls_of("Sync").is_empty(), "asking again in the callback would spin");
        proxy.advance(Duration::from_secs(5));
        delivered(vm.send(&signed(&event(vm.now()))).unwrap());
    }
    let age = age_after_a_second(&mut [vm], &proxy);
    assert!(age >= 40, "{age} seconds");
    assert_eq!(proxy.metric("lockgate_edge_sync_failed_total"), Some(8));
}

/// The age that is shown after a second of ticks of these workers.
fn age_after_a_second(vms: &mut [Vm], proxy: &Proxy) -> i64 {
    for _ in 0..5 {
        proxy.advance(Duration::from_millis(200));
        vms.iter_mut().for_each(|vm| vm.tick().unwrap());
    }
    proxy.metric("lockgate_edge_sync_age_seconds").unwrap()
}

#[test]
fn a_stuck_worker_shows_while_the_others_are_well() {
    let proxy = Proxy::at(TODAY);
    let table = full(1, vec![endpoint(ENDPOINT, &[KEY])]);
    let mut stuck = vm_with(&proxy, &table);
    let mut well = [vm_with(&proxy, &table), vm_with(&proxy, &table)];
    stuck.tick().unwrap();
    assert!(age_after_a_second(&mut well, &proxy) <= 2);
    for _ in 0..3 {
        proxy.advance(Duration::from_secs(20));
        for vm in &mut well {
            sync(vm, &proxy, &delta(1, 1, Vec::new(), &[]));
        }
    }
    let age = age_after_a_second(&mut well, &proxy);
    assert!((60..=66).contains(&age), "{age} seconds");
    // Its worker gets a new VM, and that one its place.
    drop(stuck);
    let mut reloaded = [vm_with(&proxy, &table)];
    let age = age_after_a_second(&mut reloaded, &proxy);
    assert!(age <= 3, "{age} seconds");
}

#[test]
fn the_age_of_a_worker_that_never_heard_anything_grows_from_its_start() {
    let proxy = Proxy::at(TODAY);
    for configuration in [r#"{"cluster": "lockgate-gate"}"#, r#"{"cluster": "wrong"}"#] {
        let proxy = Proxy::at(TODAY);
        let mut vms = [Vm::start_with(module(), &proxy, configuration).unwrap()];
        proxy.advance(Duration::from_secs(90));
        let age = age_after_a_second(&mut vms, &proxy);
        assert!((90..=92).contains(&age), "{age} seconds with {configuration}");
    }
    assert_eq!(proxy.metric("lockgate_edge_sync_age_seconds"), None, "nor before any VM");
}

#[test]
fn whole_tables_again_and_again_make_a_worker_pause() {
    let proxy = Proxy::at(TODAY);
    let mut vm = Vm::start(module(), &proxy).unwrap();
    let mut tables = 0;
    while proxy.now() < Duration::from_secs(TODAY + 30) {
        tables += 1;
        sync(&mut vm, &proxy, &full(tables, vec![endpoint(ENDPOINT, &[KEY])]));
    }
    assert!((20..=100).contains(&tables), "{tables} whole tables in 30 seconds");
}

#[test]
fn another_whole_table_replaces_the_old_one() {
    let (proxy, mut vm) = ready();
    sync(&mut vm, &proxy, &full(7, vec![endpoint(ENDPOINT, &[OLD_KEY])]));
    assert_eq!(status(&mut vm, &signed(&body())), 401);
    delivered(vm.send(&signed_with(OLD_KEY, &body())).unwrap());
    let (_, next) = question(&mut vm, &proxy);
    assert_eq!(next.version, 7);
}

#[test]
fn an_answer_that_makes_no_sense_changes_nothing() {
    let (proxy, mut vm) = ready();
    let wrong_name = full(2, vec![endpoint("not an endpoint", &[KEY])]);
    let weak_key = full(2, vec![endpoint(ENDPOINT, &[b"short"])]);
    let no_change = SyncResponse { change: None, ..full(2, Vec::new()) };
    let no_settings = SyncResponse { settings: None, ..full(2, Vec::new()) };
    let many_keys = full(2, vec![endpoint(ENDPOINT, &[KEY; 9])]);
    let long_key = full(2, vec![endpoint(ENDPOINT, &[&[7; 4097]])]);
    let messages = [wrong_name, weak_key, no_change, no_settings, many_keys, long_key]
        .map(|response| response.encode_to_vec());
    for message in messages.into_iter().chain([b"\xff\xff\xff\xff".to_vec(), Vec::new()]) {
        let (call, _) = question(&mut vm, &proxy);
        vm.answer(call.token, &message).unwrap();
        delivered(vm.send(&signed(&event(vm.now()))).unwrap());
        proxy.advance(Duration::from_secs(4));
    }
}

#[test]
fn a_delta_to_another_version_leads_to_a_whole_table() {
    let (proxy, mut vm) = ready();
    sync(&mut vm, &proxy, &delta(7, 8, vec![endpoint(ENDPOINT, &[OLD_KEY])], &[]));
    delivered(vm.send(&signed(&body())).unwrap());
    let (_, request) = question(&mut vm, &proxy);
    assert_eq!(request.version, 0, "asks as if it knew nothing: {request:?}");
}

#[test]
fn a_clock_that_steps_back_does_not_stop_the_questions() {
    let (proxy, mut vm) = ready();
    let (call, _) = question(&mut vm, &proxy);
    proxy.turn_back(Duration::from_secs(86_400));
    vm.fail(call.token, 14).unwrap();
    proxy.turn_back(Duration::from_secs(86_400));
    question(&mut vm, &proxy);
}

#[test]
fn a_wrong_plugin_configuration_denies_everything_and_calls_nobody() {
    for configuration in [
        "",
        "{}",
        "not json",
        r#"{"cluster": ""}"#,
        r#"{"cluster": "envoy"}"#,
        r#"{"cluster": "lockgate-gate", "key": "x"}"#,
    ] {
        let proxy = Proxy::at(TODAY);
        let mut vm = Vm::start_with(module(), &proxy, configuration).unwrap();
        proxy.advance(Duration::from_secs(5));
        vm.tick().unwrap();
        assert!(vm.calls().is_empty(), "{configuration}");
        assert_eq!(status(&mut vm, &signed(&body())), 503, "{configuration}");
        assert!(
            vm.log()
                .iter()
                .any(|(_, text)| text.contains("configuration") || text.contains("cluster")),
            "{:?}",
            vm.log()
        );
    }
}

#[test]
fn ten_thousand_endpoints_fit_into_five_megabytes() {
    let proxy = Proxy::at(TODAY);
    let names: Vec<String> = (0..10_000)
        .map(|number| format!("team-{:03}/application-{number:05}/dev", number % 100))
        .collect();
    let mut sorted = names.clone();
    sorted.sort();
    let pages: Vec<&[String]> = sorted.chunks(500).collect();
    let mut vm = Vm::start(module(), &proxy).unwrap();
    for (place, names) in pages.iter().enumerate() {
        let last = place + 1 == pages.len();
        let endpoints = names.iter().map(|name| endpoint(name, &[KEY])).collect();
        let cursor = if last { String::new() } else { place.to_string() };
        sync(&mut vm, &proxy, &SyncResponse { more: !last, cursor, ..full(1, endpoints) });
    }
    assert_eq!(proxy.metric("lockgate_edge_endpoints"), Some(10_000));
    delivered(vm.send(&signed(&body()).at(&format!("/promotion/{}", names[7777]))).unwrap());
    let size = vm.memory_size();
    assert!(size <= 5 << 20, "{size} bytes");
}
