//! `lockgate.v1.Gate`: what the edge and the sidecar say to each other, and the only place where
//! those messages become the edge's types.
//!
//! Messages are generated from `proto/lockgate/v1/gate.proto` when the crate is built. Client and
//! server of the service exist with the feature `grpc` (the default); the filter builds without it
//! and speaks through the proxy.
//!
//! Conversions from the wire are `TryFrom` and name the field that is wrong; conversions to the
//! wire cannot fail. Keys and bodies never appear in a `Debug` output or in an error.

mod convert;

pub use convert::WireError;

/// The generated messages and, with the feature `grpc`, `gate_client` and `gate_server`.
pub mod v1 {
    #![allow(
        missing_docs,
        clippy::all,
        clippy::pedantic,
        unused_qualifications,
        reason = "generated from the .proto file, which is the documentation"
    )]

    include!(concat!(env!("OUT_DIR"), "/lockgate.v1.rs"));
}

/// The name of the service.
pub const GATE_SERVICE: &str = "lockgate.v1.Gate";
/// The name of the call that keeps the edge up to date.
pub const SYNC_METHOD: &str = "Sync";
/// The name of the call that hands over a delivery.
pub const DELIVER_METHOD: &str = "Deliver";
