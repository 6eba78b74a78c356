//! Real Envoy with two workers: limits that are exact, and floods that starve nobody.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use lockgate_e2e::metrics::Metrics;
use lockgate_e2e::{App, AppSpec, Lease, Options, Request, Shared, Stack, Strategy};

static STACK: Shared = Shared::new();

/// The pre-auth limit as shipped, and applications with and without a small limit of their own.
fn stack() -> Lease {
    let start = || {
        let app = |name: &str| AppSpec::new(name, Strategy::Notification);
        let apps = vec![
            app("busy").limited(1_000_000, "1s"),
            app("exact").limited(50, "1h"),
            app("mixed").limited(30, "1h"),
            app("shipped"),
            app("replayed"),
        ];
        Stack::start(&Options { apps, ..Options::default() })
    };
    STACK.lease(start).unwrap()
}

fn app<'a>(stack: &'a Stack, name: &str) -> &'a App {
    stack.apps.iter().find(|app| app.name == name).unwrap()
}

/// Sends all requests at once, eight at a time, each on a connection of its own; how many were
/// answered 202 and 429.
fn race(stack: &Stack, requests: &[Request], http2: bool) -> (usize, usize) {
    let (next, admitted, limited) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(request) = requests.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let answer =
                        if http2 { stack.edge.send_h2(request) } else { stack.edge.send(request) }
                            .unwrap();
                    match answer.status {
                        202 => admitted.fetch_add(1, Ordering::SeqCst),
                        429 => limited.fetch_add(1, Ordering::SeqCst),
                        other => panic!("{other}: {}", answer.text()),
                    };
                }
            });
        }
    });
    (admitted.into_inner(), limited.into_inner())
}

#[test]
fn two_workers_share_an_exact_limit() {
    let stack = stack();
    let app = app(&stack, "exact");
    let requests: Vec<Request> =
        (0..200).map(|number| app.harmless("dev", number).unwrap()).collect();
    let (workers, before) = (["0", "1"], stack.envoy.metrics().unwrap());
    assert_eq!(race(&stack, &requests, false), (50, 150));
    let after = stack.envoy.metrics().unwrap();
    for worker in workers.map(|worker| format!("envoy_worker_id=\"{worker}\"")) {
        let connections =
            |metrics: &Metrics| metrics.with("envoy_listener_worker_downstream_cx_total", &worker);
        assert!(
            connections(&after) - connections(&before) > 20.0,
            "both workers took part: {worker}"
        );
    }
    let answer = stack.edge.send(&app.harmless("dev", 200).unwrap()).unwrap();
    let wait = answer.retry_after().unwrap();
    assert!((1..=72).contains(&wait), "one request in 72 seconds comes back, not {wait}");
    // Another endpoint of the same pipeline has its own.
    assert_eq!(stack.edge.send(&app.harmless("staging", 1).unwrap()).unwrap().status, 202);
}

#[test]
fn both_protocols_share_an_exact_limit() {
    let stack = stack();
    let app = app(&stack, "mixed");
    let requests: Vec<Request> =
        (0..60).map(|number| app.harmless("dev", number).unwrap()).collect();
    let (first, second) = requests.split_at(20);
    let (over_http1, _) = race(&stack, first, false);
    let (over_http2, _) = race(&stack, second, true);
    assert_eq!((over_http1, over_http2), (20, 10));
}

#[test]
fn the_shipped_limit_of_an_endpoint_is_twenty_at_once() {
    let stack = stack();
    let app = app(&stack, "shipped");
    let requests: Vec<Request> =
        (0..40).map(|number| app.harmless("dev", number).unwrap()).collect();
    let (admitted, limited) = race(&stack, &requests, false);
    // One more comes back every second and a half while the race runs.
    assert!(
        (20..=24).contains(&admitted) && admitted + limited == 40,
        "{admitted} admitted, {limited} limited"
    );
    let answer = stack.edge.send(&requests[39]).unwrap();
    if answer.status == 429 {
        let wait = answer.retry_after().unwrap();
        assert!(
            (1..=2).contains(&wait),
            "small enough for a sender that gives up after 15 s: {wait}"
        );
    }
}

