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
use lockgate_core::pipeline::Pipeline;
use lockgate_core::promotion::{self, PromotionId};
use lockgate_edge::endpoint::{Endpoint, PipelineKey};
use lockgate_edge::key::Key;
use serde::Deserialize;

use super::{Refusal, method_not_allowed, not_found, problem};
use crate::{
    ledger::{Cursor, DeliveryFilter, Ledger, LedgerError, PromotionFilter},
    pipelines::{Catalog, Problem, Snapshot},
    view::{DeliveryView, NumberedEntry, Page, PipelineView, ProblemView, PromotionView},
};

/// What the view shows.
#[derive(Clone)]
pub struct ApiState {
    pub catalog: Catalog,
    pub ledger: Arc<dyn Ledger>,
}

pub fn api(state: ApiState) -> Router {
    Router::new()
        .route("/api/v1/pipelines", get(pipelines))
        .route("/api/v1/pipelines/{namespace}/{name}", get(pipeline))
        .route("/api/v1/problems", get(problems))
        .route("/api/v1/promotions", get(promotions))
        .route("/api/v1/promotions/{id}", get(promotion))
        .route("/api/v1/deliveries", get(deliveries))
        .route("/api/v1/events", get(events))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(Arc::new(state))
}

type Answer<T> = Result<Json<T>, Refusal>;

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
) -> Answer<Page<PipelineView>> {
    let query = accepted(query)?;
    let limit = page_size(query.limit)?;
    let after = match query.r#continue.as_deref() {
        None | Some("") => None,
        Some(text) => Some(text.parse::<PipelineKey>().map_err(|_| bad_continue())?),
    };
    let snapshot = state.catalog.snapshot();
    let mut wanted = snapshot.pipelines_after(query.namespace.as_deref(), after.as_ref());
    let page: Vec<_> = wanted.by_ref().take(limit).collect();
    let more = wanted.next().is_some();
    let last = page.last().map(|pipeline| pipeline.key().to_string());
    let items = page.into_iter().map(|pipeline| shown(&snapshot, pipeline)).collect();
    Ok(Json(Page { items, r#continue: last.filter(|_| more) }))
}

async fn pipeline(
    State(state): State<Arc<ApiState>>,
    path: Result<Path<(String, String)>, PathRejection>,
) -> Answer<PipelineView> {
    let Path((namespace, name)) = path.map_err(|_| missing("pipeline"))?;
    let key = PipelineKey::new(&namespace, &name).map_err(|_| missing("pipeline"))?;
    let snapshot = state.catalog.snapshot();
    let pipeline = snapshot.pipeline(&key).ok_or_else(|| missing("pipeline"))?;
    Ok(Json(shown(&snapshot, pipeline)))
}

fn shown(snapshot: &Snapshot, pipeline: &Pipeline) -> PipelineView {
    let keys = |endpoint: &Endpoint| snapshot.endpoint_keys(endpoint).iter().map(Key::name);
    let problems = snapshot.problems_of(pipeline.key()).map(Problem::view).collect();
    PipelineView::new(pipeline, keys, problems)
}

/// All problems, those of Pipelines too. The cursor is the snapshot's version and a position in
/// its list.
async fn problems(
    State(state): State<Arc<ApiState>>,
    query: Result<Query<PipelinesQuery>, QueryRejection>,
) -> Answer<Page<ProblemView>> {
    let query = accepted(query)?;
    let limit = page_size(query.limit)?;
    let snapshot = state.catalog.snapshot();
    let start = match query.r#continue.as_deref() {
        None | Some("") => 0,
        Some(text) => position(text, snapshot.version)?,
    };
    let mut wanted = snapshot.problems().enumerate().skip(start).filter(|(_, problem)| {
        query.namespace.as_deref().is_none_or(|namespace| {
            problem.object.as_ref().is_some_and(|object| object.namespace == namespace)
        })
    });
    let page: Vec<_> = wanted.by_ref().take(limit).collect();
    let more = wanted.next().is_some();
    let last = page.last().map(|(at, _)| format!("{}.{}", snapshot.version, at + 1));
    let items = page.into_iter().map(|(_, problem)| problem.view()).collect();
    Ok(Json(Page { items, r#continue: last.filter(|_| more) }))
}

/// Where a page of problems begins. Another version's list is another list: 410.
fn position(cursor: &str, version: u64) -> Result<usize, Refusal> {
    let (seen, position) = cursor.split_once('.').ok_or_else(bad_continue)?;
    let seen: u64 = seen.parse().map_err(|_| bad_continue())?;
    let position = position.parse().map_err(|_| bad_continue())?;
    if seen == version {
        return Ok(position);
    }
    let detail = "continue: the Pipelines have changed since that page; begin without continue";
    Err(problem(StatusCode::GONE, "Expired", detail))
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
) -> Answer<Page<PromotionView>> {
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
    let page = state.ledger.promotions(filter).await.map_err(|error| ledger_problem(&error))?;
    let items =
        page.items.iter().map(|promotion| PromotionView::from(promotion.as_ref())).collect();
    Ok(Json(Page { items, r#continue: page.next.map(|next| next.to_string()) }))
}

async fn promotion(
    State(state): State<Arc<ApiState>>,
    path: Result<Path<String>, PathRejection>,
) -> Answer<PromotionView> {
    let id: PromotionId =
        path.ok().and_then(|Path(id)| id.parse().ok()).ok_or_else(|| missing("promotion"))?;
    let found = state.ledger.promotion(id).await.map_err(|error| ledger_problem(&error))?;
    found
        .map(|promotion| Json(PromotionView::from(promotion.as_ref())))
        .ok_or_else(|| missing("promotion"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    after: Option<String>,
    limit: Option<usize>,
}

/// `continue` is the `after` of the next question, also when there is nothing new.
async fn events(
    State(state): State<Arc<ApiState>>,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Answer<Page<NumberedEntry>> {
    let query = accepted(query)?;
    let after = query.after.as_deref().filter(|text| !text.is_empty() && *text != "0");
    let limit = page_size(query.limit)?;
    let found = state
        .ledger
        .events(after.map(Cursor::from_client), limit)
        .await
        .map_err(|error| ledger_problem(&error))?;
    let last = found.last().map_or(after.unwrap_or("0"), |(cursor, _)| cursor.as_str()).to_owned();
    let items = found
        .into_iter()
        .map(|(cursor, entry)| NumberedEntry {
            seq: cursor.as_str().parse().unwrap_or_default(),
            entry,
        })
        .collect();
    Ok(Json(Page { items, r#continue: Some(last) }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeliveriesQuery {
    namespace: Option<String>,
    pipeline: Option<String>,
    environment: Option<String>,
    limit: Option<usize>,
    r#continue: Option<String>,
}

/// How the last deliveries of each endpoint ended, newest first. The cursor is the last one's time
/// and endpoint.
async fn deliveries(
    State(state): State<Arc<ApiState>>,
    query: Result<Query<DeliveriesQuery>, QueryRejection>,
) -> Answer<Page<DeliveryView>> {
    let query = accepted(query)?;
    let limit = page_size(query.limit)?;
    let after = match query.r#continue.as_deref() {
        None | Some("") => None,
        Some(text) => {
            let (at, endpoint) = text.split_once('/').ok_or_else(bad_continue)?;
            Some((at.parse().map_err(|_| bad_continue())?, endpoint.to_owned()))
        }
    };
    let filter = DeliveryFilter {
        namespace: query.namespace,
        pipeline: query.pipeline,
        environment: query.environment,
        limit: Some(limit),
        after,
    };
    let items = state.ledger.deliveries(filter).await.map_err(|error| ledger_problem(&error))?;
    let last = items.last().map(|outcome| format!("{}/{}", outcome.at, outcome.endpoint));
    let next = last.filter(|_| items.len() == limit);
    Ok(Json(Page { items, r#continue: next }))
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
    let detail = format!("there is no such {what}; the list of all has those that are known");
    problem(StatusCode::NOT_FOUND, "NotFound", &detail)
}

fn ledger_problem(error: &LedgerError) -> Refusal {
    if matches!(error, LedgerError::CursorGone) {
        return problem(StatusCode::GONE, error.reason(), &format!("after: {error}"));
    }
    tracing::error!(%error, "the ledger could not be read");
    problem(StatusCode::SERVICE_UNAVAILABLE, error.reason(), "the ledger could not be read")
}

const PAGE: usize = 100;
const PAGE_MAX: usize = 500;
