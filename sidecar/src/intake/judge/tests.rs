//! Judgements without a ledger: an excerpt in, writes and a verdict out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

use std::collections::BTreeSet;

use lockgate_core::decide::{Latest, LatestState, TargetHistory, admit};
use lockgate_core::promotion::{Failure, FailureReason, State};
use lockgate_core::retry::RetryPolicy;
use lockgate_edge::Freshness;
use serde_json::json;

use super::*;
use crate::ledger::When;

fn now() -> Timestamp {
    "2026-11-20T09:14:08Z".parse().unwrap()
}

fn case(revision: &str, time: &str, promotion: &serde_json::Value) -> Case {
    let pipeline = Pipeline::from_value(&json!({
        "apiVersion": "pipelines.weave.works/v1alpha1", "kind": "Pipeline", "metadata": {"namespace": "team", "name": "podinfo"},
        "spec": {
            "appRef": {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "name": "podinfo"},
            "environments": [{"name": "dev", "targets": [{"namespace": "dev"}]},
                {"name": "prod", "targets": [{"namespace": "prod-a"}, {"namespace": "prod-b"}]}],
            "promotion": promotion,
        }
    }));
    let body = json!({
        "involvedObject": {"kind": "HelmRelease", "namespace": "dev", "name": "podinfo", "uid": "u", "apiVersion": "helm.toolkit.fluxcd.io/v2", "resourceVersion": "1"},
        "severity": "info", "timestamp": time, "message": "m", "reason": "UpgradeSucceeded", "metadata": {"revision": revision},
        "reportingController": "helm-controller", "reportingInstance": "i",
    });
    let body = serde_json::to_vec(&body).unwrap();
    let settings = Settings {
        freshness: Freshness::default(),
        wait: Duration::from_secs(5),
        public_url: None,
        allow_unsigned: BTreeSet::new(),
        retry: RetryPolicy::default(),
    };
    Case {
        endpoint: "team/podinfo/dev".parse().unwrap(),
        digest: Digest::of(&body),
        key: Some(([1; 16], "hmac-key".to_owned())),
        admitted: admit(&body, now(), &settings.freshness),
        pipeline: Arc::new(pipeline.unwrap().value),
        settings: Arc::new(settings),
        now: now(),
        seed: [9, 9, 9, 9, 9, 9, 9, 9, 255, 255],
    }
}

fn fresh(revision: &str) -> Case {
    case(revision, "2026-11-20T09:14:07Z", &json!({"strategy": {"notification": {}}}))
}

/// What a ledger says that has this promotion as the latest of prod.
fn with_latest(latest: &Arc<Promotion>, object_reported_latest: bool) -> Excerpt {
    let mut excerpt = nothing();
    excerpt.history.promotions[0] = TargetHistory {
        target: None,
        latest: Some(Latest {
            id: latest.id,
            revision: latest.revision.clone(),
            state: LatestState::from(&latest.state),
        }),
        ever_promoted: false,
        object_reported_latest,
    };
    excerpt.promotions = vec![Arc::clone(latest)];
    excerpt
}

/// What an empty ledger says.
fn nothing() -> Excerpt {
    let mut excerpt = Excerpt::default();
    excerpt.history.promotions = vec![TargetHistory::default()];
    excerpt
}

/// The kinds of writes, in order.
fn kinds(writes: &Writes) -> Vec<&'static str> {
    let kind = |write: &Write| match write {
        Write::Delivery(_, Recorded::Answered(_)) => "answered delivery",
        Write::Delivery(_, Recorded::Running(_)) => "delivery",
        Write::Answer(..) => "answer",
        Write::Object(..) => "object",
        Write::Start(_) => "start",
        Write::Change(_) => "change",
        Write::Entry(_) => "entry",
        Write::Outcome(..) => "outcome",
        Write::KeyUsed(_) => "key",
    };
    writes.list.iter().map(kind).collect()
}

