//! The gate: Sync and Deliver over a unix socket, mutual TLS, the end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod sync;
mod tcp;

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use lockgate::{
    grpc::{GateService, Hooks, UnixSocket},
    metrics::Metrics,
    pipelines::{Catalog, Memory, Rules},
};
use lockgate_api::v1::{DeliverRequest, SyncRequest, gate_client::GateClient};
use lockgate_core::pipeline::Pipeline;
use lockgate_core::secret::Secret;
use lockgate_edge::endpoint::Endpoint as Name;
use lockgate_edge::reply::Reply;
use lockgate_edge::{Answer, Change, Charge, EdgeSettings, Forward, SyncAnswer, SyncQuestion};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};

fn pipeline(name: &str) -> Pipeline {
    let document = json!({
        "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline", "metadata": {"namespace": "team", "name": name},
        "spec": {
            "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": name},
            "environments": [{"name": "dev", "targets": [{"namespace": "dev"}]}, {"name": "prod", "targets": [{"namespace": "prod"}]}],
            "promotion": {"strategy": {"secretRef": {"name": name}, "notification": {}}, "rateLimit": {"requests": 5, "interval": "10s"}},
        },
    });
    Pipeline::from_value(&document).unwrap().value
}

fn secret(name: &str, key: &str) -> Secret {
    let document = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "team", "name": name}, "stringData": {"hmac-key": format!("{key}-0123456789abcdef0123456789abcdef")}});
    Secret::from_value(&document).unwrap().value
}

fn world(count: usize, key: &str) -> (Vec<Pipeline>, Vec<Secret>) {
    let names: Vec<String> = (0..count).map(|number| format!("p{number:04}")).collect();
    (
        names.iter().map(|name| pipeline(name)).collect(),
        names.iter().map(|name| secret(name, key)).collect(),
    )
}

struct Gate<S = Memory> {
    _dir: TempDir,
    path: PathBuf,
    source: S,
    metrics: Metrics,
    refused: Arc<Mutex<Vec<(Name, u32)>>>,
    stop: watch::Sender<bool>,
    served: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
}

fn hooks(metrics: &Metrics, refused: &Arc<Mutex<Vec<(Name, u32)>>>) -> Hooks {
    let refused = Arc::clone(refused);
    Hooks {
        deliver: Arc::new(|forward: Forward| {
            let body = json!({"endpoint": forward.endpoint.as_str(), "bytes": forward.body.len()});
            let reply = Reply::created(&body, "https://forge.example/1".to_owned());
            Box::pin(async { Answer { reply, charge: Charge::Source } })
        }),
        refused: Arc::new(move |endpoint, count| {
            refused.lock().unwrap().push((endpoint.clone(), count));
        }),
        metrics: metrics.clone(),
    }
}

async fn start_with(
    settings: EdgeSettings,
    pipelines: Vec<Pipeline>,
    secrets: Vec<Secret>,
) -> Gate {
    start_on(settings, Memory::open(Rules::default(), pipelines, secrets)).await
}

/// A gate over a catalog, and the source that publishes into it.
async fn start_on<S>(settings: EdgeSettings, (source, catalog): (S, Catalog)) -> Gate<S> {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("run/gate.sock");
    let (stop, stopped) = watch::channel(false);
    let (metrics, refused) = (Metrics::new(), Arc::default());
    let hooks = hooks(&metrics, &refused);
    let (service, keeper) = GateService::new(settings, &catalog, hooks, stopped);
    tokio::spawn(keeper.run());
    let served = tokio::spawn(service.serve_unix(UnixSocket::bind(&path).await.unwrap()));
    Gate { _dir: dir, path, source, metrics, refused, stop, served }
}

async fn start(pipelines: Vec<Pipeline>, secrets: Vec<Secret>) -> Gate {
    start_with(EdgeSettings::default(), pipelines, secrets).await
}

impl<S> Gate<S> {
    async fn client(&self) -> GateClient<Channel> {
        connect(&self.path).await
    }
}

