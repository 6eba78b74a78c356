//! A proxy with one worker, the table of its edge, and requests as it shows them.

use core::cell::{Cell, RefCell};
use core::ops::Range;
use core::time::Duration;
use std::collections::BTreeMap;

use lockgate_edge::endpoint::PipelineKey;
use lockgate_edge::key::{Key, Keys};
use lockgate_edge::limit::{RateLimit, SharedCells};
use lockgate_edge::reply::Reply;
use lockgate_edge::signature::{Algorithm, sign};
use lockgate_edge::{
    Answer, Charge, Edge, EdgeSettings, EndpointTable, Exchange, Forward, Head, Outcome, Record,
    Refusal, Step, Surroundings, Worker,
};

pub const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
pub const NEXT_KEY: &[u8] = b"fedcba9876543210fedcba9876543210";
pub const PATH: &str = "/promotion/team-a/podinfo/dev";
pub const LIMITED: &str = "/promotion/team-a/limited/dev";
pub const SECOND: u64 = 1_000_000_000;
/// 2026-11-18T11:06:40Z.
pub const NOW: u64 = 1_795_000_000 * SECOND;

/// A fresh event at [`NOW`]; each number gives another one.
pub fn event(number: u32) -> Vec<u8> {
    event_at("2026-11-18T11:06:30Z", number)
}

