//! What can go wrong between a promotion and its repository, sorted by who can do something about
//! it.

use thiserror::Error;

use crate::commit_id::CommitId;

/// A failed git operation.
///
/// The text names the branch, file or address it is about and never holds a credential.
/// [`GitError::is_passing`] tells whether trying again can help without anybody changing anything.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum GitError {
    /// No connection, a broken one, or an answer that stopped in the middle.
    #[error("the repository cannot be reached: {detail}")]
    Unreachable {
        /// What the network, or the ssh program, said.
        detail: String,
    },
    /// The server took longer than the limit of one operation.
    #[error("the repository did not answer in time")]
    TimedOut,
    /// The server asks for fewer requests, or is busy.
    #[error("the server refused for now with HTTP status {status}")]
    Busy {
        /// HTTP status, 429 or 5xx.
        status: u16,
        /// `Retry-After` of the answer, in seconds; at most an hour.
        retry_after: Option<u64>,
    },
    /// The server wants other credentials, or any.
    #[error("the repository refused the credentials (or wants some and none are configured)")]
    AuthenticationFailed,
    /// The server knows the account, and it may not do this: a token that only reads, for one.
    #[error("the credentials lack a right on {repository}: {detail}")]
    PermissionDenied {
        /// Scheme, host and path.
        repository: String,
        /// The server's words.
        detail: String,
    },
    /// The ssh server's key is not in `known_hosts`.
    #[error("the ssh host key is not the one in known_hosts")]
    HostKeyRejected,
    /// The credentials do not fit the address.
    #[error("unusable credentials: {detail}")]
    InvalidCredentials {
        /// What is missing or wrong, never a value.
        detail: String,
    },
    /// No such repository, or it is hidden from these credentials.
    #[error("the repository does not exist or these credentials cannot see it")]
    RepositoryNotFound,
    /// The server sends to another address; credentials never follow.
    #[error("the repository moved to {to}: put that address into the Pipeline")]
    Redirected {
        /// Scheme, host and path of the new address.
        to: String,
    },
    /// The server answers with a page, as it does for somebody who is to sign in.
    #[error(
        "the server answers with a page ({page}) and not as a repository, which is how many ask \
         people to sign in: check the token and the address, in the Secret and the Pipeline"
    )]
    SignInPage {
        /// Scheme, host and path of the page.
        page: String,
    },
    /// The base branch is missing, or the repository is empty.
    #[error("branch {branch} does not exist in the repository")]
    BaseBranchNotFound {
        /// The branch as the Pipeline names it.
        branch: String,
    },
    /// SHA-256 repositories are not supported.
    #[error("the repository uses {hash} object ids, only sha1 is supported")]
    UnsupportedHash {
        /// The hash the server announced.
        hash: String,
    },
    /// The repository holds an object that would not fit into memory.
    #[error("the repository holds an object of more than {} MiB, which is not read: keep such files in Git LFS", limit / (1024 * 1024))]
    ObjectTooLarge {
        /// Tip of the base branch that was to be fetched.
        tip: CommitId,
        /// Largest object that is read, in bytes.
        limit: u64,
    },
    /// What the server said is not git's protocol.
    #[error("the server does not speak git's protocol as expected: {detail}")]
    Protocol { detail: String },
    /// Somebody moved the branch between fetch and push.
    #[error("branch {branch} moved while its commit was prepared")]
    PushRace {
        /// The branch that was to be pushed.
        branch: String,
    },
    /// The branch and another one cannot exist side by side: one is a folder of the other.
    #[error(
        "branch {branch} cannot be made while the repository has branch {by}: git keeps one as a \
         folder of the other; delete or rename {by}"
    )]
    BranchBlocked {
        /// The branch that was to be pushed.
        branch: String,
        /// The branch in its way.
        by: String,
    },
    /// A hook or a protection rule of the server said no.
    #[error("the server refused the push to {branch}: {reason}")]
    PushRejected {
        /// The branch that was to be pushed.
        branch: String,
        /// The server's words.
        reason: String,
    },
    /// A manifest cannot take the new value.
    #[error("{path}:{line}: {reason}")]
    InvalidManifest {
        /// Path in the repository.
        path: String,
        /// Line, from 1.
        line: usize,
        reason: String,
    },
    /// The commit could not be signed.
    #[error("the commit cannot be signed: {detail}")]
    SigningFailed {
        /// What the signing program said.
        detail: String,
    },
    /// The mirror on disk is damaged; the next fetch builds a new one.
    #[error("the local mirror is damaged and will be rebuilt: {detail}")]
    MirrorDamaged {
        /// What could not be read.
        detail: String,
    },
    /// The operating system refused a read or write in the mirror's folder.
    #[error("the local mirror cannot be used: {detail}")]
    Storage {
        /// What the operating system said.
        detail: String,
    },
    /// A program that git over ssh, local repositories or signing need is missing.
    #[error("the program {program} cannot be started: {detail}")]
    ProgramMissing {
        program: String,
        /// What the operating system said.
        detail: String,
    },
}

impl GitError {
    /// Whether the same call may succeed later although nobody changed a Pipeline, a Secret or the
    /// repository's settings.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::TimedOut
            | Self::Busy { .. }
            | Self::Protocol { .. }
            | Self::PushRace { .. }
            | Self::MirrorDamaged { .. }
            | Self::Storage { .. } => true,
            Self::AuthenticationFailed
            | Self::PermissionDenied { .. }
            | Self::HostKeyRejected
            | Self::InvalidCredentials { .. }
            | Self::RepositoryNotFound
            | Self::Redirected { .. }
            | Self::BaseBranchNotFound { .. }
            | Self::UnsupportedHash { .. }
            | Self::ObjectTooLarge { .. }
            | Self::SignInPage { .. }
            | Self::BranchBlocked { .. }
            | Self::PushRejected { .. }
            | Self::InvalidManifest { .. }
            | Self::SigningFailed { .. }
            | Self::ProgramMissing { .. } => false,
        }
    }

    /// A fault of the local disk.
    pub(crate) fn storage(what: &str, error: &std::io::Error) -> Self {
        Self::Storage { detail: format!("{what}: {error}") }
    }

    /// Something in the mirror that should be readable is not.
    pub(crate) fn damaged(detail: impl std::fmt::Display) -> Self {
        Self::MirrorDamaged { detail: detail.to_string() }
    }
}
