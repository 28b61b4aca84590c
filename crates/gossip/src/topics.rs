//! Messages for everybody who wants them: an overlay a topic, a tree over it, repair.
//!
//! Each topic has an overlay of its own with few symmetric links (`HyParView`), over which messages
//! run along a tree (`PlumTree`); links beside the tree carry only the names of messages, so that
//! what the tree loses is noticed and asked for. One topic,
//! [`SYSTEM_TOPIC`](crate::message::SYSTEM_TOPIC), has every node in it: its links are the overlay
//! of all nodes. A publisher that does not subscribe is in the topic while it publishes and for a
//! minute more.
//!
//! A subscriber gets what comes to it after it subscribed, each message once, those of one publisher in
//! the order in which they were published, and word of those that are missing (see `order`). What was published before, it does not get as new,
//! though this node may keep some of it: [`Topics::backlog`]. A message is lost to a subscriber
//! only if no neighbour of its keeps it any more, ten minutes or 16 MiB later. A message that no
//! neighbour has taken goes to the first one there is (see `receipt`).
//!
//! **Invariants:** only this node's own publishers ever wait for anything; nobody's word makes this
//! node drop a neighbour, take a message for seen, or deliver what its publisher did not sign; every
//! map, list and queue has a limit.
//!
//! Nothing in a message says when it was signed. A node that forgot a publisher (more than 4096
//! others came since), or never heard of it, takes a replay of an old message for a new one.

mod config;
mod eager_trees;
mod events;
mod flood;
mod message_cache;
mod missing;
mod neighbour;
mod order;
mod overlay;
mod parent;
mod passive_view;
mod peer_queue;
mod publish;
mod receipt;
mod rewiring;
mod scores;
mod seen;
mod serve;
mod shared;
mod shuffle;
mod stats;
mod subscription;
mod topic;
mod tree;

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::{
    Contact, Deadline, Identity, Instant, Machine, NetworkId, PublicKey, Rng, TokenBucket,
    UnixMillis,
};
use potluck_wire::{SignedMessage, TopicId};

use crate::message::{Message, MessageId, TopicName};
use crate::view::{Cause, Mode};

pub use config::{PeerLimits, RateLimit, TopicsConfig, ViewSizes};
pub use events::{PublishId, TopicAskId, TopicRefusal, TopicServeId, TopicsInput, TopicsOutput};
use neighbour::LivenessCheck;
use publish::{LINGER, Publishes};
use scores::Scores;
use shared::{Me, PendingRequests, Shared};
pub use stats::{DownCounts, TopicsStats};
use topic::Topic;

/// Requests a second to nodes that only others named, and at once.
const RELAYS: (u32, u32) = (20, 60);
/// Later than this for a timer of its own, this node stood still, or was stopped.
const STANDSTILL_MIN: Duration = Duration::from_secs(2);
/// After the machine slept a silent neighbour is its own fault for so long.
const ISOLATED_FOR: Duration = Duration::from_secs(10);
/// A second peer that falls silent so soon after another may be one of many: all links are looked at.
const MANY_WITHIN: Duration = Duration::from_secs(10);
/// Topics that were left and whose sequence is remembered.
const SEQUENCES_MAX: usize = 1_024;

/// All topics of one node. See the module.
#[derive(Debug)]
pub struct Topics {
    me: Me,
    config: TopicsConfig,
    mode: Mode,
    rng: Rng,
    now: Instant,
    /// When the wall clock was told, and what it showed.
    wall: Option<(Instant, UnixMillis)>,
    topics: BTreeMap<TopicId, Topic>,
    pending: PendingRequests,
    scores: Scores,
    publishes: Publishes,
    /// Where the sequence of this node goes on in topics that it left.
    sequences: BTreeMap<TopicId, u64>,
    /// The same for topics that were forgotten.
    sequence_base: u64,
    relay_budget: TokenBucket,
    last_heard: Instant,
    isolated_until: Instant,
    /// Who fell silent last, and when.
    silent: Option<(Instant, PublicKey)>,
    stats: TopicsStats,
    outbox: VecDeque<TopicsOutput>,
}

impl Topics {
    /// The topics of a node that is in none but the system's and knows nobody. `incarnation` has to
    /// be higher than in any run before; `contact` is where others reach this node.
    #[must_use]
    pub fn new(
        identity: Identity,
        network: NetworkId,
        incarnation: u64,
        contact: Contact,
        config: TopicsConfig,
        rng: Rng,
    ) -> Self {
        let mut topics = Self {
            me: Me { identity, network, incarnation, contact },
            mode: config.mode,
            config,
            rng,
            now: Instant::ZERO,
            wall: None,
            topics: BTreeMap::new(),
            pending: PendingRequests::default(),
            scores: Scores::new(),
            publishes: Publishes::default(),
            sequences: BTreeMap::new(),
            sequence_base: 1,
            relay_budget: TokenBucket::new(RELAYS.0, RELAYS.1),
            last_heard: Instant::ZERO,
            isolated_until: Instant::ZERO,
            silent: None,
            stats: TopicsStats::default(),
            outbox: VecDeque::new(),
        };
        let system = TopicName::system();
        topics.enter(&system);
        topics.settle(&system.id());
        topics
    }

