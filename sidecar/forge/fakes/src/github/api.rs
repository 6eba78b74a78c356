//! The handlers.

use std::hash::{DefaultHasher, Hash, Hasher};

use axum::extract::{Path, Query, Request, State as Here};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::Shared;
use super::shapes::{self, invalid, message};
use super::state::{Life, Mergeable, Pull, Repo};
use crate::server::record;

type Parameters = Query<Vec<(String, String)>>;

pub(super) fn router(shared: Shared) -> Router {
    Router::new()
        .nest("/api/v3", rest())
        .merge(rest())
        .route("/api/graphql", post(graphql))
        .route("/graphql", post(graphql))
        .layer(from_fn_with_state(shared.clone(), guard))
        .layer(from_fn_with_state(shared.log.clone(), record))
        .with_state(shared.clone())
        .fallback_service(shared.git.router())
}

fn rest() -> Router<Shared> {
    Router::new()
        .route("/repos/{owner}/{name}", get(repository))
        .route("/repositories/{id}", get(by_id))
        .route("/repos/{owner}/{name}/pulls", get(list).post(create))
        .route("/repos/{owner}/{name}/pulls/{number}", get(look).patch(update))
        .route("/repos/{owner}/{name}/pulls/{number}/merge", put(merge))
        .route("/repos/{owner}/{name}/pulls/{number}/requested_reviewers", post(reviewers))
        .route("/repos/{owner}/{name}/issues/{number}/labels", post(labels))
        .route("/repos/{owner}/{name}/issues/{number}/comments", post(comment))
        .route("/repos/{owner}/{name}/commits/{commit}/status", get(statuses))
        .route("/repos/{owner}/{name}/commits/{commit}/check-runs", get(runs))
        .route("/repos/{owner}/{name}/statuses/{commit}", post(set_status))
        .route("/app/installations/{installation}/access_tokens", post(installation_token))
}

/// Failures on demand, tokens and rights.
async fn guard(Here(shared): Here<Shared>, request: Request, next: Next) -> Response {
    {
        let mut state = shared.lock();
        if let Some(failure) = state.failures.pop_front() {
            return failure.into_response();
        }
        let value = request
            .headers()
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let token = value.strip_prefix("Bearer ").unwrap_or_default();
        let good = if request.uri().path().contains("/app/installations/") {
            state.app.as_ref().is_some_and(|app| (app.admits)(token))
        } else {
            state.tokens.iter().any(|good| good == token)
        };
        if !good {
            return (StatusCode::UNAUTHORIZED, Json(message("Bad credentials"))).into_response();
        }
        if state.read_only && request.method() != Method::GET {
            let wanted = [("x-accepted-github-permissions", "pull_requests=write")];
            return (
                StatusCode::FORBIDDEN,
                wanted,
                Json(message("Resource not accessible by personal access token")),
            )
                .into_response();
        }
        state.refresh(&shared.git);
        if let Some(reply) = state.refusal(request.method() == Method::GET, request.uri().path()) {
            return reply.into_response();
        }
    }
    next.run(request).await
}

async fn repository(
    Here(shared): Here<Shared>,
    Path((owner, name)): Path<(String, String)>,
) -> Response {
    let mut state = shared.lock();
    let url = state.url.clone();
    let Some(repo) = state.repository(&format!("{owner}/{name}")) else { return not_found() };
    Json(shapes::full_repository(&url, repo)).into_response()
}

/// The first that was renamed: a test has but one.
async fn by_id(Here(shared): Here<Shared>, Path(_id): Path<u64>) -> Response {
    let state = shared.lock();
    let Some(name) = state.repositories.iter().find_map(|repo| repo.moved_to.clone()) else {
        return not_found();
    };
    Json(shapes::repository(&state.url, &name)).into_response()
}

