//! Reviews, labels and comments.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::answers::{answer, not_found, refused, text, texts};
use super::api::GiteaCall;

impl GiteaCall<'_> {
    pub(super) fn review(&self, number: &str, body: &Value) -> Response {
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

    pub(super) fn teams(&self) -> Response {
        let state = self.world.state();
        if state.users.contains(self.owner) {
            return refused(StatusCode::METHOD_NOT_ALLOWED, "repo is not owned by an organization");
        }
        let teams = state.teams.iter().filter(|(owner, _)| owner == self.owner);
        answer(StatusCode::OK, &teams.map(|(_, name)| json!({"name": name})).collect())
    }

    pub(super) fn make_label(&self, body: &Value) -> Response {
        if !self.account.rights.member {
            return refused(
                StatusCode::FORBIDDEN,
                "user should have a permission to write to a repo",
            );
        }
        self.world.state().repository(self.path).labels.push(text(body, "name"));
        answer(StatusCode::CREATED, &json!({"name": text(body, "name")}))
    }

    pub(super) fn label(&self, number: &str, body: &Value) -> Response {
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

    pub(super) fn comment(&self, number: &str, body: &Value) -> Response {
        let mut state = self.world.state();
        let Some(pull) = self.pull(number, &mut state) else {
            return refused(StatusCode::INTERNAL_SERVER_ERROR, "");
        };
        pull.comments.push(text(body, "body"));
        answer(StatusCode::CREATED, &json!({"body": text(body, "body")}))
    }
}
