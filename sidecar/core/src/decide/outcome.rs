//! Why an event is refused, or starts nothing.

use jiff::Timestamp;

use crate::event::EventError;
use crate::revision::RevisionError;
use lockgate_edge::endpoint::PipelineKey;

/// Why an authentic event cannot be used. The texts of 422 are the original's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The body is not a Flux event: 400.
    #[error("{0}")]
    BadEvent(EventError),
    /// It was made too long ago: 401.
    #[error(
        "event of {time} is too old: check the clock (NTP) of the sending cluster; if that is right, \
         somebody sends an old message again"
    )]
    TooOld {
        /// The event's time.
        time: Timestamp,
    },
    /// It was made in the future: 401.
    #[error(
        "event of {time} is from the future: check the clocks (NTP) of the sending cluster and of \
         the sidecar"
    )]
    FromTheFuture {
        /// The event's time.
        time: Timestamp,
    },
    /// The pipeline has no such environment: 422.
    #[error("app {pipeline} has no environment {environment} defined")]
    UnknownEnvironment {
        /// The pipeline.
        pipeline: PipelineKey,
        /// What was asked for.
        environment: String,
    },
    /// The involved object is not the `appRef` in a namespace of the environment's targets: 422.
    #[error("involved object does not match Pipeline definition")]
    NotThePipelinesObject,
    /// No usable revision: 422.
    #[error("{0}")]
    BadRevision(RevisionError),
    /// Nothing comes after this environment: 422.
    #[error("cannot promote beyond last environment {environment}")]
    LastEnvironment {
        /// The environment that reported.
        environment: String,
    },
    /// The next environment has no target: 422.
    #[error("environment {environment} has no targets")]
    NoTargets {
        /// The next environment.
        environment: String,
    },
}

impl Refusal {
    /// The HTTP status. With 401 the caller gets the constant body, never [`Refusal::message`].
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::BadEvent(_) => 400,
            Self::TooOld { .. } | Self::FromTheFuture { .. } => 401,
            Self::UnknownEnvironment { .. }
            | Self::NotThePipelinesObject
            | Self::BadRevision(_)
            | Self::LastEnvironment { .. }
            | Self::NoTargets { .. } => 422,
        }
    }

    /// The refusal's name for metrics and conditions.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::BadEvent(error) => error.reason(),
            Self::TooOld { .. } => "TooOld",
            Self::FromTheFuture { .. } => "FromTheFuture",
            Self::UnknownEnvironment { .. } => "UnknownEnvironment",
            Self::NotThePipelinesObject => "InvolvedObject",
            Self::BadRevision(error) => error.reason(),
            Self::LastEnvironment { .. } => "LastEnvironment",
            Self::NoTargets { .. } => "NoTargets",
        }
    }

    /// The text for the caller.
    #[must_use]
    pub fn message(&self) -> String {
        self.to_string()
    }
}

/// Why a good event starts nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NothingReason {
    /// It does not report a success.
    NotASuccess,
    /// The same object has reported something newer.
    Stale,
    /// A cluster that lags behind reports what has been overtaken.
    Behind,
    /// The object repeats what has been promoted.
    AlreadyPromoted,
    /// The object repeats what is being promoted, or waits.
    AlreadyStarted,
    /// The object repeats what a person said no to.
    Declined,
    /// Other targets of the environment do not have the revision yet.
    WaitingForTargets,
}

impl NothingReason {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::NotASuccess,
        Self::Stale,
        Self::Behind,
        Self::AlreadyPromoted,
        Self::AlreadyStarted,
        Self::Declined,
        Self::WaitingForTargets,
    ];

    /// The reason's name, in CamelCase.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotASuccess => "NotASuccess",
            Self::Stale => "Stale",
            Self::Behind => "Behind",
            Self::AlreadyPromoted => "AlreadyPromoted",
            Self::AlreadyStarted => "AlreadyStarted",
            Self::Declined => "Declined",
            Self::WaitingForTargets => "WaitingForTargets",
        }
    }
}
