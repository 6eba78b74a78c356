//! The built filter in the test host: limits over several workers, races for shared data, and a
//! clock that steps back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use lockgate_api::v1::{Charge, DeliverResponse, EdgeSettings, SyncResponse};
use lockgate_e2e::host::{Outcome, Proxy, Vm};
use prost::Message;
use support::{
    ENDPOINT, KEY, TODAY, admitted, body, delivered, endpoint, event, forged, full, limit, ready,
    replied, settings, signed, status, verdict, vm_with,
};

fn limited(requests: u32, interval: &str) -> SyncResponse {
    let mut endpoint = endpoint(ENDPOINT, &[KEY]);
    endpoint.rate_limit = Some(limit(requests, interval));
    full(1, vec![endpoint])
}

#[test]
fn the_default_limit_admits_twenty_and_then_one_every_second_and_a_half() {
    let (proxy, mut vm) = ready();
    assert_eq!(admitted(&mut vm, 30), 20);
    let reply = replied(vm.send(&signed(&body())).unwrap());
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("2")));
    assert_eq!(proxy.metric("lockgate_edge_limited_total"), Some(11));
    proxy.advance(Duration::from_millis(1500));
    assert_eq!(admitted(&mut vm, 5), 1);
    proxy.advance(Duration::from_secs(3600));
    assert_eq!(admitted(&mut vm, 30), 20, "a rest gives back the burst and no more");
}

#[test]
fn endpoints_have_limits_of_their_own() {
    let proxy = Proxy::at(TODAY);
    let mut own = endpoint(ENDPOINT, &[KEY]);
    own.rate_limit = Some(limit(3, "1h"));
    let mut vm = vm_with(&proxy, &full(1, vec![own, endpoint("team-a/podinfo/staging", &[KEY])]));
    assert_eq!(admitted(&mut vm, 10), 3);
    delivered(vm.send(&signed(&body()).at("/promotion/team-a/podinfo/staging")).unwrap());
}

#[test]
fn workers_share_one_limit() {
    let proxy = Proxy::at(TODAY);
    let mut vms: Vec<Vm> = (0..3).map(|_| vm_with(&proxy, &limited(25, "1h"))).collect();
    let through: usize = (0..20).map(|round| admitted(&mut vms[round % 3], 2)).sum();
    assert_eq!(through, 25);
}

#[test]
fn a_limit_is_exact_while_workers_race() {
    let proxy = Proxy::at(TODAY);
    for round in 0..5 {
        // Another endpoint each time would do as well; a rest gives the whole burst back.
        proxy.advance(Duration::from_secs(7200));
        let vms: Vec<Vm> = (0..4).map(|_| vm_with(&proxy, &limited(101, "1h"))).collect();
        let workers: Vec<_> =
            vms.into_iter().map(|mut vm| thread::spawn(move || admitted(&mut vm, 60))).collect();
        let through: usize = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert_eq!(through, 101, "round {round}, {} lost races", proxy.lost_races());
    }
}

#[test]
fn a_few_lost_races_change_nothing() {
    let proxy = Proxy::at(TODAY);
    let mut vm = vm_with(&proxy, &limited(5, "1h"));
    assert_eq!(admitted(&mut vm, 1), 1);
    proxy.lose_next_races(3);
    assert_eq!(admitted(&mut vm, 10), 4);
    assert_eq!(proxy.lost_races(), 3);
}

#[test]
fn endless_lost_races_end_in_a_refusal() {
    let proxy = Proxy::at(TODAY);
    let mut vm = vm_with(&proxy, &limited(5, "1h"));
    assert_eq!(admitted(&mut vm, 1), 1);
    proxy.lose_next_races(1_000_000);
    assert_eq!(admitted(&mut vm, 1), 0);
    proxy.lose_next_races(0);
    assert_eq!(admitted(&mut vm, 10), 4, "what was refused was not counted");
}

