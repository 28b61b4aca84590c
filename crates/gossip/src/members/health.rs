//! The health of this node itself: Lifeguard's local health multiplier (arXiv:1707.00788).
//!
//! A starved node sees all others as slow. The worse its own probes go, the less often it probes
//! and the longer it waits before it declares a member dead. Like the paper and unlike memberlist
//! we stretch suspicions too, not only the interval.

use std::time::Duration;

/// The worst value: intervals and suspicions are nine times as long.
const WORST: u8 = 8;

/// From 0, healthy, to 8, the worst.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LocalHealth(u8);

impl LocalHealth {
    /// A probe was answered.
    pub(crate) fn on_good(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    /// Something went wrong for which this node may be to blame.
    pub(crate) fn on_bad(&mut self) {
        self.0 = (self.0 + 1).min(WORST);
    }

    /// The value.
    pub(crate) const fn get(self) -> u8 {
        self.0
    }

    /// `time`, stretched.
    pub(crate) fn stretch(self, time: Duration) -> Duration {
        time * (u32::from(self.0) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_stretch_times_up_to_ninefold_and_successes_undo_it() {
        let second = Duration::from_secs(1);
        let mut health = LocalHealth::default();
        assert_eq!(health.stretch(second), second);
        for _ in 0..20 {
            health.on_bad();
        }
        assert_eq!(health.stretch(second), second * 9);
        for _ in 0..8 {
            health.on_good();
        }
        assert_eq!((health.get(), health.stretch(second)), (0, second));
    }
}