    /// Where others reach this node from now on.
    pub fn set_address(&mut self, address: SocketAddr) {
        self.me.contact.address = address;
    }

    /// The topic whose overlay is that of all nodes.
    #[must_use]
    pub fn system(&self) -> TopicId {
        TopicName::system().id()
    }

    /// The links of the overlay of all nodes, in the order of their keys.
    #[must_use]
    pub fn neighbours(&self) -> Vec<Contact> {
        self.neighbours_in(&TopicName::system())
    }

    /// The links of the overlay of `topic`; none if this node is not in it.
    #[must_use]
    pub fn neighbours_in(&self, topic: &TopicName) -> Vec<Contact> {
        let topic = self.topics.get(&topic.id());
        topic.map_or_else(Vec::new, |topic| {
            topic.active_view.values().map(|neighbour| neighbour.contact).collect()
        })
    }

    /// Whether this node is in `topic` and has no link in it.
    #[must_use]
    pub fn is_alone(&self, topic: &TopicId) -> bool {
        self.topics.get(topic).is_some_and(|topic| topic.healthy() == 0)
    }

    /// The topics that are subscribed to here, the system's not counted.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<TopicName> {
        let own = self.topics.values().filter(|topic| topic.subscribed && !topic.system);
        own.map(|topic| topic.name.clone()).collect()
    }

    /// A reader of `topic` has this message, and the next of its publisher is the one behind it. To be said
    /// where this node itself does not know that.
    pub fn expect_after(&mut self, topic: &TopicName, after: MessageId) {
        let now = self.now;
        if let Some(topic) = self.topics.get_mut(&topic.id()).filter(|topic| topic.subscribed) {
            topic.subscription.go_on();
            topic.delivery_order.start_after(now, &after);
        }
    }

    /// What this node keeps of `topic` behind the message `after`, in the order in which it came,
    /// and whether that is surely all that came. If `after` is not kept any more: all that is.
    /// Without `after` nothing, for nothing was missed.
    #[must_use]
    pub fn backlog(&self, topic: &TopicName, after: Option<MessageId>) -> (Vec<Message>, bool) {
        let Some(after) = after else { return (Vec::new(), true) };
        let Some(known) = self.topics.get(&topic.id()) else { return (Vec::new(), false) };
        let message = |(id, cached): (&MessageId, &message_cache::CachedMessage)| {
            let payload = SignedMessage::decode(&cached.bytes).ok()?.payload;
            Some(Message { topic: topic.clone(), id: *id, payload })
        };
        match known.cache.delivered_after(&after) {
            Some(behind) => (behind.filter_map(message).collect(), true),
            None => (known.cache.all_delivered().filter_map(message).collect(), false),
        }
    }

    /// Of whom a message came first, for checkers; none if it is not kept, or this node's own.
    #[must_use]
    pub fn source_of(&self, topic: &TopicName, message: &MessageId) -> Option<PublicKey> {
        self.topics.get(&topic.id())?.cache.get(message)?.source()
    }

    /// Gauges and counters.
    #[must_use]
    pub fn stats(&self) -> TopicsStats {
        let mut stats = TopicsStats {
            topics: self.topics.len(),
            publishes_waiting: self.publishes.waiting.len(),
            asks: self.pending.len(),
            scores: self.scores.len(),
            ..self.stats
        };
        for topic in self.topics.values() {
            topic.gauge(&mut stats);
        }
        stats
    }

    // --- wiring ---

    /// Lets one topic do something.
    fn with<T>(
        &mut self,
        id: &TopicId,
        body: impl FnOnce(&mut Topic, &mut Shared<'_>) -> T,
    ) -> Option<T> {
        let mut topic = self.topics.remove(id)?;
        let done = body(&mut topic, &mut self.shared());
        self.topics.insert(*id, topic);
        Some(done)
    }

    /// What the topic that is taken out needs.
    fn shared(&mut self) -> Shared<'_> {
        let missing: usize = self.topics.values().map(|topic| topic.missing.len()).sum();
        Shared {
            now: self.now,
            wall: self.wall.map(|(at, wall)| wall.plus(self.now.since(at))),
            me: &self.me,
            config: &self.config,
            mode: self.mode,
            rng: &mut self.rng,
            pending: &mut self.pending,
            scores: &mut self.scores,
            stats: &mut self.stats,
            out: &mut self.outbox,
            relay_budget: &mut self.relay_budget,
            last_heard: self.last_heard,
            isolated_until: self.isolated_until,
            missing_room: self.config.missing_max.saturating_sub(missing),
        }
    }

    /// Lets everything follow from what happened in a topic.
    fn settle(&mut self, id: &TopicId) {
        self.with(id, Topic::settle);
    }

    fn ids(&self) -> Vec<TopicId> {
        self.topics.keys().copied().collect()
    }

    /// Enters a topic. False if there are too many.
    fn enter(&mut self, name: &TopicName) -> bool {
        let id = name.id();
        if self.topics.contains_key(&id) {
            return true;
        }
        if self.topics.len() >= self.config.topics_max.max(1) {
            return false;
        }
        let sequence = self.sequences.remove(&id).unwrap_or(self.sequence_base);
        let topic = Topic::new(&mut self.shared(), name.clone(), sequence);
        self.topics.insert(id, topic);
        true
    }

    fn leave(&mut self, id: &TopicId) {
        self.with(id, Topic::leave);
        let Some(topic) = self.topics.remove(id) else { return };
        if self.sequences.len() >= SEQUENCES_MAX {
            // A sequence with a gap is better than one that is used twice.
            let highest = self.sequences.values().max().copied().unwrap_or(1);
            self.sequence_base = self.sequence_base.max(highest);
            self.sequences.clear();
        }
        if topic.next_sequence > self.sequence_base {
            self.sequences.insert(*id, topic.next_sequence);
        }
    }

    fn leave_if_over(&mut self, id: &TopicId) {
        let over = |topic: &&mut Topic| topic.is_over(self.now);
        let Some(topic) = self.topics.get_mut(id).filter(over) else { return };
        let waiting = self.publishes.waiting.iter().any(|waiting| waiting.topic == *id);
        if waiting || topic.has_unacked(self.now) {
            topic.publishing_until = Some(self.now + LINGER);
            self.settle(id);
        } else {
            self.leave(id);
        }
    }

    /// Keeps the payload of all topics within its limit.
    fn bound_cache(&mut self) {
        loop {
            let total: usize = self.topics.values().map(|topic| topic.cache.bytes()).sum();
            if total <= self.config.cache_bytes {
                return;
            }
            let largest = self.topics.values_mut().max_by_key(|topic| topic.cache.bytes());
            let Some(topic) = largest else { return };
            topic.cache.drop_oldest();
        }
    }

    // --- inputs ---

    fn on_subscribe(&mut self, name: TopicName) {
        let why = if name.is_reserved() {
            Some(TopicRefusal::Reserved)
        } else if !self.enter(&name) {
            Some(TopicRefusal::TooManyTopics)
        } else {
            None
        };
        if let Some(why) = why {
            self.outbox.push_back(TopicsOutput::SubscribeRefused { topic: name, why });
            return;
        }
        self.with(&name.id(), |topic, shared| topic.subscribe(shared));
        self.on_timeout(&[name.id()]);
    }

    fn on_unsubscribe(&mut self, name: &TopicName) {
        let id = name.id();
        if let Some(topic) = self.topics.get_mut(&id).filter(|topic| !topic.system) {
            topic.subscribed = false;
            self.leave_if_over(&id);
        }
    }

    fn on_timeout(&mut self, due: &[TopicId]) {
        for id in due {
            self.with(id, |topic, shared| {
                topic.on_timeout(shared);
                topic.settle(shared);
            });
            self.leave_if_over(id);
        }
    }

    fn drop_everywhere(&mut self, peer: &PublicKey, cause: Cause) {
        for id in self.ids() {
            self.with(&id, |topic, shared| {
                // The failure detector has looked whether others are heard.
                let isolated = cause == Cause::Crashed && shared.now < shared.isolated_until;
                let cause = if isolated { Cause::Isolated } else { cause };
                topic.unlink(shared, peer, cause, None);
                topic.passive_view.remove(peer);
                topic.settle(shared);
            });
        }
    }

    fn on_silent(&mut self, peer: &PublicKey) {
        for id in self.ids() {
            self.with(&id, |topic, shared| {
                if topic.active_view.contains_key(peer) {
                    topic.begin_check(shared, peer, LivenessCheck::Silent);
                    topic.settle(shared);
                }
            });
        }
        self.note_silence(*peer);
    }

    /// A peer fell silent. If many did, whoever is cut off hears nothing that would show it: so all
    /// links of all topics are looked at.
    fn note_silence(&mut self, peer: PublicKey) {
        let before = self.silent.replace((self.now, peer));
        let many =
            before.is_some_and(|(at, other)| other != peer && self.now.since(at) < MANY_WITHIN);
        if many {
            for id in self.ids() {
                self.with(&id, |topic, shared| {
                    topic.check_quiet(shared);
                    topic.settle(shared);
                });
            }
        }
    }

    /// Members: some may be neighbours that were lost.
    fn on_candidates(&mut self, contacts: Vec<Contact>) {
        for id in self.ids() {
            self.with(&id, |topic, shared| {
                contacts.iter().for_each(|contact| topic.on_returned(shared, *contact));
            });
            self.settle(&id);
        }
        self.on_found(&TopicName::system().id(), contacts);
    }

    fn on_resumed(&mut self) {
        self.isolated_until = self.now + ISOLATED_FOR;
        for id in self.ids() {
            self.with(&id, |topic, shared| {
                let peers: Vec<PublicKey> = topic.active_view.keys().copied().collect();
                for peer in peers {
                    topic.begin_check(shared, &peer, LivenessCheck::Resumed);
                }
                topic.find_soon(shared.now);
                topic.delivery_order.on_standstill(shared.now);
                topic.settle(shared);
            });
        }
    }

    /// Whether this node was late for its own timer: it stood still, and others may have dropped its links
    /// meanwhile.
    fn notice_standstill(&mut self) {
        let due = self.poll_timeout();
        if due.is_some_and(|due| self.now.since(due.at) > STANDSTILL_MIN) {
            self.stats.standstills += 1;
            self.on_resumed();
        }
    }

    fn on_mode(&mut self, mode: Mode) {
        self.mode = mode;
        for id in self.ids() {
            self.with(&id, |topic, shared| {
                topic.set_mode(shared);
                topic.settle(shared);
            });
        }
    }
}

