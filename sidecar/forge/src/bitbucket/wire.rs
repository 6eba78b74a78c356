//! What Bitbucket says and how it is said here.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::http::or_default;
use crate::model::{Check, CheckState, Mergeability, PullRequest, PullRequestState};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PagedList<T> {
    pub(super) values: Vec<Option<T>>,
    #[serde(default, deserialize_with = "or_default")]
    is_last_page: bool,
    next_page_start: Option<u64>,
}

impl<T> PagedList<T> {
    /// Where the page after the one that began at `start` begins.
    pub(super) fn next(&self, start: u64) -> Option<u64> {
        self.next_page_start.filter(|next| !self.is_last_page && *next > start)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Wire {
    pub(super) id: u64,
    pub(super) version: u64,
    pub(super) title: String,
    pub(super) description: Option<String>,
    /// Since 8.18.
    #[serde(default, deserialize_with = "or_default")]
    pub(super) draft: bool,
    state: String,
    /// Milliseconds since 1970.
    closed_date: Option<i64>,
    pub(super) from_ref: Reference,
    pub(super) to_ref: Reference,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) reviewers: Vec<Participant>,
    #[serde(default, deserialize_with = "or_default")]
    properties: Properties,
    #[serde(default, deserialize_with = "or_default")]
    links: Links,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reference {
    /// With `refs/heads/`.
    pub(super) id: String,
    latest_commit: Option<String>,
    pub(super) repository: Repository,
}

#[derive(Deserialize)]
pub(super) struct Repository {
    slug: String,
    project: Project,
}

#[derive(Deserialize)]
struct Project {
    key: String,
}

impl Repository {
    pub(super) fn is(&self, project: &str, slug: &str) -> bool {
        self.slug.eq_ignore_ascii_case(slug) && self.project.key.eq_ignore_ascii_case(project)
    }
}

#[derive(Deserialize)]
pub(super) struct Participant {
    pub(super) user: User,
}

#[derive(Deserialize)]
pub(super) struct User {
    pub(super) name: String,
}

impl Participant {
    pub(super) fn new(name: &str) -> Self {
        Self { user: User { name: name.to_owned() } }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct Properties {
    merge_commit: Option<Commit>,
    merge_result: Option<MergeResult>,
}

/// What a merge would give, as Bitbucket last tried it.
#[derive(Deserialize)]
struct MergeResult {
    /// `CLEAN`, `CONFLICTED` or `UNKNOWN`.
    outcome: Option<String>,
    /// Whether that is of the present commits.
    current: Option<bool>,
}

#[derive(Deserialize)]
struct Commit {
    id: String,
}

#[derive(Deserialize, Default)]
struct Links {
    #[serde(default, rename = "self")]
    own: Vec<Link>,
}

#[derive(Deserialize)]
struct Link {
    href: String,
}

#[derive(Deserialize)]
pub(super) struct Settings {
    pub(super) enabled: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Build {
    pub(super) key: String,
    state: String,
    url: Option<String>,
    description: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(super) date_added: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Merge {
    /// Since 8.15.
    pub(super) auto_merge: bool,
    /// Without one the repository's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) strategy_id: Option<&'static str>,
}

impl From<Wire> for PullRequest {
    fn from(wire: Wire) -> Self {
        let name = |id: String| id.strip_prefix("refs/heads/").map(str::to_owned).unwrap_or(id);
        let state = match wire.state.as_str() {
            "MERGED" => PullRequestState::Merged {
                commit: wire.properties.merge_commit.map(|commit| commit.id),
                at: wire.closed_date.and_then(|at| Timestamp::from_millisecond(at).ok()),
            },
            "DECLINED" => PullRequestState::Closed,
            // A word that is not known ends nothing.
            _ => PullRequestState::Open,
        };
        let tried = wire.properties.merge_result.filter(|tried| tried.current != Some(false));
        let mergeability = match tried.and_then(|tried| tried.outcome).as_deref() {
            _ if state != PullRequestState::Open => Mergeability::Unknown,
            Some("CLEAN") => Mergeability::Clean,
            Some("CONFLICTED") => Mergeability::Conflicting,
            _ => Mergeability::Unknown,
        };
        Self {
            number: wire.id,
            url: wire.links.own.into_iter().next().map(|link| link.href).unwrap_or_default(),
            title: wire.title,
            body: wire.description.unwrap_or_default(),
            head: name(wire.from_ref.id),
            head_commit: wire.from_ref.latest_commit,
            base: name(wire.to_ref.id),
            state,
            mergeability,
            labels: Vec::new(),
            auto_merge: None,
            handle: wire.version.to_string(),
        }
    }
}

impl From<Build> for Check {
    fn from(build: Build) -> Self {
        let state = match build.state.as_str() {
            "SUCCESSFUL" => CheckState::Success,
            "FAILED" | "CANCELLED" => CheckState::Failure,
            _ => CheckState::Pending,
        };
        Self {
            name: build.key,
            state,
            description: build.description.unwrap_or_default(),
            url: build.url,
        }
    }
}

/// The kind of an error without its package; empty where the answer is none of Bitbucket's own
/// errors.
pub(super) fn exception(body: &Value) -> &str {
    let name = body.pointer("/errors/0/exceptionName").and_then(Value::as_str).unwrap_or_default();
    name.rsplit('.').next().unwrap_or_default()
}

pub(super) fn name(number: u64) -> String {
    format!("pull request {number}")
}

/// Which reviewers were refused, and why.
pub(super) fn reviewer_errors(body: &Value) -> String {
    let errors = body.pointer("/errors/0/reviewerErrors").and_then(Value::as_array);
    let words: Vec<&str> = errors
        .into_iter()
        .flatten()
        .filter_map(|error| error.get("message").and_then(Value::as_str))
        .collect();
    if words.is_empty() { "a reviewer is refused".to_owned() } else { words.join("; ") }
}

/// Bitbucket refuses longer descriptions of builds.
pub(super) fn shortened(text: &str) -> String {
    text.chars().take(LONGEST_DESCRIPTION).collect()
}

/// Characters. Source: "Builds and Deployments", `description`.
const LONGEST_DESCRIPTION: usize = 255;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_repository_is_known_by_project_and_slug_without_case() {
        let repository: Repository =
            serde_json::from_value(json!({"slug": "app", "project": {"key": "TEAM"}})).unwrap();
        for (project, slug, same) in [
            ("TEAM", "app", true),
            ("team", "App", true),
            ("~TEAM", "app", false),
            ("TEAM", "app2", false),
        ] {
            assert_eq!(repository.is(project, slug), same, "{project}/{slug}");
        }
    }

    #[test]
    fn a_page_that_does_not_go_on_is_the_last() {
        for (last, next, expected) in [
            (true, None, None),
            (true, Some(100), None),
            (false, Some(100), Some(100)),
            (false, Some(50), None),
            (false, None, None),
        ] {
            let page: PagedList<u8> = serde_json::from_value(
                json!({"values": [], "isLastPage": last, "nextPageStart": next}),
            )
            .unwrap();
            assert_eq!(page.next(50), expected);
        }
    }

    #[test]
    fn every_state_of_a_build_is_good_bad_or_to_come() {
        for (state, expected) in [
            ("SUCCESSFUL", CheckState::Success),
            ("FAILED", CheckState::Failure),
            ("CANCELLED", CheckState::Failure),
            ("INPROGRESS", CheckState::Pending),
            ("UNKNOWN", CheckState::Pending),
        ] {
            let build: Build = serde_json::from_value(
                json!({"key": "ci", "state": state, "url": "https://ci.example/1"}),
            )
            .unwrap();
            assert_eq!(Check::from(build).state, expected, "{state}");
        }
    }

    #[test]
    fn fields_may_be_null_and_a_word_that_is_not_known_ends_nothing() {
        let side =
            json!({"id": "refs/heads/b", "repository": {"slug": "s", "project": {"key": "K"}}});
        for (state, properties, expected, mergeability) in [
            ("OPEN", json!(null), PullRequestState::Open, Mergeability::Unknown),
            ("NEW", json!({}), PullRequestState::Open, Mergeability::Unknown),
            ("DECLINED", json!(null), PullRequestState::Closed, Mergeability::Unknown),
            (
                "OPEN",
                json!({"mergeResult": {"outcome": "CONFLICTED", "current": true}}),
                PullRequestState::Open,
                Mergeability::Conflicting,
            ),
            (
                "OPEN",
                json!({"mergeResult": {"outcome": "CONFLICTED", "current": false}}),
                PullRequestState::Open,
                Mergeability::Unknown,
            ),
            (
                "OPEN",
                json!({"mergeResult": {"outcome": "CLEAN"}}),
                PullRequestState::Open,
                Mergeability::Clean,
            ),
        ] {
            let wire = json!({"id": 1, "version": 2, "title": "t", "state": state, "fromRef": side,
                "toRef": side, "reviewers": null, "links": null, "draft": null,
                "description": null, "properties": properties});
            let shown = PullRequest::from(serde_json::from_value::<Wire>(wire).unwrap());
            assert_eq!((shown.state, shown.mergeability), (expected, mergeability), "{state}");
        }
    }
}
