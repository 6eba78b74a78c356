//! The life of a promotion: every state with every change, and long random lives.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

use core::time::Duration;

use jiff::Timestamp;
use lockgate_core::event::ObjectRef;
use lockgate_core::pipeline::StrategyKind;
use lockgate_core::promotion::{
    Change, Cleanup, DoneDetail, EventSummary, Failure, FailureReason, Intent, Owner, Poll,
    Promotion, PromotionId, PullRequestRecord, Seen, State, Success, TransitionError,
};
use lockgate_core::retry::RetryPolicy;
use lockgate_core::revision::{Revision, Version};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).unwrap()
}

fn id(number: u8) -> PromotionId {
    PromotionId::new(at(0), [number; 10])
}

fn promotion(waiting: bool) -> Promotion {
    let involved_object = ObjectRef {
        api_version: "helm.toolkit.fluxcd.io/v2".to_owned(),
        kind: "HelmRelease".to_owned(),
        namespace: "dev".to_owned(),
        name: "app".to_owned(),
        uid: "uid".to_owned(),
        resource_version: "1".to_owned(),
    };
    let intent = Intent {
        pipeline: "ns/app".parse().unwrap(),
        from: "dev".to_owned(),
        to: "prod".to_owned(),
        target: Some("x/prod".parse().unwrap()),
        revision: Revision::new("1.0.0").unwrap(),
        version: Version::new("1.0.0").unwrap(),
        strategy: Some(StrategyKind::Git),
        event: EventSummary {
            id: "digest".to_owned(),
            reason: "UpgradeSucceeded".to_owned(),
            time: at(-1),
            involved_object,
        },
    };
    Promotion::new(id(1), intent, waiting, at(0))
}

fn failure(reason: FailureReason) -> Failure {
    Failure { reason, message: "no route to git.example.org".to_owned() }
}

fn pull() -> PullRequestRecord {
    PullRequestRecord {
        url: "https://forge.example/org/repo/pulls/1".to_owned(),
        number: 1,
        repository: "forge.example/org/repo".to_owned(),
        branch: "promotion-ns-app-prod".to_owned(),
        commit: "3f786850e387550fdab836ed7e6dc881de23001b".to_owned(),
        opened_at: at(10),
        auto_merge: false,
        merging_seen: false,
    }
}

fn poll(seconds: i64) -> Poll {
    Poll { at: at(seconds), pause: Duration::from_secs(15), tag: Some("etag".to_owned()) }
}

fn owner() -> Owner {
    Owner::new([7; 16])
}

fn running(attempt: u32, crashes: u32) -> State {
    State::Running { attempt, owner: owner(), last_error: None, crashes }
}

fn states() -> Vec<State> {
    vec![
        State::WaitingApproval,
        State::Pending { attempts: 1, next_attempt_at: at(0), last_error: None, crashes: 1 },
        running(1, 0),
        State::PullRequestOpen { pull: pull(), incomplete: None, unfollowed: None, poll: poll(20) },
        State::Merged { pull: pull(), commit: None, at: at(50) },
        State::Closed { pull: pull() },
        State::Done(DoneDetail::default()),
        State::Failed {
            failure: failure(FailureReason::MarkerNotFound),
            seen: Some(Seen::branch("main", Some("3f78".to_owned()))),
        },
        State::Superseded { by: id(9), cleanup: Cleanup::Due { pull: pull() } },
        State::Rejected,
    ]
}