async fn list(
    Here(shared): Here<Shared>,
    Path((owner, name)): Path<(String, String)>,
    Query(query): Parameters,
) -> Response {
    let mut state = shared.lock();
    let (url, cap) = (state.url.clone(), state.page_cap);
    let Some(repo) = state.repository(&format!("{owner}/{name}")) else { return not_found() };
    let wanted = |pull: &Pull| {
        let life = match value(&query, "state").unwrap_or("open") {
            "open" => pull.life == Life::Open,
            "closed" => pull.life != Life::Open,
            _ => true,
        };
        let owner = pull.head_repository.split('/').next().unwrap();
        let label = format!("{owner}:{}", pull.head);
        life && value(&query, "base").is_none_or(|base| base == pull.base)
            && value(&query, "head").is_none_or(|head| head.eq_ignore_ascii_case(&label))
    };
    let mut found: Vec<Value> = repo
        .pulls
        .iter()
        .filter(|pull| wanted(pull))
        .map(|pull| shapes::pull_simple(&url, repo, pull))
        .collect();
    if value(&query, "direction").unwrap_or("desc") == "desc" {
        found.reverse();
    }
    let page = Page::of(&query, cap, found.len());
    (page.link(&format!("{url}/api/v3/repos/{owner}/{name}/pulls"), &query), Json(page.take(found)))
        .into_response()
}

async fn create(
    Here(shared): Here<Shared>,
    Path((owner, name)): Path<(String, String)>,
    Json(body): Json<Value>,
) -> Response {
    let mut state = shared.lock();
    let url = state.url.clone();
    let Some(repo) = state.repository(&format!("{owner}/{name}")) else { return not_found() };
    let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let (head, base) = (text("head"), text("base"));
    let refused =
        |error: Value| (StatusCode::UNPROCESSABLE_ENTITY, Json(invalid(&[error]))).into_response();
    if text("title").is_empty() {
        return refused(
            json!({"resource": "PullRequest", "field": "title", "code": "missing_field"}),
        );
    }
    let git = format!("{}.git", repo.name);
    for (field, branch) in [("head", &head), ("base", &base)] {
        if shared.git.tip(&git, branch).is_none() {
            return refused(json!({"resource": "PullRequest", "field": field, "code": "invalid"}));
        }
    }
    let custom = |text: String| {
        refused(json!({"resource": "PullRequest", "code": "custom", "message": text}))
    };
    let same = |pull: &&Pull| {
        pull.life == Life::Open
            && pull.is_from(&repo.name)
            && pull.head == head
            && pull.base == base
    };
    if repo.pulls.iter().any(|pull| same(&pull)) {
        return custom(format!("A pull request already exists for {}:{head}.", repo.owner()));
    }
    if shared.git.is_ahead(&git, &head, &base) == Some(false) {
        return custom(format!("No commits between {base} and {head}"));
    }
    let mut pull = Pull::new(repo.next_number(), &head, &base, &text("title"), &text("body"));
    pull.head_repository.clone_from(&repo.name);
    pull.head_commit = shared.git.tip(&git, &head).unwrap();
    let answer = shapes::pull(&url, repo, &pull, true);
    repo.pulls.push(pull);
    (StatusCode::CREATED, Json(answer)).into_response()
}

