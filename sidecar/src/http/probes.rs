//! `/healthz` and `/readyz`.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::json;
use tokio::{sync::watch, time};

use super::{method_not_allowed, not_found};
use crate::ledger::Ledger;
use crate::pipelines::Catalog;

/// Where the process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    Starting,
    /// Ledger open, pipelines loaded, sockets bound.
    Serving,
    Stopping,
}

/// What the probes look at.
#[derive(Clone)]
pub struct Health {
    pub ledger: Arc<dyn Ledger>,
    pub catalog: Catalog,
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
    let store = match time::timeout(STORE, health.ledger.ping()).await {
        Ok(Ok(())) => "ok",
        Ok(Err(error)) => {
            tracing::error!(%error, "the ledger cannot be written");
            "failed"
        }
        Err(_) => "slow",
    };
    let pipelines = if health.catalog.snapshot().ready() { "loaded" } else { "waiting" };
    let ready = serving && store == "ok" && pipelines == "loaded";
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({"ready": ready, "checks": {"store": store, "sockets": stage, "pipelines": pipelines}});
    (status, axum::Json(body)).into_response()
}

/// A ledger that needs longer for one row would not answer a delivery in time either.
const STORE: Duration = Duration::from_secs(2);
