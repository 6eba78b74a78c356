//! What the answer of a server means, and what its absence.

use std::io::Read;

use reqwest::StatusCode;
use reqwest::blocking as rq;
use reqwest::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};

use super::first_line;
use crate::error::GitError;
use crate::words;

/// Sorts a response: only 200 of a repository goes on.
pub(super) fn accepted(response: rq::Response) -> Result<rq::Response, GitError> {
    let status = response.status();
    let page = |url: &reqwest::Url| GitError::SignInPage { page: without_credentials(url) };
    match status {
        // A redirect within the origin was followed to something else.
        StatusCode::OK if !is_service(response.url()) => Err(page(response.url())),
        StatusCode::OK => Ok(response),
        // Azure DevOps' sign-in page.
        StatusCode::NON_AUTHORITATIVE_INFORMATION => Err(page(response.url())),
        StatusCode::UNAUTHORIZED => Err(GitError::AuthenticationFailed),
        StatusCode::FORBIDDEN => {
            let repository = without_credentials(response.url());
            let detail = refusal(response);
            Err(match words::error(&detail, &repository) {
                Some(error @ (GitError::Unreachable { .. } | GitError::TimedOut)) => error,
                _ => GitError::PermissionDenied { repository, detail },
            })
        }
        StatusCode::NOT_FOUND | StatusCode::GONE => Err(GitError::RepositoryNotFound),
        StatusCode::REQUEST_TIMEOUT => Err(GitError::TimedOut),
        status if status.is_redirection() => Err(match redirect_target(&response) {
            // A repository that moved is sent to its own service elsewhere.
            Some(target) if is_service(&target) => {
                GitError::Redirected { to: without_credentials(&target) }
            }
            Some(target) => page(&target),
            None => GitError::Redirected { to: "an address it does not tell".to_owned() },
        }),
        status if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() => {
            Err(GitError::Busy {
                status: status.as_u16(),
                retry_after: response
                    .headers()
                    .get(RETRY_AFTER)
                    .and_then(|v| v.to_str().ok())
                    .and_then(|v| v.trim().parse().ok())
                    .map(|seconds: u64| seconds.min(LONGEST_PAUSE)),
            })
        }
        status => Err(GitError::Protocol { detail: format!("HTTP status {}", status.as_u16()) }),
    }
}

fn redirect_target(response: &rq::Response) -> Option<reqwest::Url> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    response.url().join(location).ok()
}

/// Whether an address is that of one of git's services.
fn is_service(url: &reqwest::Url) -> bool {
    SERVICES.iter().any(|service| url.path().ends_with(service))
}

/// Scheme, host and path of a repository, of which `url` is a service.
fn without_credentials(url: &reqwest::Url) -> String {
    let path =
        SERVICES.iter().find_map(|service| url.path().strip_suffix(service)).unwrap_or(url.path());
    first_line(&format!("{}{path}", url.origin().ascii_serialization()))
}

/// Why the server refuses, if it says so in words and not with a page.
fn refusal(response: rq::Response) -> String {
    let content_type = response
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut bytes = Vec::new();
    if content_type.starts_with("text/plain")
        && response.take(LONGEST_REFUSAL).read_to_end(&mut bytes).is_err()
    {
        bytes.clear();
    }
    let words = first_line(&String::from_utf8_lossy(&bytes));
    if words.is_empty() { "no reason given".to_owned() } else { words }
}

pub(super) fn network_fault(error: &reqwest::Error) -> GitError {
    if error.is_timeout() {
        return GitError::TimedOut;
    }
    if let Some(detail) = lockgate_tls::explain(error, "caFile") {
        return GitError::Unreachable { detail };
    }
    // The innermost cause says most ("connection refused"); the outer ones repeat the
    // address.
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    GitError::Unreachable { detail: first_line(&cause.to_string()) }
}

const SERVICES: [&str; 3] = ["/info/refs", "/git-upload-pack", "/git-receive-pack"];
/// The longest pause that a server may ask for, in seconds.
const LONGEST_PAUSE: u64 = 60 * 60;
/// Bytes of a refusal that are read.
const LONGEST_REFUSAL: u64 = 1024;
