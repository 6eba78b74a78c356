//! Why an attempt failed, and whether trying again can help.

use core::fmt;

use serde::{Deserialize, Serialize};

/// Why an attempt failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// For machines.
    pub reason: FailureReason,
    /// For people; never holds a secret.
    pub message: String,
}

macro_rules! failure_reasons {
    ($($(#[$doc:meta])* $name:ident: $fate:ident,)*) => {
        /// The closed list of reasons for a failed attempt.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum FailureReason { $($(#[$doc])* $name,)* }

        impl FailureReason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The reason's name, in CamelCase.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// Whether trying again cannot help before a Pipeline, a Secret or the repository
            /// changes.
            #[must_use]
            pub fn is_permanent(self) -> bool {
                match self { $(Self::$name => Fate::$fate.is_permanent(),)* }
            }
        }
    };
}

enum Fate {
    Passing,
    Permanent,
}

impl Fate {
    const fn is_permanent(&self) -> bool {
        matches!(self, Self::Permanent)
    }
}

failure_reasons! {
    /// The host cannot be reached: name, route, connection, TLS.
    Unreachable: Passing,
    /// The peer answered too late.
    TimedOut: Passing,
    /// The peer answered 5xx.
    ServerError: Passing,
    /// The peer answered 429.
    RateLimited: Passing,
    /// Somebody else pushed first.
    PushRace: Passing,
    /// Something on the forge changed while it was worked on.
    Conflict: Passing,
    /// The forge is not ready for it.
    NotReady: Passing,
    /// The peer's answer is none that it should give.
    UnexpectedAnswer: Passing,
    /// The local mirror is damaged or the disk is full.
    MirrorUnusable: Passing,
    /// Another process carries promotions out now.
    NotLeader: Passing,
    /// A fault of our own.
    Internal: Passing,
    /// Passing errors lasted longer than `retry.giveUpAfter`.
    GaveUp: Permanent,
    /// The Pipeline is gone.
    PipelineDeleted: Permanent,
    /// The Pipeline has no such environment any more, or promotes in another way.
    PipelineChanged: Permanent,
    /// The first promotion into a destination without history would write a lower version than the
    /// one that stands there.
    BehindField: Permanent,
    /// Some of the marked files can be edited, and some cannot.
    IncompleteMarkers: Permanent,
    /// No strategy applies to the environment.
    NoStrategy: Permanent,
    /// The strategy cannot do what is asked of it.
    UnsupportedStrategy: Permanent,
    /// The Secret does not exist.
    SecretMissing: Permanent,
    /// The Secret has no such key, or its value is unusable.
    SecretKeyMissing: Permanent,
    /// The address is no git address, or not an allowed one.
    InvalidRepositoryUrl: Permanent,
    /// The credentials were refused.
    AuthenticationFailed: Permanent,
    /// The credentials do not allow it.
    PermissionDenied: Permanent,
    /// The server's key is not the known one.
    HostKeyMismatch: Permanent,
    /// There is no such repository.
    RepositoryNotFound: Permanent,
    /// The repository is of a kind that is not read: its hash, or an object that is too large.
    UnsupportedRepository: Permanent,
    /// The repository has no such branch.
    BaseBranchNotFound: Permanent,
    /// No file has the marker.
    MarkerNotFound: Permanent,
    /// A marked file cannot be edited.
    InvalidManifest: Permanent,
    /// The commit cannot be signed.
    SigningFailed: Permanent,
    /// A program that the work needs is not installed.
    ProgramMissing: Permanent,
    /// The promotion branch holds commits that are not ours.
    BranchModified: Permanent,
    /// The pull request was deleted.
    PullRequestDeleted: Permanent,
    /// The server refused the push: a rule or a hook.
    PushRejected: Permanent,
    /// The forge does not do it: its own message says why.
    ForgeRefused: Permanent,
    /// The receiver answered 4xx.
    ReceiverRefused: Permanent,
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
