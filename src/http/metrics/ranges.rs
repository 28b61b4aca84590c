//! A histogram of the core as the format shows it.

use potluck_base::histogram::Histogram;
use potluck_base::statistics::Number;
use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// The ranges with their counts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ranges(Histogram);

impl Ranges {
    /// Of a number that is a histogram; of any other one without values.
    pub(super) fn of(number: &Number) -> Self {
        match number {
            Number::Ranges(histogram) => Self(*histogram),
            Number::Whole(_) | Number::Fraction(_) => Self(Histogram::default()),
        }
    }
}

impl EncodeMetric for Ranges {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        // The encoder knows the last range by this bound.
        let bound = |bound: f64| if bound.is_finite() { bound } else { f64::MAX };
        let ranges: Vec<(f64, u64)> =
            self.0.ranges().map(|(of, count)| (bound(of), count)).collect();
        encoder.encode_histogram::<NoLabelSet>(self.0.sum(), self.0.count(), &ranges, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}
