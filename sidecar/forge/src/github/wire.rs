//! GitHub's objects, as far as they are read here.
//!
//! These are not octocrab's models: those want dozens of fields of every user, repository and
//! label, and a pull request that GitHub has opened must not become an error because an older
//! Enterprise Server leaves one of them out.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::http::or_default;
use crate::model::{Check, CheckState, Mergeability, PullRequest, PullRequestState};

#[derive(Deserialize)]
pub(super) struct Pull {
    pub(super) number: u64,
    #[serde(default, deserialize_with = "or_default")]
    node_id: String,
    html_url: String,
    #[serde(default, deserialize_with = "or_default")]
    title: String,
    body: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    state: String,
    pub(super) head: Side,
    pub(super) base: Side,
    merged_at: Option<Timestamp>,
    merge_commit_sha: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    labels: Vec<Label>,
    auto_merge: Option<Value>,
    /// Not in lists; null until GitHub has found out.
    mergeable: Option<bool>,
    mergeable_state: Option<String>,
    pub(super) updated_at: Option<Timestamp>,
}

#[derive(Deserialize)]
pub(super) struct Side {
    #[serde(rename = "ref")]
    pub(super) branch: String,
    sha: String,
    /// `None`: a fork that was deleted.
    repo: Option<Repo>,
}

#[derive(Deserialize)]
struct Repo {
    full_name: String,
}

#[derive(Deserialize)]
struct Label {
    name: String,
}

impl Pull {
    /// Whether it joins these branches and its head is in this repository, not in a fork with a
    /// branch of that name.
    pub(super) fn joins(&self, repository: &str, head: &str, base: &str) -> bool {
        self.head.branch == head
            && self.base.branch == base
            && self
                .head
                .repo
                .as_ref()
                .is_some_and(|repo| repo.full_name.eq_ignore_ascii_case(repository))
    }
}

impl From<Pull> for PullRequest {
    fn from(pull: Pull) -> Self {
        let state = match (pull.merged_at, pull.state.as_str()) {
            // Before the merge the field names a commit that GitHub made to try it.
            (Some(at), _) => {
                PullRequestState::Merged { commit: pull.merge_commit_sha, at: Some(at) }
            }
            (None, "closed") => PullRequestState::Closed,
            // A word that is not known ends nothing.
            (None, _) => PullRequestState::Open,
        };
        // Source: "Get a pull request": true, false, or null while it is being found out.
        let is_behind = pull.mergeable_state.as_deref() == Some("behind");
        let mergeability = match (&state, pull.mergeable) {
            (PullRequestState::Open, Some(true)) if is_behind => Mergeability::Behind,
            (PullRequestState::Open, Some(true)) => Mergeability::Clean,
            (PullRequestState::Open, Some(false)) => Mergeability::Conflicting,
            _ => Mergeability::Unknown,
        };
        Self {
            number: pull.number,
            url: pull.html_url,
            title: pull.title,
            body: pull.body.unwrap_or_default(),
            head: pull.head.branch,
            head_commit: Some(pull.head.sha),
            base: pull.base.branch,
            state,
            mergeability,
            labels: pull.labels.into_iter().map(|label| label.name).collect(),
            auto_merge: Some(pull.auto_merge.is_some()),
            handle: pull.node_id,
        }
    }
}

/// `GET /commits/{ref}/status`: the newest of each context.
#[derive(Deserialize)]
pub(super) struct Combined {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) statuses: Vec<GitHubStatus>,
}

#[derive(Deserialize)]
pub(super) struct GitHubStatus {
    context: String,
    state: String,
    description: Option<String>,
    target_url: Option<String>,
}

impl From<GitHubStatus> for Check {
    fn from(status: GitHubStatus) -> Self {
        let state = match status.state.as_str() {
            "success" => CheckState::Success,
            "pending" => CheckState::Pending,
            _ => CheckState::Failure,
        };
        Self {
            name: status.context,
            state,
            description: status.description.unwrap_or_default(),
            url: status.target_url,
        }
    }
}

