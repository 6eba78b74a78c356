//! What a pipeline's document alone does not show: its Secrets, and the load it brings.

use super::{After, FieldError, Pipeline};
use crate::secret::Secret;
use lockgate_edge::limit::RateLimit;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Something does not work as it is written.
    Error,
    /// It works, and a person should look.
    Warning,
}

impl Severity {
    /// As it is printed.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Something to tell the owner of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// Where in the pipeline's document, and what.
    pub at: FieldError,
}

impl Finding {
    /// Something that does not work.
    #[must_use]
    pub fn error(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, at: FieldError::new(path, message) }
    }

    /// Something to look at.
    #[must_use]
    pub fn warning(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, at: FieldError::new(path, message) }
    }
}

/// The limit of an endpoint whose Pipeline names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefaultLimit {
    /// The installation's own, for every endpoint.
    Fixed(RateLimit),
    /// This one, or twice the reporting environment's targets if that is more: with 40 targets a
    /// release makes 40 events at once, and Flux gives up after 15 seconds.
    AtLeast(RateLimit),
}

impl Default for DefaultLimit {
    fn default() -> Self {
        Self::AtLeast(RateLimit::endpoint_default())
    }
}

impl DefaultLimit {
    /// The limit of an endpoint to which so many targets report.
    #[must_use]
    pub fn with_targets(self, targets: usize) -> RateLimit {
        match self {
            Self::Fixed(limit) => limit,
            Self::AtLeast(limit) => {
                let twice = u32::try_from(targets.saturating_mul(2)).unwrap_or(u32::MAX);
                let requests = limit.requests.get().max(twice);
                RateLimit::new(requests, limit.interval).unwrap_or(limit)
            }
        }
    }
}

impl Pipeline {
    /// The limit of the endpoint to which an environment reports: the Pipeline's own, else the
    /// installation's.
    #[must_use]
    pub fn rate_limit(&self, reporting: &str, default: DefaultLimit) -> RateLimit {
        let targets =
            self.environment(reporting).map_or(0, |environment| environment.targets.len());
        self.endpoint_rules(reporting).rate_limit.unwrap_or_else(|| default.with_targets(targets))
    }
}

/// Looks at one pipeline with its Secrets (`secret(name)` in its own namespace).
///
/// - A Secret of HMAC keys that is missing, has no usable key, or has one that is refused or
///   doubtful. An endpoint without a usable key does not exist.
/// - `after: all` with targets that share a namespace: their events must name the cluster.
/// - `after: all` with more targets than the endpoint takes at once.
#[must_use]
pub fn lint<'a>(
    pipeline: &Pipeline,
    secret: impl Fn(&str) -> Option<&'a Secret>,
    default: DefaultLimit,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    hmac_secrets(pipeline, secret, &mut findings);
    for (index, environment) in pipeline.environments().iter().enumerate() {
        let needs_all = pipeline
            .next(&environment.name)
            .is_some_and(|next| pipeline.promotion_into(&next.name).after == After::All);
        if needs_all {
            let path = format!("spec.environments[{index}].targets");
            shared_namespaces(pipeline, index, &path, &mut findings);
            let (targets, limit) =
                (environment.targets.len(), pipeline.rate_limit(&environment.name, default));
            if targets > limit.requests.get() as usize {
                findings.push(Finding::warning(
                    path,
                    format!(
                        "has {targets} targets, and after is all, but the endpoint takes {} \
                         requests at once: Flux gives up before the rest get through. Set \
                         promotion.rateLimit.requests to {} or more",
                        limit.requests,
                        targets.saturating_mul(2)
                    ),
                ));
            }
        }
    }
    findings
}

fn hmac_secrets<'a>(
    pipeline: &Pipeline,
    secret: impl Fn(&str) -> Option<&'a Secret>,
    findings: &mut Vec<Finding>,
) {
    let namespace = pipeline.key().namespace();
    // What is wrong with a Secret is said once, however many environments use it.
    let mut seen: Vec<String> = Vec::new();
    for (index, endpoint) in pipeline.endpoints().enumerate() {
        let Some(name) = pipeline.endpoint_rules(endpoint.environment()).secret_ref else {
            continue;
        };
        let path = format!("spec.environments[{index}]");
        let Some(found) = secret(&name) else {
            let why = format!("there is no Secret {namespace}/{name}");
            findings
                .push(Finding::error(path, format!("endpoint {endpoint} does not exist: {why}")));
            continue;
        };
        let (keys, remarks) = found.hmac_keys();
        for (data_key, remark) in remarks.iter().filter(|_| !seen.contains(&name)) {
            let (severity, verb) = if remark.is_refusal() {
                (Severity::Error, "refused")
            } else {
                (Severity::Warning, "doubtful")
            };
            let message = format!("Secret {namespace}/{name}, {data_key} is {verb}: {remark}");
            findings.push(Finding { severity, at: FieldError::new(path.clone(), message) });
        }
        if keys.is_empty() {
            let why = format!("Secret {namespace}/{name} has no usable {}", Secret::HMAC_KEY);
            findings
                .push(Finding::error(path, format!("endpoint {endpoint} does not exist: {why}")));
        }
        seen.push(name);
    }
}

fn shared_namespaces(pipeline: &Pipeline, index: usize, path: &str, findings: &mut Vec<Finding>) {
    let Some(environment) = pipeline.environments().get(index) else { return };
    let mut namespaces: Vec<&str> =
        environment.targets.iter().map(|target| target.namespace.as_str()).collect();
    let all = namespaces.len();
    namespaces.sort_unstable();
    namespaces.dedup();
    if namespaces.len() < all {
        findings.push(Finding::warning(
            path,
            "targets share a namespace and after is all: their events count only with \
             eventMetadata cluster: <clusterRef.name>",
        ));
    }
}
