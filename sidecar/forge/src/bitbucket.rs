//! Bitbucket Data Center (and Server) 7.14 or newer. Not Bitbucket Cloud, whose interface is
//! another.
//!
//! Sources: developer.atlassian.com, "Bitbucket Data Center REST API" (pull requests, builds,
//! settings/auto-merge), "HTTP access tokens", "Rate limiting"; `exceptionName` of an error says
//! what its status does not.
//!
//! - **Fork.** `at` with `direction=OUTGOING` asks for pull requests *from* a branch of this
//!   repository; that they also go to this repository is seen in each. A project's key is compared
//!   without case, a user's project is `~slug`.
//! - **An edit** replaces the pull request: title, description and all reviewers, and needs the
//!   version that it was made for. So it is read first, the reviewers go back, and an edit that
//!   changes nothing is not sent.
//! - **Auto-merge** (8.15 or newer) is a merge with `autoMerge`; `POST …/auto-merge` only tries one
//!   that was asked for. An older server does not know the field, ignores it, and merges at once.
//!   So the repository's auto-merge setting is asked for first: older servers do not have it.
//! - **Labels** belong to repositories here, never to pull requests.
//! - The token of a project or a repository is a bearer and never a password, for git too, and it
//!   cannot merge: auto-merge needs the token of a user.
//! - There are no conditional requests: each look is a full answer.
//! - `401` comes with an `AuthorisationException` when it is the right that is missing, not the
//!   credentials.

use async_trait::async_trait;
use lockgate_core::pipeline::MergeMethod;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::error::{Fault, ForgeError};
use crate::http::{Answer, Connection, Credentials, Rest, basic, bearer, message};
use crate::model::{Check, CheckState, Edit, NewPullRequest, PullRequest, Seen, State};
use crate::repository::Path;
use crate::{Forge, Repository};

mod wire;

use wire::{
    Build, Merge, Page, Settings, Wire, exception, is_missing_right, reviewer_errors, shortened,
};

pub(crate) struct Bitbucket {
    rest: Rest,
    /// The project's key, or `~` and a user's slug.
    project: String,
    slug: String,
}

