//! The ledger in one SQLite file: what was answered is on disk, whatever happens to the process.
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
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use lockgate::ledger::sqlite::{DATABASE_FILE, LOCK_FILE};
use lockgate::ledger::{
    Ask, Ledger, LedgerError, News, PromotionFilter, SOON, When, Write, Writes,
};
use lockgate_core::promotion::{Change, Owner, Promotion, PromotionId};
use lockgate_core::retry::RetryPolicy;
use serde_json::json;
use world::{open, until};

fn promotion(pipeline: &str, revision: &str) -> Promotion {
    let now = "2026-11-20T09:14:08Z";
    serde_json::from_value(json!({
        "id": uuid::Uuid::now_v7(), "pipeline": pipeline, "from": "dev", "to": "prod", "target": null, "revision": revision, "version": revision,
        "state": {"state": "Pending", "attempts": 0, "nextAttemptAt": now, "lastError": null}, "strategy": "git",
        "event": {"id": "x", "reason": "UpgradeSucceeded", "time": now, "involvedObject":
            {"apiVersion": "helm.toolkit.fluxcd.io/v2", "kind": "HelmRelease", "namespace": "dev", "name": "podinfo", "uid": "u", "resourceVersion": "1"}},
        "createdAt": now, "takenUpAt": now, "updatedAt": now
    }))
    .unwrap()
}

async fn write(ledger: &Arc<dyn Ledger>, when: When, write: Write) -> Result<(), LedgerError> {
    let ask = Ask::promotions(&"team/a".parse().unwrap(), Vec::new());
    ledger.decide(ask, move |_| (Writes { when, list: vec![write.clone()] }, ())).await
}

async fn start(ledger: &Arc<dyn Ledger>, made: &Promotion) -> Result<(), LedgerError> {
    write(ledger, When::Now, Write::Start(Arc::new(made.clone()))).await
}

fn attempted(made: &Promotion) -> Arc<Promotion> {
    let attempt = Change::Attempted { owner: Owner::default() };
    Arc::new(made.apply(attempt, Timestamp::now(), &RetryPolicy::default()).unwrap())
}

fn database(dir: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(dir.join(DATABASE_FILE)).unwrap()
}

/// The state on disk, as another process sees it.
fn state_on_disk(dir: &Path, id: PromotionId) -> Option<String> {
    let record: Option<String> = database(dir)
        .query_row("SELECT record FROM promotions WHERE id = ?", [id.as_uuid().as_bytes()], |row| {
            row.get(0)
        })
        .ok();
    record.map(|text| serde_json::from_str::<Promotion>(&text).unwrap().state.name().to_owned())
}

#[tokio::test]
async fn what_was_answered_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let made = promotion("team/a", "1.0.0");
    let ledger = open(dir.path()).unwrap();
    let mut writes = Writes::now();
    writes.start(&Arc::new(made.clone()));
    let ask = Ask::promotions(&made.pipeline, Vec::new());
    ledger.decide(ask, move |_| (writes.clone(), ())).await.unwrap();
    drop(ledger);
    let ledger = open(dir.path()).unwrap();
    assert_eq!(*ledger.promotion(made.id).await.unwrap().unwrap(), made);
    let (cursor, entry) = ledger.events(None, 10).await.unwrap().remove(0);
    assert_eq!((cursor.as_str(), entry.kind.as_str()), ("1", "Pending"));
    assert_eq!(ledger.standing().await.unwrap().states["Pending"], 1);
}

#[tokio::test]
async fn a_second_process_is_told_who_holds_the_folder() {
    let dir = tempfile::tempdir().unwrap();
    let _ledger = open(dir.path()).unwrap();
    let error = open(dir.path()).err().expect("the folder is locked");
    assert!(
        matches!(&error, LedgerError::Locked { holder: Some(holder), .. } if *holder == std::process::id()),
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
    let ledger = open(&data).unwrap();
    ledger.ping().await.unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join(DATABASE_FILE)), 0o600);
    assert_eq!(mode(&data.join(format!("{DATABASE_FILE}-wal"))), 0o600);
}

#[tokio::test]
async fn a_database_of_another_version_is_refused_and_kept() {
    for (version, remedy) in [(99, "run the program that wrote it"), (2, "move the file away")] {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()).unwrap());
        database(dir.path()).pragma_update(None, "user_version", version).unwrap();
        let error = open(dir.path()).err().expect("refused");
        assert!(matches!(error, LedgerError::Version { found, .. } if found == version));
        assert!(error.to_string().contains(remedy), "{error}");
    }
}

#[tokio::test]
async fn what_may_follow_is_told_at_once_and_is_on_disk_a_moment_later() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    let made = promotion("team/a", "1.0.0");
    start(&ledger, &made).await.unwrap();
    assert_eq!(state_on_disk(dir.path(), made.id).unwrap(), "Pending");
    let mut news = ledger.news().subscribe();
    write(&ledger, When::Soon, Write::Change(attempted(&made))).await.unwrap();
    assert!(matches!(news.try_recv(), Ok(News::Changed(now)) if now.state.name() == "Running"));
    // Whoever reads through the ledger sees what was told.
    let now = ledger.promotion(made.id).await.unwrap().unwrap();
    assert_eq!(now.state.name(), "Running");
    assert_eq!(state_on_disk(dir.path(), made.id).unwrap(), "Running", "a reader has it written");
    // Without a reader it follows by itself.
    let two = promotion("team/b", "1.0.0");
    write(&ledger, When::Soon, Write::Start(Arc::new(two.clone()))).await.unwrap();
    let began = std::time::Instant::now();
    let on_disk = async || state_on_disk(dir.path(), two.id).ok_or("not there");
    until("it is on disk", on_disk).await;
    assert!(began.elapsed() < SOON * 40, "{:?}", began.elapsed());
}