impl Machine for Topics {
    type Input = TopicsInput;
    type Output = TopicsOutput;

    fn handle(&mut self, now: Instant, input: TopicsInput) {
        self.now = now;
        match input {
            TopicsInput::Subscribe(name) => self.on_subscribe(name),
            TopicsInput::Unsubscribe(name) => self.on_unsubscribe(&name),
            TopicsInput::Publish { publish, topic, payload } => {
                self.on_publish(publish, &topic, payload, false);
            }
            TopicsInput::PublishCounted { publish, topic, payload } => {
                self.on_publish(publish, &topic, payload, true);
            }
            TopicsInput::Broadcast { publish, payload } => self.on_broadcast(publish, payload),
            TopicsInput::Asked { serve, from, request } => self.on_asked(serve, from, request),
            TopicsInput::Answered { ask, answer, rtt } => self.on_answered(ask, answer, rtt),
            TopicsInput::Failed(ask) => self.on_failed(ask),
            TopicsInput::Unsent(ask) => self.on_unsent(ask),
            TopicsInput::Candidates(contacts) => self.on_candidates(contacts),
            TopicsInput::Bridge(contact) => {
                let system = TopicName::system().id();
                self.with(&system, |topic, shared| topic.bridge(shared, contact));
                self.settle(&system);
            }
            TopicsInput::Suggested { topic, contacts } => self.on_suggested(&topic, contacts),
            TopicsInput::Found { topic, contacts } => self.on_found(&topic, contacts),
            TopicsInput::Silent(peer) => self.on_silent(&peer),
            TopicsInput::Unreachable(peer) => self.drop_everywhere(&peer, Cause::Crashed),
            TopicsInput::Left(peer) => self.drop_everywhere(&peer, Cause::Left),
            TopicsInput::Resumed => self.on_resumed(),
            TopicsInput::WallClock(wall) => self.wall = Some((now, wall)),
            TopicsInput::Mode(mode) if mode != self.mode => self.on_mode(mode),
            TopicsInput::Mode(_) => {}
            TopicsInput::Leave => {
                self.ids().iter().for_each(|id| self.leave(id));
                self.publishes = Publishes::default();
            }
            TopicsInput::Timeout => {
                self.notice_standstill();
                let due = |topic: &&Topic| topic.wake.is_some_and(|wake| wake.at <= now);
                let due: Vec<TopicId> =
                    self.topics.values().filter(due).map(|topic| topic.id).collect();
                self.on_timeout(&due);
            }
        }
        self.admit();
        self.bound_cache();
    }

    fn poll_output(&mut self) -> Option<TopicsOutput> {
        self.outbox.pop_front()
    }

    fn poll_timeout(&self) -> Option<Deadline> {
        let topics = self.topics.values().filter_map(|topic| topic.wake);
        let topics = topics.min_by_key(|deadline| deadline.at);
        let publish = self.publishes.retry_at;
        Deadline::earliest([topics, publish.map(|at| Deadline::new(at, "publish"))])
    }
}

#[cfg(test)]
mod tests;
