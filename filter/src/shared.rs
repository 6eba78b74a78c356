//! What the root and the requests of one VM share.

use std::cell::{Cell, RefCell};

use lockgate_edge::{PluginConfig, Worker};

use crate::metrics::Metrics;

/// A VM has one thread and its callbacks do not nest, so no borrow meets another.
pub struct Shared {
    /// What this worker of the proxy knows.
    pub worker: RefCell<Worker>,
    /// Where the sidecar is; none denies everything.
    pub config: RefCell<Option<PluginConfig>>,
    /// Counters and gauges.
    pub metrics: Metrics,
    /// Whether the sidecar answers, so that a change is logged once.
    pub reachable: Cell<bool>,
}

impl Shared {
    /// Nothing is known, everything is denied.
    pub fn new() -> Self {
        Self {
            worker: RefCell::default(),
            config: RefCell::default(),
            metrics: Metrics::define(),
            reachable: Cell::new(true),
        }
    }
}
