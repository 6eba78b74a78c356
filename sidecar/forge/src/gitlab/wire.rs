//! What GitLab says and how it is said here.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::http::{Answer, or_default};
use crate::model::{Check, CheckState, Mergeability, PullRequest, PullRequestState};

#[derive(Deserialize)]
pub(super) struct Wire {
    pub(super) iid: u64,
    pub(super) web_url: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) title: String,
    pub(super) description: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) state: String,
    pub(super) source_branch: String,
    pub(super) target_branch: String,
    /// Null when the fork is gone.
    pub(super) source_project_id: Option<u64>,
    pub(super) target_project_id: u64,
    pub(super) sha: Option<String>,
    merge_commit_sha: Option<String>,
    squash_commit_sha: Option<String>,
    merged_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "or_default")]
    labels: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) reviewers: Vec<User>,
    /// Whether auto-merge is on, whatever it waits for.
    pub(super) merge_when_pipeline_succeeds: Option<bool>,
    pub(super) detailed_merge_status: Option<String>,
    has_conflicts: Option<bool>,
    /// Not in lists.
    pub(super) head_pipeline: Option<Pipeline>,
    pub(super) updated_at: Option<Timestamp>,
}

#[derive(Deserialize)]
pub(super) struct Pipeline {
    pub(super) sha: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) status: String,
    #[serde(rename = "ref")]
    reference: Option<String>,
    pub(super) created_at: Option<Timestamp>,
}

impl Pipeline {
    /// Whether it ran on what the merge would give, or in a merge train. Source: "Merged results
    /// pipelines".
    pub(super) fn is_of_result(&self) -> bool {
        self.reference.as_ref().is_some_and(|name| {
            name.starts_with("refs/merge-requests/")
                && (name.ends_with("/merge") || name.ends_with("/train"))
        })
    }
}

/// A push, as GitLab remembers it. Source: "Merge requests API", "Get merge request diff versions".
#[derive(Deserialize)]
pub(super) struct Version {
    pub(super) head_commit_sha: Option<String>,
    pub(super) created_at: Option<Timestamp>,
}

#[derive(Deserialize)]
pub(super) struct User {
    pub(super) id: u64,
    pub(super) username: String,
}

#[derive(Deserialize)]
pub(super) struct Project {
    #[serde(default, deserialize_with = "or_default")]
    pub(super) merge_method: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) squash_option: String,
    /// "Pipelines must succeed".
    pub(super) only_allow_merge_if_pipeline_succeeds: Option<bool>,
    pub(super) jobs_enabled: Option<bool>,
    pub(super) builds_access_level: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct JobStatus {
    pub(super) id: u64,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(default, deserialize_with = "or_default")]
    status: String,
    description: Option<String>,
    target_url: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    allow_failure: bool,
}

/// What is to be changed.
#[derive(Serialize)]
pub(super) struct Change {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) title: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
}

#[derive(Serialize)]
pub(super) struct Merge<'a> {
    /// Since 17.11.
    pub(super) auto_merge: bool,
    /// The same before.
    pub(super) merge_when_pipeline_succeeds: bool,
    pub(super) should_remove_source_branch: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sha: Option<&'a str>,
    /// `false` changes nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) squash: Option<bool>,
}

#[derive(Serialize)]
pub(super) struct NewStatus<'a> {
    pub(super) state: &'static str,
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) target_url: Option<&'a str>,
}

impl From<Wire> for PullRequest {
    fn from(wire: Wire) -> Self {
        let state = match wire.state.as_str() {
            "merged" => PullRequestState::Merged {
                // Without a merge commit (fast-forward) the squashed commit, or else the head, is
                // what the base has now.
                commit: wire
                    .merge_commit_sha
                    .or(wire.squash_commit_sha)
                    .or_else(|| wire.sha.clone()),
                at: wire.merged_at,
            },
            "closed" => PullRequestState::Closed,
            // `locked` is the moment of merging.
            _ => PullRequestState::Open,
        };
        let mergeability = match wire.detailed_merge_status.as_deref() {
            _ if state != PullRequestState::Open => Mergeability::Unknown,
            Some("conflict" | "broken_status") => Mergeability::Conflicting,
            _ if wire.has_conflicts == Some(true) => Mergeability::Conflicting,
            Some("need_rebase") => Mergeability::Behind,
            None | Some("unchecked" | "checking" | "preparing" | "approvals_syncing") => {
                Mergeability::Unknown
            }
            Some(_) => Mergeability::Clean,
        };
        Self {
            number: wire.iid,
            url: wire.web_url,
            title: split_draft(&wire.title).1.to_owned(),
            body: wire.description.unwrap_or_default(),
            head: wire.source_branch,
            head_commit: wire.sha,
            base: wire.target_branch,
            state,
            mergeability,
            labels: wire.labels,
            auto_merge: wire.merge_when_pipeline_succeeds,
            handle: String::new(),
        }
    }
}

