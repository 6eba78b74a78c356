//! The store: what was answered is on disk, whatever happens to the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod world;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use lockgate::store::{
    Answered, DATABASE_FILE, Digest, FinishedDelivery, LOCK_FILE, NewDelivery, PromotionFilter,
    Store, StoreError,
};
use lockgate_core::decide::{HistoryQuery, LatestState, ObjectRecord};
use lockgate_core::promotion::{Change, Promotion, PromotionId};
use lockgate_core::retry::RetryPolicy;
use lockgate_core::revision::Revision;
use serde_json::json;

fn promotion(id: &str, pipeline: &str, revision: &str) -> Promotion {
    let now = "2026-11-20T09:14:08Z";
    serde_json::from_value(json!({
        "id": id, "pipeline": pipeline, "from": "dev", "to": "prod", "target": null, "revision": revision, "version": revision,
        "state": {"state": "Pending", "attempts": 0, "nextAttemptAt": now, "lastError": null}, "strategy": "git",
        "event": {"id": "x", "reason": "UpgradeSucceeded", "time": now, "involvedObject":
            {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "namespace": "dev", "name": "podinfo", "uid": "u", "resourceVersion": "1"}},
        "createdAt": now, "takenUpAt": now, "updatedAt": now
    }))
    .unwrap()
}

fn id() -> String {
    uuid::Uuid::now_v7().to_string()
}

fn digest(number: u8) -> Digest {
    [number; 32]
}

fn new_delivery(endpoint: &str, number: u8, key: u8, now: Timestamp) -> NewDelivery {
    NewDelivery {
        endpoint: endpoint.parse().unwrap(),
        digest: digest(number),
        key: [key; 16],
        received_at: now,
        expires_at: now + Duration::from_secs(60),
    }
}

fn answer(text: &str) -> Answered {
    Answered {
        status: 202,
        content_type: "application/json".to_owned(),
        location: None,
        body: text.as_bytes().to_vec(),
    }
}

#[tokio::test]
async fn what_was_answered_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let one = id();
    let store = Store::open(dir.path()).unwrap();
    let stored = promotion(&one, "team/a", "1.0.0");
    let expected = stored.clone();
    store.transaction(move |tx| tx.insert_promotion(stored, "made")).await.unwrap();
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.promotion(one.parse().unwrap()).await.unwrap(), Some(expected));
    let events = store.events_after(0, 10).await.unwrap();
    assert_eq!(
        (events[0].0, events[0].1.kind.as_str(), events[0].1.message.as_str()),
        (1, "Pending", "made")
    );
}

#[tokio::test]
async fn a_second_process_is_told_who_holds_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let _store = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).err().expect("the folder is locked");
    assert!(
        matches!(&error, StoreError::Locked { holder: Some(holder), .. } if *holder == std::process::id()),
        "{error}"
    );
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    assert!(dir.path().join(LOCK_FILE).exists());
}

#[tokio::test]
async fn the_database_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let store = Store::open(&data).unwrap();
    store.ping().await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join(DATABASE_FILE)), 0o600);
    assert_eq!(mode(&data.join(format!("{DATABASE_FILE}-wal"))), 0o600);
}

#[tokio::test]
async fn a_database_of_a_later_version_is_refused_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let connection = rusqlite::Connection::open(dir.path().join(DATABASE_FILE)).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    assert!(matches!(Store::open(dir.path()), Err(StoreError::TooNew { found: 99, .. })));
}

#[tokio::test]
async fn a_failing_transaction_undoes_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let ids: Vec<String> = (0..40).map(|_| id()).collect();
    let all = ids.iter().enumerate().map(|(at, id)| {
        let promotion = promotion(id, "team/a", "1.0.0");
        store.transaction(move |tx| {
            tx.insert_promotion(promotion, "")?;
            if at % 2 == 0 { Ok(()) } else { Err(StoreError::Undone) }
        })
    });
    let outcomes = futures::future::join_all(all).await;
    for (at, (outcome, id)) in outcomes.into_iter().zip(&ids).enumerate() {
        let stored = store.promotion(id.parse().unwrap()).await.unwrap();
        assert_eq!(outcome.is_ok(), at % 2 == 0);
        assert_eq!(stored.is_some(), at % 2 == 0, "{at}");
    }
    assert_eq!(store.counts().await.unwrap()["Pending"], 20);
}

