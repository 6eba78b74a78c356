//! Gitea 1.22 and later, Forgejo 8 and later, over REST.
//!
//! Sources: docs.gitea.com, "API" and the swagger page that every installation serves at
//! `/api/swagger`; what they leave open (which status means what, what is asynchronous) was
//! measured against Gitea 1.26.0 and is asserted by the end-to-end tests. Where it differs from the
//! other forges:
//!
//! - A pull request without commits would be opened. So the branches are compared first, which is
//!   one request more.
//! - No answer has an entity tag. Whether a merge is scheduled only the timeline says, see
//!   [`auto_merge`].
//! - `head.sha` of one that has ended is where its branch is now, on Forgejo and on Gitea before
//!   1.24. What it ended with stays in `refs/pull/N/head`, which is asked for instead.
//! - Lists may have entries that are `null` (announced in Forgejo's description of its interface).
//! - **Draft** is a prefix of the title, `WIP:` or `[WIP]`. It is not part of our titles, and an
//!   edit keeps it: a person put it there.
//! - Whether a new pull request can be merged is found out in the background; until then a merge
//!   cannot be scheduled and the answer is 405 "Please try again later", as with a conflict. It
//!   becomes [`ForgeFault::NotYet`].
//! - A scheduled merge waits for what the protection of the base branch asks for. Without
//!   protection Gitea merges within moments, also if a check has failed. A merge style that the
//!   repository does not allow is scheduled all the same and then fails with a word in the server's
//!   log only, so it is refused here.
//! - Teams are asked for a review as `organization/team`. If a user owns the repository they are
//!   dropped without a word, and so is a label that nobody has made yet: the one is found out by a
//!   request more, the other by the answer.

mod auto_merge;
mod requests;
mod says;
mod wire;

use std::collections::BTreeSet;

use async_trait::async_trait;
use lockgate_core::pipeline::{Forge as Kind, MergeMethod};
use reqwest::header::{AUTHORIZATION, HeaderMap};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

pub(crate) use self::says::TABLE;
use crate::connection::{Connection, Credentials, basic, text};
use crate::error::{ForgeError, ForgeFault};
use crate::explain::Explain;
use crate::gitea::wire::{Comparison, GiteaStatus, Label, Pull, split_draft};
use crate::http::Rest;
use crate::model::{Check, Edit, NewPullRequest, PullRequest, Seen};
use crate::repository::Path;
use crate::says::switched_off;
use crate::{Forge, Repository, texts};

pub(crate) struct Gitea {
    rest: Rest,
    owner: String,
    name: String,
}

impl Gitea {
    pub(crate) fn new(repository: &Repository, connection: Connection) -> Result<Self, ForgeError> {
        let place = repository.to_string();
        let failed = |fault| ForgeError { operation: "connect", place: place.clone(), fault };
        let Path::Owned { owner, name } = repository.path() else {
            return Err(failed(ForgeFault::Invalid("the address is none of Gitea's".to_owned())));
        };
        let auth = match &connection.credentials {
            Credentials::Token(token) => (AUTHORIZATION, format!("token {}", text(token))),
            Credentials::Basic { username, password } => basic(username, password),
            Credentials::App { .. } => {
                return Err(failed(ForgeFault::Credentials(
                    "Gitea takes `token`, or `username` and `password`".to_owned(),
                )));
            }
        };
        let rest = Rest::new(
            repository.api().clone(),
            &place,
            &connection,
            auth,
            HeaderMap::new(),
            (RIGHT, TABLE),
        )?;
        Ok(Self { rest, owner: owner.clone(), name: name.clone() })
    }
}

