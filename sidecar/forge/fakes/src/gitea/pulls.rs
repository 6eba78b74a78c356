//! Pull requests: found, opened, changed, merged.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answers::{answer, not_found, refused, text};
use super::api::GiteaCall;
use super::state::Pull;

impl GiteaCall<'_> {
    pub(super) fn list(&self) -> Response {
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

    pub(super) fn branch(&self, branch: &str) -> Response {
        match self.world.git.tip(&format!("{}.git", self.path), branch) {
            Some(tip) => answer(StatusCode::OK, &json!({"name": branch, "commit": {"id": tip}})),
            None => not_found("branch does not exist"),
        }
    }

    /// What a pull request's head was when it ended, or is.
    pub(super) fn pull_ref(&self, number: &str) -> Response {
        let mut state = self.world.state();
        let Some(pull) = self.pull(number, &mut state) else { return not_found("not found") };
        let name = format!("refs/pull/{number}/head");
        let object = json!({"type": "commit", "sha": pull.head_sha});
        answer(StatusCode::OK, &json!({"ref": name, "object": object}))
    }

    pub(super) fn timeline(&self, number: &str) -> Response {
        let mut state = self.world.state();
        let most = state.page;
        let Some(pull) = self.pull(number, &mut state) else { return not_found("not found") };
        let events = pull.events.iter().map(|kind| json!({"type": kind})).collect();
        let (page, _) = self.page(events, most);
        answer(StatusCode::OK, &Value::Array(page))
    }

    pub(super) fn find(&self, base: &str, head: &str) -> Response {
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

    pub(super) fn show(&self, number: &str, status: StatusCode) -> Response {
        let shown =
            number.parse().ok().and_then(|number| self.world.state().pull(self.path, number));
        shown.map_or_else(|| not_found("not found"), |pull| answer(status, &pull))
    }

    pub(super) fn compare(&self, range: &str) -> Response {
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

    pub(super) fn create(&self, body: &Value) -> Response {
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

    pub(super) fn edit(&self, number: &str, body: &Value) -> Response {
        {
            let mut state = self.world.state();
            let Some(pull) = self.pull(number, &mut state) else { return not_found("not found") };
            if !self.account.rights.member && pull.poster != self.account.name {
                return StatusCode::FORBIDDEN.into_response();
            }
            // Source: routers/api/v1/repo/pull.go, EditPullRequest.
            if !body["state"].is_null() && pull.merged.is_some() {
                let text = "cannot change state of this pull request, it was already merged";
                return refused(StatusCode::PRECONDITION_FAILED, text);
            }
            if let Some(title) = body["title"].as_str().filter(|title| !title.is_empty()) {
                title.clone_into(&mut pull.title);
            }
            if let Some(text) = body["body"].as_str() {
                text.clone_into(&mut pull.body);
            }
            if body["state"] == "closed" {
                pull.close();
            }
        }
        self.show(number, StatusCode::CREATED)
    }

    pub(super) fn merge(&self, number: &str, body: &Value) -> Response {
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

    pub(super) fn cancel(&self, number: &str) -> Response {
        let mut state = self.world.state();
        match self.pull(number, &mut state).filter(|pull| pull.scheduled.is_some()) {
            Some(pull) => {
                pull.cancel();
                StatusCode::NO_CONTENT.into_response()
            }
            None => not_found("not found"),
        }
    }
}