impl Bitbucket {
    pub(crate) fn new(repository: &Repository, connection: Connection) -> Result<Self, ForgeError> {
        let place = repository.to_string();
        let refused = |fault| ForgeError { operation: "connect", place: place.clone(), fault };
        let Path::Project { key, name } = repository.path() else {
            return Err(refused(Fault::Invalid(
                "not the address of a Bitbucket repository".to_owned(),
            )));
        };
        let auth = match &connection.credentials {
            Credentials::Token(token) => bearer(token),
            Credentials::Basic { username, password } => basic(username, password),
            Credentials::App { .. } => {
                let message = "Bitbucket takes an HTTP access token in `token`, or `username` and `password`, not a GitHub App";
                return Err(refused(Fault::Credentials(message.to_owned())));
            }
        };
        // Bitbucket refuses a change without this header where it takes the request for a
        // browser's.
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static("x-atlassian-token"),
            HeaderValue::from_static("no-check"),
        )]);
        let rest = Rest::new(repository.api().clone(), &place, &connection, auth, headers, RIGHT)?;
        Ok(Self { rest, project: key.clone(), slug: name.clone() })
    }

    fn url<'a>(&'a self, more: impl IntoIterator<Item = &'a str>) -> Url {
        self.rest.url(
            ["projects", self.project.as_str(), "repos", self.slug.as_str()]
                .into_iter()
                .chain(more),
        )
    }

    fn pull_url(&self, number: u64, more: Option<&str>) -> Url {
        self.url(["pull-requests", number.to_string().as_str()].into_iter().chain(more))
    }

    /// Sends it; `thing` is what a 404 that is not about the repository is about.
    async fn send(
        &self,
        operation: &'static str,
        thing: &str,
        request: RequestBuilder,
    ) -> Result<Answer, ForgeError> {
        let answer = self.rest.send_any(operation, request).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(self.rest.error(operation, self.fault(thing, &answer)))
    }

    fn fault(&self, thing: &str, answer: &Answer) -> Fault {
        let words = message(&answer.body);
        match (answer.status.as_u16(), exception(&answer.body)) {
            (401, _) if is_missing_right(&answer.body) => {
                Fault::PermissionDenied { right: RIGHT, detail: words }
            }
            (404, "NoSuchRepositoryException" | "NoSuchProjectException" | "") => {
                self.rest.fault(answer)
            }
            (404, "NoSuchBranchException" | "NoSuchObjectException") => Fault::Invalid(words),
            (404, _) => Fault::NotFound(thing.to_owned()),
            // Its version is another, or it is not open any more.
            (409, "PullRequestOutOfDateException" | "IllegalPullRequestStateException") => {
                Fault::Conflict(words)
            }
            (409, "DuplicatePullRequestException") => Fault::Exists,
            (409, "EmptyPullRequestException") => Fault::NothingToMerge,
            (409, "InvalidPullRequestReviewersException") => {
                Fault::Invalid(reviewer_errors(&answer.body))
            }
            _ => self.rest.fault(answer),
        }
    }

    async fn get(&self, operation: &'static str, number: u64) -> Result<Wire, ForgeError> {
        let request = self.rest.request(Method::GET, self.pull_url(number, None));
        let answer = self.send(operation, &name(number), request).await?;
        self.rest.read(operation, answer.body)
    }

    /// Replaces what can be changed by what `pull` says.
    async fn put(&self, operation: &'static str, pull: &Wire) -> Result<Wire, ForgeError> {
        let reviewers: Vec<Value> = pull
            .reviewers
            .iter()
            .map(|reviewer| json!({"user": {"name": reviewer.user.name}}))
            .collect();
        let mut body = serde_json::Map::from_iter([
            ("version".to_owned(), pull.version.into()),
            ("title".to_owned(), pull.title.as_str().into()),
            ("description".to_owned(), pull.description.as_deref().unwrap_or_default().into()),
            ("reviewers".to_owned(), reviewers.into()),
        ]);
        if pull.draft {
            body.insert("draft".to_owned(), true.into());
        }
        let request = self.rest.request(Method::PUT, self.pull_url(pull.id, None)).json(&body);
        let answer = self.send(operation, &name(pull.id), request).await?;
        self.rest.read(operation, answer.body)
    }

    async fn page<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        thing: &str,
        mut url: Url,
        start: u64,
    ) -> Result<Page<T>, ForgeError> {
        url.query_pairs_mut().append_pair("limit", PAGE).append_pair("start", &start.to_string());
        let answer = self.send(operation, thing, self.rest.request(Method::GET, url)).await?;
        self.rest.read(operation, answer.body)
    }

    /// The first pull request within this repository, in the order that is asked for.
    async fn find(
        &self,
        head: &str,
        base: &str,
        state: &str,
        order: &str,
    ) -> Result<Option<PullRequest>, ForgeError> {
        let (at, to) = (branch(head), branch(base));
        let mut url = self.url(["pull-requests"]);
        url.query_pairs_mut().extend_pairs([
            ("at", at.as_str()),
            ("direction", "OUTGOING"),
            ("state", state),
            ("order", order),
        ]);
        let mut start = Some(0);
        while let Some(from) = start {
            let page: Page<Wire> = self.page("find", "pull requests", url.clone(), from).await?;
            start = page.next(from);
            let ours = |pull: &Wire| {
                pull.from_ref.id == at
                    && pull.to_ref.id == to
                    && pull.from_ref.repository.is(&self.project, &self.slug)
                    && pull.to_ref.repository.is(&self.project, &self.slug)
            };
            if let Some(pull) = page.values.into_iter().find(ours) {
                return Ok(Some(pull.into()));
            }
        }
        Ok(None)
    }

    /// Refuses where Bitbucket would not wait: it merges at once if it does not know what
    /// auto-merge is.
    async fn check_auto_merge(&self) -> Result<(), ForgeError> {
        let request = self.rest.request(Method::GET, self.url(["settings", "auto-merge"]));
        let answer = self.rest.send_any("auto_merge", request).await?;
        let unsupported = |message: &str| {
            Err(self.rest.error("auto_merge", Fault::Unsupported(message.to_owned())))
        };
        if answer.status == StatusCode::NOT_FOUND && exception(&answer.body).is_empty() {
            return unsupported("auto-merge: this Bitbucket is older than 8.15");
        }
        if !answer.status.is_success() {
            return Err(self.rest.error("auto_merge", self.fault("auto-merge settings", &answer)));
        }
        match self.rest.read::<Settings>("auto_merge", answer.body)?.enabled {
            true => Ok(()),
            false => unsupported(
                "auto-merge: it is off in the settings of the repository or its project",
            ),
        }
    }

    async fn merge(&self, number: u64, version: &str, body: &Merge) -> Result<(), ForgeError> {
        let mut url = self.pull_url(number, Some("merge"));
        url.query_pairs_mut().append_pair("version", version);
        let request = self.rest.request(Method::POST, url).json(body);
        self.send("auto_merge", &name(number), request).await.map(drop)
    }

    /// An address for people within the repository.
    fn page_url(&self, more: [&str; 2]) -> Option<String> {
        let mut url = self.rest.url([]);
        let context = url.path().split("/rest/").next().unwrap_or_default().to_owned();
        url.set_path(&context);
        url.path_segments_mut()
            .ok()?
            .pop_if_empty()
            .extend(["projects", &self.project, "repos", &self.slug])
            .extend(more);
        Some(url.into())
    }

    /// The list of a commit's builds lies beside the rest, for all repositories that have it.
    fn builds_url(&self, commit: &str) -> Result<Url, ForgeError> {
        let mut url = self.rest.url([]);
        let beside = url.path().rsplit('/').nth(1) == Some("api");
        match url.path_segments_mut() {
            Ok(mut path) if beside => {
                path.pop().pop().extend(["build-status", "latest", "commits", commit]);
            }
            _ => {
                let message = "apiUrl is expected to end with rest/api/latest".to_owned();
                return Err(self.rest.error("checks", Fault::Invalid(message)));
            }
        }
        Ok(url)
    }
}

