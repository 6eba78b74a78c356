//! A 401 is for good, so it needs certainty: while an endpoint may be missing by mistake, what is
//! not authentic gets a 503 that asks to come again, the same for all.

use core::time::Duration;

use lockgate_edge::endpoint::PipelineKey;
use lockgate_edge::reply::Reply;
use lockgate_edge::{Change, Outcome, SyncAnswer, Worker};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::proxy::{KEY, NEXT_KEY, PATH, Post, Proxy, edge, event, refused, worker};

fn unauthentic(path: &str) -> Vec<Post> {
    let body = event(0);
    vec![
        Post::unsigned(path, &body),
        Post::unsigned(path, &body).with("x-signature", b"sha256=zz"),
        Post::signed(path, b"another key, 32 bytes long, wrong", &body),
        Post::signed(path, b"another key, 32 bytes long, wrong", b""),
    ]
}

#[track_caller]
fn assert_unavailable(worker: &mut Worker, proxy: &Proxy, path: &str) {
    for (number, post) in unauthentic(path).iter().enumerate() {
        proxy.cells.borrow_mut().clear();
        let refusal = refused(post.send(worker, proxy));
        assert_eq!(refusal.outcome, Outcome::Unavailable, "{path} {number}");
        assert_eq!(refusal.reply, Reply::unavailable(), "{path} {number}");
        assert!(proxy.charged(), "{path} {number}: its source pays as for the 401");
    }
}

#[track_caller]
fn assert_unauthorized(worker: &mut Worker, proxy: &Proxy, path: &str) {
    for post in unauthentic(path) {
        proxy.cells.borrow_mut().clear();
        assert_eq!(refused(post.send(worker, proxy)).reply, Reply::unauthorized(), "{path}");
    }
}

#[test]
fn while_the_table_is_not_complete_nobody_is_sent_away_for_good() {
    let (mut edge, proxy) = (edge(), Proxy::new());
    edge.certainty.complete = false;
    let mut worker = Worker::with(edge);
    for path in [PATH, "/promotion/team-a/podinfo/staging", "/promotion/nobody/nothing/dev"] {
        assert_unavailable(&mut worker, &proxy, path);
    }
    // Who has a key is served, and what is wrong whatever the table says stays wrong.
    assert_eq!(Post::signed(PATH, KEY, &event(1)).outcome(&mut worker, &proxy), Outcome::Forwarded);
    assert_eq!(Post::unsigned("/promotion/x", b"{}").outcome(&mut worker, &proxy), Outcome::Path);
}

#[test]
fn while_the_table_is_not_complete_a_flood_is_limited_all_the_same() {
    let (mut edge, proxy) = (edge(), Proxy::new());
    edge.certainty.complete = false;
    let mut worker = Worker::with(edge);
    let unsigned = Post::unsigned(PATH, b"{}");
    let outcomes: Vec<_> = (0..20).map(|_| unsigned.outcome(&mut worker, &proxy)).collect();
    assert_eq!(outcomes.iter().filter(|seen| **seen == Outcome::Unavailable).count(), 5);
    assert_eq!(outcomes.iter().filter(|seen| **seen == Outcome::PreauthLimited).count(), 15);
}

#[test]
fn a_broken_document_puts_only_its_own_pipeline_in_doubt() {
    let (mut edge, proxy) = (edge(), Proxy::new());
    edge.certainty.unreadable.push(PipelineKey::new("team-b", "broken").unwrap());
    let mut worker = Worker::with(edge);
    assert_unavailable(&mut worker, &proxy, "/promotion/team-b/broken/dev");
    assert_unavailable(&mut worker, &proxy, "/promotion/team-b/broken/any");
    for path in [PATH, "/promotion/team-b/other/dev", "/promotion/team-b-broken/x/dev"] {
        assert_unauthorized(&mut worker, &proxy, path);
    }
}

fn without_podinfo() -> SyncAnswer {
    SyncAnswer {
        version: 2,
        certainty: edge().certainty,
        change: Change::Delta {
            base: 1,
            upserts: Vec::new(),
            removals: vec!["team-a/podinfo/dev".parse().unwrap()],
        },
        next: None,
        settings: edge().settings,
    }
}

