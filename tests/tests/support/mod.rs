//! The sidecar's side of the conversation, for the filter in the test host: real messages, made by
//! the test.

#![allow(dead_code, reason = "each test file uses its part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use lockgate_api::v1::{
    Charge, DeliverRequest, DeliverResponse, Delta, EdgeSettings, Endpoint, RateLimit, SyncRequest,
    SyncResponse, Table, sync_response::Change,
};
use lockgate_e2e::event::{Event, sign};
use lockgate_e2e::host::{Call, LocalReply, Module, Outcome, Proxy, Vm};
use lockgate_e2e::{Request, artifacts};
use prost::Message;

pub const ENDPOINT: &str = "team-a/podinfo/dev";
pub const KEY: &[u8] = b"dev-0123456789abcdef0123456789abcdef";
pub const OLD_KEY: &[u8] = b"old-0123456789abcdef0123456789abcdef";
/// Some day in 2026.
pub const TODAY: u64 = 1_795_000_000;

/// The built filter, compiled once per test binary.
pub fn module() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| Module::load(&artifacts::filter().unwrap()).unwrap())
}

pub fn limit(requests: u32, interval: &str) -> RateLimit {
    RateLimit { requests, interval: interval.to_owned() }
}

/// The defaults of `lockgate.yaml`.
pub fn settings() -> EdgeSettings {
    EdgeSettings {
        path_prefix: "/promotion/".to_owned(),
        body_limit: 64 * 1024,
        rate_limit: Some(limit(20, "30s")),
        pre_auth: Some(limit(120, "10s")),
        algorithms: ["sha224", "sha256", "sha384", "sha512"].map(str::to_owned).to_vec(),
        allow_unsigned: Vec::new(),
        wait: "5s".to_owned(),
        freshness_past: "10m".to_owned(),
        freshness_future: "2m".to_owned(),
    }
}

pub fn endpoint(name: &str, keys: &[&[u8]]) -> Endpoint {
    Endpoint {
        name: name.to_owned(),
        keys: keys.iter().map(|key| key.to_vec()).collect(),
        rate_limit: None,
    }
}

pub fn full(version: u64, endpoints: Vec<Endpoint>) -> SyncResponse {
    SyncResponse {
        version,
        complete: true,
        unreadable: Vec::new(),
        change: Some(Change::Full(Table { endpoints })),
        more: false,
        cursor: String::new(),
        settings: Some(settings()),
    }
}

pub fn delta(base: u64, version: u64, upserts: Vec<Endpoint>, removals: &[&str]) -> SyncResponse {
    let removals = removals.iter().map(|name| (*name).to_owned()).collect();
    SyncResponse {
        change: Some(Change::Delta(Delta { base, upserts, removals })),
        ..full(version, Vec::new())
    }
}

/// The question that the VM has asked, or asks within two seconds of ticks.
pub fn question(vm: &mut Vm, proxy: &Proxy) -> (Call, SyncRequest) {
    for _ in 0..20 {
        if let Some(call) = vm.calls_of("Sync").pop() {
            assert_eq!(call.service, "lockgate.v1.Gate");
            let request = SyncRequest::decode(call.message.as_slice()).unwrap();
            return (call, request);
        }
        proxy.advance(Duration::from_millis(100));
        vm.tick().unwrap();
    }
    panic!("the VM asks nothing; its log: {:?}", vm.log());
}

/// Answers the VM's next question.
pub fn sync(vm: &mut Vm, proxy: &Proxy, response: &SyncResponse) -> SyncRequest {
    let (call, request) = question(vm, proxy);
    vm.answer(call.token, &response.encode_to_vec()).unwrap();
    request
}

/// A VM that knows these endpoints.
pub fn vm_with(proxy: &Proxy, response: &SyncResponse) -> Vm {
    let mut vm = Vm::start(module(), proxy).unwrap();
    sync(&mut vm, proxy, response);
    vm
}

/// A VM that knows [`ENDPOINT`] with [`KEY`], and the proxy around it.
pub fn ready() -> (Proxy, Vm) {
    let proxy = Proxy::at(TODAY);
    let vm = vm_with(&proxy, &full(1, vec![endpoint(ENDPOINT, &[KEY])]));
    (proxy, vm)
}

/// A fresh event at [`TODAY`].
pub fn body() -> Vec<u8> {
    event(Duration::from_secs(TODAY))
}

/// An event of this time since the epoch; no two of them are alike.
pub fn event(at: Duration) -> Vec<u8> {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::SeqCst);
    let time = Timestamp::from_second(i64::try_from(at.as_secs()).unwrap()).unwrap();
    let event = Event::helm_upgraded("dev", "podinfo", &format!("6.5.{number}")).at(time);
    event.to_body().unwrap()
}

/// `body` signed for [`ENDPOINT`].
pub fn signed(body: &[u8]) -> Request {
    signed_with(KEY, body)
}

pub fn signed_with(key: &[u8], body: &[u8]) -> Request {
    Request::post(&format!("/promotion/{ENDPOINT}"))
        .json()
        .header("x-signature", &sign(key, body))
        .body(body)
}

/// As [`signed`], but with a signature that is only well-formed.
pub fn forged(body: &[u8]) -> Request {
    signed(body).replace("x-signature", &format!("sha256={}", "0".repeat(64)))
}

#[track_caller]
pub fn replied(outcome: Outcome) -> LocalReply {
    match outcome {
        Outcome::Replied(reply) => reply,
        other => panic!("expected a reply, got {other:?}"),
    }
}

#[track_caller]
pub fn status(vm: &mut Vm, request: &Request) -> u32 {
    replied(vm.send(request).unwrap()).status
}

/// The call that a request waits for, and what it says.
#[track_caller]
pub fn delivered(outcome: Outcome) -> (Call, DeliverRequest) {
    match outcome {
        Outcome::Calling(call) if call.method == "Deliver" => {
            let request = DeliverRequest::decode(call.message.as_slice()).unwrap();
            (call, request)
        }
        other => panic!("expected a delivery, got {other:?}"),
    }
}

/// What the sidecar says to a delivery.
pub fn verdict(status: u32, body: &str) -> DeliverResponse {
    DeliverResponse {
        status,
        content_type: "application/json".to_owned(),
        location: String::new(),
        retry_after_seconds: 0,
        body: body.as_bytes().to_vec(),
        charge: Charge::Endpoint.into(),
    }
}

/// How many of `count` fresh signed events get through to the sidecar.
pub fn admitted(vm: &mut Vm, count: usize) -> usize {
    let through = |vm: &mut Vm| match vm.send(&signed(&event(vm.now()))).unwrap() {
        Outcome::Calling(_) => true,
        Outcome::Replied(reply) if reply.status == 429 => false,
        other => panic!("expected a delivery or 429, got {other:?}"),
    };
    (0..count).filter(|_| through(vm)).count()
}
