//! How a worker keeps its table: pages, deltas, lost calls, restarts of the sidecar.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code")]

use std::sync::Arc;

use lockgate_edge::key::{Key, Keys};
use lockgate_edge::{
    Certainty, Change, EdgeSettings, EndpointTable, Record, SyncAnswer, SyncQuestion, Syncer,
};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

const SECOND: u64 = 1_000_000_000;
const NOW: u64 = 1_795_000_000 * SECOND;

fn record(name: &str, key: u8) -> Record {
    Record {
        endpoint: name.parse().unwrap(),
        keys: Keys::new(vec![Key::new("", &[key; 32]).unwrap()]).unwrap(),
        rate_limit: None,
    }
}

fn full(version: u64, records: Vec<Record>, next: Option<&str>) -> SyncAnswer {
    SyncAnswer {
        version,
        certainty: Certainty::default(),
        change: Change::Full(records),
        next: next.map(Into::into),
        settings: EdgeSettings::default(),
    }
}

fn delta(version: u64, base: u64, upserts: Vec<Record>, removals: &[&str]) -> SyncAnswer {
    let removals = removals.iter().map(|name| name.parse().unwrap()).collect();
    SyncAnswer {
        change: Change::Delta { base, upserts, removals },
        ..full(version, Vec::new(), None)
    }
}

fn question(version: u64, cursor: &str) -> Option<SyncQuestion> {
    Some(SyncQuestion { version, cursor: cursor.into(), refused: Vec::new() })
}

fn table(syncer: &Syncer) -> &EndpointTable {
    &syncer.edge().unwrap().table
}

fn knows(syncer: &Syncer, name: &str) -> bool {
    table(syncer).find(&name.parse().unwrap()).is_some()
}

/// A worker with version 5: a/a/a and b/b/b.
fn settled() -> Syncer {
    let mut syncer = Syncer::default();
    syncer.ask(NOW).unwrap();
    assert!(syncer.answer(full(5, vec![record("a/a/a", 1), record("b/b/b", 1)], None), NOW));
    syncer
}

#[test]
fn the_first_question_asks_for_everything_and_nothing_is_known_before_the_answer() {
    let mut syncer = Syncer::default();
    assert_eq!(syncer.edge(), None);
    assert_eq!(syncer.heard(), None);
    assert_eq!(syncer.ask(NOW), question(0, ""));
    assert_eq!(syncer.ask(NOW + SECOND), None, "one question at a time");
}

#[test]
fn a_table_in_pages_replaces_the_old_one_after_its_last_page() {
    let mut syncer = settled();
    assert_eq!(syncer.ask(NOW), question(5, ""));
    assert!(syncer.answer(full(9, vec![record("c/c/c", 1)], Some("c/c/c")), NOW));
    assert!(knows(&syncer, "a/a/a") && !knows(&syncer, "c/c/c"));
    assert_eq!(syncer.ask(NOW), question(5, "c/c/c"));
    assert!(syncer.answer(full(9, vec![record("d/d/d", 1)], None), NOW));
    assert!(!knows(&syncer, "a/a/a") && knows(&syncer, "c/c/c") && knows(&syncer, "d/d/d"));
    assert_eq!(syncer.ask(NOW), question(9, ""));
}

#[test]
fn pages_of_a_table_that_changed_meanwhile_begin_anew() {
    let mut syncer = Syncer::default();
    syncer.ask(NOW).unwrap();
    syncer.answer(full(1, vec![record("gone/a/a", 1)], Some("x")), NOW);
    syncer.ask(NOW).unwrap();
    syncer.answer(full(2, vec![record("b/b/b", 1)], Some("y")), NOW);
    assert_eq!(syncer.ask(NOW), question(0, "y"));
    syncer.answer(full(2, vec![record("c/c/c", 1)], None), NOW);
    assert_eq!(table(&syncer).len(), 2);
    assert!(!knows(&syncer, "gone/a/a"));
}

#[test]
fn deltas_add_replace_and_remove() {
    let mut syncer = settled();
    syncer.ask(NOW).unwrap();
    assert!(syncer.answer(
        delta(6, 5, vec![record("a/a/a", 2), record("aa/x/y", 1)], &["b/b/b", "not/there/x"]),
        NOW
    ));
    assert!(!knows(&syncer, "b/b/b") && knows(&syncer, "aa/x/y"));
    assert_eq!(
        table(&syncer).find(&"a/a/a".parse().unwrap()).map(|found| (**found).clone()),
        Some(record("a/a/a", 2))
    );
    assert_eq!(syncer.ask(NOW), question(6, ""));
}

#[test]
fn an_answer_without_news_is_followed_up_at_once_only_if_it_was_held() {
    let mut syncer = settled();
    syncer.ask(NOW).unwrap();
    assert!(!syncer.answer(delta(5, 5, Vec::new(), &[]), NOW + SECOND / 10), "it must not spin");
    syncer.ask(NOW + SECOND).unwrap();
    assert!(syncer.answer(delta(5, 5, Vec::new(), &[]), NOW + 21 * SECOND));
    syncer.ask(NOW + 22 * SECOND).unwrap();
    assert!(
        !syncer.answer(full(5, vec![record("a/a/a", 1)], None), NOW + 22 * SECOND),
        "nor on a full one"
    );
}

#[test]
fn a_delta_to_something_else_leads_to_a_full_table() {
    let mut syncer = settled();
    syncer.ask(NOW).unwrap();
    assert!(!syncer.answer(delta(9, 8, vec![record("z/z/z", 1)], &["a/a/a"]), NOW));
    assert!(knows(&syncer, "a/a/a") && !knows(&syncer, "z/z/z"));
    assert_eq!(syncer.ask(NOW), None);
    assert_eq!(syncer.ask(NOW + SECOND), question(0, ""));
}

