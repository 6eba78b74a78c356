//! The rate limits over shared cells: exact counts, races, clocks that step.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Mutex;

use lockgate_edge::endpoint::Endpoint;
use lockgate_edge::limit::{
    PreAuth, RateLimit, SharedCells, Source, Verdict, charge_endpoint, give_back_endpoint,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

/// Cells with the marks of a proxy's shared data.
#[derive(Default)]
struct Cells(Mutex<SharedData>);

/// The cells with their marks, and the last mark.
type SharedData = (BTreeMap<String, (u64, u32)>, u32);

impl SharedCells for Cells {
    fn load(&self, cell: &str) -> (Option<u64>, u32) {
        match self.0.lock().unwrap().0.get(cell) {
            Some((value, mark)) => (Some(*value), *mark),
            None => (None, u32::MAX),
        }
    }

    fn swap(&self, cell: &str, value: u64, mark: u32) -> bool {
        let mut guard = self.0.lock().unwrap();
        let (cells, last) = &mut *guard;
        if cells.get(cell).is_some_and(|(_, current)| *current != mark) {
            return false;
        }
        *last += 1;
        cells.insert(cell.to_string(), (value, *last));
        true
    }
}

/// A store that somebody else always writes first.
struct Contended;

impl SharedCells for Contended {
    fn load(&self, _: &str) -> (Option<u64>, u32) {
        (None, 0)
    }

    fn swap(&self, _: &str, _: u64, _: u32) -> bool {
        false
    }
}

const SECOND: u64 = 1_000_000_000;
/// 2026-11-20.
const NOW: u64 = 1_795_000_000 * SECOND;

fn endpoint() -> Endpoint {
    Endpoint::new("team-a", "podinfo", "dev").unwrap()
}

fn limit(requests: u32, seconds: u64) -> RateLimit {
    RateLimit::new(requests, Duration::from_secs(seconds)).unwrap()
}

fn admitted(cells: &Cells, limit: RateLimit, now: u64, tries: u32) -> u32 {
    (0..tries)
        .map(|_| u32::from(charge_endpoint(cells, &endpoint(), limit, now).is_admitted()))
        .sum()
}

#[test]
fn a_burst_is_admitted_exactly_and_then_one_at_a_time() {
    let cells = Cells::default();
    let limit = RateLimit::endpoint_default();
    assert_eq!(admitted(&cells, limit, NOW, 100), 20);
    let Verdict::Limited { retry_after } = charge_endpoint(&cells, &endpoint(), limit, NOW) else {
        panic!("admitted")
    };
    assert_eq!(retry_after, Duration::from_millis(1500));
    assert_eq!(admitted(&cells, limit, NOW + 3 * SECOND / 2 - 1, 5), 0);
    assert_eq!(admitted(&cells, limit, NOW + 3 * SECOND / 2, 5), 1);
    assert_eq!(admitted(&cells, limit, NOW + 9 * SECOND, 50), 5);
    assert_eq!(admitted(&cells, limit, NOW + 3600 * SECOND, 50), 20);
}

#[test]
fn endpoints_do_not_share_a_limit() {
    let cells = Cells::default();
    assert_eq!(admitted(&cells, limit(3, 30), NOW, 9), 3);
    let other = Endpoint::new("team-a", "podinfo", "staging").unwrap();
    assert!(charge_endpoint(&cells, &other, limit(3, 30), NOW).is_admitted());
}

#[test]
fn a_clock_that_steps_back_neither_refills_nor_blocks_for_the_step() {
    let cells = Cells::default();
    let limit = limit(20, 30);
    assert_eq!(admitted(&cells, limit, NOW, 20), 20);
    let back = NOW - 3600 * SECOND;
    assert_eq!(admitted(&cells, limit, back, 20), 0);
    let Verdict::Limited { retry_after } = charge_endpoint(&cells, &endpoint(), limit, back) else {
        panic!("admitted")
    };
    assert!(retry_after <= Duration::from_secs(2), "{retry_after:?}");
    assert_eq!(admitted(&cells, limit, back + 3 * SECOND / 2, 50), 1);
    assert_eq!(admitted(&cells, limit, back + 60 * SECOND, 50), 20);
    // A source that is only read recovers too.
    let pre_auth = PreAuth { limit };
    (0..20).for_each(|_| assert!(pre_auth.charge(&cells, Source::Unknown, NOW).is_admitted()));
    assert!(!pre_auth.peek(&cells, Source::Unknown, back).is_admitted());
    assert!(pre_auth.peek(&cells, Source::Unknown, back + 2 * SECOND).is_admitted());
}

#[test]
fn a_worker_with_a_slightly_older_clock_gives_nothing_back() {
    let cells = Cells::default();
    let limit = limit(1000, 1);
    assert_eq!(admitted(&cells, limit, NOW, 1000), 1000);
    assert_eq!(admitted(&cells, limit, NOW - SECOND / 50, 100), 0);
    assert_eq!(admitted(&cells, limit, NOW, 100), 0);
}

#[test]
fn a_clock_that_jumps_ahead_gives_one_burst_and_no_more() {
    let cells = Cells::default();
    assert_eq!(admitted(&cells, limit(20, 30), NOW, 50), 20);
    assert_eq!(admitted(&cells, limit(20, 30), NOW + 1_000_000 * SECOND, 50), 20);
}

#[test]
fn a_smaller_limit_applies_at_once() {
    let cells = Cells::default();
    assert_eq!(admitted(&cells, limit(1000, 30), NOW, 1000), 1000);
    assert_eq!(admitted(&cells, limit(2, 30), NOW + 15 * SECOND, 10), 1);
}

#[test]
fn extreme_limits_and_times_do_not_overflow() {
    for limit in [
        RateLimit::new(u32::MAX, Duration::from_millis(1)).unwrap(),
        RateLimit::new(1, Duration::from_secs(86_400)).unwrap(),
        RateLimit { requests: 1.try_into().unwrap(), interval: Duration::MAX },
        RateLimit { requests: u32::MAX.try_into().unwrap(), interval: Duration::ZERO },
    ] {
        for now in [0, 1, NOW, u64::MAX] {
            assert_eq!(
                charge_endpoint(&Cells::default(), &endpoint(), limit, now),
                Verdict::Admitted
            );
        }
    }
}

#[test]
fn a_race_that_is_always_lost_is_bounded_and_refuses() {
    assert!(!charge_endpoint(&Contended, &endpoint(), limit(20, 30), NOW).is_admitted());
}

#[test]
fn reading_the_pre_auth_limit_changes_nothing() {
    let cells = Cells::default();
    let pre_auth = PreAuth { limit: limit(2, 10) };
    let source = Source::parse(b"192.0.2.1:4711");
    for _ in 0..10 {
        assert!(pre_auth.peek(&cells, source, NOW).is_admitted());
    }
    assert!(pre_auth.charge(&cells, source, NOW).is_admitted());
    assert!(pre_auth.peek(&cells, source, NOW).is_admitted());
    assert!(pre_auth.charge(&cells, source, NOW).is_admitted());
    assert!(!pre_auth.peek(&cells, source, NOW).is_admitted());
    assert!(!pre_auth.charge(&cells, source, NOW).is_admitted());
    assert!(pre_auth.peek(&cells, source, NOW + 5 * SECOND).is_admitted());
}

#[test]
fn sources_are_addresses_without_ports_and_ipv6_by_64() {
    assert_eq!(Source::parse(b"192.0.2.1:1"), Source::parse(b"192.0.2.1:65535"));
    assert_eq!(Source::parse(b"192.0.2.1"), Source::V4([192, 0, 2, 1]));
    assert_eq!(Source::parse(b"[::ffff:192.0.2.1]:80"), Source::V4([192, 0, 2, 1]));
    assert_eq!(Source::parse(b"[2001:db8::1]:80"), Source::parse(b"[2001:db8::ffff:1:2:3]:9"));
    assert_ne!(Source::parse(b"[2001:db8::1]:80"), Source::parse(b"[2001:db8:0:1::1]:80"));
    for none in [b"".as_slice(), b"@/run/socket", b"\xff\xfe", b"192.0.2.1:99999", b"host:80"] {
        assert_eq!(Source::parse(none), Source::Unknown);
    }
}

#[test]
fn the_pre_auth_table_does_not_grow_with_the_senders() {
    let cells = Cells::default();
    let pre_auth = PreAuth { limit: RateLimit::pre_auth_default() };
    for number in 0..20_000u32 {
        pre_auth.charge(&cells, Source::V4(number.to_be_bytes()), NOW);
    }
    let slots = cells.0.lock().unwrap().0.len();
    assert!((3_000..=4_096).contains(&slots), "{slots}");
}

#[cfg(not(target_arch = "wasm32"))]
#[test]
fn workers_that_race_admit_the_limit_exactly() {
    let cells = Cells::default();
    let total: u32 = std::thread::scope(|scope| {
        let workers: Vec<_> =
            (0..4).map(|_| scope.spawn(|| admitted(&cells, limit(100, 30), NOW, 500))).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert_eq!(total, 100);
}

#[test]
fn what_is_given_back_can_be_had_again_and_no_more() {
    let (cells, limit) = (Cells::default(), limit(3, 30));
    assert_eq!(admitted(&cells, limit, NOW, 5), 3);
    give_back_endpoint(&cells, &endpoint(), limit);
    assert_eq!(admitted(&cells, limit, NOW, 5), 1);
    for _ in 0..10 {
        give_back_endpoint(&cells, &endpoint(), limit);
    }
    assert_eq!(admitted(&cells, limit, NOW, 10), 3, "never more than the burst");
    let nobody = Cells::default();
    give_back_endpoint(&nobody, &endpoint(), limit);
    assert_eq!(admitted(&nobody, limit, NOW, 10), 3);
}
