//! What follows from events, told as stories: a small model of the store remembers what decisions say, as the sidecar does.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "test code")]

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use lockgate_core::decide::{
    Action, Decision, History, Latest, LatestState, NothingReason, ObjectRecord, Plan, Refusal, TargetHistory,
};
use lockgate_core::event::{Event, ObjectRef, Severity};
use lockgate_core::pipeline::{Pipeline, TargetId};
use lockgate_core::promotion::PromotionId;
use lockgate_core::revision::Revision;
use serde_json::{Value, json};

fn pipeline(promotion: &Value, environments: &Value) -> Pipeline {
    let document = json!({
        "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline", "metadata": {"name": "app", "namespace": "ns"},
        "spec": {
            "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2beta1", "kind": "HelmRelease", "name": "app"},
            "promotion": promotion, "environments": environments,
        },
    });
    Pipeline::from_value(&document).unwrap().value
}

fn cluster(name: &str, namespace: &str) -> Value {
    json!({"namespace": namespace, "clusterRef": {"kind": "GitopsCluster", "name": name}})
}

/// dev has two clusters, prod has two; one namespace each.
fn two_clusters(promotion: &Value) -> Pipeline {
    let environments = json!([
        {"name": "dev", "targets": [cluster("a", "dev"), cluster("b", "dev")]},
        {"name": "prod", "targets": [cluster("x", "prod"), cluster("y", "prod")]},
    ]);
    pipeline(promotion, &environments)
}

fn notification() -> Value {
    json!({"strategy": {"notification": {}}})
}

fn start() -> Timestamp {
    "2026-11-20T09:00:00Z".parse().unwrap()
}

/// An event of the object in a cluster, `seconds` after the start; its resource version grows with the time.
fn event(cluster: &str, revision: &str, seconds: i64) -> Event {
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
        metadata: BTreeMap::from([("cluster".to_owned(), cluster.to_owned()), ("revision".to_owned(), revision.to_owned())]),
        reporting_controller: String::new(),
        reporting_instance: String::new(),
    }
}

struct Model {
    pipeline: Pipeline,
    objects: BTreeMap<String, ObjectRecord>,
    reported: BTreeSet<(String, Revision)>,
    deployed: BTreeMap<TargetId, Revision>,
    promotions: Vec<(Option<TargetId>, PromotionId, Revision, LatestState)>,
}

impl Model {
    fn new(pipeline: Pipeline) -> Self {
        Self { pipeline, objects: BTreeMap::new(), reported: BTreeSet::new(), deployed: BTreeMap::new(), promotions: Vec::new() }
    }

    fn history(&self, plan: &Plan<'_>) -> History {
        let query = plan.query();
        let promotions = query.targets.iter().map(|target| {
            let here = || self.promotions.iter().filter(|(other, ..)| other == target);
            let latest =
                here().next_back().map(|(_, id, revision, state)| Latest { id: *id, revision: revision.clone(), state: *state });
            let object_reported_latest =
                latest.as_ref().is_some_and(|latest| self.reported.contains(&(query.uid.clone(), latest.revision.clone())));
            let ever_promoted = here().any(|(_, _, revision, _)| *revision == query.revision);
            TargetHistory { target: target.clone(), latest, ever_promoted, object_reported_latest }
        });
        History { object: self.objects.get(&query.uid).cloned(), deployed: self.deployed.clone(), promotions: promotions.collect() }
    }

