//! The JSON view, the probes and the metrics page, as a client sees them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use jiff::Timestamp;
use lockgate::{
    http::{self, ApiState, Health, Stage},
    metrics::Metrics,
    pipelines::Catalog,
    store::Store,
};
use lockgate_core::event::Event;
use lockgate_core::pipeline::Pipeline;
use lockgate_core::promotion::{EventSummary, Intent, Promotion, PromotionId};
use lockgate_core::secret::Secret;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::watch;
use tower::ServiceExt;

fn pipeline(namespace: &str, name: &str) -> Pipeline {
    let document = json!({
        "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline", "metadata": {"namespace": namespace, "name": name},
        "spec": {
            "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": name},
            "environments": [
                {"name": "dev", "targets": [{"namespace": "dev"}]},
                {"name": "prod", "targets": [{"namespace": "prod", "clusterRef": {"kind": "GitopsCluster", "name": "eu"}}]},
            ],
            "promotion": {"manual": true, "strategy": {"secretRef": {"name": "hmac"}, "notification": {}}},
        },
    });
    Pipeline::from_value(&document).unwrap().value
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn catalog() -> Catalog {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "team", "name": "hmac"}, "stringData": {"hmac-key": KEY}});
    Catalog::fixed(
        vec![pipeline("team", "a"), pipeline("team", "b"), pipeline("zoo", "c")],
        vec![Secret::from_value(&secret).unwrap().value],
    )
}

fn promotion(number: u8, name: &str) -> Promotion {
    let event = json!({
        "involvedObject": {"kind": "HelmRelease", "namespace": "dev", "name": name, "uid": "u", "apiVersion": "helm.toolkit.fluxcd.io/v2", "resourceVersion": "1"},
        "severity": "info", "timestamp": "2026-11-20T09:14:07Z", "message": "m", "reason": "UpgradeSucceeded", "metadata": {"revision": format!("1.0.{number}")},
        "reportingController": "helm-controller", "reportingInstance": "i",
    });
    let event = Event::parse(event.to_string().as_bytes()).unwrap();
    let (revision, version) = event.revision().unwrap();
    let now = Timestamp::from_second(1_800_000_000 + i64::from(number)).unwrap();
    let intent = Intent {
        pipeline: format!("team/{name}").parse().unwrap(),
        from: "dev".to_owned(),
        to: "prod".to_owned(),
        target: None,
        revision,
        version,
        strategy: None,
        event: EventSummary::new("delivery", &event),
    };
    Promotion::new(PromotionId::new(now, [number; 10]), intent, true, now)
}

struct World {
    _dir: TempDir,
    api: Router,
    store: Store,
    ids: Vec<String>,
}

async fn world() -> World {
    let dir = TempDir::new().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let promotions: Vec<Promotion> =
        (1..=5).map(|number| promotion(number, if number == 5 { "b" } else { "a" })).collect();
    let ids = promotions.iter().map(|promotion| promotion.id.to_string()).collect();
    store
        .transaction(move |tx| {
            for promotion in promotions {
                tx.insert_promotion(promotion, "accepted")?;
            }
            Ok(())
        })
        .await
        .unwrap();
    World {
        _dir: dir,
        api: http::api(ApiState { catalog: catalog(), store: store.clone() }),
        store,
        ids,
    }
}

async fn get(router: &Router, path: &str) -> (StatusCode, String, Value) {
    let response =
        router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
    let (status, kind) = (
        response.status(),
        response
            .headers()
            .get(header::CONTENT_TYPE)
            .map(|kind| kind.to_str().unwrap().to_owned())
            .unwrap_or_default(),
    );
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (
        status,
        kind,
        serde_json::from_slice(&body)
            .unwrap_or_else(|_| Value::String(String::from_utf8(body.to_vec()).unwrap())),
    )
}

fn names(list: &Value) -> Vec<String> {
    list["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            format!(
                "{}/{}",
                item["namespace"].as_str().unwrap(),
                item["name"].as_str().unwrap_or_else(|| item["version"].as_str().unwrap())
            )
        })
        .collect()
}

#[tokio::test]
async fn pipelines_are_listed_by_namespace_and_in_pages() {
    let world = world().await;
    let (status, kind, all) = get(&world.api, "/api/v1/pipelines").await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/json"));
    assert_eq!(
        (names(&all), &all["continue"]),
        (vec!["team/a".into(), "team/b".into(), "zoo/c".into()], &Value::Null)
    );
    assert_eq!(names(&get(&world.api, "/api/v1/pipelines?namespace=zoo").await.2), ["zoo/c"]);
    let first = get(&world.api, "/api/v1/pipelines?limit=2").await.2;
    assert_eq!(names(&first).len(), 2);
    let rest = get(
        &world.api,
        &format!("/api/v1/pipelines?limit=2&continue={}", first["continue"].as_str().unwrap()),
    )
    .await
    .2;
    assert_eq!((names(&rest), &rest["continue"]), (vec!["zoo/c".to_owned()], &Value::Null));
}

