//! What a caller gets: one constructor for each row of the reply table, used by the filter and by
//! the sidecar.
//!
//! Problems are RFC 9457 documents. The 401 is one constant: it does not tell a wrong signature
//! from an endpoint that does not exist. 204 and 3xx are never used: Flux counts them as failures
//! or follows them.

use std::borrow::Cow;

use core::time::Duration;

use serde::{Deserialize, Serialize};

/// Status, headers and body.
///
/// **Units:** `retry_after` in seconds. The other headers are those of the reply table, there is no
/// list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    /// The body's media type.
    pub content_type: Cow<'static, str>,
    /// `Location`: a pull request (201) or a promotion (202).
    pub location: Option<String>,
    /// `Retry-After`: 429 and 503 have it.
    pub retry_after: Option<u32>,
    /// `Allow`: 405 has it.
    pub allow: Option<&'static str>,
    /// The body.
    pub body: Vec<u8>,
}

impl Reply {
    /// 201: promoted within the wait, and there is a pull request at `location`.
    pub fn created(body: &impl Serialize, location: String) -> Self {
        Self { location: Some(location), ..Self::json(201, body) }
    }

    /// 202: accepted; `location` is the promotion's status if the API is public.
    pub fn accepted(body: &impl Serialize, location: Option<String>) -> Self {
        Self { location, ..Self::json(202, body) }
    }

    /// 202: authentic, but nothing to promote. `reason` is CamelCase.
    pub fn nothing(reason: &str, message: &str) -> Self {
        #[derive(Serialize)]
        struct Nothing<'a> {
            promotion: Option<()>,
            reason: &'a str,
            message: &'a str,
        }
        Self::json(202, &Nothing { promotion: None, reason, message })
    }

    /// 400: the body is not an event; `detail` says what is missing, `next` what to do.
    pub fn bad_request(reason: &str, detail: &str, next: Option<&str>) -> Self {
        Self::problem_with_next(400, "Bad Request", reason, detail, next)
    }

    /// 401, always the same bytes.
    pub fn unauthorized() -> Self {
        Self::constant(401, UNAUTHORIZED)
    }

    /// 404: the path names no endpoint.
    pub fn not_found() -> Self {
        Self::constant(404, NOT_FOUND)
    }

    /// 405.
    pub fn method_not_allowed() -> Self {
        Self { allow: Some("POST"), ..Self::constant(405, METHOD_NOT_ALLOWED) }
    }

    /// 413: declared or counted length over the limit (in bytes).
    pub fn too_large(limit: u64) -> Self {
        Self::problem(
            413,
            "Content Too Large",
            "BodyTooLarge",
            &format!("the body may have at most {limit} bytes"),
        )
    }

    /// 415: not JSON, or encoded.
    pub fn unsupported_type() -> Self {
        Self::constant(415, UNSUPPORTED_TYPE)
    }

    /// 422: an event that the pipeline has no use for; `detail` is the original's text, `next` says
    /// what to do.
    pub fn unprocessable(reason: &str, detail: &str, next: Option<&str>) -> Self {
        Self::problem_with_next(422, "Unprocessable Content", reason, detail, next)
    }

    /// 429: `wait` is rounded up to whole seconds, at least one.
    pub fn limited(wait: Duration) -> Self {
        Self { retry_after: Some(whole_seconds(wait)), ..Self::constant(429, LIMITED) }
    }

    /// 500: the promotion failed for good within the wait. `detail` points at its status and has no
    /// internals.
    pub fn failed(reason: &str, detail: &str) -> Self {
        Self::problem(500, "Promotion Failed", reason, detail)
    }

    /// 503: the sidecar is away, or the filter has nothing to judge by yet.
    pub fn unavailable() -> Self {
        Self { retry_after: Some(UNAVAILABLE_RETRY), ..Self::constant(503, UNAVAILABLE) }
    }

    /// Any other JSON document.
    pub fn json(status: u16, body: &impl Serialize) -> Self {
        Self {
            status,
            content_type: JSON.into(),
            location: None,
            retry_after: None,
            allow: None,
            body: serde_json::to_vec(body).unwrap_or_default(),
        }
    }

    /// Any other problem document (RFC 9457). `reason` is CamelCase from a closed list.
    pub fn problem(status: u16, title: &str, reason: &str, detail: &str) -> Self {
        Self::problem_with_next(status, title, reason, detail, None)
    }

    fn problem_with_next(
        status: u16,
        title: &str,
        reason: &str,
        detail: &str,
        next: Option<&str>,
    ) -> Self {
        let body = Problem {
            r#type: "about:blank".into(),
            title: title.into(),
            status,
            reason: reason.into(),
            detail: detail.into(),
            next: next.map(Cow::from),
        };
        Self { content_type: PROBLEM.into(), ..Self::json(status, &body) }
    }

    /// The headers as a proxy wants them, `Content-Length` excluded.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, Cow<'_, str>)> {
        let content_type =
            (!self.body.is_empty()).then(|| ("content-type", Cow::Borrowed(&*self.content_type)));
        let location =
            self.location.as_deref().map(|location| ("location", Cow::Borrowed(location)));
        let retry_after =
            self.retry_after.map(|seconds| ("retry-after", Cow::Owned(seconds.to_string())));
        let allow = self.allow.map(|allow| ("allow", Cow::Borrowed(allow)));
        [content_type, location, retry_after, allow].into_iter().flatten()
    }

    fn constant(status: u16, body: &'static str) -> Self {
        Self {
            status,
            content_type: PROBLEM.into(),
            location: None,
            retry_after: None,
            allow: None,
            body: body.as_bytes().to_vec(),
        }
    }
}

