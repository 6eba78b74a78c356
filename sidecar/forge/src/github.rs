//! GitHub: github.com, GHE.com and Enterprise Server.
//!
//! Sources: docs.github.com, REST API (version 2022-11-28) pages "Pulls", "Review requests",
//! "Labels", "Commit statuses", "Check runs", "Issue comments", "Apps: installation access tokens",
//! "Rate limits", "Best practices"; GraphQL API page "Mutations". The tests hold every request and
//! answer against GitHub's OpenAPI description and GraphQL schema.
//!
//! **octocrab** makes the requests: it signs them, and for a GitHub App it makes the JSON web
//! token, exchanges it for an installation token (for this repository only) and keeps that until
//! shortly before it expires. Its own HTTP client cannot be given a CA, repeats requests and
//! follows redirects, so it stands on the client that all forges share, as a tower service without
//! octocrab's layers for that. One thing it does repeat: a request that is refused with a 401 under
//! an App's token, once, under a new one. Its typed requests and models are not used, for [`wire`]
//! says why, and because they hide the answer's headers (`ETag`, `Link`).
//!
//! A fork can have a branch of the same name: a pull request counts only if its head's repository
//! is this one.

mod client;
mod wire;

use async_trait::async_trait;
use lockgate_core::pipeline::MergeMethod;
use lockgate_core::secret::Sensitive;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use self::client::{Client, GraphqlError, Operation, refusal};
use self::wire::{Combined, Pull, Runs, status_state, worst_of_each_name};
use crate::error::{Fault, ForgeError};
use crate::http::Connection;
use crate::model::{Check, Edit, NewPullRequest, PullRequest, Seen};
use crate::{Forge, Repository};

pub(crate) struct GitHub(Client);

impl GitHub {
    pub(crate) fn new(repository: &Repository, connection: Connection) -> Result<Self, ForgeError> {
        Client::new(repository, &connection).map(Self)
    }

    /// The first that `wanted` takes, in the forge's order, or all of them.
    async fn list(
        &self,
        head: &str,
        base: &str,
        query: &[(&str, &str)],
        first: bool,
    ) -> Result<Vec<Pull>, ForgeError> {
        let repository = format!("{}/{}", self.0.owner, self.0.name);
        let label = format!("{}:{head}", self.0.owner);
        let call = self
            .0
            .repository(Method::GET, ["pulls"])
            .query(&[("head", &label), ("base", base)])
            .query(query);
        let mut found = Vec::new();
        let page = |body| {
            let pulls: Vec<Pull> = self.0.read(FIND, body)?;
            found.extend(pulls.into_iter().filter(|pull| pull.joins(&repository, head, base)));
            Ok(first && !found.is_empty())
        };
        self.0.pages(FIND, call, page).await?;
        Ok(found)
    }

    /// A request about one pull request; a 404 names it.
    async fn about(
        &self,
        operation: Operation,
        number: u64,
        method: Method,
        path: [&str; 2],
        body: Value,
    ) -> Result<Value, ForgeError> {
        let number = number.to_string();
        let [kind, thing] = path;
        let segments =
            [kind, number.as_str(), thing].into_iter().filter(|segment| !segment.is_empty());
        let answer = self.0.send(operation, self.0.repository(method, segments).body(body)).await;
        answer.map(|answer| answer.body).map_err(|error| named(error, &number))
    }

    async fn enable(
        &self,
        pull: &PullRequest,
        method: Option<MergeMethod>,
    ) -> Result<(), ForgeError> {
        let variables = json!({"id": pull.handle, "method": method.map(|method| method_name(method).to_ascii_uppercase())});
        let Err(errors) = self.0.graphql(AUTO_MERGE, ENABLE, variables).await? else {
            return Ok(());
        };
        let text = words(&errors);
        let lower = text.to_ascii_lowercase();
        if lower.contains("clean status") || lower.contains("has_hooks status") {
            return self.merge(pull, method).await;
        }
        let fault = if lower.contains("unstable status") {
            Fault::NotYet(
                "checks that the branch does not require are running or have failed; GitHub waits for required ones".into(),
            )
        } else if lower.contains("auto merge is not allowed") {
            Fault::Unsupported("auto-merge is off in the repository: Settings, General, Pull Requests, Allow auto-merge".into())
        } else {
            refused(&errors, text)
        };
        Err(self.0.error(AUTO_MERGE, fault))
    }

