//! `lockgate.v1.Gate`, what the filter calls: Sync keeps its endpoints and keys up to date, Deliver
//! hands over a delivery.
//!
//! The caller is trusted with the keys: it reaches this only through a socket of its group, or with
//! a certificate of a listed name. It is not trusted with a judgement: what Deliver gets is
//! verified again before it is answered.

mod listen;
mod table;
mod tls;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures::{Stream, future::BoxFuture, stream};
use lockgate_api::v1::{
    DeliverRequest, DeliverResponse, SyncRequest, SyncResponse,
    gate_server::{Gate, GateServer},
};
use lockgate_edge::endpoint::Endpoint;
use lockgate_edge::{Answer, EdgeSettings, Forward, SyncAnswer, SyncQuestion};
use prost::Message as _;
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{self, Instant},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::{
    Request, Response, Status, service::interceptor::InterceptedService, transport::Server,
};

use self::table::{Tables, UnknownCursor};
pub use self::{listen::UnixSocket, tls::MutualTls};
use crate::accept::{Acceptor, Bounds, Guarded, Listener};
use crate::metrics::{Metrics, SyncOutcome};
use crate::pipelines::{Catalog, Snapshot};

/// Answers a delivery.
pub type Deliver = Arc<dyn Fn(Forward) -> BoxFuture<'static, Answer> + Send + Sync>;

/// Is told how many signatures the edge refused on an endpoint that exists.
pub type Refused = Arc<dyn Fn(&Endpoint, u32) + Send + Sync>;

/// What the service calls.
#[derive(Clone)]
pub struct Hooks {
    pub deliver: Deliver,
    pub refused: Refused,
    pub metrics: Metrics,
}

/// The service, and the table it syncs from.
#[derive(Clone)]
pub struct GateService {
    tables: Arc<Tables>,
    /// Marked as changed after each change of the table.
    changed: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    hooks: Hooks,
}

/// Keeps the service's table up to date; its end is the end of the service.
pub struct TableKeeper {
    tables: Arc<Tables>,
    changed: watch::Sender<u64>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
}

impl GateService {
    /// The keeper has to run beside the service.
    pub fn new(
        settings: EdgeSettings,
        catalog: &Catalog,
        hooks: Hooks,
        stop: watch::Receiver<bool>,
    ) -> (Self, TableKeeper) {
        let mut snapshots = catalog.subscribe();
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let tables = Arc::new(Tables::new(settings, &snapshot));
        let (sender, changed) = watch::channel(0);
        (
            Self { tables: Arc::clone(&tables), changed, stop, hooks },
            TableKeeper { tables, changed: sender, snapshots },
        )
    }

    /// Serves on a unix socket until told to stop; the socket's file is removed then.
    pub async fn serve_unix(self, socket: UnixSocket) -> Result<(), tonic::transport::Error> {
        let (listener, _file) = socket.into_parts();
        let incoming = connections(Acceptor::new(listener, BOUNDS, self.stop.clone()));
        let stop = stopped(self.stop.clone());
        server().add_service(self.service()).serve_with_incoming_shutdown(incoming, stop).await
    }

    /// Serves on TCP, to callers with a certificate that the authority signed and that has one of
    /// the names.
    pub async fn serve_tcp(
        self,
        listener: TcpListener,
        tls: MutualTls,
    ) -> Result<(), tonic::transport::Error> {
        let tls = Arc::new(tls);
        let stop = stopped(self.stop.clone());
        let acceptor = Acceptor::new(listener, BOUNDS, self.stop.clone());
        let names = Arc::clone(&tls);
        let service = InterceptedService::new(self.service(), move |request| names.admit(request));
        let (done, ready) = mpsc::channel(1);
        let incoming = stream::unfold(ready, |mut ready: mpsc::Receiver<_>| async move {
            ready.recv().await.map(|stream| (Ok::<_, io::Error>(stream), ready))
        });
        let serving = server().add_service(service).serve_with_incoming_shutdown(incoming, stop);
        // The handshakes end when the server does.
        let mut handshakes = JoinSet::new();
        handshakes.spawn(shake_hands(acceptor, tls, done));
        serving.await
    }

    fn service(self) -> GateServer<Self> {
        GateServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }

    fn refused(&self, question: &SyncQuestion) {
        for (endpoint, count) in &question.refused {
            (self.hooks.refused)(endpoint, *count);
        }
    }

    /// The answer, if the caller can take it in.
    fn answered(
        &self,
        answer: SyncAnswer,
        outcome: SyncOutcome,
    ) -> Result<Response<SyncResponse>, Status> {
        let response = SyncResponse::from(answer);
        let bytes = response.encoded_len();
        if bytes > MAX_MESSAGE {
            tracing::error!(
                bytes,
                "an answer to the edge is too large: no change of a key reaches it"
            );
            self.hooks.metrics.sync(SyncOutcome::Failed);
            return Err(Status::out_of_range(format!(
                "the answer has {bytes} bytes, expected at most {MAX_MESSAGE}"
            )));
        }
        self.hooks.metrics.sync(outcome);
        Ok(Response::new(response))
    }

