//! Broadcast over the links of one topic: trees, repair, and delivery in order.
//!
//! The broadcast does not make links. It is told of each link that was made or lost (`NeighborUp` and
//! `NeighborDown` in algorithm 3 of `PlumTree`), and when a neighbour falls silent, answers again or loses
//! its trust. `plumtree` handles pushed messages (algorithms 1 and 4), `repair` announcements and grafts
//! (algorithm 2), `links` the changes of links (algorithm 3) and which of them are eager; `send` sends.

mod eager_trees;
mod flood;
mod inbox;
mod links;
mod message_cache;
mod missing;
mod order;
mod parent;
mod peer;
mod peer_queue;
mod plumtree;
mod receipt;
mod repair;
mod seen;
mod send;
mod subscription;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use potluck_base::{Instant, PublicKey, Rate, RoundTrip};
use potluck_wire::{SignedMessage, TopicId};

use self::flood::DeferredMessages;
use self::inbox::Inbox;
use self::message_cache::{CachedMessage, MessageCache};
use self::missing::MissingMessages;
use self::parent::Trees;
use self::peer::Peer;
use self::receipt::Acks;
use self::seen::{Novelty, Seen};
#[cfg(test)]
pub(super) use self::tree::OWN_TREE_FROM;
use self::tree::Tree;
use super::events::PublishId;
use super::shared::Shared;
use super::stats::TopicsStats;
use crate::message::{Message, MessageId, TopicName};

/// Interval between two summaries to a random neighbour while anything is cached. A lower value
/// repairs sooner and costs more traffic.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(30);
/// With fewer queued messages than this, a link has room for another one of this node's own. A
/// higher value publishes more in bursts and delays later messages.
const HIGH_WATER: usize = 64;

/// Announcements of one member, a second and at once. A member that admits many new members passes their
/// records on, and half of a network can crash at once. Raising it lets one member cost every node more.
/// Dropped announcements are found by the comparison of lists.
const ANNOUNCEMENTS: Rate = Rate::new(50, 400);

/// Neighbours asked at once for missing messages.
const ASKED_PEERS: usize = 2;

/// What the broadcast does at a set time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BroadcastTimer {
    /// Send a random neighbour a summary of what is cached.
    Summary,
    /// Forward the messages that a flood deferred.
    ForwardDeferred,
    /// Graft messages that were announced and did not arrive (the timer of algorithm 2).
    GraftMissing,
    /// Send the announcements that waited for each other.
    SendQueued,
    /// Ask for the messages before those that wait for their turn, or give them up.
    CheckOrder,
    /// Report how many neighbours have acknowledged a message.
    ReportAcks,
}

/// The broadcast in one topic.
#[derive(Debug, Clone)]
pub(super) struct Broadcast {
    topic: TopicId,
    /// Whether this is the topic of all nodes: it has the shared tree only.
    system: bool,
    peers: BTreeMap<PublicKey, Box<Peer>>,
    seen: Seen,
    cache: MessageCache,
    missing: MissingMessages,
    trees: Trees,
    deferred: DeferredMessages,
    /// How far messages on the trees lag behind their announcements.
    lag: RoundTrip,
    acks: Acks,
    inbox: Inbox,
    summary_at: Instant,
}

impl Broadcast {
    pub(super) fn new(shared: &mut Shared, name: TopicName, system: bool) -> Self {
        Self {
            topic: name.id(),
            system,
            peers: BTreeMap::new(),
            seen: Seen::new(shared.config.publishers_max),
            cache: MessageCache::default(),
            missing: MissingMessages::default(),
            trees: Trees::new(shared.now),
            deferred: DeferredMessages::default(),
            lag: RoundTrip::default(),
            acks: Acks::default(),
            inbox: Inbox::new(shared, name, system),
            summary_at: shared.now + shared.rng.jitter(SUMMARY_INTERVAL, 0.2),
        }
    }

    /// The id of the topic.
    pub(super) const fn topic(&self) -> TopicId {
        self.topic
    }

    /// What one publisher may publish here. A member of a healthy network announces about one thing a
    /// minute.
    pub(super) fn publisher_rate(&self, shared: &Shared) -> Rate {
        let usual = shared.limits().publisher;
        match self.system && shared.config.defences.checked_announcements {
            true => Rate {
                per_second: usual.per_second.min(ANNOUNCEMENTS.per_second),
                burst: usual.burst.min(ANNOUNCEMENTS.burst),
            },
            false => usual,
        }
    }