#[test]
fn a_clock_that_steps_back_neither_refills_nor_blocks() {
    for step in
        [Duration::from_secs(1), Duration::from_secs(3600), Duration::from_secs(86_400 * 365)]
    {
        let proxy = Proxy::at(TODAY);
        let mut vm = vm_with(&proxy, &limited(10, "10s"));
        assert_eq!(admitted(&mut vm, 20), 10);
        proxy.turn_back(step);
        assert_eq!(admitted(&mut vm, 20), 0, "no refill by a step of {step:?}");
        proxy.advance(Duration::from_secs(10));
        // One interval later the endpoint is usable again, not only after the length of the step.
        let through = admitted(&mut vm, 20);
        assert!((9..=10).contains(&through), "{through} of 10 after a step of {step:?}");
    }
}

#[test]
fn a_clock_that_steps_back_leaves_an_unused_limit_usable() {
    let proxy = Proxy::at(TODAY);
    let mut vm = vm_with(&proxy, &limited(10, "10s"));
    proxy.turn_back(Duration::from_secs(86_400));
    assert_eq!(admitted(&mut vm, 20), 10);
}

#[test]
fn a_worker_that_starts_anew_finds_the_limits_as_they_were() {
    let proxy = Proxy::at(TODAY);
    let mut vm = vm_with(&proxy, &limited(10, "1h"));
    assert_eq!(admitted(&mut vm, 8), 8);
    drop(vm);
    let mut vm = Vm::start(support::module(), &proxy).unwrap();
    assert_eq!(status(&mut vm, &signed(&body())), 503, "no keys are kept outside of a worker");
    support::sync(&mut vm, &proxy, &limited(10, "1h"));
    assert_eq!(admitted(&mut vm, 8), 2);
}

#[test]
fn broken_shared_data_does_not_kill_a_worker() {
    let (proxy, mut vm) = ready();
    assert_eq!(admitted(&mut vm, 1), 1);
    vm.send(&forged(&body())).unwrap();
    for broken in [b"".as_slice(), b"\xff", b"\xff\xff\xff\xff\xff\xff\xff\xff", &[7; 100]] {
        for (key, _) in proxy.shared_data() {
            proxy.overwrite(&key, broken);
        }
        vm.tick().unwrap();
        vm.send(&signed(&body())).unwrap();
        vm.send(&forged(&body())).unwrap();
        vm.send(&signed(&body()).without("x-signature")).unwrap();
    }
    proxy.advance(Duration::from_secs(60));
    assert!(admitted(&mut vm, 1) == 1, "a minute later everything is as new");
}

#[test]
fn unauthentic_requests_use_up_the_budget_of_their_source_only() {
    let (proxy, mut vm) = ready();
    let (loud, quiet) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2));
    let unsigned = signed(&body()).without("x-signature");
    for number in 0..120 {
        assert_eq!(status(&mut vm, &unsigned.clone().from(loud)), 401, "request {number}");
    }
    let reply = replied(vm.send(&unsigned.clone().from(loud)).unwrap());
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("1")));
    assert_eq!(status(&mut vm, &unsigned.clone().from(quiet)), 401);
    assert_eq!(proxy.metric("lockgate_edge_preauth_limited_total"), Some(1));
    proxy.advance(Duration::from_secs(10));
    assert_eq!(status(&mut vm, &unsigned.from(loud)), 401);
}

#[test]
fn a_signed_event_passes_when_the_budget_of_its_source_is_used_up() {
    let (_, mut vm) = ready();
    let unsigned = signed(&body()).without("x-signature");
    for _ in 0..500 {
        vm.send(&unsigned).unwrap();
        vm.send(&forged(&body())).unwrap();
    }
    assert_eq!(status(&mut vm, &unsigned), 429);
    assert_eq!(
        status(&mut vm, &forged(&body())),
        401,
        "small and signed: verified, whatever its source did"
    );
    delivered(vm.send(&signed(&body())).unwrap());
    // What costs more to verify has to wait until the source is quiet.
    let large = vec![b' '; 16 * 1024 + 1];
    assert_eq!(status(&mut vm, &signed(&large)), 429);
    assert_eq!(status(&mut vm, &signed(&body()).in_pieces(100, Duration::ZERO)), 429, "undeclared");
    delivered(vm.send(&signed(&large).from(Ipv4Addr::new(192, 0, 2, 9))).unwrap());
}

