//! Every metric that the sidecar exports, as typed methods: nobody else names a family or a label.
//!
//! Labels come from closed enums, or are namespace, name and environment of a pipeline that was
//! loaded: nothing that a sender chooses can make a new time series. The text is Prometheus'
//! classic format, because the gauge `lockgate_promotions` and the counter
//! `lockgate_promotions_total` would be one family to OpenMetrics.

mod labels;

use std::{
    fmt,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use jiff::Timestamp;
use lockgate_edge::Charge;
use lockgate_edge::endpoint::{Endpoint, PipelineKey};
use prometheus_client::{
    encoding::text::encode_registry,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use self::labels::{
    DeliveryLabels, ForgeLabels, KeyLabels, Name, PhaseLabels, PromotionLabels, StateLabels,
    ValidLabels,
};

/// What became of a delivery that reached the sidecar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryOutcome {
    /// 201: a pull request is there.
    Promoted,
    /// 202: stored, still running or nothing to open.
    Accepted,
    /// The first answer of the same delivery again.
    Duplicate,
    /// 202: authentic, nothing to promote.
    Nothing,
    /// 400: not a Flux event.
    Malformed,
    /// 401: the signed time is outside the window.
    Stale,
    /// 401: the same body under the same key came to another endpoint.
    Replayed,
    /// 401: the endpoint or its key does not exist here.
    Unknown,
    /// 422: an event of another object, without a revision, or without a next environment.
    Unprocessable,
    /// 500: the promotion failed for good within the wait.
    Failed,
    /// 503: the filter verified the signature and the sidecar could not.
    Disagree,
    /// 503: the store did not take it.
    Unavailable,
}

impl DeliveryOutcome {
    pub const ALL: [Self; 12] = [
        Self::Promoted,
        Self::Accepted,
        Self::Duplicate,
        Self::Nothing,
        Self::Malformed,
        Self::Stale,
        Self::Replayed,
        Self::Unknown,
        Self::Unprocessable,
        Self::Failed,
        Self::Disagree,
        Self::Unavailable,
    ];

    /// Whose limit at the edge such a delivery counts against: the endpoint's only where a copy of
    /// an old message cannot get the same outcome.
    pub fn charge(self) -> Charge {
        match self {
            Self::Promoted
            | Self::Accepted
            | Self::Nothing
            | Self::Unprocessable
            | Self::Failed => Charge::Endpoint,
            Self::Duplicate
            | Self::Malformed
            | Self::Stale
            | Self::Replayed
            | Self::Unknown
            | Self::Disagree
            | Self::Unavailable => Charge::Source,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promoted => "promoted",
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Nothing => "nothing",
            Self::Malformed => "malformed",
            Self::Stale => "stale",
            Self::Replayed => "replayed",
            Self::Unknown => "unknown",
            Self::Unprocessable => "unprocessable",
            Self::Failed => "failed",
            Self::Disagree => "disagree",
            Self::Unavailable => "unavailable",
        }
    }
}

/// What happened to a promotion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PromotionOutcome {
    Started,
    Waiting,
    TakenUpAgain,
    Retried,
    PullRequestOpen,
    Merged,
    Closed,
    Done,
    Failed,
    Superseded,
    Rejected,
}

impl PromotionOutcome {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Waiting => "waiting",
            Self::TakenUpAgain => "taken_up_again",
            Self::Retried => "retried",
            Self::PullRequestOpen => "pull_request_open",
            Self::Merged => "merged",
            Self::Closed => "closed",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Superseded => "superseded",
            Self::Rejected => "rejected",
        }
    }
}

/// A part of a promotion's life that is timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// From the delivery's arrival until its intent is durable.
    Accept,
    /// From the intent until a worker takes it.
    Queue,
    /// The work in git.
    Git,
    /// The work on the forge.
    Forge,
    /// From the pull request until it is merged.
    Merge,
    /// From the intent until the promotion is final.
    Total,
}

impl Phase {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Queue => "queue",
            Self::Git => "git",
            Self::Forge => "forge",
            Self::Merge => "merge",
            Self::Total => "total",
        }
    }
}

