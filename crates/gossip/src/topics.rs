//! Topics: for each one an overlay, broadcast trees over it, and repair.
//!
//! Each topic has its own overlay of few symmetric links (`HyParView`, see `overlay`). Messages are
//! pushed over the eager links, which form a tree (`PlumTree`, see `broadcast`); the other links are
//! lazy and carry only message ids (IHAVE), so that a node notices what the tree lost and grafts it.
//! The two know nothing of each other: `topic` joins them. Every node is in the
//! system topic, [`SYSTEM_TOPIC`](crate::message::SYSTEM_TOPIC); its links are the overlay of all
//! nodes. A publisher that does not subscribe stays in the topic while it publishes and for one
//! minute more.
//!
//! A subscriber gets each message that arrives after it subscribed once, the messages of one
//! publisher in the order in which they were published, and a notice of missing ones (see `order`).
//! Messages published before the subscription are not delivered as new, but this node may have some
//! of them cached: [`Topics::backlog`]. A message is lost to a subscriber only if none of its
//! neighbours has the message cached any more; they keep it for ten minutes or 16 MiB. A message
//! that no neighbour acknowledged goes to the first neighbour there is (see `receipt`).
//!
//! **Invariants:** only this node's own publishers ever wait for anything; a claim of another node
//! never makes this node drop a neighbour, count a message as seen, or deliver a message that its
//! publisher did not sign; every map, list and queue is bounded.
//!
//! A message carries the time at which it was signed. A node that knows the wall clock drops a
//! message that is older than fifteen minutes or dated more than five minutes ahead. Within that
//! time a node that forgot a publisher (more than 4096 others came since), or never heard of it,
//! takes a replayed message for a new one.

mod asks;
mod broadcast;
mod config;
mod cost;
mod door;
mod events;
mod inputs;
mod overlay;
mod publish;
mod publisher;
mod scores;
mod serve;
mod shared;
mod stats;
mod timer;
mod topic;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;
use potluck_base::{Contact, Deadline, Identity, Instant, Machine, NetworkId, PublicKey, Rng};
use potluck_wire::TopicId;

use crate::message::{Message, MessageId, TopicName};
use crate::view::Cause;

pub use config::{PeerLimits, QueueLimits, TopicsConfig, ViewSizes};
pub use events::{PublishId, TopicAskId, TopicRefusal, TopicServeId, TopicsInput, TopicsOutput};
use publisher::{Publishes, Sequences};
use shared::{Me, Shared};
pub use stats::{DownCounts, TopicsStats};
use topic::Topic;

/// All topics of one node. See the module.
#[derive(Debug)]
pub struct Topics {
    shared: Shared,
    /// Each in a box, since a node of the map has room for eleven values.
    topics: BTreeMap<TopicId, Box<Topic>>,
    publishes: Publishes,
    sequences: Sequences,
    /// The peer that fell silent last, and when.
    silent: Option<(Instant, PublicKey)>,
}

impl Topics {
    /// The topics of a node that is in the system topic only and knows no other node. `incarnation`
    /// must be higher than that of every earlier start; `contact` is the address at which others
    /// reach this node.
    #[must_use]
    pub fn new(
        identity: Identity,
        network: NetworkId,
        incarnation: u64,
        contact: Contact,
        config: TopicsConfig,
        rng: Rng,
    ) -> Self {
        let me = Me { identity, network, incarnation, contact };
        let mut topics = Self {
            shared: Shared::new(me, config, rng),
            topics: BTreeMap::new(),
            publishes: Publishes::default(),
            sequences: Sequences::default(),
            silent: None,
        };
        let system = TopicName::system();
        topics.enter(&system);
        topics.settle(&system.id());
        topics
    }

    /// Sets the address at which others reach this node.
    pub fn set_address(&mut self, address: SocketAddr) {
        self.shared.me.contact.address = address;
    }

    /// In an `invite` network: announcements must carry certificates of this authority, publishers show
    /// one, and this node shows its `own`.
    pub fn require_certificates(&mut self, authority: PublicKey, own: Option<Bytes>) {
        self.shared.require_certificates(authority, own);
    }

