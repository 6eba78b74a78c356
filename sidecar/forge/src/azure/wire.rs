//! What Azure sends, as far as it is read, and what its fields can hold.

use serde::Deserialize;
use serde_json::Value;

use crate::http::or_default;
use crate::model::{Mergeability, PullRequest, PullRequestState};

/// A list's answer.
#[derive(Deserialize)]
pub(super) struct AzureList<T> {
    value: Option<Vec<Option<T>>>,
}

impl<T> AzureList<T> {
    /// How many the server gave.
    pub(super) fn len(&self) -> usize {
        self.value.as_ref().map_or(0, Vec::len)
    }

    /// What there is; entries may be null.
    pub(super) fn items(self) -> Vec<T> {
        self.value.unwrap_or_default().into_iter().flatten().collect()
    }
}

/// `GitPullRequest`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pull {
    pub(super) pull_request_id: u64,
    #[serde(default, deserialize_with = "or_default")]
    status: String,
    #[serde(default, deserialize_with = "or_default")]
    title: String,
    /// `PullRequestAsyncStatus`.
    #[serde(default)]
    merge_status: Option<String>,
    /// Absent when it is empty.
    #[serde(default)]
    description: Option<String>,
    pub(super) source_ref_name: String,
    pub(super) target_ref_name: String,
    #[serde(default)]
    pub(super) last_merge_source_commit: Option<Commit>,
    #[serde(default)]
    last_merge_commit: Option<Commit>,
    #[serde(default)]
    closed_date: Option<String>,
    #[serde(default)]
    pub(super) created_by: Option<Who>,
    #[serde(default)]
    auto_complete_set_by: Option<Who>,
    #[serde(default)]
    labels: Option<Vec<Label>>,
    /// Only of pull requests from forks.
    #[serde(default)]
    pub(super) fork_source: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Commit {
    pub(super) commit_id: String,
}

#[derive(Deserialize)]
pub(super) struct Who {
    pub(super) id: String,
}

#[derive(Deserialize)]
struct Label {
    name: String,
}

/// `GitBranchStats`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stats {
    pub(super) ahead_count: u64,
}

/// `ConnectionData`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Connected {
    pub(super) authenticated_user: Who,
}

/// `Identity`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    id: String,
    #[serde(default)]
    provider_display_name: Option<String>,
    /// Absent for groups of some providers.
    #[serde(default)]
    is_active: Option<bool>,
    /// `{"Account": {"$type": "System.String", "$value": "…"}, "Mail": …}`
    #[serde(default)]
    properties: Value,
}

impl Pull {
    pub(super) fn shown(self, url: String) -> PullRequest {
        let commit = |commit: Option<Commit>| {
            commit.map(|commit| commit.commit_id).filter(|id| !id.is_empty())
        };
        let state = match self.status.as_str() {
            "completed" => PullRequestState::Merged {
                commit: commit(self.last_merge_commit),
                at: self.closed_date.and_then(|date| date.parse().ok()),
            },
            "abandoned" => PullRequestState::Closed,
            _ => PullRequestState::Open,
        };
        let mergeability = match self.merge_status.as_deref() {
            _ if state != PullRequestState::Open => Mergeability::Unknown,
            // A policy may still forbid it.
            Some("succeeded" | "rejectedByPolicy") => Mergeability::Clean,
            Some("conflicts") => Mergeability::Conflicting,
            // queued, notSet, failure
            _ => Mergeability::Unknown,
        };
        let branch =
            |name: String| name.strip_prefix("refs/heads/").map(str::to_owned).unwrap_or(name);
        PullRequest {
            number: self.pull_request_id,
            url,
            title: self.title,
            body: self.description.unwrap_or_default(),
            head: branch(self.source_ref_name),
            head_commit: commit(self.last_merge_source_commit),
            base: branch(self.target_ref_name),
            state,
            mergeability,
            labels: self.labels.unwrap_or_default().into_iter().map(|label| label.name).collect(),
            auto_merge: Some(self.auto_complete_set_by.is_some_and(|who| who.id != NOBODY)),
            handle: String::new(),
        }
    }
}

