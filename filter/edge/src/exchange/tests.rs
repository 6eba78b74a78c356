//! What a refusal costs: counted in bytes that are hashed, because time shows too little and lies.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use core::ops::Range;

use super::*;
use crate::EndpointTable;
use crate::key::{Key, Keys};
use crate::signature::{Algorithm, sign, work};

struct Quiet {
    body: Vec<u8>,
}

impl SharedCells for Quiet {
    fn load(&self, _: &str) -> (Option<u64>, u32) {
        (None, 1)
    }

    fn swap(&self, _: &str, _: u64, _: u32) -> bool {
        true
    }
}

impl Surroundings for Quiet {
    fn now(&self) -> u64 {
        1_795_000_000_000_000_000
    }

    fn source_address(&self) -> Vec<u8> {
        b"192.0.2.1:40000".to_vec()
    }

    fn body(&self, range: Range<usize>) -> Option<Vec<u8>> {
        self.body.get(range).map(<[u8]>::to_vec)
    }
}

/// Endpoints with one key, two keys during a rotation, and one very long key.
fn worker() -> Worker {
    let key = |length: usize, byte: u8| Key::new("", &vec![byte; length]).unwrap();
    let record = |name: &str, keys: Vec<Key>| Record {
        endpoint: name.parse().unwrap(),
        keys: Keys::new(keys).unwrap(),
        rate_limit: None,
    };
    let table = EndpointTable::from_iter([
        record("team/one/dev", vec![key(32, 1)]),
        record("team/two/dev", vec![key(16, 1), key(100, 2)]),
        record("team/long/dev", vec![key(4096, 1)]),
    ]);
    Worker::with(crate::Edge::new(EdgeSettings::default(), table, 1))
}

/// How much is hashed before a wrongly signed request is refused.
fn work_of(worker: &mut Worker, endpoint: &str, algorithm: Algorithm, length: usize) -> usize {
    let around = Quiet { body: vec![b'x'; length] };
    let path = format!("/promotion/{endpoint}");
    let signature = sign(algorithm, b"not one of the endpoints' keys", b"another body");
    let declared = length.to_string();
    let headers: [(&str, &[u8]); 5] = [
        (":method", b"POST"),
        (":path", path.as_bytes()),
        ("content-type", b"application/json"),
        ("content-length", declared.as_bytes()),
        ("x-signature", signature.as_bytes()),
    ];
    work::take();
    let (mut exchange, step) = Exchange::begin(worker, &Head::read(headers), length == 0, &around);
    let step = match step {
        Step::Wait => exchange.body(worker, length, true, &around),
        step => step,
    };
    let hashed = work::take();
    match step {
        Step::Refuse(refusal) => assert_eq!(refusal.reply.status, 401),
        other => panic!("{other:?}"),
    }
    hashed
}

#[test]
fn a_refusal_costs_the_same_for_every_endpoint_whether_it_exists_or_not() {
    let mut worker = worker();
    for algorithm in Algorithm::ALL {
        for length in [0, 1, 1000, 16 * 1024, 60_000] {
            let work = |worker: &mut Worker, name| work_of(worker, name, algorithm, length);
            let unknown = work(&mut worker, "nobody/nothing/dev");
            assert!(unknown >= 2 * length, "{unknown} for two keys and {length} bytes");
            for known in ["team/one/dev", "team/two/dev", "team/long/dev", "team/one/other"] {
                assert_eq!(work(&mut worker, known), unknown, "{known} {algorithm} {length}");
            }
        }
    }
}

#[test]
fn an_empty_table_still_hashes_with_one_dummy_key() {
    let mut worker =
        Worker::with(crate::Edge::new(EdgeSettings::default(), EndpointTable::default(), 1));
    assert!(work_of(&mut worker, "nobody/nothing/dev", Algorithm::Sha256, 1000) >= 1000);
}