    /// GitHub refuses auto-merge for one that nothing holds up: it can be merged at once.
    async fn merge(
        &self,
        pull: &PullRequest,
        method: Option<MergeMethod>,
    ) -> Result<(), ForgeError> {
        let number = pull.number.to_string();
        let mut body = json!({"sha": pull.head_commit});
        if let (Some(method), Some(fields)) = (method, body.as_object_mut()) {
            fields.insert("merge_method".to_owned(), method_name(method).into());
        }
        let call = self.0.repository(Method::PUT, ["pulls", &number, "merge"]).body(body);
        let answer = self.0.send_any(MERGE, call).await?;
        let message = refusal(&answer.body);
        let fault = match answer.status {
            status if status.is_success() => return Ok(()),
            StatusCode::CONFLICT => Fault::Conflict(message),
            StatusCode::METHOD_NOT_ALLOWED
                if message.contains("not allowed") || message.contains("merge queue") =>
            {
                Fault::Invalid(message)
            }
            StatusCode::METHOD_NOT_ALLOWED => Fault::NotYet(message),
            _ => self.0.fault(MERGE, &answer),
        };
        Err(named(self.0.error(MERGE, fault), &number))
    }

    async fn disable(&self, pull: &PullRequest) -> Result<(), ForgeError> {
        let Err(errors) = self.0.graphql(AUTO_MERGE, DISABLE, json!({"id": pull.handle})).await?
        else {
            return Ok(());
        };
        // GitHub says no more than that it cannot: it may be off already.
        if errors.iter().all(|error| error.kind == "UNPROCESSABLE")
            && let Seen::Changed { pull: now, .. } = self.look(pull.number, None).await?
            && now.auto_merge == Some(false)
        {
            return Ok(());
        }
        Err(self.0.error(AUTO_MERGE, refused(&errors, words(&errors))))
    }
}

#[async_trait]
impl Forge for GitHub {
    async fn find_open(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError> {
        let found = self.list(head, base, &[("state", "open")], false).await?;
        Ok(found.into_iter().min_by_key(|pull| pull.number).map(PullRequest::from))
    }

    async fn find_newest(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError> {
        let newest_first = [("state", "all"), ("sort", "created"), ("direction", "desc")];
        let found = self.list(head, base, &newest_first, true).await?;
        Ok(found.into_iter().max_by_key(|pull| pull.number).map(PullRequest::from))
    }

    async fn create(&self, new: &NewPullRequest) -> Result<PullRequest, ForgeError> {
        let body =
            json!({"title": new.title, "body": new.body, "head": new.head, "base": new.base});
        let answer =
            self.0.send_any(CREATE, self.0.repository(Method::POST, ["pulls"]).body(body)).await?;
        if answer.status.is_success() {
            return self.0.read::<Pull>(CREATE, answer.body).map(PullRequest::from);
        }
        let fault = match self.0.fault(CREATE, &answer) {
            Fault::Invalid(text) if text.contains("A pull request already exists") => Fault::Exists,
            Fault::Invalid(text) if text.contains("No commits between") => Fault::NothingToMerge,
            fault => fault,
        };
        Err(self.0.error(CREATE, fault))
    }

    async fn update(&self, number: u64, edit: &Edit) -> Result<PullRequest, ForgeError> {
        let body = json!({"title": edit.title, "body": edit.body});
        let pull = self.about(UPDATE, number, Method::PATCH, ["pulls", ""], body).await?;
        self.0.read::<Pull>(UPDATE, pull).map(PullRequest::from)
    }

    async fn add_labels(&self, number: u64, labels: &[String]) -> Result<(), ForgeError> {
        if !labels.is_empty() {
            self.about(
                LABELS,
                number,
                Method::POST,
                ["issues", "labels"],
                json!({"labels": labels}),
            )
            .await?;
        }
        Ok(())
    }

    async fn request_reviewers(&self, number: u64, reviewers: &[String]) -> Result<(), ForgeError> {
        let (mut users, mut teams) = (Vec::new(), Vec::new());
        for reviewer in reviewers {
            match reviewer.trim_start_matches('@').split_once('/') {
                None => users.push(reviewer.trim_start_matches('@')),
                Some((owner, team)) if owner.eq_ignore_ascii_case(&self.0.owner) => {
                    teams.push(team)
                }
                Some(_) => {
                    let text = format!(
                        "reviewer {reviewer:?} is no team of {}: expected USER or {0}/TEAM",
                        self.0.owner
                    );
                    return Err(self.0.error(REVIEWERS, Fault::Invalid(text)));
                }
            }
        }
        if !reviewers.is_empty() {
            let body = json!({"reviewers": users, "team_reviewers": teams});
            self.about(REVIEWERS, number, Method::POST, ["pulls", "requested_reviewers"], body)
                .await?;
        }
        Ok(())
    }

    async fn set_auto_merge(
        &self,
        pull: &PullRequest,
        on: bool,
        method: Option<MergeMethod>,
    ) -> Result<(), ForgeError> {
        match (pull.auto_merge == Some(on), on) {
            (true, _) => Ok(()),
            (false, true) => self.enable(pull, method).await,
            (false, false) => self.disable(pull).await,
        }
    }

    async fn look(&self, number: u64, tag: Option<&str>) -> Result<Seen, ForgeError> {
        let number = number.to_string();
        let call = self.0.repository(Method::GET, ["pulls", &number]).tag(tag);
        let answer = self.0.send(LOOK, call).await.map_err(|error| named(error, &number))?;
        if answer.status == StatusCode::NOT_MODIFIED {
            return Ok(Seen::Unchanged);
        }
        let tag =
            answer.headers.get("etag").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Seen::Changed { pull: self.0.read::<Pull>(LOOK, answer.body)?.into(), tag })
    }

    async fn checks(&self, commit: &str) -> Result<Vec<Check>, ForgeError> {
        let mut found: Vec<Check> = Vec::new();
        let statuses = self.0.repository(Method::GET, ["commits", commit, "status"]);
        let page = |body| {
            found.extend(
                self.0.read::<Combined>(CHECKS, body)?.statuses.into_iter().map(Check::from),
            );
            Ok(false)
        };
        self.0.pages(CHECKS, statuses, page).await?;
        let runs = self
            .0
            .repository(Method::GET, ["commits", commit, "check-runs"])
            .query(&[("filter", "latest")]);
        let page = |body| {
            found
                .extend(self.0.read::<Runs>(CHECKS, body)?.check_runs.into_iter().map(Check::from));
            Ok(false)
        };
        self.0.pages(CHECKS, runs, page).await?;
        Ok(worst_of_each_name(found))
    }

    async fn set_check(&self, commit: &str, check: &Check) -> Result<(), ForgeError> {
        let description: String = check.description.chars().take(LONGEST_DESCRIPTION).collect();
        let mut body = json!({"state": status_state(check.state), "context": check.name, "description": description});
        if let (Some(url), Some(fields)) = (&check.url, body.as_object_mut()) {
            fields.insert("target_url".to_owned(), url.as_str().into());
        }
        self.0
            .send(SET_CHECK, self.0.repository(Method::POST, ["statuses", commit]).body(body))
            .await?;
        Ok(())
    }

    async fn comment(&self, number: u64, text: &str) -> Result<(), ForgeError> {
        self.about(COMMENT, number, Method::POST, ["issues", "comments"], json!({"body": text}))
            .await?;
        Ok(())
    }

    async fn git_token(&self) -> Result<Option<Sensitive>, ForgeError> {
        self.0.installation_token().await
    }
}

/// The number in a 404 about a pull request.
fn named(error: ForgeError, number: &str) -> ForgeError {
    match error.fault {
        Fault::NotFound(_) => {
            ForgeError { fault: Fault::NotFound(format!("pull request {number}")), ..error }
        }
        _ => error,
    }
}

fn refused(errors: &[GraphqlError], text: String) -> Fault {
    match errors.first().map_or("", |error| error.kind.as_str()) {
        "FORBIDDEN" | "INSUFFICIENT_SCOPES" => {
            Fault::PermissionDenied { right: AUTO_MERGE.right, detail: text }
        }
        "NOT_FOUND" => Fault::NotFound("the pull request".to_owned()),
        _ => Fault::Invalid(text),
    }
}

fn words(errors: &[GraphqlError]) -> String {
    let messages: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
    crate::http::message(&json!({"message": messages.join("; ")}))
}

fn method_name(method: MergeMethod) -> &'static str {
    match method {
        MergeMethod::Merge => "merge",
        MergeMethod::Squash => "squash",
        MergeMethod::Rebase => "rebase",
    }
}

