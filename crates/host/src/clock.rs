//! The OS clocks. Everything else of a node is told the time.
//!
//! **Invariant:** what [`Clock::now`] gives never goes back, and is only as fine as the core's
//! microseconds.

use std::time::{Duration, SystemTime};

use potluck_base::{Instant, UnixMillis};

/// Longer than any timer needs. A timer that is due later fires early, which is legal.
const TIMER_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// A pause of the clocks longer than this means that the machine slept, or the process stood still.
const SLEEP_GAP: Duration = Duration::from_secs(30);

/// The clocks of one node, which count from its start.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// Clocks that start now.
    #[must_use]
    pub fn start() -> Self {
        Self { start: std::time::Instant::now() }
    }

    /// Time since the start.
    #[must_use]
    pub fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The wall clock; 0 if it is set to before 1970.
    #[must_use]
    pub fn wall(&self) -> UnixMillis {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// How long the node has been running.
    #[must_use]
    pub fn uptime(&self) -> Duration {
        self.start.elapsed()
    }

    /// When the OS clock will show `at`, for timers.
    pub(crate) fn os_instant(&self, at: Instant) -> std::time::Instant {
        self.start + Duration::from_micros(at.as_micros()).min(self.uptime() + TIMER_MAX)
    }
}

/// Notices that the machine slept: between two looks, either clock made a leap. The monotonic clock
/// stands still during sleep on some systems, the wall clock does not on any.
#[derive(Debug, Default)]
pub(crate) struct SleepWatch {
    last: Option<(Instant, UnixMillis)>,
}

impl SleepWatch {
    /// Looks at the clocks. Called about once a second; gives how long the pause was, if it was a
    /// long one.
    pub(crate) fn look(&mut self, now: Instant, wall: UnixMillis) -> Option<Duration> {
        let (now_before, wall_before) = self.last.replace((now, wall))?;
        let gap = now.since(now_before).max(wall.since(wall_before));
        (gap > SLEEP_GAP).then_some(gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn a_leap_of_either_clock_is_a_sleep() {
        let mut watch = SleepWatch::default();
        assert_eq!(watch.look(at(1), UnixMillis(1_000_000)), None, "nothing to compare with");
        assert_eq!(watch.look(at(2), UnixMillis(1_001_000)), None);
        // Monotonic time stood still during suspension, as on Linux.
        assert_eq!(watch.look(at(3), UnixMillis(1_101_000)), Some(Duration::from_secs(100)));
        assert_eq!(watch.look(at(4), UnixMillis(1_102_000)), None, "told once");
        // It went on, and the wall clock was set back meanwhile.
        assert_eq!(watch.look(at(44), UnixMillis(900_000)), Some(Duration::from_secs(40)));
    }

    #[test]
    fn short_pauses_and_a_clock_set_back_are_no_sleep() {
        let mut watch = SleepWatch::default();
        watch.look(at(1), UnixMillis(1_000_000));
        assert_eq!(watch.look(at(31), UnixMillis(1_030_000)), None);
        assert_eq!(watch.look(at(32), UnixMillis(5)), None);
    }

    #[test]
    fn timers_of_the_core_become_timers_of_the_system() {
        let clock = Clock::start();
        let second = clock.os_instant(at(1)) - clock.os_instant(Instant::ZERO);
        assert_eq!(second, Duration::from_secs(1));
        // No overflow, and far enough off.
        assert!(clock.os_instant(Instant::FAR_FUTURE) > clock.os_instant(at(1_000_000)));
    }

    #[test]
    fn time_does_not_go_back() {
        let clock = Clock::start();
        let first = clock.now();
        assert!(clock.now() >= first);
        assert!(clock.wall() > UnixMillis(1_600_000_000_000));
    }
}
