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
//! - **Auto-merge**: see [`auto_merge`].
//! - **Labels** belong to repositories here, never to pull requests.
//! - The token of a project or a repository is a bearer and never a password, for git too, and it
//!   cannot merge: auto-merge needs the token of a user.
//! - There are no conditional requests: each look is a full answer.
//! - `401` comes with an `AuthorisationException` when it is the right that is missing, not the
//!   credentials.

mod auto_merge;
mod says;
mod wire;

use async_trait::async_trait;
use lockgate_core::pipeline::{Forge as Kind, MergeMethod};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Url};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(crate) use self::says::TABLE;
use self::wire::{Build, PagedList, Wire, exception, name, reviewer_errors, shortened};
use crate::connection::{Connection, Credentials, basic, bearer};
use crate::error::{ForgeError, ForgeFault};
use crate::explain::Explain;
use crate::http::{Answer, Rest};
use crate::model::{Check, CheckState, Edit, NewPullRequest, PullRequest, PullRequestState, Seen};
use crate::repository::Path;
use crate::says::{Meaning, unseen};
use crate::{Forge, Repository, texts};

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
            return Err(refused(ForgeFault::Invalid(
                "not the address of a Bitbucket repository".to_owned(),
            )));
        };
        let auth = match &connection.credentials {
            Credentials::Token(token) => bearer(token),
            Credentials::Basic { username, password } => basic(username, password),
            Credentials::App { .. } => {
                let message = "Bitbucket takes an HTTP access token in `token`, or `username` and `password`, not a GitHub App";
                return Err(refused(ForgeFault::Credentials(message.to_owned())));
            }
        };
        // Bitbucket refuses a change without this header where it takes the request for a
        // browser's.
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static("x-atlassian-token"),
            HeaderValue::from_static("no-check"),
        )]);
        let means = (RIGHT, TABLE);
        let rest = Rest::new(repository.api().clone(), &place, &connection, auth, headers, means)?;
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

    async fn send(
        &self,
        operation: &'static str,
        request: RequestBuilder,
    ) -> Result<Answer, ForgeError> {
        let answer = self.rest.send_any(operation, request).await?;
        if answer.is_good() { Ok(answer) } else { Err(self.refusal(operation, &answer)) }
    }

    fn refusal(&self, operation: &'static str, answer: &Answer) -> ForgeError {
        let fault = match exception(&answer.body) {
            "InvalidPullRequestReviewersException" => {
                ForgeFault::Invalid(reviewer_errors(&answer.body))
            }
            _ => self.rest.fault(answer),
        };
        self.rest.error(operation, fault)
    }

    async fn get(&self, operation: &'static str, number: u64) -> Result<Wire, ForgeError> {
        let request = self.rest.request(Method::GET, self.pull_url(number, None));
        let answer = self.of_one(number, self.send(operation, request).await).await?;
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
        let answer = self.of_one(pull.id, self.send(operation, request).await).await?;
        self.rest.read(operation, answer.body)
    }

    async fn page<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        mut url: Url,
        start: u64,
    ) -> Result<PagedList<T>, ForgeError> {
        url.query_pairs_mut().append_pair("limit", PAGE).append_pair("start", &start.to_string());
        let answer = self.send(operation, self.rest.request(Method::GET, url)).await;
        let answer = self.of_all(answer).await?;
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
            let page: PagedList<Wire> = self.page("find", url.clone(), from).await?;
            start = page.next(from);
            let ours = |pull: &Wire| {
                pull.from_ref.id == at
                    && pull.to_ref.id == to
                    && pull.from_ref.repository.is(&self.project, &self.slug)
                    && pull.to_ref.repository.is(&self.project, &self.slug)
            };
            if let Some(pull) = page.values.into_iter().flatten().find(ours) {
                return Ok(Some(pull.into()));
            }
        }
        Ok(None)
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
                return Err(self.rest.error("checks", ForgeFault::Invalid(message)));
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
        let Edit { title, body } = texts::fitting(Kind::BitbucketServer, new);
        let body = json!({
            "title": title,
            "description": body,
            "fromRef": reference(&new.head),
            "toRef": reference(&new.base),
        });
        let request = self.rest.request(Method::POST, self.url(["pull-requests"])).json(&body);
        let answer = self.rest.send_any("create", request).await?;
        if answer.is_good() {
            return Ok(self.rest.read::<Wire>("create", answer.body)?.into());
        }
        let words = answer.message();
        let error = match self.rest.meaning(&answer) {
            // It names the branch that it misses.
            Some(Meaning::Unseen) if !words.contains(&format!("\"{}\"", new.base)) => {
                self.rest.error("create", unseen(new, &words))
            }
            _ => self.refusal("create", &answer),
        };
        self.of_all(Err(error)).await
    }

    async fn update(&self, number: u64, edit: &Edit) -> Result<PullRequest, ForgeError> {
        let edit = texts::fit(Kind::BitbucketServer, edit.clone());
        let mut pull = self.get("update", number).await?;
        if pull.title == edit.title && pull.description.as_deref().unwrap_or_default() == edit.body
        {
            return Ok(pull.into());
        }
        pull.title.clone_from(&edit.title);
        pull.description = Some(edit.body.clone());
        Ok(self.put("update", &pull).await?.into())
    }

    /// Source: "Bitbucket Data Center REST API", decline: like a merge it names the version.
    async fn close(&self, number: u64) -> Result<(), ForgeError> {
        let pull = PullRequest::from(self.get("close", number).await?);
        // What is merged or declined cannot be declined.
        if pull.state != PullRequestState::Open {
            return Ok(());
        }
        let mut url = self.pull_url(number, Some("decline"));
        url.query_pairs_mut().append_pair("version", &pull.handle);
        let request = self.rest.request(Method::POST, url).json(&json!({}));
        self.of_one(number, self.send("close", request).await).await.map(drop)
    }

    async fn add_labels(&self, _number: u64, labels: &[String]) -> Result<(), ForgeError> {
        if labels.is_empty() {
            return Ok(());
        }
        let message =
            "labels: pull requests have none on Bitbucket, leave `labels` out of the pipeline";
        Err(self.rest.error("labels", ForgeFault::Unsupported(message.to_owned())))
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
        if on { self.arm(pull, method).await } else { self.disarm(pull.number).await }
    }

    async fn auto_merge(&self, pull: &PullRequest) -> Result<bool, ForgeError> {
        self.is_armed(pull.number).await
    }

    async fn look(&self, number: u64, _tag: Option<&str>) -> Result<Seen, ForgeError> {
        Ok(Seen::Changed { pull: self.get("look", number).await?.into(), tag: None })
    }

    async fn checks(&self, commit: &str) -> Result<Vec<Check>, ForgeError> {
        let url = self.builds_url(commit)?;
        let mut builds: Vec<Build> = Vec::new();
        let mut start = Some(0);
        while let Some(from) = start {
            let page: PagedList<Build> = self.page("checks", url.clone(), from).await?;
            start = page.next(from);
            builds.extend(page.values.into_iter().flatten());
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
        let answer = self.rest.send_any("checks", request).await?;
        if answer.is_good() {
            return Ok(());
        }
        let error = self.refusal("checks", &answer);
        Err(match exception(&answer.body) {
            "NoSuchCommitException" => {
                ForgeError { fault: ForgeFault::NotFound(format!("commit {commit}")), ..error }
            }
            _ => error,
        })
    }

    async fn comment(&self, number: u64, text: &str) -> Result<(), ForgeError> {
        let request = self
            .rest
            .request(Method::POST, self.pull_url(number, Some("comments")))
            .json(&json!({"text": text}));
        self.of_one(number, self.send("comment", request).await).await.map(drop)
    }
}

#[async_trait]
impl Explain for Bitbucket {
    async fn repository(&self, operation: &'static str) -> Result<Value, ForgeError> {
        Ok(self.send(operation, self.rest.request(Method::GET, self.url([]))).await?.body)
    }

    async fn any_pull(&self, operation: &'static str) -> Result<(), ForgeError> {
        let mut url = self.url(["pull-requests"]);
        url.query_pairs_mut().append_pair("limit", "1");
        self.send(operation, self.rest.request(Method::GET, url)).await.map(drop)
    }

    fn name_of(&self, number: u64) -> String {
        name(number)
    }
}

fn branch(name: &str) -> String {
    format!("refs/heads/{name}")
}

const RIGHT: &str = "repository write";
/// Bitbucket gives up to a thousand; a page of pull requests is large.
const PAGE: &str = "100";
