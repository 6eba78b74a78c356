//! Whose events are forwarded: signed ones under an active key, unsigned ones where they may be,
//! each judged once.

use lockgate_edge::endpoint::{Endpoint, PathPrefix};
use lockgate_edge::key::Key;
use lockgate_edge::reply::Reply;
use lockgate_edge::signature::{Algorithm, sign};
use lockgate_edge::{Body, Exchange, Outcome, Step};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::proxy::{KEY, NEXT_KEY, PATH, Post, Proxy, admitted, edge, refused};

#[test]
fn a_signed_event_is_forwarded_under_any_active_key() {
    let (edge, proxy) = (edge(), Proxy::new());
    for key in [KEY, NEXT_KEY] {
        let post = Post::signed(PATH, key, b"{}")
            .with("x-request-id", b"id-1")
            .with("traceparent", b"00-aa-bb-01");
        let admission = admitted(post.send(&edge, &proxy));
        assert_eq!(admission.endpoint, "team-a/podinfo/dev".parse::<Endpoint>().unwrap());
        assert_eq!(admission.fingerprint, Some(Key::new("", key).unwrap().fingerprint()));
        assert_eq!(admission.signature.unwrap().to_string(), sign(Algorithm::Sha256, key, b"{}"));
        assert_eq!((&*admission.request_id, &*admission.traceparent), ("id-1", "00-aa-bb-01"));
    }
    assert!(!proxy.charged());
}

#[test]
fn the_body_may_come_in_any_pieces_and_every_algorithm() {
    let (edge, proxy) = (edge(), Proxy::new());
    let body: Vec<u8> = (0..5000u32).map(|n| n as u8).collect();
    for (algorithm, size) in Algorithm::ALL.into_iter().zip([1, 63, 64, 4999]) {
        let post =
            Post::unsigned(PATH, &body).with("x-signature", sign(algorithm, KEY, &body).as_bytes());
        admitted(post.send_in(size, Some(&edge), &proxy).0);
    }
}

#[test]
fn an_empty_body_is_judged_at_the_headers() {
    let (edge, proxy) = (edge(), Proxy::new());
    admitted(Post::signed(PATH, KEY, b"").send(&edge, &proxy));
    admitted(Post::signed(PATH, KEY, b"").without("content-length").send(&edge, &proxy));
    assert_eq!(
        Post::signed(PATH, b"another key, 32 bytes long, wrong", b"").outcome(&edge, &proxy),
        Outcome::Signature
    );
}

#[test]
fn every_lack_of_authenticity_gets_the_same_answer() {
    let (edge, proxy) = (edge(), Proxy::new());
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
        let refusal = refused(post.send(&edge, &proxy));
        assert_eq!((refusal.outcome, refusal.reply), (*outcome, Reply::unauthorized()), "{number}");
        assert!(proxy.charged(), "{number}");
    }
}

#[test]
fn only_the_algorithms_of_the_settings_are_accepted() {
    let (mut edge, proxy) = (edge(), Proxy::new());
    edge.settings.algorithms = vec![Algorithm::Sha256];
    let post = Post::unsigned(PATH, b"{}")
        .with("x-signature", sign(Algorithm::Sha512, KEY, b"{}").as_bytes());
    assert_eq!(post.outcome(&edge, &proxy), Outcome::Signature);
    assert_eq!(Post::signed(PATH, KEY, b"{}").outcome(&edge, &proxy), Outcome::Forwarded);
}

#[test]
fn unsigned_events_pass_only_where_the_pipeline_is_listed_and_has_no_key() {
    let (edge, proxy) = (edge(), Proxy::new());
    let admission = admitted(Post::unsigned("/promotion/open/app/dev", b"{}").send(&edge, &proxy));
    assert_eq!((admission.signature, admission.fingerprint), (None, None));
    assert_eq!(
        Post::unsigned("/promotion/open/keyed/dev", b"{}").outcome(&edge, &proxy),
        Outcome::Signature
    );
    assert_eq!(
        Post::unsigned("/promotion/open/app/staging", b"{}").outcome(&edge, &proxy),
        Outcome::Signature
    );
    assert_eq!(
        Post::signed("/promotion/open/app/staging", KEY, b"{}").outcome(&edge, &proxy),
        Outcome::Unknown
    );
}

#[test]
fn a_request_is_judged_once() {
    let (edge, proxy) = (edge(), Proxy::new());
    let post = Post::signed(PATH, KEY, b"{}");
    let (mut exchange, step) = Exchange::begin(Some(&edge), &post.head(), false, &proxy);
    assert_eq!(step, Step::Wait);
    assert_eq!(exchange.body(2, &proxy), Body::Read(0..2));
    exchange.feed(b"{}");
    // Often a last call brings nothing new; trailers may come on top.
    assert_eq!(exchange.body(2, &proxy), Body::Skip);
    admitted(exchange.finish(&proxy));
    assert_eq!(exchange.finish(&proxy), Step::Wait);
    assert_eq!(exchange.body(100_000, &proxy), Body::Skip);
}

#[test]
fn a_key_that_is_taken_away_does_not_hurt_a_request_under_way() {
    let proxy = Proxy::new();
    let mut edge = edge();
    let post = Post::signed(PATH, KEY, b"{}");
    let (mut exchange, _) = Exchange::begin(Some(&edge), &post.head(), false, &proxy);
    edge.table.remove(&"team-a/podinfo/dev".parse().unwrap());
    assert_eq!(post.outcome(&edge, &proxy), Outcome::Unknown);
    assert_eq!(exchange.body(2, &proxy), Body::Read(0..2));
    exchange.feed(b"{}");
    admitted(exchange.finish(&proxy));
}

#[test]
fn odd_ids_are_dropped_and_another_prefix_is_obeyed() {
    let (mut edge, proxy) = (edge(), Proxy::new());
    edge.settings.path_prefix = PathPrefix::new("/").unwrap();
    let post = Post::signed("/team-a/podinfo/dev", KEY, b"{}")
        .with("x-request-id", b"a b\xff")
        .with("traceparent", &[b'a'; 500]);
    let admission = admitted(post.send(&edge, &proxy));
    assert_eq!((&*admission.request_id, &*admission.traceparent), ("", ""));
    assert_eq!(Post::signed(PATH, KEY, b"{}").outcome(&edge, &proxy), Outcome::Path);
}