fn changes() -> Vec<Change> {
    vec![
        Change::Attempted { owner: owner() },
        Change::Succeeded(Success::PullRequestOpen {
            pull: pull(),
            incomplete: None,
            poll: poll(20),
        }),
        Change::Succeeded(Success::Done(DoneDetail::default())),
        Change::FailedPassing { failure: failure(FailureReason::Unreachable), retry_after: None },
        Change::FailedPermanent { failure: failure(FailureReason::MarkerNotFound), seen: None },
        Change::Followed {
            pull: pull(),
            incomplete: None,
            unfollowed: Some(failure(FailureReason::TimedOut)),
            poll: poll(90),
        },
        Change::Merged { commit: None, at: None },
        Change::Closed,
        Change::Superseded { by: id(2) },
        Change::TakenUpAgain,
        Change::Approved { by: "ada".to_owned() },
        Change::Rejected,
        Change::Recovered,
        Change::Parked,
        Change::Outdated { failure: failure(FailureReason::SecretMissing) },
        Change::DueNow,
        Change::Held,
        Change::Released,
        Change::PipelineDeleted { failure: failure(FailureReason::PipelineDeleted) },
        Change::Looked { seen: Seen::branch("main", None) },
        Change::Disarmed,
        Change::CleanedUp,
    ]
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn every_state_takes_exactly_these_changes() {
    let mut possible = Vec::new();
    for state in states() {
        for change in changes() {
            let before = Promotion { state: state.clone(), ..promotion(false) };
            match before.apply(change.clone(), at(60), &RetryPolicy::default()) {
                Ok(after) => possible.push(format!(
                    "{} {} {}",
                    state.name(),
                    change.name(),
                    after.state.name()
                )),
                Err(error) => assert_eq!(
                    error,
                    TransitionError { state: state.name(), change: change.name() }
                ),
            }
        }
    }
    let expected = [
        "WaitingApproval Superseded Superseded",
        "WaitingApproval Approved Pending",
        "WaitingApproval Rejected Rejected",
        "WaitingApproval Released Pending",
        "WaitingApproval PipelineDeleted Failed",
        "Pending Attempted Running",
        "Pending FailedPermanent Failed",
        "Pending Superseded Superseded",
        "Pending DueNow Pending",
        "Pending Held WaitingApproval",
        "Pending PipelineDeleted Failed",
        "Running Succeeded PullRequestOpen",
        "Running Succeeded Done",
        "Running FailedPassing Pending",
        "Running FailedPermanent Failed",
        "Running Superseded Superseded",
        "Running Recovered Pending",
        "Running Parked Pending",
        "Running Outdated Pending",
        "Running PipelineDeleted Failed",
        "PullRequestOpen FailedPermanent Failed",
        "PullRequestOpen Followed PullRequestOpen",
        "PullRequestOpen Merged Merged",
        "PullRequestOpen Closed Closed",
        "PullRequestOpen Superseded Superseded",
        "PullRequestOpen PipelineDeleted Failed",
        "Failed TakenUpAgain Pending",
        "Failed PipelineDeleted Failed",
        "Failed Looked Failed",
        "Superseded Merged Merged",
        "Superseded Disarmed Superseded",
        "Superseded CleanedUp Superseded",
    ];
    assert_eq!(possible, expected);
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_passing_error_waits_as_the_schedule_or_the_peer_says_and_gives_up_after_a_day() {
    let policy = RetryPolicy::default();
    let fail = |now: i64, retry_after: Option<u64>| {
        let running = Promotion { state: running(2, 1), ..promotion(false) };
        let retry_after = retry_after.map(Duration::from_secs);
        running
            .apply(
                Change::FailedPassing { failure: failure(FailureReason::Unreachable), retry_after },
                at(now),
                &policy,
            )
            .unwrap()
            .state
    };
    let pending = |next: i64| State::Pending {
        attempts: 2,
        next_attempt_at: at(next),
        last_error: Some(failure(FailureReason::Unreachable)),
        crashes: 0,
    };
    assert_eq!(fail(10, None), pending(14));
    assert_eq!(fail(10, Some(1)), pending(14));
    assert_eq!(fail(10, Some(90)), pending(100));
    assert_eq!(fail(10, Some(31_536_000)), pending(3610), "a peer gets an hour at most");
    assert_eq!(fail(86_399, None), pending(86_400), "patience ends when it should");
    let State::Failed { failure: gave_up, .. } = fail(86_400, None) else { panic!() };
    assert_eq!(gave_up.reason, FailureReason::GaveUp);
    assert_eq!(
        gave_up.message,
        "gave up after 2 attempts, the last failed with Unreachable: no route to git.example.org"
    );
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn patience_begins_anew_with_an_approval_and_when_taken_up_again() {
    let policy = RetryPolicy::default();
    let later = 3 * 86_400;
    let approved = promotion(true)
        .apply(Change::Approved { by: "ada".to_owned() }, at(later), &policy)
        .unwrap();
    let again = promotion(false)
        .apply(
            Change::FailedPermanent { failure: failure(FailureReason::SecretMissing), seen: None },
            at(1),
            &policy,
        )
        .unwrap()
        .apply(Change::TakenUpAgain, at(later), &policy)
        .unwrap();
    assert_eq!(
        (approved.approved_by.as_deref(), again.approved_by.as_deref()),
        (Some("ada"), None)
    );
    for (promotion, last_error) in
        [(approved, None), (again, Some(failure(FailureReason::SecretMissing)))]
    {
        assert_eq!(
            promotion.state,
            State::Pending { attempts: 0, next_attempt_at: at(later), last_error, crashes: 0 }
        );
        let attempted = Change::Attempted { owner: owner() };
        let running = promotion.apply(attempted, at(later), &policy).unwrap();
        let change =
            Change::FailedPassing { failure: failure(FailureReason::TimedOut), retry_after: None };
        assert!(running.apply(change, at(later + 60), &policy).unwrap().state.is_active());
        assert_eq!(running.created_at, at(0));
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_crash_counts_as_an_attempt_and_a_stop_does_not() {
    let attempts = |crashes, change| {
        let running = Promotion { state: running(3, crashes), ..promotion(false) };
        match running.apply(change, at(9), &RetryPolicy::default()).unwrap().state {
            State::Pending { attempts, next_attempt_at, crashes, .. } => {
                (attempts, next_attempt_at, crashes)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(attempts(0, Change::Recovered), (3, at(9), 1));
    assert_eq!(attempts(1, Change::Recovered), (3, at(9 + 300), 2), "the second such waits");
    assert_eq!(attempts(2, Change::Recovered), (3, at(9 + 300), 3));
    assert_eq!(attempts(1, Change::Parked), (2, at(9), 0));
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn what_failed_with_an_old_secret_is_tried_with_the_new_one_at_once() {
    let running = Promotion { state: running(1, 0), ..promotion(false) };
    let failure = failure(FailureReason::AuthenticationFailed);
    let change = Change::Outdated { failure: failure.clone() };
    let State::Pending { attempts, next_attempt_at, last_error, .. } =
        running.apply(change, at(9), &RetryPolicy::default()).unwrap().state
    else {
        panic!()
    };
    assert_eq!((attempts, next_attempt_at, last_error), (0, at(9), Some(failure)));
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_change_makes_due_what_waits_for_long() {
    let pending = Promotion {
        state: State::Pending {
            attempts: 7,
            next_attempt_at: at(3_000),
            last_error: Some(failure(FailureReason::RateLimited)),
            crashes: 0,
        },
        ..promotion(false)
    };
    let due = pending.apply(Change::DueNow, at(60), &RetryPolicy::default()).unwrap();
    assert!(
        matches!(due.state, State::Pending { next_attempt_at, .. } if next_attempt_at == at(60))
    );
    assert_eq!(due.taken_up_at, at(60), "patience begins anew");
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_superseded_pull_request_is_disarmed_and_then_closed_unless_a_person_was_quicker() {
    let policy = RetryPolicy::default();
    let open =
        State::PullRequestOpen { pull: pull(), incomplete: None, unfollowed: None, poll: poll(20) };
    let open = Promotion { state: open, ..promotion(false) };
    let due = open.apply(Change::Superseded { by: id(9) }, at(1), &policy).unwrap();
    let step = |promotion: &Promotion| match &promotion.state {
        State::Superseded { cleanup, .. } => cleanup.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(step(&due), Cleanup::Due { pull: pull() });
    let disarmed = due.apply(Change::Disarmed, at(2), &policy).unwrap();
    assert_eq!(step(&disarmed), Cleanup::Disarmed { pull: pull() });
    let done = disarmed.apply(Change::CleanedUp, at(3), &policy).unwrap();
    assert_eq!(step(&done), Cleanup::Done);
    assert!(!done.state.has_work() && due.state.has_work() && disarmed.state.has_work());
    assert_eq!(done.updated_at, at(1), "its state has not changed since");
    for quick in [due, disarmed] {
        let merged = Change::Merged { commit: None, at: Some(at(2)) };
        assert_eq!(quick.apply(merged, at(3), &policy).unwrap().state.name(), "Merged");
    }
    // A worker that opened one while the newer promotion came leaves it to the clean-up.
    let running = Promotion { state: running(1, 0), ..promotion(false) };
    let late = running.apply(Change::Superseded { by: id(9) }, at(1), &policy).unwrap();
    let opened = Change::Succeeded(Success::PullRequestOpen {
        pull: pull(),
        incomplete: None,
        poll: poll(20),
    });
    let late = late.apply(opened, at(2), &policy).unwrap();
    assert_eq!(step(&late), Cleanup::Due { pull: pull() });
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn nothing_supersedes_itself() {
    let promotion = promotion(false);
    assert!(
        promotion
            .apply(Change::Superseded { by: promotion.id }, at(1), &RetryPolicy::default())
            .is_err()
    );
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn every_state_survives_being_written_and_read() {
    let mut names = Vec::new();
    for state in states() {
        let before = Promotion { state, ..promotion(false) };
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<Promotion>(&text).unwrap(), before, "{text}");
        names.push(before.state.name());
    }
    assert_eq!(names, State::NAMES);
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn ids_are_of_version_7_and_sort_by_time() {
    let (first, second) = (PromotionId::new(at(0), [255; 10]), PromotionId::new(at(1), [0; 10]));
    assert!(first < second && first.to_string() < second.to_string());
    assert_eq!(first.as_uuid().get_version_num(), 7);
    assert_eq!(first.to_string().parse::<PromotionId>(), Ok(first));
    for text in
        ["", "1", "0193f6a15b3c7c218e0c1f1d6f5f7c21", "{0193f6a1-5b3c-7c21-8e0c-1f1d6f5f7c21}"]
    {
        assert!(text.parse::<PromotionId>().is_err(), "{text}");
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn reasons_are_distinct_camel_case_words() {
    let mut names: Vec<&str> = FailureReason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert!(names.iter().all(|name| name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|b| b.is_ascii_alphanumeric())));
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), FailureReason::ALL.len());
    assert!(
        FailureReason::MarkerNotFound.is_permanent() && !FailureReason::PushRace.is_permanent()
    );
}

#[cfg(not(target_arch = "wasm32"))]
proptest::proptest! {
    #[test]
    fn a_finished_state_is_left_only_by_taking_up_a_failed_one_or_by_a_merge(picks in proptest::collection::vec((0_usize..22, 0_i64..100_000), 0..60)) {
        let policy = RetryPolicy::default();
        let mut now = 0;
        let mut promotion = promotion(picks.len() % 2 == 0);
        for (pick, step) in picks {
            now += step;
            let change = changes()[pick].clone();
            let after = match promotion.apply(change.clone(), at(now), &policy) {
                Ok(after) => after,
                Err(_) => continue,
            };
            if !promotion.state.is_active() && after.state.name() != promotion.state.name() {
                proptest::prop_assert!(
                    [("Failed", "TakenUpAgain"), ("Superseded", "Merged")]
                        .contains(&(promotion.state.name(), change.name()))
                );
            }
            // Identity never changes, time never goes back.
            let same = Promotion { state: promotion.state.clone(), approved_by: promotion.approved_by.clone(), taken_up_at: promotion.taken_up_at, updated_at: promotion.updated_at, ..after.clone() };
            proptest::prop_assert_eq!(&same, &promotion);
            proptest::prop_assert!(after.updated_at >= promotion.updated_at && after.created_at <= after.taken_up_at);
            if let State::Pending { next_attempt_at, .. } = &after.state {
                proptest::prop_assert!(*next_attempt_at >= at(now));
            }
            promotion = after;
        }
    }
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn a_merge_has_the_forges_time_where_it_tells_one_and_keeps_the_pull_request() {
    let open =
        State::PullRequestOpen { pull: pull(), incomplete: None, unfollowed: None, poll: poll(20) };
    let open = Promotion { state: open, ..promotion(false) };
    for (told, expected) in [(Some(at(30)), at(30)), (None, at(60))] {
        let merged = open.apply(
            Change::Merged { commit: Some("abc".to_owned()), at: told },
            at(60),
            &RetryPolicy::default(),
        );
        let expected = State::Merged { pull: pull(), commit: Some("abc".to_owned()), at: expected };
        assert_eq!(merged.unwrap().state, expected);
    }
    assert_eq!(open.state.pull_request(), Some(&pull()));
    assert_eq!(State::Rejected.pull_request(), None);
}

#[cfg_attr(target_arch = "wasm32", wasm_bindgen_test::wasm_bindgen_test)]
#[cfg_attr(not(target_arch = "wasm32"), test)]
fn every_state_is_read_back_as_it_was_written() {
    for state in states() {
        let before = Promotion { state, ..promotion(false) };
        let text = serde_json::to_string(&before).unwrap();
        assert_eq!(serde_json::from_str::<Promotion>(&text).unwrap(), before, "{text}");
    }
}
