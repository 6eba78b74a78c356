//! Pull requests and what is asked of them.

use axum::http::StatusCode;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::answers::{Asked, Refusal, found, invalid, refuse, word};
use super::people::people;
use super::statuses::status;
use super::{Azure, Shared};
use crate::GitHost;

#[derive(Clone, Default)]
pub(crate) struct Pull {
    pub(super) id: u64,
    /// Path of its repository in the git host.
    pub(super) repository: String,
    pub(super) head: String,
    pub(super) base: String,
    title: String,
    description: String,
    status: &'static str,
    created_by: String,
    pub(super) auto_complete_set_by: Option<String>,
    pub(super) options: Value,
    labels: Vec<String>,
    reviewers: Vec<String>,
    pub(super) threads: Vec<Value>,
    pub(super) statuses: Vec<Value>,
    /// Heads, one for each push that was seen.
    iterations: Vec<String>,
    base_commit: String,
    conflicts: bool,
    pub(super) is_from_fork: bool,
    merge_commit: Option<String>,
    closed: Option<Timestamp>,
}

impl Pull {
    pub(super) fn new(repository: &str, head: &str, base: &str, created_by: &str) -> Self {
        Self {
            repository: repository.to_owned(),
            head: head.to_owned(),
            base: base.to_owned(),
            title: head.to_owned(),
            status: "active",
            created_by: created_by.to_owned(),
            options: json!({}),
            ..Self::default()
        }
    }

    /// Looks at the branches, as the real one does after a push.
    pub(super) fn refresh(&mut self, git: &GitHost) {
        if self.status != "active" {
            return;
        }
        if let Some(tip) = git.tip(&self.repository, &self.head)
            && self.iterations.last() != Some(&tip)
        {
            self.iterations.push(tip);
        }
        self.base_commit = git.tip(&self.repository, &self.base).unwrap_or_default();
        self.conflicts =
            !self.is_from_fork && !git.can_merge(&self.repository, &self.head, &self.base);
    }

    pub(super) fn end(&mut self, status: &'static str, commit: Option<String>) {
        self.status = status;
        self.merge_commit = commit;
        self.closed = Some(Timestamp::now());
    }

    pub(super) fn json(&self, is_listed: bool) -> Value {
        let name = self.repository.rsplit('/').next().unwrap_or_default();
        let mut value = json!({
            "repository": {"id": "3411ebc1-d5aa-464f-9615-0b527bc66719", "name": name},
            "pullRequestId": self.id,
            "codeReviewId": self.id,
            "status": self.status,
            "createdBy": {"id": self.created_by, "displayName": "Somebody"},
            "creationDate": "2026-01-02T03:04:05.1234567Z",
            "title": self.title,
            "sourceRefName": format!("refs/heads/{}", self.head),
            "targetRefName": format!("refs/heads/{}", self.base),
            "mergeStatus": if self.conflicts { "conflicts" } else { "succeeded" },
            "isDraft": false,
            "lastMergeSourceCommit": {"commitId": self.iterations.last()},
            "lastMergeTargetCommit": {"commitId": self.base_commit},
            "reviewers": self.reviewers.iter().map(|id| json!({"id": id, "vote": 0})).collect::<Vec<_>>(),
            "supportsIterations": true,
        });
        if self.iterations.is_empty() {
            value.as_object_mut().unwrap().remove("lastMergeSourceCommit");
        }
        if !self.description.is_empty() {
            let length = if is_listed { 400 } else { usize::MAX };
            value["description"] = self.description.chars().take(length).collect::<String>().into();
        }
        if let Some(commit) = &self.merge_commit {
            value["lastMergeCommit"] = json!({"commitId": commit});
        }
        if let Some(closed) = self.closed {
            value["closedDate"] = closed.to_string().into();
        }
        if self.is_from_fork {
            value["forkSource"] = json!({"name": format!("refs/heads/{}", self.head), "repository": {"name": "fork"}});
        }
        if !is_listed {
            if !self.labels.is_empty() {
                value["labels"] = self
                    .labels
                    .iter()
                    .map(|name| json!({"id": "0", "name": name, "active": true}))
                    .collect();
            }
            if let Some(id) = &self.auto_complete_set_by {
                value["autoCompleteSetBy"] = json!({"id": id});
                value["completionOptions"] = self.options.clone();
            }
        }
        value
    }
}

