//! The token that requests are signed with: a person's, or an App's that octocrab gets and renews.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;
use jiff::Timestamp;
use lockgate_core::secret::Sensitive;
use octocrab::auth::{AppAuth, EncodingKey};
use octocrab::secrecy::ExposeSecret as _;
use octocrab::{AuthState, OctoBody, Octocrab, OctocrabBuilder};
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use tower::BoxError;

use super::client::{Client, Operation};
use crate::connection::{Credentials, text};
use crate::error::{ForgeError, ForgeFault};
use crate::http::{Answer, Rest};
use crate::model::GitToken;

pub(super) enum Auth {
    Token(Sensitive),
    App { auth: AppAuth, installation: u64 },
}

impl Auth {
    pub(super) fn new(credentials: &Credentials) -> Result<Self, ForgeFault> {
        let token = match credentials {
            Credentials::Token(token) => token,
            // GitHub's interface has no passwords: what git is given as one is a token.
            Credentials::Basic { password, .. } => password,
            Credentials::App { app, installation, private_key } => {
                let key = EncodingKey::from_rsa_pem(private_key.bytes())
                    .map_err(|_| ForgeFault::Credentials(BAD_KEY.to_owned()))?;
                return Ok(Self::App {
                    auth: AppAuth { app_id: (*app).into(), key },
                    installation: *installation,
                });
            }
        };
        if token.bytes().trim_ascii().is_empty() {
            return Err(ForgeFault::Credentials(
                "the token is empty: expected token, password, or githubAppID, githubAppInstallationID and githubAppPrivateKey"
                    .to_owned(),
            ));
        }
        if HeaderValue::from_str(&text(token)).is_err() {
            return Err(ForgeFault::Credentials(
                "the token holds characters that no token has".to_owned(),
            ));
        }
        Ok(Self::Token(token.clone()))
    }
}

impl Client {
    /// An App's token: the one that requests are signed with; `None` for who has a token of its
    /// own.
    pub(super) async fn installation_token(
        &self,
        valid_for: Duration,
    ) -> Result<Option<GitToken>, ForgeError> {
        if matches!(self.auth, Auth::Token(_)) {
            return Ok(None);
        }
        let buffer = chrono::Duration::from_std(valid_for.clamp(SHORTEST, LONGEST))
            .unwrap_or_else(|_| chrono::Duration::seconds(30));
        let token = self.octocrab(CONNECT)?.installation_token_with_buffer(buffer).await;
        let token = token.map_err(|error| self.octocrab_error(CONNECT, error))?;
        Ok(Some(GitToken {
            secret: Sensitive::new(token.expose_secret()),
            expires_at: *self.expires_at.lock().unwrap_or_else(PoisonError::into_inner),
        }))
    }

    pub(super) fn octocrab(&self, operation: Operation) -> Result<&Octocrab, ForgeError> {
        if let Some(ready) = self.octocrab.get() {
            return Ok(ready);
        }
        let state = match &self.auth {
            Auth::Token(token) => AuthState::AccessToken { token: text(token).into() },
            Auth::App { auth, .. } => AuthState::App(auth.clone()),
        };
        let (rest, expires_at) = (self.rest.clone(), Arc::clone(&self.expires_at));
        let service = tower::service_fn(move |request| {
            exchange(rest.clone(), Arc::clone(&expires_at), request)
        });
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
    pub(super) fn octocrab_error(
        &self,
        operation: Operation,
        error: octocrab::Error,
    ) -> ForgeError {
        let fault = match error {
            octocrab::Error::Service { source, .. } => match source.downcast::<ForgeError>() {
                Ok(error) => return *error,
                Err(_) => ForgeFault::Unreachable("the HTTP client has stopped".to_owned()),
            },
            octocrab::Error::GitHub { source, .. } => {
                let (status, headers) =
                    (source.status_code, source.headers.clone().unwrap_or_default());
                let body = json!({"message": source.message, "errors": source.errors});
                let answer = Answer { status, headers, body, text: String::new() };
                return self.error(CONNECT, self.token_fault(&answer));
            }
            octocrab::Error::JWT { .. } => ForgeFault::Credentials(BAD_KEY.to_owned()),
            _ => ForgeFault::Protocol("an answer that octocrab cannot read".to_owned()),
        };
        self.error(operation, fault)
    }

    fn token_fault(&self, answer: &Answer) -> ForgeFault {
        let Auth::App { auth, installation } = &self.auth else { return self.rest.fault(answer) };
        let words = answer.message();
        match self.fault(CONNECT, answer) {
            // Source: "Generating a JSON Web Token for a GitHub App": "'Issued at' claim ('iat')
            // must be …", "'Expiration time' claim ('exp') is too far in the future".
            ForgeFault::AuthenticationFailed if words.contains("claim (") => {
                ForgeFault::Credentials(format!(
                    "GitHub refuses the App's key for its time: the clock of this machine is wrong ({words})"
                ))
            }
            ForgeFault::AuthenticationFailed => ForgeFault::Credentials(format!(
                "githubAppPrivateKey is not a key of the GitHub App {}",
                auth.app_id
            )),
            ForgeFault::NotFound(_) => ForgeFault::NotFound(format!(
                "installation {installation} of the GitHub App {}",
                auth.app_id
            )),
            fault => fault,
        }
    }
}

/// The operation, on its way through octocrab to the observer.
#[derive(Clone)]
pub(super) struct Tried(pub(super) &'static str);

/// One request of octocrab's, with the client that has CA, proxy and timeouts, and follows no
/// redirect. It notes when a token that comes along expires, which octocrab does not tell.
async fn exchange(
    rest: Rest,
    expires_at: Arc<Mutex<Option<Timestamp>>>,
    request: Request<OctoBody>,
) -> Result<Response<reqwest::Body>, BoxError> {
    let (parts, body) = request.into_parts();
    // Requests that octocrab makes by itself are those for an App's token.
    let tried = parts.extensions.get::<Tried>().map(|tried| tried.0);
    let url = address(rest.root(), parts.uri.path_and_query().map_or("/", |path| path.as_str()))?;
    let body: Bytes = body.collect().await?.to_bytes();
    let request = rest.request(parts.method, url).headers(parts.headers).body(body);
    let answer = rest.exchange(tried.unwrap_or(CONNECT.name), request).await?;
    if tried.is_none()
        && let Ok(body) = serde_json::from_slice::<Value>(answer.body())
        && let Some(at) = body.get("expires_at").and_then(|at| at.as_str()?.parse().ok())
    {
        *expires_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }
    Ok(answer.map(reqwest::Body::from))
}

/// Source: "Getting started with the GraphQL API": on Enterprise Server it is beside `v3`, not
/// below it.
fn address(root: &Url, path: &str) -> Result<Url, BoxError> {
    let root = root.as_str();
    let root = if path == "/graphql" { root.strip_suffix("v3/").unwrap_or(root) } else { root };
    Ok(Url::parse(&format!("{root}{}", path.trim_start_matches('/')))?)
}

const CONNECT: Operation =
    Operation { name: "connect", right: "an installation of the GitHub App" };
const BAD_KEY: &str = "githubAppPrivateKey is not an RSA private key in PEM form";
/// A token that is about to expire is of no use to git.
const SHORTEST: Duration = Duration::from_secs(30);
/// A token lives for an hour; who wants one for longer gets a new one each time.
const LONGEST: Duration = Duration::from_secs(50 * 60);
