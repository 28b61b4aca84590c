//! Round trips computed by a hash: log-normal over the pairs of nodes, without a matrix.

use crate::draw::{below, mix2};

/// Quantiles in the table.
const STEPS: usize = 1024;

/// Round trips of pairs.
#[derive(Debug)]
pub(super) struct Latency {
    seed: u64,
    quantiles: Vec<u16>,
}

impl Latency {
    /// Round trips with this median in milliseconds; two thirds are within a factor of `e^sigma` of it.
    pub(super) fn new(seed: u64, median: f64, sigma: f64) -> Self {
        let at = |step: usize| {
            let z = normal_quantile((step as f64 + 0.5) / STEPS as f64);
            (median * (sigma * z).exp()).clamp(1.0, 10_000.0) as u16
        };
        Self { seed, quantiles: (0..STEPS).map(at).collect() }
    }

    /// The round trip of a pair: the same each time, and in both directions.
    pub(super) fn round_trip(&self, a: u32, b: u32) -> u32 {
        let pair = (u64::from(a.min(b)) << 32) | u64::from(a.max(b));
        u32::from(self.quantiles[below(mix2(self.seed, pair), STEPS)])
    }
}

/// The quantile of the normal distribution (Odeh and Evans 1974, error under 1.5e-8).
fn normal_quantile(share: f64) -> f64 {
    let p = share.min(1.0 - share);
    let y = (-2.0 * p.ln()).sqrt();
    let upper =
        ((((4.536_422_101_48e-5 * y + 0.020_423_121_024_5) * y + 0.342_242_088_547) * y + 1.0) * y)
            + 0.322_232_431_088;
    let lower = (((0.003_856_070_063_4 * y + 0.103_537_752_85) * y + 0.531_103_462_366) * y
        + 0.588_581_570_495)
        * y
        + 0.099_348_462_606;
    let z = y - upper / lower;
    if share < 0.5 { -z } else { z }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_have_their_median_and_are_the_same_from_both_ends() {
        let latency = Latency::new(1, 100.0, 0.5);
        assert_eq!(latency.round_trip(3, 9), latency.round_trip(9, 3));
        let mut all: Vec<u32> = (0..10_001).map(|n| latency.round_trip(7, n + 100)).collect();
        all.sort_unstable();
        assert!((97..104).contains(&all[5000]), "{}", all[5000]);
        assert!((155..175).contains(&all[8413]), "one sigma is e^0.5: {}", all[8413]);
    }

    #[test]
    fn quantiles_of_the_normal_distribution() {
        for (share, z) in [(0.5, 0.0), (0.841_344_7, 1.0), (0.022_750_1, -2.0), (0.998_650_1, 3.0)]
        {
            assert!((normal_quantile(share) - z).abs() < 1e-5, "{share}");
        }
    }
}
