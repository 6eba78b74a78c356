//! One per request: holds it, judges it, hands it over, answers it. Exactly one answer per request.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use lockgate_api::{DELIVER_METHOD, GATE_SERVICE, v1};
use lockgate_edge::reply::Reply;
use lockgate_edge::{Admission, Body, Exchange, Forward, Head, Outcome, Refusal, Step};
use prost::Message;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType, MapType};

use crate::host::Host;
use crate::root::Shared;

/// The context of one request.
pub struct Request {
    shared: Rc<RefCell<Shared>>,
    phase: Phase,
    /// The first piece of the body: usually all of it, and then the only copy.
    first: Vec<u8>,
    size: usize,
}

enum Phase {
    /// Nothing has come yet.
    New,
    /// Being judged.
    Judging(Exchange),
    /// With the sidecar.
    Delivering { call: u32 },
    /// Answered.
    Answered,
}

impl Request {
    /// A request that nothing is known about.
    pub fn new(shared: Rc<RefCell<Shared>>) -> Self {
        Self { shared, phase: Phase::New, first: Vec::new(), size: 0 }
    }

    /// `size` bytes of the body have come; `ended`: it is complete.
    fn read(&mut self, size: usize, ended: bool) {
        let Phase::Judging(exchange) = &mut self.phase else { return };
        match exchange.body(size, &Host) {
            Body::Skip => {}
            Body::Read(range) => {
                let piece =
                    hostcalls::get_buffer(BufferType::HttpRequestBody, range.start, range.len());
                let Some(piece) = piece.ok().flatten().filter(|piece| piece.len() == range.len())
                else {
                    log::error!("the proxy does not give the body that it announced");
                    return self.refuse(Refusal::unavailable());
                };
                exchange.feed(&piece);
                self.size = range.end;
                if range.start == 0 {
                    self.first = piece;
                }
            }
            Body::Refuse(refusal) => return self.refuse(refusal),
        }
        if ended {
            self.finish();
        }
    }

    /// The request is complete.
    fn finish(&mut self) {
        let Phase::Judging(exchange) = &mut self.phase else { return };
        let step = exchange.finish(&Host);
        self.step(step);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Wait => {}
            Step::Refuse(refusal) => self.refuse(refusal),
            Step::Forward(admission) => self.forward(admission),
        }
    }

    fn forward(&mut self, admission: Admission) {
        let body = if self.first.len() == self.size {
            std::mem::take(&mut self.first)
        } else {
            let whole = hostcalls::get_buffer(BufferType::HttpRequestBody, 0, self.size);
            match whole.ok().flatten().filter(|whole| whole.len() == self.size) {
                Some(whole) => whole,
                None => return self.refuse(Refusal::unavailable()),
            }
        };
        let forward = Forward {
            endpoint: admission.endpoint,
            signature: admission.signature,
            fingerprint: admission.fingerprint,
            source: String::from_utf8_lossy(&Host.source_text()).into_owned(),
            request_id: admission.request_id,
            traceparent: admission.traceparent,
            body,
        };
        let message = v1::DeliverRequest::from(forward).encode_to_vec();
        let call = {
            let shared = self.shared.borrow();
            let (Some(config), Some(edge)) = (&shared.config, shared.syncer.edge()) else {
                drop(shared);
                return self.refuse(Refusal::unavailable());
            };
            let deadline = edge.settings.wait.saturating_add(GRACE);
            hostcalls::dispatch_grpc_call(
                config.cluster(),
                GATE_SERVICE,
                DELIVER_METHOD,
                Vec::new(),
                Some(&message),
                deadline,
            )
        };
        match call {
            Ok(call) => self.phase = Phase::Delivering { call },
            Err(_) => self.refuse(Refusal::unavailable()),
        }
    }

    fn refuse(&mut self, refusal: Refusal) {
        self.answer(refusal.outcome, &refusal.reply);
    }

    fn answer(&mut self, outcome: Outcome, reply: &Reply) {
        if matches!(self.phase, Phase::Answered) {
            return;
        }
        self.phase = Phase::Answered;
        self.first = Vec::new();
        self.shared.borrow().metrics.count(outcome);
        Host.send(reply);
    }
}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _count: usize, ended: bool) -> Action {
        let Ok(headers) = hostcalls::get_map_bytes(MapType::HttpRequestHeaders) else {
            self.refuse(Refusal::unavailable());
            return Action::Pause;
        };
        #[cfg(feature = "panic-trigger")]
        panic_trigger(&headers);
        let head =
            Head::read(headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())));
        let (exchange, step) =
            Exchange::begin(self.shared.borrow().syncer.edge(), &head, ended, &Host);
        self.phase = Phase::Judging(exchange);
        self.step(step);
        Action::Pause
    }

    fn on_http_request_body(&mut self, size: usize, ended: bool) -> Action {
        self.read(size, ended);
        Action::Pause
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        // With trailers, the body's callback never says that the body is complete.
        self.finish();
        Action::Pause
    }
}

impl Context for Request {
    fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
        match self.phase {
            Phase::Delivering { call } if call == token => {}
            _ => return,
        }
        match relayed(status, size) {
            Some(reply) => self.answer(Outcome::Forwarded, &reply),
            None => self.refuse(Refusal::unavailable()),
        }
    }

    fn on_done(&mut self) -> bool {
        if matches!(self.phase, Phase::Delivering { .. }) {
            // The sender left; the sidecar has the delivery.
            self.phase = Phase::Answered;
            self.shared.borrow().metrics.count(Outcome::Forwarded);
        }
        true
    }
}

/// The sidecar's answer, if there is one that can be relayed.
fn relayed(status: u32, size: usize) -> Option<Reply> {
    if status != 0 {
        return None;
    }
    let bytes = hostcalls::get_buffer(BufferType::GrpcReceiveBuffer, 0, size)
        .ok()
        .flatten()
        .unwrap_or_default();
    let response = v1::DeliverResponse::decode(bytes.as_slice()).ok()?;
    match Reply::try_from(response) {
        Ok(reply) => Some(reply),
        Err(error) => {
            log::error!("the sidecar's answer cannot be relayed: {error}");
            None
        }
    }
}

#[cfg(feature = "panic-trigger")]
#[expect(clippy::panic, reason = "the test build panics on request, to show that the proxy heals")]
fn panic_trigger(headers: &[(String, Vec<u8>)]) {
    if headers.iter().any(|(name, _)| name == "x-lockgate-panic") {
        panic!("asked to panic");
    }
}

/// Added to the sidecar's wait: the sidecar answers first.
const GRACE: Duration = Duration::from_secs(2);
