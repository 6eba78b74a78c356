//! Commit statuses.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::answers::{answer, not_found, refused, text};
use super::api::GiteaCall;
use super::state::GiteaCommitStatus;

impl GiteaCall<'_> {
    pub(super) fn status(&self, commit: &str) -> Response {
        if !self.world.git.has_commit(&format!("{}.git", self.path), commit) {
            return not_found("not found");
        }
        let (checks, most) = {
            let mut state = self.world.state();
            (state.repository(self.path).checks(commit), state.page)
        };
        let shown = |check: GiteaCommitStatus| {
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

    pub(super) fn set_status(&self, commit: &str, body: &Value) -> Response {
        if !self.account.rights.member {
            return refused(
                StatusCode::FORBIDDEN,
                "user should have a permission to write to a repo",
            );
        }
        if !self.world.git.has_commit(&format!("{}.git", self.path), commit) {
            return refused(StatusCode::INTERNAL_SERVER_ERROR, "");
        }
        let status = GiteaCommitStatus {
            context: text(body, "context"),
            state: text(body, "state"),
            description: text(body, "description"),
            target_url: text(body, "target_url"),
        };
        self.world.state().repository(self.path).statuses.push((commit.to_owned(), status));
        self.world.settle(self.path);
        answer(StatusCode::CREATED, &json!({}))
    }
}
