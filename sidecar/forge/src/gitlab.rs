//! GitLab: gitlab.com and self-managed, any depth of groups. REST API v4.
//!
//! Sources: docs.gitlab.com, "Merge requests API", "Commits API" (statuses), "Repositories API"
//! (compare), "Notes API", "Users API", "REST API authentication", "User and IP rate limits"; what
//! those leave open was read in `lib/api/*.rb`.
//!
//! - **A branch without a difference.** GitLab opens a merge request for it, and the answer does
//!   not tell: differences are computed later. So the branches are compared first, with one
//!   request, and nothing is opened for nothing.
//! - **Auto-merge** was `merge_when_pipeline_succeeds` and is `auto_merge` since 17.11. Whichever a
//!   server does not know it ignores, and then merges at once; so both are sent, always. If nothing
//!   is left to wait for, GitLab merges at once: that is what was asked for. The head's id goes
//!   along, so that nothing else is merged than what was seen.
//! - **How** it merges is a setting of the project; a merge request can only ask for a squash. A
//!   method that the project does not have is refused here.
//! - **Draft** is a prefix of the title. It is not part of our titles, and an edit keeps it: a
//!   person put it there.
//! - **Quick actions**: a line that begins with `/` would be a command. It is escaped in all that
//!   we write.
//! - A `304` saves work but counts against GitLab's limits.
//! - `401` also means that this token may not merge: it is sorted by what was asked for.

use async_trait::async_trait;
use lockgate_core::pipeline::MergeMethod;
use reqwest::header::{ETAG, HeaderMap, HeaderName, IF_NONE_MATCH};
use reqwest::{Method, StatusCode, Url};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::{Fault, ForgeError};
use crate::http::{Answer, Connection, Credentials, Rest, bearer, message, text};
use crate::model::{Check, CheckState, Edit, NewPullRequest, PullRequest, Seen};
use crate::repository::Path;
use crate::{Forge, Repository};

mod wire;

use wire::{
    Change, Merge, NewStatus, Project, Status, User, Wire, is_bad_token, name, reason, split_draft,
    without_commands,
};

pub(crate) struct GitLab {
    rest: Rest,
    /// Groups and project, joined by slashes: `id` in the paths of the API, there percent-encoded
    /// as one segment.
    project: String,
}

impl GitLab {
    pub(crate) fn new(repository: &Repository, connection: Connection) -> Result<Self, ForgeError> {
        let place = repository.to_string();
        let refused = |fault| ForgeError { operation: "connect", place: place.clone(), fault };
        let Path::Full(project) = repository.path() else {
            return Err(refused(Fault::Invalid("not the address of a GitLab project".to_owned())));
        };
        let auth = match &connection.credentials {
            Credentials::Token(token) => (HeaderName::from_static("private-token"), text(token)),
            // A password may be an OAuth token, which goes as a bearer only, or an access token,
            // which goes either way.
            Credentials::Basic { password, .. } => bearer(password),
            Credentials::App { .. } => {
                let message = "GitLab takes an access token: `token`, or `username` and `password`, not a GitHub App";
                return Err(refused(Fault::Credentials(message.to_owned())));
            }
        };
        let rest = Rest::new(
            repository.api().clone(),
            &place,
            &connection,
            auth,
            HeaderMap::new(),
            RIGHT,
        )?;
        Ok(Self { rest, project: project.clone() })
    }

