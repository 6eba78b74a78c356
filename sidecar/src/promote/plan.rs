//! What the Pipeline says now about one destination: asked once for each promotion and handed down.

use lockgate_core::pipeline::{Incomplete, Strategy, StrategyKind};
use lockgate_core::promotion::{Failure, FailureReason, Promotion};
use lockgate_edge::endpoint::PipelineKey;

use crate::pipelines::Snapshot;
use crate::strategy::{Fence, History, Order, Site, Work};

/// What is to be done about a destination, by the Pipeline of a snapshot.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) step: Step,
    incomplete: Incomplete,
    /// The Secret that the strategy names, whether or not it exists.
    pub(super) secret_ref: Option<String>,
}

#[derive(Debug)]
pub(super) enum Step {
    CarryOut(Work),
    /// This version does not carry out the strategy.
    NotBuilt(StrategyKind),
    Impossible(Failure),
}

impl Plan {
    pub(super) fn of(snapshot: &Snapshot, promotion: &Promotion) -> Self {
        Self::into(snapshot, &promotion.pipeline, &promotion.to)
    }

    pub(super) fn into(snapshot: &Snapshot, key: &PipelineKey, environment: &str) -> Self {
        let changed = |message: String| Self::impossible(FailureReason::PipelineChanged, message);
        let Some(pipeline) = snapshot.pipeline(key) else {
            return match deleted(snapshot, key) {
                Some(failure) => Self {
                    step: Step::Impossible(failure),
                    incomplete: Incomplete::default(),
                    secret_ref: None,
                },
                None => Self::impossible(
                    FailureReason::NotReady,
                    format!("the document of pipeline {key} cannot be read at the moment"),
                ),
            };
        };
        if pipeline.environment(environment).is_none() {
            return changed(format!("pipeline {key} has no environment {environment} any more"));
        }
        let secret = |name: &str| {
            snapshot.secret(key.namespace(), name).cloned().ok_or_else(|| Failure {
                reason: FailureReason::SecretMissing,
                message: format!("Secret {}/{name} does not exist", key.namespace()),
            })
        };
        let rules = pipeline.promotion_into(environment);
        let incomplete = rules.incomplete;
        match rules.strategy {
            Some(Strategy::PullRequest(settings)) => {
                let secret_ref = settings.secret_ref.clone();
                let secret = match &secret_ref {
                    Some(name) => secret(name),
                    None => Err(Failure {
                        reason: FailureReason::SecretMissing,
                        message:
                            "pull-request needs a secretRef: the Secret with a token for the forge"
                                .to_owned(),
                    }),
                };
                let step = secret.map_or_else(Step::Impossible, |secret| {
                    Step::CarryOut(Work::PullRequest { settings, secret })
                });
                Self { step, incomplete, secret_ref }
            }
            Some(Strategy::Git(settings)) => {
                let secret_ref = settings.secret_ref.clone();
                let secret = secret_ref.as_deref().map(secret).transpose();
                let step = secret.map_or_else(Step::Impossible, |secret| {
                    Step::CarryOut(Work::Git { settings, secret })
                });
                Self { step, incomplete, secret_ref }
            }
            Some(Strategy::Notification) => {
                Self { step: Step::CarryOut(Work::Notification), incomplete, secret_ref: None }
            }
            Some(other @ Strategy::Webhook(_)) => {
                Self { step: Step::NotBuilt(other.kind()), incomplete, secret_ref: None }
            }
            None => Self::impossible(
                FailureReason::NoStrategy,
                format!("pipeline {key} has no promotion strategy for {environment}"),
            ),
        }
    }

    /// The repository that it writes to.
    pub(super) fn site(&self) -> Option<Site> {
        match &self.step {
            Step::CarryOut(work) => work.site(),
            Step::NotBuilt(_) | Step::Impossible(_) => None,
        }
    }

    /// The order for a promotion, or why there is none.
    pub(super) fn order(self, promotion: &Promotion, first: bool) -> Result<Order, Failure> {
        match self.step {
            Step::CarryOut(work) => Ok(Order::new(promotion, first, work, Fence::open())
                .with(History::Known, self.incomplete)),
            Step::NotBuilt(kind) => Err(Failure {
                reason: FailureReason::UnsupportedStrategy,
                message: format!("strategy {kind} is not built yet"),
            }),
            Step::Impossible(failure) => Err(failure),
        }
    }

    /// Whether a person has to approve what is promoted into this environment.
    pub(super) fn is_manual(snapshot: &Snapshot, key: &PipelineKey, environment: &str) -> bool {
        snapshot
            .pipeline(key)
            .filter(|pipeline| pipeline.environment(environment).is_some())
            .is_some_and(|pipeline| pipeline.promotion_into(environment).manual)
    }

    fn impossible(reason: FailureReason, message: String) -> Self {
        let step = Step::Impossible(Failure { reason, message });
        Self { step, incomplete: Incomplete::default(), secret_ref: None }
    }
}

/// Why nothing can happen for a Pipeline any more; `None` while it exists, or may exist.
pub(super) fn deleted(snapshot: &Snapshot, key: &PipelineKey) -> Option<Failure> {
    let may_exist = snapshot.pipeline(key).is_some()
        || !snapshot.complete()
        || snapshot.unreadable().contains(key);
    (!may_exist).then(|| Failure {
        reason: FailureReason::PipelineDeleted,
        message: format!("pipeline {key} does not exist any more; create it again to go on"),
    })
}
