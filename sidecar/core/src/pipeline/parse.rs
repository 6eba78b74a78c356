//! From a document to a [`Pipeline`]: the original's resource, what we add to it, and the older
//! shapes of RFC-0003.

use std::collections::BTreeMap;

use serde_json::Value;

use super::choice::Chosen;
use super::document::{Fields, Loaded, Reader};
use super::{
    API_VERSION, After, AppRef, ClusterRef, Environment, FieldError, Incomplete, KIND, Per,
    Pipeline, PromotionSpec, Reasons, Target,
};
use lockgate_edge::endpoint::{PipelineKey, is_dns_label, is_dns_subdomain, is_environment_name};
use lockgate_edge::limit::RateLimit;
use lockgate_edge::units::parse_duration;

pub(super) fn pipeline(document: &Value) -> Result<Loaded<Pipeline>, Vec<FieldError>> {
    let mut reader = Reader::default();
    let pipeline = reader.pipeline(document);
    if let Some(pipeline) = &pipeline {
        reader.remarks(pipeline);
    }
    reader.finish(pipeline)
}

const STRATEGIES: &str = "pull-request, notification, git, webhook";

impl Reader {
    fn pipeline(&mut self, document: &Value) -> Option<Pipeline> {
        let mut root = self.mapping(document, String::new())?;
        self.expect(&mut root, "apiVersion", API_VERSION);
        self.expect(&mut root, "kind", KIND);
        let key = self.metadata(&mut root);
        let mut spec = self.required_mapping(&mut root, "spec")?;
        let app_ref =
            self.required_mapping(&mut spec, "appRef").and_then(|fields| self.app_ref(fields));
        let promotion =
            self.optional_mapping(&mut spec, "promotion").map(|fields| self.promotion(fields));
        let environments = self.environments(&mut spec);
        self.no_more_keys(&spec);
        Some(Pipeline { key: key?, app_ref: app_ref?, environments, promotion })
    }

    pub(crate) fn expect(&mut self, fields: &mut Fields<'_>, key: &'static str, expected: &str) {
        if let Some(text) = self.required_text(fields, key)
            && text != expected
        {
            self.error::<()>(fields.at(key), format!("expected {expected:?}, got {text:?}"));
        }
    }

    fn metadata(&mut self, root: &mut Fields<'_>) -> Option<PipelineKey> {
        let mut metadata = self.required_mapping(root, "metadata")?;
        let name = self.subdomain(&mut metadata, "name");
        let namespace = self.namespace(&mut metadata);
        let (name, namespace) = (name?, namespace?);
        PipelineKey::new(&namespace, &name)
            .or_else(|error| self.error(metadata.at("name"), error.to_string()).ok_or(()))
            .ok()
    }

    /// `namespace`, required.
    pub(crate) fn namespace(&mut self, fields: &mut Fields<'_>) -> Option<String> {
        let text = self.required_text(fields, "namespace")?;
        if is_dns_label(&text) {
            return Some(text);
        }
        self.error(
            fields.at("namespace"),
            format!("expected an RFC 1123 label (lower-case letters, digits, -), got {text:?}"),
        )
    }

    /// A name of Kubernetes, required.
    pub(crate) fn subdomain(
        &mut self,
        fields: &mut Fields<'_>,
        key: &'static str,
    ) -> Option<String> {
        let text = self.required_text(fields, key)?;
        if is_dns_subdomain(&text) {
            return Some(text);
        }
        self.error(
            fields.at(key),
            format!(
                "expected an RFC 1123 name (lower-case letters, digits, - and .), got {text:?}"
            ),
        )
    }

    fn app_ref(&mut self, mut fields: Fields<'_>) -> Option<AppRef> {
        let api_version = self.required_text(&mut fields, "apiVersion");
        let kind = self.required_text(&mut fields, "kind");
        let name = self.subdomain(&mut fields, "name");
        self.no_more_keys(&fields);
        let api_version = api_version?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        if version.is_empty()
            || version.contains('/')
            || (group.is_empty() && api_version.contains('/'))
        {
            return self.error(
                fields.at("apiVersion"),
                format!("expected group/version, got {api_version:?}"),
            );
        }
        Some(AppRef {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind?,
            name: name?,
        })
    }

