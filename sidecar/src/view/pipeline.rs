//! A Pipeline: what is configured, and what is wrong with it.

use lockgate_core::pipeline::{AppRef, Environment, Pipeline, PromotionRules, Target};
use lockgate_edge::endpoint::Endpoint;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ProblemView;

/// A Pipeline, as `GET /api/v1/pipelines` lists it. It never holds a key's bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PipelineView {
    pub namespace: String,
    pub name: String,
    pub app_ref: AppView,
    /// In the order of promotion.
    pub environments: Vec<EnvironmentView>,
    /// Those of this Pipeline. `GET /api/v1/problems` lists those of all.
    pub problems: Vec<ProblemView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AppView {
    pub api_version: String,
    pub kind: String,
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EnvironmentView {
    pub name: String,
    pub targets: Vec<TargetView>,
    /// `namespace/pipeline/environment`, where this environment's events are sent; `null` where the
    /// names make no path.
    pub endpoint: Option<String>,
    /// Names of the data keys in force at the endpoint. Empty: every event gets 401.
    pub keys: Vec<String>,
    /// How this environment is promoted to; `null` for the first one, which nothing promotes to.
    pub promotion: Option<PromotionRulesView>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetView {
    /// `namespace` or `cluster/namespace`.
    pub id: String,
    pub namespace: String,
    /// `null` where the target names none.
    pub cluster: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PromotionRulesView {
    /// Such as `pull-request`; `null` where the Pipeline names none.
    pub strategy: Option<String>,
    /// Whether a person has to approve each promotion.
    pub manual: bool,
}

impl PipelineView {
    /// `keys` gives the names of the data keys in force at an endpoint.
    #[must_use]
    pub fn new<'k, K>(
        pipeline: &Pipeline,
        keys: impl Fn(&Endpoint) -> K,
        problems: Vec<ProblemView>,
    ) -> Self
    where
        K: IntoIterator<Item = &'k str>,
    {
        let environments = pipeline.environments().iter().enumerate();
        Self {
            namespace: pipeline.key().namespace().to_owned(),
            name: pipeline.key().name().to_owned(),
            app_ref: AppView::from(pipeline.app_ref()),
            environments: environments
                .map(|(index, environment)| {
                    let endpoint = pipeline.key().endpoint(&environment.name).ok();
                    let rules = (index > 0).then(|| pipeline.promotion_into(&environment.name));
                    EnvironmentView::new(environment, endpoint, &keys, rules.as_ref())
                })
                .collect(),
            problems,
        }
    }
}

impl EnvironmentView {
    fn new<'k, K>(
        environment: &Environment,
        endpoint: Option<Endpoint>,
        keys: impl Fn(&Endpoint) -> K,
        rules: Option<&PromotionRules>,
    ) -> Self
    where
        K: IntoIterator<Item = &'k str>,
    {
        Self {
            name: environment.name.clone(),
            targets: environment.targets.iter().map(TargetView::from).collect(),
            keys: endpoint.iter().flat_map(keys).map(str::to_owned).collect(),
            endpoint: endpoint.map(|endpoint| endpoint.to_string()),
            promotion: rules.map(PromotionRulesView::from),
        }
    }
}

impl From<&AppRef> for AppView {
    fn from(app: &AppRef) -> Self {
        let api_version = if app.group.is_empty() {
            app.version.clone()
        } else {
            format!("{}/{}", app.group, app.version)
        };
        Self { api_version, kind: app.kind.clone(), name: app.name.clone() }
    }
}

impl From<&Target> for TargetView {
    fn from(target: &Target) -> Self {
        Self {
            id: target.id().to_string(),
            namespace: target.namespace.clone(),
            cluster: target.cluster_ref.as_ref().map(|cluster| cluster.name.clone()),
        }
    }
}

impl From<&PromotionRules> for PromotionRulesView {
    fn from(rules: &PromotionRules) -> Self {
        Self {
            strategy: rules.strategy.as_ref().map(|strategy| strategy.name().to_owned()),
            manual: rules.manual,
        }
    }
}
