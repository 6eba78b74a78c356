//! The probes, and a listener from its first connection to its end.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use axum::http::StatusCode;
use lockgate::http::{self, Health, Stage};
use serde_json::Value;
use tokio::sync::watch;

use crate::{catalog, get, world};

#[tokio::test]
async fn ready_means_serving_and_a_ledger_that_writes() {
    let world = world().await;
    let (stage, seen) = watch::channel(Stage::Starting);
    let ledger = Arc::clone(&world.ledger);
    let probes = http::health(Health { ledger, catalog: catalog(), stage: seen });
    assert_eq!(get(&probes, "/healthz").await.0, StatusCode::OK);
    assert_eq!(get(&probes, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    stage.send_replace(Stage::Serving);
    let (status, _, body) = get(&probes, "/readyz").await;
    assert_eq!((status, &body["ready"]), (StatusCode::OK, &Value::Bool(true)));
    stage.send_replace(Stage::Stopping);
    assert_eq!(get(&probes, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        get(&probes, "/healthz").await.0,
        StatusCode::OK,
        "a process that stops is not to be killed"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_answers_and_ends_when_told() {
    let world = world().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = watch::channel(false);
    let served = tokio::spawn(http::serve(listener, world.api.clone(), stopped));
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream
            .write_all(b"GET /api/v1/pipelines HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = answer.await.unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("cache-control: no-store"),
        "{answer}"
    );
    let idle = TcpStream::connect(address).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    stop.send_replace(true);
    tokio::time::timeout(Duration::from_secs(3), served)
        .await
        .expect("an idle client must not hold the end up")
        .unwrap()
        .unwrap();
    drop(idle);
}
