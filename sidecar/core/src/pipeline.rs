//! The `Pipeline` resource: one application, its environments in order, and how it is promoted.
//!
//! A document becomes a [`Pipeline`] in one step ([`Pipeline::from_value`]); what it holds is
//! checked and typed. Which promotion settings apply to an environment is decided here and nowhere
//! else: [`Pipeline::promotion_into`] and [`Pipeline::endpoint_rules`].

use core::fmt;
use core::str::FromStr;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use lockgate_edge::endpoint::{Endpoint, PipelineKey, is_dns_label, is_dns_subdomain};
use lockgate_edge::limit::RateLimit;

mod choice;
pub(crate) mod document;
mod lint;
mod neighbours;
mod parse;
mod strategy;

pub use document::{FieldError, Loaded};
pub use lint::{DefaultLimit, Finding, Severity, lint};
pub use neighbours::Neighbours;
pub use strategy::{
    DEFAULT_BASE_BRANCH, Forge, GitStrategy, MergeMethod, PullRequest, Push, Strategy,
    StrategyKind, Webhook,
};

/// API group and version of the resource, as the original's.
pub const API_VERSION: &str = "pipelines.weave.works/v1alpha1";
/// Kind of the resource.
pub const KIND: &str = "Pipeline";

/// A pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipeline {
    key: PipelineKey,
    app_ref: AppRef,
    environments: Vec<Environment>,
    promotion: Option<PromotionSpec>,
}

/// The object that a pipeline promotes, in each of its targets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AppRef {
    /// API group; empty for Kubernetes' core group.
    pub group: String,
    /// API version; not compared, so that an upgrade of Flux breaks nothing.
    pub version: String,
    /// Such as `HelmRelease`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// One step of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// Its name, unique in the pipeline; case matters.
    pub name: String,
    /// Where the application runs; may be empty.
    pub targets: Vec<Target>,
    promotion: Option<PromotionSpec>,
}

/// A namespace that runs the application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The namespace.
    pub namespace: String,
    /// Its cluster; `None` is the one that Lockgate runs in.
    pub cluster_ref: Option<ClusterRef>,
}

impl Target {
    /// What distinguishes this target from others of its environment.
    #[must_use]
    pub fn id(&self) -> TargetId {
        TargetId {
            cluster: self.cluster_ref.as_ref().map(|cluster| cluster.name.clone()),
            namespace: self.namespace.clone(),
        }
    }
}

/// The `GitopsCluster` that a target is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterRef {
    /// Its name.
    pub name: String,
    /// Its namespace, if it is not the pipeline's.
    pub namespace: Option<String>,
}

/// Identity of a target inside its environment, written `namespace` or `cluster/namespace`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TargetId {
    cluster: Option<String>,
    namespace: String,
}

impl TargetId {
    /// The cluster's name.
    #[must_use]
    pub fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.cluster {
            Some(cluster) => write!(f, "{cluster}/{}", self.namespace),
            None => f.write_str(&self.namespace),
        }
    }
}

impl FromStr for TargetId {
    type Err = TargetIdError;
    fn from_str(text: &str) -> Result<Self, TargetIdError> {
        let (cluster, namespace) = text
            .split_once('/')
            .map_or((None, text), |(cluster, namespace)| (Some(cluster), namespace));
        if !is_dns_label(namespace) || cluster.is_some_and(|cluster| !is_dns_subdomain(cluster)) {
            return Err(TargetIdError);
        }
        Ok(Self { cluster: cluster.map(str::to_owned), namespace: namespace.to_owned() })
    }
}

impl TryFrom<String> for TargetId {
    type Error = TargetIdError;
    fn try_from(text: String) -> Result<Self, TargetIdError> {
        text.parse()
    }
}

impl From<TargetId> for String {
    fn from(target: TargetId) -> Self {
        target.to_string()
    }
}

/// A text is not the identity of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a target as namespace or cluster/namespace")]
pub struct TargetIdError;

/// Reasons of an event that count as a success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reasons(BTreeSet<String>);

impl Reasons {
    /// The reasons for which Flux's controllers say that a deployment is in place and healthy. Not
    /// among them: `RollbackSucceeded`, `UninstallSucceeded` and `DriftCorrected`, which have
    /// severity info too.
    pub const DEFAULT: [&'static str; 4] =
        ["InstallSucceeded", "UpgradeSucceeded", "TestSucceeded", "ReconciliationSucceeded"];

    /// Exactly these reasons.
    #[must_use]
    pub fn new<S: Into<String>>(reasons: impl IntoIterator<Item = S>) -> Self {
        Self(reasons.into_iter().map(Into::into).collect())
    }

    /// Whether a reason is among them; case matters.
    #[must_use]
    pub fn contains(&self, reason: &str) -> bool {
        self.0.contains(reason)
    }

    /// In alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Default for Reasons {
    fn default() -> Self {
        Self::new(Self::DEFAULT)
    }
}

/// How many targets of the reporting environment must have the revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum After {
    /// One is enough (rule 2 of RFC-0003).
    #[default]
    Any,
    /// All of them.
    All,
}

/// How many promotions a revision makes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Per {
    /// One for the environment, as the original.
    #[default]
    Environment,
    /// One for each of its targets (rule 1 of RFC-0003).
    Target,
}

/// What becomes of a promotion that can edit only some of its marked places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Incomplete {
    /// It fails, and nothing is pushed.
    #[default]
    Refuse,
    /// It goes on without them, and says so.
    Allow,
}

/// The `promotion` of a pipeline or of one environment, as written: `None` falls back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct PromotionSpec {
    manual: Option<bool>,
    strategy: Option<Strategy>,
    secret_ref: Option<String>,
    rate_limit: Option<RateLimit>,
    reasons: Option<Reasons>,
    after: Option<After>,
    per: Option<Per>,
    incomplete: Option<Incomplete>,
}

