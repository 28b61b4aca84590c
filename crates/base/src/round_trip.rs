//! The round-trip time estimator of RFC 6298, section 2: a smoothed time and its mean deviation.

use std::time::Duration;

/// The smoothed round-trip time of one peer, or of all peers of one kind.
///
/// Gains are those of RFC 6298: 1/8 for the time, 1/4 for the deviation. Each request has its own id,
/// so each sample belongs to a known transmission and Karn's rule needs no code here. Timeouts are not
/// derived here: each user bounds them for its purpose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RoundTrip {
    /// The smoothed time and the mean deviation; `None` before the first sample.
    estimate: Option<(Duration, Duration)>,
}

impl RoundTrip {
    /// An estimate to begin with, for callers that wait for peers of which nothing is known yet.
    #[must_use]
    pub const fn assumed(smoothed: Duration, deviation: Duration) -> Self {
        Self { estimate: Some((smoothed, deviation)) }
    }

    /// Adds one measured round-trip time. The first sample sets the time, and half of it as deviation.
    pub fn sample(&mut self, rtt: Duration) {
        self.estimate = Some(match self.estimate {
            None => (rtt, rtt / 2),
            Some((smoothed, deviation)) => {
                ((smoothed * 7 + rtt) / 8, (deviation * 3 + smoothed.abs_diff(rtt)) / 4)
            }
        });
    }

    /// The smoothed round-trip time; `None` before the first sample.
    #[must_use]
    pub fn smoothed(&self) -> Option<Duration> {
        self.estimate.map(|(smoothed, _)| smoothed)
    }

    /// The smoothed time plus `deviations` mean deviations; `None` before the first sample. With
    /// round-trip times that are distributed normally, where a mean deviation is 0.8 standard
    /// deviations, about 95 % of the samples stay below 2 and 99.9 % below 4. RFC 6298 waits for 4.
    #[must_use]
    pub fn with_deviations(&self, deviations: u32) -> Option<Duration> {
        self.estimate.map(|(smoothed, deviation)| smoothed + deviation * deviations)
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
        assert_eq!((rtt.smoothed(), rtt.with_deviations(4)), (None, None));
        rtt.sample(ms(100));
        assert_eq!((rtt.smoothed(), rtt.with_deviations(4)), (Some(ms(100)), Some(ms(300))));
        // rttvar = 3/4 * 50 + 1/4 * |100 - 180| = 57.5, srtt = 7/8 * 100 + 1/8 * 180 = 110.
        rtt.sample(ms(180));
        assert_eq!((rtt.smoothed(), rtt.with_deviations(4)), (Some(ms(110)), Some(ms(340))));
        assert_eq!(rtt.with_deviations(2), Some(ms(225)));
    }

    #[test]
    fn an_assumed_estimate_gives_way_to_samples() {
        let mut rtt = RoundTrip::assumed(ms(250), ms(50));
        assert_eq!(rtt.with_deviations(1), Some(ms(300)));
        (0..100).for_each(|_| rtt.sample(ms(10)));
        assert!(rtt.with_deviations(4).unwrap() < ms(12), "{rtt:?}");
    }
}
