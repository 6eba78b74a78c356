//! The gate: Sync and Deliver over a unix socket, mutual TLS, the end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod tcp;

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use lockgate::{
    grpc::{Deliver, GateService, UnixSocket},
    pipelines::Catalog,
};
use lockgate_api::v1::{DeliverRequest, gate_client::GateClient};
use lockgate_core::pipeline::Pipeline;
use lockgate_core::secret::Secret;
use lockgate_edge::reply::Reply;
use lockgate_edge::{Change, EdgeSettings, Forward, SyncAnswer, SyncQuestion};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::watch;
use tonic::{
    Code,
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

struct Gate {
    _dir: TempDir,
    path: PathBuf,
    catalog: Catalog,
    stop: watch::Sender<bool>,
    served: tokio::task::JoinHandle<Result<(), tonic::transport::Error>>,
}

fn service(catalog: &Catalog, stop: watch::Receiver<bool>) -> GateService {
    let deliver: Deliver = Arc::new(|forward: Forward| {
        Box::pin(async move {
            Reply::created(
                &json!({"endpoint": forward.endpoint.to_string(), "bytes": forward.body.len()}),
                "https://forge.example/1".to_owned(),
            )
        })
    });
    let (service, keeper) =
        GateService::new("instance-1".to_owned(), EdgeSettings::default(), catalog, deliver, stop);
    tokio::spawn(keeper.run());
    service
}

async fn start(pipelines: Vec<Pipeline>, secrets: Vec<Secret>) -> Gate {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("run/gate.sock");
    let catalog = Catalog::fixed(pipelines, secrets);
    let (stop, stopped) = watch::channel(false);
    let socket = UnixSocket::bind(&path).await.unwrap();
    let served = tokio::spawn(service(&catalog, stopped).serve_unix(socket));
    Gate { _dir: dir, path, catalog, stop, served }
}

impl Gate {
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

async fn sync(
    client: &mut GateClient<Channel>,
    version: u64,
    instance: &str,
    cursor: &str,
) -> SyncAnswer {
    let question =
        SyncQuestion { version, instance: instance.to_owned(), cursor: cursor.to_owned() };
    client
        .sync(lockgate_api::v1::SyncRequest::from(question))
        .await
        .unwrap()
        .into_inner()
        .try_into()
        .unwrap()
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
async fn a_first_question_gets_the_whole_table_in_pages_of_500() {
    let (pipelines, secrets) = world(520, "first");
    let gate = start(pipelines, secrets).await;
    let mut client = gate.client().await;
    let first = sync(&mut client, 0, "", "").await;
    let version = first.version;
    assert_eq!(
        (first.instance.as_str(), &first.settings),
        ("instance-1", &EdgeSettings::default())
    );
    let Change::Full(records) = &first.change else { panic!("a delta") };
    assert_eq!(records[0].rate_limit.unwrap().requests.get(), 5);
    assert!(records[0].keys[0].bytes().starts_with(b"first-"));
    let (mut names, mut next) = full(first);
    assert_eq!(names.len(), 500);
    // A change between two pages does not mix two versions.
    gate.catalog.replace(Vec::new(), Vec::new());
    tokio::time::sleep(Duration::from_millis(50)).await;
    while let Some(cursor) = next {
        let page = sync(&mut client, 0, "", &cursor).await;
        assert_eq!(page.version, version);
        let (more, after) = full(page);
        assert!(more.len() <= 500);
        names.extend(more);
        next = after;
    }
    assert_eq!(names.len(), 1040);
    assert!(names.is_sorted());
    let lost = sync(&mut client, 0, "", "17:team/p0001/dev").await;
    assert!(
        lost.version > version && full(lost).0.is_empty(),
        "a cursor that is not known gets the first page of the current table"
    );
}

#[tokio::test]
async fn a_rotated_key_ends_the_long_poll_with_a_delta() {
    let (pipelines, secrets) = world(3, "first");
    let gate = start(pipelines.clone(), secrets).await;
    let mut client = gate.client().await;
    let version = sync(&mut client, 0, "", "").await.version;
    let catalog = gate.catalog.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut secrets: Vec<Secret> =
            ["p0000", "p0001"].iter().map(|name| secret(name, "first")).collect();
        secrets[1] = secret("p0001", "second");
        catalog.replace(pipelines, secrets);
    });
    let asked = Instant::now();
    let answer = sync(&mut client, version, "instance-1", "").await;
    assert!(
        asked.elapsed() > Duration::from_millis(150) && asked.elapsed() < Duration::from_secs(10),
        "{:?}",
        asked.elapsed()
    );
    let Change::Delta { base, upserts, removals } = answer.change else {
        panic!("the whole table")
    };
    assert_eq!((base, answer.version > version), (version, true));
    assert_eq!(
        upserts.iter().map(|record| record.endpoint.to_string()).collect::<Vec<_>>(),
        ["team/p0001/dev", "team/p0001/prod"]
    );
    assert!(upserts[0].keys[0].bytes().starts_with(b"second-"));
    assert_eq!(
        removals.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["team/p0002/dev", "team/p0002/prod"],
        "an endpoint without a key does not exist"
    );
}

#[tokio::test]
async fn versions_of_another_instance_and_forgotten_ones_get_the_whole_table() {
    let (pipelines, secrets) = world(1, "key");
    let gate = start(pipelines, secrets).await;
    let mut client = gate.client().await;
    let version = sync(&mut client, 0, "", "").await.version;
    for (version, instance) in [
        (version, "instance-0"),
        (version, ""),
        (version - 1, "instance-1"),
        (version + 1, "instance-1"),
    ] {
        assert_eq!(
            full(sync(&mut client, version, instance, "").await).0.len(),
            2,
            "{version} {instance}"
        );
    }
}

#[tokio::test]
async fn a_change_that_touches_no_endpoint_is_no_news() {
    let (pipelines, secrets) = world(1, "key");
    let gate = start(pipelines.clone(), secrets.clone()).await;
    let mut client = gate.client().await;
    let version = sync(&mut client, 0, "", "").await.version;
    gate.catalog.replace(pipelines, secrets);
    let answer = tokio::time::timeout(
        Duration::from_millis(300),
        sync(&mut client, version, "instance-1", ""),
    )
    .await;
    assert!(answer.is_err(), "{answer:?}");
}

#[tokio::test]
async fn an_endpoint_without_keys_is_told_only_where_unsigned_events_are_allowed() {
    let catalog = Catalog::fixed(vec![pipeline("open"), pipeline("closed")], Vec::new());
    let (_stop, stopped) = watch::channel(false);
    let deliver: Deliver = Arc::new(|_| Box::pin(async { Reply::unavailable() }));
    let settings = EdgeSettings {
        allow_unsigned: vec!["team/open".parse().unwrap()],
        ..EdgeSettings::default()
    };
    let (service, _keeper) = GateService::new("i".to_owned(), settings, &catalog, deliver, stopped);
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("g.sock");
    tokio::spawn(service.serve_unix(UnixSocket::bind(&path).await.unwrap()));
    let answer = sync(&mut connect(&path).await, 0, "", "").await;
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
    let version = sync(&mut client, 0, "", "").await.version;
    let request = lockgate_api::v1::SyncRequest {
        version,
        instance: "instance-1".to_owned(),
        cursor: String::new(),
    };
    let poll = tokio::spawn(async move { client.sync(request).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    gate.stop.send_replace(true);
    let ended = tokio::time::timeout(Duration::from_secs(2), poll).await.unwrap().unwrap();
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
    tokio::time::timeout(Duration::from_secs(2), gate.served).await.unwrap().unwrap().unwrap();
}