    /// The system topic, whose overlay contains all nodes.
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
        topic.map_or_else(Vec::new, |topic| topic.overlay.neighbours().collect())
    }

    /// Whether this node is in `topic` and has no link in it.
    #[must_use]
    pub fn is_alone(&self, topic: &TopicId) -> bool {
        self.topics.get(topic).is_some_and(|topic| topic.overlay.healthy() == 0)
    }

    /// The topics that are subscribed to here, the system's not counted.
    #[must_use]
    pub fn subscriptions(&self) -> Vec<TopicName> {
        let own =
            self.topics.values().filter(|topic| topic.broadcast.is_subscribed() && !topic.system);
        own.map(|topic| topic.broadcast.name().clone()).collect()
    }

    /// Records that a reader of `topic` already has the message `after`, so the next message of its publisher
    /// is the one that follows. The caller reports it if this node does not know it.
    pub fn expect_after(&mut self, topic: &TopicName, after: MessageId) {
        self.with(&topic.id(), |topic, shared| topic.expect_after(shared, &after));
    }

    /// The cached messages of `topic` that follow `after`, in the order of arrival, and whether
    /// that is certainly everything that arrived. If `after` is not cached any more: all cached
    /// messages. Without `after`: none, since the reader missed nothing.
    #[must_use]
    pub fn backlog(&self, topic: &TopicName, after: Option<MessageId>) -> (Vec<Message>, bool) {
        let Some(after) = after else { return (Vec::new(), true) };
        let Some(known) = self.topics.get(&topic.id()) else { return (Vec::new(), false) };
        known.broadcast.backlog(&after)
    }

    /// The peer that delivered a message first, for checkers; `None` if the message is not cached
    /// or is this node's own.
    #[must_use]
    pub fn source_of(&self, topic: &TopicName, message: &MessageId) -> Option<PublicKey> {
        self.topics.get(&topic.id())?.broadcast.source_of(message)
    }

    /// Gauges and counters.
    #[must_use]
    pub fn stats(&self) -> TopicsStats {
        let mut stats = TopicsStats {
            topics: self.topics.len(),
            publishes_waiting: self.publishes.waiting.len(),
            asks: self.shared.pending.len(),
            scores: self.shared.scores.len(),
            unproven: self.shared.unproven.len(),
            ..self.shared.stats
        };
        for topic in self.topics.values() {
            topic.gauge(&mut stats);
        }
        stats
    }

    // --- wiring ---

    /// Runs `act` on one topic.
    fn with<T>(
        &mut self,
        id: &TopicId,
        act: impl FnOnce(&mut Topic, &mut Shared) -> T,
    ) -> Option<T> {
        let topic = self.topics.get_mut(id)?;
        self.shared.missing -= topic.broadcast.missing();
        let result = act(topic, &mut self.shared);
        self.shared.missing += topic.broadcast.missing();
        Some(result)
    }

    /// Carries out everything that follows from a change in a topic.
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
        if self.topics.len() >= self.shared.config.topics_max.max(1) {
            return false;
        }
        let sequence = self.sequences.take(&id);
        let topic = Topic::new(&mut self.shared, name.clone(), sequence);
        self.topics.insert(id, Box::new(topic));
        true
    }

    fn leave(&mut self, id: &TopicId) {
        self.with(id, Topic::leave);
        let Some(topic) = self.topics.remove(id) else { return };
        self.shared.missing -= topic.broadcast.missing();
        self.sequences.note(*id, topic.publisher.next_sequence());
    }

    fn leave_if_over(&mut self, id: &TopicId) {
        let over = |topic: &&mut Box<Topic>| topic.is_over(self.shared.now);
        let Some(topic) = self.topics.get_mut(id).filter(over) else { return };
        let waiting = self.publishes.waiting.iter().any(|waiting| waiting.topic == *id);
        if waiting || topic.has_unacked(self.shared.now) {
            topic.publisher.linger(self.shared.now);
            self.settle(id);
        } else {
            self.leave(id);
        }
    }

    /// Keeps the payload cached in all topics within its limit.
    fn bound_cache(&mut self) {
        loop {
            let total: usize =
                self.topics.values().map(|topic| topic.broadcast.cache_bytes()).sum();
            if total <= self.shared.config.cache_bytes {
                return;
            }
            let largest =
                self.topics.values_mut().max_by_key(|topic| topic.broadcast.cache_bytes());
            let Some(topic) = largest else { return };
            topic.broadcast.drop_oldest();
        }
    }
}

impl Topics {
    /// A member's certificate is known from its record: its messages need not wait for one that shows it.
    fn on_member(&mut self, member: PublicKey, certificate: Bytes) {
        self.shared.door.list(member, certificate);
        if !self.shared.unproven.has(&member) {
            return;
        }
        // Without a certificate beside it a message says nothing but who published it.
        let _ = self.shared.standing(&member, &Bytes::new());
        for id in self.ids() {
            self.with(&id, |topic, shared| topic.broadcast.receive_known(shared));
            self.settle(&id);
        }
    }
}

impl Machine for Topics {
    type Input = TopicsInput;
    type Output = TopicsOutput;

    fn handle(&mut self, now: Instant, input: TopicsInput) {
        self.shared.now = now;
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
                self.with(&system, |topic, shared| topic.overlay.bridge(shared, contact));
                self.settle(&system);
            }
            TopicsInput::Suggested { topic, contacts } => self.on_suggested(&topic, contacts),
            TopicsInput::Found { topic, contacts } => self.on_found(&topic, contacts),
            TopicsInput::Silent(peer) => self.on_silent(&peer),
            TopicsInput::Unreachable(peer) => self.drop_everywhere(&peer, Cause::Crashed),
            TopicsInput::Left(peer) => self.drop_everywhere(&peer, Cause::Left),
            TopicsInput::Certificate(certificate) => self.shared.door.set_own(certificate),
            TopicsInput::Member { member, certificate } => self.on_member(member, certificate),
            TopicsInput::Revoked(subject) => self.shared.door.revoke(subject),
            TopicsInput::OverBudget { publisher, until } => self.shared.hold_off(publisher, until),
            TopicsInput::Resumed => self.on_resumed(),
            TopicsInput::WallClock(wall) => self.shared.wall = Some((now, wall)),
            TopicsInput::Mode(mode) if mode != self.shared.mode => self.on_mode(mode),
            TopicsInput::Mode(_) => {}
            TopicsInput::Leave => {
                self.ids().iter().for_each(|id| self.leave(id));
                self.publishes = Publishes::default();
            }
            TopicsInput::Timeout => {
                self.notice_standstill();
                let due = self
                    .topics
                    .values()
                    .filter(|topic| topic.wake.is_some_and(|wake| wake.at <= now));
                let due: Vec<TopicId> = due.map(|topic| topic.id()).collect();
                self.on_timeout(&due);
            }
        }
        self.admit();
        self.bound_cache();
    }

    fn poll_output(&mut self) -> Option<TopicsOutput> {
        self.shared.out.pop_front()
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
