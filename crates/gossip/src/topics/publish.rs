//! Publishes of this node: they wait while the links of their topic are full.
//!
//! **Invariant:** only this node's own publishers ever wait. Messages of others are forwarded or
//! dropped at once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, Signature};
use potluck_wire::{MessageHead, SignedMessage, TopicId};

use super::Topics;
use super::events::{PublishId, TopicRefusal, TopicsOutput};
use super::publisher::QueuedPublish;
use super::shared::Shared;
use super::topic::Topic;
use crate::message::{MessageId, PAYLOAD_BYTES_MAX, TopicName};

/// How long publishes beyond the high-water mark wait for the first link of a topic.
const ALONE_WAIT: Duration = Duration::from_secs(5);

/// Whether a message can be published now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Capacity {
    /// Yes.
    Now,
    /// After the next answer, or at this time.
    At(Instant),
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
        if let Some(known) =
            self.topics.get_mut(&topic).filter(|topic| !topic.broadcast.is_subscribed())
        {
            known.publisher.linger(self.shared.now);
        }
        self.publishes.waiting.push_back(QueuedPublish { publish, topic, payload, counted });
        if entered {
            self.on_timeout(&[topic]);
        }
    }

    /// Publishes the messages for which there is room, in order within each topic.
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
                let (me, next) = (shared.me.contact.public_key, topic.publisher.next_sequence());
                topic.broadcast.keep_own_child(shared.now, me, next);
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
    fn capacity(&self, shared: &Shared) -> Capacity {
        let now = shared.now;
        if self.overlay.healthy() == 0 {
            // The first ones are published at once: to subscribers here, and to the first link.
            // More than that link has room for wait until it is known whether there is one.
            let until = self.overlay.joined() + ALONE_WAIT;
            let waits =
                self.broadcast.has_many_unacked() && !self.overlay.has_searched() && now < until;
            return if waits { Capacity::At(until) } else { Capacity::Now };
        }
        if let Some(until) = self.publisher.paused_until(now) {
            return Capacity::At(until);
        }
        let (me, next) = (shared.me.contact.public_key, self.publisher.next_sequence());
        self.broadcast.blocked_until(now, me, next).map_or(Capacity::Now, Capacity::At)
    }

    /// Publishes a message.
    fn publish(&mut self, shared: &mut Shared, waiting: QueuedPublish) {
        let QueuedPublish { publish, payload, counted, .. } = waiting;
        let (me, sequence) = (&shared.me, self.publisher.take_sequence());
        if !self.broadcast.is_subscribed() {
            self.publisher.linger(shared.now);
        }
        let at = shared.wall().unwrap_or_default();
        let message = if shared.config.verify {
            let head = MessageHead {
                network: &me.network,
                topic: self.id(),
                incarnation: me.incarnation,
                sequence,
                at,
            };
            SignedMessage::sign(&me.identity, &head, payload)
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
        let rate = self.broadcast.publisher_rate(shared);
        if !self.broadcast.count_own(shared.now, &id, rate) {
            self.publisher.pause(shared.now);
        }
        shared.stats.published += 1;
        if !counted {
            shared.out.push_back(TopicsOutput::Published { publish, message: id });
        }
        self.broadcast.publish(shared, &message, counted.then_some(publish));
    }
}
