//! How often each of a few fixed ranges of values was met: enough for quantiles, in a fixed number of bytes.

use std::time::Duration;

/// Ranges with an upper bound; one more range has none.
pub const BOUNDS: usize = 16;

/// The upper bound of the first range of times, in microseconds. Each bound is twice the one before, so the
/// last one is 16.4 seconds. A read in one network of machines takes about a millisecond, and a lookup ends
/// within ten seconds.
const FIRST_MICROS: u64 = 500;
/// Microseconds in a second.
const MICROS: f64 = 1e6;

/// Counts of times by range. Bound number `i` is `2^i` times the first one. The output is in seconds.
///
/// ```
/// use std::time::Duration;
/// use potluck_base::histogram::Histogram;
///
/// let mut times = Histogram::of_times();
/// times.note(Duration::from_millis(3));
/// assert_eq!((times.count(), times.quantile(0.5)), (1, Some(0.004)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Histogram {
    ranges: [u64; BOUNDS + 1],
    /// In microseconds.
    sum: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::of_times()
    }
}

impl Histogram {
    /// Of times, with bounds from half a millisecond to 16.4 seconds.
    #[must_use]
    pub const fn of_times() -> Self {
        Self { ranges: [0; BOUNDS + 1], sum: 0 }
    }

    /// Counts a time.
    pub fn note(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let steps = micros.div_ceil(FIRST_MICROS).max(1);
        let range = (u64::BITS - (steps - 1).leading_zeros()) as usize;
        let range = &mut self.ranges[range.min(BOUNDS)];
        *range = range.saturating_add(1);
        self.sum = self.sum.saturating_add(micros);
    }

    /// How many values there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        let (mut count, mut range) = (0_u64, 0);
        while range < self.ranges.len() {
            count = count.saturating_add(self.ranges[range]);
            range += 1;
        }
        count
    }

    /// The sum of all values.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum as f64 / MICROS
    }

    /// The upper bounds, each with how many values are in its range; the last bound is infinite.
    pub fn ranges(&self) -> impl Iterator<Item = (f64, u64)> {
        let bound = |range: usize| match range {
            BOUNDS => f64::INFINITY,
            _ => FIRST_MICROS as f64 * (1_u64 << range) as f64 / MICROS,
        };
        self.ranges.iter().enumerate().map(move |(range, count)| (bound(range), *count))
    }

    /// The bound that this share of the values is not above. Above the last bound it is that bound. `None`
    /// without values.
    #[must_use]
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let rank = ((self.count() as f64 * share).ceil() as u64).max(1);
        let (mut before, mut last) = (0_u64, 0.0);
        for (bound, count) in self.ranges() {
            before = before.saturating_add(count);
            last = if bound.is_finite() { bound } else { last };
            if before >= rank {
                return Some(last);
            }
        }
        None
    }

    /// What came since an earlier state of the same histogram.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut of = *self;
        for (range, before) in of.ranges.iter_mut().zip(earlier.ranges) {
            *range = range.saturating_sub(before);
        }
        of.sum = self.sum.saturating_sub(earlier.sum);
        of
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(micros: &[u64]) -> Histogram {
        let mut times = Histogram::of_times();
        micros.iter().for_each(|it| times.note(Duration::from_micros(*it)));
        times
    }

    #[test]
    fn a_value_is_in_the_first_range_whose_bound_it_is_not_above() {
        let ranges = |micros| {
            let times = of(&[micros]);
            times.ranges().position(|(_, count)| count == 1).expect("one range")
        };
        assert_eq!(
            (ranges(0), ranges(500), ranges(501), ranges(1_000), ranges(1_001)),
            (0, 0, 1, 1, 2)
        );
        assert_eq!((ranges(16_384_000), ranges(16_384_001), ranges(u64::MAX)), (15, 16, 16));
    }

    #[test]
    fn quantiles_are_bounds() {
        assert_eq!(of(&[]).quantile(0.5), None);
        let mut micros = vec![900; 99];
        micros.push(3_000_000);
        let times = of(&micros);
        assert_eq!((times.quantile(0.5), times.quantile(0.99)), (Some(0.001), Some(0.001)));
        assert_eq!((times.quantile(1.0), times.count()), (Some(4.096), 100));
        assert_eq!(of(&[60_000_000]).quantile(0.5), Some(16.384), "no bound is above the last");
        assert!((times.sum() - 3.0891).abs() < 1e-9);
    }

    #[test]
    fn what_came_since_is_the_difference() {
        let (earlier, later) = (of(&[700, 9_000]), of(&[700, 9_000, 20_000, 700]));
        assert_eq!(later.since(&earlier), of(&[20_000, 700]));
    }

    proptest! {
        #[test]
        fn a_quantile_is_at_most_twice_the_value(mut micros in prop::collection::vec(500_u64..16_000_000, 1..60),
            percent in 1_u32..=100) {
            let share = f64::from(percent) / 100.0;
            let got = of(&micros).quantile(share).expect("values");
            micros.sort_unstable();
            let rank = (micros.len() as f64 * share).ceil() as usize;
            let exact = micros[rank.max(1) - 1] as f64 / 1e6;
            prop_assert!(got >= exact && got <= 2.0 * exact, "{got} for {exact}");
        }
    }
}
