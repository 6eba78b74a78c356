//! A promotion: whole, and as the answer to a delivery names it.

use std::fmt;

use jiff::Timestamp;
use lockgate_core::event::ObjectRef;
use lockgate_core::promotion::{EventSummary, Failure, Promotion, PullRequestRecord, State};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::wording;

/// A promotion, as `GET /api/v1/promotions` lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromotionView {
    /// A UUID of version 7, so ids sort by the time of their making.
    pub id: String,
    pub namespace: String,
    pub pipeline: String,
    /// The environment that reported.
    pub from: String,
    /// The environment that is promoted to.
    pub to: String,
    /// `namespace` or `cluster/namespace`; absent where the promotion is for the whole environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// What the event reports.
    pub revision: String,
    /// What is written.
    pub version: String,
    pub state: StateName,
    /// CamelCase, from a closed list; empty where nothing went wrong.
    pub reason: String,
    /// For people: what happened, and what to do next.
    pub message: String,
    /// Attempts so far; `null` once the promotion has ended or waits for a person.
    pub attempts: Option<u32>,
    pub next_attempt_at: Option<Timestamp>,
    pub event: EventView,
    /// The commit that carries the version; on the base branch once it is merged, where the forge
    /// says so.
    pub commit: Option<String>,
    /// The branch that the commit was pushed to.
    pub branch: Option<String>,
    pub pull_request: Option<PullRequestView>,
    pub created_at: Timestamp,
    /// When the state last changed.
    pub updated_at: Timestamp,
}

/// A promotion in the answer to a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromotionSummary {
    pub id: String,
    pub state: StateName,
    pub revision: String,
    pub version: String,
    pub from: String,
    pub to: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_request: Option<PullRequestView>,
}

/// The event that led to a promotion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// SHA-256 of the delivery's body, in hex.
    pub id: String,
    pub reason: String,
    /// By the clock of the reporting cluster, in whole seconds.
    pub time: Timestamp,
    pub involved_object: InvolvedObjectView,
}

/// The object that an event is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InvolvedObjectView {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub name: String,
    /// Empty where the sender gave none.
    pub uid: String,
    /// Empty where the sender gave none.
    pub resource_version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PullRequestView {
    pub url: String,
    pub number: u64,
    pub state: PullRequestState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PullRequestState {
    Open,
    Merged,
    Closed,
}

/// The name of a promotion's state: [`State`] without what belongs to it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum StateName {
    WaitingApproval,
    Pending,
    Running,
    PullRequestOpen,
    Merged,
    Closed,
    Done,
    Failed,
    Superseded,
    Rejected,
}

impl From<&State> for StateName {
    fn from(state: &State) -> Self {
        match state {
            State::WaitingApproval => Self::WaitingApproval,
            State::Pending { .. } => Self::Pending,
            State::Running { .. } => Self::Running,
            State::PullRequestOpen { .. } => Self::PullRequestOpen,
            State::Merged { .. } => Self::Merged,
            State::Closed { .. } => Self::Closed,
            State::Done(_) => Self::Done,
            State::Failed { .. } => Self::Failed,
            State::Superseded { .. } => Self::Superseded,
            State::Rejected => Self::Rejected,
        }
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The variants are the names.
        fmt::Debug::fmt(self, f)
    }
}

impl From<&Promotion> for PromotionView {
    fn from(promotion: &Promotion) -> Self {
        let status = Status::of(promotion);
        Self {
            id: promotion.id.to_string(),
            namespace: promotion.pipeline.namespace().to_owned(),
            pipeline: promotion.pipeline.name().to_owned(),
            from: promotion.from.clone(),
            to: promotion.to.clone(),
            target: promotion.target.as_ref().map(ToString::to_string),
            revision: promotion.revision.to_string(),
            version: promotion.version.to_string(),
            state: StateName::from(&promotion.state),
            reason: status.reason.to_owned(),
            message: status.message,
            attempts: status.attempts,
            next_attempt_at: status.next_attempt_at,
            event: EventView::from(&promotion.event),
            commit: status.commit,
            branch: status.branch,
            pull_request: status.pull_request,
            created_at: promotion.created_at,
            updated_at: promotion.updated_at,
        }
    }
}

impl From<&Promotion> for PromotionSummary {
    fn from(promotion: &Promotion) -> Self {
        let status = Status::of(promotion);
        Self {
            id: promotion.id.to_string(),
            state: StateName::from(&promotion.state),
            revision: promotion.revision.to_string(),
            version: promotion.version.to_string(),
            from: promotion.from.clone(),
            to: promotion.to.clone(),
            target: promotion.target.as_ref().map(ToString::to_string),
            commit: status.commit,
            branch: status.branch,
            pull_request: status.pull_request,
        }
    }
}

impl From<&EventSummary> for EventView {
    fn from(event: &EventSummary) -> Self {
        Self {
            id: event.id.clone(),
            reason: event.reason.clone(),
            time: event.time,
            involved_object: InvolvedObjectView::from(&event.involved_object),
        }
    }
}

impl From<&ObjectRef> for InvolvedObjectView {
    fn from(object: &ObjectRef) -> Self {
        Self {
            api_version: object.api_version.clone(),
            kind: object.kind.clone(),
            namespace: object.namespace.clone(),
            name: object.name.clone(),
            uid: object.uid.clone(),
            resource_version: object.resource_version.clone(),
        }
    }
}

/// What a state says beside its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    /// CamelCase; empty where nothing went wrong.
    pub(super) reason: &'static str,
    pub(super) message: String,
    attempts: Option<u32>,
    next_attempt_at: Option<Timestamp>,
    commit: Option<String>,
    branch: Option<String>,
    pull_request: Option<PullRequestView>,
}

impl Status {
    pub(super) fn of(promotion: &Promotion) -> Self {
        let message = wording::message(promotion);
        let status = match &promotion.state {
            State::Pending { attempts, next_attempt_at, last_error, .. } => Self {
                reason: reason(last_error.as_ref()),
                attempts: Some(*attempts),
                next_attempt_at: Some(*next_attempt_at),
                ..Self::default()
            },
            State::Running { attempt, last_error, .. } => Self {
                reason: reason(last_error.as_ref()),
                attempts: Some(*attempt),
                ..Self::default()
            },
            State::PullRequestOpen { pull, incomplete, unfollowed, .. } => Self {
                reason: reason(unfollowed.as_ref().or(incomplete.as_ref())),
                ..Self::with(pull, PullRequestState::Open)
            },
            State::Merged { pull, commit, .. } => {
                let status = Self::with(pull, PullRequestState::Merged);
                Self { commit: commit.clone().or(status.commit), ..status }
            }
            State::Closed { pull } => Self::with(pull, PullRequestState::Closed),
            State::Done(detail) => Self {
                commit: detail.commit.clone(),
                branch: detail.branch.clone(),
                ..Self::default()
            },
            State::Failed { failure, .. } => {
                Self { reason: reason(Some(failure)), ..Self::default() }
            }
            State::Superseded { .. } => Self { reason: "Superseded", ..Self::default() },
            State::WaitingApproval | State::Rejected => Self::default(),
        };
        Self { message, ..status }
    }

    fn with(pull: &PullRequestRecord, state: PullRequestState) -> Self {
        Self {
            commit: Some(pull.commit.clone()),
            branch: Some(pull.branch.clone()),
            pull_request: Some(PullRequestView {
                url: pull.url.clone(),
                number: pull.number,
                state,
            }),
            ..Self::default()
        }
    }
}

fn reason(failure: Option<&Failure>) -> &'static str {
    failure.map_or("", |failure| failure.reason.as_str())
}
