//! Statistics of many measurements: quantiles, and intervals for a share.

/// Measurements of one quantity, kept as counts by value: whole numbers are exact up to 4,096, larger ones
/// to one part in 2,048.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    counts: Vec<u64>,
    total: u64,
    sum: u128,
    max: u64,
}

const EXACT: u64 = 4096;
const STEPS: u64 = 2048;

fn slot(value: u64) -> usize {
    if value < EXACT {
        return value as usize;
    }
    let shift = value.ilog2() - 11;
    (EXACT + u64::from(shift - 1) * STEPS + (value >> shift) - STEPS) as usize
}

fn value(slot: usize) -> u64 {
    let slot = slot as u64;
    if slot < EXACT {
        return slot;
    }
    let shift = (slot - EXACT) / STEPS + 1;
    ((slot - EXACT) % STEPS + STEPS) << shift
}

impl Sample {
    /// Adds a measurement.
    pub fn add(&mut self, value: u64) {
        let at = slot(value);
        if at >= self.counts.len() {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
        self.total += 1;
        self.sum += u128::from(value);
        self.max = self.max.max(value);
    }

    /// Adds the measurements of another sample.
    pub fn merge(&mut self, other: &Self) {
        if other.counts.len() > self.counts.len() {
            self.counts.resize(other.counts.len(), 0);
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(mine, more)| *mine += more);
        self.total += other.total;
        self.sum += other.sum;
        self.max = self.max.max(other.max);
    }

    /// The number of measurements.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// Their mean; 0 without any.
    #[must_use]
    pub fn mean(&self) -> f64 {
        if self.total == 0 { 0.0 } else { self.sum as f64 / self.total as f64 }
    }

    /// The value that this share of the measurements does not exceed.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let goal = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= goal {
                return value(at);
            }
        }
        self.max
    }

    /// The largest.
    #[must_use]
    pub const fn max(&self) -> u64 {
        self.max
    }

    /// The share of the measurements that is at most `limit`.
    #[must_use]
    pub fn share_up_to(&self, limit: u64) -> f64 {
        let within: u64 = self.counts.iter().take(slot(limit) + 1).sum();
        within as f64 / self.total.max(1) as f64
    }

    /// Points of the cumulative distribution, at most `points` of them.
    #[must_use]
    pub fn cumulative(&self, points: usize) -> Vec<(f64, f64)> {
        let points = points.max(2);
        (0..=points)
            .map(|at| at as f64 / points as f64)
            .map(|share| (self.quantile(share) as f64, share))
            .collect()
    }
}

/// The interval that holds a share with 99 % confidence, if `part` of `whole` were found (Wilson 1927).
#[must_use]
pub fn interval_99(part: u64, whole: u64) -> (f64, f64) {
    if whole == 0 {
        return (0.0, 1.0);
    }
    let z = 2.575_829_303_549;
    let (n, p) = (whole as f64, part as f64 / whole as f64);
    let centre = p + z * z / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt();
    let scale = 1.0 + z * z / n;
    (((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0))
}

/// The smallest, the median and the largest of some values; zeros for an empty list.
#[must_use]
pub fn spread(mut values: Vec<f64>) -> [f64; 3] {
    values.sort_by(f64::total_cmp);
    match (values.first(), values.get(values.len() / 2), values.last()) {
        (Some(least), Some(middle), Some(most)) => [*least, *middle, *most],
        _ => [0.0; 3],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_for_small_numbers_and_close_for_large_ones() {
        let mut sample = Sample::default();
        (1..=100).for_each(|value| sample.add(value));
        let found = [0.0, 0.5, 0.99, 1.0].map(|share| sample.quantile(share));
        assert_eq!(found, [1, 50, 99, 100]);
        assert_eq!((sample.count(), sample.max()), (100, 100));
        assert!((sample.mean() - 50.5).abs() < 1e-9);
        assert!((sample.share_up_to(25) - 0.25).abs() < 1e-9);
        for number in [4095, 4096, 5001, 70_000, 123_456_789, u64::MAX / 3] {
            let back = value(slot(number));
            assert!(back <= number && number - back <= number / 2000, "{number} {back}");
        }
    }

    #[test]
    fn merged_samples_are_as_one() {
        let (mut a, mut b, mut all) = (Sample::default(), Sample::default(), Sample::default());
        for number in 0..5000 {
            if number % 3 == 0 {
                a.add(number);
            } else {
                b.add(number);
            }
            all.add(number);
        }
        a.merge(&b);
        assert_eq!(a, all);
    }

    #[test]
    fn the_interval_of_a_share_holds_it_and_narrows() {
        let (low, high) = interval_99(30, 100);
        assert!(
            low < 0.3 && 0.3 < high && (low - 0.197).abs() < 0.005 && (high - 0.428).abs() < 0.005
        );
        let (narrow_low, narrow_high) = interval_99(3000, 10_000);
        assert!(low < narrow_low && narrow_high < high);
        assert_eq!(interval_99(0, 0), (0.0, 1.0));
        assert_eq!(interval_99(0, 100).0.to_bits(), 0.0f64.to_bits());
    }

    #[test]
    fn a_spread_is_least_middle_most() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0]), [1.0, 2.0, 3.0]);
        assert_eq!(spread(Vec::new()), [0.0; 3]);
    }
}
