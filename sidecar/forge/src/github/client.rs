//! Requests to GitHub through octocrab.
//!
//! ```text
//! Client::send ─▶ Octocrab::execute: token, or App ─▶ JWT ─▶ installation token ─▶ Wire: adds the root ─▶ Rest::exchange
//! ```

use std::sync::OnceLock;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use lockgate_core::secret::Sensitive;
use octocrab::auth::{AppAuth, EncodingKey};
use octocrab::secrecy::ExposeSecret as _;
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use reqwest::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
use tower::BoxError;

use crate::Repository;
use crate::error::{Fault, ForgeError};
use crate::http::{Answer, Connection, Credentials, Rest, text};
use crate::repository::Path;

/// octocrab above the HTTP client that all forges share.
pub(super) struct Client {
    rest: Rest,
    auth: Auth,
    /// Made with the first request: octocrab starts a task, for which it needs the caller's
    /// runtime.
    octocrab: OnceLock<Octocrab>,
    pub(super) owner: String,
    pub(super) name: String,
}

enum Auth {
    Token(Sensitive),
    App { auth: AppAuth, installation: u64 },
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
            return Err(fault(Fault::Unsupported(
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
        let rest =
            Rest::without_credentials(repository.api().clone(), &place, connection, headers, "")?;
        Ok(Self { rest, auth, octocrab: OnceLock::new(), owner: owner.clone(), name: name.clone() })
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

    /// Sends it; what is neither 2xx nor 304 is an error.
    pub(super) async fn send(
        &self,
        operation: Operation,
        call: Call<'_>,
    ) -> Result<Answer, ForgeError> {
        let answer = self.send_any(operation, call).await?;
        if answer.status.is_success() || answer.status == StatusCode::NOT_MODIFIED {
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
            request.body(body).map_err(|error| failed(Fault::Invalid(error.to_string())))?;
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
        Err(self.error(operation, Fault::Protocol(format!("more than {MOST_PAGES} pages"))))
    }

    /// An App's token: the one that requests are signed with; `None` for who has a token of its
    /// own.
    pub(super) async fn installation_token(&self) -> Result<Option<Sensitive>, ForgeError> {
        if matches!(self.auth, Auth::Token(_)) {
            return Ok(None);
        }
        let token = self.octocrab(CONNECT)?.installation_token().await;
        let token = token.map_err(|error| self.octocrab_error(CONNECT, error))?;
        Ok(Some(Sensitive::new(token.expose_secret())))
    }

    pub(super) fn read<T: serde::de::DeserializeOwned>(
        &self,
        operation: Operation,
        body: Value,
    ) -> Result<T, ForgeError> {
        self.rest.read(operation.name, body)
    }

    pub(super) fn error(&self, operation: Operation, fault: Fault) -> ForgeError {
        self.rest.error(operation.name, fault)
    }

    /// What an answer that is not good means.
    pub(super) fn fault(&self, operation: Operation, answer: &Answer) -> Fault {
        match self.rest.fault(answer) {
            // Source: "Rate limits for the REST API": without a header, wait for at least one
            // minute.
            Fault::RateLimited { retry_after: None } => {
                Fault::RateLimited { retry_after: Some(PAUSE) }
            }
            Fault::PermissionDenied { detail, .. } => {
                let wanted = answer
                    .headers
                    .get("x-accepted-github-permissions")
                    .and_then(|value| value.to_str().ok());
                let detail =
                    wanted.map_or(detail.clone(), |wanted| format!("{detail} (needs {wanted})"));
                Fault::PermissionDenied { right: operation.right, detail }
            }
            Fault::Invalid(_) if answer.status == StatusCode::UNPROCESSABLE_ENTITY => {
                Fault::Invalid(refusal(&answer.body))
            }
            fault => fault,
        }
    }

    fn octocrab(&self, operation: Operation) -> Result<&Octocrab, ForgeError> {
        if let Some(ready) = self.octocrab.get() {
            return Ok(ready);
        }
        let state = match &self.auth {
            Auth::Token(token) => AuthState::AccessToken { token: text(token).into() },
            Auth::App { auth, .. } => AuthState::App(auth.clone()),
        };
        let rest = self.rest.clone();
        let service = tower::service_fn(move |request| exchange(rest.clone(), request));
        let Ok(octocrab) =
            OctocrabBuilder::new_empty().with_service(service).with_auth(state).build();
        let octocrab = match &self.auth {
            Auth::Token(_) => octocrab,
            // For this repository only, whatever else the App is installed on.
            Auth::App { installation, .. } => octocrab
                .installation_builder((*installation).into())
                .repositories(vec![self.name.clone()])
                .build()
                .map_err(|error| self.octocrab_error(operation, error))?,
        };
        Ok(self.octocrab.get_or_init(|| octocrab))
    }

    /// octocrab's own errors: those of the transport, and those of an App's token. None is shown as
    /// it is: an answer that cannot be read may hold the token.
    fn octocrab_error(&self, operation: Operation, error: octocrab::Error) -> ForgeError {
        let fault = match error {
            octocrab::Error::Service { source, .. } => match source.downcast::<ForgeError>() {
                Ok(error) => return *error,
                Err(_) => Fault::Unreachable("the HTTP client has stopped".to_owned()),
            },
            octocrab::Error::GitHub { source, .. } => {
                let (status, headers) =
                    (source.status_code, source.headers.clone().unwrap_or_default());
                let answer = Answer {
                    status,
                    headers,
                    body: json!({"message": source.message, "errors": source.errors}),
                };
                return self.error(CONNECT, self.token_fault(&answer));
            }
            octocrab::Error::JWT { .. } => Fault::Credentials(BAD_KEY.to_owned()),
            _ => Fault::Protocol("an answer that octocrab cannot read".to_owned()),
        };
        self.error(operation, fault)
    }

    fn token_fault(&self, answer: &Answer) -> Fault {
        let Auth::App { auth, installation } = &self.auth else { return self.rest.fault(answer) };
        match self.fault(CONNECT, answer) {
            Fault::AuthenticationFailed => Fault::Credentials(format!(
                "githubAppPrivateKey is not a key of the GitHub App {}",
                auth.app_id
            )),
            Fault::NotFound(_) => Fault::NotFound(format!(
                "installation {installation} of the GitHub App {}",
                auth.app_id
            )),
            fault => fault,
        }
    }
}

impl Auth {
    fn new(credentials: &Credentials) -> Result<Self, Fault> {
        let token = match credentials {
            Credentials::Token(token) => token,
            // GitHub's interface has no passwords: what git is given as one is a token.
            Credentials::Basic { password, .. } => password,
            Credentials::App { app, installation, private_key } => {
                let key = EncodingKey::from_rsa_pem(private_key.bytes())
                    .map_err(|_| Fault::Credentials(BAD_KEY.to_owned()))?;
                return Ok(Self::App {
                    auth: AppAuth { app_id: (*app).into(), key },
                    installation: *installation,
                });
            }
        };
        if token.bytes().trim_ascii().is_empty() {
            return Err(Fault::Credentials(
                "the token is empty: expected token, password, or githubAppID, githubAppInstallationID and githubAppPrivateKey"
                    .to_owned(),
            ));
        }
        if HeaderValue::from_str(&text(token)).is_err() {
            return Err(Fault::Credentials(
                "the token holds characters that no token has".to_owned(),
            ));
        }
        Ok(Self::Token(token.clone()))
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

/// The operation, on its way through octocrab to the observer.
#[derive(Clone)]
struct Tried(&'static str);

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

/// One request of octocrab's, with the client that has CA, proxy and timeouts, and follows no
/// redirect.
async fn exchange(
    rest: Rest,
    request: Request<OctoBody>,
) -> Result<Response<reqwest::Body>, BoxError> {
    let (parts, body) = request.into_parts();
    // Requests that octocrab makes by itself are those for an App's token.
    let operation = parts.extensions.get::<Tried>().map_or(CONNECT.name, |tried| tried.0);
    let url = address(rest.root(), parts.uri.path_and_query().map_or("/", |path| path.as_str()))?;
    let body: Bytes = body.collect().await?.to_bytes();
    let request = rest.request(parts.method, url).headers(parts.headers).body(body);
    Ok(rest.exchange(operation, request).await?.map(reqwest::Body::from))
}

/// Source: "Getting started with the GraphQL API": on Enterprise Server it is beside `v3`, not
/// below it.
fn address(root: &Url, path: &str) -> Result<Url, BoxError> {
    let root = root.as_str();
    let root = if path == "/graphql" { root.strip_suffix("v3/").unwrap_or(root) } else { root };
    Ok(Url::parse(&format!("{root}{}", path.trim_start_matches('/')))?)
}

/// Source: "Using pagination in the REST API".
fn has_next(headers: &HeaderMap) -> bool {
    headers
        .get("link")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|link| link.contains("rel=\"next\""))
}

/// Every error of a 422, in GitHub's words. Source: "Troubleshooting the REST API", validation
/// failed.
pub(super) fn refusal(body: &Value) -> String {
    let errors =
        body.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let mut words: Vec<String> = Vec::new();
    for error in errors {
        let field = |name: &str| error.get(name).and_then(Value::as_str);
        let word =
            match (error.as_str().or_else(|| field("message")), field("field"), field("code")) {
                (Some(message), ..) => message.to_owned(),
                (None, Some(field), Some(code)) => format!("{field}: {}", code.replace('_', " ")),
                (None, field, code) => field.or(code).unwrap_or("no reason given").to_owned(),
            };
        if !words.contains(&word) {
            words.push(word);
        }
    }
    let whole = if words.is_empty() { body.clone() } else { json!({"message": words.join("; ")}) };
    crate::http::message(&whole)
}

const CONNECT: Operation =
    Operation { name: "connect", right: "an installation of the GitHub App" };
/// Known to GitHub and to every Enterprise Server that is still supported. Source: "API Versions".
const API_VERSION: &str = "2022-11-28";
const BAD_KEY: &str = "githubAppPrivateKey is not an RSA private key in PEM form";
const PAUSE: std::time::Duration = std::time::Duration::from_secs(60);
/// 10,000 entries: more would be a forge that repeats itself.
const MOST_PAGES: u32 = 100;
