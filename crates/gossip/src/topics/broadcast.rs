//! Broadcast over the links of one topic: trees, repair, and delivery in order.
//!
//! The broadcast knows nothing of how links are made. It is told of each link that comes and goes
//! (`NeighborUp` and `NeighborDown` in the paper's algorithm 3), and when a neighbour falls silent,
//! answers again or loses its trust. `plumtree` holds the paper's algorithms; this file holds the
//! links, their queues, and which of them are eager.

mod eager_trees;
mod flood;
mod inbox;
mod message_cache;
mod missing;
mod order;
mod parent;
mod peer;
mod peer_queue;
mod plumtree;
mod receipt;
mod seen;
mod subscription;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use potluck_base::{Contact, Instant, PublicKey, Rate, RoundTrip};
use potluck_wire::{IdRange, SignedMessage, TopicId, TopicRequest};

use self::flood::DeferredMessages;
use self::inbox::Inbox;
use self::message_cache::{CACHE_LIFE, CachedMessage, MessageCache, ranges};
use self::missing::MissingMessages;
use self::parent::Trees;
use self::peer::Peer;
use self::receipt::Acks;
use self::seen::{Novelty, Seen};
#[cfg(test)]
pub(super) use self::tree::OWN_TREE_FROM;
use self::tree::Tree;
use super::asks::Purpose;
use super::cost::Cost;
use super::events::PublishId;
use super::scores::{Fault, Penalty};
use super::shared::{Shared, pick};
use super::stats::TopicsStats;
use crate::message::{Message, MessageId, TopicName};