#[tokio::test]
async fn listeners_hear_of_an_intent_only_after_its_commit() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    let mut news = ledger.news().subscribe();
    let made = promotion("team/a", "1.0.0");
    let started = start(&ledger, &made);
    let heard = async {
        let News::Changed(heard) = news.recv().await.unwrap() else { panic!("undone") };
        assert_eq!(state_on_disk(dir.path(), heard.id).as_deref(), Some("Pending"));
        heard.id
    };
    let (started, heard) = tokio::join!(started, heard);
    started.unwrap();
    assert_eq!(heard, made.id);
}

#[tokio::test]
async fn a_ledger_that_cannot_be_written_says_so_and_recovers() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    let made = promotion("team/a", "1.0.0");
    start(&ledger, &made).await.unwrap();
    let mut news = ledger.news().subscribe();
    write(&ledger, When::Soon, Write::Change(attempted(&made))).await.unwrap();
    // Nothing but the ping would notice.
    let other = database(dir.path());
    other.execute_batch("ALTER TABLE ping RENAME TO pong").unwrap();
    assert!(ledger.ping().await.is_err());
    until("what was held back is on disk or undone", async || {
        match state_on_disk(dir.path(), made.id).as_deref() {
            Some("Running") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    while let Ok(heard) = news.try_recv() {
        assert!(matches!(heard, News::Changed(_)), "it was on disk before the other came in");
    }
    // Now also for promotions: what was told is undone, and everybody hears of it.
    other.execute_batch("ALTER TABLE promoted RENAME TO removed").unwrap();
    let two = promotion("team/b", "1.0.0");
    assert!(start(&ledger, &two).await.is_err());
    assert!(ledger.promotion(two.id).await.unwrap().is_none(), "nothing of it was written");
    assert_eq!(ledger.standing().await.unwrap().states["Pending"], 0);
    other.execute_batch("ALTER TABLE promoted RENAME TO promoted_").ok();
    other
        .execute_batch("ALTER TABLE removed RENAME TO promoted; ALTER TABLE pong RENAME TO ping")
        .unwrap();
    start(&ledger, &two).await.unwrap();
    ledger.ping().await.unwrap();
    assert_eq!(ledger.standing().await.unwrap().states["Pending"], 1);
}

#[tokio::test]
async fn one_bad_row_costs_that_row() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = open(dir.path()).unwrap();
    let all: Vec<Promotion> = ["team/a", "team/a", "team/b", "team/c"]
        .iter()
        .map(|pipeline| promotion(pipeline, "1.0.0"))
        .collect();
    for made in &all {
        start(&ledger, made).await.unwrap();
    }
    drop(ledger);
    let connection = database(dir.path());
    // A reason of a later version, and a damaged document.
    let later = serde_json::to_string(&all[1])
        .unwrap()
        .replace("\"state\":\"Pending\"", "\"state\":\"Levitating\"");
    for (record, id) in [(later.as_str(), all[1].id), ("{", all[2].id)] {
        let id = id.as_uuid().as_bytes().to_vec();
        connection
            .execute("UPDATE promotions SET record = ? WHERE id = ?", rusqlite::params![record, id])
            .unwrap();
    }
    drop(connection);
    let ledger = open(dir.path()).unwrap();
    let listed = ledger.promotions(PromotionFilter::default()).await.unwrap();
    let ids: Vec<PromotionId> = listed.items.iter().map(|promotion| promotion.id).collect();
    assert_eq!(ids, [all[3].id, all[0].id]);
    assert_eq!(ledger.unfinished(None).await.unwrap().items.len(), 2);
    assert_eq!(ledger.promotion(all[1].id).await.unwrap(), None);
    assert!(ledger.standing().await.unwrap().unreadable >= 2);
    // And its Pipeline goes on.
    start(&ledger, &promotion("team/b", "1.1.0")).await.unwrap();
}

/// Not a test of its own: what the next test runs in another process and kills.
#[test]
fn victim() {
    let Ok(dir) = std::env::var("LOCKGATE_TEST_VICTIM") else { return };
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let ledger = open(Path::new(&dir)).unwrap();
        let writers = (0..8).map(|_| {
            let ledger = Arc::clone(&ledger);
            tokio::spawn(async move {
                loop {
                    let made = promotion("team/a", "1.0.0");
                    start(&ledger, &made).await.unwrap();
                    println!("made {}", made.id);
                    let running = attempted(&made);
                    write(&ledger, When::Now, Write::Change(running)).await.unwrap();
                    println!("runs {}", made.id);
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
        let verdict: String = database(dir.path())
            .pragma_query_value(None, "integrity_check", |row| row.get(0))
            .unwrap();
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
        let ledger = open(dir.path()).unwrap();
        for (word, id) in lines {
            let stored = ledger
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
