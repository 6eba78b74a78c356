//! Requests below one repository, their pages, and what Azure means by its answers.

use reqwest::header::LOCATION;
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::wire::Page;
use super::{Azure, RIGHT, VERSION};
use crate::error::{Fault, ForgeError};
use crate::http::{Answer, message};

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

    /// What only Azure means by an answer; the rest as everywhere.
    fn fault(&self, answer: &Answer) -> Fault {
        let words = message(&answer.body);
        let is = |key: &str, number: &str| {
            answer.body.get("typeKey").is_some_and(|value| value == key)
                || words.starts_with(number)
        };
        match answer.status.as_u16() {
            _ if is_sign_in(answer) => Fault::AuthenticationFailed,
            401 | 403 if is("GitNeedsPermissionException", "TF401027") => {
                Fault::PermissionDenied { right: right(&words), detail: words }
            }
            // "Access Denied: The Personal Access Token used has expired."
            403 if words.contains("Personal Access Token used has expired") => {
                Fault::AuthenticationFailed
            }
            400 if is("VssVersionOutOfRangeException", "The requested REST API version") => {
                Fault::Unsupported(format!("Azure DevOps Server 2022 or newer is needed: {words}"))
            }
            404 if is("GitPullRequestNotFoundException", "TF401180") => {
                Fault::NotFound(PULL_REQUEST.to_owned())
            }
            404 if is("GitUnresolvableToCommitException", "TF401175") => Fault::Invalid(words),
            409 if is("GitPullRequestExistsException", "TF401179") => Fault::Exists,
            // Merged or abandoned by somebody who was quicker.
            _ if is("GitPullRequestNotEditableException", "TF401181") => Fault::Conflict(words),
            _ => self.rest.fault(answer),
        }
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
            let page: Page<T> = self.send(operation, self.get(below, &query)).await?;
            let is_last = page.value.len() < PAGE;
            found.extend(page.value);
            if is_last {
                return Ok(found);
            }
        }
        let words =
            format!("a list of {} has more than {MOST_PAGES} pages of {PAGE}", below.join("/"));
        Err(self.rest.error(operation, Fault::Protocol(words)))
    }
}

/// Says which pull request is not there.
pub(super) fn of(number: u64) -> impl FnOnce(ForgeError) -> ForgeError {
    move |mut error| {
        if error.fault == Fault::NotFound(PULL_REQUEST.to_owned()) {
            error.fault = Fault::NotFound(format!("{PULL_REQUEST} {number}"));
        }
        error
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
            && (location.contains("_signin") || location.contains("login.")))
}

/// A missing permission by the name that people see. Source: "Permissions and groups in Azure
/// DevOps", repository level.
fn right(words: &str) -> &'static str {
    for (name, shown) in [
        ("'PullRequestContribute'", "Contribute to pull requests"),
        ("'GenericContribute'", "Contribute"),
        ("'GenericRead'", "Read"),
        ("'CreateBranch'", "Create branch"),
        ("'ForcePush'", "Force push"),
    ] {
        if words.contains(name) {
            return shown;
        }
    }
    RIGHT
}

const PULL_REQUEST: &str = "pull request";
/// Pull requests or statuses asked for at once. Services give up to 101 without being asked.
const PAGE: usize = 100;
/// A list without an end is a server's mistake: nobody has 10,000 pull requests between two
/// branches.
const MOST_PAGES: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_permission_is_named_as_people_see_it() {
        let words = "TF401027: You need the Git 'PullRequestContribute' permission to perform this action. Details: identity 'x'";
        assert_eq!(right(words), "Contribute to pull requests");
        assert_eq!(
            right("TF401027: You need the Git 'GenericContribute' permission"),
            "Contribute"
        );
        assert_eq!(right("TF401027: something else"), RIGHT);
    }
}