#[test]
fn an_endpoint_that_goes_answers_503_to_everything_for_five_seconds() {
    let full = {
        let rest = edge().table.iter().skip(1).map(|record| (**record).clone()).collect();
        SyncAnswer { change: Change::Full(rest), ..without_podinfo() }
    };
    assert_eq!(edge().table.iter().next().unwrap().endpoint.as_str(), "closed/app/dev");
    for (answer, path) in [
        (without_podinfo(), PATH),
        // `open/app/dev` takes unsigned events as long as it is there.
        (
            SyncAnswer {
                change: Change::Delta {
                    base: 1,
                    upserts: Vec::new(),
                    removals: vec!["open/app/dev".parse().unwrap()],
                },
                ..without_podinfo()
            },
            "/promotion/open/app/dev",
        ),
        (full, "/promotion/closed/app/dev"),
    ] {
        let (mut worker, proxy) = (worker(), Proxy::new());
        worker.syncer.ask(proxy.now.get()).unwrap();
        worker.syncer.answer(answer, proxy.now.get());
        for _ in 0..2 {
            assert_unavailable(&mut worker, &proxy, path);
            // Its keys stop at once.
            let signed = Post::signed(path, NEXT_KEY, &event(1));
            assert_eq!(signed.outcome(&mut worker, &proxy), Outcome::Unavailable);
            assert_unauthorized(&mut worker, &proxy, "/promotion/nobody/nothing/dev");
            proxy.advance(Duration::from_millis(2400));
        }
        proxy.advance(Duration::from_millis(200));
        assert_unauthorized(&mut worker, &proxy, path);
    }
}

#[test]
fn an_endpoint_that_comes_back_is_served_at_once() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    worker.syncer.ask(proxy.now.get()).unwrap();
    worker.syncer.answer(without_podinfo(), proxy.now.get());
    let record = (**edge().table.find(&"team-a/podinfo/dev".parse().unwrap()).unwrap()).clone();
    worker.syncer.ask(proxy.now.get()).unwrap();
    let change = Change::Delta { base: 2, upserts: vec![record], removals: Vec::new() };
    worker.syncer.answer(SyncAnswer { version: 1, change, ..without_podinfo() }, proxy.now.get());
    assert_eq!(Post::signed(PATH, KEY, &event(1)).outcome(&mut worker, &proxy), Outcome::Forwarded);
    assert_unauthorized(&mut worker, &proxy, PATH);
}

#[test]
fn a_clock_that_steps_back_prolongs_the_doubt_by_five_seconds_at_most() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    worker.syncer.ask(proxy.now.get()).unwrap();
    worker.syncer.answer(without_podinfo(), proxy.now.get());
    proxy.now.set(proxy.now.get() - 3_600_000_000_000);
    worker.syncer.ask(proxy.now.get());
    assert_unavailable(&mut worker, &proxy, PATH);
    proxy.advance(Duration::from_secs(5));
    worker.syncer.ask(proxy.now.get());
    assert_unauthorized(&mut worker, &proxy, PATH);
}

#[test]
fn refused_signatures_of_known_endpoints_are_told_with_the_next_question() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    for path in [PATH, "/promotion/nobody/nothing/dev", "/promotion/closed/app/dev"] {
        for post in unauthentic(path) {
            post.outcome(&mut worker, &proxy);
        }
    }
    let question = worker.syncer.ask(proxy.now.get()).unwrap();
    assert_eq!(question.refused, [("team-a/podinfo/dev".parse().unwrap(), 4)]);
    worker.syncer.fail(proxy.now.get());
    proxy.advance(Duration::from_secs(1));
    let again = worker.syncer.ask(proxy.now.get()).unwrap();
    assert_eq!(again.refused, question.refused, "a lost question says it again");
    worker.syncer.answer(without_podinfo(), proxy.now.get());
    assert_eq!(worker.syncer.ask(proxy.now.get()).unwrap().refused, []);
}
