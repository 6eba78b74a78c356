//! What every home of the ledger has to do alike. A new home adds one line to [`homes`].
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod bounds;
mod deliveries;
mod promotions;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockgate::ledger::memory::MemoryLedger;
use lockgate::ledger::sqlite::SqliteLedger;
use lockgate::ledger::{Ask, Digest, Ledger, LedgerError, Retention, Write, Writes};
use lockgate_core::promotion::{Change, Promotion, PromotionId};
use lockgate_core::retry::RetryPolicy;
use serde_json::json;
use tempfile::TempDir;

/// A home under test. Its folder lives as long.
struct Home {
    name: &'static str,
    ledger: Arc<dyn Ledger>,
    _dir: Option<TempDir>,
}

/// Every home, empty.
fn homes(keep: Retention) -> Vec<Home> {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = SqliteLedger::open(dir.path(), keep, Box::new(|_| {})).unwrap();
    vec![
        Home { name: "memory", ledger: Arc::new(MemoryLedger::new(keep)), _dir: None },
        Home { name: "sqlite", ledger: Arc::new(sqlite), _dir: Some(dir) },
    ]
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + seconds).unwrap()
}

fn id(number: u16) -> PromotionId {
    let [high, low] = number.to_be_bytes();
    PromotionId::new(at(0), [0, 0, 0, 0, 0, 0, 0, 0, high, low])
}

/// A pending promotion of `pipeline` into prod, made at the start.
fn promotion(number: u16, pipeline: &str, revision: &str) -> Promotion {
    let now = at(0).to_string();
    serde_json::from_value(json!({
        "id": id(number), "pipeline": pipeline, "from": "dev", "to": "prod", "target": null, "revision": revision, "version": revision,
        "state": {"state": "Pending", "attempts": 0, "nextAttemptAt": now, "lastError": null}, "strategy": "git",
        "event": {"id": "x", "reason": "UpgradeSucceeded", "time": now, "involvedObject":
            {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "namespace": "dev", "name": "podinfo", "uid": "u", "resourceVersion": "1"}},
        "createdAt": now, "takenUpAt": now, "updatedAt": now
    }))
    .unwrap()
}

fn digest(number: u8) -> Digest {
    Digest([number; 16])
}

impl Home {
    /// Writes all of it as one step, whatever is there.
    async fn write(&self, writes: Writes) {
        let ask = Ask::promotions(&"team/a".parse().unwrap(), Vec::new());
        self.ledger.decide(ask, move |_| (writes.clone(), ())).await.unwrap();
    }

    async fn add(&self, write: Write) {
        let mut writes = Writes::soon();
        writes.add(write);
        self.write(writes).await;
    }

    async fn start(&self, promotion: Promotion) -> Arc<Promotion> {
        let promotion = Arc::new(promotion);
        let mut writes = Writes::now();
        writes.start(&promotion);
        self.write(writes).await;
        promotion
    }

    /// Changes a promotion; what it was and what it is.
    async fn change(
        &self,
        promotion: &Promotion,
        change: Change,
        seconds: i64,
        message: &'static str,
    ) -> Option<(Arc<Promotion>, Arc<Promotion>)> {
        self.ledger
            .change(&promotion.pipeline, promotion.id, message, move |promotion| {
                promotion.apply(change.clone(), at(seconds), &RetryPolicy::default()).ok()
            })
            .await
            .unwrap()
    }

    async fn kinds(&self) -> Vec<String> {
        let events = self.ledger.events(None, 5000).await.unwrap();
        events.into_iter().map(|(_, entry)| entry.kind).collect()
    }
}

#[tokio::test]
async fn a_step_that_writes_nothing_changes_nothing_and_returns_what_it_says() {
    for home in homes(Retention::default()) {
        let known = home.start(promotion(1, "team/a", "1.0.0")).await;
        let ask = Ask::promotions(&known.pipeline, vec![known.id, id(9)]);
        let seen = home
            .ledger
            .decide(ask, |excerpt| (Writes::soon(), excerpt.promotions.clone()))
            .await
            .unwrap();
        assert_eq!(seen, [Arc::clone(&known)], "{}: what is not there is missing", home.name);
        assert_eq!(home.kinds().await, ["Pending"], "{}", home.name);
    }
}

#[tokio::test]
async fn a_promotion_has_listeners_who_hear_of_it_alone() {
    for home in homes(Retention::default()) {
        let mut one = home.ledger.news().watch([id(1)]);
        let two = home.start(promotion(2, "team/b", "1.0.0")).await;
        let first = home.start(promotion(1, "team/a", "1.0.0")).await;
        assert_eq!(one.changed().await, first, "{}", home.name);
        let failed = Change::PipelineDeleted { failure: failure() };
        home.change(&two, failed.clone(), 1, "").await;
        let (_, after) = home.change(&first, failed, 2, "").await.unwrap();
        assert_eq!(one.changed().await, after, "{}", home.name);
        assert!(one.has(id(1)) && !one.has(id(2)));
    }
}

#[tokio::test]
async fn a_cursor_of_another_ledger_is_gone() {
    for home in homes(Retention::default()) {
        home.start(promotion(1, "team/a", "1.0.0")).await;
        for text in ["x", "-1", "77"] {
            let cursor = lockgate::ledger::Cursor::from_client(text);
            let events = home.ledger.events(Some(cursor), 10).await;
            assert!(matches!(events, Err(LedgerError::CursorGone)), "{} {text}", home.name);
        }
        let (cursor, _) = home.ledger.events(None, 10).await.unwrap().remove(0);
        assert_eq!(home.ledger.events(Some(cursor), 10).await.unwrap(), [], "{}", home.name);
    }
}

#[tokio::test]
async fn a_home_that_works_says_so() {
    for home in homes(Retention::default()) {
        home.ledger.ping().await.unwrap();
        let stopped = tokio::time::timeout(Duration::from_millis(1), home.ledger.stopped()).await;
        assert!(stopped.is_err(), "{} runs", home.name);
    }
}

fn failure() -> lockgate_core::promotion::Failure {
    lockgate_core::promotion::Failure {
        reason: lockgate_core::promotion::FailureReason::PipelineDeleted,
        message: "it is gone".to_owned(),
    }
}
