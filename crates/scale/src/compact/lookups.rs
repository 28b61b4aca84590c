//! Lookups in progress: the list of the closest known nodes, and which of them were asked.

use super::Millis;
use super::census::Contact;

/// Most nodes in a list; farther ones are dropped. If half of all nodes are dead, 64 entries contain the
/// closest 16 live ones.
const LIST_MAX: usize = 96;
/// Most requests of one lookup, as in the product.
pub(super) const REQUESTS_MAX: u16 = 96;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    New,
    Asked,
    Answered,
    Dead,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    pub(super) distance: u64,
    pub(super) contact: Contact,
    pub(super) hops: u8,
    pub(super) state: State,
}

/// One lookup.
#[derive(Debug, Default)]
pub(super) struct Flight {
    pub(super) asker: Contact,
    pub(super) target: u64,
    /// The record to read.
    pub(super) record: u32,
    pub(super) began: Millis,
    pub(super) list: Vec<Heard>,
    pub(super) requests: u16,
    pub(super) timeouts: u16,
    pub(super) waiting: u8,
    /// The time at which the closest of the nodes that have answered did so.
    pub(super) best_at: Millis,
    best: u64,
}

impl Flight {
    /// Starts a lookup, and reuses the memory of one that ended.
    pub(super) fn begin(&mut self, asker: Contact, target: u64, record: u32, began: Millis) {
        self.list.clear();
        let list = std::mem::take(&mut self.list);
        *self = Self { asker, target, record, began, list, best: u64::MAX, ..Self::default() };
    }

    /// Adds contacts, which are sorted by distance.
    pub(super) fn hear(&mut self, contacts: &[(u64, Contact)], hops: u8) {
        for (distance, contact) in contacts {
            if *contact == self.asker {
                continue;
            }
            let at = self.list.partition_point(|heard| heard.distance < *distance);
            if at >= LIST_MAX {
                break;
            }
            if self.list.get(at).is_none_or(|heard| heard.contact != *contact) {
                let heard =
                    Heard { distance: *distance, contact: *contact, hops, state: State::New };
                self.list.insert(at, heard);
                self.list.truncate(LIST_MAX);
            }
        }
    }

    /// The next node to ask. `None` if none of the `wanted` closest is left.
    pub(super) fn next(&mut self, wanted: usize) -> Option<Contact> {
        let alive = self.list.iter_mut().filter(|heard| heard.state != State::Dead);
        let next = alive.take(wanted).find(|heard| heard.state == State::New)?;
        next.state = State::Asked;
        self.requests += 1;
        self.waiting += 1;
        Some(next.contact)
    }

    /// Records that a node answered or timed out. Returns its distance from the asking node in hops.
    pub(super) fn came(&mut self, contact: Contact, state: State, now: Millis) -> u8 {
        self.waiting = self.waiting.saturating_sub(1);
        self.timeouts += u16::from(state == State::Dead);
        let Some(heard) = self.list.iter_mut().find(|heard| heard.contact == contact) else {
            return 0;
        };
        heard.state = state;
        if state == State::Answered && heard.distance < self.best {
            (self.best, self.best_at) = (heard.distance, now);
        }
        heard.hops
    }

    /// The nodes that answered, closest first.
    pub(super) fn answered(&self) -> impl Iterator<Item = &Heard> {
        self.list.iter().filter(|heard| heard.state == State::Answered)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_are_asked_first_and_the_dead_make_room() {
        let mut flight = Flight::default();
        flight.begin(9, 0, 0, 100);
        flight.hear(&[(1, 1), (3, 3), (5, 9), (7, 7)], 1);
        flight.hear(&[(1, 1), (2, 2)], 2);
        assert_eq!([flight.next(2), flight.next(2), flight.next(2)], [Some(1), Some(2), None]);
        assert_eq!(flight.came(1, State::Dead, 110), 1);
        assert_eq!(flight.next(2), Some(3));
        assert_eq!(flight.came(2, State::Answered, 120), 2);
        assert_eq!(flight.came(3, State::Answered, 130), 1);
        assert_eq!(
            (flight.best_at, flight.requests, flight.timeouts, flight.waiting),
            (120, 3, 1, 0)
        );
        let answered: Vec<Contact> = flight.answered().map(|heard| heard.contact).collect();
        assert_eq!(answered, [2, 3], "the asker itself is never asked");
    }

    #[test]
    fn a_list_is_bounded() {
        let mut flight = Flight::default();
        flight.begin(0, 0, 0, 1);
        let many: Vec<(u64, Contact)> = (1..500).map(|n| (u64::from(n), n)).collect();
        flight.hear(&many, 1);
        flight.hear(&[(0, 1000)], 1);
        assert_eq!((flight.list.len(), flight.list[0].contact), (LIST_MAX, 1000));
    }
}