#[async_trait]
impl Forge for Gitea {
    async fn find_open(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError> {
        self.first("state=open&sort=oldest", head, base).await
    }

    async fn find_newest(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError> {
        // Any one of these branches, in no order: most often there is none, and no need to read all
        // pages.
        let probe = self.rest.request(Method::GET, self.url(["pulls", base, head]));
        let answer = self.rest.send_any("find", probe).await?;
        if answer.status != StatusCode::NOT_FOUND {
            let any: Pull = self.rest.read("find", self.good("find", answer)?.body)?;
            // While one is open there is no newer one.
            if any.is_open() {
                return self.shown("find", any, None).await.map(Some);
            }
            // The default order is the newest first.
            return self.first("state=all", head, base).await;
        }
        // The same answer as for a repository that is not there, or has its pull requests switched
        // off.
        self.of_all(self.read::<Value>("find", self.url([])).await).await.and_then(|repository| {
            match switched_off(&repository) {
                Some(fault) => Err(self.rest.error("find", fault)),
                None => Ok(None),
            }
        })
    }

    async fn create(&self, new: &NewPullRequest) -> Result<PullRequest, ForgeError> {
        let mut url = self.url(["compare", &format!("{}...{}", new.base, new.head)]);
        url.set_query(Some("verification=false&files=false"));
        let answer = self.rest.send_any("create", self.rest.request(Method::GET, url)).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(self.missing(new).await);
        }
        let comparison: Comparison = self.rest.read("create", self.good("create", answer)?.body)?;
        if comparison.total_commits == 0 {
            return Err(self.rest.error("create", ForgeFault::NothingToMerge));
        }
        let Edit { title, body } = texts::fitting(Kind::Gitea, new);
        let body = json!({"title": title, "body": body, "head": new.head, "base": new.base});
        let answer = self.write("create", Method::POST, self.url(["pulls"]), &body).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(self.missing(new).await);
        }
        let answer = self.of_all(self.good("create", answer)).await?;
        Ok(self.rest.read::<Pull>("create", answer.body)?.shown(None))
    }

    async fn update(&self, number: u64, edit: &Edit) -> Result<PullRequest, ForgeError> {
        let url = self.url(["pulls", &number.to_string()]);
        let now = self.of_pull("update", number, self.get("update", number).await?).await?;
        let now: Pull = self.rest.read("update", now.body)?;
        let (draft, _) = split_draft(&now.title);
        let edit = Edit { title: format!("{draft}{}", edit.title), body: edit.body.clone() };
        let Edit { title, body } = texts::fit(Kind::Gitea, edit);
        let body = json!({"title": title, "body": body});
        let answer = self.write("update", Method::PATCH, url, &body).await?;
        let answer = self.of_pull("update", number, answer).await?;
        let pull: Pull = self.rest.read("update", answer.body)?;
        self.shown("update", pull, None).await
    }

    async fn close(&self, number: u64) -> Result<(), ForgeError> {
        let url = self.url(["pulls", &number.to_string()]);
        let answer = self.write("close", Method::PATCH, url, &json!({"state": "closed"})).await?;
        // The same status says that other pull requests have to be closed before.
        if answer.status == StatusCode::PRECONDITION_FAILED
            && answer.message().contains("already merged")
        {
            return Ok(());
        }
        self.of_pull("close", number, answer).await.map(drop)
    }

    async fn add_labels(&self, number: u64, labels: &[String]) -> Result<(), ForgeError> {
        let url = self.url(["issues", &number.to_string(), "labels"]);
        // Names of the repository's labels and, in an organization, of the organization's.
        let mut wanted: BTreeSet<&str> = labels.iter().map(String::as_str).collect();
        for _ in 0..2 {
            if wanted.is_empty() {
                return Ok(());
            }
            let answer =
                self.write("labels", Method::POST, url.clone(), &json!({"labels": wanted})).await?;
            let present: Vec<Label> =
                self.rest.list("labels", self.of_pull("labels", number, answer).await?.body)?;
            wanted.retain(|name| !present.iter().any(|label| label.name == *name));
            for name in &wanted {
                let label = json!({"name": name, "color": LABEL_COLOR});
                let answer =
                    self.write("labels", Method::POST, self.url(["labels"]), &label).await?;
                self.good("labels", answer)?;
            }
        }
        let names: Vec<&str> = wanted.into_iter().collect();
        if names.is_empty() {
            return Ok(());
        }
        Err(self.rest.error(
            "labels",
            ForgeFault::Protocol(format!("no label {} although it was made", names.join(", "))),
        ))
    }

