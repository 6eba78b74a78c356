//! What people and programs see, as typed values: the JSON API, the command line and the answers
//! to deliveries are made of these structs, and nothing else names their fields.
//!
//! - Every value is made by a pure function from core's types. A field holds text, a number or a
//!   time, never a core type: core's own serialisation is what the ledger keeps, and may change
//!   without a change of what is shown.
//! - The shapes are contracts. A golden file under `view/tests/snapshots` holds each of them.
//! - [`wording`] holds every sentence that says what a state means and what to do next.

mod delivery;
mod event;
mod pipeline;
mod problem;
mod promotion;
mod wording;

#[cfg(test)]
pub(crate) mod tests;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use self::{
    delivery::{AnswerView, DeliveryView},
    event::{Entry, NumberedEntry},
    pipeline::{AppView, EnvironmentView, PipelineView, PromotionRulesView, TargetView},
    problem::{ObjectName, ProblemView, SeverityView},
    promotion::{
        EventView, InvolvedObjectView, PromotionSummary, PromotionView, PullRequestState,
        PullRequestView, StateName,
    },
    wording::{message, next_step, remedy, second_chance},
};

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// The value of `continue` in the question for the next page; `null` on the last one.
    pub r#continue: Option<String>,
}
