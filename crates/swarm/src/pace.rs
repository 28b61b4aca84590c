//! The rate of a source over all its granules, and the number of times that it was too slow.

use std::time::Duration;

/// The time over which the rate is averaged. Raising it follows changes of a source later.
const MEMORY: Duration = Duration::from_secs(4);
/// Consecutive granules after which a source that was too slow ranks like any other. Raising it ranks a
/// source that sends little between pauses last for longer.
const FORGIVEN: u32 = 16;
/// Most doublings of the time that a source gets for a granule, and of its rest: up to 64 times.
const DOUBLINGS_MAX: u32 = 6;

/// The pace of one source.
///
/// It is bytes over time, both summed over many granules, so granules that arrive together, for example from
/// several streams, do not look like a high rate.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Pace {
    bytes: f64,
    seconds: f64,
    /// The number of times that it was too slow.
    slow: u32,
    /// Granules received since it was last too slow.
    since: u32,
}

impl Pace {
    /// A granule arrived, this long after the one before.
    pub(crate) fn note(&mut self, bytes: u64, took: Duration) {
        self.bytes += bytes as f64;
        self.seconds += took.as_secs_f64();
        if self.seconds > MEMORY.as_secs_f64() {
            self.bytes /= 2.0;
            self.seconds /= 2.0;
        }
        self.since = self.since.saturating_add(1);
        if self.since >= FORGIVEN {
            self.slow = 0;
        }
    }

    /// Bytes a second. `None` before the first granule.
    pub(crate) fn rate(&self) -> Option<f64> {
        (self.bytes > 0.0).then(|| self.bytes / self.seconds.max(1e-6))
    }

    /// It was replaced, because others are faster.
    pub(crate) fn on_slow(&mut self) {
        self.slow = self.slow.saturating_add(1);
        self.since = 0;
    }

    /// The number of times that it was too slow recently.
    pub(crate) const fn slow(&self) -> u32 {
        self.slow
    }

    /// The factor of its time for a granule, and of its rest.
    pub(crate) fn patience(&self) -> u32 {
        1 << self.slow.min(DOUBLINGS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn granules_that_come_together_are_not_taken_for_a_high_rate() {
        let mut pace = Pace::default();
        assert_eq!(pace.rate(), None);
        // Eight streams whose granules all arrive at the end of a second.
        for _ in 0..10 {
            pace.note(1000, Duration::from_secs(1));
            (0..7).for_each(|_| pace.note(1000, Duration::ZERO));
        }
        let rate = pace.rate().unwrap();
        assert!((7000.0..10_000.0).contains(&rate), "{rate}");
        // The pace follows a change within a few seconds.
        (0..10).for_each(|_| pace.note(1000, Duration::from_secs(1)));
        assert!(pace.rate().unwrap() < 2000.0, "{pace:?}");
    }

    #[test]
    fn a_slow_source_is_forgiven_after_some_granules_and_not_after_one() {
        let mut pace = Pace::default();
        assert_eq!(pace.patience(), 1);
        for times in 1..=8 {
            pace.on_slow();
            pace.note(1000, Duration::from_millis(1));
            assert_eq!(pace.slow(), times);
        }
        assert_eq!(pace.patience(), 64);
        (0..FORGIVEN).for_each(|_| pace.note(1000, Duration::from_millis(1)));
        assert_eq!((pace.slow(), pace.patience()), (0, 1));
    }
}