/// The promotion settings that apply to an environment, after all fallbacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromotionRules {
    /// A person has to approve.
    pub manual: bool,
    /// How it is carried out; `None` where the pipeline says nothing.
    pub strategy: Option<Strategy>,
    /// The Secret with the HMAC keys.
    pub secret_ref: Option<String>,
    /// The endpoint's own limit.
    pub rate_limit: Option<RateLimit>,
    /// Which events are a success.
    pub reasons: Reasons,
    /// How many targets of the reporting environment must have the revision.
    pub after: After,
    /// How many promotions a revision makes.
    pub per: Per,
    /// What becomes of half a promotion.
    pub incomplete: Incomplete,
}

/// What the edge needs to know of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointRules {
    /// The Secret with the HMAC keys, in the pipeline's namespace. `None`: the endpoint does not
    /// exist.
    pub secret_ref: Option<String>,
    /// Its own limit.
    pub rate_limit: Option<RateLimit>,
}

impl Pipeline {
    /// Reads a document. Strict inside `spec`; any `metadata` is fine and `status` is ignored.
    ///
    /// # Errors
    /// Everything that is wrong, each with its path.
    pub fn from_value(document: &Value) -> Result<Loaded<Self>, Vec<FieldError>> {
        parse::pipeline(document)
    }

    /// Namespace and name.
    #[must_use]
    pub fn key(&self) -> &PipelineKey {
        &self.key
    }

    /// The object that is promoted.
    #[must_use]
    pub fn app_ref(&self) -> &AppRef {
        &self.app_ref
    }

    /// In order of promotion; at least one.
    #[must_use]
    pub fn environments(&self) -> &[Environment] {
        &self.environments
    }

    /// The environment of a name.
    #[must_use]
    pub fn environment(&self, name: &str) -> Option<&Environment> {
        self.environments.iter().find(|environment| environment.name == name)
    }

    /// The environment that one promotes to; `None` for the last and for an unknown one.
    #[must_use]
    pub fn next(&self, name: &str) -> Option<&Environment> {
        self.environments.iter().skip_while(|environment| environment.name != name).nth(1)
    }

    /// The settings for a promotion *into* an environment.
    ///
    /// `strategy` and `manual` of the environment's own `promotion` replace the pipeline's
    /// together; the others fall back one by one. Where the environment names no strategy, the
    /// pipeline's stands, and `manual` falls back too.
    #[must_use]
    pub fn promotion_into(&self, environment: &str) -> PromotionRules {
        let own =
            self.environment(environment).and_then(|environment| environment.promotion.as_ref());
        Self::rules(own, self.promotion.as_ref())
    }

    /// Where in the document the `promotion` stands whose strategy is that of
    /// [`Pipeline::promotion_into`].
    #[must_use]
    pub fn strategy_path(&self, environment: &str) -> String {
        let own = self.environments.iter().position(|candidate| {
            candidate.name == environment
                && candidate
                    .promotion
                    .as_ref()
                    .is_some_and(|promotion| promotion.strategy.is_some())
        });
        own.map_or_else(
            || "spec.promotion".to_owned(),
            |index| format!("spec.environments[{index}].promotion"),
        )
    }

    /// The settings of the endpoint to which an environment *reports*: those of the promotion into
    /// the next environment. The last environment's endpoint has the pipeline's, else its own.
    #[must_use]
    pub fn endpoint_rules(&self, reporting: &str) -> EndpointRules {
        let rules = self.reporting_rules(reporting);
        EndpointRules { secret_ref: rules.secret_ref, rate_limit: rules.rate_limit }
    }

    /// As [`Pipeline::endpoint_rules`], with everything.
    #[must_use]
    pub fn reporting_rules(&self, reporting: &str) -> PromotionRules {
        match self.next(reporting) {
            Some(next) => self.promotion_into(&next.name),
            None => {
                let own = self
                    .environment(reporting)
                    .and_then(|environment| environment.promotion.as_ref());
                Self::rules(self.promotion.as_ref(), own)
            }
        }
    }

    /// The endpoint of each environment, in their order; one without a `secret_ref` in its rules
    /// does not exist at the edge.
    pub fn endpoints(&self) -> impl Iterator<Item = Endpoint> + '_ {
        self.environments.iter().filter_map(|environment| {
            Endpoint::new(self.key.namespace(), self.key.name(), &environment.name).ok()
        })
    }

    fn rules(first: Option<&PromotionSpec>, second: Option<&PromotionSpec>) -> PromotionRules {
        fn pick<T: Clone>(
            both: [Option<&PromotionSpec>; 2],
            field: impl Fn(&PromotionSpec) -> &Option<T>,
        ) -> Option<T> {
            both.into_iter().flatten().find_map(|spec| field(spec).clone())
        }
        let both = [first, second];
        let manual = match first {
            Some(PromotionSpec { strategy: Some(_), manual, .. }) => *manual,
            _ => pick(both, |spec| &spec.manual),
        };
        PromotionRules {
            manual: manual.unwrap_or(false),
            strategy: pick(both, |spec| &spec.strategy),
            secret_ref: pick(both, |spec| &spec.secret_ref),
            rate_limit: pick(both, |spec| &spec.rate_limit),
            reasons: pick(both, |spec| &spec.reasons).unwrap_or_default(),
            after: pick(both, |spec| &spec.after).unwrap_or_default(),
            per: pick(both, |spec| &spec.per).unwrap_or_default(),
            incomplete: pick(both, |spec| &spec.incomplete).unwrap_or_default(),
        }
    }
}
