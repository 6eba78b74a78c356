//! `/metrics`: what was counted, and what is read from its source for each page.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use lockgate_edge::endpoint::PipelineKey;

use super::{method_not_allowed, not_found, problem};
use crate::{
    ledger::{Ledger, LedgerError},
    metrics::{Destination, LedgerReading, Metrics, Reading},
    pipelines::{Catalog, Snapshot},
};

#[derive(Clone)]
struct Sources {
    metrics: Metrics,
    catalog: Catalog,
    ledger: Arc<dyn Ledger>,
}

pub fn metrics(metrics: Metrics, catalog: Catalog, ledger: Arc<dyn Ledger>) -> Router {
    Router::new()
        .route("/metrics", get(page))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Sources { metrics, catalog, ledger })
}

async fn page(State(sources): State<Sources>) -> Response {
    let snapshot = sources.catalog.snapshot();
    let ledger = match ledger(sources.ledger.as_ref()).await {
        Ok(ledger) => Some(ledger),
        Err(error) => {
            tracing::warn!(%error, "the promotions could not be counted for the metrics page");
            None
        }
    };
    let reading = Reading {
        valid: snapshot.pipelines().count(),
        invalid: snapshot.broken(),
        destinations: destinations(&snapshot),
        ledger,
    };
    let is_known = |namespace: &str, pipeline: &str, environment: &str| {
        let key = PipelineKey::new(namespace, pipeline).ok();
        let pipeline = key.and_then(|key| snapshot.pipeline(&key));
        pipeline.is_some_and(|pipeline| pipeline.environment(environment).is_some())
    };
    match sources.metrics.page(&reading, is_known) {
        Ok(text) => ([(header::CONTENT_TYPE, Metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => problem(
            StatusCode::INTERNAL_SERVER_ERROR,
            "Metrics",
            "the metrics could not be written: look into the sidecar's log",
        )
        .into_response(),
    }
}

/// Every environment but the first of each Pipeline.
fn destinations(snapshot: &Snapshot) -> Vec<Destination> {
    let pipelines = snapshot.pipelines();
    pipelines
        .flat_map(|pipeline| {
            pipeline.environments().iter().skip(1).map(|environment| Destination {
                pipeline: pipeline.key().clone(),
                environment: environment.name.clone(),
                strategy: pipeline
                    .promotion_into(&environment.name)
                    .strategy
                    .map_or("none", |strategy| strategy.name()),
            })
        })
        .take(Metrics::DESTINATIONS)
        .collect()
}

async fn ledger(ledger: &dyn Ledger) -> Result<LedgerReading, LedgerError> {
    let standing = ledger.standing().await?;
    let failed = standing
        .failed
        .into_iter()
        .map(|(destination, reason)| (destination.pipeline, destination.environment, reason));
    Ok(LedgerReading {
        latest: standing.states.into_iter().collect(),
        failed: failed.collect(),
        unreadable: standing.unreadable,
    })
}