async fn connect(path: &Path) -> GateClient<Channel> {
    GateClient::new(
        Endpoint::from_shared(format!("unix://{}", path.display()))
            .unwrap()
            .connect()
            .await
            .unwrap(),
    )
}

fn question(version: u64, cursor: &str) -> SyncRequest {
    SyncQuestion { version, cursor: cursor.to_owned(), refused: Vec::new() }.into()
}

async fn asked(
    client: &mut GateClient<Channel>,
    version: u64,
    cursor: &str,
) -> Result<SyncAnswer, Status> {
    let answer = client.sync(question(version, cursor)).await?;
    Ok(answer.into_inner().try_into().unwrap())
}

async fn sync(client: &mut GateClient<Channel>, version: u64, cursor: &str) -> SyncAnswer {
    asked(client, version, cursor).await.unwrap()
}

fn full(answer: SyncAnswer) -> (Vec<String>, Option<String>) {
    match answer.change {
        Change::Full(records) => {
            (records.iter().map(|record| record.endpoint.to_string()).collect(), answer.next)
        }
        Change::Delta { .. } => panic!("a delta"),
    }
}

#[tokio::test]
async fn the_socket_is_for_its_group_alone_and_goes_at_the_end() {
    let gate = start(Vec::new(), Vec::new()).await;
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(&gate.path), mode(gate.path.parent().unwrap())), (0o660, 0o750));
    assert_eq!(
        UnixSocket::bind(&gate.path).await.unwrap_err().kind(),
        std::io::ErrorKind::AddrInUse,
        "a socket that is served is not taken"
    );
    gate.stop.send_replace(true);
    gate.served.await.unwrap().unwrap();
    assert!(!gate.path.exists());
    std::fs::write(&gate.path, "precious").unwrap();
    assert!(UnixSocket::bind(&gate.path).await.is_err());
    assert_eq!(std::fs::read_to_string(&gate.path).unwrap(), "precious");
}

#[tokio::test]
async fn what_a_killed_process_left_is_replaced() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("gate.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    drop(UnixSocket::bind(&path).await.unwrap());
    assert!(!path.exists(), "also without ever being served");
}

#[tokio::test]
async fn an_endpoint_without_keys_is_told_only_where_unsigned_events_are_allowed() {
    let pipelines = vec![pipeline("open"), pipeline("closed")];
    let settings = EdgeSettings {
        allow_unsigned: vec!["team/open".parse().unwrap()],
        ..EdgeSettings::default()
    };
    let gate = start_with(settings, pipelines, Vec::new()).await;
    let answer = sync(&mut gate.client().await, 0, "").await;
    assert_eq!(full(answer).0, ["team/open/dev", "team/open/prod"]);
}

#[tokio::test]
async fn a_delivery_is_answered_by_whoever_answers_deliveries() {
    let gate = start(Vec::new(), Vec::new()).await;
    let request = DeliverRequest {
        endpoint: "team/p/dev".to_owned(),
        body: vec![b'x'; 70_000],
        ..DeliverRequest::default()
    };
    let answer = gate.client().await.deliver(request).await.unwrap().into_inner();
    assert_eq!((answer.status, answer.location.as_str()), (201, "https://forge.example/1"));
    assert_eq!(answer.charge(), lockgate_api::v1::Charge::Source);
    assert_eq!(answer.body, br#"{"bytes":70000,"endpoint":"team/p/dev"}"#);
    let refused = gate
        .client()
        .await
        .deliver(DeliverRequest { endpoint: "../p".to_owned(), ..DeliverRequest::default() })
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn stopping_ends_the_long_polls() {
    let gate = start(Vec::new(), Vec::new()).await;
    let mut client = gate.client().await;
    let version = sync(&mut client, 0, "").await.version;
    let request = question(version, "");
    let poll = tokio::spawn(async move { client.sync(request).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    gate.stop.send_replace(true);
    let ended = tokio::time::timeout(Duration::from_secs(2), poll).await.unwrap().unwrap();
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
    tokio::time::timeout(Duration::from_secs(2), gate.served).await.unwrap().unwrap().unwrap();
}
