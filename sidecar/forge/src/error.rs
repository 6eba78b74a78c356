//! What goes wrong with a forge, and whether trying again can help.

use std::time::Duration;

use thiserror::Error;

/// A request or an operation that did not succeed. Its text says what was tried, where, and what
/// came of it. It never holds a credential.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{operation} on {place}: {fault}")]
pub struct ForgeError {
    /// What was tried, as it is counted: `find`, `create`, `update`, `close`, `labels`,
    /// `reviewers`, `auto_merge`, `look`, `checks`, `comment`, `connect`.
    pub operation: &'static str,
    /// The repository for people, such as `github.com/org/repo`.
    pub place: String,
    /// What went wrong.
    pub fault: ForgeFault,
}

/// What went wrong.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ForgeFault {
    /// Name, route, connection or TLS.
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// 5xx.
    #[error("the forge answered {status}")]
    Server {
        /// The status.
        status: u16,
        /// What the forge asked for.
        retry_after: Option<Duration>,
    },
    /// An outage that comes with the status of a refusal, such as a server in maintenance that
    /// answers 403.
    #[error("the forge is not available: {detail}")]
    Unavailable {
        /// The forge's own message.
        detail: String,
        /// What the forge asked for.
        retry_after: Option<Duration>,
    },
    /// 429, or 403 with the sign of a limit.
    #[error("the forge's rate limit is used up")]
    RateLimited {
        /// What the forge asked for, or the time until its limit is reset.
        retry_after: Option<Duration>,
    },
    /// Something changed meanwhile (Bitbucket's version, Azure's head): find it again and repeat.
    #[error("it changed meanwhile: {0}")]
    Conflict(String),
    /// The forge is not ready for it (a merge that waits for checks, a push that it has not seen):
    /// repeat.
    #[error("not yet: {0}")]
    NotYet(String),
    /// 401.
    #[error("the credentials were refused")]
    AuthenticationFailed,
    /// The forge says that the token was good and is not any more.
    #[error("the token has expired or was revoked: put a new one into the Secret ({0})")]
    TokenExpired(String),
    /// A sign-in page, or a redirect to one, in place of an answer.
    #[error(
        "the forge answers with a sign-in page ({at}): it does not take this token, or a sign-in \
         proxy stands before its interface, which has to be let through or gone round by apiUrl"
    )]
    SignIn {
        /// Host of the page, or its title.
        at: String,
    },
    /// 403 without a limit.
    #[error("token lacks {right}: {detail}")]
    PermissionDenied {
        /// In words of that forge, such as `pull request write`.
        right: &'static str,
        /// The forge's own message.
        detail: String,
    },
    /// 404: the repository, or a thing in it. A pull request that is known to have been there is
    /// [`ForgeFault::Gone`].
    #[error("{0} does not exist, or the token may not see it")]
    NotFound(String),
    /// The repository answers, and the pull request in it is not there any more.
    #[error("{0} was deleted")]
    Gone(String),
    /// The repository has another address now.
    #[error("the repository has moved to {to}: put that address into the Pipeline")]
    Moved {
        /// As the forge names it: an address or a path.
        to: String,
    },
    /// The repository takes no pull requests: they are switched off, or it is archived.
    #[error("{0}")]
    SwitchedOff(String),
    /// There is an open pull request for these branches.
    #[error("there is an open pull request already")]
    Exists,
    /// The head has no commit that the base does not have.
    #[error("there is nothing to merge")]
    NothingToMerge,
    /// 400, 409 or 422 otherwise; the forge's own message.
    #[error("refused: {0}")]
    Invalid(String),
    /// This forge, or this version of it, cannot do that.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// The credentials are not of a kind that this forge takes; names the Secret keys that are.
    #[error("{0}")]
    Credentials(String),
    /// CA or proxy cannot be used.
    #[error("{0}")]
    Connection(String),
    /// The answer is none of this forge's.
    #[error("unexpected answer: {0}")]
    Protocol(String),
}

impl ForgeError {
    /// Whether trying again later can help without anybody changing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        self.fault.is_passing()
    }

    /// How long the forge wants to be left alone; at most an hour.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.fault {
            ForgeFault::Server { retry_after, .. }
            | ForgeFault::Unavailable { retry_after, .. }
            | ForgeFault::RateLimited { retry_after } => *retry_after,
            _ => None,
        }
    }
}

impl ForgeFault {
    pub(crate) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_)
            | Self::TimedOut(_)
            | Self::Server { .. }
            | Self::Unavailable { .. }
            | Self::RateLimited { .. }
            | Self::Conflict(_)
            | Self::NotYet(_)
            | Self::Protocol(_) => true,
            Self::AuthenticationFailed
            | Self::TokenExpired(_)
            | Self::SignIn { .. }
            | Self::PermissionDenied { .. }
            | Self::NotFound(_)
            | Self::Gone(_)
            | Self::Moved { .. }
            | Self::SwitchedOff(_)
            | Self::Exists
            | Self::NothingToMerge
            | Self::Invalid(_)
            | Self::Unsupported(_)
            | Self::Credentials(_)
            | Self::Connection(_) => false,
        }
    }
}
