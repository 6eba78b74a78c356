//! Commit statuses and check runs.

use serde_json::{Value, json};

use super::api::{Answering, invalid, linked};
use super::shapes;
use crate::interface::Reply;

impl Answering<'_> {
    pub(super) fn statuses(&mut self, repository: &str, commit: &str) -> Reply {
        let url = self.state.url.clone();
        let repo = self.state.repository(repository).unwrap();
        let all: Vec<Value> = repo
            .statuses_of(commit)
            .into_iter()
            .map(|status| shapes::status(&url, repo, commit, status))
            .collect();
        let total = all.len();
        let (page, next) = self.page(&format!("repos/{repository}/commits/{commit}/status"), all);
        let repo = self.state.repository(repository).unwrap();
        linked(shapes::combined(&url, repo, commit, page, total), next)
    }

    pub(super) fn runs(&mut self, repository: &str, commit: &str) -> Reply {
        let url = self.state.url.clone();
        let repo = self.state.repository(repository).unwrap();
        let all: Vec<Value> = repo
            .runs
            .iter()
            .filter(|(of, ..)| of == commit)
            .map(|(_, name, end)| shapes::check_run(&url, repo, commit, name, end.as_deref()))
            .collect();
        let total = all.len();
        let path = format!("repos/{repository}/commits/{commit}/check-runs");
        let (page, next) = self.page(&path, all);
        linked(json!({"total_count": total, "check_runs": page}), next)
    }

    pub(super) fn set_status(&mut self, repository: &str, commit: &str) -> Reply {
        let (url, body) = (self.state.url.clone(), self.call.body.clone());
        if self.call.text("description").is_some_and(|text| text.chars().count() > 140) {
            let error = "Validation failed: Description is too long (maximum is 140 characters)";
            return invalid(error.into());
        }
        self.state.set_status(self.git, repository, commit, body.clone());
        let repo = self.state.repository(repository).unwrap();
        let mut answer = shapes::status(&url, repo, commit, &body);
        answer["creator"] = shapes::user(&url, "lockgate");
        Reply::new(201, answer)
    }
}
