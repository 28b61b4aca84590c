//! Publishes of this node: they wait while the links of their topic are full.
//!
//! **Invariant:** only this node's own publishers ever wait. Messages of others are forwarded or
//! dropped at once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, Signature};
use potluck_wire::{SignedMessage, TopicId};

use super::Topics;
use super::broadcast::seen::Novelty;
use super::events::{PublishId, TopicRefusal, TopicsOutput};
use super::shared::Shared;
use super::topic::Topic;
use crate::message::{MessageId, PAYLOAD_BYTES_MAX, TopicName};

/// With fewer queued messages than this, a link has room for another one of this node's own. A
/// higher value publishes more in bursts and delays later messages.
const HIGH_WATER: usize = 64;
/// How long publishes beyond the high-water mark wait for the first link of a topic.
const ALONE_WAIT: Duration = Duration::from_secs(5);
/// How long a node stays in a topic after it published there.
pub(super) const LINGER: Duration = Duration::from_secs(60);
/// Pause after the publish rate of this node is used up.
const RATE_PAUSE: Duration = Duration::from_millis(100);

/// A queued publish.
#[derive(Debug, Clone)]
pub(super) struct QueuedPublish {
    pub(super) publish: PublishId,
    pub(super) topic: TopicId,
    pub(super) payload: Bytes,
    /// Whether acknowledgements are counted.
    pub(super) counted: bool,
}

/// Whether a message can be published now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Capacity {
    /// Yes.
    Now,
    /// After the next answer, or at this time.
    At(Instant),
}

/// All queued publishes.
#[derive(Debug, Clone, Default)]
pub(super) struct Publishes {
    pub(super) waiting: VecDeque<QueuedPublish>,
    /// When to look again.
    pub(super) retry_at: Option<Instant>,
}

impl Topics {
    pub(super) fn on_publish(
        &mut self,
        publish: PublishId,
        name: &TopicName,
        payload: Bytes,
        counted: bool,
    ) {
        if name.is_reserved() {
            self.refuse(publish, TopicRefusal::Reserved);
        } else {
            self.queue(publish, name, payload, counted);
        }
    }

    pub(super) fn on_broadcast(&mut self, publish: PublishId, payload: Bytes) {
        self.queue(publish, &TopicName::system(), payload, false);
    }

    fn refuse(&mut self, publish: PublishId, why: TopicRefusal) {
        self.shared.stats.publishes_refused += 1;
        self.shared.out.push_back(TopicsOutput::PublishRefused { publish, why });
    }

    fn queue(&mut self, publish: PublishId, name: &TopicName, payload: Bytes, counted: bool) {
        let topic = name.id();
        let entered = !self.topics.contains_key(&topic);
        if payload.len() > PAYLOAD_BYTES_MAX {
            return self.refuse(publish, TopicRefusal::TooLong);
        }
        if self.publishes.waiting.len() >= self.shared.config.publishes_max {
            return self.refuse(publish, TopicRefusal::Busy);
        }
        if !self.enter(name) {
            return self.refuse(publish, TopicRefusal::TooManyTopics);
        }
        if let Some(known) = self.topics.get_mut(&topic).filter(|topic| !topic.subscribed) {
            known.publishing_until = Some(self.shared.now + LINGER);
        }
        self.publishes.waiting.push_back(QueuedPublish { publish, topic, payload, counted });
        if entered {
            self.on_timeout(&[topic]);
        }
    }

    /// Publishes what there is room for, in order within each topic.
    pub(super) fn admit(&mut self) {
        self.publishes.retry_at = None;
        if self.publishes.waiting.is_empty() {
            return;
        }
        let mut blocked: BTreeMap<TopicId, Instant> = BTreeMap::new();
        let mut remaining = VecDeque::new();
        for waiting in std::mem::take(&mut self.publishes.waiting) {
            let id = waiting.topic;
            if blocked.contains_key(&id) {
                remaining.push_back(waiting);
                continue;
            }
            let mut waiting = Some(waiting);
            let capacity = self.with(&id, |topic, shared| {
                let tree = topic.tree_of(shared.me.contact.public_key, topic.next_sequence);
                topic.keep_child(shared.now, tree, None);
                let capacity = topic.capacity(shared);
                if capacity == Capacity::Now
                    && let Some(waiting) = waiting.take()
                {
                    topic.publish(shared, waiting);
                    topic.settle(shared);
                }
                capacity
            });
            if let Some(Capacity::At(at)) = capacity {
                blocked.insert(id, at);
                remaining.extend(waiting);
            }
        }
        self.publishes.waiting = remaining;
        self.publishes.retry_at = blocked.values().min().copied();
    }
}

impl Topic {
    /// Whether the links have room for a message of this node's own.
    pub(super) fn capacity(&self, shared: &Shared) -> Capacity {
        let now = shared.now;
        if self.healthy() == 0 {
            // The first ones are published at once: to subscribers here, and to the first link.
            // More than that link has room for wait until it is known whether there is one.
            let until = self.joined + ALONE_WAIT;
            let waits = self.unacked.len() >= HIGH_WATER && !self.has_searched() && now < until;
            return if waits { Capacity::At(until) } else { Capacity::Now };
        }
        if now < self.publish_from {
            return Capacity::At(self.publish_from);
        }
        let tree = self.tree_of(shared.me.contact.public_key, self.next_sequence);
        self.active_view
            .values()
            .filter(|neighbour| neighbour.is_eager(tree))
            .filter_map(|neighbour| neighbour.blocks_until(now, HIGH_WATER))
            .max()
            .map_or(Capacity::Now, Capacity::At)
    }

    /// Publishes a message.
    pub(super) fn publish(&mut self, shared: &mut Shared, waiting: QueuedPublish) {
        let QueuedPublish { publish, payload, counted, .. } = waiting;
        let (me, sequence) = (&shared.me, self.next_sequence);
        self.next_sequence += 1;
        if !self.subscribed {
            self.publishing_until = Some(shared.now + LINGER);
        }
        let at = shared.wall().unwrap_or_default();
        let message = if shared.config.verify {
            let (context, place) = ((&me.network, self.id), (me.incarnation, sequence));
            SignedMessage::sign(&me.identity, context, place, at, payload)
        } else {
            SignedMessage {
                publisher: me.contact.public_key,
                incarnation: me.incarnation,
                sequence,
                at,
                payload,
                signature: Signature::from_bytes([0; 64]),
            }
        };
        let id = MessageId::from(&message);
        // Other nodes count this node's messages too; it stays within their limit.
        let limit = shared.limits().publisher;
        if self.seen.insert(shared.now, &id, limit.bucket()) == Novelty::OverRate
            || self.seen.is_at_limit(shared.now, &id.publisher, limit.burst)
        {
            self.publish_from = shared.now + RATE_PAUSE;
        }
        shared.stats.published += 1;
        if !counted {
            shared.out.push_back(TopicsOutput::Published { publish, message: id });
        }
        let bytes = message.encode();
        self.note_unacked(id);
        self.disseminate(shared, &message, bytes, None);
        if counted {
            self.count_acks(shared, publish, id);
        }
    }
}
