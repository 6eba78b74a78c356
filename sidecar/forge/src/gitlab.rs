//! GitLab: gitlab.com and self-managed, any depth of groups. REST API v4.
//!
//! Sources: docs.gitlab.com, "Merge requests API", "Commits API" (statuses), "Repositories API"
//! (compare), "Notes API", "Users API", "REST API authentication", "User and IP rate limits"; what
//! those leave open was read in `lib/api/*.rb`.
//!
//! - **A branch without a difference.** GitLab opens a merge request for it, and the answer does
//!   not tell: differences are computed later. So the branches are compared first, with one
//!   request, and nothing is opened for nothing.
//! - **Auto-merge**: see [`auto_merge`].
//! - **Below a path** ("Install GitLab under a relative URL"): see [`places`].
//! - **Draft** is a prefix of the title. It is not part of our titles, and an edit keeps it: a
//!   person put it there.
//! - **Quick actions**: a line that begins with `/` would be a command. It is escaped in all that
//!   we write.
//! - A `304` saves work but counts against GitLab's limits.
//! - `401` also means that this token may not merge: it is sorted by what was asked for.

mod auto_merge;
mod explain;
mod places;
mod says;
mod wire;

use async_trait::async_trait;
use lockgate_core::pipeline::{Forge as Kind, MergeMethod};
use reqwest::header::{ETAG, HeaderMap, HeaderName, IF_NONE_MATCH};
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use self::places::Places;
pub(crate) use self::says::TABLE;
use self::wire::{Change, JobStatus, NewStatus, User, Wire, split_draft, without_commands};
use crate::connection::{Connection, Credentials, bearer, text};
use crate::error::{ForgeError, ForgeFault};
use crate::explain::Explain;
use crate::http::{Answer, Rest};
use crate::model::{Check, CheckState, Edit, NewPullRequest, PullRequest, Seen};
use crate::repository::Path;
use crate::says::{Meaning, unseen};
use crate::{Forge, Repository, texts};

pub(crate) struct GitLab {
    rest: Rest,
    places: Places,
}

impl GitLab {
    pub(crate) fn new(repository: &Repository, connection: Connection) -> Result<Self, ForgeError> {
        let place = repository.to_string();
        let refused = |fault| ForgeError { operation: "connect", place: place.clone(), fault };
        let Path::Full(project) = repository.path() else {
            return Err(refused(ForgeFault::Invalid(
                "not the address of a GitLab project".to_owned(),
            )));
        };
        let auth = match &connection.credentials {
            Credentials::Token(token) => (HeaderName::from_static("private-token"), text(token)),
            // A password may be an OAuth token, which goes as a bearer only, or an access token,
            // which goes either way.
            Credentials::Basic { password, .. } => bearer(password),
            Credentials::App { .. } => {
                let message = "GitLab takes an access token: `token`, or `username` and `password`, not a GitHub App";
                return Err(refused(ForgeFault::Credentials(message.to_owned())));
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
        Ok(Self { rest, places: Places::of(repository, project) })
    }

    fn url<'a>(&'a self, more: impl IntoIterator<Item = &'a str>) -> Url {
        self.places.url(more)
    }

    fn pull_url(&self, number: u64, more: Option<&str>) -> Url {
        self.url(["merge_requests", number.to_string().as_str()].into_iter().chain(more))
    }

    /// Sends it; an answer that is not good is an error.
    async fn send(
        &self,
        operation: &'static str,
        request: reqwest::RequestBuilder,
    ) -> Result<Answer, ForgeError> {
        let answer = self.ask(operation, request).await?;
        if answer.is_good() { Ok(answer) } else { Err(self.refusal(operation, &answer)) }
    }

    fn refusal(&self, operation: &'static str, answer: &Answer) -> ForgeError {
        self.rest.error(operation, self.rest.fault(answer))
    }

    async fn get(&self, operation: &'static str, number: u64) -> Result<Wire, ForgeError> {
        let request = self.rest.request(Method::GET, self.pull_url(number, None));
        let answer = self.of_one(number, self.send(operation, request).await).await?;
        self.rest.read(operation, answer.body)
    }

    async fn put(
        &self,
        operation: &'static str,
        number: u64,
        body: &impl Serialize,
    ) -> Result<Wire, ForgeError> {
        let request = self.rest.request(Method::PUT, self.pull_url(number, None)).json(body);
        let answer = self.of_one(number, self.send(operation, request).await).await?;
        self.rest.read(operation, answer.body)
    }

    /// One page of a list, and the number of the next.
    async fn page<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        mut url: Url,
        page: u32,
    ) -> Result<(Vec<T>, Option<u32>), ForgeError> {
        url.query_pairs_mut().append_pair("per_page", PAGE).append_pair("page", &page.to_string());
        let answer = self.send(operation, self.rest.request(Method::GET, url)).await;
        let answer = self.of_all(answer).await?;
        let next = answer.headers.get("x-next-page").map(|value| value.to_str().map(str::to_owned));
        let list: Vec<T> = self.rest.list(operation, answer.body)?;
        let next = match next {
            Some(next) => next.ok().and_then(|next| next.parse().ok()),
            // A proxy has dropped it: a full page may not be the last.
            None => (list.len() >= MOST).then_some(page + 1),
        };
        Ok((list, next.filter(|next| *next > page)))
    }

