//! A proxy-wasm host with state, for the built filter module.
//!
//! [`Proxy`] is what the VMs of one proxy share: the clock (the test's own), shared data with
//! compare-and-swap, statistics. [`Vm`] is one instance of the module, as each worker of Envoy has
//! one. gRPC calls are kept until the test answers them; local replies are kept with their request.
//! A trap leaves the VM dead, as in a proxy; a new [`Vm`] on the same [`Proxy`] is what a reload
//! gives.
//!
//! The order of callbacks, the cumulative body sizes and the rules of shared data follow Envoy
//! 1.40.

mod calls;
mod memory;
mod module;
mod proxy;
mod state;
mod vm;

pub use module::Module;
pub use proxy::Proxy;
pub use state::{Call, LocalReply};
pub use vm::{Outcome, StreamId, Vm};
