//! The interface.

use std::time::Duration;

use axum::body::{self, Body};
use axum::extract::{Request, State as Shared};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::git_host::{basic_password, percent_decode};
use crate::gitea::World;
use crate::gitea::state::{Account, Pull, Status};
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
    let call = Call { world: &world, account: &account, owner, path: &path, uri: &parts.uri };
    let body = serde_json::from_slice(&content).unwrap_or(Value::Null);
    call.route(parts.method.as_str(), rest, &body)
}

/// A request of an account for a repository that exists.
struct Call<'a> {
    world: &'a World,
    account: &'a Account,
    owner: &'a str,
    path: &'a str,
    uri: &'a Uri,
}

impl Call<'_> {
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

    fn list(&self) -> Response {
        let (state, base) =
            (self.query("state").unwrap_or("open".to_owned()), self.query("base_branch"));
        let wanted = |pull: &&Pull| {
            (state == "all" || pull.closed == (state == "closed"))
                && base.as_ref().is_none_or(|base| *base == pull.base)
        };
        let mut held = self.world.state();
        let root = held.root.clone();
        let repository = held.repository(self.path);
        let mut shown: Vec<Value> = repository
            .pulls
            .iter()
            .filter(wanted)
            .map(|pull| repository.show(&root, self.path, pull))
            .collect();
        if self.query("sort").as_deref() != Some("oldest") {
            shown.reverse();
        }
        if held.forgejo {
            shown.insert(0, Value::Null);
        }
        let most = held.page;
        let (page, total) = self.page(shown, most);
        ([("x-total-count", total)], answer(StatusCode::OK, &Value::Array(page))).into_response()
    }

    fn branch(&self, branch: &str) -> Response {
        match self.world.git.tip(&format!("{}.git", self.path), branch) {
            Some(tip) => answer(StatusCode::OK, &json!({"name": branch, "commit": {"id": tip}})),
            None => not_found("branch does not exist"),
        }
    }

    /// What a pull request's head was when it ended, or is.
    fn pull_ref(&self, number: &str) -> Response {
        let mut state = self.world.state();
        let Some(pull) = self.pull(number, &mut state) else { return not_found("not found") };
        let name = format!("refs/pull/{number}/head");
        let object = json!({"type": "commit", "sha": pull.head_sha});
        answer(StatusCode::OK, &json!({"ref": name, "object": object}))
    }

    fn timeline(&self, number: &str) -> Response {
        let mut state = self.world.state();
        let most = state.page;
        let Some(pull) = self.pull(number, &mut state) else { return not_found("not found") };
        let events = pull.events.iter().map(|kind| json!({"type": kind})).collect();
        let (page, _) = self.page(events, most);
        answer(StatusCode::OK, &Value::Array(page))
    }

    fn find(&self, base: &str, head: &str) -> Response {
        let found = self
            .world
            .state()
            .repository(self.path)
            .pulls
            .iter()
            .find(|pull| pull.is_from(head, base))
            .map(|p| p.number);
        found.map_or_else(
            || not_found("not found"),
            |number| self.show(&number.to_string(), StatusCode::OK),
        )
    }

    fn show(&self, number: &str, status: StatusCode) -> Response {
        let shown =
            number.parse().ok().and_then(|number| self.world.state().pull(self.path, number));
        shown.map_or_else(|| not_found("not found"), |pull| answer(status, &pull))
    }

    fn compare(&self, range: &str) -> Response {
        let git = format!("{}.git", self.path);
        let tips = range
            .split_once("...")
            .map(|(base, head)| (self.world.git.tip(&git, base), self.world.git.tip(&git, head)));
        let Some((Some(base), Some(head))) = tips else { return not_found("not found") };
        let count = self.world.git.git(&git, &["rev-list", "--count", &format!("{base}..{head}")]);
        answer(
            StatusCode::OK,
            &json!({"total_commits": count.trim().parse::<u64>().unwrap(), "commits": []}),
        )
    }

    fn create(&self, body: &Value) -> Response {
        let (head, base) = (text(body, "head"), text(body, "base"));
        if head == base {
            return refused(
                StatusCode::UNPROCESSABLE_ENTITY,
                "Invalid PullRequest: There are no changes between the head and the base",
            );
        }
        let git = format!("{}.git", self.path);
        if self.world.git.tip(&git, &head).is_none() || self.world.git.tip(&git, &base).is_none() {
            return not_found("not found");
        }
        let open = |pull: &&Pull| pull.is_from(&head, &base) && !pull.closed;
        if let Some(pull) = self.world.state().repository(self.path).pulls.iter().find(open) {
            let text =
                format!("pull request already exists for these targets [id: {}]", pull.number);
            return refused(StatusCode::CONFLICT, &text);
        }
        if !self.account.rights.member {
            return refused(StatusCode::FORBIDDEN, "user must be a collaborator");
        }
        let (title, body) = (text(body, "title"), text(body, "body"));
        let number =
            self.world.open(self.path, &self.account.name, &title, &body, &head, &base, false);
        self.show(&number.to_string(), StatusCode::CREATED)
    }

    fn edit(&self, number: &str, body: &Value) -> Response {
        {
            let mut state = self.world.state();
            let Some(pull) = self.pull(number, &mut state) else { return not_found("not found") };
            if !self.account.rights.member && pull.poster != self.account.name {
                return StatusCode::FORBIDDEN.into_response();
            }
            if let Some(title) = body["title"].as_str().filter(|title| !title.is_empty()) {
                title.clone_into(&mut pull.title);
            }
            if let Some(text) = body["body"].as_str() {
                text.clone_into(&mut pull.body);
            }
            if body["state"] == "closed" && pull.merged.is_none() {
                pull.close();
            }
        }
        self.show(number, StatusCode::CREATED)
    }

    fn merge(&self, number: &str, body: &Value) -> Response {
        let no = |text: &str| refused(StatusCode::METHOD_NOT_ALLOWED, text);
        let style = text(body, "Do");
        if !["merge", "rebase", "rebase-merge", "squash", "fast-forward-only"]
            .contains(&style.as_str())
        {
            return refused(StatusCode::UNPROCESSABLE_ENTITY, "[Do]: In");
        }
        let (pull, free) = {
            let mut state = self.world.state();
            let Some(pull) = self.pull(number, &mut state).cloned() else {
                return not_found("not found");
            };
            let free = state.repository(self.path).is_free(&pull);
            (pull, free)
        };
        let git = format!("{}.git", self.path);
        if pull.merged.is_some() {
            return no("The PR is already merged");
        } else if pull.closed {
            return not_found("not found");
        } else if !self.account.rights.member {
            return no("User not allowed to merge PR");
        } else if !pull.is_checked() || !self.world.git.can_merge(&git, &pull.head, &pull.base) {
            return no("Please try again later");
        }
        if body["merge_when_checks_succeed"] == true {
            if pull.scheduled.is_some() {
                let text = format!(
                    "pull request is already scheduled to auto merge when checks succeed [pull_id: {number}]"
                );
                return refused(StatusCode::CONFLICT, &text);
            }
            if let Some(pull) = self.pull(number, &mut self.world.state()) {
                pull.scheduled = Some(style);
                pull.events.push("pull_scheduled_merge");
            }
            self.world.settle(self.path);
            return StatusCode::CREATED.into_response();
        }
        if !free {
            return no("Not all required status checks successful");
        }
        match self.world.merge(self.path, pull.number) {
            Ok(_) => StatusCode::OK.into_response(),
            Err(text) => refused(StatusCode::CONFLICT, text),
        }
    }

    fn cancel(&self, number: &str) -> Response {
        let mut state = self.world.state();
        match self.pull(number, &mut state).filter(|pull| pull.scheduled.is_some()) {
            Some(pull) => {
                pull.cancel();
                StatusCode::NO_CONTENT.into_response()
            }
            None => not_found("not found"),
        }
    }

    fn review(&self, number: &str, body: &Value) -> Response {
        let mut state = self.world.state();
        let users = texts(body, "reviewers");
        if let Some(name) = users.iter().find(|name| !state.users.contains(*name)) {
            return not_found(&format!("User '{name}' not exist"));
        }
        let organization = !state.users.contains(self.owner);
        let teams = if organization { texts(body, "team_reviewers") } else { Vec::new() };
        let known = |name: &str| {
            state.teams.iter().any(|(of, team)| of == self.owner && team.eq_ignore_ascii_case(name))
        };
        if let Some(name) = teams.iter().find(|name| !known(name)) {
            return not_found(&format!("Team '{name}' not exist"));
        }
        let Some(pull) = self.pull(number, &mut state) else {
            return not_found("GetPullRequestByIndex");
        };
        let no = |text: &str| refused(StatusCode::UNPROCESSABLE_ENTITY, text);
        if users.contains(&pull.poster) {
            return no("poster of pr can't be reviewer [user_id: 1, repo_id: 1]");
        }
        if !self.account.rights.member {
            return no("Doer can't choose reviewer [user_id: 1, repo_id: 1]");
        }
        for name in
            users.into_iter().chain(teams.into_iter().map(|team| format!("{}/{team}", self.owner)))
        {
            if !pull.reviewers.contains(&name) {
                pull.reviewers.push(name);
            }
        }
        answer(StatusCode::CREATED, &json!([]))
    }

    fn teams(&self) -> Response {
        let state = self.world.state();
        if state.users.contains(self.owner) {
            return refused(StatusCode::METHOD_NOT_ALLOWED, "repo is not owned by an organization");
        }
        let teams = state.teams.iter().filter(|(owner, _)| owner == self.owner);
        answer(StatusCode::OK, &teams.map(|(_, name)| json!({"name": name})).collect())
    }

    fn make_label(&self, body: &Value) -> Response {
        if !self.account.rights.member {
            return refused(
                StatusCode::FORBIDDEN,
                "user should have a permission to write to a repo",
            );
        }
        self.world.state().repository(self.path).labels.push(text(body, "name"));
        answer(StatusCode::CREATED, &json!({"name": text(body, "name")}))
    }

    fn label(&self, number: &str, body: &Value) -> Response {
        let mut state = self.world.state();
        let organization: Vec<String> = state
            .organization_labels
            .iter()
            .filter(|(owner, _)| owner == self.owner)
            .map(|(_, name)| name.clone())
            .collect();
        let known: Vec<String> =
            state.repository(self.path).labels.iter().cloned().chain(organization).collect();
        let Some(pull) = self.pull(number, &mut state) else { return not_found("not found") };
        if !self.account.rights.member {
            return refused(StatusCode::FORBIDDEN, "write permission is required");
        }
        for name in texts(body, "labels").into_iter().filter(|name| known.contains(name)) {
            if !pull.labels.contains(&name) {
                pull.labels.push(name);
            }
        }
        answer(StatusCode::OK, &pull.labels.iter().map(|name| json!({"name": name})).collect())
    }

    fn comment(&self, number: &str, body: &Value) -> Response {
        let mut state = self.world.state();
        let Some(pull) = self.pull(number, &mut state) else {
            return refused(StatusCode::INTERNAL_SERVER_ERROR, "");
        };
        pull.comments.push(text(body, "body"));
        answer(StatusCode::CREATED, &json!({"body": text(body, "body")}))
    }

    fn status(&self, commit: &str) -> Response {
        if !self.world.git.has_commit(&format!("{}.git", self.path), commit) {
            return not_found("not found");
        }
        let (checks, most) = {
            let mut state = self.world.state();
            (state.repository(self.path).checks(commit), state.page)
        };
        let shown = |check: Status| {
            json!({
                "context": check.context, "status": check.state, "description": check.description, "target_url": check.target_url,
            })
        };
        let (page, total) = self.page(checks.into_iter().map(shown).collect(), most);
        let list = if page.is_empty() { Value::Null } else { Value::Array(page) };
        (
            [("x-total-count", total)],
            answer(StatusCode::OK, &json!({"sha": commit, "statuses": list})),
        )
            .into_response()
    }

    fn set_status(&self, commit: &str, body: &Value) -> Response {
        if !self.account.rights.member {
            return refused(
                StatusCode::FORBIDDEN,
                "user should have a permission to write to a repo",
            );
        }
        if !self.world.git.has_commit(&format!("{}.git", self.path), commit) {
            return refused(StatusCode::INTERNAL_SERVER_ERROR, "");
        }
        let status = Status {
            context: text(body, "context"),
            state: text(body, "state"),
            description: text(body, "description"),
            target_url: text(body, "target_url"),
        };
        self.world.state().repository(self.path).statuses.push((commit.to_owned(), status));
        self.world.settle(self.path);
        answer(StatusCode::CREATED, &json!({}))
    }

    fn pull<'s>(&self, number: &str, state: &'s mut super::State) -> Option<&'s mut Pull> {
        state.repository(self.path).pull(number.parse().ok()?)
    }

    /// The page that was asked for, and the number of all.
    fn page(&self, all: Vec<Value>, most: usize) -> (Vec<Value>, String) {
        let number = |name: &str| self.query(name).and_then(|text| text.parse::<usize>().ok());
        let (page, limit) =
            (number("page").unwrap_or(1).max(1), number("limit").unwrap_or(30).min(most));
        let total = all.len().to_string();
        (all.into_iter().skip((page - 1) * limit).take(limit).collect(), total)
    }

    fn query(&self, name: &str) -> Option<String> {
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

fn text(body: &Value, name: &str) -> String {
    body[name].as_str().unwrap_or_default().to_owned()
}

fn texts(body: &Value, name: &str) -> Vec<String> {
    body[name]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect()
}

fn answer(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json;charset=utf-8")], body.to_string())
        .into_response()
}

fn refused(status: StatusCode, message: &str) -> Response {
    answer(status, &json!({"message": message, "url": "/api/swagger"}))
}

fn not_found(message: &str) -> Response {
    answer(
        StatusCode::NOT_FOUND,
        &json!({"errors": null, "message": message, "url": "/api/swagger"}),
    )
}