async fn look(
    Here(shared): Here<Shared>,
    Path((owner, name, number)): Path<(String, String, u64)>,
    headers: HeaderMap,
) -> Response {
    let mut state = shared.lock();
    let url = state.url.clone();
    let Some((repo, pull)) = one(&mut state, &owner, &name, number) else { return not_found() };
    let answer = shapes::pull(&url, repo, pull, shared.is_clean(repo, pull));
    let mut hasher = DefaultHasher::new();
    answer.to_string().hash(&mut hasher);
    let tag = format!("W/\"{:016x}\"", hasher.finish());
    if headers.get(header::IF_NONE_MATCH).is_some_and(|value| value == tag.as_str()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    ([(header::ETAG, tag)], Json(answer)).into_response()
}

async fn update(
    Here(shared): Here<Shared>,
    Path((owner, name, number)): Path<(String, String, u64)>,
    Json(body): Json<Value>,
) -> Response {
    let mut state = shared.lock();
    let url = state.url.clone();
    let Some(pull) = state.pull(&format!("{owner}/{name}"), number) else { return not_found() };
    for (field, target) in [("title", &mut pull.title), ("body", &mut pull.body)] {
        if let Some(text) = body[field].as_str() {
            text.clone_into(target);
        }
    }
    pull.changes += 1;
    let (repo, pull) = one(&mut state, &owner, &name, number).unwrap();
    Json(shapes::pull(&url, repo, pull, shared.is_clean(repo, pull))).into_response()
}

async fn merge(
    Here(shared): Here<Shared>,
    Path((owner, name, number)): Path<(String, String, u64)>,
    Json(body): Json<Value>,
) -> Response {
    let mut state = shared.lock();
    let repository = format!("{owner}/{name}");
    let Some((repo, pull)) = one(&mut state, &owner, &name, number) else { return not_found() };
    if body["sha"].as_str().is_some_and(|sha| sha != pull.head_commit) {
        let text = "Head branch was modified. Review and try the merge again.";
        return (StatusCode::CONFLICT, Json(message(text))).into_response();
    }
    if repo.mergeable(&pull.head_commit) == Mergeable::Blocked {
        let text = format!("Required status check \"{}\" is expected.", repo.required[0]);
        return (StatusCode::METHOD_NOT_ALLOWED, Json(message(&text))).into_response();
    }
    if repo.queue.is_some() {
        let text = "Changes must be made through the merge queue";
        return (StatusCode::METHOD_NOT_ALLOWED, Json(message(text))).into_response();
    }
    match state.merge(&shared.git, &repository, number) {
        Some(sha) => {
            Json(json!({"sha": sha, "merged": true, "message": "Pull Request successfully merged"}))
                .into_response()
        }
        None => (StatusCode::METHOD_NOT_ALLOWED, Json(message("Pull Request is not mergeable")))
            .into_response(),
    }
}

async fn reviewers(
    Here(shared): Here<Shared>,
    Path((owner, name, number)): Path<(String, String, u64)>,
    Json(body): Json<Value>,
) -> Response {
    let mut state = shared.lock();
    let url = state.url.clone();
    let Some(pull) = state.pull(&format!("{owner}/{name}"), number) else { return not_found() };
    for (field, target) in [("reviewers", &mut pull.reviewers), ("team_reviewers", &mut pull.teams)]
    {
        add(target, &body[field]);
    }
    let (repo, pull) = one(&mut state, &owner, &name, number).unwrap();
    (StatusCode::CREATED, Json(shapes::pull_simple(&url, repo, pull))).into_response()
}

async fn labels(
    Here(shared): Here<Shared>,
    Path((owner, name, number)): Path<(String, String, u64)>,
    Json(body): Json<Value>,
) -> Response {
    let mut state = shared.lock();
    let api = format!("{}/api/v3/repos/{owner}/{name}", state.url);
    let Some(pull) = state.pull(&format!("{owner}/{name}"), number) else { return not_found() };
    add(&mut pull.labels, &body["labels"]);
    Json(pull.labels.iter().map(|name| shapes::label(&api, name)).collect::<Vec<_>>())
        .into_response()
}

async fn comment(
    Here(shared): Here<Shared>,
    Path((owner, name, number)): Path<(String, String, u64)>,
    Json(body): Json<Value>,
) -> Response {
    let mut state = shared.lock();
    let url = state.url.clone();
    let text = body["body"].as_str().unwrap_or_default().to_owned();
    let Some(pull) = state.pull(&format!("{owner}/{name}"), number) else { return not_found() };
    pull.comments.push(text.clone());
    let (repo, _) = one(&mut state, &owner, &name, number).unwrap();
    (StatusCode::CREATED, Json(shapes::comment(&url, repo, number, &text))).into_response()
}

async fn statuses(
    Here(shared): Here<Shared>,
    Path((owner, name, commit)): Path<(String, String, String)>,
    Query(query): Parameters,
) -> Response {
    let mut state = shared.lock();
    let (url, cap) = (state.url.clone(), state.page_cap);
    let Some(repo) = state.repository(&format!("{owner}/{name}")) else { return not_found() };
    let all: Vec<Value> = repo
        .statuses_of(&commit)
        .into_iter()
        .map(|status| shapes::status(&url, repo, &commit, status))
        .collect();
    let (page, total) = (Page::of(&query, cap, all.len()), all.len());
    let link =
        page.link(&format!("{url}/api/v3/repos/{owner}/{name}/commits/{commit}/status"), &query);
    (link, Json(shapes::combined(&url, repo, &commit, page.take(all), total))).into_response()
}

async fn runs(
    Here(shared): Here<Shared>,
    Path((owner, name, commit)): Path<(String, String, String)>,
    Query(query): Parameters,
) -> Response {
    let mut state = shared.lock();
    let (url, cap) = (state.url.clone(), state.page_cap);
    let Some(repo) = state.repository(&format!("{owner}/{name}")) else { return not_found() };
    let runs = repo.runs.iter().filter(|(of, ..)| *of == commit);
    let all: Vec<Value> = runs
        .map(|(_, name, conclusion)| {
            shapes::check_run(&url, repo, &commit, name, conclusion.as_deref())
        })
        .collect();
    let (page, total) = (Page::of(&query, cap, all.len()), all.len());
    let link = page
        .link(&format!("{url}/api/v3/repos/{owner}/{name}/commits/{commit}/check-runs"), &query);
    (link, Json(json!({"total_count": total, "check_runs": page.take(all)}))).into_response()
}

async fn set_status(
    Here(shared): Here<Shared>,
    Path((owner, name, commit)): Path<(String, String, String)>,
    Json(body): Json<Value>,
) -> Response {
    let mut state = shared.lock();
    let (url, repository) = (state.url.clone(), format!("{owner}/{name}"));
    if body["description"].as_str().is_some_and(|text| text.chars().count() > 140) {
        let error = json!("Validation failed: Description is too long (maximum is 140 characters)");
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(invalid(&[error]))).into_response();
    }
    state.set_status(&shared.git, &repository, &commit, body.clone());
    let Some(repo) = state.repository(&repository) else { return not_found() };
    let mut answer = shapes::status(&url, repo, &commit, &body);
    answer["creator"] = shapes::user(&url, "lockgate");
    (StatusCode::CREATED, Json(answer)).into_response()
}