/// Interval between two summaries to a random neighbour while anything is cached. A lower value
/// repairs sooner and costs more traffic.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(30);
/// Id ranges that fit in a datagram.
const RANGES_DATAGRAM: usize = 16;
/// Id ranges in a summary for a new neighbour.
const RANGES_MAX: usize = 128;
/// Id ranges of the cache from which a summary is chosen. A higher value covers more publishers and
/// takes longer to compute.
const RANGES_CONSIDERED: usize = 2_048;
/// With fewer queued messages than this, a link has room for another one of this node's own. A
/// higher value publishes more in bursts and delays later messages.
const HIGH_WATER: usize = 64;

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

    // --- links ---

    /// A link was made (algorithm 3, `NeighborUp`): it is eager on the shared tree. The neighbour
    /// gets what no other one has acknowledged, and a summary.
    pub(super) fn link_up(
        &mut self,
        shared: &mut Shared,
        contact: Contact,
        joined: Instant,
        surplus: bool,
    ) {
        let key = contact.public_key;
        self.trees.links_changed();
        let mut peer = Box::new(Peer::new(shared, contact, joined));
        self.acks.push_to(shared, &self.cache, key, &mut peer);
        self.peers.insert(key, peer);
        self.summarise_to(shared, &key, true);
        if surplus {
            self.mark_surplus(shared, &key);
        }
    }

    /// A surplus link is lazy, since the tree works without it. If it leads to another partition of
    /// the overlay, its announcements will show it.
    fn mark_surplus(&mut self, shared: &Shared, key: &PublicKey) {
        let eager =
            self.peers.iter().filter(|(of, peer)| *of != key && peer.is_eager(Tree::Shared));
        let enough = eager.count() >= shared.config.parents(shared.mode);
        if let Some(peer) = self.peers.get_mut(key).filter(|_| enough) {
            peer.eager_trees.prune(shared.now, Tree::Shared);
        }
    }

    /// A link was lost (algorithm 3, `NeighborDown`).
    pub(super) fn link_down(&mut self, shared: &mut Shared, peer: &PublicKey) {
        if self.peers.remove(peer).is_none() {
            return;
        }
        self.trees.links_changed();
        self.missing.remove_peer(peer);
        self.replace_parent(shared, peer);
        self.keep_parents(shared, None);
    }

    /// A neighbour does not answer: it gets announcements only, and others replace it.
    pub(super) fn link_silent(&mut self, shared: &mut Shared, peer: &PublicKey) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.silent = true;
        known.queue.make_lazy(shared.now);
        self.replace_parent(shared, peer);
        self.keep_parents(shared, None);
    }

    /// A silent neighbour counts as working again. If it `answered`, it is told of the messages that
    /// it missed meanwhile.
    pub(super) fn link_back(&mut self, shared: &mut Shared, peer: &PublicKey, answered: bool) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.silent = false;
        if answered {
            self.summarise_to(shared, peer, true);
        }
    }

    /// A neighbour's score is too low for eager links: all of its links become lazy.
    pub(super) fn link_distrusted(&mut self, shared: &mut Shared, peer: &PublicKey) {
        let Some(known) = self.peers.get_mut(peer) else { return };
        known.eager_trees.prune_all();
        known.distrusted = true;
        self.replace_parent(shared, peer);
        self.keep_parents(shared, None);
    }

    /// A neighbour sent a request from this address.
    pub(super) fn on_request(&mut self, from: Contact) {
        if let Some(peer) = self.peers.get_mut(&from.public_key) {
            peer.set_contact(from);
        }
    }

    /// A neighbour answered a request after this round-trip time.
    pub(super) fn on_round_trip(&mut self, peer: &PublicKey, rtt: Duration) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.rtt.sample(rtt);
        }
    }

    /// Whether there is no healthy link.
    pub(super) fn is_alone(&self) -> bool {
        !self.peers.values().any(|peer| peer.is_healthy())
    }

    /// A random healthy neighbour.
    fn random_neighbour(&self, shared: &mut Shared) -> Option<PublicKey> {
        let healthy = self.peers.iter().filter(|(_, peer)| peer.is_healthy());
        pick(&mut shared.rng, healthy.map(|(key, _)| key).collect())
    }

    /// What the trees lose with the link to `peer`: each tree through it loses a subtree, and a node
    /// near the root mostly finds another parent far from it. `me`: this node's own key.
    pub(super) fn cost(&self, now: Instant, me: &PublicKey, peer: &PublicKey) -> Cost {
        let Some(neighbour) = self.peers.get(peer) else { return Cost::NONE };
        self.trees.recent(now).fold(Cost::NONE, |cost, (tree, state)| {
            let (down, up) = (neighbour.is_eager(tree), state.has_parent(peer));
            let at_root = match &tree {
                Tree::Shared => false,
                Tree::Of(publisher) => (publisher == me && down) || (publisher == peer && up),
            };
            Cost {
                roots: cost.roots + usize::from(at_root),
                trees: cost.trees + usize::from(down || up),
            }
        })
    }

    /// Applies the limits of another mode.
    pub(super) fn set_mode(&mut self, shared: &mut Shared) {
        for peer in self.peers.values_mut() {
            peer.ihave_ids = shared.limits().ihave_ids.bucket();
            peer.signatures = shared.limits().signatures.bucket();
        }
        self.seen.set_rate(shared.limits().publisher.bucket());
        self.keep_parents(shared, None);
    }

    /// A neighbour broke a rule. If it is ignored from now on, the caller drops its link.
    fn fault(&mut self, shared: &mut Shared, peer: PublicKey, fault: Fault) -> Penalty {
        let penalty = shared.scores.fault(shared.now, peer, fault);
        match penalty {
            Penalty::Pruned => self.link_distrusted(shared, &peer),
            Penalty::Tolerated | Penalty::Ignored => {}
        }
        penalty
    }

    // --- eager links ---

    /// The tree of a message.
    fn tree_of(&self, publisher: PublicKey, sequence: u64) -> Tree {
        Tree::of(self.system, publisher, sequence)
    }

    /// Keeps enough eager links on the shared tree, by grafting those with the lowest round trip.
    fn keep_parents(&mut self, shared: &mut Shared, except: Option<&PublicKey>) {
        let eager = self.peers.values().filter(|peer| peer.is_eager(Tree::Shared));
        for _ in eager.count()..shared.config.parents(shared.mode) {
            let Some(peer) = self.fastest_beside(Tree::Shared, except) else { return };
            self.graft(shared, &peer, Vec::new(), Some(Tree::Shared));
        }
    }

    /// A publisher keeps at least one eager link on its tree, even if all neighbours pruned it or
    /// the eager ones left. Announcements alone are not enough: no node waits for their
    /// acknowledgement, and receivers bound how many they remember.
    fn keep_child(&mut self, now: Instant, tree: Tree, except: Option<&PublicKey>) {
        if self.peers.values().any(|peer| peer.is_eager(tree)) {
            return;
        }
        let fastest = self.fastest_beside(tree, except);
        if let Some(peer) = fastest.and_then(|key| self.peers.get_mut(&key)) {
            peer.eager_trees.graft(now, tree);
        }
    }

    /// The lazy link with the lowest round trip that may be eager on this tree.
    fn fastest_beside(&self, tree: Tree, except: Option<&PublicKey>) -> Option<PublicKey> {
        let beside = self.peers.iter().filter(|(key, peer)| {
            Some(*key) != except && peer.may_be_eager() && !peer.eager_trees.is_eager(tree)
        });
        let fastest = beside.min_by_key(|(_, peer)| peer.round_trip());
        fastest.map(|(key, _)| *key)
    }

    /// A neighbour delivers nothing any more. Where it was the parent, the backup parent takes over
    /// before a message is missed.
    fn replace_parent(&mut self, shared: &mut Shared, lost: &PublicKey) {
        for (tree, next, id) in self.trees.on_peer_lost(lost) {
            if self.peers.get(&next).is_some_and(|peer| peer.may_be_eager()) {
                self.graft(shared, &next, tree.empty_range(&id), Some(tree));
            }
        }
    }

    /// Asks a neighbour to push the messages in `ranges`, and with `tree`, the tree of these
    /// messages, its future messages too (GRAFT in the paper).
    fn graft(
        &mut self,
        shared: &mut Shared,
        peer: &PublicKey,
        mut ranges: Vec<IdRange>,
        tree: Option<Tree>,
    ) {
        let Some(neighbour) = self.peers.get_mut(peer) else { return };
        if let Some(tree) = tree {
            neighbour.eager_trees.graft(shared.now, tree);
        }
        let (contact, eager) = (neighbour.contact(*peer), tree.is_some());
        loop {
            let rest = ranges.split_off(ranges.len().min(RANGES_DATAGRAM));
            shared.stats.grafts += 1;
            let body = TopicRequest::Graft { ranges, eager };
            shared.ask(self.topic, contact, Purpose::Notify, body);
            ranges = rest;
            if ranges.is_empty() {
                return;
            }
        }
    }

    // --- sending ---

    /// Announces to a neighbour the messages of the last ten minutes that came since it joined the
    /// topic. A new neighbour may lack any of them, an old one hardly any.
    fn summarise_to(&self, shared: &mut Shared, peer: &PublicKey, new: bool) {
        let Some(neighbour) = self.peers.get(peer) else { return };
        let since = neighbour.joined.max(shared.now - CACHE_LIFE);
        let most = if new { RANGES_MAX } else { RANGES_DATAGRAM };
        let mut ranges = self.cache.ranges_since(since, RANGES_CONSIDERED);
        if ranges.len() > most {
            // If not all ranges fit, a random part is chosen each time.
            let start = shared.rng.below((ranges.len() - most) as u64 + 1) as usize;
            ranges = ranges.split_off(start);
            ranges.truncate(most);
        }
        while !ranges.is_empty() {
            let rest = ranges.split_off(ranges.len().min(RANGES_DATAGRAM));
            let body = TopicRequest::IHave { ranges };
            shared.ask(self.topic, neighbour.contact(*peer), Purpose::Notify, body);
            ranges = rest;
        }
    }

    /// Sends queued messages and announcements, as far as the windows allow.
    pub(super) fn pump(&mut self, shared: &mut Shared) {
        let (now, topic, cache) = (shared.now, self.topic, &self.cache);
        for (key, peer) in &mut self.peers {
            if !peer.is_healthy() {
                continue;
            }
            let has = |id: &_| cache.get(id).is_some_and(|cached| cached.is_known_to(key));
            while let Some((ids, messages)) = peer.queue.bundle(&shared.config, now, has) {
                shared.stats.payloads_sent += ids.len() as u64;
                let body = TopicRequest::Gossip { messages };
                shared.ask(topic, peer.contact(*key), Purpose::Gossip(ids), body);
            }
            let Some(mut ids) = peer.queue.take_lazy(now) else { continue };
            ids.retain(|id| !has(id));
            let mut ranges = ranges(ids.iter().copied(), usize::MAX);
            if ranges.is_empty() {
                peer.queue.ihave_in_flight = false;
                continue;
            }
            while !ranges.is_empty() {
                let rest = ranges.split_off(ranges.len().min(RANGES_DATAGRAM));
                // The acknowledgement of the last IHAVE allows the next one.
                let purpose = if rest.is_empty() {
                    Purpose::IHave(std::mem::take(&mut ids))
                } else {
                    Purpose::Notify
                };
                shared.ask(topic, peer.contact(*key), purpose, TopicRequest::IHave { ranges });
                ranges = rest;
            }
        }
    }

    /// An announcement was answered: the next one may go out.
    pub(super) fn on_ihave_ended(&mut self, peer: &PublicKey) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.queue.ihave_in_flight = false;
        }
    }

    /// An announcement was not answered, or could not be sent: it is repeated.
    pub(super) fn on_ihave_failed(&mut self, now: Instant, peer: &PublicKey, ids: Vec<MessageId>) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.queue.ihave_in_flight = false;
            ids.into_iter().for_each(|id| {
                peer.queue.push_lazy(now, id);
            });
        }
    }

    /// A push was not answered: its messages are announced, since the neighbour may lack them.
    pub(super) fn on_gossip_failed(&mut self, now: Instant, peer: &PublicKey, ids: Vec<MessageId>) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.queue.on_ack(now);
            ids.into_iter().for_each(|id| {
                peer.queue.push_lazy(now, id);
            });
        }
    }

    /// A push could not be sent: it is repeated, and nothing is sent to the neighbour before
    /// `until`.
    pub(super) fn on_gossip_unsent(
        &mut self,
        shared: &Shared,
        peer: &PublicKey,
        ids: &[MessageId],
        until: Instant,
    ) {
        let Some(neighbour) = self.peers.get_mut(peer) else { return };
        neighbour.queue.on_ack(shared.now);
        neighbour.queue.paused_until = Some(until);
        for id in ids {
            if let Some(cached) = self.cache.get(id) {
                neighbour.queue.push_repair(&shared.config, *id, cached.bytes.clone());
            }
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
        self.disseminate(shared, message, message.encode(), None);
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

/// Memory of what is known of a neighbour, in bytes.
#[cfg(test)]
pub(super) const PEER_BYTES: usize = size_of::<Peer>();

#[cfg(test)]
impl Broadcast {
    /// The neighbours, and whether each is healthy.
    pub(super) fn links(&self) -> Vec<(Contact, bool)> {
        self.peers.iter().map(|(key, peer)| (peer.contact(*key), peer.is_healthy())).collect()
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
