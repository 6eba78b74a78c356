//! Requests to GitHub through octocrab.
//!
//! ```text
//! Client::send ─▶ Octocrab::execute: token, or App ─▶ JWT ─▶ installation token ─▶ Wire: adds the root ─▶ Rest::exchange
//! ```

use std::sync::{Arc, Mutex, OnceLock};

use http::Request;
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use octocrab::{OctoBody, Octocrab};
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};

use super::says::{TABLE, refusal};
use super::token::{Auth, Tried};
use crate::Repository;
use crate::connection::Connection;
use crate::error::{ForgeError, ForgeFault};
use crate::http::{Answer, Rest};
use crate::repository::Path;
use crate::says::Meaning;

/// octocrab above the HTTP client that all forges share.
pub(super) struct Client {
    pub(super) rest: Rest,
    pub(super) auth: Auth,
    /// Made with the first request: octocrab starts a task, for which it needs the caller's
    /// runtime.
    pub(super) octocrab: OnceLock<Octocrab>,
    /// Of an App's present token.
    pub(super) expires_at: Arc<Mutex<Option<Timestamp>>>,
    pub(super) owner: String,
    pub(super) name: String,
}

/// One operation: how it is counted, and what a token needs for it.
#[derive(Clone, Copy)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    pub(super) right: &'static str,
}

/// A request: where, and what with.
pub(super) struct Call<'a> {
    method: Method,
    url: Url,
    body: Option<Value>,
    tag: Option<&'a str>,
}

impl Client {
    pub(super) fn new(
        repository: &Repository,
        connection: &Connection,
    ) -> Result<Self, ForgeError> {
        let place = repository.to_string();
        let fault = |fault| ForgeError { operation: "connect", place: place.clone(), fault };
        let Path::Owned { owner, name } = repository.path() else {
            return Err(fault(ForgeFault::Unsupported(
                "an address that is not OWNER/REPOSITORY".to_owned(),
            )));
        };
        let auth = Auth::new(&connection.credentials).map_err(fault)?;
        let headers = HeaderMap::from_iter([
            (ACCEPT, HeaderValue::from_static("application/vnd.github+json")),
            (
                HeaderName::from_static("x-github-api-version"),
                HeaderValue::from_static(API_VERSION),
            ),
        ]);
        let means = ("", TABLE);
        let root = repository.api().clone();
        let rest = Rest::without_credentials(root, &place, connection, headers, means)?;
        let (owner, name) = (owner.clone(), name.clone());
        Ok(Self { rest, auth, octocrab: OnceLock::new(), expires_at: Arc::default(), owner, name })
    }

