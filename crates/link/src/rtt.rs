//! Round-trip times and the timeouts that follow from them (RFC 6298).

use std::time::Duration;

/// Longest timeout for a peer nothing is known of; shorter where other peers are near.
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

    /// How long to wait for an answer to try number `try_index`, the first being 0, of a peer that
    /// nothing is known of if `others` are like it.
    pub(crate) fn timeout(&self, try_index: u32, others: &Self) -> Duration {
        let of = |(smoothed, deviation): (Duration, Duration)| smoothed + 4 * deviation;
        let unknown = || {
            let typical = others.estimate.map_or(TIMEOUT_UNKNOWN, of);
            typical.clamp(TIMEOUT_MIN * 2, TIMEOUT_UNKNOWN)
        };
        self.estimate
            .map_or_else(unknown, of)
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
        let nobody = RoundTrip::default();
        assert_eq!((rtt.smoothed(), rtt.timeout(0, &nobody)), (None, ms(400)));
        rtt.sample(ms(100));
        assert_eq!((rtt.smoothed(), rtt.timeout(0, &nobody)), (Some(ms(100)), ms(300)));
        // rttvar = 3/4 * 50 + 1/4 * |100 - 180| = 57.5, srtt = 7/8 * 100 + 1/8 * 180 = 110.
        rtt.sample(ms(180));
        assert_eq!((rtt.smoothed(), rtt.timeout(0, &nobody)), (Some(ms(110)), ms(340)));
        assert_eq!(rtt.timeout(1, &nobody), ms(680));
    }

    #[test]
    fn timeouts_keep_their_bounds() {
        let nobody = RoundTrip::default();
        let (mut fast, mut slow) = (RoundTrip::default(), RoundTrip::default());
        fast.sample(Duration::from_micros(80));
        slow.sample(ms(20_000));
        assert_eq!((fast.timeout(0, &nobody), fast.timeout(1, &nobody)), (TIMEOUT_MIN, ms(100)));
        assert_eq!(
            (slow.timeout(0, &nobody), slow.timeout(255, &nobody)),
            (TIMEOUT_MAX, TIMEOUT_MAX)
        );
    }

    #[test]
    fn a_stranger_among_near_peers_is_taken_for_near() {
        let (stranger, mut near) = (RoundTrip::default(), RoundTrip::default());
        (0..20).for_each(|_| near.sample(ms(1)));
        assert_eq!(stranger.timeout(0, &near), TIMEOUT_MIN * 2);
        assert_eq!(stranger.timeout(1, &near), TIMEOUT_MIN * 4);
        let mut far = RoundTrip::default();
        far.sample(ms(900));
        assert_eq!(stranger.timeout(0, &far), TIMEOUT_UNKNOWN);
    }
}
