//! Real Envoy, the built filter and the real sidecar: signatures, headers, paths and other routes,
//! over HTTP/1.1 and HTTP/2.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

mod wire;

use std::net::Ipv4Addr;

use lockgate_e2e::event::sign;
use lockgate_e2e::{Lease, Options, Request, Shared, Stack, Strategy};
use wire::{assert_both, both, harmless};

static STACK: Shared = Shared::new();

fn stack() -> Lease {
    STACK.lease(|| Stack::start(&Options::shared(16, Strategy::Notification))).unwrap()
}

#[test]
fn every_wrong_signature_gets_the_same_answer() {
    let stack = stack();
    let (app, other) = (stack.app().unwrap(), stack.app().unwrap());
    let request = harmless(app, 1);
    let body = request.bytes();
    let key = app.key("dev");
    let good = sign(key.as_bytes(), &body);
    let expected = stack.edge.send(&request.clone().without("x-signature")).unwrap();
    assert_eq!(expected.status, 401);
    let with = |value: &str| request.clone().replace("x-signature", value);
    let cases = [
        ("empty", with("")),
        ("twice", request.clone().header("x-signature", &good)),
        (
            "a good and a bad one",
            request.clone().header("x-signature", &format!("sha256={}", "0".repeat(64))),
        ),
        ("two in one", with(&format!("{good},{good}"))),
        ("sha1", with(&format!("sha1={}", "0".repeat(40)))),
        ("no algorithm", with(&good[7..])),
        ("another algorithm's name", with(&good.replace("sha256", "sha384"))),
        ("cut", with(&good[..70])),
        ("padded", with(&format!("{good}00"))),
        ("not hexadecimal", with(&format!("sha256={}", "z".repeat(64)))),
        ("wrong", with(&format!("sha256={}", "0".repeat(64)))),
        ("the key with a newline", with(&sign(format!("{key}\n").as_bytes(), &body))),
        ("another application's key", with(&sign(other.key("dev").as_bytes(), &body))),
        ("another environment's key", with(&sign(app.key("staging").as_bytes(), &body))),
        ("the same body elsewhere", request.clone().at(&app.path("staging"))),
        ("an unknown environment", request.clone().at(&app.path("nowhere"))),
        ("an unknown pipeline", request.clone().at("/promotion/team-a/unknown/dev")),
    ];
    for (what, request) in cases {
        for (answer, protocol) in both(&stack, &request).into_iter().zip(["HTTP/1.1", "HTTP/2"]) {
            assert_eq!(
                (answer.status, answer.text()),
                (401, expected.text()),
                "{what} over {protocol}"
            );
            assert_eq!(
                answer.header("content-type"),
                expected.header("content-type"),
                "{what} over {protocol}"
            );
        }
    }
    assert_both(&stack, &request, 202);
}

#[test]
fn a_header_with_an_underscore_never_counts() {
    let stack = stack();
    let app = stack.app().unwrap();
    let request = harmless(app, 1);
    let good = sign(app.key("dev").as_bytes(), &request.bytes());
    let renamed = request.clone().without("x-signature").header("x_signature", &good);
    assert_eq!(stack.edge.send(&renamed).unwrap().status, 400);
    assert_eq!(stack.edge.send(&request.clone().header("x_signature", &good)).unwrap().status, 400);
    // Over HTTP/2 Envoy resets the stream instead.
    assert!(stack.edge.send_h2(&renamed).map_or(true, |answer| answer.status == 400));
}

#[test]
fn header_bytes_that_are_not_text_harm_nobody() {
    let stack = stack();
    let app = stack.app().unwrap();
    for (number, name) in
        ["user-agent", "traceparent", "x-request-id", "x-anything"].into_iter().enumerate()
    {
        let request = harmless(app, number).without(name).header_bytes(name, b"\xff\xfe\x80");
        assert_both(&stack, &request, 202);
    }
    for (name, status) in [("x-signature", 401), ("content-type", 415)] {
        assert_both(
            &stack,
            &harmless(app, 9).without(name).header_bytes(name, b"\xff\xfe\x80"),
            status,
        );
    }
    // In a name they are a protocol error.
    let mut connection = stack.edge.connect(Ipv4Addr::LOCALHOST).unwrap();
    let answer =
        connection.exchange(b"POST /promotion/a/b/c HTTP/1.1\r\nhost: edge\r\nx-\xff: 1\r\ncontent-length: 0\r\n\r\n").unwrap();
    assert_eq!(answer.status, 400);
    assert_both(&stack, &harmless(app, 10), 202);
}

