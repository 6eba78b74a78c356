//! One VM, driven as a worker of Envoy drives it.

use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use wasmtime::{Instance, Linker, Store, WasmParams, WasmResults};

use super::calls;
use super::module::Module;
use super::proxy::Proxy;
use super::state::{Call, LocalReply, State, Stream};
use crate::client::{Body, Request};

pub(super) const ROOT: u32 = 1;
/// The one cluster that this host knows.
pub(super) const CLUSTER: &str = "lockgate-gate";

/// A request of one VM.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StreamId(u32);

/// How a request stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    Replied(LocalReply),
    /// Paused with a gRPC call under way.
    Calling(Call),
    /// Paused, and nothing under way that could ever end it.
    Stuck,
    /// Let through to the next filter: never what this module should do.
    Passed,
}

/// An instance of the module.
pub struct Vm {
    store: Store<State>,
    instance: Instance,
    next_context: u32,
    dead: bool,
}

impl Vm {
    /// Starts an instance with the configuration of `envoy/envoy.yaml`.
    ///
    /// # Errors
    /// The module imports what a proxy does not have, or traps, or refuses its configuration.
    pub fn start(module: &Module, proxy: &Proxy) -> Result<Self> {
        Self::start_with(module, proxy, &format!("{{\"cluster\": \"{CLUSTER}\"}}"))
    }

    /// Starts an instance with any configuration.
    ///
    /// # Errors
    /// As [`Vm::start`].
    pub fn start_with(module: &Module, proxy: &Proxy, configuration: &str) -> Result<Self> {
        let mut linker = Linker::new(&module.engine);
        calls::link(&mut linker, &module.module)?;
        let mut store =
            Store::new(&module.engine, State::new(proxy.clone(), configuration.as_bytes()));
        let instance = linker.instantiate(&mut store, &module.module)?;
        let mut vm = Self { store, instance, next_context: ROOT + 1, dead: false };
        vm.call::<(), ()>("_initialize", ())?;
        vm.call::<(u32, u32), ()>("proxy_on_context_create", (ROOT, 0))?;
        let size = u32::try_from(configuration.len())?;
        if vm.on::<(u32, u32), u32>(ROOT, "proxy_on_vm_start", (ROOT, 0))? == 0 {
            bail!("the module refused to start");
        }
        if vm.on::<(u32, u32), u32>(ROOT, "proxy_on_configure", (ROOT, size))? == 0 {
            bail!("the module refused its configuration");
        }
        Ok(vm)
    }

    /// What the timer of the root context does.
    ///
    /// # Errors
    /// The module trapped.
    pub fn tick(&mut self) -> Result<()> {
        self.on::<u32, ()>(ROOT, "proxy_on_tick", ROOT)
    }

    /// The period that the module asked for.
    pub fn tick_period(&self) -> Option<Duration> {
        self.store.data().tick
    }

    /// Sends a whole request and says how it stands then.
    ///
    /// # Errors
    /// The module trapped.
    pub fn send(&mut self, request: &Request) -> Result<Outcome> {
        let id = self.begin(request)?;
        self.outcome(id)
    }

    /// As [`Vm::send`], but gives the stream, so that it can be looked at again.
    ///
    /// # Errors
    /// The module trapped.
    pub fn begin(&mut self, request: &Request) -> Result<StreamId> {
        let bodiless = matches!(request.body, Body::Nothing) && request.trailers.is_empty();
        let id = self.open(request, bodiless)?;
        let (pieces, _) = request.pieces();
        let declared = request.declared();
        let count = pieces.len();
        for (position, piece) in pieces.iter().enumerate() {
            let last = position + 1 == count && declared.is_some() && request.trailers.is_empty();
            self.body(id, piece, last)?;
        }
        if !request.trailers.is_empty() {
            self.trailers(id, request)?;
        } else if !bodiless && declared.is_none() {
            // A chunked body ends by itself.
            self.body(id, b"", true)?;
        }
        Ok(id)
    }

    /// Headers only; the body is up to the caller.
    ///
    /// # Errors
    /// The module trapped.
    pub fn open(&mut self, request: &Request, end_of_stream: bool) -> Result<StreamId> {
        let id = self.next_context;
        self.next_context += 1;
        let mut headers = vec![
            (b":method".to_vec(), request.method.clone().into_bytes()),
            (b":path".to_vec(), request.path.clone().into_bytes()),
            (b":scheme".to_vec(), b"https".to_vec()),
            (b":authority".to_vec(), b"edge.example".to_vec()),
            (b"x-request-id".to_vec(), format!("00000000-0000-4000-8000-{id:012}").into_bytes()),
        ];
        headers.extend(
            request
                .headers
                .iter()
                .map(|(name, value)| (name.to_ascii_lowercase().into_bytes(), value.clone())),
        );
        if let Some(length) = request.declared() {
            headers.push((b"content-length".to_vec(), length.to_string().into_bytes()));
        }
        let count = u32::try_from(headers.len())?;
        let stream =
            Stream { headers, source: format!("{}:40000", request.source), ..Stream::default() };
        self.call::<(u32, u32), ()>("proxy_on_context_create", (id, ROOT))?;
        self.store.data_mut().streams.insert(id, stream);
        let id = StreamId(id);
        let action = self.on::<(u32, u32, u32), u32>(
            id.0,
            "proxy_on_request_headers",
            (id.0, count, u32::from(end_of_stream)),
        )?;
        self.note(id, action);
        Ok(id)
    }

