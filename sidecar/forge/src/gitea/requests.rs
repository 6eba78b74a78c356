//! Requests below one repository, their pages, and what is asked to explain a refusal.

use async_trait::async_trait;
use jiff::Timestamp;
use reqwest::{Method, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Gitea;
use super::wire::{Pull, Reference};
use crate::error::{ForgeError, ForgeFault};
use crate::explain::Explain;
use crate::http::Answer;
use crate::model::{NewPullRequest, PullRequest, PullRequestState};
use crate::says::{switched_off, unseen};

impl Gitea {
    /// An address below the repository's.
    pub(super) fn url<'a>(&'a self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        self.rest.url(["repos", &self.owner, &self.name].into_iter().chain(segments))
    }

    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        url: Url,
    ) -> Result<T, ForgeError> {
        let answer = self.rest.send(operation, self.rest.request(Method::GET, url)).await?;
        self.rest.read(operation, answer.body)
    }

    pub(super) async fn get(
        &self,
        operation: &'static str,
        number: u64,
    ) -> Result<Answer, ForgeError> {
        let url = self.url(["pulls", &number.to_string()]);
        self.rest.send_any(operation, self.rest.request(Method::GET, url)).await
    }

    pub(super) async fn write(
        &self,
        operation: &'static str,
        method: Method,
        url: Url,
        body: &Value,
    ) -> Result<Answer, ForgeError> {
        self.rest.send_any(operation, self.rest.request(method, url).json(body)).await
    }

    pub(super) fn good(
        &self,
        operation: &'static str,
        answer: Answer,
    ) -> Result<Answer, ForgeError> {
        if answer.status.is_success() {
            return Ok(answer);
        }
        let mut fault = self.rest.fault(&answer);
        // Some refusals have no body.
        if let ForgeFault::PermissionDenied { detail, .. } = &mut fault
            && detail.is_empty()
        {
            "no reason given".clone_into(detail);
        }
        Err(self.rest.error(operation, fault))
    }

    /// All pages of a list, until `take` wants no more. The list is the body, or what `member`
    /// names in it.
    pub(super) async fn pages(
        &self,
        operation: &'static str,
        mut url: Url,
        member: Option<&str>,
        mut take: impl FnMut(Value) -> Result<bool, ForgeError> + Send,
    ) -> Result<(), ForgeError> {
        let own =
            url.query().map(str::to_owned).map_or_else(String::new, |query| format!("{query}&"));
        let mut seen = 0;
        for page in 1..=MAX_PAGES {
            url.set_query(Some(&format!("{own}limit={PAGE}&page={page}")));
            let request = self.rest.request(Method::GET, url.clone());
            let mut answer = self.of_all(self.rest.send(operation, request).await).await?;
            let list = match member {
                Some(name) => answer.body.get_mut(name),
                None => Some(&mut answer.body),
            };
            let items = match list.map(Value::take) {
                Some(Value::Array(items)) => items,
                Some(Value::Null) => Vec::new(),
                _ => {
                    return Err(self
                        .rest
                        .error(operation, ForgeFault::Protocol("no list".to_owned())));
                }
            };
            // The server's own limit may be lower than the one asked for: a page that is not full
            // says nothing.
            let total = answer
                .headers
                .get("x-total-count")
                .and_then(|count| count.to_str().ok()?.parse::<usize>().ok());
            let empty = items.is_empty();
            seen += items.len();
            for item in items.into_iter().filter(|item| !item.is_null()) {
                if !take(item)? {
                    return Ok(());
                }
            }
            if empty || total.is_some_and(|total| seen >= total) {
                return Ok(());
            }
        }
        Err(self
            .rest
            .error(operation, ForgeFault::Protocol(format!("more than {MAX_PAGES} pages"))))
    }

    /// The first pull request of a list that goes from `head` of this repository into `base`.
    pub(super) async fn first(
        &self,
        query: &str,
        head: &str,
        base: &str,
    ) -> Result<Option<PullRequest>, ForgeError> {
        let mut url = self.url(["pulls"]);
        url.set_query(Some(query));
        // Releases before 1.25 do not know this filter and show all.
        url.query_pairs_mut().append_pair("base_branch", base);
        let mut found: Option<Pull> = None;
        self.pages("find", url, None, |item| {
            let pull: Pull = self.rest.read("find", item)?;
            if pull.connects(head, base) {
                found = Some(pull);
            }
            Ok(found.is_none())
        })
        .await?;
        match found {
            Some(pull) => self.shown("find", pull, None).await.map(Some),
            None => Ok(None),
        }
    }

    /// As it stood at `at`, by the clock of the forge.
    pub(super) async fn shown(
        &self,
        operation: &'static str,
        pull: Pull,
        at: Option<Timestamp>,
    ) -> Result<PullRequest, ForgeError> {
        let pull = pull.shown(at);
        if pull.state == PullRequestState::Open {
            return Ok(pull);
        }
        let number = pull.number.to_string();
        let url = self.url(["git", "refs", "pull", number.as_str(), "head"]);
        let answer = self.rest.send_any(operation, self.rest.request(Method::GET, url)).await?;
        let head_commit = match answer.status {
            StatusCode::NOT_FOUND => None,
            _ => Reference::commit_of(self.good(operation, answer)?.body, &number),
        };
        Ok(PullRequest { head_commit, ..pull })
    }

    /// What came of an operation on one pull request.
    pub(super) async fn of_pull(
        &self,
        operation: &'static str,
        number: u64,
        answer: Answer,
    ) -> Result<Answer, ForgeError> {
        self.of_one(number, self.good(operation, answer)).await
    }

    /// Why the branches could not be compared, or the pull request not be opened: Gitea answers 404
    /// whatever is missing.
    pub(super) async fn missing(&self, new: &NewPullRequest) -> ForgeError {
        match self.repository("create").await {
            Ok(repository) => {
                if let Some(fault) = switched_off(&repository) {
                    return self.rest.error("create", fault);
                }
            }
            Err(error) => return error,
        }
        let url = self.url(["branches", &new.base]);
        let base = self.rest.send_any("create", self.rest.request(Method::GET, url)).await;
        let fault = match base {
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => ForgeFault::Invalid(format!(
                "{}/{} has no branch {:?}",
                self.owner, self.name, new.base
            )),
            Ok(_) => {
                unseen(new, &format!("{}/{} has no branch {:?}", self.owner, self.name, new.head))
            }
            Err(error) => return error,
        };
        self.rest.error("create", fault)
    }
}

#[async_trait]
impl Explain for Gitea {
    async fn repository(&self, operation: &'static str) -> Result<Value, ForgeError> {
        self.read(operation, self.url([])).await
    }

    async fn any_pull(&self, operation: &'static str) -> Result<(), ForgeError> {
        let mut url = self.url(["pulls"]);
        url.set_query(Some("state=all&limit=1&page=1"));
        self.read::<Value>(operation, url).await.map(drop)
    }

    fn name_of(&self, number: u64) -> String {
        format!("pull request {number}")
    }
}

/// Gitea's own `MAX_RESPONSE_ITEMS`: it gives no more.
pub(super) const PAGE: usize = 50;
/// So many pages are the sign of a server that repeats itself.
const MAX_PAGES: usize = 1000;
