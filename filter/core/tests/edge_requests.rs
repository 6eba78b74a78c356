//! One request at the edge: headers, body and end in, the answer or the admission out.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test code")]

use core::cell::{Cell, RefCell};
use core::time::Duration;
use std::collections::BTreeMap;

use lockgate_core::edge::{
    Admission, Body, Edge, EdgeSettings, EndpointTable, Exchange, Head, Outcome, Record, Refusal, Step, Surroundings,
};
use lockgate_core::endpoint::{Endpoint, PathPrefix, PipelineKey};
use lockgate_core::key::Key;
use lockgate_core::limit::{RateLimit, SharedCells, Source};
use lockgate_core::reply::Reply;
use lockgate_core::signature::{Algorithm, sign};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
const NEXT_KEY: &[u8] = b"fedcba9876543210fedcba9876543210";
const PATH: &str = "/promotion/team-a/podinfo/dev";
const SECOND: u64 = 1_000_000_000;

/// A proxy with one worker.
struct Proxy {
    cells: RefCell<BTreeMap<String, u64>>,
    now: Cell<u64>,
    source: Cell<Source>,
}

impl Proxy {
    fn new() -> Self {
        Self { cells: RefCell::default(), now: Cell::new(1_795_000_000 * SECOND), source: Cell::new(Source::V4([192, 0, 2, 1])) }
    }

