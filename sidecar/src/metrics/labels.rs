//! The labels of each family.

use std::fmt;

use lockgate_edge::endpoint::PipelineKey;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};

/// A word from a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name(pub(super) &'static str);

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
    }
}

/// One environment of one Pipeline.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct Place {
    pub(super) namespace: String,
    pub(super) pipeline: String,
    pub(super) environment: String,
}

impl Place {
    pub(super) fn new(pipeline: &PipelineKey, environment: &str) -> Self {
        Self {
            namespace: pipeline.namespace().to_owned(),
            pipeline: pipeline.name().to_owned(),
            environment: environment.to_owned(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct DeliveryLabels {
    pub(super) outcome: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct PromotionLabels {
    #[prometheus(flatten)]
    pub(super) to: Place,
    pub(super) strategy: Name,
    pub(super) outcome: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct PhaseLabels {
    #[prometheus(flatten)]
    pub(super) to: Place,
    pub(super) phase: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct StateLabels {
    pub(super) state: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct FailedLabels {
    #[prometheus(flatten)]
    pub(super) to: Place,
    pub(super) reason: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct ForgeLabels {
    pub(super) forge: Name,
    pub(super) operation: Name,
    pub(super) code: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct ValidLabels {
    pub(super) valid: Name,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
pub(super) struct KeyLabels {
    #[prometheus(flatten)]
    pub(super) from: Place,
    pub(super) key: String,
}