    fn environments(&mut self, spec: &mut Fields<'_>) -> Vec<Environment> {
        let path = spec.at("environments");
        let items = self.items(spec, "environments");
        if items.is_empty() && !self.errors.iter().any(|error| error.path == path) {
            self.error::<()>(path, "expected at least one environment, got none");
        }
        let mut seen = BTreeMap::new();
        let mut environments = Vec::new();
        for (item, path) in items {
            let Some(environment) = self.environment(item, &path) else { continue };
            if let Some(first) = seen.insert(environment.name.clone(), path.clone()) {
                let message =
                    format!("duplicate environment {:?}, the first is {first}", environment.name);
                self.error::<()>(format!("{path}.name"), message);
            }
            environments.push(environment);
        }
        environments
    }

    fn environment(&mut self, item: &Value, path: &str) -> Option<Environment> {
        let mut fields = self.mapping(item, path.to_owned())?;
        let name = self.required_text(&mut fields, "name");
        if let Some(name) = name.as_ref().filter(|name| !is_environment_name(name)) {
            let message = format!(
                "expected 1 to 63 letters, digits, '.', '_' or '-' with a letter or digit at both ends, got {name:?}"
            );
            self.error::<()>(fields.at("name"), message);
        }
        if fields.get("targets").is_none() {
            self.error::<()>(fields.at("targets"), "is missing; write targets: [] for none");
        }
        let items = self.items(&mut fields, "targets");
        let mut targets: Vec<Target> =
            items.into_iter().filter_map(|(item, path)| self.target(item, path)).collect();
        targets.shrink_to_fit();
        let promotion =
            self.optional_mapping(&mut fields, "promotion").map(|fields| self.promotion(fields));
        self.no_more_keys(&fields);
        Some(Environment { name: name?, targets, promotion })
    }

    fn target(&mut self, item: &Value, path: String) -> Option<Target> {
        let mut fields = self.mapping(item, path)?;
        let namespace = self.namespace(&mut fields);
        let cluster_ref = self
            .optional_mapping(&mut fields, "clusterRef")
            .map(|cluster| self.cluster_ref(cluster));
        self.no_more_keys(&fields);
        match cluster_ref {
            None => Some(Target { namespace: namespace?, cluster_ref: None }),
            Some(cluster) => Some(Target { namespace: namespace?, cluster_ref: Some(cluster?) }),
        }
    }

    /// The original's own schema allows one kind and leaves `apiVersion` free.
    fn cluster_ref(&mut self, mut fields: Fields<'_>) -> Option<ClusterRef> {
        self.text(&mut fields, "apiVersion");
        self.expect(&mut fields, "kind", "GitopsCluster");
        let name = self.subdomain(&mut fields, "name");
        let namespace =
            if fields.get("namespace").is_some() { self.namespace(&mut fields) } else { None };
        self.no_more_keys(&fields);
        Some(ClusterRef { name: name?, namespace })
    }

    fn promotion(&mut self, mut fields: Fields<'_>) -> PromotionSpec {
        let mut chosen = Chosen::new();
        let manual = self.flag(&mut fields, "manual");
        let rate_limit = self
            .optional_mapping(&mut fields, "rateLimit")
            .and_then(|fields| self.rate_limit(fields));
        let reasons = self.reasons(&mut fields);
        let after = self.choice(&mut fields, "after", &[("any", After::Any), ("all", After::All)]);
        let per = self.choice(
            &mut fields,
            "per",
            &[("environment", Per::Environment), ("target", Per::Target)],
        );
        let incomplete = self.choice(
            &mut fields,
            "incomplete",
            &[("refuse", Incomplete::Refuse), ("allow", Incomplete::Allow)],
        );
        let mut secret_ref = None;
        if let Some(mut strategy) = self.optional_mapping(&mut fields, "strategy") {
            secret_ref = self.secret_ref(&mut strategy);
            self.strategies(&mut strategy, &mut chosen);
            self.no_more_keys(&strategy);
            if chosen.is_empty() && strategy.get("secretRef").is_none() {
                self.error::<()>(strategy.path, format!("expected one of {STRATEGIES}, got none"));
            }
        }
        self.older_shapes(&mut fields, &mut chosen);
        self.no_more_keys(&fields);
        if chosen.len() > 1 {
            let names: Vec<&str> = chosen.iter().map(|(name, _)| *name).collect();
            let message =
                format!("expected exactly one of {STRATEGIES}, got {}", names.join(" and "));
            self.error::<()>(fields.at("strategy"), message);
        }
        let strategy = chosen.into_iter().find_map(|(_, strategy)| strategy);
        PromotionSpec { manual, strategy, secret_ref, rate_limit, reasons, after, per, incomplete }
    }