    fn charged(&self) -> bool {
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

fn edge() -> Edge {
    let record = |name: &str, keys: &[&[u8]], rate_limit| Record {
        endpoint: name.parse().unwrap(),
        keys: keys.iter().map(|bytes| Key::new("", bytes).unwrap()).collect(),
        rate_limit,
    };
    Edge {
        settings: EdgeSettings {
            rate_limit: RateLimit::new(20, Duration::from_secs(30)).unwrap(),
            pre_auth: RateLimit::new(5, Duration::from_secs(10)).unwrap(),
            allow_unsigned: vec![PipelineKey::new("open", "app").unwrap(), PipelineKey::new("open", "keyed").unwrap()],
            ..EdgeSettings::default()
        },
        table: EndpointTable::from_iter([
            record("team-a/podinfo/dev", &[KEY, NEXT_KEY], None),
            record("team-a/limited/dev", &[KEY], Some(RateLimit::new(2, Duration::from_secs(60)).unwrap())),
            record("open/app/dev", &[], None),
            record("open/keyed/dev", &[KEY], None),
            record("closed/app/dev", &[], None),
        ]),
        version: 1,
    }
}

/// A request as a proxy shows it.
struct Post {
    headers: Vec<(&'static str, Vec<u8>)>,
    body: Vec<u8>,
}

impl Post {
    /// Signed by `key`, with a length.
    fn signed(path: &str, key: &[u8], body: &[u8]) -> Self {
        let signature = sign(Algorithm::Sha256, key, body);
        Self::unsigned(path, body).with("x-signature", signature.as_bytes())
    }

    fn unsigned(path: &str, body: &[u8]) -> Self {
        let length = body.len().to_string();
        let headers: [(&'static str, &[u8]); 5] = [
            (":method", b"POST"),
            (":path", path.as_bytes()),
            (":authority", b"promote.example.org"),
            ("content-type", b"application/json"),
            ("content-length", length.as_bytes()),
        ];
        Self { headers: headers.into_iter().map(|(name, value)| (name, value.to_vec())).collect(), body: body.to_vec() }
    }

    fn with(mut self, name: &'static str, value: &[u8]) -> Self {
        self.headers.push((name, value.to_vec()));
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(each, _)| *each != name);
        self
    }

    fn replace(self, name: &'static str, value: &[u8]) -> Self {
        self.without(name).with(name, value)
    }

    fn head(&self) -> Head<'_> {
        Head::read(self.headers.iter().map(|(name, value)| (*name, value.as_slice())))
    }

    /// Sends it to the end, in pieces of `size`, and says whether the answer came before the end of the body.
    fn send_in(&self, size: usize, edge: Option<&Edge>, proxy: &Proxy) -> (Step, bool) {
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

    fn send(&self, edge: &Edge, proxy: &Proxy) -> Step {
        self.send_in(1000, Some(edge), proxy).0
    }

    fn outcome(&self, edge: &Edge, proxy: &Proxy) -> Outcome {
        match self.send(edge, proxy) {
            Step::Wait => panic!("no judgement"),
            Step::Refuse(refusal) => refusal.outcome,
            Step::Forward(_) => Outcome::Forwarded,
        }
    }
}

fn refused(step: Step) -> Refusal {
    match step {
        Step::Refuse(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

fn admitted(step: Step) -> Admission {
    match step {
        Step::Forward(admission) => admission,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_signed_event_is_forwarded_under_any_active_key() {
    let (edge, proxy) = (edge(), Proxy::new());
    for key in [KEY, NEXT_KEY] {
        let post = Post::signed(PATH, key, b"{}").with("x-request-id", b"id-1").with("traceparent", b"00-aa-bb-01");
        let admission = admitted(post.send(&edge, &proxy));
        assert_eq!(admission.endpoint, "team-a/podinfo/dev".parse::<Endpoint>().unwrap());
        assert_eq!(admission.fingerprint, Some(Key::new("", key).unwrap().fingerprint()));
        assert_eq!(admission.signature.unwrap().to_string(), sign(Algorithm::Sha256, key, b"{}"));
        assert_eq!((&*admission.request_id, &*admission.traceparent), ("id-1", "00-aa-bb-01"));
    }
    assert!(!proxy.charged());
}

#[test]
fn the_body_may_come_in_any_pieces_and_every_algorithm() {
    let (edge, proxy) = (edge(), Proxy::new());
    let body: Vec<u8> = (0..5000u32).map(|n| n as u8).collect();
    for (algorithm, size) in Algorithm::ALL.into_iter().zip([1, 63, 64, 4999]) {
        let post = Post::unsigned(PATH, &body).with("x-signature", sign(algorithm, KEY, &body).as_bytes());
        admitted(post.send_in(size, Some(&edge), &proxy).0);
    }
}

#[test]
fn an_empty_body_is_judged_at_the_headers() {
    let (edge, proxy) = (edge(), Proxy::new());
    admitted(Post::signed(PATH, KEY, b"").send(&edge, &proxy));
    admitted(Post::signed(PATH, KEY, b"").without("content-length").send(&edge, &proxy));
    assert_eq!(Post::signed(PATH, b"another key, 32 bytes long, wrong", b"").outcome(&edge, &proxy), Outcome::Signature);
}

#[test]
fn every_lack_of_authenticity_gets_the_same_answer() {
    let (edge, proxy) = (edge(), Proxy::new());
    let good = sign(Algorithm::Sha256, KEY, b"{}");
    let other = sign(Algorithm::Sha256, KEY, b"[]");
    let sha1: &[u8] = b"sha1=da39a3ee5e6b4b0d3255bfef95601890afd80709";
    let posts = [
        (Post::unsigned(PATH, b"{}"), Outcome::Signature),
        (Post::unsigned(PATH, b"{}").with("x-signature", b""), Outcome::Signature),
        (Post::unsigned(PATH, b"{}").with("x-signature", b"sha256=zz"), Outcome::Signature),
        (Post::unsigned(PATH, b"{}").with("x-signature", b"\xff\xfe\x00"), Outcome::Signature),
        (Post::unsigned(PATH, b"{}").with("x-signature", sha1), Outcome::Signature),
        (Post::unsigned(PATH, b"{}").with("x_signature", good.as_bytes()), Outcome::Signature),
        (Post::unsigned(PATH, b"{}").with("x-signature", other.as_bytes()), Outcome::Signature),
        (Post::signed(PATH, KEY, b"{}").with("x-signature", good.as_bytes()), Outcome::Signature),
        (Post::signed(PATH, b"another key, 32 bytes long, wrong", b"{}"), Outcome::Signature),
        (Post::signed("/promotion/team-a/podinfo/staging", KEY, b"{}"), Outcome::Unknown),
        (Post::signed("/promotion/nobody/nothing/dev", KEY, b"{}"), Outcome::Unknown),
        (Post::signed("/promotion/closed/app/dev", KEY, b"{}"), Outcome::Unknown),
        (Post::unsigned("/promotion/closed/app/dev", b"{}"), Outcome::Signature),
    ];
    for (number, (post, outcome)) in posts.iter().enumerate() {
        proxy.cells.borrow_mut().clear();
        let refusal = refused(post.send(&edge, &proxy));
        assert_eq!((refusal.outcome, refusal.reply), (*outcome, Reply::unauthorized()), "{number}");
        assert!(proxy.charged(), "{number}");
    }
}

#[test]
fn only_the_algorithms_of_the_settings_are_accepted() {
    let (mut edge, proxy) = (edge(), Proxy::new());
    edge.settings.algorithms = vec![Algorithm::Sha256];
    let post = Post::unsigned(PATH, b"{}").with("x-signature", sign(Algorithm::Sha512, KEY, b"{}").as_bytes());
    assert_eq!(post.outcome(&edge, &proxy), Outcome::Signature);
    assert_eq!(Post::signed(PATH, KEY, b"{}").outcome(&edge, &proxy), Outcome::Forwarded);
}

#[test]
fn method_path_type_and_length_are_refused_in_this_order_and_charge_nothing() {
    let (edge, proxy) = (edge(), Proxy::new());
    let get = refused(Post::signed("/elsewhere", KEY, b"{}").replace(":method", b"GET").send(&edge, &proxy));
    assert_eq!((get.outcome, get.reply.status, get.reply.allow), (Outcome::Method, 405, Some("POST")));
    assert_eq!(Post::signed(PATH, KEY, b"{}").replace(":method", b"post").outcome(&edge, &proxy), Outcome::Method);
    let path = refused(Post::unsigned("/promotion/a/b", b"{}").send(&edge, &proxy));
    assert_eq!((path.outcome, path.reply.status), (Outcome::Path, 404));
    for value in [b"text/plain".as_slice(), b"application/jsonx", b"application/json, application/json", b"", b"\xff"] {
        let typed = refused(Post::signed(PATH, KEY, b"{}").replace("content-type", value).send(&edge, &proxy));
        assert_eq!((typed.outcome, typed.reply.status), (Outcome::Type, 415), "{value:?}");
    }
    assert_eq!(Post::signed(PATH, KEY, b"{}").without("content-type").outcome(&edge, &proxy), Outcome::Type);
    assert_eq!(Post::signed(PATH, KEY, b"{}").with("content-type", b"application/json").outcome(&edge, &proxy), Outcome::Type);
    assert_eq!(Post::signed(PATH, KEY, b"{}").with("content-encoding", b"gzip").outcome(&edge, &proxy), Outcome::Type);
    for value in [b"65537".as_slice(), b"-1", b"1x", b"", b"99999999999999999999999"] {
        let length = refused(Post::signed(PATH, KEY, b"{}").replace("content-length", value).send(&edge, &proxy));
        assert_eq!((length.outcome, length.reply.status), (Outcome::Length, 413), "{value:?}");
    }
    assert!(!proxy.charged());
    for value in [b"application/json; charset=utf-8".as_slice(), b"Application/JSON", b"application/json ;x=y"] {
        assert_eq!(Post::signed(PATH, KEY, b"{}").replace("content-type", value).outcome(&edge, &proxy), Outcome::Forwarded);
    }
    let identity = Post::signed(PATH, KEY, b"{}").with("content-encoding", b"identity");
    assert_eq!(identity.outcome(&edge, &proxy), Outcome::Forwarded);
}

#[test]
fn a_body_of_exactly_the_limit_passes_and_one_more_byte_does_not() {
    let (edge, proxy) = (edge(), Proxy::new());
    let exact = vec![b'x'; 65_536];
    admitted(Post::signed(PATH, KEY, &exact).send(&edge, &proxy));
    admitted(Post::signed(PATH, KEY, &exact).without("content-length").send(&edge, &proxy));
    let more = vec![b'x'; 65_537];
    assert_eq!(Post::signed(PATH, KEY, &more).outcome(&edge, &proxy), Outcome::Length);
    let (step, early) = Post::signed(PATH, KEY, &more).without("content-length").send_in(16_384, Some(&edge), &proxy);
    assert_eq!((refused(step).outcome, early), (Outcome::Length, true));
}

#[test]
fn small_declared_bodies_are_read_to_the_end_before_a_refusal_and_others_are_not() {
    let (edge, proxy) = (edge(), Proxy::new());
    let small = vec![b'x'; 16 * 1024];
    let large = vec![b'x'; 16 * 1024 + 1];
    assert!(!Post::unsigned("/nowhere", &small).send_in(4096, Some(&edge), &proxy).1);
    assert!(Post::unsigned("/nowhere", &large).send_in(4096, Some(&edge), &proxy).1);
    assert!(Post::unsigned("/nowhere", &small).without("content-length").send_in(4096, Some(&edge), &proxy).1);
    // A body that is longer than it said (a proxy would not let it through) is not read for ever.
    let liar = Post::unsigned("/nowhere", &large).replace("content-length", b"10");
    assert!(liar.send_in(4096, Some(&edge), &proxy).1);
}

#[test]
fn without_a_table_everything_is_unavailable() {
    let proxy = Proxy::new();
    let refusal = refused(Post::signed(PATH, KEY, b"{}").send_in(9, None, &proxy).0);
    assert_eq!((refusal.outcome, refusal.reply), (Outcome::Unavailable, Reply::unavailable()));
}

#[test]
fn an_unsigned_flood_is_limited_and_signed_events_still_pass() {
    let (edge, proxy) = (edge(), Proxy::new());
    let flood: Vec<_> = (0..50).map(|_| Post::unsigned(PATH, b"{}").outcome(&edge, &proxy)).collect();
    assert_eq!(flood.iter().filter(|outcome| **outcome == Outcome::Signature).count(), 5);
    assert_eq!(flood.iter().filter(|outcome| **outcome == Outcome::PreauthLimited).count(), 45);
    let limited = refused(Post::unsigned(PATH, b"{}").send(&edge, &proxy)).reply;
    assert_eq!((limited.status, limited.retry_after), (429, Some(2)));
    // A small one with one well-formed signature is still judged: the true one passes, the false one gets its 401.
    for _ in 0..10 {
        assert_eq!(Post::signed(PATH, KEY, b"{}").outcome(&edge, &proxy), Outcome::Forwarded);
    }
    let wrong = Post::signed(PATH, b"another key, 32 bytes long, wrong", b"{}");
    assert_eq!(wrong.outcome(&edge, &proxy), Outcome::Signature);
    // Large or undeclared ones are not, and neither are two signatures.
    let large = vec![b'x'; 16 * 1024 + 1];
    assert_eq!(Post::signed(PATH, KEY, &large).outcome(&edge, &proxy), Outcome::PreauthLimited);
    assert_eq!(Post::signed(PATH, KEY, b"{}").without("content-length").outcome(&edge, &proxy), Outcome::PreauthLimited);
    let twice = Post::signed(PATH, KEY, b"{}").with("x-signature", b"sha256=00");
    assert_eq!(twice.outcome(&edge, &proxy), Outcome::PreauthLimited);
    // Another address is not concerned, and the limit comes back.
    proxy.source.set(Source::V4([192, 0, 2, 2]));
    assert_eq!(Post::unsigned(PATH, b"{}").outcome(&edge, &proxy), Outcome::Signature);
    proxy.source.set(Source::V4([192, 0, 2, 1]));
    proxy.now.set(proxy.now.get() + 2 * SECOND);
    assert_eq!(Post::signed(PATH, KEY, &large).outcome(&edge, &proxy), Outcome::Forwarded);
}

#[test]
fn a_wrongly_signed_flood_does_not_shut_signed_events_out() {
    let (edge, proxy) = (edge(), Proxy::new());
    let wrong = Post::signed(PATH, b"another key, 32 bytes long, wrong", b"{}");
    assert!((0..100).all(|_| wrong.outcome(&edge, &proxy) == Outcome::Signature));
    assert!((0..20).all(|_| Post::signed(PATH, KEY, b"{}").outcome(&edge, &proxy) == Outcome::Forwarded));
}

#[test]
fn large_bodies_that_turn_out_too_large_are_charged() {
    let (edge, proxy) = (edge(), Proxy::new());
    let more = Post::signed(PATH, KEY, &vec![b'x'; 65_537]).without("content-length");
    assert!((0..5).all(|_| more.outcome(&edge, &proxy) == Outcome::Length));
    assert_eq!(more.outcome(&edge, &proxy), Outcome::PreauthLimited);
}

#[test]
fn each_endpoint_has_its_limit_after_the_signature() {
    let (edge, proxy) = (edge(), Proxy::new());
    let limited = Post::signed("/promotion/team-a/limited/dev", KEY, b"{}");
    assert_eq!(limited.outcome(&edge, &proxy), Outcome::Forwarded);
    assert_eq!(limited.outcome(&edge, &proxy), Outcome::Forwarded);
    let refusal = refused(limited.send(&edge, &proxy));
    assert_eq!((refusal.outcome, refusal.reply.status, refusal.reply.retry_after), (Outcome::Limited, 429, Some(30)));
    let wrong = Post::signed("/promotion/team-a/limited/dev", b"another key, 32 bytes long, wrong", b"{}");
    assert_eq!(wrong.outcome(&edge, &proxy), Outcome::Signature, "its limit is nobody's business without the key");
    let default = (0..30).filter(|_| Post::signed(PATH, KEY, b"{}").outcome(&edge, &proxy) == Outcome::Forwarded);
    assert_eq!(default.count(), 20);
}

#[test]
fn unsigned_events_pass_only_where_the_pipeline_is_listed_and_has_no_key() {
    let (edge, proxy) = (edge(), Proxy::new());
    let admission = admitted(Post::unsigned("/promotion/open/app/dev", b"{}").send(&edge, &proxy));
    assert_eq!((admission.signature, admission.fingerprint), (None, None));
    assert_eq!(Post::unsigned("/promotion/open/keyed/dev", b"{}").outcome(&edge, &proxy), Outcome::Signature);
    assert_eq!(Post::unsigned("/promotion/open/app/staging", b"{}").outcome(&edge, &proxy), Outcome::Signature);
    assert_eq!(Post::signed("/promotion/open/app/staging", KEY, b"{}").outcome(&edge, &proxy), Outcome::Unknown);
}

#[test]
fn a_request_is_judged_once() {
    let (edge, proxy) = (edge(), Proxy::new());
    let post = Post::signed(PATH, KEY, b"{}");
    let (mut exchange, step) = Exchange::begin(Some(&edge), &post.head(), false, &proxy);
    assert_eq!(step, Step::Wait);
    assert_eq!(exchange.body(2, &proxy), Body::Read(0..2));
    exchange.feed(b"{}");
    // Often a last call brings nothing new; trailers may come on top.
    assert_eq!(exchange.body(2, &proxy), Body::Skip);
    admitted(exchange.finish(&proxy));
    assert_eq!(exchange.finish(&proxy), Step::Wait);
    assert_eq!(exchange.body(100_000, &proxy), Body::Skip);
}

#[test]
fn a_key_that_is_taken_away_does_not_hurt_a_request_under_way() {
    let proxy = Proxy::new();
    let mut edge = edge();
    let post = Post::signed(PATH, KEY, b"{}");
    let (mut exchange, _) = Exchange::begin(Some(&edge), &post.head(), false, &proxy);
    edge.table.remove(&"team-a/podinfo/dev".parse().unwrap());
    assert_eq!(post.outcome(&edge, &proxy), Outcome::Unknown);
    assert_eq!(exchange.body(2, &proxy), Body::Read(0..2));
    exchange.feed(b"{}");
    admitted(exchange.finish(&proxy));
}

#[test]
fn odd_ids_are_dropped_and_another_prefix_is_obeyed() {
    let (mut edge, proxy) = (edge(), Proxy::new());
    edge.settings.path_prefix = PathPrefix::new("/").unwrap();
    let post = Post::signed("/team-a/podinfo/dev", KEY, b"{}").with("x-request-id", b"a b\xff").with("traceparent", &[b'a'; 500]);
    let admission = admitted(post.send(&edge, &proxy));
    assert_eq!((&*admission.request_id, &*admission.traceparent), ("", ""));
    assert_eq!(Post::signed(PATH, KEY, b"{}").outcome(&edge, &proxy), Outcome::Path);
}
