//! Lost records: by one event, and by churn that is faster than repair.

/// Expected number of `records` that are lost if a `share` of all nodes vanishes at once, with each record on
/// `replicas` random nodes: `records * share^replicas`.
#[must_use]
pub fn lost_at_once(records: f64, replicas: u32, share: f64) -> f64 {
    let share = if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) };
    records.max(0.0) * share.powi(replicas.min(1024) as i32)
}

/// Expected number of `records` lost in a year of churn without correlation: a record is lost if all its
/// holders leave within one `repair_seconds`, each interval with `(1 - e^(-T/L))^r` for lives of mean L
/// (the model of Blake and Rodrigues, HotOS 2003, with repair each T).
#[must_use]
pub fn lost_a_year(records: f64, replicas: u32, session_seconds: f64, repair_seconds: f64) -> f64 {
    const YEAR_SECONDS: f64 = 365.25 * 86_400.0;
    let (session, repair) = (session_seconds.max(1.0), repair_seconds.max(0.001));
    let gone = -(-repair / session).exp_m1();
    let lost = gone.powi(replicas.min(1024) as i32);
    let intervals = YEAR_SECONDS / repair;
    // 1 - (1 - p)^n, exact for the smallest p too.
    records.max(0.0) * -(intervals * (-lost.min(1.0 - 1e-16)).ln_1p()).exp_m1()
}

/// The fewest replicas with at most `lost_max` expected losses if `share` of the nodes vanishes at once.
/// `None` if `limit` replicas are not enough.
#[must_use]
pub fn replicas_for(records: f64, share: f64, lost_max: f64, limit: u32) -> Option<u32> {
    (1..=limit).find(|replicas| lost_at_once(records, *replicas, share) <= lost_max)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn thirty_percent_gone_take_24_300_of_ten_million_with_five_replicas() {
        assert!((lost_at_once(1e7, 5, 0.3) - 24_300.0).abs() < 1.0);
        assert!((lost_at_once(1e7, 16, 0.3) - 0.043).abs() < 0.001);
        assert_eq!(replicas_for(1e7, 0.3, 1.0, 32), Some(14));
        assert_eq!(replicas_for(1e7, 0.9, 1.0, 32), None);
    }

    #[test]
    fn repair_each_minute_with_five_replicas_beats_each_hour_with_sixteen() {
        let session = 7200.0 / std::f64::consts::LN_2;
        let minute = lost_a_year(1e7, 5, session, 60.0);
        let hour = lost_a_year(1e7, 16, session, 3600.0);
        assert!((minute - 33.0).abs() < 2.0 && (hour - 257.0).abs() < 10.0, "{minute} {hour}");
        assert!(lost_a_year(1e7, 16, session, 79_200.0) > 9.9e6, "republishing alone");
    }

    proptest! {
        #[test]
        fn more_replicas_never_lose_more(records in 1.0..1e9f64, r in 1u32..32, share in 0.0..1.0f64, repair in 1.0..1e5f64) {
            prop_assert!(lost_at_once(records, r + 1, share) <= lost_at_once(records, r, share));
            prop_assert!(lost_a_year(records, r + 1, 1e4, repair) <= lost_a_year(records, r, 1e4, repair) * 1.000_001);
        }

        #[test]
        fn a_larger_share_and_slower_repair_never_lose_less(r in 1u32..32, share in 0.0..0.9f64, repair in 1.0..1e5f64) {
            prop_assert!(lost_at_once(1e6, r, share + 0.1) >= lost_at_once(1e6, r, share));
            prop_assert!(lost_at_once(1e6, r, share) <= 1e6);
            let lost = lost_a_year(1e6, r, 1e4, repair);
            prop_assert!((0.0..=1e6).contains(&lost));
            prop_assert!(lost_a_year(1e6, r, 2e4, repair) <= lost * 1.000_001);
        }
    }
}