#[async_trait]
impl Forge for Bitbucket {
    async fn find_open(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError> {
        self.find(head, base, "OPEN", "OLDEST").await
    }

    async fn find_newest(&self, head: &str, base: &str) -> Result<Option<PullRequest>, ForgeError> {
        self.find(head, base, "ALL", "NEWEST").await
    }

    async fn create(&self, new: &NewPullRequest) -> Result<PullRequest, ForgeError> {
        let reference = |name: &str| json!({"id": branch(name), "repository": {"slug": self.slug, "project": {"key": self.project}}});
        let body = json!({
            "title": new.title,
            "description": new.body,
            "fromRef": reference(&new.head),
            "toRef": reference(&new.base),
        });
        let request = self.rest.request(Method::POST, self.url(["pull-requests"])).json(&body);
        let answer = self.send("create", "pull requests", request).await?;
        Ok(self.rest.read::<Wire>("create", answer.body)?.into())
    }

    async fn update(&self, number: u64, edit: &Edit) -> Result<PullRequest, ForgeError> {
        let mut pull = self.get("update", number).await?;
        if pull.title == edit.title && pull.description.as_deref().unwrap_or_default() == edit.body
        {
            return Ok(pull.into());
        }
        pull.title.clone_from(&edit.title);
        pull.description = Some(edit.body.clone());
        Ok(self.put("update", &pull).await?.into())
    }

    async fn add_labels(&self, _number: u64, labels: &[String]) -> Result<(), ForgeError> {
        if labels.is_empty() {
            return Ok(());
        }
        let message =
            "labels: pull requests have none on Bitbucket, leave `labels` out of the pipeline";
        Err(self.rest.error("labels", Fault::Unsupported(message.to_owned())))
    }

    async fn request_reviewers(&self, number: u64, reviewers: &[String]) -> Result<(), ForgeError> {
        if reviewers.is_empty() {
            return Ok(());
        }
        let mut pull = self.get("reviewers", number).await?;
        let before = pull.reviewers.len();
        for name in reviewers {
            if !pull.reviewers.iter().any(|reviewer| reviewer.user.name.eq_ignore_ascii_case(name))
            {
                pull.reviewers.push(wire::Participant::new(name));
            }
        }
        if pull.reviewers.len() > before {
            self.put("reviewers", &pull).await?;
        }
        Ok(())
    }

    async fn set_auto_merge(
        &self,
        pull: &PullRequest,
        on: bool,
        method: Option<MergeMethod>,
    ) -> Result<(), ForgeError> {
        if !on {
            let request =
                self.rest.request(Method::DELETE, self.pull_url(pull.number, Some("auto-merge")));
            let answer = self.rest.send_any("auto_merge", request).await?;
            return match (answer.status.as_u16(), exception(&answer.body)) {
                // 409: it is not open any more. 404 without an exception: an older server, where it
                // cannot be on.
                (200..=299 | 409, _) | (404, "") => Ok(()),
                (_, "AutoMergeNotRequestedException") => Ok(()),
                _ => Err(self.rest.error("auto_merge", self.fault(&name(pull.number), &answer))),
            };
        }
        self.check_auto_merge().await?;
        let body = Merge { auto_merge: true, strategy_id: method.map(strategy) };
        match self.merge(pull.number, &pull.handle, &body).await {
            // Reviewers and titles count as versions too. What must be the same is what gets
            // merged, and where to.
            Err(ForgeError { fault: Fault::Conflict(words), .. }) => {
                let now = PullRequest::from(self.get("auto_merge", pull.number).await?);
                if (now.state, now.head_commit, now.base)
                    != (State::Open, pull.head_commit.clone(), pull.base.clone())
                {
                    return Err(self.rest.error("auto_merge", Fault::Conflict(words)));
                }
                self.merge(pull.number, &now.handle, &body).await
            }
            outcome => outcome,
        }
    }

    async fn look(&self, number: u64, _tag: Option<&str>) -> Result<Seen, ForgeError> {
        Ok(Seen::Changed { pull: self.get("look", number).await?.into(), tag: None })
    }

    async fn checks(&self, commit: &str) -> Result<Vec<Check>, ForgeError> {
        let url = self.builds_url(commit)?;
        let mut builds: Vec<Build> = Vec::new();
        let mut start = Some(0);
        while let Some(from) = start {
            let page: Page<Build> =
                self.page("checks", &format!("commit {commit}"), url.clone(), from).await?;
            start = page.next(from);
            builds.extend(page.values);
        }
        Ok(Check::newest_of_each_name(
            builds.into_iter().map(|build| (build.date_added, build.into())),
        ))
    }

    async fn set_check(&self, commit: &str, check: &Check) -> Result<(), ForgeError> {
        let state = match check.state {
            CheckState::Pending => "INPROGRESS",
            CheckState::Success => "SUCCESSFUL",
            CheckState::Failure => "FAILED",
        };
        // Bitbucket wants an address: without one of its own a check leads to its commit.
        let body = json!({
            "key": check.name,
            "name": check.name,
            "state": state,
            "description": shortened(&check.description),
            "url": check.url.clone().or_else(|| self.page_url(["commits", commit])),
        });
        let request =
            self.rest.request(Method::POST, self.url(["commits", commit, "builds"])).json(&body);
        self.send("checks", &format!("commit {commit}"), request).await.map(drop)
    }

    async fn comment(&self, number: u64, text: &str) -> Result<(), ForgeError> {
        let request = self
            .rest
            .request(Method::POST, self.pull_url(number, Some("comments")))
            .json(&json!({"text": text}));
        self.send("comment", &name(number), request).await.map(drop)
    }
}

fn name(number: u64) -> String {
    format!("pull request {number}")
}

fn branch(name: &str) -> String {
    format!("refs/heads/{name}")
}

/// Source: "Pull request merge strategies".
fn strategy(method: MergeMethod) -> &'static str {
    match method {
        MergeMethod::Merge => "no-ff",
        MergeMethod::Squash => "squash",
        MergeMethod::Rebase => "rebase-ff-only",
    }
}

const RIGHT: &str = "repository write";
/// Bitbucket gives up to a thousand; a page of pull requests is large.
const PAGE: &str = "100";