impl Shared {
    pub(super) fn list(&self, repository: &str, asked: &Asked) -> Result<Value, Refusal> {
        let wanted =
            word(&asked.text("searchCriteria.status").unwrap_or_default().into(), STATUSES);
        let number = |name: &str, default: usize| {
            asked.text(name).and_then(|text| text.parse().ok()).unwrap_or(default)
        };
        let (head, base) = (
            asked.text("searchCriteria.sourceRefName"),
            asked.text("searchCriteria.targetRefName"),
        );
        let mut state = self.state.lock().unwrap();
        let is = |asked: &Option<String>, branch: &str| {
            asked.as_ref().is_none_or(|name| *name == format!("refs/heads/{branch}"))
        };
        let has_status = |pull: &Pull| match wanted.as_str() {
            "" | "notSet" => pull.status == "active",
            "all" => true,
            status => pull.status == status,
        };
        let is_wanted = |pull: &&mut Pull| {
            pull.repository == repository
                && has_status(pull)
                && is(&head, &pull.head)
                && is(&base, &pull.base)
        };
        // The newest first.
        let list = state.pulls.iter_mut().rev().filter(is_wanted);
        let page = list.skip(number("$skip", 0)).take(number("$top", 101).min(1000)).map(|pull| {
            pull.refresh(&self.git);
            pull.json(true)
        });
        Ok(found(page.collect()))
    }

    pub(super) fn create(&self, repository: &str, asked: &Asked) -> Result<Value, Refusal> {
        let field = |name: &str| match asked.body[name].as_str() {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(invalid(&format!("A valid {name} must be supplied."))),
        };
        let branch = |name: &str| {
            let text = field(name)?;
            let tip = text
                .strip_prefix("refs/heads/")
                .filter(|branch| self.git.tip(repository, branch).is_some());
            tip.map(str::to_owned).ok_or_else(|| {
                let words = "TF401398: The pull request cannot be activated because the source and/or the target branch no \
                             longer exists, or the requested refs are not branches";
                refuse(StatusCode::BAD_REQUEST, "GitPullRequestCannotBeActivated", words)
            })
        };
        let (head, base, title) =
            (branch("sourceRefName")?, branch("targetRefName")?, field("title")?);
        if title.encode_utf16().count() > 400 {
            return Err(invalid("title"));
        }
        let description = description(&asked.body)?;
        self.may_contribute()?;
        let mut state = self.state.lock().unwrap();
        let is_same = |pull: &&Pull| {
            pull.status == "active"
                && !pull.is_from_fork
                && pull.repository == repository
                && pull.head == head
                && pull.base == base
        };
        if state.pulls.iter().find(is_same).is_some() {
            let words =
                "TF401179: An active pull request for the source and target branch already exists.";
            return Err(refuse(StatusCode::CONFLICT, "GitPullRequestExistsException", words));
        }
        let id = state.next_id();
        let mut pull =
            Pull { id, title, description, ..Pull::new(repository, &head, &base, Azure::USER) };
        pull.refresh(&self.git);
        state.pulls.push(pull.clone());
        Ok(pull.json(false))
    }

