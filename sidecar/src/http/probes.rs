//! `/healthz`, `/readyz` and `/metrics`.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tokio::{sync::watch, time};

use super::{method_not_allowed, not_found, problem};
use crate::{metrics::Metrics, pipelines::Catalog, store::Store};

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Starting,
    /// Store open, pipelines loaded, sockets bound.
    Serving,
    Stopping,
}

/// What the probes look at.
#[derive(Clone)]
pub struct Health {
    pub store: Store,
    pub stage: watch::Receiver<Stage>,
}

/// `/healthz` says that the process runs, `/readyz` that it takes deliveries.
pub fn health(health: Health) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::new(health))
}

async fn ready(State(health): State<Arc<Health>>) -> Response {
    let stage = *health.stage.borrow();
    let (serving, stage) = match stage {
        Stage::Starting => (false, "starting"),
        Stage::Serving => (true, "bound"),
        Stage::Stopping => (false, "stopping"),
    };
    let store = match time::timeout(STORE, health.store.ping()).await {
        Ok(Ok(())) => "ok",
        Ok(Err(error)) => {
            tracing::error!(%error, "the store does not answer");
            "failed"
        }
        Err(_) => "slow",
    };
    let ready = serving && store == "ok";
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({"ready": ready, "checks": {"store": store, "sockets": stage, "pipelines": "loaded"}});
    (status, axum::Json(body)).into_response()
}

/// What the metrics page shows beside what was counted.
#[derive(Clone)]
struct Page {
    metrics: Metrics,
    catalog: Catalog,
    store: Store,
}

/// `/metrics`. The gauges are read from their sources for each page.
pub fn metrics(metrics: Metrics, catalog: Catalog, store: Store) -> Router {
    Router::new()
        .route("/metrics", get(page))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Page { metrics, catalog, store })
}

async fn page(State(page): State<Page>) -> Response {
    let snapshot = page.catalog.snapshot();
    page.metrics.pipelines(snapshot.pipelines().count(), snapshot.broken());
    match page.store.counts().await {
        Ok(counts) => {
            counts.into_iter().for_each(|(state, count)| page.metrics.promotions_in(state, count))
        }
        Err(error) => tracing::warn!(%error, "the promotions could not be counted"),
    }
    match page.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Metrics",
            "the metrics could not be written",
        )
        .into_response(),
    }
}

/// A store that needs longer for an empty transaction would not answer a delivery in time either.
const STORE: Duration = Duration::from_secs(2);