    /// The first merge request of this very project, in the order that `query` asks for.
    async fn find(
        &self,
        head: &str,
        base: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<PullRequest>, ForgeError> {
        let mut url = self.url(["merge_requests"]);
        url.query_pairs_mut()
            .append_pair("source_branch", head)
            .append_pair("target_branch", base)
            .extend_pairs(query);
        let mut page = Some(1);
        while let Some(number) = page {
            let (pulls, next) = self.page::<Wire>("find", url.clone(), number).await?;
            if let Some(pull) = pulls
                .into_iter()
                .find(|pull| pull.source_project_id == Some(pull.target_project_id))
            {
                return Ok(Some(pull.into()));
            }
            page = next;
        }
        Ok(None)
    }

    /// Whether `head` has what `base` has not; `true` too where a branch is missing, which `create`
    /// then explains.
    async fn differs(&self, head: &str, base: &str) -> Result<bool, ForgeError> {
        let mut url = self.url(["repository", "compare"]);
        url.query_pairs_mut().append_pair("from", base).append_pair("to", head);
        let answer = self.ask("create", self.rest.request(Method::GET, url)).await?;
        if answer.status.is_success() {
            return Ok(!answer
                .body
                .get("commits")
                .and_then(Value::as_array)
                .is_some_and(Vec::is_empty));
        }
        match (self.rest.meaning(&answer), self.rest.fault(&answer)) {
            // A branch that is not there, not the project.
            (None, ForgeFault::NotFound(_)) => Ok(true),
            (_, fault) => self.of_all(Err(self.rest.error("create", fault))).await,
        }
    }

    async fn user(&self, username: &str) -> Result<u64, ForgeError> {
        let mut url = self.places.beside(["users"]);
        url.query_pairs_mut().append_pair("username", username);
        let answer = self.send("reviewers", self.rest.request(Method::GET, url)).await?;
        let users: Vec<User> = self.rest.list("reviewers", answer.body)?;
        let found = users
            .iter()
            .find(|user| user.username.eq_ignore_ascii_case(username))
            .map(|user| user.id);
        found.ok_or_else(|| {
            self.rest.error(
                "reviewers",
                ForgeFault::Invalid(format!("reviewer {username:?} is not a user of GitLab")),
            )
        })
    }
}

#[async_trait]
impl Forge for GitLab {
    async fn find_open(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError> {
        self.find(head, base, &[("state", "opened"), ("order_by", "created_at"), ("sort", "asc")])
            .await
    }

    async fn find_newest(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError> {
        self.find(head, base, &[("state", "all"), ("order_by", "created_at"), ("sort", "desc")])
            .await
    }

    async fn create(&self, new: &NewPullRequest) -> Result<PullRequest, ForgeError> {
        if !self.differs(&new.head, &new.base).await? {
            return Err(self.rest.error("create", ForgeFault::NothingToMerge));
        }
        let Edit { title, body } = texts::fitting(Kind::GitLab, new);
        let body = json!({
            "source_branch": new.head,
            "target_branch": new.base,
            "title": title,
            "description": without_commands(&body),
            "remove_source_branch": true,
        });
        let request = self.rest.request(Method::POST, self.url(["merge_requests"])).json(&body);
        let answer = self.ask("create", request).await?;
        if answer.status.is_success() {
            return Ok(self.rest.read::<Wire>("create", answer.body)?.into());
        }
        let fault = match self.rest.meaning(&answer) {
            Some(Meaning::Unseen) => unseen(new, &answer.message()),
            _ => self.rest.fault(&answer),
        };
        self.of_all(Err(self.rest.error("create", fault))).await
    }

    async fn update(&self, number: u64, edit: &Edit) -> Result<PullRequest, ForgeError> {
        let pull = self.get("update", number).await?;
        let (draft, title) = split_draft(&pull.title);
        let edit = texts::fit(Kind::GitLab, edit.clone());
        let description = without_commands(&edit.body);
        let wanted = Edit { title: format!("{draft}{}", edit.title), body: String::new() };
        let wanted = texts::fit(Kind::GitLab, wanted).title;
        let change = Change {
            title: (format!("{draft}{title}") != wanted).then_some(wanted),
            description: Some(description)
                .filter(|text| pull.description.as_deref().unwrap_or_default() != text),
        };
        if change.title.is_none() && change.description.is_none() {
            return Ok(pull.into());
        }
        Ok(self.put("update", number, &change).await?.into())
    }

    async fn close(&self, number: u64) -> Result<(), ForgeError> {
        self.put("close", number, &json!({"state_event": "close"})).await.map(drop)
    }

    async fn add_labels(&self, number: u64, labels: &[String]) -> Result<(), ForgeError> {
        if let Some(label) = labels.iter().find(|label| label.contains(',')) {
            let message =
                format!("label {label:?} holds a comma, which separates labels on GitLab");
            return Err(self.rest.error("labels", ForgeFault::Invalid(message)));
        }
        if !labels.is_empty() {
            self.put("labels", number, &json!({"add_labels": labels.join(",")})).await?;
        }
        Ok(())
    }

    async fn request_reviewers(&self, number: u64, reviewers: &[String]) -> Result<(), ForgeError> {
        if reviewers.is_empty() {
            return Ok(());
        }
        let asked = self.get("reviewers", number).await?.reviewers;
        let mut ids: Vec<u64> = asked.iter().map(|user| user.id).collect();
        for reviewer in reviewers {
            if !asked.iter().any(|user| user.username.eq_ignore_ascii_case(reviewer)) {
                ids.push(self.user(reviewer).await?);
            }
        }
        if ids.len() == asked.len() {
            return Ok(());
        }
        let now = self.put("reviewers", number, &json!({"reviewer_ids": ids})).await?.reviewers;
        let Some(missing) = ids.iter().position(|id| !now.iter().any(|user| user.id == *id)) else {
            return Ok(());
        };
        let message =
            format!("more than {missing} reviewers: this GitLab, or its license, drops the others");
        Err(self.rest.error("reviewers", ForgeFault::Unsupported(message)))
    }

    async fn set_auto_merge(
        &self,
        pull: &PullRequest,
        on: bool,
        method: Option<MergeMethod>,
    ) -> Result<(), ForgeError> {
        if on { self.arm(pull, method).await } else { self.disarm(pull.number).await }
    }

    async fn look(&self, number: u64, tag: Option<&str>) -> Result<Seen, ForgeError> {
        let mut request = self.rest.request(Method::GET, self.pull_url(number, None));
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let answer = self.of_one(number, self.send("look", request).await).await?;
        let now = answer.headers.get(ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if answer.status == StatusCode::NOT_MODIFIED || (tag.is_some() && tag == now.as_deref()) {
            return Ok(Seen::Unchanged);
        }
        Ok(Seen::Changed { pull: self.rest.read::<Wire>("look", answer.body)?.into(), tag: now })
    }

    async fn checks(&self, commit: &str) -> Result<Vec<Check>, ForgeError> {
        let url = self.url(["repository", "commits", commit, "statuses"]);
        let mut statuses: Vec<JobStatus> = Vec::new();
        let mut page = Some(1);
        while let Some(number) = page {
            let found = self.page::<JobStatus>("checks", url.clone(), number).await;
            let (found, next) = found.map_err(|error| of_commit(error, commit))?;
            statuses.extend(found);
            page = next;
        }
        // One commit may have several pipelines, each with a job of this name.
        Ok(Check::newest_of_each_name(
            statuses.into_iter().map(|status| (status.id, status.into())),
        ))
    }

    async fn set_check(&self, commit: &str, check: &Check) -> Result<(), ForgeError> {
        let state = match check.state {
            CheckState::Pending => "pending",
            CheckState::Success => "success",
            CheckState::Failure => "failed",
        };
        let body = NewStatus {
            state,
            name: &check.name,
            description: &check.description,
            target_url: check.url.as_deref(),
        };
        let request = self.rest.request(Method::POST, self.url(["statuses", commit])).json(&body);
        let answer = self.ask("checks", request).await?;
        // GitLab refuses to bring a status to where it is already.
        let words = answer.message();
        if answer.status.is_success()
            || (words.contains("Cannot transition status")
                && words.contains(&format!("from :{state}")))
        {
            return Ok(());
        }
        Err(of_commit(self.refusal("checks", &answer), commit))
    }

    async fn comment(&self, number: u64, text: &str) -> Result<(), ForgeError> {
        let request = self.rest.request(Method::POST, self.pull_url(number, Some("notes")));
        let request = request.json(&json!({"body": without_commands(text)}));
        self.of_one(number, self.send("comment", request).await).await.map(drop)
    }
}

/// A 404 that is about the commit, where GitLab does not say that the project is missing.
fn of_commit(error: ForgeError, commit: &str) -> ForgeError {
    match error.fault {
        ForgeFault::NotFound(_) => {
            ForgeError { fault: ForgeFault::NotFound(format!("commit {commit}")), ..error }
        }
        _ => error,
    }
}

const RIGHT: &str = "scope `api` with the role Developer";
/// The most that GitLab gives at once.
const PAGE: &str = "100";
const MOST: usize = 100;