impl From<JobStatus> for Check {
    fn from(status: JobStatus) -> Self {
        let state = match status.status.as_str() {
            "success" | "skipped" => CheckState::Success,
            // A job whose result does not matter to its pipeline.
            "failed" | "canceled" | "manual" if status.allow_failure => CheckState::Success,
            "failed" | "canceled" => CheckState::Failure,
            _ => CheckState::Pending,
        };
        Self {
            name: status.name,
            state,
            description: status.description.unwrap_or_default(),
            url: status.target_url,
        }
    }
}

pub(super) fn name(number: u64) -> String {
    format!("merge request !{number}")
}

/// A token that is wrong, expired or revoked; else 401 means that this one may not.
pub(super) fn is_bad_token(answer: &Answer) -> bool {
    answer.body.get("error").is_some_and(|error| error == "invalid_token")
}

/// `detailed_merge_status` in words. Source: "Merge requests API", "Merge status".
pub(super) fn reason(status: &str) -> &str {
    match status {
        "conflict" | "broken_status" => "it conflicts with its base branch",
        "draft_status" => "it is a draft",
        "discussions_not_resolved" => "threads are not resolved",
        "ci_must_pass" => "a pipeline must succeed, and there is none that has or that runs",
        "not_approved" => "approvals are missing",
        "requested_changes" => "a reviewer asked for changes",
        "need_rebase" => "its branch must be rebased first",
        "not_open" => "it is not open",
        "merge_request_blocked" => "another merge request blocks it",
        "status_checks_must_pass" => "external status checks must pass",
        "locked_paths" | "locked_lfs_files" => "paths are locked",
        "security_policy_violations" => "security policies forbid it",
        _ => "its rules do not allow it, or there is nothing to wait for",
    }
}

/// The prefix that makes it a draft, and the rest. Source: "Draft merge requests".
pub(super) fn split_draft(title: &str) -> (&str, &str) {
    for prefix in ["draft:", "[draft]", "(draft)"] {
        if let (Some(start), Some(rest)) = (title.get(..prefix.len()), title.get(prefix.len()..))
            && start.eq_ignore_ascii_case(prefix)
        {
            let rest = rest.trim_start();
            return title.split_at_checked(title.len() - rest.len()).unwrap_or(("", title));
        }
    }
    ("", title)
}

