//! The harness: a real Envoy with the built filter, the real sidecar, a real git repository, on
//! loopback.
//!
//! [`Stack::start`] brings the whole path up in a temporary folder on free ports, and [`Stack`]
//! takes everything down again when it goes away, also after a panic. Nothing here knows how
//! Lockgate decides: requests are built and signed as Flux does it, and answers are what came over
//! the wire.
//!
//! [`host`] is another way to look at the filter: a proxy-wasm host with state, whose clock the
//! test owns.

pub mod apps;
pub mod artifacts;
pub mod certificates;
pub mod client;
pub mod envoy;
pub mod event;
pub mod gitea;
pub mod host;
pub mod kept;
pub mod metrics;
pub mod ports;
pub mod process;
pub mod repository;
pub mod shared;
pub mod sidecar;
pub mod stack;

pub use apps::{App, AppSpec, Folder, PullRequest, Strategy};
pub use client::{Answer, Body, Connection, Edge, Request};
pub use event::Event;
pub use shared::{Lease, Logs, Shared};
pub use stack::{Options, Stack};
