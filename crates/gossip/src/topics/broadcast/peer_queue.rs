//! The queue of one neighbour: messages to push, message ids to announce, and the state of sent bundles.
//!
//! **Invariant:** a slow neighbour costs a bounded queue and delays no other neighbour. A message
//! that does not fit is only announced, and the neighbour grafts it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::Instant;

use super::super::config::QueueLimits;
use crate::message::MessageId;

/// How long announced ids wait for further ones. A higher value sends fewer, later IHAVEs.
const LAZY_DELAY: Duration = Duration::from_millis(25);
/// With this many ids an IHAVE is sent at once.
const LAZY_ENOUGH: usize = 64;
/// Ids in the lazy queue; beyond it the oldest are dropped.
const LAZY_MAX: usize = 1_024;
/// Grafted messages in the queue.
const REPAIRS_MAX: usize = 2_048;
/// Overhead of a message in a bundle, in bytes.
const FRAME_BYTES: usize = 3;

/// The queue of one neighbour.
#[derive(Debug, Clone, Default)]
pub(super) struct PeerQueue {
    repairs: VecDeque<(MessageId, Bytes)>,
    eager: VecDeque<(MessageId, Bytes)>,
    bytes: usize,
    lazy: VecDeque<MessageId>,
    lazy_at: Option<Instant>,
    /// Bundles in flight.
    pub(super) in_flight: usize,
    /// Whether an IHAVE is in flight.
    pub(super) ihave_in_flight: bool,
    /// Since when nothing was acknowledged although a bundle is in flight.
    pub(super) waiting_since: Option<Instant>,
    /// This node could not send: nothing is sent before then.
    pub(super) paused_until: Option<Instant>,
}

impl PeerQueue {
    pub(super) fn len(&self) -> usize {
        self.eager.len() + self.repairs.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Queues a message for eager push. False if it does not fit.
    pub(super) fn push_eager(&mut self, limits: &QueueLimits, id: MessageId, bytes: Bytes) -> bool {
        let fits = self.eager.len() < limits.messages && self.bytes + bytes.len() <= limits.bytes;
        if fits {
            self.bytes += bytes.len();
            self.eager.push_back((id, bytes));
        }
        fits
    }

    /// Queues a grafted message, before the others. False if it does not fit.
    pub(super) fn push_repair(
        &mut self,
        limits: &QueueLimits,
        id: MessageId,
        bytes: Bytes,
    ) -> bool {
        // Half as much again, so that repair works while the queue is full.
        let fits = self.repairs.len() < REPAIRS_MAX
            && self.bytes + bytes.len() <= limits.bytes + limits.bytes / 2;
        if fits {
            self.bytes += bytes.len();
            self.repairs.push_back((id, bytes));
        }
        fits
    }

    /// Queues an id for the next IHAVE. False if an older one was dropped for it.
    pub(super) fn push_lazy(&mut self, now: Instant, id: MessageId) -> bool {
        self.lazy.push_back(id);
        self.lazy_at.get_or_insert(now + LAZY_DELAY);
        let fits = self.lazy.len() <= LAZY_MAX;
        if !fits {
            self.lazy.pop_front();
        }
        fits
    }

    /// The next bundle, without messages that `has` says the neighbour has.
    pub(super) fn bundle(
        &mut self,
        limits: &QueueLimits,
        now: Instant,
        has: impl Fn(&MessageId) -> bool,
    ) -> Option<(Vec<MessageId>, Vec<Bytes>)> {
        self.paused_until = self.paused_until.filter(|until| now < *until);
        if self.in_flight >= limits.window || self.paused_until.is_some() {
            return None;
        }
        let (mut ids, mut messages, mut size) = (Vec::new(), Vec::new(), 0);
        loop {
            let from = if self.repairs.is_empty() { &mut self.eager } else { &mut self.repairs };
            let Some((id, bytes)) = from.front() else { break };
            let cost = bytes.len() + FRAME_BYTES;
            let surplus = has(id);
            if !surplus && !ids.is_empty() && size + cost > limits.bundle_bytes {
                break;
            }
            self.bytes -= bytes.len();
            let Some((id, bytes)) = from.pop_front() else { break };
            if !surplus {
                size += cost;
                ids.push(id);
                messages.push(bytes);
            }
        }
        (!ids.is_empty()).then(|| {
            self.in_flight += 1;
            self.waiting_since.get_or_insert(now);
            (ids, messages)
        })
    }

    /// The ids that are due for an IHAVE.
    pub(super) fn take_lazy(&mut self, now: Instant) -> Option<Vec<MessageId>> {
        let due = self.lazy_at.is_some_and(|at| at <= now) || self.lazy.len() >= LAZY_ENOUGH;
        if self.ihave_in_flight || !due || self.lazy.is_empty() {
            return None;
        }
        self.ihave_in_flight = true;
        self.lazy_at = None;
        let mut lazy: Vec<MessageId> = self.lazy.drain(..).collect();
        lazy.sort_unstable();
        lazy.dedup();
        Some(lazy)
    }

    /// A bundle was acknowledged.
    pub(super) fn on_ack(&mut self, now: Instant) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.waiting_since = (self.in_flight > 0).then_some(now);
    }

    /// The neighbour does not answer: queued messages are only announced.
    pub(super) fn make_lazy(&mut self, now: Instant) {
        let dropped: Vec<MessageId> =
            self.repairs.drain(..).chain(self.eager.drain(..)).map(|(id, _)| id).collect();
        self.bytes = 0;
        for id in dropped {
            self.push_lazy(now, id);
        }
    }

