//! Replay windows: a sealed datagram counts once.
//!
//! A sender numbers all its datagrams with one counter, under a boot id drawn at its start. For
//! each of a peer's newest two boot ids the last 1024 counters are remembered; what is older cannot
//! be told from a replay and is dropped.
//!
//! **Invariant:** a boot id enters only with a proof of freshness (a cookie of ours, or an answer to
//! our own request), or recordings of a peer's former lives could push out the present one.

use crate::frame::{BOOT_BYTES, Serial};

/// Counters remembered a boot id.
const WINDOW: u64 = 1024;
const WORDS: usize = (WINDOW / 64) as usize;
/// Boot ids remembered a peer.
const BOOTS: usize = 2;

/// The counters of one boot id.
#[derive(Debug, Clone)]
struct Window {
    boot: [u8; BOOT_BYTES],
    highest: u64,
    /// Bit `counter % 1024` says that `counter` was seen, for the 1024 up to `highest`.
    seen: [u64; WORDS],
}

impl Window {
    fn new(serial: Serial) -> Self {
        let mut window = Self { boot: serial.boot, highest: serial.counter, seen: [0; WORDS] };
        window.mark(serial.counter);
        window
    }

    #[expect(clippy::indexing_slicing, reason = "a bit of the window")]
    fn mark(&mut self, counter: u64) {
        let bit = counter % WINDOW;
        self.seen[(bit / 64) as usize] |= 1 << (bit % 64);
    }

    /// Forgets the counters a window ago whose places `from..to` take now. The counter is shared
    /// with all other peers of the sender, so gaps are the rule: whole words at a time.
    #[expect(clippy::indexing_slicing, reason = "a bit of the window")]
    fn clear(&mut self, from: u64, to: u64) {
        let mut next = from;
        while next < to {
            let bit = next % WINDOW;
            let bits = (64 - bit % 64).min(to - next);
            self.seen[(bit / 64) as usize] &= !((u64::MAX >> (64 - bits)) << (bit % 64));
            next += bits;
        }
    }

    #[expect(clippy::indexing_slicing, reason = "a bit of the window")]
    fn is_spent(&self, counter: u64) -> bool {
        if counter > self.highest {
            return false;
        }
        let bit = counter % WINDOW;
        self.highest - counter >= WINDOW || self.seen[(bit / 64) as usize] & (1 << (bit % 64)) != 0
    }

    fn accept(&mut self, counter: u64) -> bool {
        if self.is_spent(counter) {
            return false;
        }
        if counter > self.highest {
            if counter - self.highest >= WINDOW {
                self.seen = [0; WORDS];
            } else {
                self.clear(self.highest + 1, counter);
            }
            self.highest = counter;
        }
        self.mark(counter);
        true
    }
}

/// The replay windows of one peer, newest boot id first.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReplayGuard {
    windows: Vec<Window>,
}

impl ReplayGuard {
    /// Whether this peer's boot id was proven fresh before.
    pub(crate) fn knows(&self, serial: Serial) -> bool {
        self.windows.iter().any(|window| window.boot == serial.boot)
    }

    /// Whether this serial was accepted before, or is too old to tell. Changes nothing, so it may
    /// be asked before the seal was checked.
    pub(crate) fn is_spent(&self, serial: Serial) -> bool {
        self.windows
            .iter()
            .any(|window| window.boot == serial.boot && window.is_spent(serial.counter))
    }

    /// Marks an authentic serial of a known boot id; false if it was spent. A serial of an unknown
    /// boot id passes and leaves no trace.
    pub(crate) fn accept(&mut self, serial: Serial) -> bool {
        self.windows
            .iter_mut()
            .find(|window| window.boot == serial.boot)
            .is_none_or(|window| window.accept(serial.counter))
    }

    /// Marks an authentic serial that is proven fresh; a new boot id pushes out the oldest. False
    /// if it was spent.
    pub(crate) fn accept_fresh(&mut self, serial: Serial) -> bool {
        if self.knows(serial) {
            return self.accept(serial);
        }
        self.windows.truncate(BOOTS - 1);
        // Most peers are known by one boot id. Without this the list takes room for four.
        self.windows.reserve_exact(1);
        self.windows.insert(0, Window::new(serial));
        true
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn serial(boot: u8, counter: u64) -> Serial {
        Serial { boot: [boot; BOOT_BYTES], counter }
    }

    #[test]
    fn what_is_a_window_old_cannot_be_told_from_a_replay() {
        let mut guard = ReplayGuard::default();
        assert!(guard.accept_fresh(serial(1, 5_000)));
        assert!(guard.accept(serial(1, 5_000 - WINDOW + 1)));
        assert!(guard.is_spent(serial(1, 5_000 - WINDOW)));
        assert!(!guard.accept(serial(1, 5_000 - WINDOW)));
    }

    #[test]
    fn the_newest_two_boot_ids_are_known_and_only_fresh_ones_enter() {
        let mut guard = ReplayGuard::default();
        for boot in 1..=3 {
            assert!(guard.accept_fresh(serial(boot, 7)));
        }
        let known = [1, 2, 3].map(|boot| guard.knows(serial(boot, 0)));
        assert_eq!(known, [false, true, true]);
        assert!(guard.accept(serial(4, 1)) && guard.accept(serial(4, 1)), "leaves no trace");
        assert!(!guard.knows(serial(4, 1)));
    }

    #[test]
    fn the_ends_of_the_counter_are_no_special_case() {
        let mut guard = ReplayGuard::default();
        assert!(guard.accept_fresh(serial(1, 0)) && !guard.accept(serial(1, 0)));
        assert!(guard.accept(serial(1, u64::MAX)) && !guard.accept(serial(1, u64::MAX)));
        assert!(guard.accept(serial(1, u64::MAX - 1)));
        assert!(!guard.accept(serial(1, 1)));
    }

    proptest! {
        #[test]
        fn a_window_agrees_with_a_list_of_all_that_was_seen(
            steps in prop::collection::vec((0..3_u8, 0..2_500_u64), 1..400),
        ) {
            let mut guard = ReplayGuard::default();
            let (mut seen, mut highest) = (BTreeSet::new(), 0);
            for (kind, amount) in steps {
                let counter = match kind {
                    0 => highest + 1 + amount % 3,
                    1 => highest + amount,
                    _ => u64::saturating_sub(highest, amount),
                };
                let fresh = seen.is_empty()
                    || (!seen.contains(&counter) && counter + WINDOW > highest);
                prop_assert_eq!(guard.is_spent(serial(1, counter)), !fresh);
                prop_assert_eq!(guard.accept_fresh(serial(1, counter)), fresh);
                if fresh {
                    seen.insert(counter);
                    highest = highest.max(counter);
                }
            }
        }
    }
}
