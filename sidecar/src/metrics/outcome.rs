//! The closed lists that labels come from.

use lockgate_edge::Charge;

/// What became of a delivery that reached the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryOutcome {
    /// 201: a pull request is there.
    Promoted,
    /// 202: stored, still running or nothing to open.
    Accepted,
    /// The first answer of the same delivery again.
    Duplicate,
    /// 202: authentic, nothing to promote.
    Nothing,
    /// 400: not a Flux event.
    Malformed,
    /// 401: the signed time is outside the window.
    Stale,
    /// 401: the same body under the same key came to another endpoint.
    Replayed,
    /// 422: an event of another object, without a revision, or without a next environment.
    Unprocessable,
    /// 500: the promotion failed for good within the wait.
    Failed,
    /// 503: the filter verified the signature and the sidecar could not, or it does not have the
    /// endpoint.
    Disagree,
    /// 503: the store did not take it.
    Unavailable,
}

impl DeliveryOutcome {
    pub const ALL: [Self; 11] = [
        Self::Promoted,
        Self::Accepted,
        Self::Duplicate,
        Self::Nothing,
        Self::Malformed,
        Self::Stale,
        Self::Replayed,
        Self::Unprocessable,
        Self::Failed,
        Self::Disagree,
        Self::Unavailable,
    ];

    /// Whose limit at the edge such a delivery counts against: the endpoint's only where a copy of
    /// an old message cannot get the same outcome.
    pub fn charge(self) -> Charge {
        match self {
            Self::Promoted
            | Self::Accepted
            | Self::Nothing
            | Self::Unprocessable
            | Self::Failed => Charge::Endpoint,
            Self::Duplicate
            | Self::Malformed
            | Self::Stale
            | Self::Replayed
            | Self::Disagree
            | Self::Unavailable => Charge::Source,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Nothing => "nothing",
            Self::Malformed => "malformed",
            Self::Stale => "stale",
            Self::Replayed => "replayed",
            Self::Unprocessable => "unprocessable",
            Self::Failed => "failed",
            Self::Disagree => "disagree",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What happened to a promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PromotionOutcome {
    Started,
    Waiting,
    TakenUpAgain,
    Retried,
    PullRequestOpen,
    Merged,
    Closed,
    Done,
    Failed,
    Superseded,
    Rejected,
}

impl PromotionOutcome {
    pub const ALL: [Self; 11] = [
        Self::Started,
        Self::Waiting,
        Self::TakenUpAgain,
        Self::Retried,
        Self::PullRequestOpen,
        Self::Merged,
        Self::Closed,
        Self::Done,
        Self::Failed,
        Self::Superseded,
        Self::Rejected,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Waiting => "waiting",
            Self::TakenUpAgain => "taken_up_again",
            Self::Retried => "retried",
            Self::PullRequestOpen => "pull_request_open",
            Self::Merged => "merged",
            Self::Closed => "closed",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Rejected => "rejected",
        }
    }
}

/// How a question of the edge's Sync was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SyncOutcome {
    /// With something new.
    Changed,
    /// With nothing, after the wait.
    Unchanged,
    /// Not at all.
    Failed,
}

impl SyncOutcome {
    pub const ALL: [Self; 3] = [Self::Changed, Self::Unchanged, Self::Failed];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
        }
    }
}

/// A part of a promotion's life that is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// From the delivery's arrival until its intent is durable.
    Accept,
    /// From the intent until a worker takes it.
    Queue,
    /// The work in git.
    Git,
    /// The work on the forge.
    Forge,
    /// From the pull request until it is merged.
    Merge,
    /// From the intent until the version is where it should be: merged, or done.
    Total,
}

impl Phase {
    pub const ALL: [Self; 6] =
        [Self::Accept, Self::Queue, Self::Git, Self::Forge, Self::Merge, Self::Total];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Queue => "queue",
            Self::Git => "git",
            Self::Forge => "forge",
            Self::Merge => "merge",
            Self::Total => "total",
        }
    }
}