/// A problem document (RFC 9457), as every error answer carries one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem<'a> {
    /// A URI that names the kind of problem; `about:blank` says that `title` and `status` do.
    pub r#type: Cow<'a, str>,
    /// The status in words.
    pub title: Cow<'a, str>,
    /// The HTTP status.
    pub status: u16,
    /// CamelCase, from a closed list.
    pub reason: Cow<'a, str>,
    /// For people: what is wrong.
    pub detail: Cow<'a, str>,
    /// For people: what to do, where the detail does not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Cow<'a, str>>,
}

/// Rounded up to whole seconds, at least one: what `Retry-After` can say.
pub fn whole_seconds(wait: Duration) -> u32 {
    let up = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
    u32::try_from(up.max(1)).unwrap_or(u32::MAX)
}

/// The media type of answers (RFC 8259).
pub const JSON: &str = "application/json";
/// The media type of problems (RFC 9457).
pub const PROBLEM: &str = "application/problem+json";

/// Seconds. Flux gives an event 15 s in all and tries again after 2, 4 and 8 s: a longer pause
/// would lose it.
const UNAVAILABLE_RETRY: u32 = 2;
const UNAUTHORIZED: &str = r#"{"type":"about:blank","title":"Unauthorized","status":401,"reason":"Unauthorized","detail":"the request is not authentic for this path"}"#;
const NOT_FOUND: &str = r#"{"type":"about:blank","title":"Not Found","status":404,"reason":"NotFound","detail":"the path names no endpoint: expected namespace/pipeline/environment after the prefix, nothing else"}"#;
const METHOD_NOT_ALLOWED: &str = r#"{"type":"about:blank","title":"Method Not Allowed","status":405,"reason":"MethodNotAllowed","detail":"events are sent with POST"}"#;
const UNSUPPORTED_TYPE: &str = r#"{"type":"about:blank","title":"Unsupported Media Type","status":415,"reason":"UnsupportedMediaType","detail":"events are application/json without a content encoding"}"#;
const LIMITED: &str = r#"{"type":"about:blank","title":"Too Many Requests","status":429,"reason":"RateLimited","detail":"too many requests: send it again later"}"#;
const UNAVAILABLE: &str = r#"{"type":"about:blank","title":"Service Unavailable","status":503,"reason":"Unavailable","detail":"events cannot be taken right now: send it again"}"#;
