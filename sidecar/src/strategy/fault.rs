//! Two tables: what went wrong in git, or on a forge → the reason that users see, and whether
//! trying again can help.

use std::time::Duration;

use lockgate_core::promotion::{Failure, FailureReason};
use lockgate_forge::{ForgeError, ForgeFault};
use lockgate_git::{GitError, UrlError};

use super::outcome::{Outcome, Seen};

/// Why an attempt did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub reason: FailureReason,
    /// For people: what, where, and what to do next. Never holds a secret.
    pub message: String,
    /// What the peer asked for.
    pub retry_after: Option<Duration>,
    /// Tip of the base branch, where the fault says what that was.
    base: Option<String>,
}

impl Fault {
    pub fn new(reason: FailureReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), retry_after: None, base: None }
    }

    #[must_use]
    pub fn failure(&self) -> Failure {
        Failure { reason: self.reason, message: self.message.clone() }
    }

    /// `seen` is what the attempt saw of the repository up to here. A fault that hides the
    /// `base_branch` counts as having seen that there is none, so that any tip is another one.
    pub(super) fn into_outcome(self, base_branch: &str, seen: Option<Seen>) -> Outcome {
        let hidden = matches!(
            self.reason,
            FailureReason::BaseBranchNotFound
                | FailureReason::RepositoryNotFound
                | FailureReason::UnsupportedRepository
        );
        let told = self.base.map(|tip| Seen::branch(base_branch, Some(tip)));
        let seen = seen.or(told).or_else(|| hidden.then(|| Seen::branch(base_branch, None)));
        let failure = Failure { reason: self.reason, message: self.message };
        if self.reason.is_permanent() {
            Outcome::Permanent { failure, seen }
        } else {
            Outcome::Passing { failure, retry_after: self.retry_after }
        }
    }
}

impl From<GitError> for Fault {
    fn from(error: GitError) -> Self {
        let retry_after = match &error {
            GitError::Busy { retry_after, .. } => retry_after.map(Duration::from_secs),
            _ => None,
        };
        let base = match &error {
            GitError::ObjectTooLarge { tip, .. } => Some(tip.to_string()),
            _ => None,
        };
        Self { reason: reason_of(&error), message: error.to_string(), retry_after, base }
    }
}

impl From<ForgeError> for Fault {
    fn from(error: ForgeError) -> Self {
        Self {
            reason: reason_of_forge(&error.fault),
            message: error.to_string(),
            retry_after: error.retry_after(),
            base: None,
        }
    }
}

impl From<UrlError> for Fault {
    fn from(error: UrlError) -> Self {
        Self::new(FailureReason::InvalidRepositoryUrl, error.to_string())
    }
}

fn reason_of(error: &GitError) -> FailureReason {
    match error {
        GitError::Unreachable { .. } | GitError::Protocol { .. } => FailureReason::Unreachable,
        GitError::TimedOut => FailureReason::TimedOut,
        GitError::Busy { status: 429, .. } => FailureReason::RateLimited,
        GitError::Busy { .. } => FailureReason::ServerError,
        GitError::PushRace { .. } => FailureReason::PushRace,
        GitError::MirrorDamaged { .. } | GitError::Storage { .. } => FailureReason::MirrorUnusable,
        GitError::AuthenticationFailed | GitError::SignInPage { .. } => {
            FailureReason::AuthenticationFailed
        }
        GitError::PermissionDenied { .. } => FailureReason::PermissionDenied,
        GitError::HostKeyRejected => FailureReason::HostKeyMismatch,
        GitError::InvalidCredentials { .. } => FailureReason::SecretKeyMissing,
        GitError::RepositoryNotFound => FailureReason::RepositoryNotFound,
        GitError::Redirected { .. } => FailureReason::InvalidRepositoryUrl,
        GitError::BaseBranchNotFound { .. } => FailureReason::BaseBranchNotFound,
        GitError::PushRejected { .. } | GitError::BranchBlocked { .. } => {
            FailureReason::PushRejected
        }
        GitError::InvalidManifest { .. } => FailureReason::InvalidManifest,
        GitError::UnsupportedHash { .. } | GitError::ObjectTooLarge { .. } => {
            FailureReason::UnsupportedRepository
        }
        GitError::SigningFailed { .. } => FailureReason::SigningFailed,
        GitError::ProgramMissing { .. } => FailureReason::ProgramMissing,
    }
}