    /// Something below the repository.
    pub(super) fn repository<'a>(
        &'a self,
        method: Method,
        rest: impl IntoIterator<Item = &'a str>,
    ) -> Call<'a> {
        let segments = ["repos", self.owner.as_str(), self.name.as_str()].into_iter().chain(rest);
        Call { method, url: self.rest.url(segments), body: None, tag: None }
    }

    /// Something below the interface's root.
    pub(super) fn at<'a>(
        &'a self,
        method: Method,
        path: impl IntoIterator<Item = &'a str>,
    ) -> Call<'a> {
        Call { method, url: self.rest.url(path), body: None, tag: None }
    }

    /// Sends it; what is neither 2xx nor 304 is an error.
    pub(super) async fn send(
        &self,
        operation: Operation,
        call: Call<'_>,
    ) -> Result<Answer, ForgeError> {
        let answer = self.send_any(operation, call).await?;
        if answer.is_good() {
            return Ok(answer);
        }
        Err(self.error(operation, self.fault(operation, &answer)))
    }

    /// Sends it; every answer is a result.
    pub(super) async fn send_any(
        &self,
        operation: Operation,
        call: Call<'_>,
    ) -> Result<Answer, ForgeError> {
        let failed = |error| self.error(operation, error);
        // octocrab adds the token only where no host is named, and the transport adds the root: no
        // token goes elsewhere.
        let path = call.url.as_str().strip_prefix(self.rest.root().as_str()).unwrap_or_default();
        let mut request = Request::builder()
            .method(call.method)
            .uri(format!("/{path}"))
            .extension(Tried(operation.name));
        if let Some(tag) = call.tag {
            request = request.header("if-none-match", tag);
        }
        let body = match call.body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                OctoBody::from(body.to_string())
            }
            None => OctoBody::empty(),
        };
        let request =
            request.body(body).map_err(|error| failed(ForgeFault::Invalid(error.to_string())))?;
        let answer = self
            .octocrab(operation)?
            .execute(request)
            .await
            .map_err(|error| self.octocrab_error(operation, error))?;
        let (parts, body) = answer.into_parts();
        let bytes =
            body.collect().await.map_err(|error| self.octocrab_error(operation, error))?.to_bytes();
        self.rest.answer(operation.name, parts.status, parts.headers, &bytes)
    }

    /// Sends a GraphQL document; the faults in a 200 are told apart by the caller, which knows what
    /// they mean.
    pub(super) async fn graphql(
        &self,
        operation: Operation,
        query: &str,
        variables: Value,
    ) -> Result<Result<Value, Vec<GraphqlError>>, ForgeError> {
        let call = Call {
            method: Method::POST,
            url: self.rest.url(["graphql"]),
            body: Some(json!({"query": query, "variables": variables})),
            tag: None,
        };
        let answer = self.send(operation, call).await?;
        let limit = self
            .fault(operation, &Answer { status: StatusCode::TOO_MANY_REQUESTS, ..answer.clone() });
        let answer: GraphqlAnswer = self.rest.read(operation.name, answer.body)?;
        match answer
            .errors
            .iter()
            .any(|error| error.kind == "RATE_LIMITED" || error.message.contains("rate limit"))
        {
            true => Err(self.error(operation, limit)),
            false if answer.errors.is_empty() => Ok(Ok(answer.data)),
            false => Ok(Err(answer.errors)),
        }
    }

    /// All pages of a list, of which `items` takes what it wants; it says when that is enough.
    pub(super) async fn pages(
        &self,
        operation: Operation,
        call: Call<'_>,
        mut items: impl FnMut(Value) -> Result<bool, ForgeError>,
    ) -> Result<(), ForgeError> {
        for page in 1..=MOST_PAGES {
            let mut url = call.url.clone();
            url.query_pairs_mut()
                .append_pair("per_page", "100")
                .append_pair("page", &page.to_string());
            let answer = self
                .send(operation, Call { method: call.method.clone(), url, body: None, tag: None })
                .await?;
            let more = has_next(&answer.headers);
            if items(answer.body)? || !more {
                return Ok(());
            }
        }
        Err(self.error(operation, ForgeFault::Protocol(format!("more than {MOST_PAGES} pages"))))
    }

    pub(super) fn read<T: serde::de::DeserializeOwned>(
        &self,
        operation: Operation,
        body: Value,
    ) -> Result<T, ForgeError> {
        self.rest.read(operation.name, body)
    }

    pub(super) fn list<T: serde::de::DeserializeOwned>(
        &self,
        operation: Operation,
        body: Value,
    ) -> Result<Vec<T>, ForgeError> {
        self.rest.list(operation.name, body)
    }

    pub(super) fn error(&self, operation: Operation, fault: ForgeFault) -> ForgeError {
        self.rest.error(operation.name, fault)
    }

    /// What an answer that is not good means.
    pub(super) fn fault(&self, operation: Operation, answer: &Answer) -> ForgeFault {
        match self.rest.fault(answer) {
            // Source: "Rate limits for the REST API": without a header, wait for at least one
            // minute.
            ForgeFault::RateLimited { retry_after: None } => {
                ForgeFault::RateLimited { retry_after: Some(PAUSE) }
            }
            ForgeFault::PermissionDenied { right, detail } => {
                let wanted = answer
                    .headers
                    .get("x-accepted-github-permissions")
                    .and_then(|value| value.to_str().ok());
                let detail =
                    wanted.map_or(detail.clone(), |wanted| format!("{detail} (needs {wanted})"));
                let right = if right.is_empty() { operation.right } else { right };
                ForgeFault::PermissionDenied { right, detail }
            }
            ForgeFault::Invalid(_) if answer.status == StatusCode::UNPROCESSABLE_ENTITY => {
                ForgeFault::Invalid(refusal(&answer.body))
            }
            fault => fault,
        }
    }

    /// What the table has of an answer.
    pub(super) fn meaning(&self, answer: &Answer) -> Option<Meaning> {
        self.rest.meaning(answer)
    }
}

impl<'a> Call<'a> {
    pub(super) fn query(mut self, pairs: &[(&str, &str)]) -> Self {
        self.url.query_pairs_mut().extend_pairs(pairs);
        self
    }

    pub(super) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    pub(super) fn tag(mut self, tag: Option<&'a str>) -> Self {
        self.tag = tag;
        self
    }
}

#[derive(serde::Deserialize)]
struct GraphqlAnswer {
    #[serde(default)]
    data: Value,
    #[serde(default)]
    errors: Vec<GraphqlError>,
}

/// One of the errors of a GraphQL answer.
#[derive(serde::Deserialize)]
pub(super) struct GraphqlError {
    pub(super) message: String,
    /// `FORBIDDEN`, `NOT_FOUND`, `UNPROCESSABLE` and others.
    #[serde(default, rename = "type")]
    pub(super) kind: String,
}

/// Source: "Using pagination in the REST API".
fn has_next(headers: &HeaderMap) -> bool {
    headers
        .get("link")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|link| link.contains("rel=\"next\""))
}

/// Known to GitHub and to every Enterprise Server that is still supported. Source: "API Versions".
const API_VERSION: &str = "2022-11-28";
const PAUSE: std::time::Duration = std::time::Duration::from_secs(60);
/// 10,000 entries: more would be a forge that repeats itself.
const MOST_PAGES: u32 = 100;
