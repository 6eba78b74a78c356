//! Counters and gauges in the proxy's own statistics.

use lockgate_edge::{AGE_METRIC, ENDPOINTS_METRIC, Outcome, SYNC_FAILED_METRIC, VERSION_METRIC};
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;

/// The metrics of this VM. They have the same names in every VM: the proxy adds the counters up.
pub struct Metrics {
    outcomes: [Option<u32>; Outcome::ALL.len()],
    endpoints: Option<u32>,
    version: Option<u32>,
    age: Option<u32>,
    sync_failed: Option<u32>,
}

impl Metrics {
    /// Defines all of them, so that they are there, at zero, before the first request.
    pub fn define() -> Self {
        let gauge = |name| hostcalls::define_metric(MetricType::Gauge, name).ok();
        let counter = |name| hostcalls::define_metric(MetricType::Counter, name).ok();
        Self {
            outcomes: Outcome::ALL.map(|outcome| counter(outcome.metric())),
            endpoints: gauge(ENDPOINTS_METRIC),
            version: gauge(VERSION_METRIC),
            age: gauge(AGE_METRIC),
            sync_failed: counter(SYNC_FAILED_METRIC),
        }
    }

    /// Counts one request.
    pub fn count(&self, outcome: Outcome) {
        let counter = Outcome::ALL.iter().zip(self.outcomes).find(|(each, _)| **each == outcome);
        if let Some((_, counter)) = counter {
            increment(counter);
        }
    }

    /// Counts a question to the sidecar that got no answer.
    pub fn count_failed_sync(&self) {
        increment(self.sync_failed);
    }

    /// Shows what the VM judges by.
    pub fn show_table(&self, endpoints: usize, version: u64) {
        record(self.endpoints, u64::try_from(endpoints).unwrap_or(u64::MAX));
        record(self.version, version & 0xffff);
    }

    /// Shows how long ago the sidecar last answered the worker that waits longest.
    pub fn show_age(&self, seconds: u64) {
        record(self.age, seconds);
    }
}

fn increment(counter: Option<u32>) {
    if let Some(counter) = counter {
        // A statistic that cannot be counted is no reason to refuse anything.
        hostcalls::increment_metric(counter, 1).unwrap_or_default();
    }
}

fn record(gauge: Option<u32>, value: u64) {
    if let Some(gauge) = gauge {
        hostcalls::record_metric(gauge, value).unwrap_or_default();
    }
}