/// `GET /commits/{ref}/check-runs`.
#[derive(Deserialize)]
pub(super) struct Runs {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) check_runs: Vec<Run>,
}

#[derive(Deserialize)]
pub(super) struct Run {
    name: String,
    status: String,
    conclusion: Option<String>,
    html_url: Option<String>,
    output: Option<Output>,
}

#[derive(Deserialize)]
struct Output {
    title: Option<String>,
}

impl From<Run> for Check {
    fn from(run: Run) -> Self {
        let state = match (run.status.as_str(), run.conclusion.as_deref()) {
            ("completed", Some("success" | "neutral" | "skipped")) => CheckState::Success,
            // failure, cancelled, timed_out, action_required, stale, startup_failure
            ("completed", _) => CheckState::Failure,
            // queued, in_progress, waiting, requested, pending
            _ => CheckState::Pending,
        };
        let description = run.output.and_then(|output| output.title).unwrap_or_default();
        Self { name: run.name, state, description, url: run.html_url }
    }
}

/// The state of a commit status; `error` is never set.
pub(super) fn status_state(state: CheckState) -> &'static str {
    match state {
        CheckState::Pending => "pending",
        CheckState::Success => "success",
        CheckState::Failure => "failure",
    }
}

/// One check per name. Two workflows may both have a job `build`, and GitHub lists both: the one
/// that is worse counts.
pub(super) fn worst_of_each_name(checks: impl IntoIterator<Item = Check>) -> Vec<Check> {
    let rank = |state| match state {
        CheckState::Success => 0,
        CheckState::Pending => 1,
        CheckState::Failure => 2,
    };
    let mut kept: Vec<Check> = Vec::new();
    for check in checks {
        match kept.iter_mut().find(|other| other.name == check.name) {
            Some(other) if rank(other.state) < rank(check.state) => *other = check,
            Some(_) => {}
            None => kept.push(check),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use serde_json::json;

    use super::*;

    fn pull(more: &Value) -> PullRequest {
        let side = json!({"ref": "b", "sha": "c", "repo": null});
        let mut shown =
            json!({"number": 1, "html_url": "u", "state": "open", "head": side, "base": side});
        for (name, value) in more.as_object().unwrap() {
            shown.as_object_mut().unwrap().insert(name.clone(), value.clone());
        }
        serde_json::from_value::<Pull>(shown).unwrap().into()
    }

    #[test]
    fn fields_may_be_null_and_a_word_that_is_not_known_ends_nothing() {
        let nulls = json!({"title": null, "body": null, "labels": null, "node_id": null,
            "auto_merge": null, "mergeable": null, "merged_at": null, "state": null});
        assert_eq!(pull(&nulls).state, PullRequestState::Open);
        assert_eq!(pull(&json!({"state": "of a later release"})).state, PullRequestState::Open);
        assert_eq!(pull(&json!({"state": "closed"})).state, PullRequestState::Closed);
    }

    #[test]
    fn whether_it_conflicts_or_is_behind_is_read_of_open_ones_alone() {
        for (more, expected) in [
            (json!({"mergeable": true, "mergeable_state": "clean"}), Mergeability::Clean),
            (json!({"mergeable": true, "mergeable_state": "blocked"}), Mergeability::Clean),
            (json!({"mergeable": true, "mergeable_state": "behind"}), Mergeability::Behind),
            (json!({"mergeable": false, "mergeable_state": "dirty"}), Mergeability::Conflicting),
            (json!({"mergeable": null, "mergeable_state": "unknown"}), Mergeability::Unknown),
            (json!({}), Mergeability::Unknown),
            (json!({"mergeable": false, "state": "closed"}), Mergeability::Unknown),
        ] {
            assert_eq!(pull(&more).mergeability, expected, "{more}");
        }
    }
}
