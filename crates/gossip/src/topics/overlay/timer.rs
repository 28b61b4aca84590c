//! The timers of an overlay.

use potluck_base::Instant;

/// What an overlay does at a set time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::topics) enum OverlayTimer {
    /// Exchange contacts with a random node.
    Shuffle,
    /// Probe the contact of the passive view that was not probed for the longest time.
    ProbeContact,
    /// Check the neighbour that was silent for the longest time.
    CheckNeighbour,
    /// Request a surplus link, to keep the overlay mixed.
    Rewire,
    /// Drop a link beyond the limit. Stays due while there are more.
    Trim,
    /// Search for other nodes of the topic.
    Find,
    /// Request a link, when a slot or a contact is free again.
    Promote,
}

/// Number of timers.
const COUNT: usize = OverlayTimer::Promote as usize + 1;

/// The due time of a timer that is not set.
const NEVER: Instant = Instant::from_micros(u64::MAX);

/// When each timer is due.
#[derive(Debug, Clone)]
pub(super) struct Timers([Instant; COUNT]);

impl Default for Timers {
    fn default() -> Self {
        Self([NEVER; COUNT])
    }
}

impl Timers {
    /// When a timer is due, if it is set.
    pub(super) fn get(&self, timer: OverlayTimer) -> Option<Instant> {
        Some(self.0[timer as usize]).filter(|at| *at < NEVER)
    }

    pub(super) const fn set(&mut self, timer: OverlayTimer, at: Instant) {
        self.0[timer as usize] = at;
    }

    /// Sets or stops a timer.
    pub(super) fn put(&mut self, timer: OverlayTimer, at: Option<Instant>) {
        self.0[timer as usize] = at.unwrap_or(NEVER);
    }

    pub(super) const fn stop(&mut self, timer: OverlayTimer) {
        self.0[timer as usize] = NEVER;
    }

    /// Sets a timer to `at`, unless it is due sooner.
    pub(super) fn set_by(&mut self, timer: OverlayTimer, at: Instant) {
        self.0[timer as usize] = self.0[timer as usize].min(at);
    }
}
