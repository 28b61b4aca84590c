//! Counters and gauges of topics.

use crate::view::Cause;

/// How many links went, by cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DownCounts {
    /// No answer.
    pub crashed: u64,
    /// Good-bye.
    pub left: u64,
    /// The neighbour made room.
    pub evicted: u64,
    /// This node made room.
    pub replaced: u64,
    /// The neighbour broke the rules.
    pub misbehaved: u64,
    /// This node slept or was cut off.
    pub local_suspend: u64,
}

impl DownCounts {
    pub(super) fn count(&mut self, cause: Cause) {
        let counter = match cause {
            Cause::Crashed => &mut self.crashed,
            Cause::Left => &mut self.left,
            Cause::Evicted => &mut self.evicted,
            Cause::Replaced => &mut self.replaced,
            Cause::Misbehaved => &mut self.misbehaved,
            Cause::LocalSuspend => &mut self.local_suspend,
        };
        *counter += 1;
    }
}

/// Counters since the start and gauges of now, over all topics where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TopicsStats {
    /// Topics this node is in now, the system's included.
    pub topics: usize,
    /// Links of the overlay of all nodes now.
    pub system_active: usize,
    /// Contacts for new links of the overlay of all nodes now.
    pub system_passive: usize,
    /// Links of all topics now.
    pub active: usize,
    /// Of these: chosen by this node.
    pub active_outbound: usize,
    /// Of these: on the shared tree.
    pub active_eager: usize,
    /// Of these: did not answer last.
    pub active_doubted: usize,
    /// Contacts for new links of all topics now.
    pub passive: usize,
    /// Messages that wait for neighbours now.
    pub queued_messages: usize,
    /// Their bytes.
    pub queued_bytes: usize,
    /// Publishes of this node that wait now.
    pub publishes_waiting: usize,
    /// Messages kept for repair now.
    pub history_messages: usize,
    /// What they cost in bytes.
    pub history_bytes: usize,
    /// Messages that neighbours say they have and this node lacks now.
    pub promises: usize,
    /// Publishers remembered now.
    pub publishers: usize,
    /// Publishers that links keep apart now, over all links.
    pub branches: usize,
    /// Messages held back now while a tree grows.
    pub growing: usize,
    /// Requests under way now.
    pub asks: usize,
    /// Nodes remembered for something they did wrong, now.
    pub scores: usize,
    /// Links made.
    pub neighbours_up: u64,
    /// Links gone.
    pub neighbours_down: DownCounts,
    /// Requests for a link that were declined here.
    pub neighbours_declined: u64,
    /// Exchanges of contacts answered.
    pub shuffles: u64,
    /// Exchanges that were refused: unasked, or too many.
    pub shuffles_refused: u64,
    /// Messages published by this node.
    pub published: u64,
    /// Publishes of this node that were refused.
    pub publishes_refused: u64,
    /// Messages given to subscribers here.
    pub delivered: u64,
    /// Copies of messages that came, new or not.
    pub payloads_received: u64,
    /// Of these: not new.
    pub duplicates: u64,
    /// Copies of messages sent.
    pub payloads_sent: u64,
    /// Messages that came because this node asked for them.
    pub repaired: u64,
    /// Requests to be pushed messages that this node sent.
    pub grafts: u64,
    /// Links this node took off a tree because their messages came twice.
    pub prunes: u64,
    /// Links this node put on a tree because they were faster.
    pub switched: u64,
    /// Messages left out for a neighbour with a full queue.
    pub dropped_full: u64,
    /// Announcements left out for the same reason.
    pub dropped_names: u64,
    /// Messages of publishers over their rate.
    pub dropped_over_rate: u64,
    /// Messages older than fifteen minutes, or dated over five minutes ahead.
    pub dropped_stale: u64,
    /// Announced names beyond the limits.
    pub names_refused: u64,
    /// Anything refused because of a rate limit.
    pub rate_limited: u64,
    /// Signatures checked.
    pub verified: u64,
    /// Of these: wrong.
    pub verify_failed: u64,
    /// Messages that a neighbour said it has and did not deliver.
    pub broken_promises: u64,
    /// Requests from nodes that are no neighbours or are ignored.
    pub strangers: u64,
}