    fn rate_limit(&mut self, mut fields: Fields<'_>) -> Option<RateLimit> {
        let requests = match fields.get("requests") {
            None => self.error(fields.at("requests"), "is missing"),
            Some(value) => {
                let number = value
                    .as_u64()
                    .and_then(|number| u32::try_from(number).ok())
                    .filter(|number| *number > 0);
                number.or_else(|| {
                    self.error(
                        fields.at("requests"),
                        format!("expected a whole number from 1 to {}, got {value}", u32::MAX),
                    )
                })
            }
        };
        let interval = self.required_text(&mut fields, "interval").and_then(|text| {
            parse_duration(&text)
                .or_else(|error| self.error(fields.at("interval"), error.to_string()).ok_or(()))
                .ok()
        });
        self.no_more_keys(&fields);
        match RateLimit::new(requests?, interval?) {
            Ok(limit) => Some(limit),
            Err(error) => self.error(fields.at("interval"), error.to_string()),
        }
    }

    fn reasons(&mut self, fields: &mut Fields<'_>) -> Option<Reasons> {
        fields.get("reasons")?;
        let items = self.items(fields, "reasons");
        if items.is_empty() {
            self.error::<()>(fields.at("reasons"), "expected at least one reason, got none");
        }
        let mut reasons = Vec::new();
        for (item, path) in items {
            let Some(reason) = self.text_value(item, path.clone()) else { continue };
            if !reason.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                self.error::<()>(
                    path,
                    format!("expected a reason such as UpgradeSucceeded, got {reason:?}"),
                );
            } else if NOT_A_SUCCESS.contains(&reason.as_str()) {
                self.warn(path, format!("{reason} does not say that a new revision is healthy"));
            }
            reasons.push(reason);
        }
        Some(Reasons::new(reasons))
    }

    fn remarks(&mut self, pipeline: &Pipeline) {
        for (index, environment) in pipeline.environments.iter().enumerate() {
            let path = format!("spec.environments[{index}]");
            self.duplicate_targets(pipeline, environment, &path);
            if index > 0 && environment.targets.is_empty() {
                self.warn(
                    format!("{path}.targets"),
                    "has no targets: nothing can be promoted here",
                );
            }
            if pipeline.next(&environment.name).is_some()
                && pipeline.endpoint_rules(&environment.name).secret_ref.is_none()
            {
                let endpoint = format!("{}/{}", pipeline.key, environment.name);
                self.warn(path.clone(), format!("endpoint {endpoint} does not exist: no strategy.secretRef names its HMAC keys"));
            }
            let rules = pipeline.promotion_into(&environment.name);
            match &rules.strategy {
                Some(strategy) if index > 0 && !strategy.kind().is_built() => {
                    self.warn(
                        path,
                        format!(
                            "strategy {} is not built yet: its promotions wait",
                            strategy.name()
                        ),
                    );
                }
                None if index > 0
                    && (pipeline.promotion.is_some() || environment.promotion.is_some()) =>
                {
                    self.warn(path, "has no promotion strategy: promotions to it fail");
                }
                _ => {}
            }
        }
    }

    fn duplicate_targets(&mut self, pipeline: &Pipeline, environment: &Environment, path: &str) {
        let mut seen = BTreeMap::new();
        for (index, target) in environment.targets.iter().enumerate() {
            let Some(first) = seen.insert(target.id(), index) else { continue };
            let (path, message) = (
                format!("{path}.targets[{index}]"),
                format!("is the same target as targets[{first}]: {}", target.id()),
            );
            if pipeline.promotion_into(&environment.name).per == Per::Target {
                self.error::<()>(path, message);
            } else {
                self.warn(path, message);
            }
        }
    }
}

/// Reasons with severity info that are good news, but not of a new revision.
const NOT_A_SUCCESS: [&str; 6] = [
    "RollbackSucceeded",
    "UninstallSucceeded",
    "DriftCorrected",
    "Progressing",
    "DependencyNotReady",
    "HealthCheckFailed",
];
