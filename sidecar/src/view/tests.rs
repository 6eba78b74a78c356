//! The shapes and the sentences, each against its golden file.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test code")]

use jiff::Timestamp;
use lockgate_core::decide::NothingReason;
use lockgate_core::event::Event;
use lockgate_core::pipeline::{Pipeline, StrategyKind};
use lockgate_core::promotion::{
    Cleanup, DoneDetail, EventSummary, Failure, FailureReason, Intent, Owner, Poll, Promotion,
    PromotionId, PullRequestRecord, State,
};
use lockgate_edge::reply::Reply;
use schemars::schema_for;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).unwrap()
}

fn id(number: u8) -> PromotionId {
    PromotionId::new(at(0), [number; 10])
}

/// A promotion of `team/podinfo` from dev to prod in this state.
fn promotion(state: State) -> Promotion {
    let event = json!({
        "involvedObject": {
            "apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "namespace": "dev",
            "name": "podinfo", "uid": "7d0b8f6e-0c1d-4b8e-9d55-0f4c3b2a1908", "resourceVersion": "4711",
        },
        "severity": "info", "timestamp": "2026-11-18T21:20:01Z", "message": "m",
        "reason": "UpgradeSucceeded", "metadata": {"revision": "6.5.4"},
        "reportingController": "helm-controller", "reportingInstance": "i",
    });
    let event = Event::parse(event.to_string().as_bytes()).unwrap();
    let (revision, version) = event.revision().unwrap();
    let intent = Intent {
        pipeline: "team/podinfo".parse().unwrap(),
        from: "dev".to_owned(),
        to: "prod".to_owned(),
        target: None,
        revision,
        version,
        strategy: Some(StrategyKind::PullRequest),
        event: EventSummary::new("9f86d081884c7d659a2feaa0c55ad015", &event),
    };
    let made = Promotion::new(id(7), intent, false, at(0));
    Promotion { state, updated_at: at(60), ..made }
}

fn pull(auto_merge: bool) -> PullRequestRecord {
    PullRequestRecord {
        url: "https://github.com/org/fleet/pull/12".to_owned(),
        number: 12,
        repository: "github.com/org/fleet".to_owned(),
        branch: "promotion-team-podinfo-prod".to_owned(),
        commit: "5f1c".repeat(10),
        opened_at: at(3),
        auto_merge,
        merging_seen: false,
    }
}

fn failure(reason: FailureReason) -> Failure {
    Failure { reason, message: format!("what {reason} says") }
}

pub(crate) fn pending() -> Promotion {
    promotion(State::Pending {
        attempts: 2,
        next_attempt_at: at(90),
        last_error: Some(failure(FailureReason::TimedOut)),
        crashes: 0,
    })
}

pub(crate) fn merged() -> Promotion {
    let commit = Some("ab34".repeat(10));
    promotion(State::Merged { pull: pull(false), commit, at: at(59) })
}

/// At least one of each state.
fn every_state() -> Vec<State> {
    let open = |auto_merge, incomplete, unfollowed| State::PullRequestOpen {
        pull: pull(auto_merge),
        incomplete,
        unfollowed,
        poll: Poll { at: at(0), pause: std::time::Duration::from_secs(15), tag: None },
    };
    vec![
        State::WaitingApproval,
        State::Pending { attempts: 0, next_attempt_at: at(0), last_error: None, crashes: 0 },
        pending().state,
        State::Running { attempt: 1, owner: Owner::default(), last_error: None, crashes: 0 },
        open(false, None, None),
        open(true, None, None),
        open(
            false,
            Some(failure(FailureReason::ForgeRefused)),
            Some(failure(FailureReason::AuthenticationFailed)),
        ),
        merged().state,
        State::Closed { pull: pull(false) },
        State::Done(DoneDetail::default()),
        State::Done(DoneDetail {
            commit: Some("5f1c".repeat(10)),
            branch: Some("main".to_owned()),
            message: "already at 6.5.4".to_owned(),
        }),
        State::Failed { failure: failure(FailureReason::MarkerNotFound), seen: None },
        State::Superseded { by: id(8), cleanup: Cleanup::Done },
        State::Rejected,
    ]
}

/// The value read back is the value that was written.
fn round_trip<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(shown: &T) {
    let text = serde_json::to_string(shown).unwrap();
    assert_eq!(&serde_json::from_str::<T>(&text).unwrap(), shown);
}

#[test]
fn a_promotion_is_shown_in_its_contracted_shape() {
    let shown = PromotionView::from(&merged());
    round_trip(&shown);
    insta::assert_json_snapshot!(shown);
}

