//! What every client does alike: addresses, requests, answers and errors.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::connection::{Connection, Observer};
use crate::error::{ForgeError, ForgeFault};
use crate::pause::retry_after;
use crate::says::{self, Line, Meaning};

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
    /// What this forge's words mean.
    table: &'static [Line],
}

/// An answer, read.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Null where it is no JSON.
    pub(crate) body: Value,
    /// The beginning of what is no JSON; else empty.
    pub(crate) text: String,
}

impl Rest {
    /// `root` ends with a slash. `auth` goes with every request, marked as sensitive.
    pub(crate) fn new(
        root: Url,
        place: &str,
        connection: &Connection,
        auth: (HeaderName, String),
        more: HeaderMap,
        means: (&'static str, &'static [Line]),
    ) -> Result<Self, ForgeError> {
        let mut headers = more;
        let mut value = HeaderValue::from_str(&auth.1).map_err(|_| {
            let fault = ForgeFault::Connection(
                "the credentials hold characters that no header can hold".to_owned(),
            );
            ForgeError { operation: "connect", place: place.to_owned(), fault }
        })?;
        value.set_sensitive(true);
        headers.insert(auth.0, value);
        Self::without_credentials(root, place, connection, headers, means)
    }

    /// For a caller that signs each request itself.
    pub(crate) fn without_credentials(
        root: Url,
        place: &str,
        connection: &Connection,
        headers: HeaderMap,
        (right, table): (&'static str, &'static [Line]),
    ) -> Result<Self, ForgeError> {
        let client = connection.client(headers).map_err(|message| ForgeError {
            operation: "connect",
            place: place.to_owned(),
            fault: ForgeFault::Connection(message),
        })?;
        let (observer, timeout) = (Arc::clone(&connection.observer), connection.timeout);
        Ok(Self { client, root, place: place.to_owned(), observer, timeout, right, table })
    }

    /// An address below the root, each segment percent-encoded by itself (a `/` inside becomes
    /// `%2F`).
    pub(crate) fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        below(&self.root, segments)
    }

    pub(crate) fn root(&self) -> &Url {
        &self.root
    }

    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// The same request to another address; `None` where `to` has none, or it cannot be built.
    pub(crate) fn moved(
        &self,
        request: RequestBuilder,
        to: impl FnOnce(&Url) -> Option<Url>,
    ) -> Option<RequestBuilder> {
        let mut request = request.build().ok()?;
        *request.url_mut() = to(request.url())?;
        Some(RequestBuilder::from_parts(self.client.clone(), request))
    }

    /// Sends it; an answer that is not 2xx (nor 304) is an error, sorted by what it says.
    pub(crate) async fn send(
        &self,
        operation: &'static str,
        request: RequestBuilder,
    ) -> Result<Answer, ForgeError> {
        let answer = self.send_any(operation, request).await?;
        if answer.is_good() {
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
                ForgeFault::TimedOut(self.timeout)
            } else {
                ForgeFault::Unreachable(causes(&error.without_url()))
            };
            self.error(operation, fault)
        };
        let mut response = request.send().await.map_err(|error| {
            (self.observer)(operation, 0);
            failed(error)
        })?;
        let (status, headers) = (response.status(), response.headers().clone());
        (self.observer)(operation, status.as_u16());
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if bytes.len() + chunk.len() > LONGEST_ANSWER {
                let words = format!("{status} with more than {LONGEST_ANSWER} bytes");
                return Err(self.error(operation, ForgeFault::Protocol(words)));
            }
            bytes.extend_from_slice(&chunk);
        }
        let mut answer = http::Response::new(Bytes::from(bytes));
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
        if bytes.is_empty() {
            return Ok(Answer { status, headers, body: Value::Null, text: String::new() });
        }
        if let Ok(body) = serde_json::from_slice(bytes) {
            return Ok(Answer { status, headers, body, text: String::new() });
        }
        let text: String = String::from_utf8_lossy(bytes).chars().take(LONGEST_TEXT).collect();
        // 203: Azure DevOps' sign-in page in place of an answer.
        if !status.is_success() || status == StatusCode::NON_AUTHORITATIVE_INFORMATION {
            return Ok(Answer { status, headers, body: Value::Null, text });
        }
        let fault = says::page(status, &text).unwrap_or_else(|| {
            ForgeFault::Protocol(format!("{status} with a body that is not JSON"))
        });
        Err(self.error(operation, fault))
    }

    /// What an answer means that is not good, as this forge's table has it, if it does.
    pub(crate) fn meaning(&self, answer: &Answer) -> Option<Meaning> {
        let line = says::look_up(self.table, answer.status, &answer.words())?;
        tracing::debug!(status = answer.status.as_u16(), means = ?line.means, source = line.source, "the forge's words are known");
        Some(line.means)
    }

    /// What an answer means that is not good: by the table, else by its status.
    pub(crate) fn fault(&self, answer: &Answer) -> ForgeFault {
        let detail = answer.message();
        let pause = |is_limited| retry_after(&answer.headers, is_limited, SystemTime::now());
        if let Some(meaning) = self.meaning(answer) {
            return match meaning {
                Meaning::Unavailable => {
                    ForgeFault::Unavailable { detail, retry_after: pause(false) }
                }
                Meaning::Limited => ForgeFault::RateLimited { retry_after: pause(true) },
                Meaning::Conflict => ForgeFault::Conflict(detail),
                Meaning::NotYet => ForgeFault::NotYet(detail),
                Meaning::Expired => ForgeFault::TokenExpired(detail),
                Meaning::Refused => ForgeFault::AuthenticationFailed,
                Meaning::Lacks(right) => ForgeFault::PermissionDenied { right, detail },
                Meaning::NotFound => ForgeFault::NotFound(self.place.clone()),
                Meaning::Moved => ForgeFault::Moved { to: "another address".to_owned() },
                Meaning::SwitchedOff(why) => ForgeFault::SwitchedOff(why.to_owned()),
                Meaning::Exists => ForgeFault::Exists,
                Meaning::Nothing => ForgeFault::NothingToMerge,
                Meaning::Unseen | Meaning::Invalid => ForgeFault::Invalid(detail),
                Meaning::Unsupported(what) => ForgeFault::Unsupported(format!("{what}: {detail}")),
            };
        }
        match answer.status.as_u16() {
            300..=399 => says::redirect(&answer.headers, &self.root, &self.place),
            401 => ForgeFault::AuthenticationFailed,
            407 => ForgeFault::Connection(
                "the proxy refuses us: check user and password in the Secret's `proxy`".to_owned(),
            ),
            408 | 425 => ForgeFault::Unavailable { detail, retry_after: pause(false) },
            429 => ForgeFault::RateLimited { retry_after: pause(true) },
            403 if is_limit(&answer.headers) => {
                ForgeFault::RateLimited { retry_after: pause(true) }
            }
            status @ 500.. => ForgeFault::Server { status, retry_after: pause(false) },
            // A forge's interface never answers with a page: something else stands before it.
            _ if answer.page().is_some() => answer.page().unwrap_or(ForgeFault::Protocol(detail)),
            403 => ForgeFault::PermissionDenied { right: self.right, detail },
            404 | 410 => ForgeFault::NotFound(self.place.clone()),
            status => ForgeFault::Invalid(if detail.is_empty() {
                format!("status {status}")
            } else {
                detail
            }),
        }
    }

    pub(crate) fn error(&self, operation: &'static str, fault: ForgeFault) -> ForgeError {
        ForgeError { operation, place: self.place.clone(), fault }
    }

    /// Reads a body.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        body: Value,
    ) -> Result<T, ForgeError> {
        serde_json::from_value(body).map_err(|error| {
            self.error(operation, ForgeFault::Protocol(without_value(&error.to_string())))
        })
    }
}