#[test]
fn every_other_spelling_of_a_path_is_refused() {
    let stack = stack();
    let app = stack.app().unwrap();
    let good = app.path("dev");
    let name = &app.name;
    let request = harmless(app, 1);
    let tricks = [
        format!("{good}/"),
        format!("{good}/x"),
        format!("{good}?"),
        format!("{good}?a=b"),
        format!("{good};x"),
        format!("{good}%00"),
        format!("{good}%20"),
        format!("//promotion/team-a/{name}/dev"),
        format!("/promotion//team-a/{name}/dev"),
        format!("/promotion/team-a//{name}/dev"),
        format!("/promotion/./team-a/{name}/dev"),
        format!("/promotion/x/../team-a/{name}/dev"),
        format!("/x/../promotion/team-a/{name}/dev"),
        format!("/promotion/%2e%2e/promotion/team-a/{name}/dev"),
        format!("/promotion/team-a/{name}/%64ev"),
        format!("/promotion/team-a%2F{name}/dev"),
        format!("/promotion/team-a%2f{name}%2fdev"),
        format!("/promotion/team-a%5C{name}/dev"),
        format!("/promotion\\team-a\\{name}\\dev"),
        format!("/promotion/team-a\\{name}\\dev"),
        format!("/%70romotion/team-a/{name}/dev"),
        format!("/PROMOTION/team-a/{name}/dev"),
        format!("/promotion/TEAM-A/{name}/dev"),
        format!("/promotion/team-a/{name}"),
        "/promotion/".to_owned(),
        "/promotion".to_owned(),
        "/".to_owned(),
        format!("/promotion/team-a/{name}/dev%0d%0ax-a:%20b"),
        format!("/promotion/team-a/{name}/..%2fdev"),
        format!("/promotion/.team-a/{name}/dev"),
    ];
    for path in &tricks {
        for (answer, protocol) in
            both(&stack, &request.clone().at(path)).into_iter().zip(["HTTP/1.1", "HTTP/2"])
        {
            assert_eq!(answer.status, 404, "{path} over {protocol}: {}", answer.text());
        }
    }
    // What is no path at all never reaches a route.
    for path in [
        format!("{good}#x"),
        format!("{good}\u{0}"),
        format!("{good}\u{e9}"),
        "promotion/team-a/x/dev".to_owned(),
    ] {
        let answer = stack.edge.send(&request.clone().at(&path)).unwrap();
        assert!(matches!(answer.status, 400 | 404), "{path:?}: {}", answer.status);
    }
    // The environment is case-sensitive, so this is another endpoint, and an unknown one.
    assert_both(&stack, &request.clone().at(&format!("/promotion/team-a/{name}/DEV")), 401);
    // A request for a proxy names the host in front: Envoy takes it off.
    let absolute = stack.edge.send(&request.clone().at(&format!("http://edge{good}"))).unwrap();
    assert_eq!(absolute.status, 202);
    assert_both(&stack, &request, 202);
}

#[test]
fn other_methods_types_and_encodings_are_refused() {
    let stack = stack();
    let app = stack.app().unwrap();
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        let mut request = harmless(app, 1);
        method.clone_into(&mut request.method);
        for answer in both(&stack, &request) {
            assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
        }
    }
    assert_both(&stack, &harmless(app, 1).replace("content-type", "text/plain"), 415);
    assert_both(&stack, &harmless(app, 1).without("content-type"), 415);
    assert_both(&stack, &harmless(app, 1).header("content-encoding", "gzip"), 415);
    assert_both(
        &stack,
        &harmless(app, 1).replace("content-type", "application/json; charset=utf-8"),
        202,
    );
}

#[test]
fn a_connection_outlives_small_refusals() {
    let stack = stack();
    let app = stack.app().unwrap();
    let mut connection = stack.edge.connect(Ipv4Addr::LOCALHOST).unwrap();
    let good = harmless(app, 1);
    let refusals = [
        (good.clone().without("x-signature"), 401),
        (good.clone().replace("x-signature", &format!("sha256={}", "0".repeat(64))), 401),
        (good.clone().at("/promotion/nowhere"), 404),
        (good.clone().replace("content-type", "text/plain"), 415),
        (good.clone(), 202),
    ];
    for (request, status) in refusals {
        let answer = connection.send(&request).unwrap();
        assert_eq!((answer.status, answer.closes()), (status, false));
    }
    assert!(connection.is_alive());
}

