//! What goes over the wire, as far as it is used.

use jiff::Timestamp;
use lockgate_core::pipeline::MergeMethod;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::error::ForgeFault;
use crate::http::or_default;
use crate::model::{Check, CheckState, Mergeability, PullRequest, PullRequestState, SETTLED};

#[derive(Deserialize)]
pub(super) struct Pull {
    number: u64,
    html_url: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) title: String,
    #[serde(default, deserialize_with = "or_default")]
    body: String,
    #[serde(default, deserialize_with = "or_default")]
    state: String,
    #[serde(default, deserialize_with = "or_default")]
    merged: bool,
    /// `false` also while that is being found out, and of a draft.
    mergeable: Option<bool>,
    updated_at: Option<Timestamp>,
    merged_at: Option<Timestamp>,
    merge_commit_sha: Option<String>,
    labels: Option<Vec<Option<Label>>>,
    head: Branch,
    base: Branch,
}

#[derive(Deserialize)]
struct Branch {
    /// The name of the branch, also when the branch is gone (`ref` is then `refs/pull/…`) and in a
    /// fork.
    #[serde(default, deserialize_with = "or_default")]
    label: String,
    #[serde(default, deserialize_with = "or_default")]
    sha: String,
    /// -1 where the fork is gone.
    repo_id: i64,
    repo: Option<Styles>,
}

/// How the repository may be merged into.
#[derive(Default, Deserialize, Serialize)]
#[serde(default)]
pub(super) struct Styles {
    #[serde(rename = "default_merge_style")]
    default: String,
    #[serde(rename = "allow_merge_commits")]
    merge: bool,
    #[serde(rename = "allow_squash_merge")]
    squash: bool,
    #[serde(rename = "allow_rebase")]
    rebase: bool,
}

#[derive(Deserialize)]
pub(super) struct Label {
    pub(super) name: String,
}

#[derive(Deserialize)]
pub(super) struct Comparison {
    pub(super) total_commits: u64,
}

#[derive(Deserialize)]
pub(super) struct GiteaStatus {
    #[serde(default, deserialize_with = "or_default")]
    context: String,
    #[serde(default, deserialize_with = "or_default")]
    status: String,
    #[serde(default, deserialize_with = "or_default")]
    description: String,
    #[serde(default, deserialize_with = "or_default")]
    target_url: String,
}

/// A reference of the repository. Source: "Get specified ref or filtered repository's refs": one
/// that is named exactly, or a list.
#[derive(Deserialize)]
pub(super) struct Reference {
    #[serde(rename = "ref")]
    name: String,
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    sha: String,
}

impl Reference {
    /// The commit that a pull request ended with.
    pub(super) fn commit_of(body: Value, number: &str) -> Option<String> {
        let name = format!("refs/pull/{number}/head");
        let list = if body.is_array() { body } else { Value::Array(vec![body]) };
        let list: Vec<Self> = serde_json::from_value(list).ok()?;
        let found = list.into_iter().find(|reference| reference.name == name)?;
        Some(found.object.sha).filter(|sha| !sha.is_empty())
    }
}

impl Pull {
    /// Whether it goes from this branch of the base's own repository into that one.
    pub(super) fn connects(&self, head: &str, base: &str) -> bool {
        self.head.repo_id == self.base.repo_id && self.head.label == head && self.base.label == base
    }
}

impl Styles {
    /// Those that came with a pull request, which keeps them as its handle. Without one everything
    /// is allowed.
    pub(super) fn of(handle: &str) -> Self {
        serde_json::from_str(handle).unwrap_or(Self {
            default: String::new(),
            merge: true,
            squash: true,
            rebase: true,
        })
    }

