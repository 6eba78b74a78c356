#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use lockgate_core::promotion::{Cleanup, DoneDetail, Failure, FailureReason, PullRequestRecord};
use serde_json::json;

use super::*;
use crate::ledger::When;
use crate::strategy::Ended;

fn now() -> Timestamp {
    "2026-11-20T09:14:08Z".parse().unwrap()
}

fn promotion(state: State) -> Promotion {
    let at = now().to_string();
    let made: Promotion = serde_json::from_value(json!({
        "id": "0193f6a1-5b3c-7c21-8e0c-1f1d6f5f7c21", "pipeline": "team/podinfo", "from": "dev", "to": "prod", "target": null,
        "revision": "1.2.3", "version": "1.2.3", "strategy": "pull-request",
        "state": {"state": "Pending", "attempts": 0, "nextAttemptAt": at, "lastError": null},
        "event": {"id": "x", "reason": "UpgradeSucceeded", "time": at, "involvedObject":
            {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "namespace": "dev", "name": "podinfo", "uid": "u", "resourceVersion": "1"}},
        "createdAt": at, "takenUpAt": at, "updatedAt": at
    }))
    .unwrap();
    Promotion { state, ..made }
}

fn ours() -> Owner {
    Owner::new([1; 16])
}

fn running(owner: Owner) -> State {
    State::Running { attempt: 1, owner, last_error: None, crashes: 0 }
}

fn pending() -> State {
    State::Pending { attempts: 0, next_attempt_at: now(), last_error: None, crashes: 0 }
}

fn overtaken() -> State {
    let by = "0193f6a1-5b3c-7c21-8e0c-1f1d6f5f7c22".parse().unwrap();
    State::Superseded { by, cleanup: Cleanup::Done }
}

fn pull() -> PullRequestRecord {
    PullRequestRecord {
        url: "https://forge.example/org/repo/pulls/1".to_owned(),
        number: 1,
        repository: "forge.example/org/repo".to_owned(),
        branch: "promotion-team-podinfo-prod".to_owned(),
        commit: "3f786850e387550fdab836ed7e6dc881de23001b".to_owned(),
        opened_at: now(),
        auto_merge: false,
        merging_seen: false,
    }
}

fn open(ended: Option<Ended>) -> Outcome {
    Outcome::PullRequest { pull: pull(), incomplete: None, ended }
}

fn failed(reason: FailureReason) -> Outcome {
    Outcome::of(Failure { reason, message: "no".to_owned() })
}

fn done() -> Outcome {
    Outcome::Done { detail: DoneDetail::default(), announce: Some("Promote".to_owned()) }
}

#[test]
fn an_outcome_means_what_the_promotion_has_become_meanwhile() {
    let other = Owner::new([2; 16]);
    let closed = || open(Some(Ended::Closed));
    let refused = || failed(FailureReason::AuthenticationFailed);
    for (what, before, outcome, outdated, expected) in [
        ("a claim in memory counts", pending(), done(), false, Some("Done")),
        ("a written claim is ours", running(ours()), done(), false, Some("Done")),
        ("another process has it", running(other), done(), false, None),
        ("a pull request is open", pending(), open(None), false, Some("PullRequestOpen")),
        ("a person was quicker", pending(), closed(), false, Some("Closed")),
        ("it may pass", pending(), failed(FailureReason::TimedOut), false, Some("Pending")),
        ("it will not pass", pending(), refused(), false, Some("Failed")),
        ("the Secret is new", running(ours()), refused(), true, Some("Pending")),
        ("overtaken, and nothing is left", overtaken(), done(), false, None),
        ("overtaken, with a pull request", overtaken(), open(None), false, Some("Superseded")),
        ("it ended already", State::Rejected, done(), false, None),
    ] {
        let terms = Terms {
            owner: ours(),
            policy: RetryPolicy::default(),
            first_poll: Duration::from_secs(15),
            outdated,
            now: now(),
        };
        let before = promotion(before);
        let concluded = conclude(&before, &outcome, &terms);
        assert_eq!(concluded.as_ref().map(|(after, _)| after.state.name()), expected, "{what}");
        let Some((after, announcement)) = concluded else { continue };
        let ends_badly = matches!(after.state, State::Failed { .. });
        let writes = writes(&before, after, announcement);
        let when = if ends_badly { When::Now } else { When::Soon };
        assert_eq!(writes.when, when, "{what}: what must be on disk before it is told");
    }
}

#[test]
fn a_pull_request_of_an_overtaken_promotion_is_cleaned_up() {
    let terms = Terms {
        owner: ours(),
        policy: RetryPolicy::default(),
        first_poll: Duration::from_secs(15),
        outdated: false,
        now: now(),
    };
    let (after, _) = conclude(&promotion(overtaken()), &open(None), &terms).unwrap();
    let State::Superseded { cleanup, .. } = after.state else { panic!() };
    assert_eq!(cleanup, Cleanup::Due { pull: pull() });
}
