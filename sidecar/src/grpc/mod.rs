//! `lockgate.v1.Gate`, what the filter calls: Sync keeps its endpoints and keys up to date, Deliver
//! hands over a delivery.
//!
//! The caller is trusted with the keys: it reaches this only through a socket of its group, or with
//! a certificate of a listed name. It is not trusted with a judgement: what Deliver gets is
//! verified again by whoever answers it.

mod listen;
mod table;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use lockgate_api::v1::{
    DeliverRequest, DeliverResponse, SyncRequest, SyncResponse,
    gate_server::{Gate, GateServer},
};
use lockgate_edge::reply::Reply;
use lockgate_edge::{EdgeSettings, Forward, SyncQuestion};
use tokio::{
    net::TcpListener,
    sync::watch,
    time::{self, Instant},
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::{
    Request, Response, Status,
    service::interceptor::InterceptedService,
    transport::{Certificate, Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

pub use self::listen::UnixSocket;
use self::table::Tables;
use crate::pipelines::{Catalog, Snapshot};

/// Answers a delivery.
pub type Deliver = Arc<dyn Fn(Forward) -> BoxFuture<'static, Reply> + Send + Sync>;

/// The service, and the table it syncs from.
#[derive(Clone)]
pub struct GateService {
    tables: Arc<Tables>,
    /// Marked as changed after each change of the table.
    changed: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    deliver: Deliver,
}

/// Keeps the service's table up to date; its end is the end of the service.
pub struct TableKeeper {
    tables: Arc<Tables>,
    changed: watch::Sender<u64>,
    snapshots: watch::Receiver<Arc<Snapshot>>,
}

impl GateService {
    /// `instance` differs for each start. The keeper has to run beside the service.
    pub fn new(
        instance: String,
        settings: EdgeSettings,
        catalog: &Catalog,
        deliver: Deliver,
        stop: watch::Receiver<bool>,
    ) -> (Self, TableKeeper) {
        let mut snapshots = catalog.subscribe();
        let snapshot = Arc::clone(&snapshots.borrow_and_update());
        let tables = Arc::new(Tables::new(instance, settings, &snapshot));
        let (sender, changed) = watch::channel(0);
        (
            Self { tables: Arc::clone(&tables), changed, stop, deliver },
            TableKeeper { tables, changed: sender, snapshots },
        )
    }

    /// Serves on a unix socket until told to stop; the socket's file is removed then.
    pub async fn serve_unix(self, socket: UnixSocket) -> Result<(), tonic::transport::Error> {
        let (listener, _file) = socket.into_parts();
        let stop = stopped(self.stop.clone());
        server()
            .add_service(self.service())
            .serve_with_incoming_shutdown(UnixListenerStream::new(listener), stop)
            .await
    }

    /// Serves on TCP, to callers with a certificate that the authority signed and that has one of
    /// the names.
    pub async fn serve_tcp(
        self,
        listener: TcpListener,
        tls: MutualTls,
    ) -> Result<(), tonic::transport::Error> {
        let stop = stopped(self.stop.clone());
        let config = ServerTlsConfig::new()
            .identity(Identity::from_pem(tls.cert, tls.key))
            .client_ca_root(Certificate::from_pem(tls.client_ca));
        let names = Arc::new(tls.client_names);
        let service = InterceptedService::new(self.service(), move |request: Request<()>| {
            admitted(&names, request)
        });
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        server()
            .tls_config(config)?
            .add_service(service)
            .serve_with_incoming_shutdown(incoming, stop)
            .await
    }

    fn service(self) -> GateServer<Self> {
        GateServer::new(self)
            .max_decoding_message_size(MAX_MESSAGE)
            .max_encoding_message_size(MAX_MESSAGE)
    }
}

/// What mutual TLS needs, as PEM.
pub struct MutualTls {
    pub cert: String,
    pub key: String,
    pub client_ca: String,
    /// DNS and URI names; at least one.
    pub client_names: Vec<String>,
}

impl MutualTls {
    /// Errors: a file that cannot be read, by its name.
    pub fn read(tls: &crate::config::Tls) -> io::Result<Self> {
        let read = |path: &std::path::Path| {
            std::fs::read_to_string(path).map_err(|error| {
                io::Error::new(error.kind(), format!("{}: {error}", path.display()))
            })
        };
        Ok(Self {
            cert: read(&tls.cert)?,
            key: read(&tls.key)?,
            client_ca: read(&tls.client_ca)?,
            client_names: tls.client_names.clone(),
        })
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
        let question = SyncQuestion::from(request.into_inner());
        let (mut changed, mut stop) = (self.changed.clone(), self.stop.clone());
        let deadline = Instant::now() + HOLD;
        loop {
            changed.mark_unchanged();
            if let Some(answer) = self.tables.answer(&question) {
                return Ok(Response::new(answer.into()));
            }
            tokio::select! {
                gone = changed.changed() => if gone.is_err() { return Err(Status::unavailable("the sidecar stops")) },
                _ = stop.wait_for(|stop| *stop) => return Err(Status::unavailable("the sidecar stops")),
                () = time::sleep_until(deadline) => return Ok(Response::new(self.tables.unchanged(question.version).into())),
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
        Ok(Response::new((self.deliver)(forward).await.into()))
    }
}

fn server() -> Server {
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE))
        .max_concurrent_streams(STREAMS)
        .concurrency_limit_per_connection(STREAMS as usize)
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    // A sender that is gone means the same.
    drop(stop.wait_for(|stop| *stop).await);
}

/// Passes a caller whose certificate has one of the names.
fn admitted(names: &[String], request: Request<()>) -> Result<Request<()>, Status> {
    let certificates = request.peer_certs();
    let found = certificates.as_ref().and_then(|chain| chain.first()).and_then(|leaf| {
        webpki::EndEntityCert::try_from(leaf).ok().map(|certificate| {
            certificate
                .valid_dns_names()
                .chain(certificate.valid_uri_names())
                .any(|name| names.iter().any(|allowed| allowed == name))
        })
    });
    if found == Some(true) {
        Ok(request)
    } else {
        tracing::warn!(
            "a caller of the gate has a certificate without a name of listen.tls.clientNames"
        );
        Err(Status::permission_denied("the certificate has none of the allowed names"))
    }
}

/// How long a question without news is held.
const HOLD: Duration = Duration::from_secs(20);
/// 500 endpoints with four keys of 64 bytes are 200 kB; a body has at most 1 MiB.
const MAX_MESSAGE: usize = 4 << 20;
/// A proxy that is gone is noticed within two of these.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Calls of one connection at a time: a proxy worker has one Sync, and deliveries that wait.
const STREAMS: u32 = 1024;