    fn url<'a>(&'a self, more: impl IntoIterator<Item = &'a str>) -> Url {
        self.rest.url(["projects", self.project.as_str()].into_iter().chain(more))
    }

    fn pull_url(&self, number: u64, more: Option<&str>) -> Url {
        self.url(["merge_requests", number.to_string().as_str()].into_iter().chain(more))
    }

    /// Sends it; `thing` is what a 404 that is not about the project is about.
    async fn send(
        &self,
        operation: &'static str,
        thing: &str,
        request: reqwest::RequestBuilder,
    ) -> Result<Answer, ForgeError> {
        let answer = self.rest.send_any(operation, request).await?;
        if answer.status.is_success() || answer.status == StatusCode::NOT_MODIFIED {
            return Ok(answer);
        }
        Err(self.rest.error(operation, self.fault(thing, &answer)))
    }

    fn fault(&self, thing: &str, answer: &Answer) -> Fault {
        match self.rest.fault(answer) {
            Fault::NotFound(_) if !message(&answer.body).contains("Project") => {
                Fault::NotFound(thing.to_owned())
            }
            fault => fault,
        }
    }

    async fn get(&self, operation: &'static str, number: u64) -> Result<Wire, ForgeError> {
        let request = self.rest.request(Method::GET, self.pull_url(number, None));
        let answer = self.send(operation, &name(number), request).await?;
        self.rest.read(operation, answer.body)
    }

    async fn put(
        &self,
        operation: &'static str,
        number: u64,
        body: &impl Serialize,
    ) -> Result<Wire, ForgeError> {
        let request = self.rest.request(Method::PUT, self.pull_url(number, None)).json(body);
        let answer = self.send(operation, &name(number), request).await?;
        self.rest.read(operation, answer.body)
    }

    /// One page of a list, and the number of the next.
    async fn page<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        thing: &str,
        mut url: Url,
        page: u32,
    ) -> Result<(Vec<T>, Option<u32>), ForgeError> {
        url.query_pairs_mut().append_pair("per_page", PAGE).append_pair("page", &page.to_string());
        let answer = self.send(operation, thing, self.rest.request(Method::GET, url)).await?;
        let next =
            answer.headers.get("x-next-page").and_then(|value| value.to_str().ok()?.parse().ok());
        Ok((self.rest.read(operation, answer.body)?, next.filter(|next| *next > page)))
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
            let (pulls, next) =
                self.page::<Wire>("find", "merge requests", url.clone(), number).await?;
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
        let answer = self.rest.send_any("create", self.rest.request(Method::GET, url)).await?;
        if answer.status.is_success() {
            let empty = |name: &str| {
                answer.body.get(name).and_then(Value::as_array).is_some_and(Vec::is_empty)
            };
            return Ok(!empty("commits"));
        }
        match self.fault("branch", &answer) {
            Fault::NotFound(thing) if thing == "branch" => Ok(true),
            fault => Err(self.rest.error("create", fault)),
        }
    }

    /// Refuses a method that the project does not have, and sees to it that nothing is squashed
    /// that should not be.
    async fn prepare(&self, number: u64, method: MergeMethod) -> Result<(), ForgeError> {
        let answer = self
            .send("auto_merge", "project", self.rest.request(Method::GET, self.url([])))
            .await?;
        let project: Project = self.rest.read("auto_merge", answer.body)?;
        let (wanted, merges, squash) = match method {
            MergeMethod::Merge => {
                ("merge", project.merge_method != "ff", project.squash_option != "always")
            }
            MergeMethod::Rebase => {
                ("rebase", project.merge_method == "ff", project.squash_option != "always")
            }
            MergeMethod::Squash => ("squash", true, project.squash_option != "never"),
        };
        if merges && squash {
            if method != MergeMethod::Squash && project.squash_option == "default_on" {
                self.put("auto_merge", number, &json!({"squash": false})).await?;
            }
            return Ok(());
        }
        let message = format!(
            "merge method {wanted}: on GitLab that is a setting of the project, whose merge method is {:?} and squash option {:?}",
            project.merge_method, project.squash_option
        );
        Err(self.rest.error("auto_merge", Fault::Unsupported(message)))
    }

    /// Why GitLab answered 405, 406 or 422 to a merge: none of these says it.
    async fn why_not_merged(&self, number: u64, answer: &Answer) -> Result<(), ForgeError> {
        let pull = self.get("auto_merge", number).await?;
        if pull.state == "merged" || pull.merge_when_pipeline_succeeds == Some(true) {
            return Ok(());
        }
        let status = pull.detailed_merge_status.as_deref().unwrap_or("unknown");
        let fault = match status {
            "unchecked" | "checking" | "preparing" | "approvals_syncing" | "mergeable"
            | "ci_still_running" => Fault::NotYet(format!(
                "GitLab is still finding out whether {} can be merged ({status})",
                name(number)
            )),
            _ => Fault::Invalid(format!(
                "GitLab does not merge {} by itself: {} ({})",
                name(number),
                reason(status),
                message(&answer.body)
            )),
        };
        Err(self.rest.error("auto_merge", fault))
    }

    async fn user(&self, username: &str) -> Result<u64, ForgeError> {
        let mut url = self.rest.url(["users"]);
        url.query_pairs_mut().append_pair("username", username);
        let answer = self.send("reviewers", "users", self.rest.request(Method::GET, url)).await?;
        let users: Vec<User> = self.rest.read("reviewers", answer.body)?;
        let found = users
            .iter()
            .find(|user| user.username.eq_ignore_ascii_case(username))
            .map(|user| user.id);
        found.ok_or_else(|| {
            self.rest.error(
                "reviewers",
                Fault::Invalid(format!("reviewer {username:?} is not a user of GitLab")),
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
            return Err(self.rest.error("create", Fault::NothingToMerge));
        }
        let body = json!({
            "source_branch": new.head,
            "target_branch": new.base,
            "title": new.title,
            "description": without_commands(&new.body),
            "remove_source_branch": true,
        });
        let request = self.rest.request(Method::POST, self.url(["merge_requests"])).json(&body);
        let answer = self.rest.send_any("create", request).await?;
        if answer.status == StatusCode::CONFLICT && message(&answer.body).contains("already exists")
        {
            return Err(self.rest.error("create", Fault::Exists));
        }
        if !answer.status.is_success() {
            return Err(self
                .rest
                .error("create", self.fault("merge requests of the project", &answer)));
        }
        Ok(self.rest.read::<Wire>("create", answer.body)?.into())
    }

    async fn update(&self, number: u64, edit: &Edit) -> Result<PullRequest, ForgeError> {
        let pull = self.get("update", number).await?;
        let (draft, title) = split_draft(&pull.title);
        let description = without_commands(&edit.body);
        let change = Change {
            title: (title != edit.title).then(|| format!("{draft}{}", edit.title)),
            description: Some(description)
                .filter(|text| pull.description.as_deref().unwrap_or_default() != text),
        };
        if change.title.is_none() && change.description.is_none() {
            return Ok(pull.into());
        }
        Ok(self.put("update", number, &change).await?.into())
    }

    async fn add_labels(&self, number: u64, labels: &[String]) -> Result<(), ForgeError> {
        if let Some(label) = labels.iter().find(|label| label.contains(',')) {
            let message =
                format!("label {label:?} holds a comma, which separates labels on GitLab");
            return Err(self.rest.error("labels", Fault::Invalid(message)));
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
        Err(self.rest.error("reviewers", Fault::Unsupported(message)))
    }

    async fn set_auto_merge(
        &self,
        pull: &PullRequest,
        on: bool,
        method: Option<MergeMethod>,
    ) -> Result<(), ForgeError> {
        let right = |answer: &Answer| Fault::PermissionDenied {
            right: MERGE_RIGHT,
            detail: message(&answer.body),
        };
        if !on {
            let url = self.pull_url(pull.number, Some("cancel_merge_when_pipeline_succeeds"));
            let answer =
                self.rest.send_any("auto_merge", self.rest.request(Method::POST, url)).await?;
            return match answer.status.as_u16() {
                // An error may come with 201; 405 and 406: it is merged or closed. What counts is
                // that it is off.
                200..=299 if answer.body.get("status").is_none_or(|status| status != "error") => {
                    Ok(())
                }
                200..=299 | 405 | 406 => {
                    match self.get("auto_merge", pull.number).await?.merge_when_pipeline_succeeds {
                        Some(true) => Err(self
                            .rest
                            .error("auto_merge", Fault::Conflict(message(&answer.body)))),
                        _ => Ok(()),
                    }
                }
                401 if !is_bad_token(&answer) => Err(self.rest.error("auto_merge", right(&answer))),
                _ => Err(self.rest.error("auto_merge", self.fault(&name(pull.number), &answer))),
            };
        }
        if let Some(method) = method {
            self.prepare(pull.number, method).await?;
        }
        let body = Merge {
            auto_merge: true,
            merge_when_pipeline_succeeds: true,
            should_remove_source_branch: true,
            sha: pull.head_commit.as_deref(),
            squash: (method == Some(MergeMethod::Squash)).then_some(true),
        };
        let request =
            self.rest.request(Method::PUT, self.pull_url(pull.number, Some("merge"))).json(&body);
        let answer = self.rest.send_any("auto_merge", request).await?;
        match answer.status.as_u16() {
            200..=299 => Ok(()),
            401 if !is_bad_token(&answer) => Err(self.rest.error("auto_merge", right(&answer))),
            405 | 406 | 422 => self.why_not_merged(pull.number, &answer).await,
            409 => Err(self.rest.error("auto_merge", Fault::Conflict(message(&answer.body)))),
            _ => Err(self.rest.error("auto_merge", self.fault(&name(pull.number), &answer))),
        }
    }

    async fn look(&self, number: u64, tag: Option<&str>) -> Result<Seen, ForgeError> {
        let mut request = self.rest.request(Method::GET, self.pull_url(number, None));
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let answer = self.send("look", &name(number), request).await?;
        let now = answer.headers.get(ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
        if answer.status == StatusCode::NOT_MODIFIED || (tag.is_some() && tag == now.as_deref()) {
            return Ok(Seen::Unchanged);
        }
        Ok(Seen::Changed { pull: self.rest.read::<Wire>("look", answer.body)?.into(), tag: now })
    }

    async fn checks(&self, commit: &str) -> Result<Vec<Check>, ForgeError> {
        let url = self.url(["repository", "commits", commit, "statuses"]);
        let mut statuses: Vec<Status> = Vec::new();
        let mut page = Some(1);
        while let Some(number) = page {
            let (found, next) = self
                .page::<Status>("checks", &format!("commit {commit}"), url.clone(), number)
                .await?;
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
        let answer = self.rest.send_any("checks", request).await?;
        // GitLab refuses to bring a status to where it is already.
        let words = message(&answer.body);
        if answer.status.is_success()
            || (words.contains("Cannot transition status")
                && words.contains(&format!("from :{state}")))
        {
            return Ok(());
        }
        Err(self.rest.error("checks", self.fault(&format!("commit {commit}"), &answer)))
    }

    async fn comment(&self, number: u64, text: &str) -> Result<(), ForgeError> {
        let request = self.rest.request(Method::POST, self.pull_url(number, Some("notes")));
        self.send("comment", &name(number), request.json(&json!({"body": without_commands(text)})))
            .await
            .map(drop)
    }
}

const RIGHT: &str = "scope `api` with the role Developer";
const MERGE_RIGHT: &str = "the right to merge into the base branch";
/// The most that GitLab gives at once.
const PAGE: &str = "100";
