//! Every metric that the sidecar exports, as typed methods: nobody else names a family or a label.
//!
//! - Labels come from closed lists, or are namespace, name and environment of a Pipeline that is
//!   loaded: nothing that a sender chooses can make a time series. The series of a removed Pipeline
//!   or environment go with the next page.
//! - What is counted elsewhere (the ledger, the Pipelines) is handed over as a [`Reading`] for each
//!   page, so that no gauge can be left behind.
//! - The text is Prometheus' classic format: to OpenMetrics the gauge `lockgate_promotions` and the
//!   counter `lockgate_promotions_total` would be one family.

mod labels;
mod outcome;
mod series;
mod text;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use lockgate_core::promotion::{FailureReason, State};
use lockgate_edge::endpoint::{Endpoint, PipelineKey};
use prometheus_client::{
    encoding::text::encode_registry,
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry},
};

pub use self::outcome::{DeliveryOutcome, Phase, PromotionOutcome, SyncOutcome};
use self::{
    labels::{
        DeliveryLabels, FailedLabels, ForgeLabels, KeyLabels, Name, PhaseLabels, Place,
        PromotionLabels, StateLabels, ValidLabels,
    },
    series::{OptionalGauge, Series},
};

type Seconds = Gauge<f64, AtomicU64>;

/// The registry and its families. A clone is the same metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// Locked while a page is made: its gauges belong together.
    registry: Arc<Mutex<Registry>>,
    deliveries: Series<DeliveryLabels, Counter>,
    syncs: Series<DeliveryLabels, Counter>,
    promotions_total: Series<PromotionLabels, Counter>,
    promotion_duration: Series<PhaseLabels, Histogram>,
    promotions: Series<StateLabels, Gauge>,
    promotion_failed: Series<FailedLabels, Gauge>,
    queue_depth: OptionalGauge,
    /// What the scheduler said last.
    waiting: Arc<AtomicU64>,
    unreadable: OptionalGauge,
    forge_requests: Series<ForgeLabels, Counter>,
    store_commit: Histogram,
    pipelines: Series<ValidLabels, Gauge>,
    key_last_used: Series<KeyLabels, Seconds>,
}

/// What a page shows of things that are counted elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// Pipelines that count as they are written.
    pub valid: usize,
    /// Pipelines and files with an error.
    pub invalid: usize,
    /// Destinations whose counters begin at 0 before anything happens.
    pub destinations: Vec<Destination>,
    /// `None` where the ledger could not be read: its gauges are missing from the page then.
    pub ledger: Option<LedgerReading>,
}

/// An environment that is promoted to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    pub pipeline: PipelineKey,
    pub environment: String,
    /// [`StrategyKind::as_str`](lockgate_core::pipeline::StrategyKind::as_str), or `none`.
    pub strategy: &'static str,
}

/// What the ledger says of the latest promotion of each destination.
#[derive(Clone, Debug, Default)]
pub struct LedgerReading {
    /// Name of a state → destinations whose latest promotion is in it. States that are left out
    /// have none.
    pub latest: Vec<(&'static str, u64)>,
    /// The destinations whose latest promotion has failed.
    pub failed: Vec<(PipelineKey, String, FailureReason)>,
    /// Rows that this version cannot read.
    pub unreadable: u64,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("lockgate");
        let deliveries = Series::new(Counter::default);
        for outcome in DeliveryOutcome::ALL {
            deliveries.at(DeliveryLabels { outcome: Name(outcome.as_str()) });
        }
        let syncs = Series::new(Counter::default);
        for outcome in SyncOutcome::ALL {
            syncs.at(DeliveryLabels { outcome: Name(outcome.as_str()) });
        }
        let metrics = Self {
            deliveries: register(
                &mut registry,
                "deliveries",
                "Deliveries that reached the sidecar, by what became of them",
                deliveries,
            ),
            syncs: register(
                &mut registry,
                "syncs",
                "Questions of the edge for its endpoints, by how they were answered",
                syncs,
            ),
            promotions_total: register(
                &mut registry,
                "promotions",
                "What happened to promotions",
                Series::new(Counter::default),
            ),
            promotion_duration: register(
                &mut registry,
                "promotion_duration_seconds",
                "How long each phase of a promotion took",
                Series::new(long_histogram),
            ),
            promotions: register(
                &mut registry,
                "promotions",
                "Destinations, by the state of their latest promotion",
                Series::new(Gauge::default),
            ),
            promotion_failed: register(
                &mut registry,
                "promotion_failed",
                "1 while the latest promotion into an environment is Failed",
                Series::new(Gauge::default),
            ),
            queue_depth: register(
                &mut registry,
                "queue_depth",
                "Promotions that are due and wait for a worker",
                OptionalGauge::default(),
            ),
            forge_requests: register(
                &mut registry,
                "forge_requests",
                "Requests to forges, by the status they were answered with; 0 is no answer",
                Series::new(Counter::default),
            ),
            store_commit: register(
                &mut registry,
                "store_commit_duration_seconds",
                "How long a durable commit of the store took",
                short_histogram(),
            ),
            pipelines: register(
                &mut registry,
                "pipelines",
                "Pipelines; not valid are those with an error, and files that cannot be read",
                Series::new(Gauge::default),
            ),
            key_last_used: register(
                &mut registry,
                "key_last_used_timestamp_seconds",
                "When a key last verified a delivery that was admitted",
                Series::new(Seconds::default),
            ),
            waiting: Arc::default(),
            unreadable: register(
                &mut registry,
                "ledger_unreadable_rows",
                "Rows of the ledger that this version cannot read and leaves out",
                OptionalGauge::default(),
            ),
            registry: Arc::default(),
        };
        Self { registry: Arc::new(Mutex::new(registry)), ..metrics }
    }