#[test]
fn what_is_known_stays_while_the_sidecar_is_away_and_pauses_grow() {
    let mut syncer = settled();
    let mut now = NOW;
    let mut pauses = Vec::new();
    for _ in 0..8 {
        assert!(syncer.ask(now).is_some());
        syncer.fail(now);
        let start = now;
        while syncer.ask(now).is_none() {
            now += SECOND / 100;
        }
        pauses.push(now - start);
        syncer.fail(now);
        now += 10 * SECOND;
    }
    assert!(
        pauses.iter().all(|pause| (SECOND / 10..=25 * SECOND / 10).contains(pause)),
        "{pauses:?}"
    );
    assert!(pauses.first() < pauses.last());
    assert!(knows(&syncer, "a/a/a"));
    assert_eq!(syncer.heard(), Some(NOW));
    // The first answer makes it quick again.
    syncer.ask(now).unwrap();
    syncer.answer(delta(5, 5, Vec::new(), &[]), now);
    syncer.ask(now).unwrap();
    syncer.fail(now);
    assert!(syncer.ask(now + SECOND / 5).is_some());
}

#[test]
fn a_lost_page_starts_the_table_over() {
    let mut syncer = Syncer::default();
    syncer.ask(NOW).unwrap();
    syncer.answer(full(1, vec![record("a/a/a", 1)], Some("x")), NOW);
    syncer.ask(NOW).unwrap();
    syncer.fail(NOW);
    assert_eq!(syncer.edge(), None);
    assert_eq!(syncer.ask(NOW + SECOND), question(0, ""));
}

#[test]
fn a_clock_that_steps_back_delays_a_question_by_one_pause_at_most() {
    let mut syncer = settled();
    syncer.ask(NOW).unwrap();
    syncer.fail(NOW);
    let back = NOW - 3600 * SECOND;
    assert_eq!(syncer.ask(back), None);
    assert!(syncer.ask(back + SECOND).is_some());
    assert_eq!(syncer.ask(back), None, "a running question is not asked twice");
    assert!(
        syncer.ask(back + 60 * SECOND).is_some(),
        "a question whose answer was lost is asked again"
    );
}

#[test]
fn unchanged_records_of_a_new_table_are_shared_with_the_old_one() {
    let mut syncer = settled();
    let old = Arc::clone(table(&syncer).find(&"a/a/a".parse().unwrap()).unwrap());
    syncer.ask(NOW).unwrap();
    syncer.answer(full(1, vec![record("a/a/a", 1), record("b/b/b", 2)], None), NOW);
    assert!(Arc::ptr_eq(&old, table(&syncer).find(&"a/a/a".parse().unwrap()).unwrap()));
    assert_eq!(
        table(&syncer).find(&"b/b/b".parse().unwrap()).map(|found| (**found).clone()),
        Some(record("b/b/b", 2))
    );
}

#[test]
fn pages_may_come_in_any_order_and_an_endpoint_is_there_once() {
    let records = (0..1000u32).map(|n| record(&format!("n{}/p/e", n * 7919 % 1000), 1));
    let mut table: EndpointTable = records.collect();
    assert_eq!(table.len(), 1000);
    table.upsert(Arc::new(record("n500/p/e", 2)));
    assert_eq!(table.len(), 1000);
    assert!((0..1000).all(|n| table.remove(&format!("n{n}/p/e").parse().unwrap()).is_some()));
    assert!(table.is_empty());
}

#[test]
fn a_worker_that_gets_whole_tables_again_and_again_pauses() {
    let mut syncer = Syncer::default();
    let mut now = NOW;
    let mut questions = 0;
    for version in 1.. {
        // The version changes each time, so each answer is news that is followed up at once.
        while syncer.ask(now).is_none() {
            now += SECOND / 100;
        }
        questions += 1;
        syncer.answer(full(version, vec![record("a/a/a", 1)], None), now);
        if now > NOW + 30 * SECOND {
            break;
        }
    }
    assert!((20..=95).contains(&questions), "{questions} whole tables in 30 seconds");
    // Two at once are fine: a start, and a change right after it.
    let mut calm = Syncer::default();
    for version in 1..=2 {
        assert!(calm.ask(NOW).is_some());
        assert!(calm.answer(full(version, vec![record("a/a/a", 1)], None), NOW));
    }
    assert!(calm.ask(NOW).is_some());
}

#[test]
fn many_pages_of_one_table_are_no_reason_to_pause() {
    let mut syncer = Syncer::default();
    for page in 0..20 {
        assert!(syncer.ask(NOW).is_some(), "page {page}");
        let next = (page < 19).then_some("next");
        let records = vec![record(&format!("n{page}/p/e"), 1)];
        assert!(syncer.answer(full(7, records, next), NOW));
    }
    assert_eq!(table(&syncer).len(), 20);
}

#[test]
fn the_endpoint_with_most_keys_is_known() {
    let key = |byte| Key::new("", &[byte; 32]).unwrap();
    let with = |name: &str, count: u8| Record {
        keys: Keys::new((0..count).map(key).collect()).unwrap(),
        ..record(name, 1)
    };
    let mut table: EndpointTable = [with("a/a/a", 1), with("b/b/b", 0)].into_iter().collect();
    assert_eq!(table.most_keys(), 1);
    table.upsert(Arc::new(with("b/b/b", 5)));
    table.upsert(Arc::new(with("c/c/c", 8)));
    assert_eq!(table.most_keys(), 8);
    table.upsert(Arc::new(with("c/c/c", 2)));
    assert_eq!(table.most_keys(), 5);
    table.remove(&"b/b/b".parse().unwrap());
    assert_eq!(table.most_keys(), 2);
    assert_eq!(EndpointTable::default().most_keys(), 0);
}
