//! The edge of Lockgate as a proxy-wasm module for Envoy: callbacks in, the edge's judgement, host
//! calls out.
//!
//! ```text
//!  worker VM                                   sidecar
//!    Root ── Gate/Sync, a long poll ────────────► what to judge by (kept in the VM alone)
//!    Request ─ headers, body, trailers ─► lockgate_edge::Exchange
//!            ─ Gate/Deliver ────────────────────► the answer, relayed
//! ```
//!
//! Invariants:
//! - the headers are held until the judgement is complete, and the judgement is completed by
//!   whichever of headers, body and trailers comes last: a missed callback leaves the request with
//!   the route's own 503, never with a backend;
//! - only host calls that return bytes and a `Result` are used: a header that is not UTF-8 must not
//!   end the VM;
//! - configuring never fails. What is wrong with the configuration is logged, and everything is
//!   answered 503: a worker that failed to configure would let requests pass;
//! - keys live in the VM's memory and nowhere else. Shared data has the rate limits, which are no
//!   secret.

mod host;
mod metrics;
mod request;
mod root;
mod shared;

use proxy_wasm::traits::RootContext;
use proxy_wasm::types::LogLevel;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(root::Root::new()) });
}}
