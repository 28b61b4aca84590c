//! A timer wheel of two rings (Varghese and Lauck, SOSP 1987): slots of one millisecond, and of 4,096 ms.
//!
//! **Invariant:** events of one millisecond are returned in the order in which they were added, so a run
//! depends only on its seed.

use super::Millis;

const SLOTS: usize = 4096;
const BITS: u32 = 12;

/// Events by time.
#[derive(Debug)]
pub(super) struct Wheel<T> {
    near: Vec<Vec<T>>,
    far: Vec<Vec<(Millis, T)>>,
    now: Millis,
    waiting: usize,
}

impl<T: Copy> Wheel<T> {
    pub(super) fn new(now: Millis) -> Self {
        let (near, far) = ((0..SLOTS).map(|_| Vec::new()), (0..SLOTS).map(|_| Vec::new()));
        Self { near: near.collect(), far: far.collect(), now, waiting: 0 }
    }

    /// Adds an event. An event that is due already is returned in the next millisecond. An event beyond the
    /// range of the wheel, 4.6 hours, is dropped: no run is that long.
    pub(super) fn push(&mut self, at: Millis, event: T) {
        let at = at.max(self.now + 1);
        let (turn, present) = (at >> BITS, self.now >> BITS);
        if turn == present {
            self.near[at as usize % SLOTS].push(event);
        } else if turn - present < SLOTS as u32 {
            self.far[turn as usize % SLOTS].push((at, event));
        } else {
            return;
        }
        self.waiting += 1;
    }

    /// Advances to the next millisecond and returns its events. The caller returns the vector for reuse.
    pub(super) fn next(&mut self) -> (Millis, Vec<T>) {
        self.now += 1;
        if (self.now as usize).is_multiple_of(SLOTS) {
            let turn = (self.now >> BITS) as usize % SLOTS;
            for (at, event) in std::mem::take(&mut self.far[turn]) {
                self.near[at as usize % SLOTS].push(event);
            }
        }
        let events = std::mem::take(&mut self.near[self.now as usize % SLOTS]);
        self.waiting -= events.len();
        (self.now, events)
    }

    /// Takes back the memory of returned events.
    pub(super) fn reuse(&mut self, mut events: Vec<T>) {
        events.clear();
        let slot = &mut self.near[self.now as usize % SLOTS];
        if slot.is_empty() && events.capacity() <= 1024 {
            *slot = events;
        }
    }

    /// Waiting events.
    #[cfg(test)]
    pub(super) const fn len(&self) -> usize {
        self.waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Stream;

    #[test]
    fn events_come_at_their_times_in_the_order_of_their_insertion() {
        let mut wheel = Wheel::new(1000);
        let mut draws = Stream::new(3, 1);
        let mut want: Vec<(Millis, u32)> =
            (0..5000).map(|number| (1001 + draws.below(60_000) as Millis, number)).collect();
        want.iter().for_each(|(at, number)| wheel.push(*at, *number));
        assert_eq!(wheel.len(), 5000);
        want.sort_by_key(|(at, _)| *at);
        let mut came = Vec::new();
        while wheel.len() > 0 {
            let (now, events) = wheel.next();
            came.extend(events.iter().map(|event| (now, *event)));
            wheel.reuse(events);
        }
        assert_eq!(came, want);
    }

    #[test]
    fn what_is_late_comes_next_and_what_is_too_far_never() {
        let mut wheel = Wheel::new(10_000);
        wheel.push(5, 'a');
        wheel.push(10_000 + 20_000_000, 'b');
        assert_eq!(wheel.len(), 1);
        assert_eq!(wheel.next(), (10_001, vec!['a']));
    }
}