    /// What to ask for.
    pub(super) fn choose(&self, method: Option<MergeMethod>) -> Result<&str, ForgeFault> {
        let (style, allowed) = match method {
            Some(MergeMethod::Merge) => ("merge", self.merge),
            Some(MergeMethod::Squash) => ("squash", self.squash),
            Some(MergeMethod::Rebase) => ("rebase", self.rebase),
            None if self.default.is_empty() => ("merge", true),
            None => (self.default.as_str(), true),
        };
        if allowed {
            Ok(style)
        } else {
            Err(ForgeFault::Invalid(format!(
                "the repository's settings do not allow the merge style {style}"
            )))
        }
    }
}

impl Pull {
    pub(super) fn is_open(&self) -> bool {
        !self.merged && self.state != "closed"
    }

    /// As it stood at `at`, by the clock of the forge.
    pub(super) fn shown(self, at: Option<Timestamp>) -> PullRequest {
        let pull = self;
        let (is_open, (draft, title)) = (pull.is_open(), split_draft(&pull.title));
        let state = match pull.merged {
            true => PullRequestState::Merged {
                commit: pull.merge_commit_sha.filter(|sha| !sha.is_empty()),
                at: pull.merged_at,
            },
            false if is_open => PullRequestState::Open,
            false => PullRequestState::Closed,
        };
        // Gitea looks for conflicts in the background and says "not mergeable" until it is done.
        let is_settled = at
            .zip(pull.updated_at)
            .is_some_and(|(at, updated)| at.duration_since(updated).unsigned_abs() >= SETTLED);
        let mergeability = match pull.mergeable {
            Some(true) if is_open => Mergeability::Clean,
            Some(false) if is_open && is_settled && draft.is_empty() => Mergeability::Conflicting,
            _ => Mergeability::Unknown,
        };
        PullRequest {
            number: pull.number,
            url: pull.html_url,
            title: title.to_owned(),
            body: pull.body,
            head: pull.head.label,
            head_commit: Some(pull.head.sha).filter(|sha| !sha.is_empty()),
            base: pull.base.label,
            state,
            mergeability,
            labels: pull.labels.into_iter().flatten().flatten().map(|label| label.name).collect(),
            auto_merge: None,
            handle: pull
                .base
                .repo
                .and_then(|styles| serde_json::to_string(&styles).ok())
                .unwrap_or_default(),
        }
    }
}

/// The prefix that makes it a draft, and the rest. Source: `WORK_IN_PROGRESS_PREFIXES`, whose
/// default is `WIP:,[WIP]`.
pub(super) fn split_draft(title: &str) -> (&str, &str) {
    for prefix in ["wip:", "[wip]"] {
        if let (Some(start), Some(rest)) = (title.get(..prefix.len()), title.get(prefix.len()..))
            && start.eq_ignore_ascii_case(prefix)
        {
            let rest = rest.trim_start();
            return title.split_at_checked(title.len() - rest.len()).unwrap_or(("", title));
        }
    }
    ("", title)
}

impl From<GiteaStatus> for Check {
    fn from(status: GiteaStatus) -> Self {
        let state = match status.status.as_str() {
            "success" | "skipped" => CheckState::Success,
            "pending" => CheckState::Pending,
            // `failure`, `error`, and `warning`, which Gitea counts as a failure too.
            _ => CheckState::Failure,
        };
        let url = Some(status.target_url).filter(|url| !url.is_empty());
        Self { name: status.context, state, description: status.description, url }
    }
}

