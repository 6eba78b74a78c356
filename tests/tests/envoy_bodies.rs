//! Real Envoy, the built filter and the real sidecar: bodies of every shape, over HTTP/1.1 and
//! HTTP/2.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod wire;

use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use lockgate_e2e::event::sign;
use lockgate_e2e::{Body, Lease, Options, Shared, Stack, Strategy};
use wire::{assert_both, harmless};

static STACK: Shared = Shared::new();

fn stack() -> Lease {
    STACK.lease(|| Stack::start(&Options::shared(16, Strategy::Notification))).unwrap()
}

#[test]
fn a_request_without_a_body_is_answered() {
    let stack = stack();
    let app = stack.app().unwrap();
    let nothing = app.signed("dev", b"").with_body(Body::Nothing);
    assert_both(&stack, &nothing, 400);
    assert_both(&stack, &app.signed("dev", b""), 400);
    assert_both(
        &stack,
        &nothing.replace("x-signature", &format!("sha256={}", "0".repeat(64))),
        401,
    );
    assert_both(
        &stack,
        &app.signed("dev", b"").with_body(Body::Nothing).without("x-signature"),
        401,
    );
}

#[test]
fn a_chunked_body_is_judged_as_a_whole() {
    let stack = stack();
    let app = stack.app().unwrap();
    let request = harmless(app, 1);
    let body = request.bytes();
    for size in [1, 100, body.len()] {
        assert_both(&stack, &request.clone().in_pieces(size, Duration::ZERO), 202);
    }
    let changed = [&body[..body.len() - 1], b" "].concat();
    assert_both(
        &stack,
        &request.clone().with_body(Body::Pieces(vec![changed], Duration::ZERO)),
        401,
    );
}

#[test]
fn an_empty_chunked_body_is_answered() {
    let stack = stack();
    let app = stack.app().unwrap();
    let empty = Body::Pieces(Vec::new(), Duration::ZERO);
    assert_both(&stack, &app.signed("dev", b"").with_body(empty.clone()), 400);
    assert_both(&stack, &harmless(app, 1).with_body(empty), 401);
}

#[test]
fn two_halves_with_a_pause_are_one_body() {
    let stack = stack();
    let app = stack.app().unwrap();
    let request = harmless(app, 1);
    let body = request.bytes();
    let (first, second) = body.split_at(body.len() / 2);
    let halves = Body::Halves(vec![first.to_vec(), second.to_vec()], Duration::from_millis(300));
    assert_both(&stack, &request.clone().with_body(halves.clone()), 202);
    let forged = request.replace("x-signature", &format!("sha256={}", "0".repeat(64)));
    assert_both(&stack, &forged.with_body(halves), 401);
}

#[test]
fn http2_trailers_do_not_get_round_the_signature() {
    let stack = stack();
    let app = stack.app().unwrap();
    let request = harmless(app, 1);
    let pieces = Body::Pieces(vec![request.bytes()], Duration::ZERO);
    for request in [request.clone(), request.clone().with_body(pieces)] {
        let request = request.trailer("x-t", "1");
        assert_eq!(stack.edge.send_h2(&request).unwrap().status, 202);
        let forged = request.clone().replace("x-signature", &format!("sha256={}", "0".repeat(64)));
        assert_eq!(stack.edge.send_h2(&forged).unwrap().status, 401);
        assert_eq!(stack.edge.send_h2(&request.without("x-signature")).unwrap().status, 401);
    }
    // A signature in the trailers is none.
    let late = harmless(app, 2);
    let signature = sign(app.key("dev").as_bytes(), &late.bytes());
    assert_eq!(
        stack
            .edge
            .send_h2(&late.without("x-signature").trailer("x-signature", &signature))
            .unwrap()
            .status,
        401
    );
}

#[test]
fn http1_trailers_do_not_get_round_the_signature() {
    let stack = stack();
    let app = stack.app().unwrap();
    let request = harmless(app, 1);
    let body = request.bytes();
    for (signature, status) in
        [(sign(app.key("dev").as_bytes(), &body), 202), (format!("sha256={}", "0".repeat(64)), 401)]
    {
        let mut text = format!(
            "POST {} HTTP/1.1\r\nhost: edge\r\ncontent-type: application/json\r\nx-signature: {signature}\r\ntransfer-encoding: chunked\r\ntrailer: x-t\r\n\r\n{:x}\r\n",
            app.path("dev"),
            body.len()
        )
        .into_bytes();
        text.extend_from_slice(&body);
        text.extend_from_slice(b"\r\n0\r\nx-t: 1\r\n\r\n");
        let answer = stack.edge.connect(Ipv4Addr::LOCALHOST).unwrap().exchange(&text).unwrap();
        assert_eq!(answer.status, status);
    }
}

