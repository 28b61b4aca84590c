//! The timeouts of requests, from measured round-trip times (RFC 6298).

use std::time::Duration;

use potluck_base::RoundTrip;

/// Longest first timeout for a peer without a measured round-trip time. It is shorter where other peers
/// are near.
pub(crate) const TIMEOUT_UNKNOWN: Duration = Duration::from_millis(400);
/// Shortest timeout.
pub(crate) const TIMEOUT_MIN: Duration = Duration::from_millis(50);
/// Longest timeout, doublings included.
pub(crate) const TIMEOUT_MAX: Duration = Duration::from_secs(3);

/// How long to wait for an answer of a peer with the round-trip time `peer` to transmission number
/// `try_index`, the first being 0. Without a sample of `peer`, the round-trip time of `others` decides.
pub(crate) fn timeout(peer: &RoundTrip, try_index: u32, others: &RoundTrip) -> Duration {
    let unknown = || {
        let typical = others.with_deviations(4).unwrap_or(TIMEOUT_UNKNOWN);
        typical.clamp(TIMEOUT_MIN * 2, TIMEOUT_UNKNOWN)
    };
    peer.with_deviations(4)
        .unwrap_or_else(unknown)
        .clamp(TIMEOUT_MIN, TIMEOUT_MAX)
        .saturating_mul(1 << try_index.min(16))
        .min(TIMEOUT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn the_timeout_is_four_deviations_above_the_round_trip_and_doubles() {
        let unknown = RoundTrip::default();
        let mut rtt = RoundTrip::default();
        assert_eq!(timeout(&rtt, 0, &unknown), ms(400));
        rtt.sample(ms(100));
        assert_eq!(timeout(&rtt, 0, &unknown), ms(300));
        rtt.sample(ms(180));
        assert_eq!(timeout(&rtt, 0, &unknown), ms(340));
        assert_eq!(timeout(&rtt, 1, &unknown), ms(680));
    }

    #[test]
    fn timeouts_keep_their_bounds() {
        let unknown = RoundTrip::default();
        let (mut fast, mut slow) = (RoundTrip::default(), RoundTrip::default());
        fast.sample(Duration::from_micros(80));
        slow.sample(ms(20_000));
        assert_eq!(timeout(&fast, 0, &unknown), TIMEOUT_MIN);
        assert_eq!(timeout(&fast, 1, &unknown), ms(100));
        assert_eq!(timeout(&slow, 0, &unknown), TIMEOUT_MAX);
        assert_eq!(timeout(&slow, 255, &unknown), TIMEOUT_MAX);
    }

    #[test]
    fn a_stranger_among_near_peers_is_taken_for_near() {
        let (stranger, mut near) = (RoundTrip::default(), RoundTrip::default());
        (0..20).for_each(|_| near.sample(ms(1)));
        assert_eq!(timeout(&stranger, 0, &near), TIMEOUT_MIN * 2);
        assert_eq!(timeout(&stranger, 1, &near), TIMEOUT_MIN * 4);
        let mut far = RoundTrip::default();
        far.sample(ms(900));
        assert_eq!(timeout(&stranger, 0, &far), TIMEOUT_UNKNOWN);
    }
}
