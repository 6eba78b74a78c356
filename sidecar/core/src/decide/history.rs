//! What a decision has to know of the past, and what it leaves behind.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::pipeline::TargetId;
use crate::promotion::{PromotionId, State};
use crate::revision::Revision;
use lockgate_edge::endpoint::Endpoint;

/// What to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryQuery {
    /// The endpoint that the event came to.
    pub endpoint: Endpoint,
    /// Identity of the reporting object.
    pub uid: String,
    /// What it reports.
    pub revision: Revision,
    /// The environment that would be promoted to.
    pub to_environment: String,
    /// One [`TargetHistory`] is wanted for each: `None` is the environment as a whole.
    pub targets: Vec<Option<TargetId>>,
    /// Whether [`History::deployed`] is wanted.
    pub deployed: bool,
}

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The last record of (endpoint, uid).
    pub object: Option<ObjectRecord>,
    /// Target of the reporting environment → the revision of its last record by arrival, for
    /// records of this endpoint whose target is known. Needed only for
    /// `after: all`, else empty.
    pub deployed: BTreeMap<TargetId, Revision>,
    /// One for each of the query's targets, in its order.
    pub promotions: Vec<TargetHistory>,
}

/// What an object reported last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectRecord {
    /// Identity of the object.
    pub uid: String,
    /// What it reported.
    pub revision: Revision,
    /// When, by its cluster's clock.
    pub event_time: Timestamp,
    /// Kubernetes' counter of its changes; empty if unknown.
    pub resource_version: String,
    /// The target it is in, if that is known.
    pub target: Option<TargetId>,
}

/// The promotions into one destination.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TargetHistory {
    /// The destination: `None` is the environment as a whole.
    pub target: Option<TargetId>,
    /// The newest promotion.
    pub latest: Option<Latest>,
    /// Whether there ever was a promotion of the query's revision here.
    pub ever_promoted: bool,
    /// Whether the query's object ever reported the latest promotion's revision.
    pub object_reported_latest: bool,
}

/// The newest promotion into a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latest {
    /// Identity.
    pub id: PromotionId,
    /// Its revision.
    pub revision: Revision,
    /// How far it is.
    pub state: LatestState,
}

/// As much of a state as a decision and its answer ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatestState {
    /// Unfinished: a person has to approve it.
    Waiting,
    /// Unfinished: it is worked on, or will be.
    Active,
    /// Unfinished: its pull request is open.
    Open,
    /// Carried out: merged, or done without a pull request.
    Promoted,
    /// A person closed its pull request.
    Closed,
    /// A person rejected it.
    Rejected,
    /// It can be taken up again.
    Failed,
    /// A newer one took its place.
    Superseded,
}

impl LatestState {
    /// Whether a new promotion supersedes it.
    #[must_use]
    pub fn is_unfinished(self) -> bool {
        matches!(self, Self::Waiting | Self::Active | Self::Open)
    }
}

impl From<&State> for LatestState {
    fn from(state: &State) -> Self {
        match state {
            State::WaitingApproval => Self::Waiting,
            State::Pending { .. } | State::Running { .. } => Self::Active,
            State::PullRequestOpen { .. } => Self::Open,
            State::Merged { .. } | State::Done(_) => Self::Promoted,
            State::Closed { .. } => Self::Closed,
            State::Rejected => Self::Rejected,
            State::Failed { .. } => Self::Failed,
            State::Superseded { .. } => Self::Superseded,
        }
    }
}