    /// What is asked of one pull request; `below` is what follows its number.
    pub(super) fn one(
        &self,
        repository: &str,
        number: &str,
        below: &[&str],
        asked: &Asked,
    ) -> Result<Value, Refusal> {
        if asked.method != "GET" {
            self.may_contribute()?;
        }
        let mut state = self.state.lock().unwrap();
        let next_status = state.next_status;
        let is_this =
            |pull: &&mut Pull| pull.repository == repository && pull.id.to_string() == number;
        let pull = state.pulls.iter_mut().find(is_this).ok_or_else(|| {
            refuse(
                StatusCode::NOT_FOUND,
                "GitPullRequestNotFoundException",
                "TF401180: The requested pull request was not found.",
            )
        })?;
        pull.refresh(&self.git);
        match (asked.method.as_str(), below) {
            ("GET", []) => Ok(pull.json(false)),
            ("PATCH", []) => update(pull, &asked.body),
            ("POST", ["labels"]) => {
                let name = asked.body["name"]
                    .as_str()
                    .filter(|name| !name.is_empty())
                    .ok_or_else(|| invalid("name"))?;
                if !pull.labels.iter().any(|label| label == name) {
                    pull.labels.push(name.to_owned());
                }
                Ok(
                    json!({"id": "921dbff4-9c00-49d6-9262-ab0d6e4a13f1", "name": name, "active": true}),
                )
            }
            ("POST", ["reviewers"]) => {
                let list = asked.body.as_array().ok_or_else(|| invalid("reviewers"))?;
                for reviewer in list {
                    let id = reviewer["id"]
                        .as_str()
                        .filter(|id| people().iter().any(|person| person["id"] == **id));
                    let id =
                        id.ok_or_else(|| invalid("A valid reviewer must be supplied."))?.to_owned();
                    if !pull.reviewers.contains(&id) {
                        pull.reviewers.push(id);
                    }
                }
                Ok(found(pull.reviewers.iter().map(|id| json!({"id": id, "vote": 0})).collect()))
            }
            ("POST", ["threads"]) => {
                let comment = &asked.body["comments"][0];
                comment["content"]
                    .as_str()
                    .filter(|text| !text.is_empty())
                    .ok_or_else(|| invalid("content"))?;
                let mut thread = asked.body.clone();
                thread["id"] = (pull.threads.len() + 1).into();
                thread["status"] = word(&thread["status"], THREADS).into();
                pull.threads.push(thread.clone());
                Ok(thread)
            }
            ("GET", ["statuses"]) => Ok(found(pull.statuses.clone())),
            ("POST", ["statuses"]) => {
                let status = status(&asked.body, next_status)?;
                pull.statuses.push(status.clone());
                state.next_status += 1;
                Ok(status)
            }
            ("GET", ["iterations"]) => {
                let iterations = pull.iterations.iter().enumerate();
                Ok(found(iterations.map(|(at, head)| json!({"id": at + 1, "sourceRefCommit": {"commitId": head}})).collect()))
            }
            _ => Err(refuse(
                StatusCode::METHOD_NOT_ALLOWED,
                "VssRequestContentTypeNotSupportedException",
                "no such operation",
            )),
        }
    }
}

fn update(pull: &mut Pull, body: &Value) -> Result<Value, Refusal> {
    let fields = body.as_object().ok_or_else(|| invalid("gitPullRequestToUpdate"))?;
    let known = [
        "status",
        "title",
        "description",
        "completionOptions",
        "mergeOptions",
        "autoCompleteSetBy",
        "targetRefName",
    ];
    if let Some(other) = fields.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(invalid(&format!("The following property cannot be updated: {other}")));
    }
    if pull.status != "active" {
        let words = "TF401181: The pull request cannot be edited due to its state.";
        return Err(refuse(StatusCode::CONFLICT, "GitPullRequestNotEditableException", words));
    }
    if fields.contains_key("description") {
        pull.description = description(body)?;
    }
    if let Some(title) = fields.get("title") {
        pull.title = title
            .as_str()
            .filter(|text| !text.is_empty())
            .ok_or_else(|| invalid("title"))?
            .to_owned();
    }
    if let Some(options) = fields.get("completionOptions") {
        pull.options = options.clone();
        if let Some(strategy) = options.get("mergeStrategy") {
            let strategy = word(strategy, STRATEGIES);
            if !STRATEGIES.contains(&strategy.as_str()) {
                return Err(invalid("mergeStrategy"));
            }
            pull.options["mergeStrategy"] = strategy.into();
        }
    }
    match fields.get("autoCompleteSetBy").map(|who| who["id"].as_str()) {
        None => {}
        Some(Some("00000000-0000-0000-0000-000000000000")) => pull.auto_complete_set_by = None,
        // That one can only speak for oneself is not written anywhere; a fake that is too strict is
        // the safer one.
        Some(Some(Azure::USER)) => pull.auto_complete_set_by = Some(Azure::USER.to_owned()),
        Some(_) => return Err(invalid("autoCompleteSetBy.id")),
    }
    match fields.get("status").map(|status| word(status, STATUSES)).as_deref() {
        Some("abandoned") => pull.end("abandoned", None),
        None | Some("active") => {}
        Some(_) => return Err(invalid("status")),
    }
    Ok(pull.json(false))
}

fn description(body: &Value) -> Result<String, Refusal> {
    let text = body["description"].as_str().unwrap_or_default();
    if text.encode_utf16().count() > 4000 {
        return Err(invalid(
            "A description for a pull request must not be longer than 4000 characters.",
        ));
    }
    Ok(text.to_owned())
}

const STATUSES: &[&str] = &["notSet", "active", "abandoned", "completed", "all"];
const STRATEGIES: &[&str] = &["", "noFastForward", "squash", "rebase", "rebaseMerge"];
const THREADS: &[&str] =
    &["unknown", "active", "fixed", "wontFix", "closed", "byDesign", "pending"];
