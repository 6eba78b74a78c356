//! The references behind Envoy: a server that verifies and commits as the sidecar does but speaks
//! plain HTTP, and one that does nothing. Both listen in a folder that the main program gives.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::floor::Floor;
use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use jiff::Timestamp;
use lockgate::intake::{self, Delivery, Intake};
use lockgate::ledger::sqlite::SqliteLedger;
use lockgate::ledger::{Ledger, Retention};
use lockgate::metrics::Metrics;
use lockgate::pipelines::{Folder, Rules};
use lockgate::promote::{self, Scheduler};
use lockgate::strategy::{self, Connect, GitSettings};
use lockgate_core::retry::RetryPolicy;
use lockgate_edge::Freshness;
use lockgate_edge::endpoint::{PathPrefix, parse_path};
use lockgate_edge::signature::Signature;
use lockgate_git::AddressPolicy;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

/// The socket of the server that verifies and commits.
pub const COMMIT_SOCKET: &str = "commit.sock";
/// The socket of the server that verifies and commits one row.
pub const FLOOR_SOCKET: &str = "floor.sock";
/// Holds the key that it verifies with; without it there is no such server.
pub const FLOOR_KEY: &str = "floor.key";
/// The socket of the server that does nothing.
pub const BARE_SOCKET: &str = "bare.sock";
/// Holds the TCP port of the server that does nothing.
pub const BARE_PORT: &str = "bare.port";

/// Serves until it is killed. `folder` has `pipelines/`; the store goes to `reference/`.
pub fn serve(folder: &Path) -> Result<()> {
    tokio::runtime::Runtime::new()?.block_on(run(folder))
}

async fn run(folder: &Path) -> Result<()> {
    let intake = Arc::new(intake(folder)?);
    let commit = UnixListener::bind(folder.join(COMMIT_SOCKET))?;
    let bare = UnixListener::bind(folder.join(BARE_SOCKET))?;
    if let Ok(key) = std::fs::read_to_string(folder.join(FLOOR_KEY)) {
        let floor = Floor::start(&key, &folder.join("floor.db"))?;
        tokio::spawn(floor.serve(UnixListener::bind(folder.join(FLOOR_SOCKET))?));
    }
    let tcp = TcpListener::bind("127.0.0.1:0").await?;
    std::fs::write(folder.join(BARE_PORT), tcp.local_addr()?.port().to_string())?;
    loop {
        tokio::select! {
            accepted = commit.accept() => answer(accepted?.0, Some(Arc::clone(&intake))),
            accepted = bare.accept() => answer(accepted?.0, None),
            accepted = tcp.accept() => {
                let stream = accepted?.0;
                stream.set_nodelay(true)?;
                answer(stream, None);
            }
        }
    }
}

fn intake(folder: &Path) -> Result<Intake> {
    let (source, catalog) = Folder::open(&folder.join("pipelines"), Rules::default())?;
    let ledger: Arc<dyn Ledger> = Arc::new(SqliteLedger::open(
        &folder.join("reference"),
        Retention::default(),
        Box::new(|_| {}),
    )?);
    let metrics = Metrics::new();
    let retry = RetryPolicy {
        delay: Duration::from_secs(2),
        max_delay: Duration::from_secs(20),
        threshold: 3,
        give_up_after: Duration::from_secs(86_400),
    };
    let policy = AddressPolicy { allow_insecure: Vec::new(), allowed_hosts: Vec::new() };
    let settings = promote::Settings {
        strategy: strategy::Settings {
            mirrors: folder.join("reference/mirrors"),
            git: GitSettings {
                author_name: "Bench".to_owned(),
                author_email: "bench@localhost".to_owned(),
                signing_key: None,
                policy,
            },
            connect: Connect::default(),
            notification: None,
        },
        retry,
        workers: NonZeroUsize::new(4).context("four workers")?,
        poll: promote::Poll { min: Duration::from_secs(15), max: Duration::from_secs(300) },
        recheck: promote::RECHECK,
        stop_grace: promote::STOP_GRACE,
    };
    let (scheduler, runner) =
        Scheduler::new(catalog.clone(), Arc::clone(&ledger), settings, metrics.clone());
    // They run as long as the process, which has nothing to clean up.
    tokio::spawn(async move { runner.run().await.map_err(|error| anyhow!(error)) });
    tokio::spawn(source.follow());
    let freshness = Freshness { past: Duration::from_secs(600), future: Duration::from_secs(120) };
    let settings = intake::Settings {
        freshness,
        wait: Duration::from_secs(5),
        public_url: None,
        allow_unsigned: BTreeSet::new(),
        retry,
    };
    Ok(Intake::new(catalog, ledger, settings, scheduler, metrics))
}

fn answer(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    intake: Option<Arc<Intake>>,
) {
    let service = service_fn(move |request| {
        let intake = intake.clone();
        async move {
            let status = match intake {
                Some(intake) => deliver(&intake, request).await.unwrap_or(500),
                None => request.into_body().collect().await.map_or(400, |_| 202),
            };
            let body = Full::new(Bytes::from_static(b"{\"promotion\":null}"));
            Ok::<_, Infallible>(
                Response::builder()
                    .status(status)
                    .header("content-type", "application/json")
                    .body(body)
                    .unwrap_or_default(),
            )
        }
    });
    tokio::spawn(async move {
        // A client that goes away is no matter of the server.
        let _gone = auto::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(stream), service)
            .await;
    });
}

async fn deliver(intake: &Intake, request: Request<Incoming>) -> Result<u16> {
    let endpoint = parse_path(&PathPrefix::default(), request.uri().path().as_bytes())
        .map_err(|error| anyhow!("{error}"))?;
    let signature = request
        .headers()
        .get("x-signature")
        .and_then(|value| Signature::parse(value.as_bytes()).ok());
    let body = request.into_body().collect().await?.to_bytes();
    let delivery = Delivery {
        endpoint,
        body,
        signature,
        source_address: String::new(),
        request_id: String::new(),
        traceparent: String::new(),
    };
    Ok(intake.deliver(delivery, Timestamp::now()).await.reply.status)
}
