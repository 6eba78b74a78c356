//! A promotion and its life.
//!
//! ```text
//! WaitingApproval ─ approved ─▶ Pending ◀──────── passing error, restart ────────┐
//!        │ rejected              │  ▲                                            │
//!        ▼                       ▼  └── taken up again ── Failed ◀─ permanent ─ Running ─▶ Done
//!     Rejected                 Running                                           │
//!                                                              PullRequestOpen ◀─┘ ─▶ Merged | Closed
//! ```
//!
//! Every unfinished state can become `Superseded`; a pull request that was open then is disarmed
//! and closed behind it ([`Cleanup`]). All transitions are in [`Promotion::apply`]. Nothing else
//! changes a state, so a worker that comes too late (its promotion was superseded while it ran)
//! gets a [`TransitionError`] and changes nothing.
//!
//! All that has to survive is in the record: when the pull request is polled next, the tip of the
//! base branch that a failed attempt saw, who runs it. A store needs columns only to find records.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::event::{Event, ObjectRef};
use crate::pipeline::{StrategyKind, TargetId};
use crate::revision::{Revision, Version};
use lockgate_edge::endpoint::PipelineKey;

mod apply;
mod change;
mod failure;
mod id;
mod owner;
mod seen;
mod state;

pub use change::{Change, Success, TransitionError};
pub use failure::{Failure, FailureReason};
pub use id::{PromotionId, PromotionIdError};
pub use owner::{Owner, OwnerError};
pub use seen::Seen;
pub use state::{Cleanup, Poll, State};

/// A pull request as a promotion remembers it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PullRequestRecord {
    /// Address for people.
    pub url: String,
    /// Number in its repository.
    pub number: u64,
    /// Its repository, such as `github.com/org/repo`: the number means nothing elsewhere.
    pub repository: String,
    /// The branch it comes from.
    pub branch: String,
    /// The commit on that branch that carries the version.
    pub commit: String,
    /// Since when it carries the version.
    pub opened_at: Timestamp,
    /// Whether the forge was asked to merge it by itself.
    pub auto_merge: bool,
    /// Whether a poll has seen that it does, since the last push.
    #[serde(default)]
    pub merging_seen: bool,
}

/// What was done without a pull request.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoneDetail {
    /// The commit that carries the version, if one was made or found.
    pub commit: Option<String>,
    /// The branch it was pushed to.
    pub branch: Option<String>,
    /// Text for people, such as `already at 1.2.3`.
    pub message: String,
}

/// The event that led to a promotion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventSummary {
    /// Identity of the delivery.
    pub id: String,
    /// The event's reason.
    pub reason: String,
    /// The event's time.
    pub time: Timestamp,
    /// The object that reported.
    pub involved_object: ObjectRef,
}

impl EventSummary {
    /// The summary of an event that came in a delivery.
    #[must_use]
    pub fn new(delivery: &str, event: &Event) -> Self {
        Self {
            id: delivery.to_owned(),
            reason: event.reason.clone(),
            time: event.timestamp,
            involved_object: event.involved_object.clone(),
        }
    }
}

/// What a new promotion is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The pipeline.
    pub pipeline: PipelineKey,
    /// The environment that reported.
    pub from: String,
    /// The environment to bring to the revision.
    pub to: String,
    /// One target of it, with `per: target`.
    pub target: Option<TargetId>,
    /// What was reported.
    pub revision: Revision,
    /// What is written.
    pub version: Version,
    /// How, as the pipeline says now.
    pub strategy: Option<StrategyKind>,
    /// Why.
    pub event: EventSummary,
}

/// One intent to bring an environment, or one target of it, to a revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Promotion {
    /// Identity.
    pub id: PromotionId,
    /// The pipeline.
    pub pipeline: PipelineKey,
    /// The environment that reported.
    pub from: String,
    /// The environment to bring to the revision.
    pub to: String,
    /// One target of it, with `per: target`.
    pub target: Option<TargetId>,
    /// What was reported.
    pub revision: Revision,
    /// What is written.
    pub version: Version,
    /// Where it is in its life.
    pub state: State,
    /// How, as the pipeline said when it began; `None` where no strategy applied.
    pub strategy: Option<StrategyKind>,
    /// Why.
    pub event: EventSummary,
    /// Who approved it, where a person had to.
    #[serde(default)]
    pub approved_by: Option<String>,
    /// Nothing had ever been brought to the destination when it was made: a version that stands
    /// there may be later than this one.
    #[serde(default)]
    pub first_here: bool,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is worked on: made, approved or taken up again. Patience is counted from here.
    pub taken_up_at: Timestamp,
    /// When its state last changed.
    pub updated_at: Timestamp,
}

impl Promotion {
    /// A new promotion: to be worked on at once, or after an approval.
    #[must_use]
    pub fn new(id: PromotionId, intent: Intent, waiting: bool, now: Timestamp) -> Self {
        Self {
            id,
            pipeline: intent.pipeline,
            from: intent.from,
            to: intent.to,
            target: intent.target,
            revision: intent.revision,
            version: intent.version,
            state: if waiting { State::WaitingApproval } else { State::fresh(now) },
            strategy: intent.strategy,
            event: intent.event,
            approved_by: None,
            first_here: false,
            created_at: now,
            taken_up_at: now,
            updated_at: now,
        }
    }

    /// Whether nothing has happened to it since it was made.
    #[must_use]
    pub fn is_untouched(&self) -> bool {
        self.updated_at == self.created_at
    }
}