pub(super) fn status(check: &Check) -> Value {
    let state = match check.state {
        CheckState::Pending => "pending",
        CheckState::Success => "success",
        CheckState::Failure => "failure",
    };
    let mut body = json!({"context": check.name, "state": state, "description": check.description});
    if let Some(url) = &check.url
        && let Some(members) = body.as_object_mut()
    {
        members.insert("target_url".to_owned(), json!(url));
    }
    body
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use super::*;

    #[test]
    fn a_warning_fails_and_a_skipped_check_does_not() {
        for (state, expected) in [
            ("pending", CheckState::Pending),
            ("success", CheckState::Success),
            ("skipped", CheckState::Success),
            ("failure", CheckState::Failure),
            ("error", CheckState::Failure),
            ("warning", CheckState::Failure),
            ("of a later release", CheckState::Failure),
        ] {
            let status: GiteaStatus =
                serde_json::from_value(json!({"context": "ci", "status": state})).unwrap();
            assert_eq!(
                Check::from(status),
                Check {
                    name: "ci".to_owned(),
                    state: expected,
                    description: String::new(),
                    url: None
                }
            );
        }
    }

    #[test]
    fn the_style_is_the_wanted_one_or_the_default_of_the_repository() {
        let handle = r#"{"default_merge_style":"fast-forward-only","allow_rebase":true,"of_a_later_release":1}"#;
        for (handle, method, style) in [
            (handle, None, Some("fast-forward-only")),
            (handle, Some(MergeMethod::Rebase), Some("rebase")),
            (handle, Some(MergeMethod::Merge), None),
            (handle, Some(MergeMethod::Squash), None),
            ("", None, Some("merge")),
            ("", Some(MergeMethod::Squash), Some("squash")),
        ] {
            assert_eq!(Styles::of(handle).choose(method).ok(), style, "{handle} {method:?}");
        }
    }

    #[test]
    fn only_a_branch_of_the_same_repository_connects() {
        let pull = |head: &str, repository: i64| -> Pull {
            serde_json::from_value(json!({
                "number": 1, "html_url": "", "title": "", "state": "open", "merged": false,
                "head": {"label": head, "sha": "", "repo_id": repository}, "base": {"label": "main", "sha": "", "repo_id": 7},
            }))
            .unwrap()
        };
        assert!(pull("promotion", 7).connects("promotion", "main"));
        assert!(!pull("promotion", 7).connects("promotion", "other"));
        assert!(!pull("promotion", 8).connects("promotion", "main"));
        // The fork is gone; the branch was pushed for review without one.
        assert!(!pull("promotion", -1).connects("promotion", "main"));
        assert!(!pull("", 7).connects("promotion", "main"));
    }

    fn shown(more: &Value, at: &str) -> PullRequest {
        let side = json!({"label": "b", "sha": "c", "repo_id": 1, "repo": null});
        let mut shown = json!({"number": 1, "html_url": "u", "state": "open", "head": side,
            "base": side, "updated_at": "2026-01-01T00:00:00Z"});
        for (name, value) in more.as_object().unwrap() {
            shown.as_object_mut().unwrap().insert(name.clone(), value.clone());
        }
        serde_json::from_value::<Pull>(shown).unwrap().shown(at.parse().ok())
    }

    #[test]
    fn fields_may_be_null_and_a_word_that_is_not_known_ends_nothing() {
        let nulls = json!({"title": null, "body": null, "labels": [null], "merged": null,
            "mergeable": null, "updated_at": null, "state": null});
        assert_eq!(shown(&nulls, "").state, PullRequestState::Open);
        assert_eq!(shown(&json!({"state": "closed"}), "").state, PullRequestState::Closed);
    }

    #[test]
    fn not_mergeable_is_a_conflict_once_gitea_has_had_time_to_look() {
        let (soon, late) = ("2026-01-01T00:00:30Z", "2026-01-01T00:02:00Z");
        for (more, at, expected) in [
            (json!({"mergeable": true}), soon, Mergeability::Clean),
            (json!({"mergeable": false}), soon, Mergeability::Unknown),
            (json!({"mergeable": false}), late, Mergeability::Conflicting),
            (json!({"mergeable": false, "title": "WIP: x"}), late, Mergeability::Unknown),
            (json!({"mergeable": false, "state": "closed"}), late, Mergeability::Unknown),
            (json!({"mergeable": false}), "", Mergeability::Unknown),
        ] {
            assert_eq!(shown(&more, at).mergeability, expected, "{more} {at}");
        }
    }
}