const FIND: Operation = Operation { name: "find", right: "pull request read" };
const CREATE: Operation = Operation { name: "create", right: "pull request write" };
const UPDATE: Operation = Operation { name: "update", right: "pull request write" };
const LABELS: Operation = Operation { name: "labels", right: "pull request write" };
const REVIEWERS: Operation = Operation { name: "reviewers", right: "pull request write" };
const AUTO_MERGE: Operation =
    Operation { name: "auto_merge", right: "pull request write and contents write" };
const MERGE: Operation = Operation { name: "auto_merge", right: "contents write" };
const LOOK: Operation = Operation { name: "look", right: "pull request read" };
const CHECKS: Operation = Operation { name: "checks", right: "commit status read and checks read" };
const SET_CHECK: Operation = Operation { name: "checks", right: "commit status write" };
const COMMENT: Operation = Operation { name: "comment", right: "pull request write" };

/// Characters. Source: "Commit statuses" has no word on it, GitHub answers 422 "description is too
/// long (maximum is 140 characters)".
const LONGEST_DESCRIPTION: usize = 140;

const ENABLE: &str = "mutation($id: ID!, $method: PullRequestMergeMethod) { \
    enablePullRequestAutoMerge(input: {pullRequestId: $id, mergeMethod: $method}) { pullRequest { number } } }";
const DISABLE: &str = "mutation($id: ID!) { \
    disablePullRequestAutoMerge(input: {pullRequestId: $id}) { pullRequest { number } } }";