fn started(writes: &Writes) -> Vec<Arc<Promotion>> {
    writes
        .list
        .iter()
        .filter_map(|write| match write {
            Write::Start(promotion) => Some(Arc::clone(promotion)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_fresh_event_starts_a_promotion_that_is_on_disk_before_the_answer() {
    let case = fresh("1.2.3");
    let (writes, verdict) = case.judge(&nothing());
    assert_eq!(writes.when, When::Now);
    assert_eq!(kinds(&writes), ["object", "start", "entry", "delivery", "key"]);
    let promotion = started(&writes).remove(0);
    assert_eq!(case.ids().collect::<Vec<_>>(), [promotion.id], "its id was known before");
    assert!(verdict.admitted());
    assert!(matches!(verdict.outcome, Judged::Wait { duplicate: false, .. }));
}

#[test]
fn a_judgement_may_be_asked_for_again_and_says_the_same() {
    let case = fresh("1.2.3");
    let ask = case.ask();
    assert_eq!(ask.history.unwrap().targets.len(), 1);
    let (one, other) = (case.judge(&nothing()), case.judge(&nothing()));
    assert_eq!(format!("{:?}", one.0), format!("{:?}", other.0));
    assert_eq!(format!("{:?}", one.1), format!("{:?}", other.1));
}

#[test]
fn every_target_has_an_id_of_its_own() {
    let per = json!({"per": "target", "strategy": {"notification": {}}});
    let case = case("1.2.3", "2026-11-20T09:14:07Z", &per);
    let mut excerpt = Excerpt::default();
    excerpt.history.promotions = case
        .ask()
        .history
        .unwrap()
        .targets
        .into_iter()
        .map(|target| TargetHistory { target, ..TargetHistory::default() })
        .collect();
    let (writes, _) = case.judge(&excerpt);
    let ids: Vec<PromotionId> = started(&writes).iter().map(|promotion| promotion.id).collect();
    assert_eq!(ids.len(), 2);
    assert_ne!(ids[0], ids[1]);
    assert_eq!(case.ids().collect::<Vec<_>>(), ids);
}

#[test]
fn a_newer_revision_supersedes_in_the_same_step() {
    let older = started(&fresh("1.0.0").judge(&nothing()).0).remove(0);
    let newer = Case { seed: [1; 10], ..fresh("1.1.0") };
    let (writes, verdict) = newer.judge(&with_latest(&older, true));
    assert_eq!(kinds(&writes), ["object", "change", "entry", "start", "entry", "delivery", "key"]);
    let Write::Change(superseded) = &writes.list[1] else { panic!() };
    let by = started(&writes)[0].id;
    assert!(matches!(&superseded.state, State::Superseded { by: newer, .. } if *newer == by));
    assert_eq!(verdict.events.len(), 2);
}

#[test]
fn a_duplicate_gets_the_first_answer_or_waits_for_it_and_uses_no_key() {
    let case = fresh("1.2.3");
    let promotion = started(&case.judge(&nothing()).0).remove(0);
    let running = Excerpt {
        delivery: Some(Recorded::Running(vec![promotion.id])),
        promotions: vec![Arc::clone(&promotion)],
        ..nothing()
    };
    let (writes, verdict) = case.judge(&running);
    assert!(writes.list.is_empty() && !verdict.admitted());
    let Judged::Wait { promotions, duplicate: true } = verdict.outcome else { panic!() };
    assert_eq!(promotions, [promotion]);
    let answer = answer::answered(&Reply::nothing("Behind", "x"));
    let answered = Excerpt { delivery: Some(Recorded::Answered(answer.clone())), ..nothing() };
    let (writes, verdict) = case.judge(&answered);
    assert_eq!((writes.when, kinds(&writes)), (When::Soon, vec!["outcome"]));
    assert!(matches!(verdict.outcome, Judged::Answered { answer: first, .. } if first == answer));
}

#[test]
fn a_replay_is_refused_before_anything_else_is_looked_at() {
    let case = fresh("1.2.3");
    let (writes, verdict) = case.judge(&Excerpt { elsewhere: true, ..nothing() });
    assert_eq!((writes.when, kinds(&writes)), (When::Now, vec!["answered delivery", "outcome"]));
    let Judged::Answered { outcome: DeliveryOutcome::Replayed, answer, report, .. } =
        verdict.outcome
    else {
        panic!()
    };
    assert_eq!((answer.status, report.reason.as_str()), (401, "Replayed"));
}

#[test]
fn what_promotes_nothing_may_follow_and_a_refusal_may_not() {
    let latest = started(&fresh("2.0.0").judge(&nothing()).0).remove(0);
    let behind = fresh("1.0.0").judge(&with_latest(&latest, false)).0;
    assert_eq!(
        (behind.when, kinds(&behind)),
        (When::Soon, vec!["object", "answered delivery", "outcome", "key"])
    );
    let refused = fresh("1 2").judge(&nothing()).0;
    assert_eq!(
        (refused.when, kinds(&refused)),
        (When::Now, vec!["answered delivery", "outcome", "key"])
    );
}

#[test]
fn an_old_event_is_refused_and_leaves_a_line_with_its_endpoint() {
    let strategy = json!({"strategy": {"notification": {}}});
    let old = case("1.2.3", "2026-11-20T08:14:07Z", &strategy);
    let (writes, verdict) = old.judge(&nothing());
    assert_eq!((writes.when, kinds(&writes)), (When::Soon, vec!["outcome"]));
    let Judged::Answered { outcome: DeliveryOutcome::Stale, report, message, .. } = verdict.outcome
    else {
        panic!()
    };
    assert_eq!((report.status, report.reason.as_str()), (401, "TooOld"));
    assert_eq!(report.endpoint, "team/podinfo/dev");
    assert!(message.starts_with("event of 2026-11-20T08:14:07Z is too old"), "{message}");
}

#[test]
fn a_record_never_outlives_the_time_in_which_its_event_counts() {
    let strategy = json!({"strategy": {"notification": {}}});
    for (time, expires) in [
        ("2026-11-20T09:14:08Z", "2026-11-20T09:26:08Z"),
        ("2026-11-20T09:15:08Z", "2026-11-20T09:27:08Z"),
        ("9999-11-20T09:14:08Z", "2026-11-20T09:28:08Z"),
    ] {
        let (writes, _) = case("1.2.3", time, &strategy).judge(&nothing());
        let kept = writes.list.iter().find_map(|write| match write {
            Write::Delivery(delivery, _) => Some(delivery.expires_at),
            _ => None,
        });
        assert_eq!(kept.unwrap().to_string(), expires, "{time}");
    }
}

#[test]
fn a_failed_promotion_is_taken_up_again_by_its_event_and_says_why_it_failed() {
    let made = started(&fresh("1.2.3").judge(&nothing()).0).remove(0);
    let failure =
        Failure { reason: FailureReason::MarkerNotFound, message: "no marker".to_owned() };
    let change = Change::FailedPermanent { failure: failure.clone(), seen: None };
    let failed = Arc::new(made.apply(change, now(), &RetryPolicy::default()).unwrap());
    let (writes, verdict) = fresh("1.2.3").judge(&with_latest(&failed, true));
    assert_eq!(writes.when, When::Now);
    let Judged::Wait { promotions, .. } = verdict.outcome else { panic!() };
    let State::Pending { last_error, .. } = &promotions[0].state else { panic!() };
    assert_eq!(*last_error, Some(failure));
}
