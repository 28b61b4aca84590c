//! Counters and gauges of topics.

use crate::view::Cause;

potluck_base::statistics! {
    /// How many links went, by cause.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct DownCounts in "topics_neighbours_down" {
        /// Links gone without an answer.
        counter crashed: u64,
        /// Links gone with a good-bye.
        counter left: u64,
        /// Links gone because the neighbour made room.
        counter evicted: u64,
        /// Links gone because this node made room.
        counter replaced: u64,
        /// Links cut because the neighbour broke the rules.
        counter misbehaved: u64,
        /// Links gone because this node slept or was cut off.
        counter local_suspend: u64,
        /// Links gone because the neighbour knew nothing of them.
        counter forgotten: u64,
    }
}

impl DownCounts {
    pub(super) fn count(&mut self, cause: Cause) {
        let counter = match cause {
            Cause::Crashed => &mut self.crashed,
            Cause::Left => &mut self.left,
            Cause::Evicted => &mut self.evicted,
            Cause::Replaced => &mut self.replaced,
            Cause::Misbehaved => &mut self.misbehaved,
            Cause::Isolated => &mut self.local_suspend,
            Cause::Forgotten => &mut self.forgotten,
        };
        *counter += 1;
    }
}

potluck_base::statistics! {
    /// Counters since the start and gauges of now, over all topics where nothing else is said.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct TopicsStats in "topics" {
        /// Topics this node is in now, the system's included.
        gauge topics: usize,
        /// Links of the overlay of all nodes now.
        gauge system_active: usize,
        /// Contacts for new links of the overlay of all nodes now.
        gauge system_passive: usize,
        /// Links of all topics now.
        gauge active: usize,
        /// Links chosen by this node.
        gauge active_outbound: usize,
        /// Links on the tree.
        gauge active_eager: usize,
        /// Links that did not answer last.
        gauge active_doubted: usize,
        /// Contacts for new links of all topics now.
        gauge passive: usize,
        /// Messages that wait for neighbours now.
        gauge queued_messages: usize,
        /// Bytes of the messages that wait for neighbours now.
        gauge(Bytes) queued_bytes: usize,
        /// Publishes of this node that wait now.
        gauge publishes_waiting: usize,
        /// Messages kept for repair now.
        gauge history_messages: usize,
        /// Bytes that the messages kept for repair take.
        gauge(Bytes) history_bytes: usize,
        /// Messages that neighbours say they have and this node lacks now.
        gauge promises: usize,
        /// Publishers remembered now.
        gauge publishers: usize,
        /// Publishers that links keep apart now, over all links.
        gauge branches: usize,
        /// Messages held back now while a tree grows.
        gauge growing: usize,
        /// Messages that wait for others of their publisher.
        gauge held: usize,
        /// Messages of this node that no neighbour has taken yet.
        gauge untaken: usize,
        /// Requests under way now.
        gauge asks: usize,
        /// Nodes remembered for something they did wrong, now.
        gauge scores: usize,
        /// Links made.
        counter neighbours_up: u64,
        /// Links gone, by cause.
        group neighbours_down: DownCounts,
        /// Requests for a link that were declined here.
        counter neighbours_declined: u64,
        /// Exchanges of contacts answered.
        counter shuffles: u64,
        /// Exchanges that were refused: unasked, or too many.
        counter shuffles_refused: u64,
        /// Messages published by this node.
        counter published: u64,
        /// Publishes of this node that were refused.
        counter publishes_refused: u64,
        /// Messages given to subscribers here.
        counter delivered: u64,
        /// Messages not given to subscribers here, since they were published before the subscription.
        counter before_subscription: u64,
        /// Messages lost on their way to subscribers here.
        counter missed: u64,
        /// Copies of messages that came, new or not.
        counter payloads_received: u64,
        /// Copies of messages that came again.
        counter duplicates: u64,
        /// Copies of messages sent.
        counter payloads_sent: u64,
        /// Messages that came because this node asked for them.
        counter repaired: u64,
        /// Requests to be pushed messages that this node sent.
        counter grafts: u64,
        /// Links this node took off a tree because their messages came twice.
        counter prunes: u64,
        /// Links this node put on a tree because they were faster.
        counter switched: u64,
        /// Messages left out for a neighbour with a full queue.
        counter dropped_full: u64,
        /// Announcements left out for a neighbour with a full queue.
        counter dropped_names: u64,
        /// Messages of publishers over their rate.
        counter dropped_over_rate: u64,
        /// Messages older than fifteen minutes or dated over five minutes ahead.
        counter dropped_stale: u64,
        /// Announced names beyond the limits.
        counter names_refused: u64,
        /// Anything refused because of a rate limit.
        counter rate_limited: u64,
        /// Signatures checked.
        counter verified: u64,
        /// Signatures that were wrong.
        counter verify_failed: u64,
        /// Messages that a neighbour said it has and did not deliver.
        counter broken_promises: u64,
        /// Times that this node was late for a timer of its own by seconds.
        counter standstills: u64,
        /// Requests from nodes that are no neighbours or are ignored.
        counter strangers: u64,
    }
}