#[test]
fn a_body_of_the_limit_passes_and_one_byte_more_does_not() {
    let stack = stack();
    let app = stack.app().unwrap();
    let limit = vec![b' '; 64 * 1024];
    let more = vec![b' '; 64 * 1024 + 1];
    // Spaces are authentic, but no event: 400 comes from the sidecar.
    assert_both(&stack, &app.signed("dev", &limit), 400);
    assert_both(&stack, &app.signed("dev", &more), 413);
    assert_both(&stack, &app.signed("dev", &limit).in_pieces(10_000, Duration::ZERO), 400);
    assert_both(&stack, &app.signed("dev", &more).in_pieces(10_000, Duration::ZERO), 413);
    // What is declared too large is refused before a byte of it came.
    let huge = app.signed("dev", &vec![b' '; 5 * 1024 * 1024]);
    assert_eq!(
        stack
            .edge
            .connect(Ipv4Addr::LOCALHOST)
            .unwrap()
            .exchange(&huge.head("edge"))
            .unwrap()
            .status,
        413
    );
    let refused = stack.edge.send(&app.signed("dev", &more)).unwrap();
    assert_eq!(
        refused.header("content-type"),
        Some("application/problem+json"),
        "the filter's own answer, not the proxy's"
    );
}

#[test]
fn a_large_body_over_http2_is_refused_while_it_comes() {
    let stack = stack();
    let app = stack.app().unwrap();
    let huge = app.signed("dev", &vec![b' '; 5 * 1024 * 1024]).in_pieces(16 * 1024, Duration::ZERO);
    // The answer may be lost when the stream is reset behind it; what must not happen is a success.
    assert!(stack.edge.send_h2(&huge).map_or(true, |answer| answer.status == 413));
}

#[test]
fn a_body_that_never_ends_is_given_up() {
    let stack = stack();
    let app = stack.app().unwrap();
    let request = harmless(app, 1);
    let mut connection = stack.edge.connect(Ipv4Addr::LOCALHOST).unwrap();
    let start = Instant::now();
    connection.write(&request.head("edge")).unwrap();
    // A byte now and then does not help.
    for byte in request.bytes().chunks(1).take(8) {
        connection.write(byte).unwrap();
        thread::sleep(Duration::from_secs(1));
    }
    let answer = connection.answer().unwrap();
    let passed = start.elapsed();
    assert_eq!(answer.status, 408);
    assert!(
        (Duration::from_secs(9)..Duration::from_secs(14)).contains(&passed),
        "after {passed:?}"
    );
}

#[test]
fn a_sender_that_asks_before_it_sends_is_told_to_go_on() {
    let stack = stack();
    let app = stack.app().unwrap();
    let request = harmless(app, 1).header("expect", "100-continue");
    let mut connection = stack.edge.connect(Ipv4Addr::LOCALHOST).unwrap();
    connection.write(&request.head("edge")).unwrap();
    assert_eq!(connection.interim().unwrap(), 100);
    let answer = connection.exchange(&request.bytes()).unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
}

#[test]
fn streams_that_are_not_finished_cost_their_source() {
    // The limits as shipped, and a stack that nobody else charges.
    let stack = Stack::start(&Options::default()).unwrap();
    let app = stack.app().unwrap();
    let (slow, quiet) = (Ipv4Addr::new(127, 0, 0, 91), Ipv4Addr::new(127, 0, 0, 92));
    let almost = app.signed("dev", &vec![b' '; 65_536]).from(slow);
    // Sends all but one byte, and leaves. What is refused is answered at once instead.
    let attempt = || {
        let mut connection = stack.edge.connect(slow).unwrap();
        connection.write(&almost.head("edge")).unwrap();
        drop(connection.write(&almost.bytes()[..65_535]));
    };
    let limited = || stack.envoy.metrics().unwrap().sum("lockgate_edge_preauth_limited_total");
    let (start, mut attempts) = (Instant::now(), 0);
    while limited() < 1.0 {
        attempt();
        attempts += 1;
        assert!(start.elapsed() < Duration::from_secs(60), "{attempts} attempts cost nothing");
    }
    assert!(attempts > 100, "{attempts}");
    let unsigned = harmless(app, 1).without("x-signature");
    assert_eq!(stack.edge.send(&unsigned.clone().from(quiet)).unwrap().status, 401);
    // Its genuine events pass.
    assert_eq!(stack.edge.send(&harmless(app, 2).from(slow)).unwrap().status, 202);
}