async fn installation_token(
    Here(shared): Here<Shared>,
    Path(installation): Path<u64>,
    Json(body): Json<Value>,
) -> Response {
    let mut state = shared.lock();
    let known: Vec<String> = state
        .repositories
        .iter()
        .map(|repo| repo.name.split('/').next_back().unwrap().to_owned())
        .collect();
    let wanted = body["repositories"].as_array().cloned().unwrap_or_default();
    if !wanted.iter().all(|name| known.iter().any(|known| name == known.as_str())) {
        let text = "There is at least one repository that does not exist or is not accessible to the parent installation.";
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(message(text))).into_response();
    }
    let Some(app) = state.app.as_mut().filter(|app| app.installation == installation) else {
        return not_found();
    };
    app.issued += 1;
    let token = format!("ghs_issued{}", app.issued);
    let expires_at = (Timestamp::now() + SignedDuration::from_secs(app.lifetime))
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    state.tokens.push(token.clone());
    (StatusCode::CREATED, Json(shapes::installation_token(&token, &expires_at))).into_response()
}

/// The two mutations; that the document is one which GitHub's schema knows is tested elsewhere.
async fn graphql(Here(shared): Here<Shared>, Json(body): Json<Value>) -> Response {
    let mut state = shared.lock();
    let query = body["query"].as_str().unwrap_or_default();
    let (id, method) = (
        body["variables"]["id"].as_str().unwrap_or_default(),
        body["variables"]["method"].as_str(),
    );
    let fields = [
        "enablePullRequestAutoMerge",
        "disablePullRequestAutoMerge",
        "enqueuePullRequest",
        "dequeuePullRequest",
    ];
    let field = fields.into_iter().find(|field| query.contains(field));
    let refused = |kind: &str, text: &str| {
        let error = json!({"type": kind, "path": [field], "locations": [{"line": 1, "column": 1}], "message": text});
        Json(json!({"data": {field.unwrap_or("none"): null}, "errors": [error]})).into_response()
    };
    let found = state.repositories.iter_mut().find_map(|repo| {
        let at = repo.pulls.iter().position(|pull| shapes::node_id(repo, pull) == id)?;
        Some((repo, at))
    });
    let Some((repo, at)) = found else {
        return refused(
            "NOT_FOUND",
            &format!("Could not resolve to a node with the global id of '{id}'"),
        );
    };
    if let Some(field @ ("enqueuePullRequest" | "dequeuePullRequest")) = field {
        let number = repo.pulls[at].number;
        let Some(queue) = &mut repo.queue else {
            return refused("UNPROCESSABLE", "The base branch does not have a merge queue");
        };
        let is_queued = queue.contains(&number);
        match (field, is_queued) {
            ("enqueuePullRequest", false) => queue.push(number),
            ("enqueuePullRequest", true) => {
                return refused("UNPROCESSABLE", "Pull request is already in the queue");
            }
            (_, true) => queue.retain(|other| *other != number),
            (_, false) => return refused("UNPROCESSABLE", "Pull request is not in the queue"),
        }
        return Json(json!({"data": {field: {"mergeQueueEntry": {"id": "MQE_1"}}}}))
            .into_response();
    }
    let mergeable = repo.mergeable(&repo.pulls[at].head_commit);
    let (allowed, pull) = (repo.auto_merge_allowed, &mut repo.pulls[at]);
    match (field, pull.life == Life::Open, mergeable) {
        (Some("enablePullRequestAutoMerge"), false, _) => {
            return refused("UNPROCESSABLE", "Pull request Pull request is closed");
        }
        (Some("enablePullRequestAutoMerge"), ..) if !allowed => {
            return refused(
                "UNPROCESSABLE",
                "Pull request Auto merge is not allowed for this repository",
            );
        }
        (Some("enablePullRequestAutoMerge"), _, Mergeable::Clean) => {
            return refused("UNPROCESSABLE", "Pull request Pull request is in clean status");
        }
        (Some("enablePullRequestAutoMerge"), _, Mergeable::Unstable) => {
            return refused("UNPROCESSABLE", "Pull request Pull request is in unstable status");
        }
        (Some("enablePullRequestAutoMerge"), ..) => {
            pull.auto_merge = Some(method.unwrap_or("MERGE").to_ascii_lowercase())
        }
        (Some(_), ..) if pull.auto_merge.is_none() => {
            return refused("UNPROCESSABLE", "Can't disable auto-merge for this pull request.");
        }
        (Some(_), ..) => pull.auto_merge = None,
        (None, ..) => return refused("undefinedField", "Field does not exist on type 'Mutation'"),
    }
    pull.changes += 1;
    Json(json!({"data": {field.unwrap(): {"pullRequest": {"number": pull.number}}}}))
        .into_response()
}

