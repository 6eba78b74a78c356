//! What every client does alike: headers, timeouts, errors, counting.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use lockgate_core::secret::Sensitive;
use lockgate_tls::Trust;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Fault, ForgeError};

/// Is told of every request that was answered: operation and status (0: no answer).
pub type Observer = Arc<dyn Fn(&'static str, u16) + Send + Sync>;

/// How to reach a forge, as one promotion's Secret gives it.
#[derive(Clone)]
pub struct Connection {
    /// Who we are.
    pub credentials: Credentials,
    /// Certificates (PEM) to trust besides the system's.
    pub ca: Option<Vec<u8>>,
    /// An HTTP proxy, which may hold a password. `None`: what the process environment says.
    pub proxy: Option<Sensitive>,
    /// Is told of every request.
    pub observer: Observer,
    /// Bounds one request. [`Connection::TIMEOUT`] unless a test says otherwise.
    pub timeout: Duration,
}

impl Connection {
    /// Long enough for a forge under load, short enough that a worker is not blocked for long.
    pub const TIMEOUT: Duration = Duration::from_secs(30);
}

/// Who we are to a forge. Never shown, wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A token (personal, project, bot, service connection).
    Token(Sensitive),
    /// A user name and a password or token (HTTP basic).
    Basic {
        /// User name.
        username: String,
        /// Password or token.
        password: Sensitive,
    },
    /// A GitHub App.
    App {
        /// `githubAppID`.
        app: u64,
        /// `githubAppInstallationID`.
        installation: u64,
        /// `githubAppPrivateKey`, PEM.
        private_key: Sensitive,
    },
}

/// A client of one forge's REST interface: the root of its addresses, and the headers of every
/// request.
#[derive(Clone)]
pub(crate) struct Rest {
    client: Client,
    root: Url,
    place: String,
    observer: Observer,
    timeout: Duration,
    /// What a 403 means to people.
    right: &'static str,
}

