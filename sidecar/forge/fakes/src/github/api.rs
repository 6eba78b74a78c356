//! Requests: who asks, and for what.

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State as Here};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::Shared;
use super::shapes::{self, message};
use super::state::GitHubState;
use crate::GitHost;
use crate::git_host::percent_decode;
use crate::interface::{Call, Reply};
use crate::server::{pairs, record};

/// The interface, written down, and beside it git.
pub(super) fn router(shared: Shared) -> Router {
    let interface = Router::new()
        .fallback(any(serve))
        .layer(from_fn_with_state(shared.log.clone(), record))
        .with_state(shared.clone());
    let git = shared.git.router();
    let choose = move |request: Request| async move {
        let router = if below(request.uri().path()).is_some() { interface } else { git };
        router.oneshot(request).await.into_response()
    };
    Router::new().fallback(any(choose))
}

/// What follows the interface's root: below `/api/v3` and at `/api/graphql` on Enterprise Server,
/// at the root on github.com.
fn below(path: &str) -> Option<&str> {
    if matches!(path, "/api/graphql" | "/graphql") {
        return Some("graphql");
    }
    if let Some(rest) = path.strip_prefix("/api/v3/") {
        return Some(rest);
    }
    let roots = ["/repos/", "/repositories/", "/app/"];
    roots.iter().any(|root| path.starts_with(root)).then(|| path.trim_start_matches('/'))
}

async fn serve(Here(shared): Here<Shared>, request: Request) -> Response {
    let (parts, content) = request.into_parts();
    let bytes = to_bytes(content, 8 << 20).await.unwrap();
    let path = below(parts.uri.path()).unwrap_or_default();
    let call = Call {
        method: parts.method.to_string(),
        path: path.split('/').map(percent_decode).collect(),
        query: pairs(parts.uri.query().unwrap_or_default()),
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    };
    let mut state = shared.lock();
    let refusal = state.guard(&call, &shared.git, parts.uri.path());
    let reply = refusal
        .unwrap_or_else(|| Answering { state: &mut state, git: &shared.git, call: &call }.route());
    drop(state);
    reply.into_response()
}

impl GitHubState {
    /// Failures on demand, tokens and rights.
    fn guard(&mut self, call: &Call, git: &GitHost, path: &str) -> Option<Reply> {
        if let Some(failure) = self.failures.pop_front() {
            return Some(failure);
        }
        let token = call.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        let good = if path.contains("/app/installations/") {
            self.app.as_ref().is_some_and(|app| (app.admits)(token))
        } else {
            self.tokens.iter().any(|good| good == token)
        };
        if !good {
            return Some(Reply::new(401, message("Bad credentials")));
        }
        if self.read_only && call.method != "GET" {
            let body = message("Resource not accessible by personal access token");
            let wanted = ("x-accepted-github-permissions", "pull_requests=write");
            return Some(Reply::new(403, body).with(wanted.0, wanted.1));
        }
        self.refresh(git);
        self.refusal(call.method == "GET", path)
    }
}

/// A request while it is answered.
pub(super) struct Answering<'a> {
    pub(super) state: &'a mut GitHubState,
    pub(super) git: &'a GitHost,
    pub(super) call: &'a Call,
}

