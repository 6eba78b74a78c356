//! Deliveries: the body of an answer that is no problem, and the outcomes that are kept.

use jiff::Timestamp;
use lockgate_core::promotion::Promotion;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PromotionSummary, wording};

/// The body of a 2xx answer to a delivery.
///
/// With a promotion: `{promotion, message}`, and `promotions` where one event started several.
/// Without: `{promotion: null, reason, message}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AnswerView {
    /// The first promotion; `null` where there was nothing to promote.
    pub promotion: Option<PromotionSummary>,
    /// All of them, where there are several.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub promotions: Vec<PromotionSummary>,
    /// Why there was nothing to promote: CamelCase, from a closed list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// For people: what became of it, and what to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl AnswerView {
    /// An answer that names these promotions as they are now.
    #[must_use]
    pub fn of<'a>(promotions: impl IntoIterator<Item = &'a Promotion>) -> Self {
        let promotions: Vec<&Promotion> = promotions.into_iter().collect();
        let all: Vec<PromotionSummary> =
            promotions.iter().copied().map(PromotionSummary::from).collect();
        Self {
            promotion: all.first().cloned(),
            promotions: if all.len() > 1 { all } else { Vec::new() },
            reason: None,
            message: promotions.first().copied().map(wording::message),
        }
    }

    /// An answer that says why nothing was promoted.
    #[must_use]
    pub fn nothing(reason: &str, message: &str) -> Self {
        Self {
            promotion: None,
            promotions: Vec::new(),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
        }
    }
}

/// What became of a delivery, as `GET /api/v1/deliveries` lists it. The last 50 of each endpoint
/// are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeliveryView {
    /// When it was answered.
    pub at: Timestamp,
    /// `namespace/pipeline/environment`; the environment is the one that reported.
    pub endpoint: String,
    /// `kind/namespace/name` of the object that the event is about; empty where the body is no
    /// event.
    pub object: String,
    /// What the event reports; empty where it reports none.
    pub revision: String,
    /// The HTTP status of the answer.
    pub status: u16,
    /// CamelCase, from a closed list: the reason of a refusal or of a promotion that did not begin,
    /// or the state of the promotion.
    pub reason: String,
    /// The promotion's id; absent where there was nothing to promote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<String>,
}
