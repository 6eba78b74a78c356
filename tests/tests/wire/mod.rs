//! One request over both protocols.

#![allow(dead_code, reason = "each test file uses its part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code"
)]

use lockgate_e2e::{Answer, App, Request, Stack};

/// The answers over HTTP/1.1 and HTTP/2.
pub fn both(stack: &Stack, request: &Request) -> [Answer; 2] {
    [stack.edge.send(request).unwrap(), stack.edge.send_h2(request).unwrap()]
}

#[track_caller]
pub fn assert_both(stack: &Stack, request: &Request, status: u16) {
    for (answer, protocol) in both(stack, request).iter().zip(["HTTP/1.1", "HTTP/2"]) {
        assert_eq!(answer.status, status, "over {protocol}: {}", answer.text());
    }
}

/// An authentic delivery that nothing follows from.
pub fn harmless(app: &App, number: usize) -> Request {
    app.harmless("dev", number).unwrap()
}