/// `Exists` and `NothingToMerge` are answers to [`lockgate_forge::Forge::create`] that the strategy
/// understands; elsewhere they are refusals.
fn reason_of_forge(fault: &ForgeFault) -> FailureReason {
    match fault {
        ForgeFault::Unreachable(_) => FailureReason::Unreachable,
        ForgeFault::TimedOut(_) => FailureReason::TimedOut,
        ForgeFault::Server { .. } | ForgeFault::Unavailable { .. } => FailureReason::ServerError,
        ForgeFault::RateLimited { .. } => FailureReason::RateLimited,
        ForgeFault::Conflict(_) => FailureReason::Conflict,
        ForgeFault::NotYet(_) => FailureReason::NotReady,
        ForgeFault::Protocol(_) => FailureReason::UnexpectedAnswer,
        ForgeFault::AuthenticationFailed
        | ForgeFault::TokenExpired(_)
        | ForgeFault::SignIn { .. } => FailureReason::AuthenticationFailed,
        ForgeFault::Moved { .. } => FailureReason::InvalidRepositoryUrl,
        ForgeFault::PermissionDenied { .. } => FailureReason::PermissionDenied,
        ForgeFault::NotFound(_) => FailureReason::RepositoryNotFound,
        ForgeFault::Exists
        | ForgeFault::NothingToMerge
        | ForgeFault::Gone(_)
        | ForgeFault::SwitchedOff(_)
        | ForgeFault::Invalid(_) => FailureReason::ForgeRefused,
        ForgeFault::Unsupported(_) => FailureReason::UnsupportedStrategy,
        ForgeFault::Credentials(_) | ForgeFault::Connection(_) => FailureReason::SecretKeyMissing,
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "test code"
    )]

    use super::*;

    #[test]
    fn git_and_the_promotion_agree_on_what_is_passing() {
        let text = String::new;
        for error in [
            GitError::Unreachable { detail: text() },
            GitError::TimedOut,
            GitError::Busy { status: 429, retry_after: Some(7) },
            GitError::Busy { status: 502, retry_after: None },
            GitError::AuthenticationFailed,
            GitError::PermissionDenied { repository: text(), detail: text() },
            GitError::HostKeyRejected,
            GitError::InvalidCredentials { detail: text() },
            GitError::RepositoryNotFound,
            GitError::Redirected { to: text() },
            GitError::BaseBranchNotFound { branch: text() },
            GitError::UnsupportedHash { hash: text() },
            GitError::ObjectTooLarge { limit: 1, tip: "1".repeat(40).parse().unwrap() },
            GitError::Protocol { detail: text() },
            GitError::PushRace { branch: text() },
            GitError::PushRejected { branch: text(), reason: text() },
            GitError::InvalidManifest { path: text(), line: 1, reason: text() },
            GitError::SigningFailed { detail: text() },
            GitError::MirrorDamaged { detail: text() },
            GitError::Storage { detail: text() },
            GitError::ProgramMissing { program: text(), detail: text() },
        ] {
            assert_eq!(reason_of(&error).is_permanent(), !error.is_passing(), "{error:?}");
        }
    }

    #[test]
    fn a_forge_and_the_promotion_agree_on_what_is_passing() {
        let text = String::new;
        for fault in [
            ForgeFault::Unreachable(text()),
            ForgeFault::TimedOut(Duration::from_secs(30)),
            ForgeFault::Server { status: 502, retry_after: None },
            ForgeFault::Unavailable { detail: text(), retry_after: Some(Duration::from_secs(7)) },
            ForgeFault::RateLimited { retry_after: Some(Duration::from_secs(7)) },
            ForgeFault::Conflict(text()),
            ForgeFault::NotYet(text()),
            ForgeFault::AuthenticationFailed,
            ForgeFault::TokenExpired(text()),
            ForgeFault::SignIn { at: text() },
            ForgeFault::Gone(text()),
            ForgeFault::Moved { to: text() },
            ForgeFault::SwitchedOff(text()),
            ForgeFault::PermissionDenied { right: "pull request write", detail: text() },
            ForgeFault::NotFound(text()),
            ForgeFault::Exists,
            ForgeFault::NothingToMerge,
            ForgeFault::Invalid(text()),
            ForgeFault::Unsupported(text()),
            ForgeFault::Credentials(text()),
            ForgeFault::Connection(text()),
            ForgeFault::Protocol(text()),
        ] {
            let error = ForgeError {
                operation: "create",
                place: "forge.example/org/repo".to_owned(),
                fault,
            };
            let reason = reason_of_forge(&error.fault);
            assert_eq!(reason.is_permanent(), !error.is_passing(), "{error:?}");
            let fault = Fault::from(error.clone());
            assert_eq!(fault.retry_after, error.retry_after());
            assert!(
                fault.message.starts_with("create on forge.example/org/repo: "),
                "{}",
                fault.message
            );
        }
    }

    #[test]
    fn a_servers_retry_after_reaches_the_schedule() {
        let outcome = Fault::from(GitError::Busy { status: 503, retry_after: Some(90) })
            .into_outcome("main", None);
        assert!(
            matches!(outcome, Outcome::Passing { retry_after: Some(pause), .. } if pause == Duration::from_secs(90))
        );
    }
}