impl Rest {
    /// Reads a list. Forgejo announces entries that are null, and some lists are null when they are
    /// empty.
    pub(crate) fn list<T: DeserializeOwned>(
        &self,
        operation: &'static str,
        body: Value,
    ) -> Result<Vec<T>, ForgeError> {
        let items: Option<Vec<Option<T>>> = self.read(operation, body)?;
        Ok(items.unwrap_or_default().into_iter().flatten().collect())
    }
}

/// For fields that a forge leaves out or sets to null where they are empty.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    let value: Option<T> = serde::Deserialize::deserialize(deserializer)?;
    Ok(value.unwrap_or_default())
}

impl Answer {
    /// 2xx, or 304.
    pub(crate) fn is_good(&self) -> bool {
        self.status.is_success() || self.status == StatusCode::NOT_MODIFIED
    }

    /// When it was given, by the clock of the forge.
    pub(crate) fn date(&self) -> Option<Timestamp> {
        let text = self.headers.get("date")?.to_str().ok()?;
        jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp())
    }

    /// The forge's own words for people.
    pub(crate) fn message(&self) -> String {
        let message = message(&self.body);
        if !message.is_empty() || self.text.trim_start().starts_with('<') {
            return message;
        }
        shown(&self.text)
    }

    /// Everything that it says, for a table: the whole body, which also names exceptions and
    /// fields.
    fn words(&self) -> String {
        if self.body.is_null() { self.text.clone() } else { self.body.to_string() }
    }

    /// If it is a page in place of an answer: what that means.
    fn page(&self) -> Option<ForgeFault> {
        says::page(self.status, &self.text)
    }
}

/// An address below a root, each segment percent-encoded by itself.
pub(crate) fn below<'a>(root: &Url, segments: impl IntoIterator<Item = &'a str>) -> Url {
    let mut url = root.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(segments);
    }
    url
}

/// GitHub answers 403 for both its limits. Source: docs.github.com, "Rate limits for the REST API".
fn is_limit(headers: &HeaderMap) -> bool {
    headers.contains_key("retry-after")
        || headers.get("x-ratelimit-remaining").is_some_and(|left| left == "0")
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
    shown(&words.join(": "))
}

/// One line of bounded length.
fn shown(text: &str) -> String {
    let mut text: String = text.chars().filter(|c| !c.is_control()).take(LONGEST_MESSAGE).collect();
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

/// Characters of a forge's message that are shown.
const LONGEST_MESSAGE: usize = 500;
/// Characters of an answer that is no JSON that are looked at.
const LONGEST_TEXT: usize = 8 * 1024;
/// Bytes of an answer. A page of a hundred pull requests with bodies of 64 KiB is below it.
const LONGEST_ANSWER: usize = 32 * 1024 * 1024;
