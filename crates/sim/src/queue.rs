//! The event queue: the next events in virtual time.
//!
//! **Invariant:** events are returned in the order of their [`When`]: by instant, then by the node that
//! caused them, then in the order in which it did. Nothing else decides the order of a run. In particular the
//! order does not depend on the order of insertion, so it is the same with any number of shards.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use potluck_base::Instant;

/// The time of an event, and its rank among the events of the same instant. Ordered by its fields from first
/// to last; no two events of a world are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct When {
    pub(crate) at: Instant,
    /// The number of the cause: a node, or another sender.
    pub(crate) cause: u32,
    /// The number of the event among those of that cause.
    pub(crate) number: u64,
}

/// Events by time. Payloads stay in place while their small tickets move through the heap.
#[derive(Debug)]
pub(crate) struct EventQueue<E> {
    heap: BinaryHeap<Reverse<Ticket>>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
}

/// Ordered by its first three fields, which are those of [`When`]. With the slot beside `cause` a ticket
/// takes 24 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket {
    at: Instant,
    cause: u32,
    number: u64,
    slot: u32,
}

impl<E> EventQueue<E> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn push(&mut self, When { at, cause, number }: When, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot as usize] = Some(event);
                slot
            }
            None => {
                self.slots.push(Some(event));
                u32::try_from(self.slots.len() - 1).expect("events in flight fit in memory")
            }
        };
        self.heap.push(Reverse(Ticket { at, cause, number, slot }));
    }

    /// When the next event is due.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(ticket)| ticket.at)
    }

    pub(crate) fn pop(&mut self) -> Option<(Instant, E)> {
        let Reverse(ticket) = self.heap.pop()?;
        self.free.push(ticket.slot);
        let event = self.slots[ticket.slot as usize].take();
        Some((ticket.at, event.expect("a ticket in the heap has its event in the slot")))
    }

    pub(crate) fn len(&self) -> usize {
        self.heap.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_cause_and_number_in_whatever_order_they_were_put_in() {
        let mut queue = EventQueue::new();
        let when = |at, cause, number| When { at: Instant::from_micros(at), cause, number };
        let events = [
            (when(5, 1, 1), 'd'),
            (when(1, 9, 0), 'b'),
            (when(5, 0, 7), 'c'),
            (when(9, 0, 2), 'f'),
            (when(5, 1, 2), 'e'),
            (when(1, 2, 8), 'a'),
        ];
        for order in [[0, 1, 2, 3, 4, 5], [5, 3, 1, 0, 2, 4]] {
            order.into_iter().for_each(|at| queue.push(events[at].0, events[at].1));
            let all: String = std::iter::from_fn(|| queue.pop()).map(|(_, event)| event).collect();
            assert_eq!(all, "abcdef");
        }
        assert_eq!((queue.len(), queue.next_at()), (0, None));
    }
}
