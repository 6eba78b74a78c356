//! What is refused without a look at the signature: method, path, type, length, and everything
//! while there is no table.

use lockgate_edge::reply::Reply;
use lockgate_edge::{Outcome, Worker};
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

use crate::proxy::{KEY, PATH, Post, Proxy, event, forwarded, refused, worker};

#[test]
fn method_path_type_and_length_are_refused_in_this_order_and_charge_nothing() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let get = refused(
        Post::signed("/elsewhere", KEY, b"{}").replace(":method", b"GET").send(&mut worker, &proxy),
    );
    assert_eq!(
        (get.outcome, get.reply.status, get.reply.allow),
        (Outcome::Method, 405, Some("POST"))
    );
    assert_eq!(
        Post::signed(PATH, KEY, b"{}").replace(":method", b"post").outcome(&mut worker, &proxy),
        Outcome::Method
    );
    let path = refused(Post::unsigned("/promotion/a/b", b"{}").send(&mut worker, &proxy));
    assert_eq!((path.outcome, path.reply.status), (Outcome::Path, 404));
    for value in [
        b"text/plain".as_slice(),
        b"application/jsonx",
        b"application/json, application/json",
        b"",
        b"\xff",
    ] {
        let typed = refused(
            Post::signed(PATH, KEY, b"{}").replace("content-type", value).send(&mut worker, &proxy),
        );
        assert_eq!((typed.outcome, typed.reply.status), (Outcome::Type, 415), "{value:?}");
    }
    assert_eq!(
        Post::signed(PATH, KEY, b"{}").without("content-type").outcome(&mut worker, &proxy),
        Outcome::Type
    );
    assert_eq!(
        Post::signed(PATH, KEY, b"{}")
            .with("content-type", b"application/json")
            .outcome(&mut worker, &proxy),
        Outcome::Type
    );
    assert_eq!(
        Post::signed(PATH, KEY, b"{}")
            .with("content-encoding", b"gzip")
            .outcome(&mut worker, &proxy),
        Outcome::Type
    );
    for value in [b"65537".as_slice(), b"-1", b"1x", b"", b"99999999999999999999999"] {
        let length = refused(
            Post::signed(PATH, KEY, b"{}")
                .replace("content-length", value)
                .send(&mut worker, &proxy),
        );
        assert_eq!((length.outcome, length.reply.status), (Outcome::Length, 413), "{value:?}");
    }
    assert!(!proxy.charged());
    for (number, value) in [
        b"application/json; charset=utf-8".as_slice(),
        b"Application/JSON",
        b"application/json ;x=y",
    ]
    .into_iter()
    .enumerate()
    {
        let post = Post::signed(PATH, KEY, &event(number as u32)).replace("content-type", value);
        assert_eq!(post.outcome(&mut worker, &proxy), Outcome::Forwarded);
    }
    let identity = Post::signed(PATH, KEY, &event(9)).with("content-encoding", b"identity");
    assert_eq!(identity.outcome(&mut worker, &proxy), Outcome::Forwarded);
}

#[test]
fn a_body_of_exactly_the_limit_passes_and_one_more_byte_does_not() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let exact = vec![b'x'; 65_536];
    forwarded(Post::signed(PATH, KEY, &exact).send(&mut worker, &proxy));
    forwarded(Post::signed(PATH, KEY, &exact).without("content-length").send(&mut worker, &proxy));
    let more = vec![b'x'; 65_537];
    assert_eq!(Post::signed(PATH, KEY, &more).outcome(&mut worker, &proxy), Outcome::Length);
    let (_, step, early) = Post::signed(PATH, KEY, &more).without("content-length").send_in(
        16_384,
        &mut worker,
        &proxy,
    );
    assert_eq!((refused(step).outcome, early), (Outcome::Length, true));
}

#[test]
fn small_declared_bodies_are_read_to_the_end_before_a_refusal_and_others_are_not() {
    let (mut worker, proxy) = (worker(), Proxy::new());
    let small = vec![b'x'; 16 * 1024];
    let large = vec![b'x'; 16 * 1024 + 1];
    assert!(!Post::unsigned("/nowhere", &small).send_in(4096, &mut worker, &proxy).2);
    assert!(Post::unsigned("/nowhere", &large).send_in(4096, &mut worker, &proxy).2);
    assert!(
        Post::unsigned("/nowhere", &small)
            .without("content-length")
            .send_in(4096, &mut worker, &proxy)
            .2
    );
    // A body that is longer than it said (a proxy would not let it through) is not read for ever.
    let liar = Post::unsigned("/nowhere", &large).replace("content-length", b"10");
    assert!(liar.send_in(4096, &mut worker, &proxy).2);
}

#[test]
fn without_a_table_everything_is_unavailable() {
    let proxy = Proxy::new();
    let refusal = refused(Post::signed(PATH, KEY, b"{}").send(&mut Worker::default(), &proxy));
    assert_eq!((refusal.outcome, refusal.reply), (Outcome::Unavailable, Reply::unavailable()));
}
