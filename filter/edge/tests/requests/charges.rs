//! Who pays for what is authentic: the endpoint for fresh events, the source for everything that a
//! copy of an old message can cause.

use core::time::Duration;

use lockgate_edge::reply::Reply;
use lockgate_edge::{Answer, Charge, Outcome, Step};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::proxy::{KEY, LIMITED, NOW, PATH, Post, Proxy, event, event_at, worker};

fn answer(status: u16, charge: Charge) -> Option<Answer> {
    Some(Answer { reply: Reply::json(status, &"x"), charge })
}

/// How many of ten fresh events the endpoint with a limit of two still takes.
fn left(proxy: &Proxy) -> usize {
    let mut fresh = worker();
    let taken = (1000..1010).filter(|number| {
        Post::signed(LIMITED, KEY, &event(*number)).outcome(&mut fresh, proxy) == Outcome::Forwarded
    });
    taken.count()
}

#[test]
fn old_messages_never_use_up_the_endpoints_allowance() {
    for (what, time) in [
        ("five days old", "2026-11-13T11:06:40Z"),
        ("an hour ahead", "2026-11-18T12:06:40Z"),
        ("without a time", "sometime"),
    ] {
        let (mut worker, proxy) = (worker(), Proxy::new());
        let outcomes: Vec<Outcome> = (0..200)
            .map(|number| {
                Post::signed(LIMITED, KEY, &event_at(time, number)).outcome(&mut worker, &proxy)
            })
            .collect();
        let forwarded = outcomes.iter().filter(|outcome| **outcome == Outcome::Forwarded).count();
        let limited = outcomes.iter().filter(|outcome| **outcome == Outcome::PreauthLimited);
        assert_eq!((forwarded, limited.count()), (5, 195), "{what}: the source's limit is 5");
        assert_eq!(left(&proxy), 2, "{what}: and the endpoint's is untouched, nobody answered yet");
    }
}

#[test]
fn a_repeated_message_is_its_sources_to_pay_for_even_before_the_first_is_answered() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let post = Post::signed(LIMITED, KEY, &event(0));
    let outcomes: Vec<Outcome> = (0..200).map(|_| post.outcome(&mut worker, &proxy)).collect();
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Outcome::Forwarded).count(), 6);
    assert_eq!(left(&proxy), 1, "one token for the first");
}

#[test]
fn the_sidecar_can_give_the_endpoint_its_token_back() {
    let proxy = Proxy::new();
    // Each worker meets the message for the first time, as after many restarts.
    for _ in 0..50 {
        let post = Post::signed(LIMITED, KEY, &event(0));
        assert_eq!(
            post.answered(&mut worker(), &proxy, Charge::Source),
            Outcome::Forwarded,
            "a fresh message passes whatever its source owes"
        );
    }
    assert_eq!(left(&proxy), 2);
    // And it was charged: an unsigned request of this source is limited.
    let unsigned = Post::unsigned(PATH, b"{}").outcome(&mut worker(), &proxy);
    assert_eq!(unsigned, Outcome::PreauthLimited);
}

#[test]
fn what_the_endpoint_paid_stays_paid() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let post = |number| Post::signed(LIMITED, KEY, &event(number));
    assert_eq!(post(0).answered(&mut worker, &proxy, Charge::Endpoint), Outcome::Forwarded);
    assert_eq!(post(1).answered(&mut worker, &proxy, Charge::Endpoint), Outcome::Forwarded);
    assert_eq!(post(2).outcome(&mut worker, &proxy), Outcome::Limited);
    assert!(!proxy.charged(), "a genuine sender's address owes nothing");
}

#[test]
fn a_token_that_comes_back_late_does_not_grow_the_burst() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let (mut exchange, step, _) =
        Post::signed(LIMITED, KEY, &event(0)).send_in(1000, &mut worker, &proxy);
    assert!(matches!(step, Step::Forward(_)));
    proxy.advance(Duration::from_secs(90));
    exchange.answered(&mut worker, answer(401, Charge::Source), &proxy);
    assert_eq!(left(&proxy), 2);
}

#[test]
fn where_the_clocks_differ_the_sidecars_word_counts() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    // To this edge the event is an hour old; the sidecar admits it.
    proxy.now.set(NOW + 3_600_000_000_000);
    for number in 0..2 {
        let post = Post::signed(LIMITED, KEY, &event(number));
        assert_eq!(post.answered(&mut worker, &proxy, Charge::Endpoint), Outcome::Forwarded);
    }
    proxy.now.set(NOW);
    assert_eq!(left(&proxy), 0, "the endpoint paid");
    proxy.now.set(NOW + 3_600_000_000_000);
    let unsigned = (0..10)
        .filter(|_| Post::unsigned(PATH, b"{}").outcome(&mut worker, &proxy) == Outcome::Signature);
    assert_eq!(unsigned.count(), 5, "and the source did not");
}

#[test]
fn a_delivery_that_was_not_taken_counts_when_it_comes_again() {
    for refused in [None, answer(503, Charge::Source), answer(429, Charge::Source)] {
        let (mut worker, proxy) = (worker(), Proxy::new());
        let post = Post::signed(LIMITED, KEY, &event(0));
        let first = post.settled(&mut worker, &proxy, refused.clone());
        let expected = if refused.is_none() { Outcome::Unavailable } else { Outcome::Forwarded };
        assert_eq!(first, expected);
        assert_eq!(left(&proxy), 2, "it got nothing for its token");
        proxy.cells.borrow_mut().clear();
        // Flux sends the same bytes again, and the endpoint pays, not its address.
        post.answered(&mut worker, &proxy, Charge::Endpoint);
        assert!(!proxy.charged());
        assert_eq!(left(&proxy), 1);
    }
}

#[test]
fn a_source_that_owes_gets_genuine_fresh_events_through() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let old = event_at("2026-11-13T11:06:40Z", 0);
    for _ in 0..100 {
        Post::signed(PATH, KEY, &old).answered(&mut worker, &proxy, Charge::Source);
        Post::unsigned(PATH, b"{}").outcome(&mut worker, &proxy);
    }
    for number in 0..20 {
        let post = Post::signed(PATH, KEY, &event(number));
        assert_eq!(post.answered(&mut worker, &proxy, Charge::Endpoint), Outcome::Forwarded);
    }
}

#[test]
fn a_sender_that_leaves_while_the_sidecar_has_its_delivery_is_counted_once() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let (mut exchange, step, _) =
        Post::signed(PATH, KEY, &event(0)).send_in(1000, &mut worker, &proxy);
    assert!(matches!(step, Step::Forward(_)));
    assert_eq!(exchange.end(&mut worker, &proxy), Some(Outcome::Forwarded));
    assert_eq!(exchange.end(&mut worker, &proxy), None);
    assert!(!proxy.charged(), "it was finished");
}
