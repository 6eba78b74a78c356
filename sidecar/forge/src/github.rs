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

mod auto_merge;
mod client;
mod says;
mod token;
mod wire;

use std::time::Duration;

use async_trait::async_trait;
use lockgate_core::pipeline::{Forge as Kind, MergeMethod};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use self::client::{Client, Operation};
#[cfg(test)]
pub(crate) use self::says::TABLE;
use self::wire::{Combined, Pull, Runs, status_state, worst_of_each_name};
use crate::connection::Connection;
use crate::error::{ForgeError, ForgeFault};
use crate::explain::Explain;
use crate::model::{Check, Edit, GitToken, NewPullRequest, PullRequest, Seen};
use crate::says::{Meaning, unseen};
use crate::{Forge, Repository, texts};

pub(crate) struct GitHub(Client);

impl GitHub {
    pub(crate) fn new(repository: &Repository, connection: Connection) -> Result<Self, ForgeError> {
        Client::new(repository, &connection).map(Self)
    }

    /// Those of this repository that join the branches, in the forge's order: the `first` of them,
    /// or all.
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
            let pulls: Vec<Pull> = self.0.list(FIND, body)?;
            found.extend(pulls.into_iter().filter(|pull| pull.joins(&repository, head, base)));
            Ok(first && !found.is_empty())
        };
        self.of_all(self.0.pages(FIND, call, page).await).await?;
        Ok(found)
    }

    /// A request about one pull request.
    async fn about(
        &self,
        operation: Operation,
        number: u64,
        method: Method,
        path: [&str; 2],
        body: Value,
    ) -> Result<Value, ForgeError> {
        let (text, [kind, thing]) = (number.to_string(), path);
        let segments =
            [kind, text.as_str(), thing].into_iter().filter(|segment| !segment.is_empty());
        let answer = self.0.send(operation, self.0.repository(method, segments).body(body)).await;
        self.of_one(number, answer.map(|answer| answer.body)).await
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
        let Edit { title, body } = texts::fitting(Kind::GitHub, new);
        let body = json!({"title": title, "body": body, "head": new.head, "base": new.base});
        let answer =
            self.0.send_any(CREATE, self.0.repository(Method::POST, ["pulls"]).body(body)).await?;
        if answer.status.is_success() {
            return self.0.read::<Pull>(CREATE, answer.body).map(PullRequest::from);
        }
        let fault = match self.0.meaning(&answer) {
            Some(Meaning::Unseen) => unseen(new, &says::refusal(&answer.body)),
            _ => match self.0.fault(CREATE, &answer) {
                // GitHub names the field alone. A default branch may have been renamed.
                ForgeFault::Invalid(words) if words.contains("base: invalid") => {
                    ForgeFault::Invalid(format!("{words} (no branch {:?})", new.base))
                }
                fault => fault,
            },
        };
        self.of_all(Err(self.0.error(CREATE, fault))).await
    }

    async fn update(&self, number: u64, edit: &Edit) -> Result<PullRequest, ForgeError> {
        let Edit { title, body } = texts::fit(Kind::GitHub, edit.clone());
        let body = json!({"title": title, "body": body});
        let pull = self.about(UPDATE, number, Method::PATCH, ["pulls", ""], body).await?;
        self.0.read::<Pull>(UPDATE, pull).map(PullRequest::from)
    }

    async fn close(&self, number: u64) -> Result<(), ForgeError> {
        let body = json!({"state": "closed"});
        self.about(CLOSE, number, Method::PATCH, ["pulls", ""], body).await.map(drop)
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
                    return Err(self.0.error(REVIEWERS, ForgeFault::Invalid(text)));
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
        let text = number.to_string();
        let call = self.0.repository(Method::GET, ["pulls", &text]).tag(tag);
        let answer = self.of_one(number, self.0.send(LOOK, call).await).await?;
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

    async fn git_token(&self, valid_for: Duration) -> Result<Option<GitToken>, ForgeError> {
        self.0.installation_token(valid_for).await
    }
}

#[async_trait]
impl Explain for GitHub {
    async fn repository(&self, operation: &'static str) -> Result<Value, ForgeError> {
        let operation = Operation { name: operation, ..FIND };
        Ok(self.0.send(operation, self.0.repository(Method::GET, [])).await?.body)
    }

    async fn any_pull(&self, operation: &'static str) -> Result<(), ForgeError> {
        let call = self.0.repository(Method::GET, ["pulls"]).query(&[("per_page", "1")]);
        self.0.send(Operation { name: operation, ..FIND }, call).await.map(drop)
    }

    fn name_of(&self, number: u64) -> String {
        format!("pull request {number}")
    }

    /// A repository that was renamed is a redirect to its number. Source: "Best practices for using
    /// the REST API", follow redirects.
    async fn moved(&self, operation: &'static str, to: &str) -> Option<String> {
        let (_, rest) = to.split_once("/repositories/")?;
        let id = rest.split('/').next().filter(|id| id.bytes().all(|b| b.is_ascii_digit()))?;
        let call = self.0.at(Method::GET, ["repositories", id]);
        let answer = self.0.send(Operation { name: operation, ..FIND }, call).await.ok()?;
        Some(answer.body.get("html_url")?.as_str()?.to_owned())
    }
}

const FIND: Operation = Operation { name: "find", right: "pull request read" };
const CREATE: Operation = Operation { name: "create", right: "pull request write" };
const CLOSE: Operation = Operation { name: "close", right: "pull request write" };
const UPDATE: Operation = Operation { name: "update", right: "pull request write" };
const LABELS: Operation = Operation { name: "labels", right: "pull request write" };
const REVIEWERS: Operation = Operation { name: "reviewers", right: "pull request write" };
const LOOK: Operation = Operation { name: "look", right: "pull request read" };
const CHECKS: Operation = Operation { name: "checks", right: "commit status read and checks read" };
const SET_CHECK: Operation = Operation { name: "checks", right: "commit status write" };
const COMMENT: Operation = Operation { name: "comment", right: "pull request write" };

/// Characters. Source: "Commit statuses" has no word on it, GitHub answers 422 "description is too
/// long (maximum is 140 characters)".
const LONGEST_DESCRIPTION: usize = 140;
