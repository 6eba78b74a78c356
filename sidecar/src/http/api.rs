//! `/api/v1`: pipelines, promotions and the event stream, read-only.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{
        Path, Query, State,
        rejection::{PathRejection, QueryRejection},
    },
    http::StatusCode,
    routing::get,
};
use lockgate_core::pipeline::{Pipeline, PromotionRules};
use lockgate_core::promotion::{self, PromotionId};
use lockgate_edge::endpoint::PipelineKey;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Refusal, method_not_allowed, not_found, problem};
use crate::{
    pipelines::{Catalog, Problem, Snapshot},
    store::{PromotionFilter, Store, StoreError, promotion_json},
};

/// What the view shows.
#[derive(Clone)]
pub struct ApiState {
    pub catalog: Catalog,
    pub store: Store,
}

pub fn api(state: ApiState) -> Router {
    Router::new()
        .route("/api/v1/pipelines", get(pipelines))
        .route("/api/v1/pipelines/{namespace}/{name}", get(pipeline))
        .route("/api/v1/promotions", get(promotions))
        .route("/api/v1/promotions/{id}", get(promotion))
        .route("/api/v1/events", get(events))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::new(state))
}

type Answer = Result<Json<Value>, Refusal>;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PipelinesQuery {
    namespace: Option<String>,
    limit: Option<usize>,
    r#continue: Option<String>,
}

async fn pipelines(
    State(state): State<Arc<ApiState>>,
    query: Result<Query<PipelinesQuery>, QueryRejection>,
) -> Answer {
    let query = accepted(query)?;
    let limit = page_size(query.limit)?;
    let after = match query.r#continue.as_deref() {
        None | Some("") => None,
        Some(text) => Some(text.parse::<PipelineKey>().map_err(|_| bad_continue())?),
    };
    let snapshot = state.catalog.snapshot();
    let mut wanted = snapshot
        .pipelines()
        .filter(|pipeline| {
            query
                .namespace
                .as_deref()
                .is_none_or(|namespace| pipeline.key().namespace() == namespace)
        })
        .filter(|pipeline| after.as_ref().is_none_or(|after| pipeline.key() > after));
    let page: Vec<_> = wanted.by_ref().take(limit).collect();
    let next = if wanted.next().is_some() {
        page.last().map(|pipeline| pipeline.key().to_string())
    } else {
        None
    };
    let items: Vec<Value> =
        page.into_iter().map(|pipeline| pipeline_json(&snapshot, pipeline)).collect();
    let problems: Vec<Value> = snapshot.other_problems().map(Problem::json).collect();
    Ok(Json(json!({"items": items, "continue": next, "problems": problems})))
}