/// An answer, read.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Rest {
    /// `root` ends with a slash. `auth` goes with every request, marked as sensitive.
    pub(crate) fn new(
        root: Url,
        place: &str,
        connection: &Connection,
        auth: (HeaderName, String),
        more: HeaderMap,
        right: &'static str,
    ) -> Result<Self, ForgeError> {
        let mut headers = more;
        let mut value = HeaderValue::from_str(&auth.1).map_err(|_| {
            let fault = Fault::Connection(
                "the credentials hold characters that no header can hold".to_owned(),
            );
            ForgeError { operation: "connect", place: place.to_owned(), fault }
        })?;
        value.set_sensitive(true);
        headers.insert(auth.0, value);
        Self::without_credentials(root, place, connection, headers, right)
    }

    /// For a caller that signs each request itself.
    pub(crate) fn without_credentials(
        root: Url,
        place: &str,
        connection: &Connection,
        headers: HeaderMap,
        right: &'static str,
    ) -> Result<Self, ForgeError> {
        let failed = |message: String| ForgeError {
            operation: "connect",
            place: place.to_owned(),
            fault: Fault::Connection(message),
        };
        let mut builder = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("lockgate/", env!("CARGO_PKG_VERSION")))
            .timeout(connection.timeout)
            .connect_timeout(CONNECT_TIMEOUT)
            // A redirect would carry the token elsewhere.
            .redirect(redirect::Policy::none());
        let trust = connection.ca.as_deref().map_or(Trust::System, Trust::SystemAnd);
        let tls = lockgate_tls::client_config(trust)
            .map_err(|error| failed(format!("caFile {error}")))?;
        builder = builder.tls_backend_preconfigured(tls);
        if let Some(proxy) = &connection.proxy {
            let text = std::str::from_utf8(proxy.bytes()).unwrap_or_default();
            builder = builder.proxy(
                reqwest::Proxy::all(text)
                    .map_err(|_| failed("proxy is not the address of a proxy".to_owned()))?,
            );
        }
        let client =
            builder.build().map_err(|_| failed("the HTTP client cannot be set up".to_owned()))?;
        let (observer, timeout) = (Arc::clone(&connection.observer), connection.timeout);
        Ok(Self { client, root, place: place.to_owned(), observer, timeout, right })
    }

    /// An address below the root, each segment percent-encoded by itself (a `/` inside becomes
    /// `%2F`).
    pub(crate) fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.root.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    pub(crate) fn root(&self) -> &Url {
        &self.root
    }

    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends it; an answer that is not 2xx (nor 304) is an error, sorted by its status.
    pub(crate) async fn send(
        &self,
        operation: &'static str,
        request: RequestBuilder,
    ) -> Result<Answer, ForgeError> {
        let answer = self.send_any(operation, request).await?;
        if answer.status.is_success() || answer.status == StatusCode::NOT_MODIFIED {
            return Ok(answer);
        }
        Err(self.error(operation, self.fault(&answer)))
    }

    /// Sends it; every answer is a result. For answers that mean something special to one
    /// operation.
    pub(crate) async fn send_any(
        &self,
        operation: &'static str,
        request: RequestBuilder,
    ) -> Result<Answer, ForgeError> {
        let (parts, bytes) = self.exchange(operation, request).await?.into_parts();
        self.answer(operation, parts.status, parts.headers, &bytes)
    }

    /// Sends it, tells the observer, and waits for the whole body.
    pub(crate) async fn exchange(
        &self,
        operation: &'static str,
        request: RequestBuilder,
    ) -> Result<http::Response<Bytes>, ForgeError> {
        let failed = |error: reqwest::Error| {
            let timed_out = error.is_timeout();
            let fault = if timed_out {
                Fault::TimedOut(self.timeout)
            } else {
                Fault::Unreachable(causes(&error.without_url()))
            };
            self.error(operation, fault)
        };
        let response = request.send().await.map_err(|error| {
            (self.observer)(operation, 0);
            failed(error)
        })?;
        let (status, headers) = (response.status(), response.headers().clone());
        (self.observer)(operation, status.as_u16());
        let mut answer = http::Response::new(response.bytes().await.map_err(failed)?);
        (*answer.status_mut(), *answer.headers_mut()) = (status, headers);
        Ok(answer)
    }

    /// Reads the body; one that is not JSON is a fault only in a good answer.
    pub(crate) fn answer(
        &self,
        operation: &'static str,
        status: StatusCode,
        headers: HeaderMap,
        bytes: &[u8],
    ) -> Result<Answer, ForgeError> {
        let body = match serde_json::from_slice(bytes) {
            Ok(body) => body,
            // 203: Azure DevOps' sign-in page instead of an answer.
            Err(_)
                if bytes.is_empty()
                    || !status.is_success()
                    || status == StatusCode::NON_AUTHORITATIVE_INFORMATION =>
            {
                Value::Null
            }
            Err(_) => {
                return Err(self.error(
                    operation,
                    Fault::Protocol(format!("{status} with a body that is not JSON")),
                ));
            }
        };
        Ok(Answer { status, headers, body })
    }

    /// What an answer that is not good means.
    pub(crate) fn fault(&self, answer: &Answer) -> Fault {
        let retry_after = retry_after(&answer.headers, SystemTime::now());
        let detail = message(&answer.body);
        match answer.status.as_u16() {
            401 => Fault::AuthenticationFailed,
            429 => Fault::RateLimited { retry_after },
            403 if is_limit(&answer.headers, &detail) => Fault::RateLimited { retry_after },
            403 => Fault::PermissionDenied { right: self.right, detail },
            404 | 410 => Fault::NotFound(self.place.clone()),
            300..=399 => Fault::Invalid("the forge redirects: correct the address".to_owned()),
            status @ 500.. => Fault::Server { status, retry_after },
            status => {
                Fault::Invalid(if detail.is_empty() { format!("status {status}") } else { detail })
            }
        }
    }

    pub(crate) fn error(&self, operation: &'static str, fault: Fault) -> ForgeError {
        ForgeError { operation, place: self.place.clone(), fault }
    }

    /// Reads a body.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        body: Value,
    ) -> Result<T, ForgeError> {
        serde_json::from_value(body).map_err(|error| {
            self.error(operation, Fault::Protocol(without_value(&error.to_string())))
        })
    }
}

