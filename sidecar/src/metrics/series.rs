//! Time series that can be removed again.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeMetric, MetricEncoder},
    metrics::{MetricType, TypedMetric},
};

/// Labels → metric, shown in the order of the labels. A clone is the same family.
///
/// The library's own `Family` can neither be walked nor cleaned: a removed Pipeline would stay on
/// the page for ever.
#[derive(Clone)]
pub(super) struct Series<S, M> {
    metrics: Arc<Mutex<BTreeMap<S, M>>>,
    fresh: fn() -> M,
}

impl<S: Ord, M: Clone> Series<S, M> {
    /// `fresh` makes the metric of a new series.
    pub(super) fn new(fresh: fn() -> M) -> Self {
        Self { metrics: Arc::default(), fresh }
    }

    /// The metric with these labels, which exists from now on.
    pub(super) fn at(&self, labels: S) -> M {
        self.lock().entry(labels).or_insert_with(self.fresh).clone()
    }

    /// Removes the series whose labels are not to be kept.
    pub(super) fn retain(&self, keep: impl Fn(&S) -> bool) {
        self.lock().retain(|labels, _| keep(labels));
    }

    /// A panic elsewhere cannot leave the map half changed.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<S, M>> {
        self.metrics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S, M> EncodeMetric for Series<S, M>
where
    S: Ord + EncodeLabelSet,
    M: Clone + EncodeMetric + TypedMetric,
{
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (labels, metric) in self.lock().iter() {
            metric.encode(encoder.encode_family(labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        M::TYPE
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

impl<S, M> fmt::Debug for Series<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Series")
    }
}

/// A gauge without labels that is missing from the page while it has no value. A clone is the same
/// gauge.
#[derive(Clone, Debug, Default)]
pub(super) struct OptionalGauge(Arc<Mutex<Option<i64>>>);

impl OptionalGauge {
    pub(super) fn set(&self, value: Option<i64>) {
        *self.lock() = value;
    }

    fn lock(&self) -> MutexGuard<'_, Option<i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EncodeMetric for OptionalGauge {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        match *self.lock() {
            Some(value) => encoder.encode_gauge(&value),
            None => Ok(()),
        }
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Gauge
    }

    fn is_empty(&self) -> bool {
        self.lock().is_none()
    }
}
