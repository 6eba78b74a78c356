//! The interface.

use std::time::Duration;

use axum::body::{self, Body};
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use crate::git_host::{basic_password, percent_decode};
use crate::gitea::World;
use crate::gitea::answers::{answer, not_found, refused};
use crate::gitea::state::{Account, Pull};
use crate::interface::Reply;
use crate::server::Recorded;

pub(super) async fn serve(Shared(world): Shared<World>, request: Request<Body>) -> Response {
    let (parts, content) = request.into_parts();
    let content = body::to_bytes(content, usize::MAX).await.unwrap_or_default();
    let path = parts.uri.path().strip_prefix("/api/v1/").unwrap_or_default().to_owned();
    let (latency, failure) = {
        let mut state = world.state();
        let (query, body) = (
            parts.uri.query().unwrap_or_default(),
            serde_json::from_slice(&content).unwrap_or_default(),
        );
        state.requests.push(Recorded::request(
            parts.method.as_str(),
            parts.uri.path(),
            query,
            body,
        ));
        (state.latency, state.failures.pop_front())
    };
    if latency > Duration::ZERO {
        tokio::time::sleep(latency).await;
    }
    let reply = world.state().replies.pop_front();
    if let Some(reply) = reply {
        return reply.into_response();
    }
    if let Some(status) = failure.and_then(|status| StatusCode::from_u16(status).ok()) {
        let mut reply = refused(status, "a failure that was asked for");
        if [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status) {
            reply.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("7"));
        }
        return reply;
    }
    let Some(account) = account(&world, &parts.headers) else {
        return refused(StatusCode::UNAUTHORIZED, "invalid username, password or token");
    };
    let segments: Vec<String> = path.split('/').map(percent_decode).collect();
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    let ["repos", owner, name, rest @ ..] = words.as_slice() else { return not_found("not found") };
    if parts.method != "GET" && !account.rights.write {
        let scope = if matches!(rest, ["issues" | "labels", ..]) {
            "write:issue"
        } else {
            "write:repository"
        };
        let text = format!(
            "token does not have at least one of required scope(s), required=[{scope}], token scope=read:repository"
        );
        return refused(StatusCode::FORBIDDEN, &text);
    }
    let path = format!("{owner}/{name}");
    if !world.git.repository(&format!("{path}.git")).is_dir() {
        return not_found("not found");
    }
    if let Some(refusal) = refusal(&world, &path, parts.method == "GET", rest) {
        return refusal;
    }
    let call = GiteaCall { world: &world, account: &account, owner, path: &path, uri: &parts.uri };
    let body = serde_json::from_slice(&content).unwrap_or(Value::Null);
    call.route(parts.method.as_str(), rest, &body)
}

/// A request of an account for a repository that exists.
pub(super) struct GiteaCall<'a> {
    pub(super) world: &'a World,
    pub(super) account: &'a Account,
    pub(super) owner: &'a str,
    pub(super) path: &'a str,
    uri: &'a Uri,
}

impl GiteaCall<'_> {
    fn route(&self, method: &str, rest: &[&str], body: &Value) -> Response {
        self.world.refresh(self.path);
        match (method, rest) {
            ("GET", []) => answer(
                StatusCode::OK,
                &self.world.state().repository(self.path).settings(self.path),
            ),
            ("GET", ["branches", branch @ ..]) => self.branch(&branch.join("/")),
            ("GET", ["git", "refs", "pull", number, "head"]) => self.pull_ref(number),
            ("GET", ["issues", number, "timeline"]) => self.timeline(number),
            ("GET", ["pulls"]) => self.list(),
            ("POST", ["pulls"]) => self.create(body),
            ("GET", ["compare", range @ ..]) => self.compare(&range.join("/")),
            ("POST", ["pulls", number, "merge"]) => self.merge(number, body),
            ("DELETE", ["pulls", number, "merge"]) => self.cancel(number),
            ("POST", ["pulls", number, "requested_reviewers"]) => self.review(number, body),
            ("GET", ["pulls", number]) => self.show(number, StatusCode::OK),
            ("PATCH", ["pulls", number]) => self.edit(number, body),
            ("GET", ["pulls", base, head @ ..]) => self.find(base, &head.join("/")),
            ("GET", ["teams"]) => self.teams(),
            ("POST", ["labels"]) => self.make_label(body),
            ("POST", ["issues", number, "labels"]) => self.label(number, body),
            ("POST", ["issues", number, "comments"]) => self.comment(number, body),
            ("GET", ["commits", commit, "status"]) => self.status(commit),
            ("POST", ["statuses", commit]) => self.set_status(commit, body),
            _ => not_found("not found"),
        }
    }

    pub(super) fn pull<'s>(
        &self,
        number: &str,
        state: &'s mut super::GiteaState,
    ) -> Option<&'s mut Pull> {
        state.repository(self.path).pull(number.parse().ok()?)
    }

    /// The page that was asked for, and the number of all.
    pub(super) fn page(&self, all: Vec<Value>, most: usize) -> (Vec<Value>, String) {
        let number = |name: &str| self.query(name).and_then(|text| text.parse::<usize>().ok());
        let (page, limit) =
            (number("page").unwrap_or(1).max(1), number("limit").unwrap_or(30).min(most));
        let total = all.len().to_string();
        (all.into_iter().skip((page - 1) * limit).take(limit).collect(), total)
    }

    pub(super) fn query(&self, name: &str) -> Option<String> {
        let pairs = self.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| percent_decode(&value.replace('+', " ")))
            .next()
    }
}

/// What the settings of a repository forbid. Sources: go-gitea/gitea#27149 (423),
/// `routers/api/v1/api.go` (`mustAllowPulls`: 404).
fn refusal(world: &World, path: &str, reads: bool, rest: &[&str]) -> Option<Response> {
    let mut state = world.state();
    let root = state.root.clone();
    let repository = state.repository(path);
    if let Some(to) = &repository.moved_to {
        let below = rest.iter().map(|segment| format!("/{segment}")).collect::<String>();
        let to = format!("{root}/api/v1/repos/{to}{below}");
        let text = "";
        return Some(Reply::text(307, &[("location", to.as_str())], text).into_response());
    }
    if repository.is("archived", true) && !reads {
        return Some(refused(StatusCode::LOCKED, &format!("{path} is archived")));
    }
    let is_off = repository.is("has_pull_requests", false) && rest.first() == Some(&"pulls");
    is_off.then(|| not_found("not found"))
}

fn account(world: &World, headers: &HeaderMap) -> Option<Account> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let token = match value.split_once(' ')? {
        ("token" | "Bearer", token) => token.to_owned(),
        _ => basic_password(value)?,
    };
    world.state().accounts.get(&token).cloned()
}