impl Identity {
    fn is_called(&self, name: &str) -> bool {
        let property = |key: &str| {
            self.properties.get(key).and_then(|value| value.get("$value")).and_then(Value::as_str)
        };
        [self.provider_display_name.as_deref(), property("Account"), property("Mail")]
            .into_iter()
            .flatten()
            .any(|text| text.to_lowercase() == name.to_lowercase())
    }
}

/// The one identity that a name means; the search also finds what only begins like it.
pub(super) fn only(found: Vec<Identity>, name: &str) -> Result<String, String> {
    let active: Vec<Identity> =
        found.into_iter().filter(|identity| identity.is_active != Some(false)).collect();
    let exact: Vec<&Identity> = active.iter().filter(|identity| identity.is_called(name)).collect();
    match exact.as_slice() {
        [one] => Ok(one.id.clone()),
        [] => Err(format!(
            "no reviewer has the e-mail address, account or display name {name:?}: expected one of these or an id"
        )),
        several => Err(format!(
            "{} reviewers are called {name:?}: expected an e-mail address or an id",
            several.len()
        )),
    }
}

/// `8-4-4-4-12` hex digits.
pub(super) fn is_guid(text: &str) -> bool {
    let lengths = text.split('-').map(str::len);
    lengths.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b == b'-' || b.is_ascii_hexdigit())
}

/// Who has set auto-complete where it is off.
pub(super) const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn a_reviewer_is_the_only_active_identity_that_is_called_so() {
        let identity = |id: &str, name: &str, mail: &str, active: Option<bool>| Identity {
            id: id.to_owned(),
            provider_display_name: Some(name.to_owned()),
            is_active: active,
            properties: serde_json::json!({"Mail": {"$type": "System.String", "$value": mail}}),
        };
        let all = || {
            vec![
                identity("1", "Jane Doe", "jane@example.com", Some(true)),
                identity("2", "Jane Doe-Smith", "jane.smith@example.com", None),
                identity("3", "Sam", "sam@example.com", Some(true)),
                identity("4", "Sam", "sam2@example.com", Some(true)),
                identity("5", "Sam", "sam@example.com", Some(false)),
            ]
        };
        for (name, expected) in [
            ("JANE@example.com", "1"),
            ("jane doe", "1"),
            ("Jane Doe-Smith", "2"),
            ("sam@example.com", "3"),
        ] {
            assert_eq!(only(all(), name).unwrap(), expected, "{name}");
        }
        assert!(only(all(), "Sam").unwrap_err().starts_with("2 reviewers are called \"Sam\""));
        assert!(only(all(), "Jane").unwrap_err().starts_with("no reviewer has"));
    }

    #[test]
    fn a_guid_is_told_from_a_name() {
        for (text, expected) in [
            ("d6245f20-2af8-44f4-9451-8107cb2767db", true),
            ("D6245F20-2AF8-44F4-9451-8107CB2767DB", true),
            ("d6245f20-2af8-44f4-9451-8107cb2767d", false),
            ("d6245f202af844f494518107cb2767db", false),
            ("jane-doe1-doe2-doe3-janedoejaned", false),
        ] {
            assert_eq!(is_guid(text), expected, "{text}");
        }
    }

    #[test]
    fn fields_may_be_null_and_a_word_that_is_not_known_ends_nothing() {
        for (status, merge, expected, mergeability) in [
            ("active", "succeeded", PullRequestState::Open, Mergeability::Clean),
            ("active", "rejectedByPolicy", PullRequestState::Open, Mergeability::Clean),
            ("active", "conflicts", PullRequestState::Open, Mergeability::Conflicting),
            ("active", "queued", PullRequestState::Open, Mergeability::Unknown),
            ("of a later release", "new", PullRequestState::Open, Mergeability::Unknown),
            ("abandoned", "conflicts", PullRequestState::Closed, Mergeability::Unknown),
        ] {
            let shown = serde_json::json!({"pullRequestId": 1, "status": status, "title": null,
                "mergeStatus": merge, "sourceRefName": "refs/heads/h", "targetRefName": "refs/heads/b",
                "labels": null, "description": null, "createdBy": null, "autoCompleteSetBy": null});
            let pull: Pull = serde_json::from_value(shown).unwrap();
            let shown = pull.shown(String::new());
            assert_eq!(
                (shown.state, shown.mergeability),
                (expected, mergeability),
                "{status} {merge}"
            );
        }
    }
}