/// Markdown that shows the same and commands nothing. Source: "GitLab quick actions".
pub(super) fn without_commands(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let start = line.trim_start();
        let command = start
            .strip_prefix('/')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
        if command {
            out.push_str(line.get(..line.len() - start.len()).unwrap_or_default());
            out.push('\\');
            out.push_str(start);
        } else {
            out.push_str(line);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_draft_is_told_by_its_title() {
        for (title, prefix, rest) in [
            ("Promote a", "", "Promote a"),
            ("Draft: Promote a", "Draft: ", "Promote a"),
            ("[DRAFT] Promote a", "[DRAFT] ", "Promote a"),
            ("(draft)Promote a", "(draft)", "Promote a"),
            ("Drafted: a", "", "Drafted: a"),
            ("Dräft: a", "", "Dräft: a"),
            ("", "", ""),
        ] {
            assert_eq!(split_draft(title), (prefix, rest), "{title}");
        }
    }

    #[test]
    fn no_line_commands_gitlab() {
        for (text, safe) in [
            ("a\n/merge\nb", "a\n\\/merge\nb"),
            ("/close", "\\/close"),
            ("  /label ~x\r\n", "  \\/label ~x\r\n"),
            ("a /merge b\n- /etc/x\n/1\n//", "a /merge b\n- /etc/x\n/1\n//"),
        ] {
            assert_eq!(without_commands(text), safe);
            assert_eq!(without_commands(safe), safe, "twice is as once");
        }
    }

    #[test]
    fn every_status_of_a_job_is_good_bad_or_to_come() {
        for (status, allow_failure, state) in [
            ("success", false, CheckState::Success),
            ("skipped", false, CheckState::Success),
            ("failed", false, CheckState::Failure),
            ("failed", true, CheckState::Success),
            ("canceled", false, CheckState::Failure),
            ("manual", true, CheckState::Success),
            ("manual", false, CheckState::Pending),
            ("created", false, CheckState::Pending),
            ("pending", false, CheckState::Pending),
            ("running", true, CheckState::Pending),
            ("a new one", false, CheckState::Pending),
        ] {
            let wire =
                json!({"id": 1, "name": "ci", "status": status, "allow_failure": allow_failure});
            let check = Check::from(serde_json::from_value::<JobStatus>(wire).unwrap());
            assert_eq!(check.state, state, "{status}");
        }
    }

    #[test]
    fn what_the_base_has_after_a_merge_depends_on_the_method() {
        for (merge, squash, commit) in
            [(Some("m"), Some("s"), "m"), (None, Some("s"), "s"), (None, None, "h")]
        {
            let wire: Wire = serde_json::from_value(json!({
                "iid": 1, "web_url": "u", "title": "t", "description": null, "state": "merged", "source_branch": "h",
                "target_branch": "b", "source_project_id": 1, "target_project_id": 1, "sha": "h",
                "merge_commit_sha": merge, "squash_commit_sha": squash, "merged_at": "2026-01-02T03:04:05.678Z",
            }))
            .unwrap();
            let at = Some("2026-01-02T03:04:05.678Z".parse().unwrap());
            assert_eq!(
                PullRequest::from(wire).state,
                PullRequestState::Merged { commit: Some(commit.to_owned()), at }
            );
        }
    }

    fn shown(more: &serde_json::Value) -> PullRequest {
        let mut wire = json!({"iid": 1, "web_url": "u", "state": "opened", "source_branch": "h",
            "target_branch": "b", "target_project_id": 1});
        for (name, value) in more.as_object().unwrap() {
            wire.as_object_mut().unwrap().insert(name.clone(), value.clone());
        }
        serde_json::from_value::<Wire>(wire).unwrap().into()
    }

    #[test]
    fn fields_may_be_null_and_a_word_that_is_not_known_ends_nothing() {
        let nulls = json!({"title": null, "description": null, "labels": null, "reviewers": null,
            "head_pipeline": null, "detailed_merge_status": null, "sha": null, "state": null});
        assert_eq!(shown(&nulls).state, PullRequestState::Open);
        assert_eq!(shown(&json!({"state": "locked"})).state, PullRequestState::Open);
        assert_eq!(shown(&json!({"state": "closed"})).state, PullRequestState::Closed);
    }

    #[test]
    fn whether_it_conflicts_or_is_behind_is_read_from_its_merge_status() {
        for (more, expected) in [
            (json!({"detailed_merge_status": "mergeable"}), Mergeability::Clean),
            (json!({"detailed_merge_status": "not_approved"}), Mergeability::Clean),
            (json!({"detailed_merge_status": "of a later release"}), Mergeability::Clean),
            (json!({"detailed_merge_status": "conflict"}), Mergeability::Conflicting),
            (json!({"has_conflicts": true}), Mergeability::Conflicting),
            (json!({"detailed_merge_status": "need_rebase"}), Mergeability::Behind),
            (json!({"detailed_merge_status": "checking"}), Mergeability::Unknown),
            (json!({}), Mergeability::Unknown),
            (
                json!({"detailed_merge_status": "conflict", "state": "closed"}),
                Mergeability::Unknown,
            ),
        ] {
            assert_eq!(shown(&more).mergeability, expected, "{more}");
        }
    }
}