async fn pipeline(
    State(state): State<Arc<ApiState>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Answer {
    let Path((namespace, name)) = path.map_err(|_| missing("pipeline"))?;
    let key = PipelineKey::new(&namespace, &name).map_err(|_| missing("pipeline"))?;
    let snapshot = state.catalog.snapshot();
    let pipeline = snapshot.pipeline(&key).ok_or_else(|| missing("pipeline"))?;
    Ok(Json(pipeline_json(&snapshot, pipeline)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PromotionsQuery {
    namespace: Option<String>,
    pipeline: Option<String>,
    environment: Option<String>,
    state: Option<String>,
    limit: Option<usize>,
    r#continue: Option<String>,
}

async fn promotions(
    State(state): State<Arc<ApiState>>,
    query: Result<Query<PromotionsQuery>, QueryRejection>,
) -> Answer {
    let query = accepted(query)?;
    if let Some(name) = &query.state
        && !promotion::State::NAMES.contains(&name.as_str())
    {
        let names = promotion::State::NAMES.join(", ");
        return Err(problem(
            StatusCode::BAD_REQUEST,
            "BadQuery",
            &format!("state: expected one of {names}"),
        ));
    }
    let after = match query.r#continue.as_deref() {
        None | Some("") => None,
        Some(text) => Some(text.parse::<i64>().map_err(|_| bad_continue())?),
    };
    let filter = PromotionFilter {
        namespace: query.namespace,
        pipeline: query.pipeline,
        environment: query.environment,
        state: query.state,
        limit: Some(page_size(query.limit)?),
        after,
    };
    let page = state.store.promotions(filter).await.map_err(|error| store_problem(&error))?;
    let items: Vec<Value> = page.items.iter().map(promotion_json).collect();
    Ok(Json(json!({"items": items, "continue": page.next.map(|next| next.to_string())})))
}

async fn promotion(
    State(state): State<Arc<ApiState>>,
    path: Result<Path<String>, PathRejection>,
) -> Answer {
    let id: PromotionId =
        path.ok().and_then(|Path(id)| id.parse().ok()).ok_or_else(|| missing("promotion"))?;
    let found = state.store.promotion(id).await.map_err(|error| store_problem(&error))?;
    found
        .as_ref()
        .map(|promotion| Json(promotion_json(promotion)))
        .ok_or_else(|| missing("promotion"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    after: Option<u64>,
    limit: Option<usize>,
}

/// `continue` is the `after` of the next question, also when there is nothing new.
async fn events(
    State(state): State<Arc<ApiState>>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Answer {
    let query = accepted(query)?;
    let (after, limit) = (query.after.unwrap_or(0), page_size(query.limit)?);
    let found =
        state.store.events_after(after, limit).await.map_err(|error| store_problem(&error))?;
    let last = found.last().map_or(after, |(seq, _)| *seq);
    let items: Vec<Value> = found
        .into_iter()
        .map(|(seq, entry)| {
            let mut fields = Map::new();
            fields.insert("seq".to_owned(), json!(seq));
            if let Value::Object(entry) = json!(entry) {
                fields.extend(entry);
            }
            Value::Object(fields)
        })
        .collect();
    Ok(Json(json!({"items": items, "continue": last.to_string()})))
}

fn pipeline_json(snapshot: &Snapshot, pipeline: &Pipeline) -> Value {
    let key = pipeline.key();
    let app = pipeline.app_ref();
    let environments: Vec<Value> = pipeline
        .environments()
        .iter()
        .enumerate()
        .map(|(index, environment)| {
            let targets: Vec<Value> = environment
                .targets
                .iter()
                .map(|target| {
                    let cluster = target.cluster_ref.as_ref().map(|cluster| cluster.name.clone());
                    json!({"id": target.id().to_string(), "namespace": target.namespace, "cluster": cluster})
                })
                .collect();
            let endpoint = key.endpoint(&environment.name).ok();
            let keys: Vec<&str> = endpoint
                .as_ref()
                .map_or(&[][..], |endpoint| snapshot.endpoint_keys(endpoint))
                .iter()
                .map(|key| key.name())
                .collect();
            // Nothing is ever promoted into the first environment.
            let promotion = (index > 0).then(|| rules_json(&pipeline.promotion_into(&environment.name)));
            json!({
                "name": environment.name,
                "targets": targets,
                "endpoint": endpoint.map(|endpoint| endpoint.to_string()),
                "keys": keys,
                "promotion": promotion,
            })
        })
        .collect();
    let problems: Vec<Value> = snapshot.problems_of(key).map(Problem::json).collect();
    let group = if app.group.is_empty() {
        app.version.clone()
    } else {
        format!("{}/{}", app.group, app.version)
    };
    json!({
        "namespace": key.namespace(),
        "name": key.name(),
        "appRef": {"apiVersion": group, "kind": app.kind, "name": app.name},
        "environments": environments,
        "problems": problems,
    })
}

fn rules_json(rules: &PromotionRules) -> Value {
    json!({"strategy": rules.strategy.as_ref().map(|strategy| strategy.name()), "manual": rules.manual})
}

fn accepted<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refusal> {
    query
        .map(|Query(query)| query)
        .map_err(|rejection| problem(StatusCode::BAD_REQUEST, "BadQuery", &rejection.body_text()))
}

fn page_size(limit: Option<usize>) -> Result<usize, Refusal> {
    match limit {
        None => Ok(PAGE),
        Some(limit) if (1..=PAGE_MAX).contains(&limit) => Ok(limit),
        Some(_) => Err(problem(
            StatusCode::BAD_REQUEST,
            "BadQuery",
            &format!("limit: expected 1 to {PAGE_MAX}"),
        )),
    }
}

fn bad_continue() -> Refusal {
    problem(StatusCode::BAD_REQUEST, "BadQuery", "continue: expected what the page before said")
}

fn missing(what: &str) -> Refusal {
    problem(StatusCode::NOT_FOUND, "NotFound", &format!("there is no such {what}"))
}

fn store_problem(error: &StoreError) -> Refusal {
    tracing::error!(%error, "the store could not be read");
    problem(StatusCode::SERVICE_UNAVAILABLE, error.reason(), "the store could not be read")
}

const PAGE: usize = 100;
const PAGE_MAX: usize = 500;
