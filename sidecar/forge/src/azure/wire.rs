//! What Azure sends, as far as it is read, and what its fields can hold.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use crate::model::{PullRequest, State};

/// A list's answer.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub(super) value: Vec<T>,
}

/// `GitPullRequest`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Pull {
    pub(super) pull_request_id: u64,
    status: String,
    #[serde(default)]
    title: String,
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
            "completed" => State::Merged {
                commit: commit(self.last_merge_commit),
                at: self.closed_date.and_then(|date| date.parse().ok()),
            },
            "abandoned" => State::Closed,
            _ => State::Open,
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

/// A body as a description can hold it: the beginning, whole lines where the last one begins near
/// the end, no open code block, and a word that it was cut.
pub(super) fn fit(body: &str) -> Cow<'_, str> {
    // .NET counts UTF-16 units.
    let units = |text: &str| text.chars().map(char::len_utf16).sum::<usize>();
    if units(body) <= LONGEST_DESCRIPTION {
        return Cow::Borrowed(body);
    }
    let (mut left, mut end) = (LONGEST_DESCRIPTION - units(FENCE_END) - units(CUT), 0);
    for (at, char) in body.char_indices() {
        let Some(rest) = left.checked_sub(char.len_utf16()) else { break };
        (left, end) = (rest, at + char.len_utf8());
    }
    let kept = body.get(..end).unwrap_or_default();
    let kept = match kept.rfind('\n') {
        Some(line) if kept.len() - line <= LONGEST_LOSS => kept.get(..line).unwrap_or_default(),
        _ => kept,
    };
    let is_open = kept.lines().filter(|line| line.trim_start().starts_with("```")).count() % 2 == 1;
    Cow::Owned(format!("{kept}{}{CUT}", if is_open { FENCE_END } else { "" }))
}

/// Whoever has switched auto-complete off.
pub(super) const NOBODY: &str = "00000000-0000-0000-0000-000000000000";
/// Source: "Pull Requests - Update": "Description (up to 4000 characters)".
const LONGEST_DESCRIPTION: usize = 4000;
/// Bytes of a last, cut line that are given up for a cut at its beginning.
const LONGEST_LOSS: usize = 400;
const FENCE_END: &str = "\n```";
const CUT: &str = "\n\n*(cut here: Azure DevOps keeps 4,000 characters)*";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use super::*;

    #[test]
    fn a_body_of_up_to_4000_units_is_left_alone() {
        for body in ["", "short", &"x".repeat(4000), &"𝄞".repeat(2000)] {
            assert_eq!(fit(body), body);
        }
    }

    #[test]
    fn a_longer_body_keeps_its_beginning_and_says_that_it_was_cut() {
        let block = "<details>\n<summary>metadata</summary>\n!!! DO NOT EDIT !!!\n\nns/app/prod\n</details>\n";
        for tail in [
            "a line of the list\n".repeat(400),
            "x".repeat(5000),
            "𝄞".repeat(2100),
            "ü\n".repeat(3000),
        ] {
            let body = format!("{block}{tail}");
            let cut = fit(&body);
            assert!(cut.starts_with(block) && cut.ends_with(CUT), "{cut}");
            let units = cut.encode_utf16().count();
            assert!((3500..=4000).contains(&units), "{units}");
            let kept = cut.strip_suffix(CUT).unwrap();
            assert!(body.starts_with(kept), "nothing else is changed");
        }
    }

    #[test]
    fn a_cut_is_at_the_end_of_a_line_and_closes_a_code_block() {
        let body = format!("```\n{}", "a line of a log\n".repeat(400));
        let cut = fit(&body);
        assert!(cut.strip_suffix(CUT).unwrap().ends_with("a line of a log\n```"), "{cut}");
        assert!(cut.encode_utf16().count() <= 4000);
    }

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
}