/// The registry and its families. A clone is the same metrics.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    deliveries: Family<DeliveryLabels, Counter>,
    promotions_total: Family<PromotionLabels, Counter>,
    promotion_duration: Family<PhaseLabels, Histogram, fn() -> Histogram>,
    promotions: Family<StateLabels, Gauge>,
    queue_depth: Gauge,
    forge_requests: Family<ForgeLabels, Counter>,
    store_commit: Histogram,
    pipelines: Family<ValidLabels, Gauge>,
    key_last_used: Family<KeyLabels, Gauge<f64, AtomicU64>>,
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("lockgate");
        let deliveries = Family::<DeliveryLabels, Counter>::default();
        for outcome in DeliveryOutcome::ALL {
            drop(deliveries.get_or_create(&DeliveryLabels { outcome: Name(outcome.as_str()) }));
        }
        registry.register(
            "deliveries",
            "Deliveries that reached the sidecar, by what became of them",
            deliveries.clone(),
        );
        let promotions_total = Family::default();
        registry.register("promotions", "What happened to promotions", promotions_total.clone());
        let promotion_duration = Family::new_with_constructor(long_histogram as fn() -> Histogram);
        registry.register(
            "promotion_duration_seconds",
            "How long each phase of a promotion took",
            promotion_duration.clone(),
        );
        let queue_depth = Gauge::default();
        registry.register("queue_depth", "Promotions that wait for a worker", queue_depth.clone());
        let forge_requests = Family::default();
        registry.register(
            "forge_requests",
            "Requests to forges, by the status they were answered with",
            forge_requests.clone(),
        );
        let store_commit = Histogram::new([
            0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0,
        ]);
        registry.register(
            "store_commit_duration_seconds",
            "How long a durable commit of the store took",
            store_commit.clone(),
        );
        let pipelines = Family::default();
        registry.register(
            "pipelines",
            "Pipelines in the watched folder; not valid are those with an error",
            pipelines.clone(),
        );
        let key_last_used = Family::default();
        registry.register(
            "key_last_used_timestamp_seconds",
            "When a key last verified a delivery that was admitted",
            key_last_used.clone(),
        );
        let promotions = Family::default();
        registry.register("promotions", "Promotions in the store, by state", promotions.clone());
        let registry = Arc::new(registry);
        Self {
            registry,
            deliveries,
            promotions_total,
            promotion_duration,
            promotions,
            queue_depth,
            forge_requests,
            store_commit,
            pipelines,
            key_last_used,
        }
    }

    pub fn delivery(&self, outcome: DeliveryOutcome) {
        self.deliveries.get_or_create(&DeliveryLabels { outcome: Name(outcome.as_str()) }).inc();
    }

    /// `environment` is the one that is promoted to; `strategy` is
    /// [`Strategy::name`](lockgate_core::pipeline::Strategy::name).
    pub fn promotion_outcome(
        &self,
        pipeline: &PipelineKey,
        environment: &str,
        strategy: &'static str,
        outcome: PromotionOutcome,
    ) {
        let labels = PromotionLabels {
            namespace: pipeline.namespace().to_owned(),
            pipeline: pipeline.name().to_owned(),
            environment: environment.to_owned(),
            strategy: Name(strategy),
            outcome: Name(outcome.as_str()),
        };
        self.promotions_total.get_or_create(&labels).inc();
    }

    pub fn phase(&self, pipeline: &PipelineKey, environment: &str, phase: Phase, took: Duration) {
        let labels = PhaseLabels {
            namespace: pipeline.namespace().to_owned(),
            pipeline: pipeline.name().to_owned(),
            environment: environment.to_owned(),
            phase: Name(phase.as_str()),
        };
        self.promotion_duration.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// How many promotions are in a state; `state` is
    /// [`State::name`](lockgate_core::promotion::State::name).
    pub fn promotions_in(&self, state: &'static str, count: u64) {
        self.promotions.get_or_create(&StateLabels { state: Name(state) }).set(gauge_value(count));
    }

    pub fn queue_depth(&self, waiting: usize) {
        self.queue_depth.set(gauge_value(u64::try_from(waiting).unwrap_or(u64::MAX)));
    }

    pub fn forge_request(&self, forge: &'static str, operation: &'static str, code: u16) {
        self.forge_requests
            .get_or_create(&ForgeLabels { forge: Name(forge), operation: Name(operation), code })
            .inc();
    }

    pub fn store_commit(&self, took: Duration) {
        self.store_commit.observe(took.as_secs_f64());
    }

    pub fn pipelines(&self, valid: usize, invalid: usize) {
        for (name, count) in [("true", valid), ("false", invalid)] {
            let value = gauge_value(u64::try_from(count).unwrap_or(u64::MAX));
            self.pipelines.get_or_create(&ValidLabels { valid: Name(name) }).set(value);
        }
    }

    /// A key verified a delivery that was admitted. `key` is the name of the data key in its
    /// Secret, never its bytes.
    pub fn key_used(&self, endpoint: &Endpoint, key: &str, at: Timestamp) {
        let labels = KeyLabels {
            namespace: endpoint.namespace().to_owned(),
            pipeline: endpoint.pipeline().to_owned(),
            environment: endpoint.environment().to_owned(),
            key: key.to_owned(),
        };
        self.key_last_used.get_or_create(&labels).set(at.as_duration().as_secs_f64());
    }

    /// The page that Prometheus reads (content type [`Metrics::CONTENT_TYPE`]).
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        Ok(classic(&text))
    }

    pub const CONTENT_TYPE: &'static str = "text/plain; version=0.0.4; charset=utf-8";
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// OpenMetrics text → the classic format: a counter's family carries the `_total` of its samples.
fn classic(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut lines = open.lines().peekable();
    while let Some(line) = lines.next() {
        let help = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '));
        match (help, lines.peek()) {
            (Some((name, words)), Some(next)) if **next == format!("# TYPE {name} counter") => {
                text.push_str(&format!(
                    "# HELP {name}_total {words}\n# TYPE {name}_total counter\n"
                ));
                lines.next();
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text
}

fn long_histogram() -> Histogram {
    Histogram::new([
        0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0,
        7_200.0, 43_200.0,
    ])
}

fn gauge_value(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        reason = "test code"
    )]

    use super::*;

    #[test]
    fn what_an_old_message_can_cause_counts_against_its_source() {
        let endpoint: Vec<&str> = DeliveryOutcome::ALL
            .into_iter()
            .filter(|outcome| outcome.charge() == Charge::Endpoint)
            .map(DeliveryOutcome::as_str)
            .collect();
        assert_eq!(endpoint, ["promoted", "accepted", "nothing", "unprocessable", "failed"]);
    }

    #[test]
    fn the_page_has_every_family_under_its_contracted_name() {
        let metrics = Metrics::new();
        let pipeline: PipelineKey = "team/podinfo".parse().unwrap();
        metrics.delivery(DeliveryOutcome::Accepted);
        metrics.promotion_outcome(&pipeline, "prod", "git", PromotionOutcome::Done);
        metrics.phase(&pipeline, "prod", Phase::Git, Duration::from_millis(30));
        metrics.promotions_in("Pending", 3);
        metrics.queue_depth(2);
        metrics.forge_request("github", "create", 201);
        metrics.store_commit(Duration::from_micros(300));
        metrics.pipelines(1, 0);
        metrics.key_used(
            &pipeline.endpoint("dev").unwrap(),
            "hmac-key",
            Timestamp::from_second(1_700_000_000).unwrap(),
        );
        let text = metrics.text().unwrap();
        for line in [
            "# TYPE lockgate_deliveries_total counter",
            "lockgate_deliveries_total{outcome=\"accepted\"} 1",
            "lockgate_deliveries_total{outcome=\"disagree\"} 0",
            "# TYPE lockgate_promotions_total counter",
            "lockgate_promotions_total{namespace=\"team\",pipeline=\"podinfo\",environment=\"prod\",strategy=\"git\",outcome=\"done\"} 1",
            "lockgate_promotion_duration_seconds_count{namespace=\"team\",pipeline=\"podinfo\",environment=\"prod\",phase=\"git\"} 1",
            "# TYPE lockgate_promotions gauge",
            "lockgate_promotions{state=\"Pending\"} 3",
            "lockgate_queue_depth 2",
            "lockgate_forge_requests_total{forge=\"github\",operation=\"create\",code=\"201\"} 1",
            "lockgate_store_commit_duration_seconds_count 1",
            "lockgate_pipelines{valid=\"true\"} 1",
            "lockgate_key_last_used_timestamp_seconds{namespace=\"team\",pipeline=\"podinfo\",environment=\"dev\",key=\"hmac-key\"} 1700000000.0",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(!text.contains("# EOF"));
    }
}
