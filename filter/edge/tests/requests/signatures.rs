//! Whose events are forwarded: signed ones under an active key, unsigned ones where they may be,
//! each judged once.

use lockgate_edge::endpoint::{Endpoint, PathPrefix};
use lockgate_edge::key::Key;
use lockgate_edge::reply::Reply;
use lockgate_edge::signature::{Algorithm, sign};
use lockgate_edge::{Outcome, Step, Worker};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::proxy::{KEY, NEXT_KEY, PATH, Post, Proxy, edge, event, forwarded, refused, worker};

#[test]
fn a_signed_event_is_forwarded_under_any_active_key() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    for key in [KEY, NEXT_KEY] {
        let body = event(0);
        let post = Post::signed(PATH, key, &body)
            .with("x-request-id", b"id-1")
            .with("traceparent", b"00-aa-bb-01");
        let forward = forwarded(post.send(&mut worker, &proxy));
        assert_eq!(forward.endpoint, "team-a/podinfo/dev".parse::<Endpoint>().unwrap());
        assert_eq!(forward.fingerprint, Some(Key::new("", key).unwrap().fingerprint()));
        assert_eq!(forward.signature.unwrap().to_string(), sign(Algorithm::Sha256, key, &body));
        assert_eq!((forward.body, &*forward.source), (body, "192.0.2.1:40000"));
        assert_eq!((&*forward.request_id, &*forward.traceparent), ("id-1", "00-aa-bb-01"));
    }
    assert!(!proxy.charged());
}

#[test]
fn the_body_may_come_in_any_pieces_and_every_algorithm() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let body: Vec<u8> = (0..5000u32).map(|n| n as u8).collect();
    for (algorithm, size) in Algorithm::ALL.into_iter().zip([1, 63, 64, 4999]) {
        let post =
            Post::unsigned(PATH, &body).with("x-signature", sign(algorithm, KEY, &body).as_bytes());
        forwarded(post.send_in(size, &mut worker, &proxy).1);
    }
}

#[test]
fn an_empty_body_is_judged_at_the_headers() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    forwarded(Post::signed(PATH, KEY, b"").send(&mut worker, &proxy));
    forwarded(Post::signed(PATH, KEY, b"").without("content-length").send(&mut worker, &proxy));
    assert_eq!(
        Post::signed(PATH, b"another key, 32 bytes long, wrong", b"").outcome(&mut worker, &proxy),
        Outcome::Signature
    );
}

#[test]
fn every_lack_of_authenticity_gets_the_same_answer() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let good = sign(Algorithm::Sha256, KEY, b"{}");
    let other = sign(Algorithm::Sha256, KEY, b"[]");
    let sha1: &[u8] = b"sha1=da39a3ee5e6b4b0d3255bfef95601890afd80709";
    let posts = [
        (Post::unsigned(PATH, b"{}"), Outcome::Signature),
        (Post::unsigned(PATH, b"{}").with("x-signature", b""), Outcome::Signature),
        (Post::unsigned(PATH, b"{}").with("x-signature", b"sha256=zz"), Outcome::Signature),
        (Post::unsigned(PATH, b"{}").with("x-signature", b"\xff\xfe\x00"), Outcome::Signature),
        (Post::unsigned(PATH, b"{}").with("x-signature", sha1), Outcome::Signature),
        (Post::unsigned(PATH, b"{}").with("x_signature", good.as_bytes()), Outcome::Signature),
        (Post::unsigned(PATH, b"{}").with("x-signature", other.as_bytes()), Outcome::Signature),
        (Post::signed(PATH, KEY, b"{}").with("x-signature", good.as_bytes()), Outcome::Signature),
        (Post::signed(PATH, b"another key, 32 bytes long, wrong", b"{}"), Outcome::Signature),
        (Post::signed("/promotion/team-a/podinfo/staging", KEY, b"{}"), Outcome::Unknown),
        (Post::signed("/promotion/nobody/nothing/dev", KEY, b"{}"), Outcome::Unknown),
        (Post::signed("/promotion/closed/app/dev", KEY, b"{}"), Outcome::Unknown),
        (Post::unsigned("/promotion/closed/app/dev", b"{}"), Outcome::Signature),
    ];
    for (number, (post, outcome)) in posts.iter().enumerate() {
        proxy.cells.borrow_mut().clear();
        let refusal = refused(post.send(&mut worker, &proxy));
        assert_eq!((refusal.outcome, refusal.reply), (*outcome, Reply::unauthorized()), "{number}");
        assert!(proxy.charged(), "{number}");
    }
}