impl Answering<'_> {
    fn route(&mut self) -> Reply {
        let path: Vec<&str> = self.call.path.iter().map(String::as_str).collect();
        match (self.call.method.as_str(), path.as_slice()) {
            ("POST", ["graphql"]) => self.graphql(),
            ("GET", ["repositories", _]) => self.by_id(),
            ("POST", ["app", "installations", id, "access_tokens"]) => self.installation_token(id),
            (method, ["repos", owner, name, rest @ ..]) => {
                let repository = format!("{owner}/{name}");
                if self.state.repository(&repository).is_none() {
                    return not_found();
                }
                self.repository(method, &repository, rest)
            }
            _ => not_found(),
        }
    }

    fn repository(&mut self, method: &str, repository: &str, rest: &[&str]) -> Reply {
        match (method, rest) {
            ("GET", []) => {
                let url = self.state.url.clone();
                let repo = self.state.repository(repository).unwrap();
                Reply::new(200, shapes::full_repository(&url, repo))
            }
            ("GET", ["pulls"]) => self.list(repository),
            ("POST", ["pulls"]) => self.create(repository),
            ("GET", ["commits", commit, "status"]) => self.statuses(repository, commit),
            ("GET", ["commits", commit, "check-runs"]) => self.runs(repository, commit),
            ("POST", ["statuses", commit]) => self.set_status(repository, commit),
            (_, ["pulls" | "issues", number, below @ ..]) => {
                let number = number.parse().unwrap_or_default();
                if self.state.pull(repository, number).is_none() {
                    return not_found();
                }
                match (method, below) {
                    ("GET", []) => self.look(repository, number),
                    ("PATCH", []) => self.update(repository, number),
                    ("PUT", ["merge"]) => self.merge(repository, number),
                    ("POST", ["requested_reviewers"]) => self.reviewers(repository, number),
                    ("POST", ["labels"]) => self.labels(repository, number),
                    ("POST", ["comments"]) => self.comment(repository, number),
                    _ => not_found(),
                }
            }
            _ => not_found(),
        }
    }

    /// The first that was renamed: a test has but one.
    fn by_id(&self) -> Reply {
        let name = self.state.repositories.iter().find_map(|repo| repo.moved_to.as_ref());
        name.map_or_else(not_found, |name| {
            Reply::new(200, shapes::repository(&self.state.url, name))
        })
    }

    fn installation_token(&mut self, installation: &str) -> Reply {
        let known = |name: &Value| {
            let last = |repo: &super::Repo| repo.name.split('/').next_back().unwrap().to_owned();
            self.state.repositories.iter().any(|repo| *name == last(repo))
        };
        let wanted = self.call.body["repositories"].as_array().cloned().unwrap_or_default();
        if !wanted.iter().all(known) {
            let text = "There is at least one repository that does not exist or is not accessible to the parent installation.";
            return Reply::new(422, message(text));
        }
        let app = self.state.app.as_mut();
        let Some(app) = app.filter(|app| app.installation.to_string() == installation) else {
            return not_found();
        };
        app.issued += 1;
        let token = format!("ghs_issued{}", app.issued);
        let expires_at = (Timestamp::now() + SignedDuration::from_secs(app.lifetime))
            .strftime("%Y-%m-%dT%H:%M:%SZ")
            .to_string();
        self.state.tokens.push(token.clone());
        Reply::new(201, shapes::installation_token(&token, &expires_at))
    }

    /// A page of a list, with the address of the next. Source: "Using pagination in the REST API".
    pub(super) fn page(&self, path: &str, all: Vec<Value>) -> (Vec<Value>, Option<String>) {
        let read = |name, default| {
            self.call.query(name).and_then(|text| text.parse().ok()).unwrap_or(default)
        };
        let (number, total) = (read("page", 1).max(1), all.len());
        let size = read("per_page", 30).min(self.state.page_cap.unwrap_or(100));
        let next = (number * size < total).then(|| {
            let rest: String = self
                .call
                .query
                .iter()
                .filter(|(key, _)| key != "page")
                .map(|(key, value)| format!("{key}={value}&"))
                .collect();
            format!("<{}/api/v3/{path}?{rest}page={}>; rel=\"next\"", self.state.url, number + 1)
        });
        (all.into_iter().skip((number - 1) * size).take(size).collect(), next)
    }
}

/// A list's answer.
pub(super) fn linked(body: Value, next: Option<String>) -> Reply {
    let reply = Reply::new(200, body);
    match next {
        Some(next) => reply.with("link", next),
        None => reply,
    }
}

pub(super) fn not_found() -> Reply {
    Reply::new(404, message("Not Found"))
}

/// A 422 for what is wrong with a field, or with the whole.
pub(super) fn invalid(error: Value) -> Reply {
    Reply::new(422, shapes::invalid(&[error]))
}

/// Adds the names of a list that are not there yet.
pub(super) fn add(target: &mut Vec<String>, names: &Value) {
    for name in names.as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !target.iter().any(|other| other == name) {
            target.push(name.to_owned());
        }
    }
}

/// The text of a field; empty if there is none.
pub(super) fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or_default().to_owned()
}

/// What is wrong with a field of a pull request.
pub(super) fn bad_field(field: &str, code: &str) -> Reply {
    invalid(json!({"resource": "PullRequest", "field": field, "code": code}))
}