#[test]
fn authentic_requests_cost_no_pre_auth_budget() {
    let proxy = Proxy::at(TODAY);
    let mut response = full(1, vec![endpoint(ENDPOINT, &[KEY])]);
    response.settings = Some(EdgeSettings {
        rate_limit: Some(limit(1000, "1s")),
        pre_auth: Some(limit(1, "1h")),
        ..settings()
    });
    let mut vm = vm_with(&proxy, &response);
    assert_eq!(admitted(&mut vm, 200), 200);
    let unsigned = signed(&body()).without("x-signature");
    assert_eq!(status(&mut vm, &unsigned), 401, "the one request of the budget is still there");
    assert_eq!(status(&mut vm, &unsigned), 429);
}

#[test]
fn shared_data_does_not_grow_with_the_number_of_sources() {
    let (proxy, mut vm) = ready();
    for number in 0..20_000_u32 {
        let request = forged(b"{}").from(Ipv4Addr::from_bits(0x0a00_0000 + number));
        let outcome = vm.begin(&request).unwrap();
        assert!(matches!(vm.outcome(outcome).unwrap(), Outcome::Replied(_)));
        vm.close(outcome).unwrap();
    }
    let cells = proxy.shared_data().len();
    assert!(cells <= 4200, "{cells} cells");
}

/// Sends a request and lets the sidecar say whose limit it counts against.
fn charged(vm: &mut Vm, body: &[u8], charge: Charge) -> u32 {
    let id = vm.begin(&signed(body)).unwrap();
    if let Outcome::Calling(call) = vm.outcome(id).unwrap() {
        let response = DeliverResponse { charge: charge.into(), ..verdict(202, "{}") };
        vm.answer(call.token, &response.encode_to_vec()).unwrap();
    }
    let status = replied(vm.outcome(id).unwrap()).status;
    vm.close(id).unwrap();
    status
}

#[test]
fn replays_cost_their_source_and_nothing_of_the_endpoint() {
    let proxy = Proxy::at(TODAY);
    let mut vms: Vec<Vm> = (0..2).map(|_| vm_with(&proxy, &limited(5, "1h"))).collect();
    let old = event(Duration::from_secs(TODAY - 5 * 86_400));
    let fresh = event(Duration::from_secs(TODAY));
    assert_eq!(charged(&mut vms[0], &fresh, Charge::Endpoint), 202);
    let statuses: Vec<u32> = (0..400)
        .map(|number| {
            let body = if number % 4 < 2 { &old } else { &fresh };
            charged(&mut vms[number % 2], body, Charge::Source)
        })
        .collect();
    assert!(statuses.iter().all(|status| matches!(status, 202 | 429)), "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 202).count(), 120);
    // The address owes, and its genuine events pass, all that the endpoint allows.
    assert_eq!(admitted(&mut vms[0], 10), 4);
}

#[test]
fn a_stream_that_is_not_finished_costs_its_source() {
    let (proxy, mut vm) = ready();
    let almost = signed(&vec![b' '; 65_536]);
    for number in 0..120 {
        let id = vm.open(&almost, false).unwrap();
        assert_eq!(vm.outcome(id).unwrap(), Outcome::Stuck, "stream {number}");
        vm.body(id, &[b' '; 65_535], false).unwrap();
        vm.close(id).unwrap();
    }
    let id = vm.open(&almost, false).unwrap();
    assert_eq!(replied(vm.outcome(id).unwrap()).status, 429);
    assert_eq!(proxy.metric("lockgate_edge_preauth_limited_total"), Some(1));
}

#[test]
fn large_bodies_that_are_not_verified_are_bounded() {
    let (_, mut vm) = ready();
    let large = signed(&vec![b' '; 65_536]);
    let mut open = Vec::new();
    for number in 0..400_u32 {
        let source = Ipv4Addr::from_bits(0xc000_0200 + number % 8);
        let id = vm.open(&large.clone().from(source), false).unwrap();
        match vm.outcome(id).unwrap() {
            Outcome::Stuck => open.push(id),
            outcome => assert_eq!(replied(outcome).status, 503),
        }
    }
    assert_eq!(open.len(), 256, "16 MiB");
    delivered(vm.send(&signed(&body())).unwrap());
    for id in open {
        vm.close(id).unwrap();
    }
    let id = vm.open(&large.from(Ipv4Addr::new(198, 51, 100, 1)), false).unwrap();
    assert_eq!(vm.outcome(id).unwrap(), Outcome::Stuck, "there is room again");
}
