//! The JSON view, the probes and the metrics page, as a client sees them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod golden;
mod lists;
mod metrics;
mod probes;

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{Request, StatusCode, header},
};
use jiff::Timestamp;
use lockgate::{
    http::{self, ApiState},
    ledger::memory::MemoryLedger,
    ledger::{Ask, Ledger, Write, Writes},
    pipelines::{Catalog, Memory, Rules},
    view::DeliveryView,
};
use lockgate_core::event::Event;
use lockgate_core::pipeline::Pipeline;
use lockgate_core::promotion::{EventSummary, Intent, Promotion, PromotionId};
use lockgate_core::secret::Secret;
use serde_json::{Value, json};
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
    let pipelines = vec![pipeline("team", "a"), pipeline("team", "b"), pipeline("zoo", "c")];
    let secrets = vec![Secret::from_value(&secret).unwrap().value];
    let (_, catalog) = Memory::open(Rules::default(), pipelines, secrets);
    catalog
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
    api: Router,
    ledger: Arc<dyn Ledger>,
    ids: Vec<String>,
}

async fn world() -> World {
    let ledger: Arc<dyn Ledger> = Arc::new(MemoryLedger::default());
    let promotions: Vec<Promotion> =
        (1..=5).map(|number| promotion(number, if number == 5 { "b" } else { "a" })).collect();
    let ids = promotions.iter().map(|promotion| promotion.id.to_string()).collect();
    for promotion in promotions {
        report(&ledger, &promotion).await;
        start(&ledger, promotion).await;
    }
    World {
        api: http::api(ApiState { catalog: catalog(), ledger: Arc::clone(&ledger) }),
        ledger,
        ids,
    }
}

/// Keeps the outcome of the delivery that led to a promotion.
async fn report(ledger: &Arc<dyn Ledger>, promotion: &Promotion) {
    let endpoint = promotion.pipeline.endpoint(&promotion.from).unwrap();
    let outcome = DeliveryView {
        at: promotion.created_at,
        endpoint: endpoint.to_string(),
        object: "HelmRelease/dev/podinfo".to_owned(),
        revision: promotion.revision.to_string(),
        status: 202,
        reason: "WaitingApproval".to_owned(),
        promotion: Some(promotion.id.to_string()),
    };
    let ask = Ask::promotions(&promotion.pipeline, Vec::new());
    ledger
        .decide(ask, move |_| {
            let mut writes = Writes::now();
            writes.add(Write::Outcome(endpoint.clone(), outcome.clone()));
            (writes, ())
        })
        .await
        .unwrap();
}

async fn start(ledger: &Arc<dyn Ledger>, promotion: Promotion) {
    let promotion = Arc::new(promotion);
    let ask = Ask::promotions(&promotion.pipeline, Vec::new());
    ledger
        .decide(ask, move |_| {
            let mut writes = Writes::now();
            writes.start(&promotion);
            (writes, ())
        })
        .await
        .unwrap();
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