    /// When this queue needs attention.
    pub(super) fn wake(&self) -> Option<Instant> {
        let lazy = self.lazy_at.filter(|_| !self.ihave_in_flight && !self.lazy.is_empty());
        let paused = self.paused_until.filter(|_| self.len() > 0);
        [lazy, paused].into_iter().flatten().min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use potluck_base::Identity;

    fn id(sequence: u64) -> MessageId {
        let publisher = Identity::from_seed([1; 32]).public_key();
        MessageId { publisher, incarnation: 1, sequence }
    }

    fn limits() -> QueueLimits {
        QueueLimits { window: 2, messages: 10, ..QueueLimits::default() }
    }

    fn message(length: usize) -> Bytes {
        Bytes::from(vec![0; length])
    }

    #[test]
    fn small_messages_travel_together_and_a_long_one_alone() {
        let (mut queue, limits) = (PeerQueue::default(), limits());
        for sequence in 1..=6 {
            assert!(queue.push_eager(&limits, id(sequence), message(300)));
        }
        assert!(queue.push_eager(&limits, id(7), message(5_000)));
        let mut sizes = Vec::new();
        while let Some((ids, _)) = queue.bundle(&limits, Instant::ZERO, |_| false) {
            sizes.push(ids.len());
            queue.on_ack(Instant::ZERO);
        }
        assert_eq!((sizes, queue.bytes()), (vec![3, 3, 1], 0));
    }

    #[test]
    fn a_window_of_bundles_is_in_flight() {
        let (mut queue, limits) = (PeerQueue::default(), limits());
        (1..=3).for_each(|sequence| assert!(queue.push_eager(&limits, id(sequence), message(900))));
        let next = |queue: &mut PeerQueue| queue.bundle(&limits, Instant::ZERO, |_| false);
        assert!(next(&mut queue).is_some() && next(&mut queue).is_some());
        assert_eq!(next(&mut queue), None);
        queue.on_ack(Instant::ZERO);
        assert!(next(&mut queue).is_some());
    }

    #[test]
    fn a_full_queue_refuses_messages_and_repairs_go_first() {
        let (mut queue, limits) = (PeerQueue::default(), limits());
        let fitted = (1..=20).filter(|n| queue.push_eager(&limits, id(*n), message(900))).count();
        assert_eq!(fitted, 10);
        assert!(queue.push_repair(&limits, id(50), message(900)));
        let (ids, _) = queue.bundle(&limits, Instant::ZERO, |_| false).expect("a bundle");
        assert_eq!(ids, [id(50)]);
    }

    #[test]
    fn a_message_the_neighbour_has_by_now_is_not_sent() {
        let (mut queue, limits) = (PeerQueue::default(), limits());
        (1..=3).for_each(|sequence| assert!(queue.push_eager(&limits, id(sequence), message(9))));
        let has = |known: &MessageId| known.sequence != 2;
        let (ids, _) = queue.bundle(&limits, Instant::ZERO, has).expect("a bundle");
        assert_eq!((ids, queue.len(), queue.bytes()), (vec![id(2)], 0, 0));
    }

    #[test]
    fn lazy_ids_wait_for_each_other_and_are_bounded() {
        let mut queue = PeerQueue::default();
        queue.push_lazy(Instant::ZERO, id(1));
        assert_eq!(queue.take_lazy(Instant::ZERO), None);
        assert_eq!(queue.wake(), Some(Instant::ZERO + LAZY_DELAY));
        assert_eq!(queue.take_lazy(Instant::ZERO + LAZY_DELAY), Some(vec![id(1)]));
        let fitted = (0..2_000).filter(|n| queue.push_lazy(Instant::ZERO, id(*n))).count();
        assert_eq!((fitted, queue.lazy.len()), (LAZY_MAX, LAZY_MAX));
        assert_eq!(queue.take_lazy(Instant::ZERO), None, "one request at a time");
        queue.ihave_in_flight = false;
        assert_eq!(queue.take_lazy(Instant::ZERO).map(|lazy| lazy.len()), Some(LAZY_MAX));
    }

    #[test]
    fn a_queue_is_bounded_in_bytes_and_repairs_may_have_half_as_much_again() {
        let limits = QueueLimits { bytes: 2_000, ..limits() };
        let mut queue = PeerQueue::default();
        let fitted = (1..=9).filter(|n| queue.push_eager(&limits, id(*n), message(900))).count();
        assert_eq!((fitted, queue.bytes()), (2, 1_800));
        let fitted = (1..=9).filter(|n| queue.push_repair(&limits, id(*n), message(400))).count();
        assert_eq!((fitted, queue.bytes()), (3, 3_000));
    }

    #[test]
    fn two_thousand_small_repairs_wait() {
        let (mut queue, limits) = (PeerQueue::default(), limits());
        let fitted = (1..=9_000).filter(|n| queue.push_repair(&limits, id(*n), message(9))).count();
        assert_eq!(fitted, 2_048);
    }

    #[test]
    fn messages_queued_for_a_silent_neighbour_are_announced() {
        let (mut queue, limits) = (PeerQueue::default(), limits());
        queue.push_eager(&limits, id(2), message(9));
        queue.push_repair(&limits, id(1), message(9));
        queue.make_lazy(Instant::ZERO);
        assert_eq!((queue.len(), queue.bytes()), (0, 0));
        let lazy = queue.take_lazy(Instant::ZERO + LAZY_DELAY);
        assert_eq!(lazy, Some(vec![id(1), id(2)]));
    }
}
