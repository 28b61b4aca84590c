//! Counters and gauges of topics.

use crate::view::Cause;

potluck_base::statistics! {
    /// How many links were lost, by cause.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct DownCounts in "topics_neighbours_down" {
        /// Links lost because the neighbour did not answer.
        counter crashed: u64,
        /// Links lost because the neighbour left.
        counter left: u64,
        /// Links lost because the neighbour made room.
        counter evicted: u64,
        /// Links dropped because this node made room.
        counter replaced: u64,
        /// Links dropped because the neighbour broke the rules.
        counter misbehaved: u64,
        /// Links lost because this node slept or was isolated.
        counter local_suspend: u64,
        /// Links lost because the neighbour no longer knew them.
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
            Cause::LocalSuspend => &mut self.local_suspend,
            Cause::Forgotten => &mut self.forgotten,
        };
        *counter += 1;
    }
}

potluck_base::statistics! {
    /// Counters since the start and gauges of now, over all topics unless stated otherwise.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct TopicsStats in "topics" {
        /// Topics this node is in now, the system's included.
        gauge topics: usize,
        /// Links of the system topic now.
        gauge system_active: usize,
        /// Contacts in the passive view of the system topic now.
        gauge system_passive: usize,
        /// Links of all topics now.
        gauge active: usize,
        /// Links chosen by this node.
        gauge active_outbound: usize,
        /// Links that are eager on the shared tree.
        gauge active_eager: usize,
        /// Links whose neighbour did not answer its last request.
        gauge active_doubted: usize,
        /// Contacts in the passive views of all topics now.
        gauge passive: usize,
        /// Messages queued for neighbours now.
        gauge queued_messages: usize,
        /// Bytes of the messages queued for neighbours now.
        gauge(Bytes) queued_bytes: usize,
        /// Publishes of this node that wait now.
        gauge publishes_waiting: usize,
        /// Messages cached for repair now.
        gauge history_messages: usize,
        /// Bytes that the messages cached for repair take.
        gauge(Bytes) history_bytes: usize,
        /// Messages announced by neighbours that this node lacks now.
        gauge promises: usize,
        /// Publishers remembered now.
        gauge publishers: usize,
        /// Publishers with eager state of their own now, over all links.
        gauge branches: usize,
        /// Messages whose forwarding is deferred now because a tree is built by a flood.
        gauge growing: usize,
        /// Messages that wait for earlier messages of their publisher.
        gauge held: usize,
        /// Messages that wait for a certificate of their publisher.
        gauge unproven: usize,
        /// Messages of this node that no neighbour has acknowledged yet.
        gauge untaken: usize,
        /// Requests under way now.
        gauge asks: usize,
        /// Nodes with a fault score now.
        gauge scores: usize,
        /// Links made.
        counter neighbours_up: u64,
        /// Links lost, by cause.
        group neighbours_down: DownCounts,
        /// Requests for a link that were declined here.
        counter neighbours_declined: u64,
        /// Shuffles answered.
        counter shuffles: u64,
        /// Shuffles, forward joins and shuffle replies that were refused: over their sender's rate,
        /// or unsolicited.
        counter shuffles_refused: u64,
        /// Messages published by this node.
        counter published: u64,
        /// Publishes of this node that were refused.
        counter publishes_refused: u64,
        /// Messages delivered to subscribers here.
        counter delivered: u64,
        /// Messages not delivered to subscribers here, since they were published before the
        /// subscription.
        counter before_subscription: u64,
        /// Messages lost on their way to subscribers here.
        counter missed: u64,
        /// Copies of messages received, new or not.
        counter payloads_received: u64,
        /// Copies of messages received again.
        counter duplicates: u64,
        /// Copies of messages sent.
        counter payloads_sent: u64,
        /// Messages received because this node asked for them.
        counter repaired: u64,
        /// Graft requests that this node sent.
        counter grafts: u64,
        /// Links this node pruned from a tree because they brought duplicates.
        counter prunes: u64,
        /// Links this node made eager on a tree because they were faster.
        counter switched: u64,
        /// Messages left out for a neighbour with a full queue.
        counter dropped_full: u64,
        /// Announcements left out for a neighbour with a full queue.
        counter dropped_names: u64,
        /// Messages of publishers over their rate.
        counter dropped_over_rate: u64,
        /// Messages of publishers whose budget was used up, dropped before they were checked.
        counter dropped_over_budget: u64,
        /// Messages of publishers that are no members, or no members any more.
        counter dropped_not_member: u64,
        /// Announcements that were not passed on: malformed, too long, or with a bad signature.
        counter announcements_bad: u64,
        /// Messages older than fifteen minutes or dated over five minutes ahead.
        counter dropped_stale: u64,
        /// Announced message ids beyond the limits.
        counter names_refused: u64,
        /// Anything refused because of a rate limit.
        counter rate_limited: u64,
        /// Signatures checked.
        counter verified: u64,
        /// Signatures that were invalid.
        counter verify_failed: u64,
        /// Messages that a neighbour announced and did not deliver when asked.
        counter broken_promises: u64,
        /// Times that this node was late by seconds for a timer of its own.
        counter standstills: u64,
        /// Requests from nodes that are no neighbours, or are ignored.
        counter strangers: u64,
    }
}
