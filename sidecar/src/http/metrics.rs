//! `/metrics`: what was counted, and what is read from its source for each page.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use jiff::Timestamp;
use lockgate_edge::endpoint::PipelineKey;

use super::{method_not_allowed, not_found, problem};
use crate::{
    metrics::{Destination, LedgerReading, Metrics, Reading},
    pipelines::{Catalog, Snapshot},
    store::{Store, StoreError},
};

#[derive(Clone)]
struct Sources {
    metrics: Metrics,
    catalog: Catalog,
    store: Store,
}

pub fn metrics(metrics: Metrics, catalog: Catalog, store: Store) -> Router {
    Router::new()
        .route("/metrics", get(page))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Sources { metrics, catalog, store })
}

async fn page(State(sources): State<Sources>) -> Response {
    let snapshot = sources.catalog.snapshot();
    let ledger = match ledger(&sources.store).await {
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

async fn ledger(store: &Store) -> Result<LedgerReading, StoreError> {
    let now = Timestamp::now();
    let failed = store.failed_latest().await?.into_iter().filter_map(|(promotion, _)| {
        let reason = match promotion.state {
            lockgate_core::promotion::State::Failed(failure) => failure.reason,
            _ => return None,
        };
        Some((promotion.pipeline, promotion.to, reason))
    });
    let due = store.waiting(None, QUEUE).await?;
    let due = due.into_iter().take_while(|waiting| waiting.due_at <= now).count();
    Ok(LedgerReading {
        latest: store.counts().await?.into_iter().collect(),
        failed: failed.collect(),
        queue_depth: u64::try_from(due).unwrap_or(u64::MAX),
    })
}

/// The deepest queue that is counted: nobody needs to know how much longer it is.
const QUEUE: usize = 10_000;
