//! Promotions: what is listed, what is left to do, what the event stream says.

use std::sync::Arc;

use lockgate::ledger::{PromotionFilter, Retention};
use lockgate_core::promotion::{Change, Failure, FailureReason, Owner, Promotion};

use crate::{at, homes, id, promotion};

fn failed(reason: FailureReason) -> Change {
    let message = "no file has the marker".to_owned();
    Change::FailedPermanent { failure: Failure { reason, message }, seen: None }
}

fn numbers(items: &[Arc<Promotion>]) -> Vec<usize> {
    let number = |promotion: &Arc<Promotion>| (1..99).find(|n| id(*n) == promotion.id).unwrap();
    items.iter().map(|promotion| usize::from(number(promotion))).collect()
}

#[tokio::test]
async fn pages_go_from_new_to_old_and_every_filter_counts() {
    for home in homes(Retention::default()) {
        for number in 1..=7 {
            let pipeline = if number % 2 == 0 { "team/b" } else { "team/a" };
            home.start(promotion(number, pipeline, &format!("1.{number}.0"))).await;
        }
        home.change(&promotion(7, "team/a", "1.7.0"), failed(FailureReason::MarkerNotFound), 1, "")
            .await;
        let of = |pipeline: Option<&str>, state: Option<&str>, limit, after| PromotionFilter {
            pipeline: pipeline.map(str::to_owned),
            state: state.map(str::to_owned),
            limit: Some(limit),
            after,
            ..PromotionFilter::default()
        };
        let list = async |filter| home.ledger.promotions(filter).await.unwrap();
        let first = list(of(Some("a"), None, 3, None)).await;
        assert_eq!(numbers(&first.items), [7, 5, 3], "{}", home.name);
        let second = list(of(Some("a"), None, 3, first.next)).await;
        assert_eq!((numbers(&second.items), second.next), (vec![1], None), "{}", home.name);
        let all = list(of(None, None, 7, None)).await;
        assert_eq!((all.items.len(), all.next), (7, None), "{}: exactly one page", home.name);
        let pending = list(of(None, Some("Pending"), 2, None)).await;
        assert_eq!(numbers(&pending.items), [6, 5], "{}", home.name);
        let rest = list(of(None, Some("Pending"), 9, pending.next)).await;
        assert_eq!(numbers(&rest.items), [4, 3, 2, 1], "{}", home.name);
        let failed = list(of(Some("a"), Some("Failed"), 9, None)).await;
        assert_eq!(numbers(&failed.items), [7], "{}", home.name);
        assert!(list(of(Some("nobody"), None, 9, None)).await.items.is_empty());
    }
}

#[tokio::test]
async fn unfinished_are_those_with_work_and_the_failed_ones_that_nobody_overtook() {
    for home in homes(Retention::default()) {
        let overtaken = home.start(promotion(1, "team/a", "1.0.0")).await;
        home.change(&overtaken, failed(FailureReason::MarkerNotFound), 1, "").await;
        home.start(promotion(2, "team/a", "1.1.0")).await;
        let latest = home.start(promotion(3, "team/b", "1.0.0")).await;
        home.change(&latest, failed(FailureReason::MarkerNotFound), 1, "").await;
        let superseded = home.start(promotion(4, "team/c", "1.0.0")).await;
        home.change(&superseded, Change::Superseded { by: id(5) }, 1, "").await;
        home.start(promotion(5, "team/c", "1.1.0")).await;
        let page = home.ledger.unfinished(None).await.unwrap();
        assert_eq!((numbers(&page.items), page.next), (vec![2, 3, 5], None), "{}", home.name);
    }
}

#[tokio::test]
async fn the_latest_of_each_destination_is_counted_and_a_failure_is_named() {
    for home in homes(Retention::default()) {
        let old = home.start(promotion(1, "team/a", "1.0.0")).await;
        home.change(&old, failed(FailureReason::MarkerNotFound), 1, "").await;
        let other = home.start(promotion(2, "team/b", "1.0.0")).await;
        home.change(&other, failed(FailureReason::SecretMissing), 1, "").await;
        let standing = home.ledger.standing().await.unwrap();
        assert_eq!((standing.states["Failed"], standing.failed.len()), (2, 2), "{}", home.name);
        home.start(promotion(3, "team/a", "1.1.0")).await;
        let standing = home.ledger.standing().await.unwrap();
        assert_eq!(
            (standing.states["Failed"], standing.states["Pending"], standing.states["Merged"]),
            (1, 1, 0),
            "{}",
            home.name
        );
        let failed: Vec<_> = standing
            .failed
            .iter()
            .map(|(place, reason)| (place.pipeline.to_string(), *reason))
            .collect();
        assert_eq!(failed, [("team/b".to_owned(), FailureReason::SecretMissing)], "{}", home.name);
    }
}

#[tokio::test]
async fn the_event_stream_tells_each_thing_once() {
    for home in homes(Retention::default()) {
        let made = home.start(promotion(1, "team/a", "1.0.0")).await;
        home.change(&made, Change::Attempted { owner: Owner::default() }, 1, "").await;
        home.change(&made, failed(FailureReason::MarkerNotFound), 2, "").await;
        assert_eq!(home.kinds().await, ["Pending", "Running", "Failed"], "{}", home.name);
        // A start tries again what failed, and it fails as before: nothing that people do not know.
        for second in 0..400 {
            home.change(&made, Change::TakenUpAgain, second, "").await.unwrap();
            let attempt = Change::Attempted { owner: Owner::default() };
            home.change(&made, attempt, second, "").await.unwrap();
            home.change(&made, failed(FailureReason::MarkerNotFound), second, "").await.unwrap();
        }
        assert_eq!(home.kinds().await, ["Pending", "Running", "Failed"], "{}", home.name);
        home.change(&made, Change::TakenUpAgain, 9, "its Secret has changed").await;
        home.change(&made, failed(FailureReason::SecretMissing), 10, "").await;
        let told = home.ledger.events(None, 10).await.unwrap();
        let told: Vec<_> = told
            .iter()
            .skip(3)
            .map(|(_, entry)| (entry.kind.as_str(), entry.reason.as_str(), entry.time))
            .collect();
        assert_eq!(
            told,
            [("Pending", "MarkerNotFound", at(9)), ("Failed", "SecretMissing", at(10))],
            "{}",
            home.name
        );
    }
}
