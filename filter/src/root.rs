//! One per VM: reads the configuration, keeps the table in step with the sidecar, makes the
//! requests' contexts.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use lockgate_api::{GATE_SERVICE, SYNC_METHOD, v1};
use lockgate_edge::signature;
use lockgate_edge::{PluginConfig, SYNC_DEADLINE, Surroundings, SyncAnswer, Syncer};
use prost::Message;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType};

use crate::host::Host;
use crate::metrics::Metrics;
use crate::request::Request;

/// What the root and the requests of one VM share. A VM has one thread and its callbacks do not
/// nest.
pub struct Shared {
    /// What to judge by, and how it is kept in step.
    pub syncer: Syncer,
    /// Where the sidecar is; none denies everything.
    pub config: Option<PluginConfig>,
    /// Counters and gauges.
    pub metrics: Metrics,
}

/// The root context.
pub struct Root {
    shared: Rc<RefCell<Shared>>,
    question: Option<u32>,
    reachable: bool,
}

impl Root {
    /// A root that denies everything.
    pub fn new() -> Self {
        let shared = Shared { syncer: Syncer::default(), config: None, metrics: Metrics::define() };
        Self { shared: Rc::new(RefCell::new(shared)), question: None, reachable: true }
    }

    /// Asks the sidecar, if it is time to.
    fn ask(&mut self) {
        let mut shared = self.shared.borrow_mut();
        let shared = &mut *shared;
        let Some(config) = &shared.config else { return };
        let Some(question) = shared.syncer.ask(Host.now()) else { return };
        let message = v1::SyncRequest::from(question).encode_to_vec();
        let call = hostcalls::dispatch_grpc_call(
            config.cluster(),
            GATE_SERVICE,
            SYNC_METHOD,
            Vec::new(),
            Some(&message),
            SYNC_DEADLINE,
        );
        match call {
            Ok(token) => self.question = Some(token),
            Err(_) => {
                shared.syncer.fail(Host.now());
                if std::mem::replace(&mut self.reachable, false) {
                    log::error!("the proxy does not know the cluster {:?}", config.cluster());
                }
            }
        }
    }

    /// Takes the sidecar's answer. True: ask again at once.
    fn answered(&mut self, status: u32, size: usize) -> bool {
        let mut shared = self.shared.borrow_mut();
        let now = Host.now();
        let answer = match status {
            0 => hostcalls::get_buffer(BufferType::GrpcReceiveBuffer, 0, size)
                .map_err(|_| "the answer could not be read".to_string())
                .and_then(|bytes| {
                    v1::SyncResponse::decode(bytes.unwrap_or_default().as_slice())
                        .map_err(|_| "the answer is no message".to_string())
                })
                .and_then(|response| {
                    SyncAnswer::try_from(response).map_err(|error| error.to_string())
                }),
            status => Err(format!("gRPC status {status}")),
        };
        match answer {
            Ok(answer) => {
                let again = shared.syncer.answer(answer, now);
                if let Some(edge) = shared.syncer.edge() {
                    let (endpoints, version) = (edge.table.len(), edge.version);
                    shared.metrics.show_table(endpoints, version);
                    shared.metrics.show_age(0);
                    if !std::mem::replace(&mut self.reachable, true) {
                        log::info!(
                            "the sidecar answers again; endpoints={endpoints} version={version}"
                        );
                    }
                }
                again
            }
            Err(problem) => {
                shared.syncer.fail(now);
                if std::mem::replace(&mut self.reachable, false) {
                    let kept = shared.syncer.edge().map_or(0, |edge| edge.table.len());
                    log::warn!("the sidecar does not answer: {problem}; endpoints kept={kept}");
                }
                false
            }
        }
    }
}

impl Context for Root {
    fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
        if self.question != Some(token) {
            return;
        }
        self.question = None;
        if self.answered(status, size) {
            self.ask();
        }
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let text =
            hostcalls::get_buffer(BufferType::PluginConfiguration, 0, usize::MAX).ok().flatten();
        let config = match PluginConfig::parse(&text.unwrap_or_default()) {
            Ok(config) => Some(config),
            Err(error) => {
                log::error!("everything is denied: {error}");
                None
            }
        };
        let config = config.filter(|_| {
            let sound = signature::self_test();
            if !sound {
                log::error!(
                    "everything is denied: HMAC gives wrong results in this virtual machine"
                );
            }
            sound
        });
        self.shared.borrow_mut().config = config;
        hostcalls::set_tick_period(TICK).unwrap_or_default();
        self.ask();
        true
    }

    fn on_tick(&mut self) {
        self.ask();
        let shared = self.shared.borrow();
        if let Some(age) = shared.syncer.age(Host.now()) {
            shared.metrics.show_age(age.as_secs());
        }
    }

    fn create_http_context(&self, _context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Request::new(Rc::clone(&self.shared))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// How soon a lost question is asked again; the pauses between attempts are core's.
const TICK: Duration = Duration::from_millis(200);