#[test]
fn ambiguous_requests_end_at_the_proxy() {
    let stack = stack();
    let app = stack.app().unwrap();
    let body = harmless(app, 1).bytes();
    let signature = sign(app.key("dev").as_bytes(), &body);
    let length = body.len();
    let text = String::from_utf8(body).unwrap();
    let head = format!(
        "POST {} HTTP/1.1\r\nhost: edge\r\ncontent-type: application/json\r\nx-signature: {signature}\r\n",
        app.path("dev")
    );
    let cases = [
        (
            "length and chunks",
            format!(
                "{head}content-length: {length}\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
            400,
        ),
        (
            "two lengths",
            format!("{head}content-length: {length}\r\ncontent-length: 5\r\n\r\n{text}"),
            400,
        ),
        ("a negative length", format!("{head}content-length: -1\r\n\r\n{text}"), 400),
        ("an unknown coding", format!("{head}transfer-encoding: xchunked\r\n\r\n0\r\n\r\n"), 501),
        ("a space before the colon", format!("{head}content-length : {length}\r\n\r\n{text}"), 400),
        (
            "HTTP/1.0",
            format!(
                "{}content-length: {length}\r\n\r\n{text}",
                head.replace("HTTP/1.1", "HTTP/1.0")
            ),
            426,
        ),
        ("a header of 20 KiB", format!("{head}x-long: {}\r\n\r\n", "x".repeat(20_000)), 431),
        (
            "sixty headers",
            format!(
                "{head}{}\r\n",
                (0..60).map(|number| format!("x-{number}: 1\r\n")).collect::<String>()
            ),
            431,
        ),
    ];
    for (what, request, status) in cases {
        let answer =
            stack.edge.connect(Ipv4Addr::LOCALHOST).unwrap().exchange(request.as_bytes()).unwrap();
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
    }
    assert_both(&stack, &harmless(app, 2), 202);
}

#[test]
fn another_route_of_the_listener_does_not_enter_the_filter() {
    let stack = stack();
    let counted = |stack: &Stack| {
        let metrics = stack.envoy.metrics().unwrap();
        metrics
            .names()
            .filter(|name| name.starts_with("lockgate_edge_") && name.contains("_total"))
            .count()
    };
    assert_eq!(
        counted(&stack),
        11,
        "{:?}",
        stack.envoy.metrics().unwrap().names().collect::<Vec<_>>()
    );
    // The filter would answer 405 to this method and 404 to this path.
    for request in [Request::new("GET", "/healthz"), Request::post("/healthz")] {
        for answer in both(&stack, &request) {
            assert_eq!((answer.status, answer.text().as_str()), (200, "ok\n"));
        }
    }
    // A wrong prefix: the sender learns what is expected, the module is not asked.
    for request in [Request::new("GET", "/elsewhere"), Request::post("/promotions/a/b/c").json()] {
        for answer in both(&stack, &request) {
            assert_eq!(answer.status, 404);
            assert_eq!(answer.header("content-type"), Some("application/problem+json"));
            let problem = answer.json().unwrap();
            assert_eq!(problem["reason"], "NoRoute");
            let detail = problem["detail"].as_str().unwrap();
            assert!(detail.contains("/promotion/namespace/pipeline/environment"), "{detail}");
        }
    }
}

#[test]
fn what_the_edge_counts_is_what_happened() {
    // A stack of its own: nobody else counts.
    let stack = Stack::start(&Options::shared(1, Strategy::Notification)).unwrap();
    let app = stack.app().unwrap();
    let name = |outcome: &str| format!("lockgate_edge_{outcome}_total");
    let before = stack.envoy.metrics().unwrap();
    let good = harmless(app, 1);
    let mut get = good.clone();
    get.method = "GET".to_owned();
    let cases = [
        ("forwarded", good.clone()),
        ("method", get),
        ("path", good.clone().at("/promotion/x")),
        ("length", good.clone().body(&vec![b' '; 70_000])),
        ("type", good.clone().without("content-type")),
        ("signature", good.clone().without("x-signature")),
        ("unknown", good.clone().at("/promotion/team-a/unknown/dev")),
    ];
    for (_, request) in &cases {
        both(&stack, request);
    }
    let after = stack.envoy.metrics().unwrap();
    for (outcome, _) in cases {
        let difference = after.sum(&name(outcome)) - before.sum(&name(outcome));
        assert!((difference - 2.0).abs() < 0.5, "{outcome}: {difference}");
    }
    assert!((after.sum("lockgate_edge_endpoints") - 3.0).abs() < 0.5);
    assert!(after.sum("lockgate_edge_sync_version") >= 1.0);
    assert!(after.has("lockgate_edge_sync_age_seconds"));
    // No secret on the pages of the proxy that show its configuration.
    let dump = lockgate_e2e::client::plain_get(stack.envoy.admin, "/config_dump").unwrap().text();
    assert!(dump.contains("lockgate-gate") && !dump.contains(&app.key("dev")));
    for log in [stack.envoy.log(), stack.sidecar.log()] {
        assert!(!log.contains(&app.key("dev")), "a key is in a log");
        assert!(!log.contains("Helm rollback number"), "a body is in a log");
    }
}
