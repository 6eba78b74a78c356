//! Statuses of a commit, and those that were posted on the pull request whose head it is.
//!
//! Commit statuses (Flux, most CI outside Azure) and pull request statuses (services that follow a
//! pull request) are two lists in Azure. Policies look at the second, so a caller that asks for the
//! checks of a head commit gets both. A status of an iteration (a push) counts only for the commit
//! of that iteration.
//!
//! Source: "Statuses - List", "Pull Request Statuses - List", "Pull Request Iterations - List".

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::wire::{AzureList, Commit, Pull};
use super::{Azure, PULL_PAGES};
use crate::error::ForgeError;
use crate::model::{Check, CheckState};

/// `GitStatus`, `GitPullRequestStatus`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AzureStatus {
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    description: Option<String>,
    context: Context,
    #[serde(default)]
    target_url: Option<String>,
    #[serde(default)]
    creation_date: Option<String>,
    #[serde(default)]
    iteration_id: Option<u64>,
}

#[derive(Deserialize)]
struct Context {
    name: String,
    #[serde(default)]
    genre: Option<String>,
}

/// `GitPullRequestIteration`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Iteration {
    id: u64,
    source_ref_commit: Commit,
}

impl Azure {
    /// Two requests, and one or two more for each open pull request with this head.
    pub(super) async fn all_checks(&self, commit: &str) -> Result<Vec<Check>, ForgeError> {
        let (below, query) = (["commits", commit, "statuses"], [("latestOnly", "true")]);
        let mut statuses: Vec<AzureStatus> =
            self.pages("checks", &below, &query, ("top", "skip")).await?;
        let query = [("searchCriteria.status", "active")];
        let pulls: Vec<Pull> = self.pages("checks", &["pullrequests"], &query, PULL_PAGES).await?;
        for pull in pulls {
            if pull
                .last_merge_source_commit
                .is_some_and(|head| head.commit_id.eq_ignore_ascii_case(commit))
            {
                statuses.extend(self.pull_statuses(pull.pull_request_id, commit).await?);
            }
        }
        Ok(newest(statuses))
    }

    async fn pull_statuses(
        &self,
        number: u64,
        commit: &str,
    ) -> Result<Vec<AzureStatus>, ForgeError> {
        let number = number.to_string();
        let page: AzureList<AzureStatus> =
            self.send("checks", self.get(&["pullRequests", &number, "statuses"], &[])).await?;
        let mut statuses = page.items();
        if statuses.iter().any(|status| status.iteration_id.is_some()) {
            let page: AzureList<Iteration> = self
                .send("checks", self.get(&["pullRequests", &number, "iterations"], &[]))
                .await?;
            let pushes = page.items();
            let is_of_commit = |id: u64| {
                pushes.iter().any(|pushed| {
                    pushed.id == id
                        && pushed.source_ref_commit.commit_id.eq_ignore_ascii_case(commit)
                })
            };
            statuses.retain(|status| status.iteration_id.is_none_or(is_of_commit));
        }
        Ok(statuses)
    }
}

/// The newest of each name, in the order of names.
fn newest(statuses: Vec<AzureStatus>) -> Vec<Check> {
    let mut checks = Check::newest_of_each_name(
        statuses.into_iter().map(|status| (status.created(), status.check())),
    );
    checks.sort_by(|one, other| one.name.cmp(&other.name));
    checks
}

impl AzureStatus {
    fn name(&self) -> String {
        match self.context.genre.as_deref() {
            None | Some("") => self.context.name.clone(),
            Some(genre) => format!("{genre}/{}", self.context.name),
        }
    }

    fn created(&self) -> Option<Timestamp> {
        self.creation_date.as_ref()?.parse().ok()
    }

    fn check(self) -> Check {
        let state = match self.state.as_deref() {
            Some("succeeded" | "notApplicable") => CheckState::Success,
            None | Some("pending" | "notSet") => CheckState::Pending,
            // failed, error, partiallySucceeded
            Some(_) => CheckState::Failure,
        };
        Check {
            name: self.name(),
            state,
            description: self.description.unwrap_or_default(),
            url: self.target_url,
        }
    }
}

/// A status to set. The genre is what comes before the first slash of the name; "Statuses -
/// Create": it "can be empty".
pub(super) fn body(check: &Check) -> Value {
    let context = match check.name.split_once('/') {
        Some((genre, name)) if !genre.is_empty() && !name.is_empty() => {
            json!({"genre": genre, "name": name})
        }
        _ => json!({"name": check.name}),
    };
    let state = match check.state {
        CheckState::Pending => "pending",
        CheckState::Success => "succeeded",
        CheckState::Failure => "failed",
    };
    let mut body = json!({"state": state, "description": check.description, "context": context});
    if let (Some(url), Some(body)) = (&check.url, body.as_object_mut()) {
        body.insert("targetUrl".to_owned(), url.as_str().into());
    }
    body
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn states_of_azure_become_ours() {
        for (state, expected) in [
            (json!("succeeded"), CheckState::Success),
            (json!("notApplicable"), CheckState::Success),
            (json!("pending"), CheckState::Pending),
            (json!("notSet"), CheckState::Pending),
            (Value::Null, CheckState::Pending),
            (json!("failed"), CheckState::Failure),
            (json!("error"), CheckState::Failure),
            (json!("partiallySucceeded"), CheckState::Failure),
        ] {
            let status: AzureStatus =
                serde_json::from_value(json!({"state": state, "description": null, "context": {"name": "n", "genre": null}}))
                    .unwrap();
            assert_eq!(status.check().state, expected, "{state}");
        }
    }

    #[test]
    fn the_newest_of_each_name_counts() {
        let status = |genre: &str, name: &str, state: &str, second: u32| -> AzureStatus {
            let date = format!("2026-01-01T00:00:{second:02}.5Z");
            serde_json::from_value(json!({"state": state, "context": {"name": name, "genre": genre}, "creationDate": date}))
                .unwrap()
        };
        let checks = newest(vec![
            status("fluxcd", "a", "failed", 1),
            status("fluxcd", "a", "succeeded", 2),
            status("", "a", "pending", 3),
            status("fluxcd", "b", "failed", 4),
        ]);
        let short: Vec<_> = checks.iter().map(|check| (check.name.as_str(), check.state)).collect();
        assert_eq!(
            short,
            [
                ("a", CheckState::Pending),
                ("fluxcd/a", CheckState::Success),
                ("fluxcd/b", CheckState::Failure)
            ]
        );
    }

    #[test]
    fn the_genre_is_what_comes_before_the_first_slash() {
        for (name, context) in [
            (
                "fluxcd/kustomization/apps/0c9c",
                json!({"genre": "fluxcd", "name": "kustomization/apps/0c9c"}),
            ),
            ("ci", json!({"name": "ci"})),
            ("/ci", json!({"name": "/ci"})),
        ] {
            let check = Check {
                name: name.to_owned(),
                state: CheckState::Pending,
                description: String::new(),
                url: None,
            };
            assert_eq!(body(&check).get("context"), Some(&context), "{name}");
        }
    }
}