/// `Authorization: Bearer …`.
pub(crate) fn bearer(token: &Sensitive) -> (HeaderName, String) {
    (AUTHORIZATION, format!("Bearer {}", text(token)))
}

/// `Authorization: Basic …`.
pub(crate) fn basic(username: &str, password: &Sensitive) -> (HeaderName, String) {
    (AUTHORIZATION, format!("Basic {}", BASE64.encode(format!("{username}:{}", text(password)))))
}

/// A secret as it goes into a header. White space around it is never meant: `echo` leaves a newline
/// there.
pub(crate) fn text(secret: &Sensitive) -> String {
    String::from_utf8_lossy(secret.bytes()).trim().to_owned()
}

/// `Retry-After` (seconds or a date), else the reset time of a used-up limit; GitHub's, GitLab's
/// and Azure's names.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(text) = value("retry-after") {
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds).min(LONGEST_PAUSE));
        }
        let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        return Some(until(u64::try_from(date.as_second()).ok()?, now));
    }
    let used_up = ["x-ratelimit-remaining", "ratelimit-remaining"]
        .iter()
        .any(|name| value(name) == Some("0"));
    let reset = value("x-ratelimit-reset").or_else(|| value("ratelimit-reset"))?.parse().ok()?;
    used_up.then(|| until(reset, now))
}

fn until(second: u64, now: SystemTime) -> Duration {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(second).saturating_sub(now).min(LONGEST_PAUSE)
}

/// GitHub answers 403 for both its limits. Source: docs.github.com, "Rate limits for the REST API".
fn is_limit(headers: &HeaderMap, message: &str) -> bool {
    headers.contains_key("retry-after")
        || headers.get("x-ratelimit-remaining").is_some_and(|left| left == "0")
        || ["secondary rate limit", "abuse detection"]
            .iter()
            .any(|sign| message.to_ascii_lowercase().contains(sign))
}

/// The forge's own words, from the places where the five put them.
pub(crate) fn message(body: &Value) -> String {
    let texts = [
        body.get("message"),
        body.pointer("/errors/0/message"),
        body.get("error_description"),
        body.get("error"),
    ];
    let mut words: Vec<String> = Vec::new();
    for value in texts.into_iter().flatten() {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Null => continue,
            other => other.to_string(),
        };
        if !words.contains(&text) {
            words.push(text);
        }
    }
    let mut text: String =
        words.join(": ").chars().filter(|c| !c.is_control()).take(LONGEST_MESSAGE).collect();
    text.truncate(text.trim_end().len());
    text
}

/// The text of an error of serde's without the string that was found, which may be anything.
fn without_value(text: &str) -> String {
    match (text.find('"'), text.rfind('"')) {
        (Some(first), Some(last)) => {
            format!(
                "{}…{}",
                text.get(..first).unwrap_or_default(),
                text.get(last + 1..).unwrap_or_default()
            )
        }
        _ => text.to_owned(),
    }
}

fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(reason) = lockgate_tls::explain(error, "caFile") {
        return reason;
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = cause.source();
    }
    text
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Token(_) => "Credentials::Token(<redacted>)",
            Self::Basic { .. } => "Credentials::Basic(<redacted>)",
            Self::App { .. } => "Credentials::App(<redacted>)",
        })
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection").field("credentials", &self.credentials).finish_non_exhaustive()
    }
}

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A forge that asks for more is asked again after this time anyway.
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// Characters of a forge's message that are shown.
const LONGEST_MESSAGE: usize = 500;
