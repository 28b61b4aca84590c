//! Round-trip times and the timeouts that follow from them (RFC 6298).

use std::time::Duration;

/// Timeout for a peer nothing is known of.
pub(crate) const TIMEOUT_UNKNOWN: Duration = Duration::from_millis(400);
/// Shortest timeout.
pub(crate) const TIMEOUT_MIN: Duration = Duration::from_millis(50);
/// Longest timeout, doublings included.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(3);

/// The smoothed round-trip time of one peer. Every try has an id of its own, so every sample is of
/// a known try (Karn's problem does not arise).
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct RoundTrip {
    /// Smoothed time and mean deviation.
    estimate: Option<(Duration, Duration)>,
}

impl RoundTrip {
    /// Takes a sample in.
    pub(crate) fn sample(&mut self, rtt: Duration) {
        self.estimate = Some(match self.estimate {
            None => (rtt, rtt / 2),
            Some((smoothed, deviation)) => {
                ((smoothed * 7 + rtt) / 8, (deviation * 3 + smoothed.abs_diff(rtt)) / 4)
            }
        });
    }

    /// The smoothed round-trip time.
    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.estimate.map(|(smoothed, _)| smoothed)
    }

    /// How long to wait for an answer to try number `try_index`, the first being 0.
    pub(crate) fn timeout(&self, try_index: u32) -> Duration {
        self.estimate
            .map_or(TIMEOUT_UNKNOWN, |(smoothed, deviation)| smoothed + 4 * deviation)
            .clamp(TIMEOUT_MIN, TIMEOUT_MAX)
            .saturating_mul(1 << try_index.min(16))
            .min(TIMEOUT_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_estimate_follows_rfc_6298() {
        let mut rtt = RoundTrip::default();
        assert_eq!((rtt.smoothed(), rtt.timeout(0)), (None, ms(400)));
        rtt.sample(ms(100));
        assert_eq!((rtt.smoothed(), rtt.timeout(0)), (Some(ms(100)), ms(300)));
        // rttvar = 3/4 * 50 + 1/4 * |100 - 180| = 57.5, srtt = 7/8 * 100 + 1/8 * 180 = 110.
        rtt.sample(ms(180));
        assert_eq!((rtt.smoothed(), rtt.timeout(0)), (Some(ms(110)), ms(340)));
        assert_eq!(rtt.timeout(1), ms(680));
    }

    #[test]
    fn timeouts_keep_their_bounds() {
        let (mut fast, mut slow) = (RoundTrip::default(), RoundTrip::default());
        fast.sample(Duration::from_micros(80));
        slow.sample(ms(20_000));
        assert_eq!((fast.timeout(0), fast.timeout(1)), (TIMEOUT_MIN, ms(100)));
        assert_eq!((slow.timeout(0), slow.timeout(255)), (TIMEOUT_MAX, TIMEOUT_MAX));
    }
}