fn one<'a>(
    state: &'a mut super::state::State,
    owner: &str,
    name: &str,
    number: u64,
) -> Option<(&'a Repo, &'a Pull)> {
    let repo = &*state.repository(&format!("{owner}/{name}"))?;
    Some((repo, repo.pulls.iter().find(|pull| pull.number == number)?))
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, Json(message("Not Found"))).into_response()
}

fn add(target: &mut Vec<String>, names: &Value) {
    for name in names.as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !target.iter().any(|other| other == name) {
            target.push(name.to_owned());
        }
    }
}

fn value<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

/// A page of a list. Source: "Using pagination in the REST API".
struct Page {
    number: usize,
    size: usize,
    total: usize,
}

impl Page {
    fn of(query: &[(String, String)], cap: Option<usize>, total: usize) -> Self {
        let read = |name, default| {
            value(query, name).and_then(|text| text.parse().ok()).unwrap_or(default)
        };
        Self {
            number: read("page", 1).max(1),
            size: read("per_page", 30).min(cap.unwrap_or(100)),
            total,
        }
    }

    fn take(&self, all: Vec<Value>) -> Vec<Value> {
        all.into_iter().skip((self.number - 1) * self.size).take(self.size).collect()
    }

    fn link(&self, address: &str, query: &[(String, String)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.number * self.size < self.total {
            let rest: String = query
                .iter()
                .filter(|(key, _)| key != "page")
                .map(|(key, value)| format!("{key}={value}&"))
                .collect();
            let next = format!("<{address}?{rest}page={}>; rel=\"next\"", self.number + 1);
            headers.insert(header::LINK, next.parse().unwrap());
        }
        headers
    }
}
