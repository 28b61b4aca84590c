//! The lateness of the drive loop, the first figure to check when a node seems slow.

use std::time::Duration;

use potluck_base::Instant;

/// Length of a window. A maximum is shown for one to two windows.
const WINDOW: Duration = Duration::from_secs(60);

/// The lateness of timers.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct LagGauge {
    last: Duration,
    /// The maximum of the current window and of the previous one.
    max: [Duration; 2],
    window_start: Instant,
}

impl LagGauge {
    /// A timer that was due at `due` was handled at `now`.
    pub(super) fn record(&mut self, due: Instant, now: Instant) {
        self.roll(now);
        self.last = now.since(due);
        self.max[0] = self.max[0].max(self.last);
    }

    /// Begins a new window when the current one is over.
    pub(super) fn roll(&mut self, now: Instant) {
        let age = now.since(self.window_start);
        if age >= WINDOW {
            let before = if age < WINDOW * 2 { self.max[0] } else { Duration::ZERO };
            self.max = [Duration::ZERO, before];
            self.window_start = now;
        }
    }

    /// The lateness of the last timer.
    pub(super) const fn last(&self) -> Duration {
        self.last
    }

    /// The maximum of the last one to two minutes.
    pub(super) fn max(&self) -> Duration {
        self.max[0].max(self.max[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(millis * 1000)
    }

    #[test]
    fn the_maximum_is_forgotten_after_one_to_two_minutes() {
        let millis = Duration::from_millis;
        let mut lag = LagGauge::default();
        lag.record(at(1_000), at(1_500));
        lag.record(at(2_000), at(2_001));
        assert_eq!((lag.last(), lag.max()), (millis(1), millis(500)));
        lag.record(at(61_000), at(61_002));
        assert_eq!(lag.max(), millis(500), "the window before still counts");
        lag.roll(at(122_000));
        assert_eq!(lag.max(), millis(2));
        lag.roll(at(400_000));
        assert_eq!(lag.max(), Duration::ZERO);
    }
}