    fn decide(&self, event: &Event) -> Decision {
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
    fn deliver(&mut self, event: &Event) -> String {
        match self.decide(event) {
            Decision::Refused(refusal) => format!("{} {}", refusal.status(), refusal.message()),
            Decision::Nothing { reason, record, .. } => {
                record.into_iter().for_each(|record| self.remember(record));
                reason.as_str().to_owned()
            }
            Decision::Promote { revision, actions, record, .. } => {
                let told: Vec<String> =
                    actions.into_iter().map(|action| self.act(&revision, action.target, action.action)).collect();
                self.remember(record);
                told.join(", ")
            }
        }
    }

    fn act(&mut self, revision: &Revision, target: Option<TargetId>, action: Action) -> String {
        let number = |model: &Self, id| model.promotions.iter().position(|(_, other, ..)| *other == id).unwrap() + 1;
        match action {
            Action::Start { supersedes, waiting } => {
                let superseded = supersedes.map(|id| number(self, id));
                if let Some(number) = superseded {
                    assert_eq!(self.promotions[number - 1].3, LatestState::Active);
                    self.promotions[number - 1].3 = LatestState::Ended;
                }
                let made = u8::try_from(self.promotions.len()).unwrap();
                self.promotions.push((target, PromotionId::new(start(), [made; 10]), revision.clone(), LatestState::Active));
                let waits = if waiting { " waiting" } else { "" };
                superseded.map_or(format!("start {}{waits}", made + 1), |old| format!("start {}{waits} over {old}", made + 1))
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

    fn report(&mut self, cluster: &str, revision: &str, seconds: i64) -> String {
        self.deliver(&event(cluster, revision, seconds))
    }

    fn end(&mut self, number: usize, state: LatestState) {
        self.promotions[number - 1].3 = state;
    }
}

fn one_promotion_of(revision: &str, state: LatestState) -> Model {
    let mut model = Model::new(two_clusters(&notification()));
    assert_eq!(model.report("a", revision, 0), "start 1");
    model.end(1, state);
    model
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_new_revision_starts_a_promotion_and_supersedes_an_unfinished_one() {
    let mut model = one_promotion_of("1.0.0", LatestState::Active);
    assert_eq!(model.report("a", "1.1.0", 60), "start 2 over 1");
    model.end(2, LatestState::Ended);
    assert_eq!(model.report("a", "1.2.0", 120), "start 3");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn the_second_cluster_joins_the_promotion_of_the_first() {
    for state in [LatestState::Active, LatestState::Ended] {
        let mut model = one_promotion_of("1.0.0", state);
        assert_eq!(model.report("b", "1.0.0", 5), "join 1");
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn an_object_that_repeats_itself_starts_nothing_unless_its_promotion_failed() {
    let mut model = one_promotion_of("1.0.0", LatestState::Ended);
    assert_eq!(model.report("a", "1.0.0", 600), "AlreadyPromoted");
    model.end(1, LatestState::Failed);
    assert_eq!(model.report("a", "1.0.0", 1200), "again 1");
    assert_eq!(model.report("a", "1.0.0", 1800), "AlreadyPromoted");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_failed_promotion_is_taken_up_by_another_cluster_and_superseded_by_nobody() {
    let mut model = one_promotion_of("1.0.0", LatestState::Failed);
    assert_eq!(model.report("b", "1.0.0", 5), "again 1");
    model.end(1, LatestState::Failed);
    assert_eq!(model.report("b", "1.1.0", 10), "start 2");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_repetition_with_no_promotion_yet_starts_one() {
    let mut model = one_promotion_of("1.0.0", LatestState::Ended);
    model.promotions.clear();
    assert_eq!(model.report("a", "1.0.0", 60), "start 1");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_lower_version_from_a_cluster_that_lags_is_behind() {
    let mut model = one_promotion_of("1.10.0", LatestState::Ended);
    assert_eq!(model.report("b", "1.9.0", 60), "Behind");
    assert_eq!(model.report("b", "1.9.0", 660), "Behind");
    assert_eq!(model.report("b", "1.10.0", 700), "join 1");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn revisions_without_an_order_follow_their_arrival() {
    let mut model = one_promotion_of("main@sha1:bbbb", LatestState::Ended);
    assert_eq!(model.report("b", "main@sha1:aaaa", 60), "start 2");
    // The first cluster still repeats what has been overtaken, and later catches up.
    assert_eq!(model.report("a", "main@sha1:bbbb", 120), "Behind");
    assert_eq!(model.report("a", "main@sha1:aaaa", 180), "join 2");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn an_object_that_goes_back_from_the_latest_is_a_rollback() {
    let mut model = one_promotion_of("1.0.0", LatestState::Ended);
    assert_eq!(model.report("a", "1.1.0", 60), "start 2");
    assert_eq!(model.report("a", "1.0.0", 120), "start 3 over 2");
    // The other cluster has never reported 1.1.0: for it 1.0.0 is simply the latest.
    assert_eq!(model.report("b", "1.0.0", 130), "join 3");
    // Back to a version that was never promoted, lower than the latest.
    model.end(3, LatestState::Ended);
    assert_eq!(model.report("a", "0.9.0", 180), "start 4");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_cluster_that_reports_an_earlier_promotion_late_is_behind_and_no_rollback() {
    let mut model = one_promotion_of("main@sha1:aaaa", LatestState::Ended);
    assert_eq!(model.report("a", "main@sha1:bbbb", 60), "start 2");
    assert_eq!(model.report("b", "main@sha1:aaaa", 70), "Behind");
    assert_eq!(model.report("b", "main@sha1:bbbb", 80), "join 2");
    assert_eq!(model.report("b", "main@sha1:aaaa", 90), "start 3 over 2");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn within_one_object_an_older_event_is_stale_and_changes_nothing() {
    let mut model = one_promotion_of("1.0.0", LatestState::Ended);
    assert_eq!(model.report("a", "1.1.0", 60), "start 2");
    let before = model.objects.clone();
    assert_eq!(model.report("a", "1.0.0", 30), "Stale");
    assert_eq!(model.objects, before);
    // A clock that was set back: the resource version has grown.
    let mut set_back = event("a", "1.2.0", 30);
    set_back.involved_object.resource_version = "99999".to_owned();
    assert_eq!(model.deliver(&set_back), "start 3 over 2");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn at_equal_times_the_resource_version_decides_and_then_the_lower_version_is_stale() {
    let at = |revision: &str, resource_version: &str| {
        let mut event = event("a", revision, 0);
        event.involved_object.resource_version = resource_version.to_owned();
        event
    };
    for (resource_version, revision, expected) in [
        ("999", "2.0.0", "Stale"),
        ("1001", "0.9.0", "start 2 over 1"),
        ("1000", "0.9.0", "Stale"),
        ("1000", "2.0.0", "start 2 over 1"),
        ("1000", "main@sha1:aaaa", "start 2 over 1"),
        ("", "0.9.0", "Stale"),
        ("", "2.0.0", "start 2 over 1"),
        ("opaque", "2.0.0", "start 2 over 1"),
        ("01000", "0.9.0", "Stale"),
        ("100000000000000000000000000000000000000000", "0.9.0", "start 2 over 1"),
    ] {
        let mut model = one_promotion_of("1.0.0", LatestState::Active);
        assert_eq!(model.deliver(&at(revision, resource_version)), expected, "{resource_version:?} {revision}");
    }
    // Without resource versions an earlier time alone is stale.
    let mut model = one_promotion_of("1.0.0", LatestState::Active);
    let mut earlier = event("a", "1.1.0", -1);
    earlier.involved_object.resource_version = String::new();
    assert_eq!(model.deliver(&earlier), "Stale");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn manual_promotions_wait_and_a_rejected_one_stays_rejected() {
    let mut model = Model::new(two_clusters(&json!({"manual": true, "strategy": {"notification": {}}})));
    assert_eq!(model.report("a", "1.0.0", 0), "start 1 waiting");
    assert_eq!(model.report("a", "1.1.0", 60), "start 2 waiting over 1");
    model.end(2, LatestState::Ended);
    assert_eq!(model.report("a", "1.1.0", 120), "AlreadyPromoted");
    assert_eq!(model.report("b", "1.1.0", 130), "join 2");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn per_target_every_target_has_a_promotion_of_its_own() {
    let mut model = Model::new(two_clusters(&json!({"per": "target", "strategy": {"notification": {}}})));
    assert_eq!(model.report("a", "1.0.0", 0), "start 1, start 2");
    model.end(1, LatestState::Ended);
    model.end(2, LatestState::Failed);
    assert_eq!(model.report("a", "1.0.0", 60), "again 2");
    assert_eq!(model.report("b", "1.0.0", 70), "join 1, join 2");
    assert_eq!(model.report("b", "1.1.0", 80), "start 3, start 4 over 2");
    assert_eq!(model.promotions[2].0.as_ref().unwrap().to_string(), "x/prod");
    assert_eq!(model.report("b", "1.1.0", 90), "AlreadyPromoted");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn after_all_waits_until_every_target_has_the_revision() {
    let mut model = Model::new(two_clusters(&json!({"after": "all", "strategy": {"notification": {}}})));
    assert_eq!(model.report("a", "1.0.0", 0), "WaitingForTargets");
    assert_eq!(model.report("a", "1.0.0", 10), "WaitingForTargets");
    assert_eq!(model.report("b", "1.0.0", 20), "start 1");
    model.end(1, LatestState::Ended);
    assert_eq!(model.report("b", "1.1.0", 30), "WaitingForTargets");
    assert_eq!(model.report("a", "1.2.0", 40), "WaitingForTargets");
    assert_eq!(model.report("b", "1.2.0", 50), "start 2");
    assert_eq!(model.report("a", "1.1.0", 60), "WaitingForTargets", "a rollback waits for the others too");
    assert_eq!(model.report("b", "1.1.0", 70), "start 3 over 2");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_target_that_is_unknown_counts_for_any_and_never_for_all() {
    let mut any = Model::new(two_clusters(&notification()));
    assert_eq!(any.report("elsewhere", "1.0.0", 0), "start 1");
    assert_eq!(any.objects["uid-elsewhere"].target, None);

    let mut all = Model::new(two_clusters(&json!({"after": "all", "strategy": {"notification": {}}})));
    assert_eq!(all.report("a", "1.0.0", 0), "WaitingForTargets");
    let mut unnamed = event("b", "1.0.0", 10);
    unnamed.metadata.remove("cluster");
    assert_eq!(all.deliver(&unnamed), "WaitingForTargets");
    // The sender is told to name its cluster; the repetition then counts.
    assert_eq!(all.report("b", "1.0.0", 20), "start 1");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn what_was_held_back_starts_at_a_repetition_once_everything_is_there() {
    let mut model = Model::new(two_clusters(&json!({"after": "all", "strategy": {"notification": {}}})));
    for (cluster, seconds) in [("a", 0), ("b", 1)] {
        model.report(cluster, "1.0.0", seconds);
    }
    assert_eq!(model.report("a", "1.1.0", 60), "WaitingForTargets");
    let mut unnamed = event("b", "1.1.0", 70);
    unnamed.metadata.remove("cluster");
    assert_eq!(model.deliver(&unnamed), "WaitingForTargets");
    assert_eq!(model.report("b", "1.1.0", 80), "start 2 over 1");
    assert_eq!(model.report("b", "1.1.0", 90), "AlreadyPromoted");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_single_target_needs_no_cluster_name() {
    let environments =
        json!([{"name": "dev", "targets": [cluster("a", "dev")]}, {"name": "prod", "targets": [{"namespace": "prod"}]}]);
    let mut model = Model::new(pipeline(&json!({"after": "all", "strategy": {"notification": {}}}), &environments));
    let mut unnamed = event("a", "1.0.0", 0);
    unnamed.metadata.remove("cluster");
    assert_eq!(model.deliver(&unnamed), "start 1");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn refusals_have_the_originals_texts_and_come_in_order() {
    let environments = json!([
        {"name": "dev", "targets": [{"namespace": "dev"}]}, {"name": "qa", "targets": []}, {"name": "prod", "targets": [{"namespace": "dev"}]},
    ]);
    let pipeline = pipeline(&notification(), &environments);
    let refused = |environment: &str, event: &Event| match Plan::new(&pipeline, environment, event) {
        Err(Decision::Refused(refusal)) => format!("{} {}", refusal.status(), refusal.message()),
        Err(Decision::Nothing { reason, record: None, .. }) => reason.as_str().to_owned(),
        other => panic!("{other:?}"),
    };
    let good = event("a", "1.0.0", 0);
    let object = "422 involved object does not match Pipeline definition";
    let changed = |change: &dyn Fn(&mut Event)| {
        let mut event = good.clone();
        change(&mut event);
        event
    };
    assert_eq!(refused("nowhere", &good), "422 app ns/app has no environment nowhere defined");
    assert_eq!(refused("a/b", &good), "422 app ns/app has no environment a/b defined");
    assert_eq!(refused("dev", &changed(&|event| event.involved_object.kind = "Kustomization".to_owned())), object);
    assert_eq!(refused("dev", &changed(&|event| event.involved_object.name = "other".to_owned())), object);
    assert_eq!(refused("dev", &changed(&|event| event.involved_object.namespace = "prod".to_owned())), object);
    assert_eq!(refused("dev", &changed(&|event| event.involved_object.api_version = "helm.example.org/v2".to_owned())), object);
    assert_eq!(refused("dev", &changed(&|event| event.involved_object.api_version = "v2".to_owned())), object);
    let failed = changed(&|event| {
        event.severity = Severity::Error;
        event.metadata.clear();
    });
    assert_eq!(refused("dev", &failed), "NotASuccess");
    assert_eq!(refused("prod", &failed), "NotASuccess");
    assert_eq!(refused("dev", &changed(&|event| event.metadata.clear())), "422 event has no 'revision' in the metadata field.");
    assert_eq!(refused("prod", &changed(&|event| event.metadata.clear())), "422 event has no 'revision' in the metadata field.");
    assert_eq!(refused("prod", &good), "422 cannot promote beyond last environment prod");
    assert_eq!(refused("dev", &good), "422 environment qa has no targets");
    assert_eq!(Refusal::Replayed.status(), 401);
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_promotion_says_from_where_to_where_what_and_how() {
    let model = Model::new(two_clusters(&notification()));
    let mut event = event("a", "6.5.4+0cc9a8446c95", 0);
    event.metadata.insert("oci-digest".to_owned(), "sha256:0cc9a8446c95009ef382".to_owned());
    let Decision::Promote { revision, version, from, to, strategy, record, actions } = model.decide(&event) else { panic!() };
    assert_eq!((revision.as_str(), version.as_str(), from.as_str(), to.as_str()), ("6.5.4+0cc9a8446c95", "6.5.4", "dev", "prod"));
    assert_eq!(strategy.unwrap().as_str(), "notification");
    assert_eq!(record.target.unwrap().to_string(), "a/dev");
    assert_eq!(actions.len(), 1);
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn reasons_of_the_next_environment_say_what_a_success_is() {
    let environments = json!([
        {"name": "dev", "targets": [{"namespace": "dev"}]},
        {"name": "prod", "targets": [{"namespace": "prod"}], "promotion": {"reasons": ["TestSucceeded"]}},
    ]);
    let mut model = Model::new(pipeline(&notification(), &environments));
    assert_eq!(model.report("a", "1.0.0", 0), NothingReason::NotASuccess.as_str());
    assert_eq!(model.deliver(&Event { reason: "TestSucceeded".to_owned(), ..event("a", "1.0.0", 1) }), "start 1");
}

#[cfg(not(target_arch = "wasm32"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Report { cluster: &'static str, revision: &'static str, seconds: i64 },
        End { state: LatestState },
    }

    fn step() -> impl Strategy<Value = Step> {
        let report = (
            prop::sample::select(vec!["a", "b", "unknown"]),
            prop::sample::select(vec!["1.0.0", "1.1.0", "1.2.0", "main@sha1:aa", "main@sha1:bb"]),
            0_i64..50,
        )
            .prop_map(|(cluster, revision, seconds)| Step::Report { cluster, revision, seconds });
        let end = prop::sample::select(vec![LatestState::Ended, LatestState::Failed]).prop_map(|state| Step::End { state });
        prop_oneof![4 => report, 1 => end]
    }

    fn promotion() -> impl Strategy<Value = Value> {
        (prop::sample::select(vec!["any", "all"]), prop::sample::select(vec!["environment", "target"]))
            .prop_map(|(after, per)| json!({"after": after, "per": per, "strategy": {"notification": {}}}))
    }

    proptest! {
        #[test]
        fn whatever_arrives_one_destination_has_one_active_promotion_and_it_is_the_latest(
            promotion in promotion(), steps in prop::collection::vec(step(), 0..40)
        ) {
            let mut model = Model::new(two_clusters(&promotion));
            for step in steps {
                match step {
                    Step::Report { cluster, revision, seconds } => {
                        model.report(cluster, revision, seconds);
                    }
                    Step::End { state } => {
                        if let Some(last) = model.promotions.iter_mut().rev().find(|promotion| promotion.3 == LatestState::Active) {
                            last.3 = state;
                        }
                    }
                }
                let mut later = BTreeSet::new();
                for (target, _, _, state) in model.promotions.iter().rev() {
                    let is_latest = later.insert(target.clone());
                    prop_assert!(is_latest || *state != LatestState::Active);
                }
            }
        }

        #[test]
        fn the_same_event_again_never_starts_another_promotion(
            promotion in promotion(), steps in prop::collection::vec(step(), 0..40)
        ) {
            let mut model = Model::new(two_clusters(&promotion));
            for step in steps {
                let Step::Report { cluster, revision, seconds } = step else { continue };
                model.report(cluster, revision, seconds);
                let made = model.promotions.len();
                let again = model.report(cluster, revision, seconds);
                prop_assert_eq!(model.promotions.len(), made, "{}", again);
            }
        }

        #[test]
        fn decisions_depend_on_nothing_but_their_arguments(steps in prop::collection::vec(step(), 0..20)) {
            let mut model = Model::new(two_clusters(&notification()));
            for step in steps {
                let Step::Report { cluster, revision, seconds } = step else { continue };
                let event = event(cluster, revision, seconds);
                prop_assert_eq!(model.decide(&event), model.decide(&event));
                model.deliver(&event);
            }
        }

        #[test]
        fn one_object_whose_events_come_in_any_order_ends_with_its_newest_revision(
            order in Just(vec![0_i64, 1, 2, 3, 4]).prop_shuffle()
        ) {
            let mut model = Model::new(two_clusters(&notification()));
            for position in order {
                model.report("a", &format!("1.{position}.0"), position * 10);
            }
            prop_assert_eq!(model.promotions.last().unwrap().2.as_str(), "1.4.0");
        }
    }
}
