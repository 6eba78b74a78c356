//! What no single document shows: keys that are shared, Secrets that are missing, branches that
//! collide.

use std::collections::BTreeMap;

use super::{After, AppRef, FieldError, Pipeline};
use crate::naming::Destination;
use crate::secret::Secret;
use lockgate_edge::endpoint::{Endpoint, PipelineKey};
use lockgate_edge::key::Fingerprint;

/// Something to tell the owner of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The pipeline.
    pub pipeline: PipelineKey,
    /// Where in its document, and what.
    pub warning: FieldError,
}

/// Looks over all pipelines with their Secrets (`secret(namespace, name)`). The findings come in
/// the order of the pipelines.
///
/// - A Secret that is missing, has no HMAC key, or has one that is refused or doubtful.
/// - A key that several environments of a pipeline share: a body signed for one could be sent to
///   the other.
/// - A key that two pipelines of the same application share: only one of them gets each event.
/// - Two destinations with one branch name.
/// - `after: all` with targets that share a namespace: their events must name the cluster.
#[must_use]
pub fn lint<'a, P, S>(pipelines: P, secret: S) -> Vec<Finding>
where
    P: IntoIterator<Item = &'a Pipeline>,
    S: Fn(&str, &str) -> Option<&'a Secret>,
{
    let pipelines: Vec<&Pipeline> = pipelines.into_iter().collect();
    let mut senders: BTreeMap<Fingerprint, Vec<Sender<'_>>> = BTreeMap::new();
    let mut branches: BTreeMap<String, String> = BTreeMap::new();
    let mut findings = Vec::new();
    for pipeline in &pipelines {
        let mut found = |path: String, message: String| {
            findings.push(Finding {
                pipeline: pipeline.key().clone(),
                warning: FieldError::new(path, message),
            });
        };
        secrets(pipeline, &secret, &mut senders, &mut found);
        shared_namespaces(pipeline, &mut found);
        colliding_branches(pipeline, &mut branches, &mut found);
    }
    findings.extend(shared_keys(&senders));
    findings
}

struct Sender<'a> {
    pipeline: &'a Pipeline,
    endpoint: Endpoint,
    index: usize,
}

fn secrets<'a>(
    pipeline: &'a Pipeline,
    secret: &impl Fn(&str, &str) -> Option<&'a Secret>,
    senders: &mut BTreeMap<Fingerprint, Vec<Sender<'a>>>,
    found: &mut impl FnMut(String, String),
) {
    let namespace = pipeline.key().namespace();
    let mut seen = Vec::new();
    for (index, endpoint) in pipeline.endpoints().enumerate() {
        let Some(name) = pipeline.endpoint_rules(endpoint.environment()).secret_ref else {
            continue;
        };
        let first = !seen.contains(&name);
        let path = format!("spec.environments[{index}]");
        let keys = match secret(namespace, &name) {
            None => {
                found(
                    path,
                    format!(
                        "endpoint {endpoint} does not exist: there is no Secret {namespace}/{name}"
                    ),
                );
                continue;
            }
            Some(secret) => {
                let (keys, remarks) = secret.hmac_keys();
                for (data_key, remark) in remarks.iter().filter(|_| first) {
                    let verb = if remark.is_refusal() { "refused" } else { "doubtful" };
                    found(
                        path.clone(),
                        format!("Secret {namespace}/{name}, {data_key} is {verb}: {remark}"),
                    );
                }
                keys
            }
        };
        if keys.is_empty() {
            let message = format!(
                "endpoint {endpoint} does not exist: Secret {namespace}/{name} has no usable {}",
                Secret::HMAC_KEY
            );
            found(path, message);
        }
        for key in keys.iter() {
            senders.entry(key.fingerprint()).or_default().push(Sender {
                pipeline,
                endpoint: endpoint.clone(),
                index,
            });
        }
        seen.push(name);
    }
}

/// A key is shared in the sense that matters by endpoints whose events name the same object: those
/// of one pipeline, and of pipelines with equal `appRef`.
fn shared_keys(senders: &BTreeMap<Fingerprint, Vec<Sender<'_>>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for group in senders.values().filter(|group| group.len() > 1) {
        let mut by_object: BTreeMap<_, Vec<&Sender<'_>>> = BTreeMap::new();
        for sender in group {
            let AppRef { group, kind, name, .. } = sender.pipeline.app_ref();
            let sharing = by_object.entry((group, kind, name)).or_default();
            // Two data keys of one Secret may hold the same bytes.
            if sharing.last().is_none_or(|last| last.endpoint != sender.endpoint) {
                sharing.push(sender);
            }
        }
        for sharing in by_object.values().filter(|sharing| sharing.len() > 1) {
            findings.extend(sharing.iter().map(|sender| shared_key(sender, sharing)));
        }
    }
    findings.sort();
    findings.dedup();
    findings
}

fn shared_key(sender: &Sender<'_>, sharing: &[&Sender<'_>]) -> Finding {
    let others = || sharing.iter().filter(|other| other.endpoint != sender.endpoint);
    let mut names: Vec<String> =
        others().take(OTHERS_SHOWN).map(|other| other.endpoint.to_string()).collect();
    let more = others().count().saturating_sub(OTHERS_SHOWN);
    if more > 0 {
        names.push(format!("{more} more"));
    }
    let message = format!(
        "endpoint {} shares a key with {}: give each a key of its own, so that a signature is bound to its path",
        sender.endpoint,
        names.join(", ")
    );
    Finding {
        pipeline: sender.pipeline.key().clone(),
        warning: FieldError::new(format!("spec.environments[{}]", sender.index), message),
    }
}

fn shared_namespaces(pipeline: &Pipeline, found: &mut impl FnMut(String, String)) {
    for (index, environment) in pipeline.environments().iter().enumerate() {
        let needs_all = pipeline
            .next(&environment.name)
            .is_some_and(|next| pipeline.promotion_into(&next.name).after == After::All);
        let mut namespaces: Vec<&str> =
            environment.targets.iter().map(|target| target.namespace.as_str()).collect();
        let all = namespaces.len();
        namespaces.sort_unstable();
        namespaces.dedup();
        if needs_all && namespaces.len() < all {
            let message = "targets share a namespace and after is all: their events count only with eventMetadata cluster: <clusterRef.name>";
            found(format!("spec.environments[{index}].targets"), message.to_owned());
        }
    }
}

fn colliding_branches(
    pipeline: &Pipeline,
    branches: &mut BTreeMap<String, String>,
    found: &mut impl FnMut(String, String),
) {
    for (index, environment) in pipeline.environments().iter().enumerate().skip(1) {
        let targets: Vec<_> = match pipeline.promotion_into(&environment.name).per {
            super::Per::Environment => vec![None],
            super::Per::Target => {
                environment.targets.iter().map(|target| Some(target.id())).collect()
            }
        };
        for target in targets {
            let destination = Destination {
                pipeline: pipeline.key(),
                environment: &environment.name,
                target: target.as_ref(),
            };
            let (branch, name) = (destination.branch(), destination.to_string());
            if let Some(other) = branches.get(&branch).filter(|other| **other != name) {
                let message =
                    format!("shares the branch {branch} with {other}: the later one gets a suffix");
                found(format!("spec.environments[{index}]"), message);
            }
            branches.entry(branch).or_insert(name);
        }
    }
}

/// Endpoints with the same key that one finding names.
const OTHERS_SHOWN: usize = 5;
