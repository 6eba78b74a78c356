//! Requests below one repository, their pages, and what Azure means by its answers.

use async_trait::async_trait;
use reqwest::header::LOCATION;
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::wire::AzureList;
use super::{Azure, VERSION};
use crate::error::{ForgeError, ForgeFault};
use crate::explain::Explain;
use crate::http::Answer;
use crate::model::{NewPullRequest, PullRequest, PullRequestState};
use crate::says::{Meaning, unseen};

impl Azure {
    /// An address below the repository.
    pub(super) fn at(&self, below: &[&str], query: &[(&str, &str)]) -> Url {
        let first = [self.project.as_str(), "_apis", "git", "repositories", &self.name];
        let mut url = self.rest.url(first.into_iter().chain(below.iter().copied()));
        url.query_pairs_mut().extend_pairs(query).append_pair("api-version", VERSION);
        url
    }

    pub(super) fn get(&self, below: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        self.rest.request(Method::GET, self.at(below, query))
    }

    pub(super) fn write(&self, method: Method, below: &[&str], body: &Value) -> RequestBuilder {
        self.rest.request(method, self.at(below, &[])).json(body)
    }

    pub(super) async fn send<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        request: RequestBuilder,
    ) -> Result<T, ForgeError> {
        let answer = self.rest.send_any(operation, request).await?;
        if answer.status.is_success() && !is_sign_in(&answer) {
            return self.rest.read(operation, answer.body);
        }
        Err(self.rest.error(operation, self.fault(&answer)))
    }

    /// Sends what is about one pull request.
    pub(super) async fn send_of<T: DeserializeOwned + Send>(
        &self,
        operation: &'static str,
        number: u64,
        request: RequestBuilder,
    ) -> Result<T, ForgeError> {
        self.of_one(number, self.send(operation, request).await).await
    }

    /// What an answer means that is not good, or is a page to sign in.
    pub(super) fn fault(&self, answer: &Answer) -> ForgeFault {
        if is_sign_in(answer) {
            return ForgeFault::AuthenticationFailed;
        }
        self.rest.fault(answer)
    }

    /// Why one was not opened. The statistics name the branch that they miss.
    pub(super) async fn not_created(&self, new: &NewPullRequest, answer: &Answer) -> ForgeError {
        let (words, meaning) = (answer.message(), self.rest.meaning(answer));
        let is_about = |branch: &str| words.contains(branch);
        let misses_head = match meaning {
            Some(Meaning::Unseen) => !is_about(&new.base) || is_about(&new.head),
            // Source: mburumaxwell/paklo#1614, 400 of the statistics.
            None => {
                answer.status == StatusCode::BAD_REQUEST && is_about(&format!("\"{}\"", new.head))
            }
            Some(_) => false,
        };
        let fault = if misses_head { unseen(new, &words) } else { self.fault(answer) };
        self.explained(self.rest.error("create", fault)).await
    }

    /// All pages of a list. `names` are those of its page size and of what is left out.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        below: &[&str],
        query: &[(&str, &str)],
        names: (&str, &str),
    ) -> Result<Vec<T>, ForgeError> {
        let (top, mut found) = (PAGE.to_string(), Vec::new());
        for number in 0..MOST_PAGES {
            let skip = (number * PAGE).to_string();
            let query = [query, &[(names.0, top.as_str()), (names.1, skip.as_str())]].concat();
            let page: AzureList<T> = self.send(operation, self.get(below, &query)).await?;
            let is_last = page.len() < PAGE;
            found.extend(page.items());
            if is_last {
                return Ok(found);
            }
        }
        let words =
            format!("a list of {} has more than {MOST_PAGES} pages of {PAGE}", below.join("/"));
        Err(self.rest.error(operation, ForgeFault::Protocol(words)))
    }

    /// What came of an edit that has nothing to change on a pull request that has ended. Azure
    /// refuses every edit of a completed or abandoned one.
    pub(super) async fn or_ended(
        &self,
        operation: &'static str,
        number: u64,
        outcome: Result<PullRequest, ForgeError>,
    ) -> Result<PullRequest, ForgeError> {
        let Err(ForgeError { fault: ForgeFault::Conflict(_), .. }) = &outcome else {
            return outcome;
        };
        let now = self.read(operation, number).await?;
        if now.state == PullRequestState::Open { outcome } else { Ok(now) }
    }
}

#[async_trait]
impl Explain for Azure {
    async fn repository(&self, operation: &'static str) -> Result<Value, ForgeError> {
        self.send(operation, self.get(&[], &[])).await
    }

    async fn any_pull(&self, operation: &'static str) -> Result<(), ForgeError> {
        let request = self.get(&["pullrequests"], &[("$top", "1")]);
        self.send::<Value>(operation, request).await.map(drop)
    }

    fn name_of(&self, number: u64) -> String {
        format!("pull request {number}")
    }
}

/// The page for people instead of an answer: the token is not accepted.
fn is_sign_in(answer: &Answer) -> bool {
    let location = answer
        .headers
        .get(LOCATION)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    (answer.status == StatusCode::NON_AUTHORITATIVE_INFORMATION && answer.body.is_null())
        || (answer.status.is_redirection()
            && (location.contains("_signin") || location.contains("login.microsoftonline.")))
}

/// Pull requests or statuses asked for at once. Services give up to 101 without being asked.
const PAGE: usize = 100;
/// A list without an end is a server's mistake: nobody has 10,000 pull requests between two
/// branches.
const MOST_PAGES: usize = 100;