#[tokio::test]
async fn a_pipeline_shows_what_is_configured_and_what_is_wrong_but_no_key() {
    let world = world().await;
    let (_, _, a) = get(&world.api, "/api/v1/pipelines/team/a").await;
    assert_eq!(
        a["appRef"],
        json!({"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "a"})
    );
    assert_eq!(
        a["environments"],
        json!([
            {"name": "dev", "targets": [{"id": "dev", "namespace": "dev", "cluster": null}], "endpoint": "team/a/dev", "keys": ["hmac-key"], "promotion": null},
            {"name": "prod", "targets": [{"id": "eu/prod", "namespace": "prod", "cluster": "eu"}], "endpoint": "team/a/prod", "keys": ["hmac-key"], "promotion": {"strategy": "notification", "manual": true}},
        ])
    );
    assert!(
        a["problems"]
            .as_array()
            .unwrap()
            .iter()
            .any(|problem| problem["message"].as_str().unwrap().contains("shares a key")),
        "{a}"
    );
    let (_, _, c) = get(&world.api, "/api/v1/pipelines/zoo/c").await;
    assert!(
        c["problems"][0]["message"].as_str().unwrap().contains("there is no Secret zoo/hmac"),
        "{c}"
    );
    assert!(!format!("{a}{c}").contains(KEY));
}

#[tokio::test]
async fn promotions_come_newest_first_filtered_and_in_pages() {
    let world = world().await;
    let versions = |list: &Value| {
        list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["version"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        versions(&get(&world.api, "/api/v1/promotions").await.2),
        ["1.0.5", "1.0.4", "1.0.3", "1.0.2", "1.0.1"]
    );
    assert_eq!(versions(&get(&world.api, "/api/v1/promotions?pipeline=b").await.2), ["1.0.5"]);
    assert!(versions(&get(&world.api, "/api/v1/promotions?environment=dev").await.2).is_empty());
    assert_eq!(
        versions(
            &get(&world.api, "/api/v1/promotions?state=WaitingApproval&namespace=team&limit=500")
                .await
                .2
        )
        .len(),
        5
    );
    let (mut seen, mut path) = (Vec::new(), "/api/v1/promotions?limit=2".to_owned());
    loop {
        let page = get(&world.api, &path).await.2;
        seen.extend(versions(&page));
        let Some(next) = page["continue"].as_str() else { break };
        path = format!("/api/v1/promotions?limit=2&continue={next}");
    }
    assert_eq!(seen, ["1.0.5", "1.0.4", "1.0.3", "1.0.2", "1.0.1"]);
}

#[tokio::test]
async fn one_promotion_has_the_fields_of_the_contract() {
    let world = world().await;
    let (status, _, promotion) =
        get(&world.api, &format!("/api/v1/promotions/{}", world.ids[0])).await;
    assert_eq!(status, StatusCode::OK);
    for field in [
        "id",
        "namespace",
        "pipeline",
        "from",
        "to",
        "revision",
        "version",
        "state",
        "reason",
        "message",
        "attempts",
        "nextAttemptAt",
        "event",
        "commit",
        "branch",
        "pullRequest",
        "createdAt",
        "updatedAt",
    ] {
        assert!(promotion.get(field).is_some(), "{field}: {promotion}");
    }
    assert_eq!(promotion["state"], "WaitingApproval");
}

#[tokio::test]
async fn the_event_stream_continues_where_it_ended() {
    let world = world().await;
    let (_, _, all) = get(&world.api, "/api/v1/events").await;
    let first = all["items"][0]["seq"].as_u64().unwrap();
    assert_eq!(all["items"].as_array().unwrap().len(), 5);
    assert_eq!(all["items"][0]["namespace"], "team");
    let (_, _, rest) = get(&world.api, &format!("/api/v1/events?after={}", first + 2)).await;
    assert_eq!(rest["items"].as_array().unwrap().len(), 2);
    let last = rest["continue"].as_str().unwrap();
    let (_, _, none) = get(&world.api, &format!("/api/v1/events?after={last}")).await;
    assert_eq!(none, json!({"items": [], "continue": last}));
}

#[tokio::test]
async fn wrong_questions_get_problem_documents() {
    let world = world().await;
    for (path, status) in [
        ("/api/v1/promotions?state=Nope", 400),
        ("/api/v1/promotions?sate=Pending", 400),
        ("/api/v1/promotions?limit=0", 400),
        ("/api/v1/promotions?limit=501", 400),
        ("/api/v1/promotions?continue=x", 400),
        ("/api/v1/pipelines?continue=x", 400),
        ("/api/v1/events?after=-1", 400),
        ("/api/v1/promotions/0198f1d2-7c1e-7b6a-a3a5-0d9e6f1a2b3c", 404),
        ("/api/v1/promotions/nope", 404),
        ("/api/v1/pipelines/team/none", 404),
        ("/api/v1/pipelines/team/%ff", 404),
        ("/", 404),
    ] {
        let (got, kind, problem) = get(&world.api, path).await;
        assert_eq!(
            (got.as_u16(), kind.as_str()),
            (status, "application/problem+json"),
            "{path}: {problem}"
        );
        assert_eq!(problem["status"], status);
        assert!(!problem["detail"].as_str().unwrap().is_empty());
    }
    let response = world
        .api
        .clone()
        .oneshot(Request::delete("/api/v1/promotions").body(Body::empty()).unwrap())
        .await
        .unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert!(response.headers().contains_key(header::ALLOW));
}

#[tokio::test]
async fn ready_means_serving_and_a_store_that_writes() {
    let world = world().await;
    let (stage, seen) = watch::channel(Stage::Starting);
    let probes = http::health(Health { store: world.store.clone(), stage: seen });
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

#[tokio::test]
async fn the_metrics_page_counts_promotions_and_pipelines() {
    let world = world().await;
    let page = http::metrics(Metrics::new(), catalog(), world.store.clone());
    let (status, kind, text) = get(&page, "/metrics").await;
    assert_eq!(
        (status, kind.as_str()),
        (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8")
    );
    let text = text.as_str().unwrap();
    for line in [
        "lockgate_promotions{state=\"WaitingApproval\"} 5",
        "lockgate_promotions{state=\"Failed\"} 0",
        "lockgate_pipelines{valid=\"true\"} 3",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
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
