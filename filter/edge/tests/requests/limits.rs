//! How much an address may try and an endpoint may be sent, and what a flood does not shut out.

use core::time::Duration;

use lockgate_edge::{Outcome, Step};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::proxy::{KEY, LIMITED, PATH, Post, Proxy, event, refused, worker};

const WRONG_KEY: &[u8] = b"another key, 32 bytes long, wrong";

#[test]
fn an_unsigned_flood_is_limited_and_signed_events_still_pass() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let flood: Vec<_> =
        (0..50).map(|_| Post::unsigned(PATH, b"{}").outcome(&mut worker, &proxy)).collect();
    assert_eq!(flood.iter().filter(|outcome| **outcome == Outcome::Signature).count(), 5);
    assert_eq!(flood.iter().filter(|outcome| **outcome == Outcome::PreauthLimited).count(), 45);
    let limited = refused(Post::unsigned(PATH, b"{}").send(&mut worker, &proxy)).reply;
    assert_eq!((limited.status, limited.retry_after), (429, Some(2)));
    // A small one with one well-formed signature is still judged: the true one passes, the false
    // one gets its 401.
    for number in 0..10 {
        let post = Post::signed(PATH, KEY, &event(number));
        assert_eq!(post.outcome(&mut worker, &proxy), Outcome::Forwarded);
    }
    let wrong = Post::signed(PATH, WRONG_KEY, b"{}");
    assert_eq!(wrong.outcome(&mut worker, &proxy), Outcome::Signature);
    // Large or undeclared ones are not, and neither are two signatures.
    let large = [event(20), vec![b' '; 16 * 1024]].concat();
    let large = Post::signed(PATH, KEY, &large);
    assert_eq!(large.outcome(&mut worker, &proxy), Outcome::PreauthLimited);
    let undeclared = Post::signed(PATH, KEY, &event(21)).without("content-length");
    assert_eq!(undeclared.outcome(&mut worker, &proxy), Outcome::PreauthLimited);
    let twice = Post::signed(PATH, KEY, &event(22)).with("x-signature", b"sha256=00");
    assert_eq!(twice.outcome(&mut worker, &proxy), Outcome::PreauthLimited);
    // Another address is not concerned, and the limit comes back.
    proxy.source.set("192.0.2.2:40000");
    assert_eq!(Post::unsigned(PATH, b"{}").outcome(&mut worker, &proxy), Outcome::Signature);
    proxy.source.set("192.0.2.1:40000");
    proxy.advance(Duration::from_secs(2));
    assert_eq!(large.outcome(&mut worker, &proxy), Outcome::Forwarded);
}

#[test]
fn a_wrongly_signed_flood_does_not_shut_signed_events_out() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let wrong = Post::signed(PATH, WRONG_KEY, b"{}");
    assert!((0..100).all(|_| wrong.outcome(&mut worker, &proxy) == Outcome::Signature));
    let mut genuine = (0..20).map(|number| Post::signed(PATH, KEY, &event(number)));
    assert!(genuine.all(|post| post.outcome(&mut worker, &proxy) == Outcome::Forwarded));
}

#[test]
fn large_bodies_that_turn_out_too_large_are_charged() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let more = Post::signed(PATH, KEY, &vec![b'x'; 65_537]).without("content-length");
    assert!((0..5).all(|_| more.outcome(&mut worker, &proxy) == Outcome::Length));
    assert_eq!(more.outcome(&mut worker, &proxy), Outcome::PreauthLimited);
}

#[test]
fn each_endpoint_has_its_limit_after_the_signature() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let limited = |number| Post::signed(LIMITED, KEY, &event(number));
    assert_eq!(limited(0).outcome(&mut worker, &proxy), Outcome::Forwarded);
    assert_eq!(limited(1).outcome(&mut worker, &proxy), Outcome::Forwarded);
    let refusal = refused(limited(2).send(&mut worker, &proxy));
    assert_eq!(
        (refusal.outcome, refusal.reply.status, refusal.reply.retry_after),
        (Outcome::Limited, 429, Some(30))
    );
    let wrong = Post::signed(LIMITED, WRONG_KEY, &event(3));
    assert_eq!(
        wrong.outcome(&mut worker, &proxy),
        Outcome::Signature,
        "its limit is nobody's business without the key"
    );
    let default = (100..130).filter(|number| {
        let post = Post::signed(PATH, KEY, &event(*number));
        post.outcome(&mut worker, &proxy) == Outcome::Forwarded
    });
    assert_eq!(default.count(), 20);
}

#[test]
fn a_stream_that_is_not_finished_costs_its_source() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let almost = Post::signed(PATH, KEY, &vec![b' '; 60_000]);
    for number in 0..5 {
        let (mut exchange, step) = almost.begin(&mut worker, &proxy);
        assert_eq!(step, Step::Wait, "stream {number}");
        assert_eq!(exchange.body(&mut worker, 59_999, false, &proxy), Step::Wait);
        assert_eq!(exchange.end(&mut worker, &proxy), None);
        // An end that is said twice is counted once.
        assert_eq!(exchange.end(&mut worker, &proxy), None);
    }
    let (_, step) = almost.begin(&mut worker, &proxy);
    assert_eq!(refused(step).outcome, Outcome::PreauthLimited);
    // The small ones that wait for their end before they are refused cost as well.
    proxy.source.set("192.0.2.2:40000");
    for _ in 0..5 {
        let (mut exchange, step) = Post::unsigned("/nowhere", b"{}").begin(&mut worker, &proxy);
        assert_eq!((step, exchange.end(&mut worker, &proxy)), (Step::Wait, None));
    }
    let (_, step) = almost.begin(&mut worker, &proxy);
    assert_eq!(refused(step).outcome, Outcome::PreauthLimited);
}

#[test]
fn large_bodies_that_are_not_verified_are_bounded_and_events_still_pass() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let large = Post::signed(PATH, KEY, &vec![b' '; 65_536]);
    let undeclared = Post::signed(PATH, KEY, b"{}").without("content-length");
    let mut open = Vec::new();
    for source in ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1", "192.0.2.4:1", "192.0.2.5:1"] {
        proxy.source.set(source);
        for number in 0..100 {
            let post = if number % 2 == 0 { &large } else { &undeclared };
            let (exchange, step) = post.begin(&mut worker, &proxy);
            match step {
                Step::Wait => open.push(exchange),
                step => assert_eq!(refused(step).outcome, Outcome::Unavailable),
            }
        }
    }
    assert_eq!(open.len(), 256, "16 MiB");
    let small = Post::signed(PATH, KEY, &event(0));
    assert_eq!(small.outcome(&mut worker, &proxy), Outcome::Forwarded);
    // Whatever way a stream ends, its place is free again.
    for (number, mut exchange) in open.into_iter().enumerate() {
        match number % 3 {
            0 => drop(exchange.end(&mut worker, &proxy)),
            1 => drop(exchange.body(&mut worker, 100_000, false, &proxy)),
            _ => drop(exchange.finish(&mut worker, &proxy)),
        }
    }
    proxy.advance(Duration::from_secs(60));
    for number in 0..64 {
        let (_, step) = large.begin(&mut worker, &proxy);
        assert_eq!(step, Step::Wait, "{number}");
    }
}