    fn failed(&self, status: Status) -> Status {
        tracing::warn!(code = ?status.code(), "a question of the edge was not answered: {}", status.message());
        self.hooks.metrics.sync(SyncOutcome::Failed);
        status
    }
}

/// Binds TCP with the address in the error.
pub async fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
}

impl TableKeeper {
    /// Follows the catalog; ends when that is gone.
    pub async fn run(mut self) {
        while self.snapshots.changed().await.is_ok() {
            let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
            if self.tables.push(&snapshot) {
                self.changed.send_modify(|count| *count += 1);
            }
        }
    }
}

#[tonic::async_trait]
impl Gate for GateService {
    async fn sync(&self, request: Request<SyncRequest>) -> Result<Response<SyncResponse>, Status> {
        let question = SyncQuestion::try_from(request.into_inner())
            .map_err(|error| self.failed(Status::invalid_argument(error.to_string())))?;
        self.refused(&question);
        let (mut changed, mut stop) = (self.changed.clone(), self.stop.clone());
        let deadline = Instant::now() + HOLD;
        loop {
            changed.mark_unchanged();
            match self.tables.answer(&question) {
                Ok(Some(answer)) => return self.answered(answer, SyncOutcome::Changed),
                Ok(None) => {}
                Err(UnknownCursor) => {
                    return Err(self.failed(Status::aborted(
                        "the cursor is of a table that is not known here: begin anew",
                    )));
                }
            }
            tokio::select! {
                gone = changed.changed() => if gone.is_err() { return Err(stops()) },
                _ = stop.wait_for(|stop| *stop) => return Err(stops()),
                () = time::sleep_until(deadline) => {
                    let answer = self.tables.unchanged(question.version).ok_or_else(stops)?;
                    return self.answered(answer, SyncOutcome::Unchanged);
                }
            }
        }
    }

    async fn deliver(
        &self,
        request: Request<DeliverRequest>,
    ) -> Result<Response<DeliverResponse>, Status> {
        let forward = Forward::try_from(request.into_inner()).map_err(|error| {
            tracing::warn!(%error, "the filter sent something that is not a delivery");
            Status::invalid_argument(error.to_string())
        })?;
        Ok(Response::new((self.hooks.deliver)(forward).await.into()))
    }
}

fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_connection_age(AGE)
        .max_connection_age_grace(AGE_GRACE)
        .max_concurrent_streams(STREAMS)
        .concurrency_limit_per_connection(STREAMS as usize)
}

fn connections<L: Listener>(
    acceptor: Acceptor<L>,
) -> impl Stream<Item = io::Result<Guarded<L::Stream>>> {
    stream::unfold(acceptor, |mut acceptor: Acceptor<L>| async move {
        acceptor.next().await.map(|stream| (Ok(stream), acceptor))
    })
}

/// Every handshake for itself, so that a slow one holds up nobody.
async fn shake_hands(
    mut acceptor: Acceptor<TcpListener>,
    tls: Arc<MutualTls>,
    done: mpsc::Sender<TlsStream<Guarded<tokio::net::TcpStream>>>,
) {
    let mut handshakes = JoinSet::new();
    let mut look = time::interval(LOOK);
    loop {
        let stream = tokio::select! {
            stream = acceptor.next() => stream,
            Some(_) = handshakes.join_next() => continue,
            _ = look.tick() => {
                tls.current();
                continue;
            }
        };
        let Some(stream) = stream else { return };
        let (config, done) = (tls.current(), done.clone());
        handshakes.spawn(async move {
            let handshake = TlsAcceptor::from(config).accept(stream);
            match time::timeout(BOUNDS.first, handshake).await {
                Ok(Ok(mut stream)) => {
                    stream.get_mut().0.expect_first();
                    // Without a receiver the server has stopped.
                    drop(done.send(stream).await);
                }
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a caller of the gate failed its TLS handshake")
                }
                Err(_) => tracing::debug!("a caller of the gate did not finish its TLS handshake"),
            }
        });
    }
}

fn stops() -> Status {
    Status::unavailable("the sidecar stops")
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // A sender that is gone means the same.
    drop(stop.wait_for(|stop| *stop).await);
}

/// How long a question without news is held.
const HOLD: Duration = Duration::from_secs(20);
/// Four times what an answer's endpoints may have: room for the settings.
const MAX_MESSAGE: usize = 4 << 20;
/// A proxy that is gone is noticed within two of these.
const KEEPALIVE: Duration = Duration::from_secs(30);
const BOUNDS: Bounds = Bounds::http2(KEEPALIVE);
/// A caller that keeps a stream open without reading it is rid of after this; others connect anew
/// and notice nothing.
const AGE: Duration = Duration::from_secs(3600);
/// Longer than a question is held.
const AGE_GRACE: Duration = Duration::from_secs(60);
/// How often renewed certificates are looked for while nobody connects.
const LOOK: Duration = Duration::from_secs(30);
/// Calls of one connection at a time: a proxy worker has one Sync, and deliveries that wait.
const STREAMS: u32 = 1024;
