//! A small model of the store, which remembers what decisions say, as the sidecar does; pipelines
//! and events for it.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use lockgate_core::decide::{
    Action, Decision, History, Latest, LatestState, ObjectRecord, Plan, TargetHistory,
};
use lockgate_core::event::{Event, ObjectRef, Severity};
use lockgate_core::pipeline::{Pipeline, TargetId};
use lockgate_core::promotion::PromotionId;
use lockgate_core::revision::Revision;
use serde_json::{Value, json};

pub fn pipeline(promotion: &Value, environments: &Value) -> Pipeline {
    let document = json!({
        "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline", "metadata": {"name": "app", "namespace": "ns"},
        "spec": {
            "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2beta1", "kind": "HelmRelease", "name": "app"},
            "promotion": promotion, "environments": environments,
        },
    });
    Pipeline::from_value(&document).unwrap().value
}

pub fn cluster(name: &str, namespace: &str) -> Value {
    json!({"namespace": namespace, "clusterRef": {"kind": "GitopsCluster", "name": name}})
}

/// dev has two clusters, prod has two; one namespace each.
pub fn two_clusters(promotion: &Value) -> Pipeline {
    let environments = json!([
        {"name": "dev", "targets": [cluster("a", "dev"), cluster("b", "dev")]},
        {"name": "prod", "targets": [cluster("x", "prod"), cluster("y", "prod")]},
    ]);
    pipeline(promotion, &environments)
}

pub fn notification() -> Value {
    json!({"strategy": {"notification": {}}})
}

fn start() -> Timestamp {
    "2026-11-20T09:00:00Z".parse().unwrap()
}

/// An event of the object in a cluster, `seconds` after the start; its resource version grows with
/// the time.
pub fn event(cluster: &str, revision: &str, seconds: i64) -> Event {
    Event {
        involved_object: ObjectRef {
            api_version: "helm.toolkit.fluxcd.io/v2".to_owned(),
            kind: "HelmRelease".to_owned(),
            namespace: "dev".to_owned(),
            name: "app".to_owned(),
            uid: format!("uid-{cluster}"),
            resource_version: (1000 + seconds).to_string(),
        },
        severity: Severity::Info,
        timestamp: Timestamp::from_second(start().as_second() + seconds).unwrap(),
        message: String::new(),
        reason: "UpgradeSucceeded".to_owned(),
        metadata: BTreeMap::from([
            ("cluster".to_owned(), cluster.to_owned()),
            ("revision".to_owned(), revision.to_owned()),
        ]),
        reporting_controller: String::new(),
        reporting_instance: String::new(),
    }
}

pub struct Model {
    pipeline: Pipeline,
    pub objects: BTreeMap<String, ObjectRecord>,
    reported: BTreeSet<(String, Revision)>,
    deployed: BTreeMap<TargetId, Revision>,
    pub promotions: Vec<(Option<TargetId>, PromotionId, Revision, LatestState)>,
}

impl Model {
    pub fn new(pipeline: Pipeline) -> Self {
        Self {
            pipeline,
            objects: BTreeMap::new(),
            reported: BTreeSet::new(),
            deployed: BTreeMap::new(),
            promotions: Vec::new(),
        }
    }

    fn history(&self, plan: &Plan<'_>) -> History {
        let query = plan.query();
        let promotions = query.targets.iter().map(|target| {
            let here = || self.promotions.iter().filter(|(other, ..)| other == target);
            let latest = here().next_back().map(|(_, id, revision, state)| Latest {
                id: *id,
                revision: revision.clone(),
                state: *state,
            });
            let object_reported_latest = latest.as_ref().is_some_and(|latest| {
                self.reported.contains(&(query.uid.clone(), latest.revision.clone()))
            });
            let ever_promoted = here().any(|(_, _, revision, _)| *revision == query.revision);
            TargetHistory { target: target.clone(), latest, ever_promoted, object_reported_latest }
        });
        History {
            object: self.objects.get(&query.uid).cloned(),
            deployed: self.deployed.clone(),
            promotions: promotions.collect(),
        }
    }

    pub fn decide(&self, event: &Event) -> Decision {
        match Plan::new(&self.pipeline, "dev", event) {
            Ok(plan) => {
                let history = self.history(&plan);
                plan.decide(&history)
            }
            Err(decision) => decision,
        }
    }

    fn remember(&mut self, record: ObjectRecord) {
        self.reported.insert((record.uid.clone(), record.revision.clone()));
        if let Some(target) = &record.target {
            self.deployed.insert(target.clone(), record.revision.clone());
        }
        self.objects.insert(record.uid.clone(), record);
    }

    /// Decides and does it. Promotions are told by their number in order of their making.
    pub fn deliver(&mut self, event: &Event) -> String {
        match self.decide(event) {
            Decision::Refused(refusal) => format!("{} {}", refusal.status(), refusal.message()),
            Decision::Nothing { reason, record, .. } => {
                record.into_iter().for_each(|record| self.remember(record));
                reason.as_str().to_owned()
            }
            Decision::Promote { revision, actions, record, .. } => {
                let told: Vec<String> = actions
                    .into_iter()
                    .map(|action| self.act(&revision, action.target, action.action))
                    .collect();
                self.remember(record);
                told.join(", ")
            }
        }
    }

    fn act(&mut self, revision: &Revision, target: Option<TargetId>, action: Action) -> String {
        let number = |model: &Self, id| {
            model.promotions.iter().position(|(_, other, ..)| *other == id).unwrap() + 1
        };
        match action {
            Action::Start { supersedes, waiting } => {
                let superseded = supersedes.map(|id| number(self, id));
                if let Some(number) = superseded {
                    assert_eq!(self.promotions[number - 1].3, LatestState::Active);
                    self.promotions[number - 1].3 = LatestState::Promoted;
                }
                let made = u8::try_from(self.promotions.len()).unwrap();
                self.promotions.push((
                    target,
                    PromotionId::new(start(), [made; 10]),
                    revision.clone(),
                    LatestState::Active,
                ));
                let waits = if waiting { " waiting" } else { "" };
                superseded.map_or(format!("start {}{waits}", made + 1), |old| {
                    format!("start {}{waits} over {old}", made + 1)
                })
            }
            Action::Join(id) => format!("join {}", number(self, id)),
            Action::TakeUpAgain(id) => {
                let number = number(self, id);
                assert_eq!(self.promotions[number - 1].3, LatestState::Failed);
                self.promotions[number - 1].3 = LatestState::Active;
                format!("again {number}")
            }
        }
    }

    pub fn report(&mut self, cluster: &str, revision: &str, seconds: i64) -> String {
        self.deliver(&event(cluster, revision, seconds))
    }

    pub fn end(&mut self, number: usize, state: LatestState) {
        self.promotions[number - 1].3 = state;
    }
}

pub fn one_promotion_of(revision: &str, state: LatestState) -> Model {
    let mut model = Model::new(two_clusters(&notification()));
    assert_eq!(model.report("a", revision, 0), "start 1");
    model.end(1, state);
    model
}
