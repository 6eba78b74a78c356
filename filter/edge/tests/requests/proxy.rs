//! A proxy with one worker, the table of its edge, and requests as it shows them.

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::BTreeMap;

use lockgate_edge::endpoint::PipelineKey;
use lockgate_edge::key::Key;
use lockgate_edge::limit::{RateLimit, SharedCells, Source};
use lockgate_edge::signature::{Algorithm, sign};
use lockgate_edge::{
    Admission, Body, Edge, EdgeSettings, EndpointTable, Exchange, Head, Outcome, Record, Refusal,
    Step, Surroundings,
};

pub const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
pub const NEXT_KEY: &[u8] = b"fedcba9876543210fedcba9876543210";
pub const PATH: &str = "/promotion/team-a/podinfo/dev";
pub const SECOND: u64 = 1_000_000_000;

/// A proxy with one worker.
pub struct Proxy {
    pub cells: RefCell<BTreeMap<String, u64>>,
    pub now: Cell<u64>,
    pub source: Cell<Source>,
}

impl Proxy {
    pub fn new() -> Self {
        Self {
            cells: RefCell::default(),
            now: Cell::new(1_795_000_000 * SECOND),
            source: Cell::new(Source::V4([192, 0, 2, 1])),
        }
    }

    pub fn charged(&self) -> bool {
        self.cells.borrow().keys().any(|cell| cell.contains("source"))
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

    fn source(&self) -> Source {
        self.source.get()
    }
}

pub fn edge() -> Edge {
    let record = |name: &str, keys: &[&[u8]], rate_limit| Record {
        endpoint: name.parse().unwrap(),
        keys: keys.iter().map(|bytes| Key::new("", bytes).unwrap()).collect(),
        rate_limit,
    };
    Edge {
        settings: EdgeSettings {
            rate_limit: RateLimit::new(20, Duration::from_secs(30)).unwrap(),
            pre_auth: RateLimit::new(5, Duration::from_secs(10)).unwrap(),
            allow_unsigned: vec![
                PipelineKey::new("open", "app").unwrap(),
                PipelineKey::new("open", "keyed").unwrap(),
            ],
            ..EdgeSettings::default()
        },
        table: EndpointTable::from_iter([
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
        version: 1,
    }
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

    /// Sends it to the end, in pieces of `size`, and says whether the answer came before the end of
    /// the body.
    pub fn send_in(&self, size: usize, edge: Option<&Edge>, proxy: &Proxy) -> (Step, bool) {
        let (mut exchange, step) = Exchange::begin(edge, &self.head(), self.body.is_empty(), proxy);
        if step != Step::Wait {
            return (step, !self.body.is_empty());
        }
        let mut total = 0;
        while total < self.body.len() {
            total = (total + size).min(self.body.len());
            match exchange.body(total, proxy) {
                Body::Skip => {}
                Body::Read(range) => exchange.feed(&self.body[range]),
                Body::Refuse(refusal) => return (Step::Refuse(refusal), true),
            }
        }
        (exchange.finish(proxy), false)
    }

    pub fn send(&self, edge: &Edge, proxy: &Proxy) -> Step {
        self.send_in(1000, Some(edge), proxy).0
    }

    pub fn outcome(&self, edge: &Edge, proxy: &Proxy) -> Outcome {
        match self.send(edge, proxy) {
            Step::Wait => panic!("no judgement"),
            Step::Refuse(refusal) => refusal.outcome,
            Step::Forward(_) => Outcome::Forwarded,
        }
    }
}

pub fn refused(step: Step) -> Refusal {
    match step {
        Step::Refuse(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

pub fn admitted(step: Step) -> Admission {
    match step {
        Step::Forward(admission) => admission,
        other => panic!("{other:?}"),
    }
}