    /// Adds the gauges of this broadcast.
    pub(super) fn gauge(&self, stats: &mut TopicsStats) {
        stats.history_messages += self.cache.len();
        stats.history_bytes += self.cache.bytes();
        stats.promises += self.missing.len();
        stats.publishers += self.seen.publishers();
        stats.growing += self.deferred.len();
        stats.held += self.inbox.order.held();
        stats.untaken += self.acks.unacked();
        for peer in self.peers.values() {
            stats.branches += peer.eager_trees.len();
            stats.active_eager += usize::from(peer.is_eager(Tree::Shared));
            stats.queued_messages += peer.queue.len();
            stats.queued_bytes += peer.queue.bytes();
        }
    }

    // --- timers ---

    /// When a timer is due.
    pub(super) fn due(&self, timer: BroadcastTimer) -> Option<Instant> {
        match timer {
            BroadcastTimer::Summary => Some(self.summary_at),
            BroadcastTimer::ForwardDeferred => self.deferred.next(),
            BroadcastTimer::GraftMissing => self.missing.next(),
            BroadcastTimer::SendQueued => {
                let healthy = self.peers.values().filter(|peer| peer.is_healthy());
                healthy.filter_map(|peer| peer.queue.wake()).min()
            }
            BroadcastTimer::CheckOrder => self.inbox.order.next(),
            BroadcastTimer::ReportAcks => self.acks.next(),
        }
    }

    /// Sends a random neighbour a summary.
    pub(super) fn on_summary_timer(&mut self, shared: &mut Shared) {
        self.summary_at = shared.now + shared.rng.jitter(SUMMARY_INTERVAL, 0.2);
        self.cache.expire(shared.now);
        self.keep_parents(shared, None);
        if let Some(peer) = self.random_neighbour(shared) {
            self.summarise_to(shared, &peer, false);
        }
    }

    /// Handles the gaps that are due: asks for the missing messages, or gives them up.
    pub(super) fn on_order_timer(&mut self, shared: &mut Shared) {
        let alone = self.is_alone();
        let wanted = self.inbox.on_timer(shared, alone, &mut self.cache, &self.missing);
        if wanted.is_empty() {
            return;
        }
        let mut asked = BTreeSet::new();
        for _ in 0..ASKED_PEERS {
            asked.extend(self.random_neighbour(shared));
        }
        for peer in asked {
            self.graft(shared, &peer, wanted.clone(), None);
        }
    }

    // --- this node's own messages ---

    /// The earliest time at which the eager links of this node's next message have room for it;
    /// `None` if they have room now. An acknowledgement may make room sooner.
    pub(super) fn blocked_until(&self, now: Instant, me: PublicKey, next: u64) -> Option<Instant> {
        let tree = self.tree_of(me, next);
        let eager = self.peers.values().filter(|peer| peer.is_eager(tree));
        eager.filter_map(|peer| peer.blocks_until(now, HIGH_WATER)).max()
    }

    /// Makes sure that this node's next message is pushed to a neighbour.
    pub(super) fn keep_own_child(&mut self, now: Instant, me: PublicKey, next: u64) {
        let tree = self.tree_of(me, next);
        self.keep_child(now, tree, None);
    }

    /// Whether more messages wait for their first acknowledgement than one link has room for.
    pub(super) fn has_many_unacked(&self) -> bool {
        self.acks.unacked() >= HIGH_WATER
    }

    /// Whether this node has messages that no other one may have.
    pub(super) fn has_unacked(&mut self, now: Instant) -> bool {
        self.acks.has_unacked(now, &self.cache)
    }

    /// Notes that this node publishes a message. False if that uses up the rate that other nodes
    /// grant it.
    pub(super) fn count_own(&mut self, now: Instant, id: &MessageId, limit: Rate) -> bool {
        self.seen.insert(now, id, limit.bucket()) != Novelty::OverRate
            && !self.seen.is_at_limit(now, &id.publisher, limit.burst)
    }

