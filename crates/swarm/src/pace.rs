//! How fast a source is, over all that it gave, and how often it was too slow.

use std::time::Duration;

/// Time of giving over which a pace is the average. Raising it follows changes of a source later.
const MEMORY: Duration = Duration::from_secs(4);
/// Granules in a row after which a source that was too slow counts as any other. Raising it lets a source
/// that gives little between its pauses come last for longer.
const FORGIVEN: u32 = 16;
/// Most doublings of the time that a source gets for a granule, and of its rest: 64 times.
const DOUBLINGS_MAX: u32 = 6;

/// The pace of one source.
///
/// It is bytes over time, both summed over many granules: granules that come together, as those of several
/// streams do, are not taken for a high rate.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Pace {
    bytes: f64,
    seconds: f64,
    /// How often it was too slow.
    slow: u32,
    /// Granules that came since it was too slow.
    since: u32,
}

impl Pace {
    /// A granule came, this long after the one before.
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

    /// Bytes a second; `None` before the first granule.
    pub(crate) fn rate(&self) -> Option<f64> {
        (self.bytes > 0.0).then(|| self.bytes / self.seconds.max(1e-6))
    }

    /// It was replaced, as others are faster.
    pub(crate) fn on_slow(&mut self) {
        self.slow = self.slow.saturating_add(1);
        self.since = 0;
    }

    /// How often it was too slow lately.
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
        // Eight streams, whose granules all come at the end of a second.
        for _ in 0..10 {
            pace.note(1000, Duration::from_secs(1));
            (0..7).for_each(|_| pace.note(1000, Duration::ZERO));
        }
        let rate = pace.rate().unwrap();
        assert!((7000.0..10_000.0).contains(&rate), "{rate}");
        // It follows a change within some seconds.
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