#[tokio::test]
async fn listeners_hear_of_a_change_only_after_its_commit() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let mut news = store.subscribe();
    let one = promotion(&id(), "team/a", "1.0.0");
    let failed = one.clone();
    let undone = store.transaction(move |tx| {
        tx.insert_promotion(failed, "")?;
        Err::<(), _>(StoreError::Undone)
    });
    assert!(undone.await.is_err());
    let two = one.clone();
    store.transaction(move |tx| tx.insert_promotion(two, "")).await.unwrap();
    assert_eq!(*news.recv().await.unwrap().promotion, one);
    assert!(news.try_recv().is_err());
}

#[tokio::test]
async fn the_first_answer_of_a_delivery_stands() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let now = Timestamp::now();
    let delivery = new_delivery("team/a/dev", 1, 1, now);
    let endpoint = delivery.endpoint.clone();
    let waits_for: PromotionId = id().parse().unwrap();
    store
        .transaction(move |tx| {
            tx.record_delivery(&delivery, &FinishedDelivery::Running(vec![waits_for]))
        })
        .await
        .unwrap();
    let asked = endpoint.clone();
    let found = store.transaction(move |tx| tx.delivery(&asked, &digest(1), now)).await.unwrap();
    assert_eq!(found, Some(FinishedDelivery::Running(vec![waits_for])));
    for text in ["first", "second"] {
        let endpoint = endpoint.clone();
        let stands = store
            .transaction(move |tx| tx.settle(&endpoint, &digest(1), answer(text), now))
            .await
            .unwrap();
        assert_eq!(stands, answer("first"));
    }
    let later = now + Duration::from_secs(61);
    assert_eq!(
        store.transaction(move |tx| tx.delivery(&endpoint, &digest(1), later)).await.unwrap(),
        None
    );
}

#[tokio::test]
async fn a_replay_is_the_same_body_under_the_same_key_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let now = Timestamp::now();
    let delivery = new_delivery("team/a/dev", 1, 1, now);
    store
        .transaction(move |tx| {
            tx.record_delivery(&delivery, &FinishedDelivery::Answered(answer("x")))
        })
        .await
        .unwrap();
    for (endpoint, number, key, expected) in [
        ("team/b/dev", 1, 1, true),
        ("team/a/dev", 1, 1, false),
        ("team/b/dev", 1, 2, false),
        ("team/b/dev", 2, 1, false),
    ] {
        let endpoint = endpoint.parse().unwrap();
        let replayed = store
            .transaction(move |tx| {
                tx.delivered_elsewhere(&endpoint, &digest(number), &[key; 16], now)
            })
            .await
            .unwrap();
        assert_eq!(replayed, expected, "{number} {key}");
    }
}

#[tokio::test]
async fn expired_deliveries_are_forgotten_faster_than_new_ones_come() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let now = Timestamp::now();
    for number in 0..40 {
        let delivery = new_delivery("team/a/dev", number, 1, now);
        store
            .transaction(move |tx| {
                tx.record_delivery(&delivery, &FinishedDelivery::Answered(answer("x")))
            })
            .await
            .unwrap();
    }
    let mut forgotten = Vec::new();
    for _ in 0..4 {
        forgotten.push(
            store
                .transaction(move |tx| tx.forget_expired(now + Duration::from_secs(61)))
                .await
                .unwrap(),
        );
    }
    assert_eq!(forgotten, [16, 16, 8, 0]);
}

#[tokio::test]
async fn history_tells_what_a_decision_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let now = Timestamp::now();
    let (old, new) = (id(), id());
    let record = ObjectRecord {
        uid: "u".to_owned(),
        revision: Revision::new("2.0.0").unwrap(),
        event_time: now,
        resource_version: "7".to_owned(),
        target: Some("dev".parse().unwrap()),
    };
    let (first, second, stored) =
        (promotion(&old, "team/a", "1.0.0"), promotion(&new, "team/a", "2.0.0"), record.clone());
    store
        .transaction(move |tx| {
            tx.insert_promotion(first, "")?;
            tx.insert_promotion(second, "")?;
            tx.record_object(&"team/a/dev".parse().unwrap(), &stored, now)
        })
        .await
        .unwrap();
    let query = HistoryQuery {
        endpoint: "team/a/dev".parse().unwrap(),
        uid: "u".to_owned(),
        revision: Revision::new("1.0.0").unwrap(),
        to_environment: "prod".to_owned(),
        targets: vec![None, Some("prod".parse().unwrap())],
    };
    let history = store.transaction(move |tx| tx.history(&query)).await.unwrap();
    assert_eq!(history.object, Some(record));
    assert_eq!(history.deployed[&"dev".parse().unwrap()].as_str(), "2.0.0");
    let environment = &history.promotions[0];
    let latest = environment.latest.as_ref().unwrap();
    assert_eq!(
        (latest.id.to_string(), latest.revision.as_str(), latest.state),
        (new, "2.0.0", LatestState::Active)
    );
    assert!(environment.ever_promoted && environment.object_reported_latest);
    assert!(history.promotions[1].latest.is_none() && !history.promotions[1].ever_promoted);
}