    pub fn delivery(&self, outcome: DeliveryOutcome) {
        self.deliveries.at(DeliveryLabels { outcome: Name(outcome.as_str()) }).inc();
    }

    pub fn sync(&self, outcome: SyncOutcome) {
        self.syncs.at(DeliveryLabels { outcome: Name(outcome.as_str()) }).inc();
    }

    /// `environment` is the one that is promoted to; `strategy` is
    /// [`StrategyKind::as_str`](lockgate_core::pipeline::StrategyKind::as_str), or `none`.
    pub fn promotion_outcome(
        &self,
        pipeline: &PipelineKey,
        environment: &str,
        strategy: &'static str,
        outcome: PromotionOutcome,
    ) {
        self.outcome(Place::new(pipeline, environment), strategy, outcome).inc();
    }

    fn outcome(&self, to: Place, strategy: &'static str, outcome: PromotionOutcome) -> Counter {
        let labels =
            PromotionLabels { to, strategy: Name(strategy), outcome: Name(outcome.as_str()) };
        self.promotions_total.at(labels)
    }

    pub fn phase(&self, pipeline: &PipelineKey, environment: &str, phase: Phase, took: Duration) {
        let labels =
            PhaseLabels { to: Place::new(pipeline, environment), phase: Name(phase.as_str()) };
        self.promotion_duration.at(labels).observe(took.as_secs_f64());
    }

    pub fn forge_request(&self, forge: &'static str, operation: &'static str, code: u16) {
        let labels = ForgeLabels { forge: Name(forge), operation: Name(operation), code };
        self.forge_requests.at(labels).inc();
    }

    /// How many promotions are due and wait for a worker.
    pub fn queue_depth(&self, waiting: usize) {
        self.waiting.store(u64::try_from(waiting).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub fn store_commit(&self, took: Duration) {
        self.store_commit.observe(took.as_secs_f64());
    }

    /// A key verified a delivery that was admitted. `key` is the name of the data key in its
    /// Secret, never its bytes.
    pub fn key_used(&self, endpoint: &Endpoint, key: &str, at: Timestamp) {
        let from = Place::new(&endpoint.pipeline_key(), endpoint.environment());
        let labels = KeyLabels { from, key: key.to_owned() };
        self.key_last_used.at(labels).set(at.as_duration().as_secs_f64());
    }

    /// The page that Prometheus reads (content type [`Metrics::CONTENT_TYPE`]). `is_known` says
    /// whether a Pipeline with this environment is loaded; the series of others go.
    ///
    /// # Errors
    /// The library's own, which does not happen with a `String`.
    pub fn page(
        &self,
        reading: &Reading,
        is_known: impl Fn(&str, &str, &str) -> bool,
    ) -> Result<String, fmt::Error> {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |place: &Place| is_known(&place.namespace, &place.pipeline, &place.environment);
        self.promotions_total.retain(|labels| known(&labels.to));
        self.promotion_duration.retain(|labels| known(&labels.to));
        self.key_last_used.retain(|labels| known(&labels.from));
        for destination in reading.destinations.iter().take(Self::DESTINATIONS) {
            for outcome in PromotionOutcome::ALL {
                let to = Place::new(&destination.pipeline, &destination.environment);
                self.outcome(to, destination.strategy, outcome);
            }
        }
        for (valid, count) in [("true", reading.valid), ("false", reading.invalid)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.pipelines.at(ValidLabels { valid: Name(valid) }).set(count);
        }
        self.show_ledger(reading.ledger.as_ref(), known);
        let mut text = String::new();
        encode_registry(&mut text, &registry)?;
        Ok(text::classic(&text))
    }

    fn show_ledger(&self, ledger: Option<&LedgerReading>, known: impl Fn(&Place) -> bool) {
        self.promotions.retain(|_| false);
        self.promotion_failed.retain(|_| false);
        let waiting = self.waiting.load(Ordering::Relaxed);
        self.queue_depth.set(ledger.map(|_| gauge_value(waiting)));
        self.unreadable.set(ledger.map(|ledger| gauge_value(ledger.unreadable)));
        let Some(ledger) = ledger else { return };
        let mut gone = 0;
        for (pipeline, environment, reason) in &ledger.failed {
            let to = Place::new(pipeline, environment);
            if known(&to) {
                self.promotion_failed.at(FailedLabels { to, reason: Name(reason.as_str()) }).set(1);
            } else {
                gone += 1;
            }
        }
        let zeros = State::NAMES.iter().map(|name| (*name, 0));
        for (state, count) in zeros.chain(ledger.latest.iter().copied()) {
            // What failed because its Pipeline was deleted would ring for ever.
            let count = if state == FAILED { count.saturating_sub(gone) } else { count };
            self.promotions.at(StateLabels { state: Name(state) }).set(gauge_value(count));
        }
    }

    /// Destinations whose counters are shown before their first promotion. Each has 11 of them; in
    /// a larger installation the others' appear with their first promotion, so that the page stays
    /// of a size that can be read every few seconds.
    pub const DESTINATIONS: usize = 1_000;

    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn long_histogram() -> Histogram {
    Histogram::new([
        0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0,
        7_200.0, 43_200.0,
    ])
}

fn short_histogram() -> Histogram {
    Histogram::new([0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0])
}

fn gauge_value(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// [`State::name`] of a failed promotion.
const FAILED: &str = "Failed";
