//! Datagrams of strangers wait here until the loop has nothing else to do.
//!
//! A batch from the socket may hold datagrams of peers, whose addresses are proven, between those of a
//! flood. Peers' datagrams are handled at once. All others are copied into this queue, and the loop takes a
//! portion of them when neither the socket, nor the disk, nor an application, nor a timer has anything for
//! it; after [`TURNS_MAX`] turns without such a pause it takes one portion anyway, so that newcomers get in
//! while peers are busy.
//!
//! **Invariant:** at most [`WAITING_MAX`] datagrams wait; further ones are dropped and counted.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;

/// Datagrams that wait: some 600 kB at most, and some 25 ms of work at 50 us each. Raising it answers a
/// larger burst of newcomers, and lets a flood take more memory.
const WAITING_MAX: usize = 512;
/// Datagrams handled in one portion. Raising it delays peers that call in that moment, by some 50 us for
/// each.
const PORTION: usize = 16;
/// Turns of the loop that strangers may be kept waiting.
const TURNS_MAX: u32 = 64;

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    waiting: VecDeque<(SocketAddr, Bytes)>,
    /// Turns since the last portion.
    turns: u32,
    deferred: u64,
    dropped: u64,
}

impl Strangers {
    /// Puts a datagram at the end; dropped if too many wait.
    pub(super) fn defer(&mut self, from: SocketAddr, bytes: &[u8]) {
        if self.waiting.len() >= WAITING_MAX {
            self.dropped += 1;
            return;
        }
        self.deferred += 1;
        self.waiting.push_back((from, Bytes::copy_from_slice(bytes)));
    }

    /// Counts a turn of the loop. Says whether a portion is due although the loop is busy.
    pub(super) fn turn(&mut self) -> bool {
        self.turns = if self.waiting.is_empty() { 0 } else { self.turns + 1 };
        self.turns > TURNS_MAX
    }

    /// The next portion.
    pub(super) fn portion(&mut self) -> Vec<(SocketAddr, Bytes)> {
        self.turns = 0;
        let count = self.waiting.len().min(PORTION);
        self.waiting.drain(..count).collect()
    }

    /// The number that waits.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The number that waited since the start.
    pub(super) const fn deferred(&self) -> u64 {
        self.deferred
    }

    /// The number that was dropped since the start.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(number: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, (number >> 8) as u8, number as u8], 7))
    }

    #[test]
    fn a_flood_waits_within_its_bound_and_what_is_over_it_is_dropped() {
        let mut strangers = Strangers::default();
        (0..WAITING_MAX + 100).for_each(|number| strangers.defer(from(number), b"x"));
        assert_eq!((strangers.len(), strangers.dropped()), (WAITING_MAX, 100));
        let portion = strangers.portion();
        assert_eq!((portion.len(), portion[0].0), (PORTION, from(0)), "the first come first");
        strangers.defer(from(9_999), b"x");
        assert_eq!(strangers.len(), WAITING_MAX - PORTION + 1);
        assert_eq!(strangers.deferred(), WAITING_MAX as u64 + 1);
    }

    #[test]
    fn strangers_are_not_kept_waiting_for_ever() {
        let mut strangers = Strangers::default();
        assert!((0..1_000).all(|_| !strangers.turn()), "none waits");
        strangers.defer(from(1), b"x");
        let busy = (0..1_000).take_while(|_| !strangers.turn()).count();
        assert_eq!(busy, TURNS_MAX as usize);
        strangers.portion();
        assert!(!strangers.turn());
    }
}