#[test]
fn signed_events_pass_while_their_own_address_floods_the_edge() {
    let stack = stack();
    let app = app(&stack, "busy");
    let source = Ipv4Addr::new(127, 0, 0, 77);
    let template = app.harmless("dev", 0).unwrap().from(source);
    let unsigned = template.clone().without("x-signature");
    let forged = template.replace("x-signature", &format!("sha256={}", "0".repeat(64)));
    let large = unsigned.clone().body(&vec![b' '; 40_000]);
    let over = Arc::new(AtomicBool::new(false));
    let counts: Vec<Arc<[AtomicUsize; 2]>> = (0..3).map(|_| Arc::default()).collect();
    let edge = stack.edge.clone();
    let floods: Vec<_> = [unsigned, forged, large]
        .into_iter()
        .zip(counts.iter().cloned())
        .map(|(request, counts)| {
            let (edge, over) = (edge.clone(), Arc::clone(&over));
            thread::spawn(move || {
                let mut connection = edge.connect(source).unwrap();
                while !over.load(Ordering::SeqCst) {
                    match connection.send(&request) {
                        Ok(answer) => {
                            counts[usize::from(answer.status == 429)]
                                .fetch_add(1, Ordering::SeqCst);
                            assert!(matches!(answer.status, 401 | 429), "{}", answer.status);
                            if answer.closes() {
                                connection = edge.connect(source).unwrap();
                            }
                        }
                        Err(_) => connection = edge.connect(source).unwrap(),
                    }
                }
            })
        })
        .collect();
    // Let the flood use up its budget first.
    while counts[0][1].load(Ordering::SeqCst) < 20 {
        thread::sleep(Duration::from_millis(10));
    }
    for number in 0..200 {
        let request = app.harmless("dev", 1000 + number).unwrap().from(source);
        let answer =
            if number % 4 == 0 { stack.edge.send_h2(&request) } else { stack.edge.send(&request) }
                .unwrap();
        assert_eq!(answer.status, 202, "event {number}: {}", answer.text());
    }
    over.store(true, Ordering::SeqCst);
    for flood in floods {
        flood.join().unwrap();
    }
    let seen: Vec<(usize, usize)> = counts
        .iter()
        .map(|count| (count[0].load(Ordering::SeqCst), count[1].load(Ordering::SeqCst)))
        .collect();
    assert!(seen[0].1 > seen[0].0, "unsigned requests are limited: {seen:?}");
    assert!(seen[1].0 > 20 && seen[1].1 == 0, "small signed ones are verified: {seen:?}");
    assert!(seen[2].1 > 0, "large unsigned ones are limited: {seen:?}");
}

#[test]
fn a_flood_from_one_address_does_not_limit_another() {
    let stack = stack();
    let app = app(&stack, "busy");
    let (loud, quiet) = (Ipv4Addr::new(127, 0, 0, 78), Ipv4Addr::new(127, 0, 0, 79));
    let unsigned = app.harmless("dev", 0).unwrap().without("x-signature");
    let mut connection = stack.edge.connect(loud).unwrap();
    let statuses: Vec<u16> = (0..200).map(|_| connection.send(&unsigned).unwrap().status).collect();
    assert_eq!(statuses[..100], [401; 100]);
    assert!(statuses.contains(&429));
    assert_eq!(stack.edge.send(&unsigned.clone().from(quiet)).unwrap().status, 401);
    // A header does not change who somebody is.
    let disguised =
        unsigned.header("x-forwarded-for", "198.51.100.7").header("x-real-ip", "198.51.100.7");
    // One request in 83 ms comes back, so not every one of them is refused.
    let statuses: Vec<u16> = (0..40).map(|_| connection.send(&disguised).unwrap().status).collect();
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[test]
fn replays_from_another_address_leave_the_endpoint_to_its_sender() {
    let stack = stack();
    let app = app(&stack, "replayed");
    let (thief, sender) = (Ipv4Addr::new(127, 0, 0, 80), Ipv4Addr::new(127, 0, 0, 81));
    let old = app.upgraded("dev", "1.0.1").at(Timestamp::now() - SignedDuration::from_hours(120));
    let old = app.request("dev", &old).unwrap().from(thief);
    let copied = app.harmless("dev", 0).unwrap();
    assert_eq!(stack.edge.send(&copied.clone().from(sender)).unwrap().status, 202);
    let over = AtomicBool::new(false);
    let (edge, old, copied) = (&stack.edge, &old, &copied.from(thief));
    let statuses = Mutex::new(BTreeMap::<u16, usize>::new());
    thread::scope(|scope| {
        for replayed in [old, copied, old, copied] {
            let (over, statuses) = (&over, &statuses);
            scope.spawn(move || {
                let mut connection = edge.connect(thief).unwrap();
                while !over.load(Ordering::SeqCst) {
                    let Ok(answer) = connection.send(replayed) else {
                        connection = edge.connect(thief).unwrap();
                        continue;
                    };
                    *statuses.lock().unwrap().entry(answer.status).or_default() += 1;
                }
            });
        }
        // The flood has used up its source's budget.
        while statuses.lock().unwrap().get(&429).is_none_or(|count| *count < 50) {
            thread::sleep(Duration::from_millis(10));
        }
        // All that the endpoint allows at once, but for the first event, is its sender's.
        let genuine: Vec<u16> = (1..20)
            .map(|number| {
                let request = app.harmless("dev", number).unwrap().from(sender);
                edge.send(&request).unwrap().status
            })
            .collect();
        over.store(true, Ordering::SeqCst);
        assert_eq!(genuine, [202; 19]);
    });
    let statuses = statuses.into_inner().unwrap();
    assert!(
        statuses.keys().all(|status| matches!(status, 202 | 401 | 429)) && statuses[&401] > 0,
        "{statuses:?}"
    );
}