#[test]
fn only_the_algorithms_of_the_settings_are_accepted() {
    let (mut edge, proxy) = (edge(), Proxy::new());
    edge.settings.algorithms = vec![Algorithm::Sha256];
    let mut worker = Worker::with(edge);
    let post = Post::unsigned(PATH, b"{}")
        .with("x-signature", sign(Algorithm::Sha512, KEY, b"{}").as_bytes());
    assert_eq!(post.outcome(&mut worker, &proxy), Outcome::Signature);
    assert_eq!(Post::signed(PATH, KEY, b"{}").outcome(&mut worker, &proxy), Outcome::Forwarded);
}

#[test]
fn unsigned_events_pass_only_where_the_pipeline_is_listed_and_has_no_key() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let forward =
        forwarded(Post::unsigned("/promotion/open/app/dev", b"{}").send(&mut worker, &proxy));
    assert_eq!((forward.signature, forward.fingerprint), (None, None));
    assert_eq!(
        Post::unsigned("/promotion/open/keyed/dev", b"{}").outcome(&mut worker, &proxy),
        Outcome::Signature
    );
    assert_eq!(
        Post::unsigned("/promotion/open/app/staging", b"{}").outcome(&mut worker, &proxy),
        Outcome::Signature
    );
    assert_eq!(
        Post::signed("/promotion/open/app/staging", KEY, b"{}").outcome(&mut worker, &proxy),
        Outcome::Unknown
    );
}

#[test]
fn a_request_is_judged_once() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let post = Post::signed(PATH, KEY, b"{}");
    let (mut exchange, step) = post.begin(&mut worker, &proxy);
    assert_eq!(step, Step::Wait);
    assert_eq!(exchange.body(&mut worker, 2, false, &proxy), Step::Wait);
    // Often a last call brings nothing new; trailers may come on top.
    forwarded(exchange.body(&mut worker, 2, true, &proxy));
    assert_eq!(exchange.finish(&mut worker, &proxy), Step::Wait);
    assert_eq!(exchange.body(&mut worker, 100_000, true, &proxy), Step::Wait);
}

#[test]
fn a_body_that_the_proxy_does_not_give_is_not_judged() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let (mut exchange, _) = Post::signed(PATH, KEY, b"{}").begin(&mut worker, &proxy);
    let refusal = refused(exchange.body(&mut worker, 3, true, &proxy));
    assert_eq!((refusal.outcome, refusal.reply), (Outcome::Unavailable, Reply::unavailable()));
}

#[test]
fn a_key_that_is_taken_away_does_not_hurt_a_request_under_way() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let post = Post::signed(PATH, KEY, &event(0));
    let (mut exchange, _) = post.begin(&mut worker, &proxy);
    let mut without = edge();
    without.table.remove(&"team-a/podinfo/dev".parse().unwrap());
    worker.syncer = Worker::with(without).syncer;
    forwarded(exchange.body(&mut worker, event(0).len(), true, &proxy));
    assert_eq!(post.outcome(&mut worker, &proxy), Outcome::Unknown);
}

#[test]
fn odd_ids_are_dropped_and_another_prefix_is_obeyed() {
    let (mut edge, proxy) = (edge(), Proxy::new());
    edge.settings.path_prefix = PathPrefix::new("/").unwrap();
    let mut worker = Worker::with(edge);
    let post = Post::signed("/team-a/podinfo/dev", KEY, b"{}")
        .with("x-request-id", b"a b\xff")
        .with("traceparent", &[b'a'; 500]);
    let forward = forwarded(post.send(&mut worker, &proxy));
    assert_eq!((&*forward.request_id, &*forward.traceparent), ("", ""));
    assert_eq!(Post::signed(PATH, KEY, b"{}").outcome(&mut worker, &proxy), Outcome::Path);
}
