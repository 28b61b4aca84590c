//! The event queue: what happens next in virtual time.
//!
//! **Invariant:** events come out in the order of their instants, and events of one instant in the
//! order in which they were put in. Nothing else decides the order of a run.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use potluck_base::Instant;

/// Events by time. Payloads stay in place while their small tickets move through the heap.
#[derive(Debug)]
pub(crate) struct EventQueue<E> {
    heap: BinaryHeap<Reverse<Ticket>>,
    slots: Vec<Option<E>>,
    free: Vec<u32>,
    next_number: u64,
}

/// Ordered by its fields from first to last; `number` is never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket {
    at: Instant,
    number: u64,
    slot: u32,
}

impl<E> EventQueue<E> {
    pub(crate) const fn new() -> Self {
        Self { heap: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), next_number: 0 }
    }

    pub(crate) fn push(&mut self, at: Instant, event: E) {
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
        self.heap.push(Reverse(Ticket { at, number: self.next_number, slot }));
        self.next_number += 1;
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
    fn events_come_by_time_and_ties_by_order_of_arrival() {
        let mut queue = EventQueue::new();
        for (at, event) in [(5, 'c'), (1, 'a'), (5, 'd'), (1, 'b'), (9, 'e')] {
            queue.push(Instant::from_micros(at), event);
        }
        assert_eq!(queue.pop().map(|(_, event)| event), Some('a'));
        queue.push(Instant::from_micros(1), 'x');
        let rest: String = std::iter::from_fn(|| queue.pop()).map(|(_, event)| event).collect();
        assert_eq!(rest, "bxcde");
        assert_eq!(queue.len(), 0);
    }
}
