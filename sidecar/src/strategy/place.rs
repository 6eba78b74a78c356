//! Which repository and which Secret a failure is about.

use lockgate_core::promotion::{Failure, FailureReason};

use super::order::{Site, Work};
use super::outcome::Outcome;

impl Outcome {
    /// Names the repository and the Secret of the work in the failure, where they may be what is
    /// wrong and the failure does not name them.
    #[must_use]
    pub(super) fn at(self, work: &Work) -> Self {
        let Some(site) = work.site() else { return self };
        match self {
            Self::Passing { failure, retry_after } => {
                Self::Passing { failure: named(failure, &site), retry_after }
            }
            Self::Permanent { failure, seen } => {
                Self::Permanent { failure: named(failure, &site), seen }
            }
            other => other,
        }
    }
}

fn named(failure: Failure, site: &Site) -> Failure {
    if !concerns_the_repository(failure.reason) {
        return failure;
    }
    let repository = shown(&site.url);
    let secret = match &site.secret {
        Some(secret) => format!("Secret {}/{}", secret.namespace(), secret.name()),
        None => "no Secret".to_owned(),
    };
    let missing: Vec<String> = [format!("repository {repository}"), secret]
        .into_iter()
        .zip([repository.as_str(), "Secret "])
        .filter(|(_, name)| !failure.message.contains(name))
        .map(|(words, _)| words)
        .collect();
    if missing.is_empty() {
        return failure;
    }
    let message = format!("{} ({})", failure.message, missing.join(", "));
    Failure { message, ..failure }
}

/// Whether another repository, or other credentials, could be the remedy.
fn concerns_the_repository(reason: FailureReason) -> bool {
    matches!(
        reason,
        FailureReason::Unreachable
            | FailureReason::TimedOut
            | FailureReason::ServerError
            | FailureReason::RateLimited
            | FailureReason::UnexpectedAnswer
            | FailureReason::InvalidRepositoryUrl
            | FailureReason::AuthenticationFailed
            | FailureReason::PermissionDenied
            | FailureReason::HostKeyMismatch
            | FailureReason::RepositoryNotFound
            | FailureReason::UnsupportedRepository
            | FailureReason::BaseBranchNotFound
            | FailureReason::MarkerNotFound
            | FailureReason::InvalidManifest
            | FailureReason::PushRejected
            | FailureReason::ForgeRefused
    )
}

/// `https://user:password@host/org/repo.git?x` → `host/org/repo`: no scheme, and nothing that may
/// be a secret.
fn shown(url: &str) -> String {
    let url = url.trim();
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = path.trim_end_matches('/');
    let path = path.strip_suffix(".git").unwrap_or(path);
    format!("{host}{path}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code")]

    use std::sync::Arc;

    use lockgate_core::secret::Secret;
    use serde_json::json;

    use super::*;

    fn message(failure: Failure, secret: bool) -> String {
        let document = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"namespace": "team", "name": "git"},
            "stringData": {"password": "p"},
        });
        let secret = secret.then(|| Arc::new(Secret::from_value(&document).unwrap().value));
        let url = "https://bot:s3cret@git.example.com/org/fleet.git".to_owned();
        named(failure, &Site { url, base_branch: "main".to_owned(), secret }).message
    }

    #[test]
    fn a_refusal_names_the_repository_and_the_secret_once() {
        let refused = |message: &str| Failure {
            reason: FailureReason::AuthenticationFailed,
            message: message.to_owned(),
        };
        assert_eq!(
            message(refused("the repository refused the credentials"), true),
            "the repository refused the credentials (repository git.example.com/org/fleet, Secret team/git)"
        );
        assert_eq!(
            message(refused("wants credentials"), false),
            "wants credentials (repository git.example.com/org/fleet, no Secret)"
        );
        assert_eq!(
            message(refused("look on git.example.com/org/fleet: refused"), true),
            "look on git.example.com/org/fleet: refused (Secret team/git)"
        );
        let named = "Secret team/git has no token for git.example.com/org/fleet";
        assert_eq!(message(refused(named), true), named);
    }

    #[test]
    fn a_failure_of_something_else_stays_as_it_is() {
        let failure =
            Failure { reason: FailureReason::SigningFailed, message: "no key".to_owned() };
        assert_eq!(message(failure, true), "no key");
    }

    #[test]
    fn a_repository_is_shown_without_anything_that_may_be_a_secret() {
        for (url, expected) in [
            ("https://git.example.com/org/fleet.git/", "git.example.com/org/fleet"),
            (
                "https://u:p@git.example.com:8443/org/fleet?version=x",
                "git.example.com:8443/org/fleet",
            ),
            ("ssh://git@git.example.com/org/fleet.git", "git.example.com/org/fleet"),
            ("git@git.example.com:org/fleet.git", "git.example.com:org/fleet"),
            ("file:///srv/fleet.git", "/srv/fleet"),
        ] {
            assert_eq!(shown(url), expected, "{url}");
        }
    }
}