    /// Publishes a message of this node; with `counted`, its acknowledgements are counted.
    pub(super) fn publish(
        &mut self,
        shared: &mut Shared,
        message: &SignedMessage,
        counted: Option<PublishId>,
    ) {
        let id = MessageId::from(message);
        self.acks.note(id);
        let bytes = shared.door.encode(shared.now, self.topic, message);
        self.disseminate(shared, message, bytes, None);
        if let Some(publish) = counted {
            let tree = self.tree_of(id.publisher, id.sequence);
            self.acks.count(shared.now, publish, id, tree, &self.peers);
        }
    }

    /// Reports the counts of acknowledgements that are complete or due. `searching`: further
    /// neighbours may still be found.
    pub(super) fn report_acks(&mut self, shared: &mut Shared, searching: bool) {
        self.acks.report(shared, searching, &self.peers);
    }

    /// Reports all counts: this node leaves the topic.
    pub(super) fn end_acks(&mut self, shared: &mut Shared) {
        self.acks.end(shared);
    }

    // --- subscribers ---

    pub(super) const fn name(&self) -> &TopicName {
        &self.inbox.name
    }

    pub(super) const fn is_subscribed(&self) -> bool {
        self.inbox.is_subscribed()
    }

    /// Subscribes from now on. False if this node is subscribed already.
    pub(super) fn subscribe(&mut self, shared: &Shared) -> bool {
        self.inbox.subscribe(shared)
    }

    pub(super) const fn unsubscribe(&mut self) {
        self.inbox.unsubscribe();
    }

    /// A reader has the message `after`: the next one of its publisher follows it.
    pub(super) fn expect_after(&mut self, shared: &Shared, after: &MessageId) {
        self.inbox.expect_after(shared, after);
    }

    /// This node stood still: messages that it did not receive meanwhile are not late.
    pub(super) fn on_standstill(&mut self, now: Instant) {
        self.inbox.order.on_standstill(now);
    }

    /// The cached messages delivered after `after`, and true; or if it is not cached any more, all
    /// cached ones, and false.
    pub(super) fn backlog(&self, after: &MessageId) -> (Vec<Message>, bool) {
        let message = |(id, cached): (&MessageId, &CachedMessage)| {
            let payload = SignedMessage::decode(&cached.bytes).ok()?.payload;
            Some(Message { topic: self.name().clone(), id: *id, payload })
        };
        match self.cache.delivered_after(after) {
            Some(behind) => (behind.filter_map(message).collect(), true),
            None => (self.cache.all_delivered().filter_map(message).collect(), false),
        }
    }

    // --- the cache ---

    /// The peer that delivered a message first; `None` if it is not cached or is this node's own.
    pub(super) fn source_of(&self, message: &MessageId) -> Option<PublicKey> {
        self.cache.get(message)?.source()
    }

    /// Memory of the cached messages in bytes.
    pub(super) fn cache_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Drops the oldest cached message.
    pub(super) fn drop_oldest(&mut self) {
        self.cache.drop_oldest();
    }

    /// Announced messages that this node lacks.
    pub(super) fn missing(&self) -> usize {
        self.missing.len()
    }
}

/// Memory of the state of one neighbour, in bytes.
#[cfg(test)]
pub(super) const PEER_BYTES: usize = size_of::<Peer>();

#[cfg(test)]
mod tests;

#[cfg(test)]
impl Broadcast {
    /// The neighbours, and whether each is healthy.
    pub(super) fn links(&self) -> Vec<(potluck_base::Contact, bool)> {
        self.peers.iter().map(|(key, peer)| (peer.contact(*key), peer.is_healthy())).collect()
    }

    /// Cached messages with a certificate beside them, and all.
    pub(super) fn shown(&self) -> (usize, usize) {
        let all: Vec<&bytes::Bytes> = self.cache.all_delivered().map(|(_, it)| &it.bytes).collect();
        let shown = all.iter().filter(|bytes| SignedMessage::shown_in(bytes).is_some());
        (shown.count(), all.len())
    }

    /// Forgets all messages that are cached or on their way.
    pub(super) fn forget(&mut self) {
        self.peers.values_mut().for_each(|peer| peer.queue = Default::default());
        self.acks = Acks::default();
        while self.cache.len() > 0 {
            self.cache.drop_oldest();
        }
    }
}
