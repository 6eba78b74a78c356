//! One per request: holds it, judges it, hands it over, answers it. Exactly one answer per request.

use std::rc::Rc;
use std::time::Duration;

use lockgate_api::{DELIVER_METHOD, GATE_SERVICE, v1};
use lockgate_edge::{Answer, Exchange, Forward, Head, Refusal, Step};
use prost::Message;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, BufferType, MapType};

use crate::host::Host;
use crate::shared::Shared;

/// The context of one request.
pub struct Request {
    shared: Rc<Shared>,
    /// None before the headers.
    exchange: Option<Exchange>,
    /// The call to the sidecar that is under way.
    call: Option<u32>,
    answered: bool,
}

impl Request {
    /// A request that nothing is known about.
    pub fn new(shared: Rc<Shared>) -> Self {
        Self { shared, exchange: None, call: None, answered: false }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Wait => {}
            Step::Refuse(refusal) => self.answer(&refusal),
            Step::Forward(forward) => self.forward(forward),
        }
    }

    fn forward(&mut self, forward: Forward) {
        self.call = self.dispatch(forward);
        if self.call.is_none() {
            self.delivered(None);
        }
    }

    /// The call that hands a delivery over, if the proxy makes one.
    fn dispatch(&self, forward: Forward) -> Option<u32> {
        let worker = self.shared.worker.borrow();
        let config = self.shared.config.borrow();
        let wait = worker.syncer.edge()?.settings.wait;
        let message = v1::DeliverRequest::from(forward).encode_to_vec();
        hostcalls::dispatch_grpc_call(
            config.as_ref()?.cluster(),
            GATE_SERVICE,
            DELIVER_METHOD,
            Vec::new(),
            Some(&message),
            wait.saturating_add(GRACE),
        )
        .ok()
    }

    /// The sidecar's answer, or that there is none.
    fn delivered(&mut self, answer: Option<Answer>) {
        let Some(exchange) = &mut self.exchange else { return };
        let refusal = exchange.answered(&mut self.shared.worker.borrow_mut(), answer, &Host);
        self.answer(&refusal);
    }

    fn answer(&mut self, refusal: &Refusal) {
        if std::mem::replace(&mut self.answered, true) {
            return;
        }
        self.shared.metrics.count(refusal.outcome);
        Host.send(&refusal.reply);
    }
}

impl HttpContext for Request {
    fn on_http_request_headers(&mut self, _count: usize, ended: bool) -> Action {
        let Ok(headers) = hostcalls::get_map_bytes(MapType::HttpRequestHeaders) else {
            self.answer(&Refusal::unavailable());
            return Action::Pause;
        };
        #[cfg(feature = "panic-trigger")]
        panic_trigger(&headers);
        let head =
            Head::read(headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())));
        let (exchange, step) =
            Exchange::begin(&mut self.shared.worker.borrow_mut(), &head, ended, &Host);
        self.exchange = Some(exchange);
        self.step(step);
        Action::Pause
    }

    fn on_http_request_body(&mut self, size: usize, ended: bool) -> Action {
        if let Some(exchange) = &mut self.exchange {
            let step = exchange.body(&mut self.shared.worker.borrow_mut(), size, ended, &Host);
            self.step(step);
        }
        Action::Pause
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        // With trailers, the body's callback never says that the body is complete.
        if let Some(exchange) = &mut self.exchange {
            let step = exchange.finish(&mut self.shared.worker.borrow_mut(), &Host);
            self.step(step);
        }
        Action::Pause
    }
}

impl Context for Request {
    fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
        if self.call.take_if(|call| *call == token).is_some() {
            self.delivered(relayed(status, size));
        }
    }

    fn on_done(&mut self) -> bool {
        if let Some(exchange) = &mut self.exchange
            && let Some(outcome) = exchange.end(&mut self.shared.worker.borrow_mut(), &Host)
        {
            self.shared.metrics.count(outcome);
        }
        self.answered = true;
        true
    }
}

/// The sidecar's answer, if there is one that can be relayed.
fn relayed(status: u32, size: usize) -> Option<Answer> {
    if status != 0 {
        return None;
    }
    let bytes = hostcalls::get_buffer(BufferType::GrpcReceiveBuffer, 0, size)
        .ok()
        .flatten()
        .unwrap_or_default();
    let response = v1::DeliverResponse::decode(bytes.as_slice()).ok()?;
    match Answer::try_from(response) {
        Ok(answer) => Some(answer),
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
