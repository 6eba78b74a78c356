//! One per VM: reads the configuration, keeps the table in step with the sidecar, makes the
//! requests' contexts.

use std::rc::Rc;
use std::time::Duration;

use lockgate_api::{GATE_SERVICE, SYNC_METHOD, v1};
use lockgate_edge::signature;
use lockgate_edge::{PluginConfig, SYNC_DEADLINE, Surroundings, SyncAnswer, Watch};
use prost::Message;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{BufferType, ContextType};

use crate::host::Host;
use crate::request::Request;
use crate::shared::Shared;

/// The root context.
pub struct Root {
    shared: Rc<Shared>,
    /// The call to the sidecar that is under way.
    question: Option<u32>,
    /// From the first tick on: a VM that the proxy makes only to try the configuration has none.
    watch: Option<Watch>,
    /// Nanoseconds of the proxy's clock.
    started: u64,
    ticks: u32,
}

impl Root {
    /// A root that denies everything.
    pub fn new() -> Self {
        Self { shared: Rc::new(Shared::new()), question: None, watch: None, started: 0, ticks: 0 }
    }

    /// Asks the sidecar, if it is time to.
    fn ask(&mut self) {
        let config = self.shared.config.borrow();
        let Some(config) = &*config else { return };
        let Some(question) = self.shared.worker.borrow_mut().syncer.ask(Host.now()) else { return };
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
                self.failed(|_| {
                    log::error!("the proxy does not know the cluster {:?}", config.cluster());
                });
            }
        }
    }

    /// Takes the sidecar's answer. True: ask again at once.
    fn answered(&self, status: u32, size: usize) -> bool {
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
                let mut worker = self.shared.worker.borrow_mut();
                let again = worker.syncer.answer(answer, Host.now());
                if let Some(edge) = worker.syncer.edge() {
                    let (endpoints, complete) = (edge.table.len(), edge.certainty.complete);
                    self.shared.metrics.show_table(endpoints, edge.version);
                    if !self.shared.reachable.replace(true) {
                        log::info!(
                            "the sidecar answers again; endpoints={endpoints} complete={complete}"
                        );
                    }
                }
                again
            }
            Err(problem) => {
                self.failed(|kept| {
                    log::warn!("the sidecar does not answer: {problem}; endpoints kept={kept}");
                });
                false
            }
        }
    }

    /// A question got no answer. Counted each time, and logged when it begins: `log` is told how
    /// many endpoints are kept.
    fn failed(&self, log: impl FnOnce(usize)) {
        let mut worker = self.shared.worker.borrow_mut();
        worker.syncer.fail(Host.now());
        self.shared.metrics.count_failed_sync();
        if self.shared.reachable.replace(false) {
            let kept = worker.syncer.edge().map_or(0, |edge| edge.table.len());
            log(kept);
        }
    }

    /// Shows that this worker runs, and how long the slowest one has waited for the sidecar.
    fn show_age(&mut self) {
        let now = Host.now();
        if self.watch.is_none() {
            self.watch = Watch::start(&Host, now);
        }
        if let Some(watch) = &self.watch {
            let heard = self.shared.worker.borrow().syncer.heard().unwrap_or(self.started);
            watch.beat(&Host, heard, now);
        }
        if self.ticks.is_multiple_of(TICKS_PER_LOOK) {
            self.shared.metrics.show_age(Watch::oldest(&Host, now).as_secs());
        }
        self.ticks = self.ticks.wrapping_add(1);
    }
}

impl Context for Root {
    fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
        if self.question.take_if(|question| *question == token).is_some()
            && self.answered(status, size)
        {
            self.ask();
        }
    }

    fn on_done(&mut self) -> bool {
        if let Some(watch) = self.watch.take() {
            watch.end(&Host);
        }
        true
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
        self.shared.config.replace(config);
        self.started = Host.now();
        hostcalls::set_tick_period(TICK).unwrap_or_default();
        self.ask();
        true
    }

    fn on_tick(&mut self) {
        self.ask();
        self.show_age();
    }

    fn create_http_context(&self, _context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Request::new(Rc::clone(&self.shared))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// How soon a lost question is asked again; the pauses between attempts are the syncer's.
const TICK: Duration = Duration::from_millis(200);
/// Reading the times of all workers takes a call for each: once a second is enough.
const TICKS_PER_LOOK: u32 = 5;