    /// More body. Nothing is delivered after a reply, as in a proxy.
    ///
    /// # Errors
    /// The module trapped.
    pub fn body(&mut self, id: StreamId, bytes: &[u8], end_of_stream: bool) -> Result<()> {
        let stream = self.stream(id)?;
        if stream.reply.is_some() {
            return Ok(());
        }
        stream.body.extend_from_slice(bytes);
        let size = u32::try_from(stream.body.len())?;
        let action = self.on::<(u32, u32, u32), u32>(
            id.0,
            "proxy_on_request_body",
            (id.0, size, u32::from(end_of_stream)),
        )?;
        self.note(id, action);
        Ok(())
    }

    fn trailers(&mut self, id: StreamId, request: &Request) -> Result<()> {
        let stream = self.stream(id)?;
        if stream.reply.is_some() {
            return Ok(());
        }
        let bytes = request
            .trailers
            .iter()
            .map(|(name, value)| (name.clone().into_bytes(), value.clone().into_bytes()));
        stream.trailers = bytes.collect();
        let count = u32::try_from(request.trailers.len())?;
        let action =
            self.on::<(u32, u32), u32>(id.0, "proxy_on_request_trailers", (id.0, count))?;
        self.note(id, action);
        Ok(())
    }

    /// How a request stands now.
    ///
    /// # Errors
    /// There is no such request.
    pub fn outcome(&mut self, id: StreamId) -> Result<Outcome> {
        let stream = self.stream(id)?;
        if let Some(reply) = &stream.reply {
            return Ok(Outcome::Replied(reply.clone()));
        }
        if stream.passed {
            return Ok(Outcome::Passed);
        }
        let call = self.store.data().calls.values().find(|call| call.context == id.0).cloned();
        Ok(call.map_or(Outcome::Stuck, Outcome::Calling))
    }

    /// Ends a request as a proxy does after the reply, or when the client leaves: its calls end in
    /// silence.
    ///
    /// # Errors
    /// The module trapped.
    pub fn close(&mut self, id: StreamId) -> Result<()> {
        self.store.data_mut().calls.retain(|_, call| call.context != id.0);
        let _done = self.on::<u32, u32>(id.0, "proxy_on_done", id.0)?;
        self.on::<u32, ()>(id.0, "proxy_on_delete", id.0)?;
        self.store.data_mut().streams.remove(&id.0);
        Ok(())
    }

    /// The calls that wait for an answer, oldest first.
    pub fn calls(&self) -> Vec<Call> {
        self.store.data().calls.values().cloned().collect()
    }

    /// The waiting calls of one method.
    pub fn calls_of(&self, method: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.method == method).collect()
    }

    /// Answers a call with a message.
    ///
    /// # Errors
    /// There is no such call, or the module trapped.
    pub fn answer(&mut self, token: u32, message: &[u8]) -> Result<()> {
        let call = self.take_call(token)?;
        self.store.data_mut().status = 0;
        self.store.data_mut().received = message.to_vec();
        let size = u32::try_from(message.len())?;
        self.on::<(u32, u32, u32), ()>(
            call.context,
            "proxy_on_grpc_receive",
            (call.context, token, size),
        )
    }

    /// Lets a call fail with a gRPC status.
    ///
    /// # Errors
    /// There is no such call, or the module trapped.
    pub fn fail(&mut self, token: u32, status: u32) -> Result<()> {
        let call = self.take_call(token)?;
        self.store.data_mut().status = status;
        self.store.data_mut().received.clear();
        self.on::<(u32, u32, u32), ()>(
            call.context,
            "proxy_on_grpc_close",
            (call.context, token, status),
        )
    }

    /// The proxy's clock: time since the epoch.
    pub fn now(&self) -> Duration {
        self.store.data().proxy.now()
    }

    /// What the module has logged: level and text.
    pub fn log(&self) -> &[(u32, String)] {
        &self.store.data().log
    }

    /// Bytes of linear memory.
    pub fn memory_size(&mut self) -> usize {
        self.instance
            .get_memory(&mut self.store, "memory")
            .map_or(0, |memory| memory.data_size(&self.store))
    }

    fn take_call(&mut self, token: u32) -> Result<Call> {
        self.store
            .data_mut()
            .calls
            .remove(&token)
            .with_context(|| format!("no call with token {token}"))
    }

    fn stream(&mut self, id: StreamId) -> Result<&mut Stream> {
        self.store.data_mut().streams.get_mut(&id.0).with_context(|| format!("no request {id:?}"))
    }

    fn note(&mut self, id: StreamId, action: u32) {
        if let Some(stream) = self.store.data_mut().streams.get_mut(&id.0) {
            stream.passed = action == 0 && stream.reply.is_none();
        }
    }

    /// A callback in the name of `context`. One that the module does not export does nothing.
    fn on<P: WasmParams, R: WasmResults + Default>(
        &mut self,
        context: u32,
        name: &str,
        parameters: P,
    ) -> Result<R> {
        self.store.data_mut().effective = context;
        if self.instance.get_func(&mut self.store, name).is_none() {
            return Ok(R::default());
        }
        self.call(name, parameters)
    }

    fn call<P: WasmParams, R: WasmResults>(&mut self, name: &str, parameters: P) -> Result<R> {
        if self.dead {
            bail!("{name}: the VM has trapped before");
        }
        let function = self.instance.get_typed_func::<P, R>(&mut self.store, name)?;
        function.call(&mut self.store, parameters).map_err(|trap| {
            self.dead = true;
            let said =
                self.store.data().log.last().map(|(_, text)| text.as_str()).unwrap_or_default();
            anyhow!("{name} trapped: {trap:#}; last log line: {said}")
        })
    }
}