pub fn event_at(time: &str, number: u32) -> Vec<u8> {
    format!(r#"{{"reason":"UpgradeSucceeded","message":"{number}","timestamp":"{time}"}}"#).into()
}

/// A proxy with one worker.
pub struct Proxy {
    pub cells: RefCell<BTreeMap<String, u64>>,
    pub now: Cell<u64>,
    pub source: Cell<&'static str>,
    /// Of the one request that is under way.
    body: RefCell<Vec<u8>>,
}

impl Proxy {
    pub fn new() -> Self {
        Self {
            cells: RefCell::default(),
            now: Cell::new(NOW),
            source: Cell::new("192.0.2.1:40000"),
            body: RefCell::default(),
        }
    }

    pub fn charged(&self) -> bool {
        self.cells.borrow().keys().any(|cell| cell.contains("source"))
    }

    pub fn advance(&self, by: Duration) {
        self.now.set(self.now.get() + u64::try_from(by.as_nanos()).unwrap());
    }
}

impl SharedCells for Proxy {
    fn load(&self, cell: &str) -> (Option<u64>, u32) {
        (self.cells.borrow().get(cell).copied(), 1)
    }

    fn swap(&self, cell: &str, value: u64, _: u32) -> bool {
        self.cells.borrow_mut().insert(cell.to_string(), value);
        true
    }
}

impl Surroundings for Proxy {
    fn now(&self) -> u64 {
        self.now.get()
    }

    fn source_address(&self) -> Vec<u8> {
        self.source.get().as_bytes().to_vec()
    }

    fn body(&self, range: Range<usize>) -> Option<Vec<u8>> {
        self.body.borrow().get(range).map(<[u8]>::to_vec)
    }
}

/// A worker that judges by [`edge`].
pub fn worker() -> Worker {
    Worker::with(edge())
}

pub fn edge() -> Edge {
    let record = |name: &str, keys: &[&[u8]], rate_limit| Record {
        endpoint: name.parse().unwrap(),
        keys: Keys::new(keys.iter().map(|bytes| Key::new("", bytes).unwrap()).collect()).unwrap(),
        rate_limit,
    };
    Edge::new(
        EdgeSettings {
            rate_limit: RateLimit::new(20, Duration::from_secs(30)).unwrap(),
            pre_auth: RateLimit::new(5, Duration::from_secs(10)).unwrap(),
            allow_unsigned: vec![
                PipelineKey::new("open", "app").unwrap(),
                PipelineKey::new("open", "keyed").unwrap(),
            ],
            ..EdgeSettings::default()
        },
        EndpointTable::from_iter([
            record("team-a/podinfo/dev", &[KEY, NEXT_KEY], None),
            record(
                "team-a/limited/dev",
                &[KEY],
                Some(RateLimit::new(2, Duration::from_secs(60)).unwrap()),
            ),
            record("open/app/dev", &[], None),
            record("open/keyed/dev", &[KEY], None),
            record("closed/app/dev", &[], None),
        ]),
        1,
    )
}

/// A request as a proxy shows it.
pub struct Post {
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

impl Post {
    /// Signed by `key`, with a length.
    pub fn signed(path: &str, key: &[u8], body: &[u8]) -> Self {
        let signature = sign(Algorithm::Sha256, key, body);
        Self::unsigned(path, body).with("x-signature", signature.as_bytes())
    }

    pub fn unsigned(path: &str, body: &[u8]) -> Self {
        let length = body.len().to_string();
        let headers: [(&'static str, &[u8]); 5] = [
            (":method", b"POST"),
            (":path", path.as_bytes()),
            (":authority", b"promote.example.org"),
            ("content-type", b"application/json"),
            ("content-length", length.as_bytes()),
        ];
        Self {
            headers: headers.into_iter().map(|(name, value)| (name, value.to_vec())).collect(),
            body: body.to_vec(),
        }
    }

    pub fn with(mut self, name: &'static str, value: &[u8]) -> Self {
        self.headers.push((name, value.to_vec()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(each, _)| *each != name);
        self
    }

    pub fn replace(self, name: &'static str, value: &[u8]) -> Self {
        self.without(name).with(name, value)
    }

    pub fn head(&self) -> Head<'_> {
        Head::read(self.headers.iter().map(|(name, value)| (*name, value.as_slice())))
    }

    /// Opens it, with its body still to come.
    pub fn begin(&self, worker: &mut Worker, proxy: &Proxy) -> (Exchange, Step) {
        proxy.body.replace(self.body.clone());
        Exchange::begin(worker, &self.head(), self.body.is_empty(), proxy)
    }

    /// Sends it to the end, in pieces of `size`, and says whether the answer came before the end of
    /// the body.
    pub fn send_in(
        &self,
        size: usize,
        worker: &mut Worker,
        proxy: &Proxy,
    ) -> (Exchange, Step, bool) {
        let (mut exchange, step) = self.begin(worker, proxy);
        if step != Step::Wait {
            return (exchange, step, !self.body.is_empty());
        }
        let mut total = 0;
        while total < self.body.len() {
            total = (total + size).min(self.body.len());
            let step = exchange.body(worker, total, false, proxy);
            if step != Step::Wait {
                return (exchange, step, true);
            }
        }
        let step = exchange.finish(worker, proxy);
        (exchange, step, false)
    }

    pub fn send(&self, worker: &mut Worker, proxy: &Proxy) -> Step {
        self.send_in(1000, worker, proxy).1
    }

    pub fn outcome(&self, worker: &mut Worker, proxy: &Proxy) -> Outcome {
        match self.send(worker, proxy) {
            Step::Wait => panic!("no judgement"),
            Step::Refuse(refusal) => refusal.outcome,
            Step::Forward(_) => Outcome::Forwarded,
        }
    }

    /// As [`Post::outcome`]; what is forwarded gets the sidecar's answer.
    pub fn answered(&self, worker: &mut Worker, proxy: &Proxy, charge: Charge) -> Outcome {
        let reply = Reply::nothing("Stale", "an older event");
        self.settled(worker, proxy, Some(Answer { reply, charge }))
    }

    /// As [`Post::outcome`]; what is forwarded gets this answer, or none.
    pub fn settled(&self, worker: &mut Worker, proxy: &Proxy, answer: Option<Answer>) -> Outcome {
        let (mut exchange, step, _) = self.send_in(1000, worker, proxy);
        match step {
            Step::Wait => panic!("no judgement"),
            Step::Refuse(refusal) => refusal.outcome,
            Step::Forward(_) => exchange.answered(worker, answer, proxy).outcome,
        }
    }
}

pub fn refused(step: Step) -> Refusal {
    match step {
        Step::Refuse(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

pub fn forwarded(step: Step) -> Forward {
    match step {
        Step::Forward(forward) => forward,
        other => panic!("{other:?}"),
    }
}