#[test]
fn every_state_has_its_name_its_reason_and_a_message_that_says_what_to_do() {
    let promotions: Vec<Promotion> = every_state().into_iter().map(promotion).collect();
    let names: std::collections::BTreeSet<String> =
        promotions.iter().map(|it| StateName::from(&it.state).to_string()).collect();
    assert_eq!(names.len(), State::NAMES.len(), "a state without an example: {names:?}");
    let lines: Vec<String> = promotions
        .iter()
        .map(|promotion| {
            let shown = PromotionView::from(promotion);
            round_trip(&shown);
            assert_eq!(shown.state.to_string(), promotion.state.name());
            assert!(!shown.message.is_empty());
            format!("{} {}: {}", shown.state, shown.reason, shown.message)
        })
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn every_reason_of_a_failure_has_a_remedy() {
    let mut lines: Vec<String> = FailureReason::ALL
        .iter()
        .map(|reason| {
            let remedy = remedy(*reason);
            assert!(!remedy.ends_with('.') && remedy.len() > 10, "{reason}: {remedy}");
            format!("{reason}: {remedy}")
        })
        .collect();
    for reason in [FailureReason::BranchModified, FailureReason::MarkerNotFound] {
        lines.push(format!("then, after {reason}: {}", second_chance(reason)));
    }
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn every_reason_why_a_delivery_promoted_nothing_has_a_next_step() {
    let refused = [
        "NotJson",
        "NotAnEvent",
        "TooOld",
        "FromTheFuture",
        "Replayed",
        "UnknownEnvironment",
        "InvolvedObject",
        "NoRevision",
        "TwoRevisions",
        "MalformedRevision",
        "LastEnvironment",
        "NoTargets",
    ];
    let nothing = NothingReason::ALL.into_iter().map(NothingReason::as_str);
    let failed = FailureReason::ALL.iter().map(|reason| reason.as_str());
    for reason in refused.into_iter().chain(nothing).chain(failed) {
        assert!(next_step(reason).is_some(), "{reason}");
    }
    assert_eq!(next_step("PullRequestOpen"), None);
}

#[test]
fn an_answer_names_its_promotion_or_says_why_there_is_none() {
    let one = AnswerView::of(&[merged()]);
    let two = AnswerView::of(&[pending(), merged()]);
    let nothing = AnswerView::nothing("Stale", "this object has reported 6.5.5 since");
    [&one, &two, &nothing].into_iter().for_each(round_trip);
    insta::assert_json_snapshot!("answer_with_one_promotion", one);
    assert_eq!(two.promotions.len(), 2);
    assert_eq!(two.promotion.as_ref(), two.promotions.first());
    insta::assert_json_snapshot!("answer_without_a_promotion", nothing);
    let reply = Reply::nothing("Stale", "this object has reported 6.5.5 since");
    assert_eq!(serde_json::from_slice::<AnswerView>(&reply.body).unwrap(), nothing);
}

#[test]
fn a_pipeline_shows_what_is_configured_and_the_names_of_its_keys() {
    let document = json!({
        "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline",
        "metadata": {"namespace": "team", "name": "podinfo"},
        "spec": {
            "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
            "environments": [
                {"name": "dev", "targets": [{"namespace": "dev"}]},
                {"name": "prod", "targets": [{"namespace": "prod", "clusterRef": {"kind": "GitopsCluster", "name": "eu"}}]},
            ],
            "promotion": {"manual": true, "strategy": {"secretRef": {"name": "hmac"}, "notification": {}}},
        },
    });
    let pipeline = Pipeline::from_value(&document).unwrap().value;
    let shown = PipelineView::new(&pipeline, |_| ["hmac-key"], vec![problem()]);
    round_trip(&shown);
    insta::assert_json_snapshot!(shown);
}

fn problem() -> ProblemView {
    ProblemView {
        severity: SeverityView::Warning,
        file: Some("pipelines/podinfo.yaml".to_owned()),
        line: Some(12),
        path: "spec.environments[1]".to_owned(),
        message: "endpoint team/podinfo/prod does not exist: there is no Secret team/hmac"
            .to_owned(),
        object: Some(ObjectName {
            kind: "Pipeline".to_owned(),
            namespace: "team".to_owned(),
            name: "podinfo".to_owned(),
        }),
    }
}

#[test]
fn the_event_stream_has_numbered_entries() {
    let entry = Entry::of(&pending(), at(60), "Pending", "");
    let shown = NumberedEntry { seq: 41, entry };
    round_trip(&shown);
    insta::assert_json_snapshot!(shown);
}

#[test]
fn a_delivery_is_shown_in_its_contracted_shape() {
    let shown = Page {
        items: vec![delivery(201, "PullRequestOpen", Some(id(7))), delivery(202, "Stale", None)],
        r#continue: None,
    };
    round_trip(&shown);
    insta::assert_json_snapshot!(shown);
}

pub(crate) fn delivery(status: u16, reason: &str, promotion: Option<PromotionId>) -> DeliveryView {
    DeliveryView {
        at: at(5),
        endpoint: "team/podinfo/dev".to_owned(),
        object: "HelmRelease/dev/podinfo".to_owned(),
        revision: "6.5.4".to_owned(),
        status,
        reason: reason.to_owned(),
        promotion: promotion.map(|id| id.to_string()),
    }
}

#[test]
fn every_shape_has_a_schema_for_the_documents_that_are_made_from_it() {
    insta::assert_json_snapshot!("promotion_schema", schema_for!(PromotionView));
    insta::assert_json_snapshot!("delivery_schema", schema_for!(DeliveryView));
    for schema in [
        schema_for!(PipelineView),
        schema_for!(ProblemView),
        schema_for!(NumberedEntry),
        schema_for!(AnswerView),
        schema_for!(Page<PromotionView>),
    ] {
        assert_eq!(schema.get("type").and_then(|kind| kind.as_str()), Some("object"), "{schema:?}");
    }
}
