//! How much an address may try and an endpoint may be sent, and what a flood does not shut out.

use lockgate_edge::Outcome;
use lockgate_edge::limit::Source;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::proxy::{KEY, PATH, Post, Proxy, SECOND, edge, refused};

#[test]
fn an_unsigned_flood_is_limited_and_signed_events_still_pass() {
    let (edge, proxy) = (edge(), Proxy::new());
    let flood: Vec<_> =
        (0..50).map(|_| Post::unsigned(PATH, b"{}").outcome(&edge, &proxy)).collect();
    assert_eq!(flood.iter().filter(|outcome| **outcome == Outcome::Signature).count(), 5);
    assert_eq!(flood.iter().filter(|outcome| **outcome == Outcome::PreauthLimited).count(), 45);
    let limited = refused(Post::unsigned(PATH, b"{}").send(&edge, &proxy)).reply;
    assert_eq!((limited.status, limited.retry_after), (429, Some(2)));
    // A small one with one well-formed signature is still judged: the true one passes, the false
    // one gets its 401.
    for _ in 0..10 {
        assert_eq!(Post::signed(PATH, KEY, b"{}").outcome(&edge, &proxy), Outcome::Forwarded);
    }
    let wrong = Post::signed(PATH, b"another key, 32 bytes long, wrong", b"{}");
    assert_eq!(wrong.outcome(&edge, &proxy), Outcome::Signature);
    // Large or undeclared ones are not, and neither are two signatures.
    let large = vec![b'x'; 16 * 1024 + 1];
    assert_eq!(Post::signed(PATH, KEY, &large).outcome(&edge, &proxy), Outcome::PreauthLimited);
    assert_eq!(
        Post::signed(PATH, KEY, b"{}").without("content-length").outcome(&edge, &proxy),
        Outcome::PreauthLimited
    );
    let twice = Post::signed(PATH, KEY, b"{}").with("x-signature", b"sha256=00");
    assert_eq!(twice.outcome(&edge, &proxy), Outcome::PreauthLimited);
    // Another address is not concerned, and the limit comes back.
    proxy.source.set(Source::V4([192, 0, 2, 2]));
    assert_eq!(Post::unsigned(PATH, b"{}").outcome(&edge, &proxy), Outcome::Signature);
    proxy.source.set(Source::V4([192, 0, 2, 1]));
    proxy.now.set(proxy.now.get() + 2 * SECOND);
    assert_eq!(Post::signed(PATH, KEY, &large).outcome(&edge, &proxy), Outcome::Forwarded);
}

#[test]
fn a_wrongly_signed_flood_does_not_shut_signed_events_out() {
    let (edge, proxy) = (edge(), Proxy::new());
    let wrong = Post::signed(PATH, b"another key, 32 bytes long, wrong", b"{}");
    assert!((0..100).all(|_| wrong.outcome(&edge, &proxy) == Outcome::Signature));
    assert!(
        (0..20)
            .all(|_| Post::signed(PATH, KEY, b"{}").outcome(&edge, &proxy) == Outcome::Forwarded)
    );
}

#[test]
fn large_bodies_that_turn_out_too_large_are_charged() {
    let (edge, proxy) = (edge(), Proxy::new());
    let more = Post::signed(PATH, KEY, &vec![b'x'; 65_537]).without("content-length");
    assert!((0..5).all(|_| more.outcome(&edge, &proxy) == Outcome::Length));
    assert_eq!(more.outcome(&edge, &proxy), Outcome::PreauthLimited);
}

#[test]
fn each_endpoint_has_its_limit_after_the_signature() {
    let (edge, proxy) = (edge(), Proxy::new());
    let limited = Post::signed("/promotion/team-a/limited/dev", KEY, b"{}");
    assert_eq!(limited.outcome(&edge, &proxy), Outcome::Forwarded);
    assert_eq!(limited.outcome(&edge, &proxy), Outcome::Forwarded);
    let refusal = refused(limited.send(&edge, &proxy));
    assert_eq!(
        (refusal.outcome, refusal.reply.status, refusal.reply.retry_after),
        (Outcome::Limited, 429, Some(30))
    );
    let wrong =
        Post::signed("/promotion/team-a/limited/dev", b"another key, 32 bytes long, wrong", b"{}");
    assert_eq!(
        wrong.outcome(&edge, &proxy),
        Outcome::Signature,
        "its limit is nobody's business without the key"
    );
    let default = (0..30)
        .filter(|_| Post::signed(PATH, KEY, b"{}").outcome(&edge, &proxy) == Outcome::Forwarded);
    assert_eq!(default.count(), 20);
}