#[tokio::test]
async fn pages_go_from_new_to_old_and_events_keep_the_last_thousand() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let ids: Vec<String> = (0..7).map(|_| id()).collect();
    for (at, id) in ids.iter().enumerate() {
        let promotion = promotion(id, if at % 2 == 0 { "team/a" } else { "team/b" }, "1.0.0");
        store.transaction(move |tx| tx.insert_promotion(promotion, "")).await.unwrap();
    }
    let mut filter = PromotionFilter {
        pipeline: Some("a".to_owned()),
        limit: Some(3),
        ..PromotionFilter::default()
    };
    let first = store.promotions(filter.clone()).await.unwrap();
    filter.after = first.next;
    let second = store.promotions(filter).await.unwrap();
    let seen: Vec<String> =
        first.items.iter().chain(&second.items).map(|p| p.id.to_string()).collect();
    assert_eq!(seen, [&ids[6], &ids[4], &ids[2], &ids[0]].map(Clone::clone));
    assert!(first.next.is_some() && second.next.is_none());

    let noisy = promotion(&ids[0], "team/a", "1.0.0");
    store
        .transaction(move |tx| {
            (0..1100).try_for_each(|_| tx.update_promotion(noisy.clone(), "again"))
        })
        .await
        .unwrap();
    let events = store.events_after(0, 5000).await.unwrap();
    assert_eq!(events.len(), 1000);
    assert_eq!(events.last().unwrap().0, 1107);
}

/// Not a test of its own: what the next test runs in another process and kills.
#[test]
fn victim() {
    let Ok(dir) = std::env::var("LOCKGATE_TEST_VICTIM") else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(Path::new(&dir)).unwrap();
        let writers = (0..8).map(|_| {
            let store = store.clone();
            tokio::spawn(async move {
                loop {
                    let one = promotion(&id(), "team/a", "1.0.0");
                    let made = one.clone();
                    store.transaction(move |tx| tx.insert_promotion(made, "")).await.unwrap();
                    println!("made {}", one.id);
                    let running = one
                        .apply(Change::Attempted, Timestamp::now(), &RetryPolicy::default())
                        .unwrap();
                    store.transaction(move |tx| tx.update_promotion(running, "")).await.unwrap();
                    println!("runs {}", one.id);
                }
            })
        });
        futures::future::join_all(writers).await;
    });
}

#[test]
fn nothing_that_was_answered_is_lost_by_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..12_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "victim", "--nocapture"])
            .env("LOCKGATE_TEST_VICTIM", dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // However slow the machine is, each round gets somewhere.
        acknowledged.extend(lines.by_ref().take(10));
        let reader = std::thread::spawn(move || lines.collect::<Vec<_>>());
        std::thread::sleep(Duration::from_millis(round * 23));
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(reader.join().unwrap());
        let connection = rusqlite::Connection::open(dir.path().join(DATABASE_FILE)).unwrap();
        let verdict: String =
            connection.pragma_query_value(None, "integrity_check", |row| row.get(0)).unwrap();
        assert_eq!(verdict, "ok");
    }
    let lines: Vec<(&str, PromotionId)> = acknowledged
        .iter()
        .filter_map(|line| line.split_once(' '))
        // The last line of a killed process may be cut off.
        .filter_map(|(word, id)| Some((word, id.parse().ok()?)))
        .filter(|(word, _)| ["made", "runs"].contains(word))
        .collect();
    assert!(lines.len() > 100, "only {} writes were acknowledged", lines.len());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::open(dir.path()).unwrap();
        for (word, id) in lines {
            let stored = store
                .promotion(id)
                .await
                .unwrap()
                .unwrap_or_else(|| panic!("{id} was acknowledged and is lost"));
            assert!(
                word == "made" || stored.state.name() == "Running",
                "{id}: {word}, {:?}",
                stored.state
            );
        }
    });
}