    async fn request_reviewers(&self, number: u64, reviewers: &[String]) -> Result<(), ForgeError> {
        let refused = |message: String| self.rest.error("reviewers", ForgeFault::Invalid(message));
        let (mut users, mut teams) = (Vec::new(), Vec::new());
        for name in reviewers {
            match name.split_once('/') {
                None => users.push(name.as_str()),
                Some((owner, team)) if owner.eq_ignore_ascii_case(&self.owner) => teams.push(team),
                Some(_) => return Err(refused(format!("{name} is not a team of {}", self.owner))),
            }
        }
        if users.is_empty() && teams.is_empty() {
            return Ok(());
        }
        // Only an organization has teams: for the repository of a user they would be dropped
        // without a word.
        if !teams.is_empty() {
            let answer = self
                .rest
                .send_any("reviewers", self.rest.request(Method::GET, self.url(["teams"])))
                .await?;
            if answer.status == StatusCode::METHOD_NOT_ALLOWED {
                return Err(refused(format!("{} is no organization and has no teams", self.owner)));
            }
            self.good("reviewers", answer)?;
        }
        let url = self.url(["pulls", &number.to_string(), "requested_reviewers"]);
        let answer = self
            .write(
                "reviewers",
                Method::POST,
                url,
                &json!({"reviewers": users, "team_reviewers": teams}),
            )
            .await?;
        let detail = answer.message();
        match answer.status {
            StatusCode::NOT_FOUND if detail.starts_with("User ") || detail.starts_with("Team ") => {
                Err(refused(detail))
            }
            StatusCode::UNPROCESSABLE_ENTITY if detail.starts_with("Doer can't choose") => {
                Err(self
                    .rest
                    .error("reviewers", ForgeFault::PermissionDenied { right: RIGHT, detail }))
            }
            _ => self.of_pull("reviewers", number, answer).await.map(drop),
        }
    }

    async fn set_auto_merge(
        &self,
        pull: &PullRequest,
        on: bool,
        method: Option<MergeMethod>,
    ) -> Result<(), ForgeError> {
        if on { self.arm(pull, method).await } else { self.disarm(pull.number).await }
    }

    async fn auto_merge(&self, pull: &PullRequest) -> Result<bool, ForgeError> {
        self.is_scheduled(pull.number).await
    }

    async fn look(&self, number: u64, _tag: Option<&str>) -> Result<Seen, ForgeError> {
        let answer = self.of_pull("look", number, self.get("look", number).await?).await?;
        let (at, pull) = (answer.date(), self.rest.read::<Pull>("look", answer.body)?);
        Ok(Seen::Changed { pull: self.shown("look", pull, at).await?, tag: None })
    }

    async fn checks(&self, commit: &str) -> Result<Vec<Check>, ForgeError> {
        let mut checks = Vec::new();
        // The combined status holds the newest of each context only, unlike `statuses`.
        self.pages("checks", self.url(["commits", commit, "status"]), Some("statuses"), |item| {
            checks.push(self.rest.read::<GiteaStatus>("checks", item)?.into());
            Ok(true)
        })
        .await?;
        Ok(checks)
    }

    async fn set_check(&self, commit: &str, check: &Check) -> Result<(), ForgeError> {
        let answer = self
            .write("checks", Method::POST, self.url(["statuses", commit]), &wire::status(check))
            .await?;
        self.good("checks", answer).map(drop)
    }

    async fn comment(&self, number: u64, text: &str) -> Result<(), ForgeError> {
        let url = self.url(["issues", &number.to_string(), "comments"]);
        let answer = self.write("comment", Method::POST, url, &json!({"body": text})).await?;
        self.of_pull("comment", number, answer).await.map(drop)
    }
}

/// Scopes of a token and role of its user.
const RIGHT: &str =
    "write:repository and write:issue, or its user the right to write to the repository";
/// Of labels that are made; a person may choose another.
const LABEL_COLOR: &str = "#1d76db";
