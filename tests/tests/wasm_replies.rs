//! The built filter in the test host: what every kind of request is answered with, and what it asks
//! of its host.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod support;

use std::time::Duration;

use lockgate_api::v1::DeliverResponse;
use lockgate_e2e::event::sign;
use lockgate_e2e::host::{LocalReply, Outcome, Proxy, Vm};
use lockgate_e2e::{Body, Request};
use prost::Message;
use support::{
    ENDPOINT, KEY, TODAY, body, delivered, endpoint, forged, full, module, ready, replied,
    settings, signed, status, verdict, vm_with,
};

fn ask(vm: &mut Vm, request: &Request) -> LocalReply {
    replied(vm.send(request).unwrap())
}

#[test]
fn a_signed_event_is_handed_over_whole() {
    let (proxy, mut vm) = ready();
    let body = body();
    let request = signed(&body)
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let id = vm.begin(&request).unwrap();
    let (call, delivery) = delivered(vm.outcome(id).unwrap());
    assert_eq!(call.service, "lockgate.v1.Gate");
    assert_eq!(call.timeout, Duration::from_secs(7), "the wait of 5 s and 2 s more");
    assert_eq!(delivery.endpoint, ENDPOINT);
    assert_eq!(delivery.body, body);
    assert_eq!(delivery.signature, sign(KEY, &body));
    assert_eq!(delivery.key_fingerprint.len(), 16);
    assert_eq!(delivery.source_address, "127.0.0.1:40000");
    assert!(delivery.request_id.starts_with("00000000-0000-4000-8000-"));
    assert!(delivery.traceparent.starts_with("00-4bf9"));

    vm.answer(call.token, &verdict(202, r#"{"promotion":null}"#).encode_to_vec()).unwrap();
    let reply = replied(vm.outcome(id).unwrap());
    assert_eq!((reply.status, reply.text().as_str()), (202, r#"{"promotion":null}"#));
    assert_eq!(reply.header("content-type"), Some("application/json"));
    assert_eq!((reply.header("location"), reply.header("retry-after")), (None, None));
    assert_eq!(proxy.metric("lockgate_edge_forwarded_total"), Some(1));
    vm.close(id).unwrap();
}

#[test]
fn the_answer_of_the_sidecar_is_relayed_with_its_headers() {
    let (_, mut vm) = ready();
    let relay = |vm: &mut Vm, response: DeliverResponse| {
        let id = vm.begin(&signed(&body())).unwrap();
        let (call, _) = delivered(vm.outcome(id).unwrap());
        vm.answer(call.token, &response.encode_to_vec()).unwrap();
        replied(vm.outcome(id).unwrap())
    };
    let created = relay(
        &mut vm,
        DeliverResponse { location: "https://git.example/pr/7".to_owned(), ..verdict(201, "{}") },
    );
    assert_eq!(
        (created.status, created.header("location")),
        (201, Some("https://git.example/pr/7"))
    );
    let busy = relay(&mut vm, DeliverResponse { retry_after_seconds: 3, ..verdict(503, "{}") });
    assert_eq!((busy.status, busy.header("retry-after")), (503, Some("3")));
    let failed = relay(
        &mut vm,
        DeliverResponse {
            content_type: "application/problem+json".to_owned(),
            ..verdict(500, "{}")
        },
    );
    assert_eq!(
        (failed.status, failed.header("content-type")),
        (500, Some("application/problem+json"))
    );
}

#[test]
fn every_unauthentic_request_gets_the_same_401() {
    let (proxy, mut vm) = ready();
    let body = body();
    let good = sign(KEY, &body);
    let expected = ask(&mut vm, &forged(&body));
    assert_eq!(expected.status, 401);
    let cases: Vec<(&str, Request)> = vec![
        ("no signature", signed(&body).without("x-signature")),
        ("an empty one", signed(&body).replace("x-signature", "")),
        ("two good ones", signed(&body).header("x-signature", &good)),
        ("two in one header", signed(&body).replace("x-signature", &format!("{good}, {good}"))),
        ("no algorithm", signed(&body).replace("x-signature", &good.replace("sha256=", ""))),
        ("sha1", signed(&body).replace("x-signature", &format!("sha1={}", "0".repeat(40)))),
        (
            "the algorithm of another length",
            signed(&body).replace("x-signature", &good.replace("sha256", "sha512")),
        ),
        ("one digit less", signed(&body).replace("x-signature", &good[..good.len() - 1])),
        ("one digit more", signed(&body).replace("x-signature", &format!("{good}0"))),
        (
            "not hexadecimal",
            signed(&body).replace("x-signature", &format!("sha256={}", "g".repeat(64))),
        ),
        (
            "bytes that are not text",
            signed(&body).without("x-signature").header_bytes("x-signature", b"sha256=\xff\xfe"),
        ),
        ("another body", signed(&body).body(b"{}")),
        ("another key", support::signed_with(support::OLD_KEY, &body)),
        ("the key and a newline", support::signed_with(&[KEY, b"\n"].concat(), &body)),
        ("an unknown environment", signed(&body).at("/promotion/team-a/podinfo/prod")),
        ("an unknown pipeline", signed(&body).at("/promotion/team-a/other/dev")),
        ("an unknown namespace", signed(&body).at("/promotion/team-b/podinfo/dev")),
    ];
    for (what, request) in cases {
        assert_eq!(ask(&mut vm, &request), expected, "{what}");
    }
    assert_eq!(expected.header("content-type"), Some("application/problem+json"));
    assert_eq!(proxy.metric("lockgate_edge_unknown_total"), Some(3));
    assert_eq!(proxy.metric("lockgate_edge_signature_total"), Some(15));
    assert_eq!(proxy.metric("lockgate_edge_forwarded_total").unwrap_or(0), 0);
}

#[test]
fn every_algorithm_and_either_case_of_hexadecimal_is_accepted() {
    use lockgate_edge::signature::{Algorithm, sign};
    let (_, mut vm) = ready();
    let body = body();
    for algorithm in Algorithm::ALL {
        let signature = sign(algorithm, KEY, &body);
        delivered(vm.send(&signed(&body).replace("x-signature", &signature)).unwrap());
        let (name, digits) = signature.split_once('=').unwrap();
        let upper = format!("{name}={}", digits.to_uppercase());
        delivered(vm.send(&signed(&body).replace("x-signature", &upper)).unwrap());
    }
}

#[test]
fn an_algorithm_that_the_settings_leave_out_is_refused() {
    let proxy = Proxy::at(TODAY);
    let mut response = full(1, vec![endpoint(ENDPOINT, &[KEY])]);
    response.settings = Some(lockgate_api::v1::EdgeSettings {
        algorithms: vec!["sha512".to_owned()],
        ..settings()
    });
    let mut vm = vm_with(&proxy, &response);
    assert_eq!(status(&mut vm, &signed(&body())), 401);
}

#[test]
fn only_post_is_allowed() {
    let (proxy, mut vm) = ready();
    for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "post", "PATCH"] {
        let mut request = signed(&body());
        method.clone_into(&mut request.method);
        let reply = ask(&mut vm, &request);
        assert_eq!((reply.status, reply.header("allow")), (405, Some("POST")), "{method}");
    }
    assert_eq!(proxy.metric("lockgate_edge_method_total"), Some(7));
}

#[test]
fn a_path_that_is_not_three_plain_segments_is_refused() {
    let (proxy, mut vm) = ready();
    let tricks = [
        "/promotion/",
        "/promotion/team-a/podinfo",
        "/promotion/team-a/podinfo/dev/",
        "/promotion/team-a/podinfo/dev/x",
        "/promotion//team-a/podinfo/dev",
        "/promotion/team-a//podinfo/dev",
        "/promotion/team-a/podinfo/dev?x=1",
        "/promotion/team-a/podinfo/dev?",
        "/promotion/team-a/podinfo/dev#x",
        "/promotion/team-a/podinfo/%64ev",
        "/promotion/team-a%2Fpodinfo/dev",
        "/promotion/team-a/../team-a/podinfo/dev",
        "/promotion/./team-a/podinfo/dev",
        "/promotion/team-a/podinfo/..",
        "/promotion/%2e%2e/podinfo/dev",
        "/promotion/team-a\\podinfo/dev",
        "/promotion/team-a/podinfo/dev;x",
        "/promotion/Team-a/podinfo/dev",
        "/PROMOTION/team-a/podinfo/dev",
        "//promotion/team-a/podinfo/dev",
        "/promotion/team-a/podinfo/dev%00",
        "/promotion/team-a/podinfo/d\u{e9}v",
        "https://edge/promotion/team-a/podinfo/dev",
        "*",
        "",
    ];
    for path in tricks {
        assert_eq!(status(&mut vm, &signed(&body()).at(path)), 404, "{path}");
    }
    assert_eq!(proxy.metric("lockgate_edge_path_total"), i64::try_from(tricks.len()).ok());
}

#[test]
fn only_plain_json_is_accepted() {
    let (proxy, mut vm) = ready();
    let body = body();
    for (name, value) in [
        ("content-type", "text/plain"),
        ("content-type", "application/jsonx"),
        ("content-type", ""),
        ("content-encoding", "gzip"),
    ] {
        assert_eq!(status(&mut vm, &signed(&body).replace(name, value)), 415, "{name}: {value}");
    }
    assert_eq!(status(&mut vm, &signed(&body).without("content-type")), 415);
    assert_eq!(status(&mut vm, &signed(&body).json()), 415, "the same type twice");
    for value in ["application/json; charset=utf-8", "Application/JSON", "application/json;v=1"] {
        delivered(vm.send(&signed(&body).replace("content-type", value)).unwrap());
    }
    delivered(vm.send(&signed(&body).header("content-encoding", "identity")).unwrap());
    assert_eq!(proxy.metric("lockgate_edge_type_total"), Some(6));
}

#[test]
fn a_body_of_the_limit_passes_and_one_byte_more_does_not() {
    let (proxy, mut vm) = ready();
    let limit = vec![b' '; 64 * 1024];
    let more = vec![b' '; 64 * 1024 + 1];
    let (_, delivery) = delivered(vm.send(&signed(&limit)).unwrap());
    assert_eq!(delivery.body, limit);
    delivered(vm.send(&signed(&limit).in_pieces(10_000, Duration::ZERO)).unwrap());
    assert_eq!(status(&mut vm, &signed(&more)), 413);
    assert_eq!(status(&mut vm, &signed(&more).in_pieces(10_000, Duration::ZERO)), 413);
    assert_eq!(proxy.metric("lockgate_edge_length_total"), Some(2));
}

#[test]
fn the_body_is_judged_however_it_is_cut() {
    let (_, mut vm) = ready();
    let body = body();
    for size in [1, 7, 300, body.len() - 1, body.len()] {
        let (_, delivery) =
            delivered(vm.send(&signed(&body).in_pieces(size, Duration::ZERO)).unwrap());
        assert_eq!(delivery.body, body, "pieces of {size}");
        assert_eq!(
            status(&mut vm, &forged(&body).in_pieces(size, Duration::ZERO)),
            401,
            "pieces of {size}"
        );
    }
}

#[test]
fn a_request_without_a_body_is_judged_at_its_headers() {
    let (_, mut vm) = ready();
    assert_eq!(status(&mut vm, &forged(b"").with_body(Body::Nothing)), 401);
    // Authentic, so what is wrong with it is the sidecar's to say.
    let (_, delivery) = delivered(vm.send(&signed(b"").with_body(Body::Nothing)).unwrap());
    assert!(delivery.body.is_empty());
    delivered(vm.send(&signed(b"").with_body(Body::Pieces(Vec::new(), Duration::ZERO))).unwrap());
}

#[test]
fn trailers_end_a_body_as_well() {
    let (_, mut vm) = ready();
    let body = body();
    for shape in [Body::Whole(body.clone()), Body::Pieces(vec![body.clone()], Duration::ZERO)] {
        assert_eq!(
            status(&mut vm, &forged(&body).with_body(shape.clone()).trailer("x-t", "1")),
            401
        );
        let (_, delivery) =
            delivered(vm.send(&signed(&body).with_body(shape).trailer("x-t", "1")).unwrap());
        assert_eq!(delivery.body, body);
    }
}

#[test]
fn a_small_refused_body_is_read_to_its_end_and_a_large_one_is_not() {
    let (_, mut vm) = ready();
    let small = signed(&vec![b' '; 16 * 1024]).without("x-signature");
    let id = vm.open(&small, false).unwrap();
    assert_eq!(vm.outcome(id).unwrap(), Outcome::Stuck, "it waits for the body");
    vm.body(id, &small.bytes(), true).unwrap();
    assert_eq!(replied(vm.outcome(id).unwrap()).status, 401);

    let large = signed(&vec![b' '; 16 * 1024 + 1]).without("x-signature");
    let id = vm.open(&large, false).unwrap();
    assert_eq!(replied(vm.outcome(id).unwrap()).status, 401);
    let undeclared = signed(b"{}").without("x-signature").in_pieces(1, Duration::ZERO);
    let id = vm.open(&undeclared, false).unwrap();
    assert_eq!(replied(vm.outcome(id).unwrap()).status, 401);
    vm.body(id, b"{}", true).unwrap();
    vm.close(id).unwrap();
}

#[test]
fn without_endpoints_everything_is_told_to_come_back() {
    let proxy = Proxy::at(TODAY);
    let mut vm = Vm::start(module(), &proxy).unwrap();
    let reply = ask(&mut vm, &signed(&body()));
    assert_eq!((reply.status, reply.header("retry-after")), (503, Some("2")));
    assert_eq!(proxy.metric("lockgate_edge_unavailable_total"), Some(1));
}

#[test]
fn a_failed_call_tells_the_sender_to_come_back() {
    let (proxy, mut vm) = ready();
    for code in [1, 2, 4, 7, 8, 12, 13, 14, 16] {
        let id = vm.begin(&signed(&body())).unwrap();
        let (call, _) = delivered(vm.outcome(id).unwrap());
        vm.fail(call.token, code).unwrap();
        let reply = replied(vm.outcome(id).unwrap());
        assert_eq!(
            (reply.status, reply.header("retry-after")),
            (503, Some("2")),
            "gRPC status {code}"
        );
    }
    assert_eq!(proxy.metric("lockgate_edge_unavailable_total"), Some(9));
}

#[test]
fn an_answer_that_makes_no_sense_tells_the_sender_to_come_back() {
    let (_, mut vm) = ready();
    let wild = |status| verdict(status, "{}").encode_to_vec();
    for message in [b"\xff\xff\xff".to_vec(), Vec::new(), wild(0), wild(99), wild(100), wild(1000)]
    {
        let id = vm.begin(&signed(&body())).unwrap();
        let (call, _) = delivered(vm.outcome(id).unwrap());
        vm.answer(call.token, &message).unwrap();
        assert_eq!(replied(vm.outcome(id).unwrap()).status, 503, "{message:?}");
    }
}

#[test]
fn a_client_that_leaves_takes_nothing_with_it() {
    let (_, mut vm) = ready();
    let waiting = vm.begin(&signed(&body())).unwrap();
    vm.close(waiting).unwrap();
    let half = vm.open(&signed(&body()), false).unwrap();
    vm.body(half, b"{", false).unwrap();
    vm.close(half).unwrap();
    delivered(vm.send(&signed(&body())).unwrap());
}

#[test]
fn header_bytes_that_are_not_text_do_not_kill_the_worker() {
    let (_, mut vm) = ready();
    let body = body();
    for name in [
        "content-type",
        "content-length",
        "x-signature",
        "x-request-id",
        "traceparent",
        "user-agent",
    ] {
        let request = signed(&body).without(name).header_bytes(name, b"\xff\xfe\x80");
        vm.send(&request).unwrap();
    }
    let mut request = signed(&body);
    request.path = "/promotion/team-a/podinfo/dev\u{fffd}".to_owned();
    assert_eq!(status(&mut vm, &request), 404);
    delivered(vm.send(&signed(&body)).unwrap());
}
