//! Publishes of this node: they wait while the links of their topic are full.
//!
//! **Invariant:** only this node's own publishers ever wait. What others publish is passed on or
//! left out at once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, Signature};
use potluck_wire::{SignedMessage, TopicId};

use super::Topics;
use super::asks::World;
use super::events::{PublishId, TopicRefusal, TopicsOutput};
use super::seen::Noted;
use super::topic::Topic;
use crate::message::{MessageId, PAYLOAD_BYTES_MAX, TopicName};

/// Below so many waiting messages a link has room for another of this node's own.
const HIGH_WATER: usize = 64;
/// How long many publishes wait for the first link of a topic.
const ALONE_PATIENCE: Duration = Duration::from_secs(5);
/// How long a node stays in a topic after it published there.
pub(super) const STAY: Duration = Duration::from_secs(60);
/// When to look again after the rate of the network's publishers was used up.
const RATE_PAUSE: Duration = Duration::from_millis(100);

/// A publish that waits.
#[derive(Debug, Clone)]
pub(super) struct Waiting {
    pub(super) publish: PublishId,
    pub(super) topic: TopicId,
    pub(super) payload: Bytes,
    /// Whether it is to be said how many neighbours took it.
    pub(super) counted: bool,
}

/// Whether something can be published now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    /// Yes.
    Now,
    /// Not before an answer comes, or then.
    At(Instant),
}

/// All publishes that wait.
#[derive(Debug, Clone, Default)]
pub(super) struct Publishes {
    pub(super) waiting: VecDeque<Waiting>,
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
        self.stats.publishes_refused += 1;
        self.outbox.push_back(TopicsOutput::PublishRefused { publish, why });
    }

    fn queue(&mut self, publish: PublishId, name: &TopicName, payload: Bytes, counted: bool) {
        let topic = name.id();
        let entered = !self.topics.contains_key(&topic);
        if payload.len() > PAYLOAD_BYTES_MAX {
            return self.refuse(publish, TopicRefusal::TooLong);
        }
        if self.publishes.waiting.len() >= self.config.publishes_max {
            return self.refuse(publish, TopicRefusal::Busy);
        }
        if !self.enter(name) {
            return self.refuse(publish, TopicRefusal::TooManyTopics);
        }
        if let Some(known) = self.topics.get_mut(&topic).filter(|topic| !topic.subscribed) {
            known.publishing_until = Some(self.now + STAY);
        }
        self.publishes.waiting.push_back(Waiting { publish, topic, payload, counted });
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
        let mut kept = VecDeque::new();
        for waiting in std::mem::take(&mut self.publishes.waiting) {
            let id = waiting.topic;
            if blocked.contains_key(&id) {
                kept.push_back(waiting);
                continue;
            }
            let mut waiting = Some(waiting);
            let room = self.with(&id, |topic, world| {
                let tree = topic.tree_of(world.me.contact.public_key, topic.next_sequence);
                topic.keep_child(world.now, tree, None);
                let room = topic.room(world);
                if room == Room::Now
                    && let Some(waiting) = waiting.take()
                {
                    topic.publish(world, waiting);
                    topic.settle(world);
                }
                room
            });
            if let Some(Room::At(at)) = room {
                blocked.insert(id, at);
                kept.extend(waiting);
            }
        }
        self.publishes.waiting = kept;
        self.publishes.retry_at = blocked.values().min().copied();
    }
}

impl Topic {
    /// Whether the links have room for a message of this node's own.
    pub(super) fn room(&self, world: &World<'_>) -> Room {
        let now = world.now;
        if self.healthy() == 0 {
            // The first ones go at once: to subscribers here, and to the first link that there is. So many
            // that they would not fit there wait until it is known whether there is one.
            let until = self.joined + ALONE_PATIENCE;
            let waits = self.untaken.len() >= HIGH_WATER && !self.has_searched() && now < until;
            return if waits { Room::At(until) } else { Room::Now };
        }
        if now < self.publish_from {
            return Room::At(self.publish_from);
        }
        let tree = self.tree_of(world.me.contact.public_key, self.next_sequence);
        self.active
            .values()
            .filter(|neighbour| neighbour.is_pushed(tree))
            .filter_map(|neighbour| neighbour.blocks_until(now, HIGH_WATER))
            .max()
            .map_or(Room::Now, Room::At)
    }

    /// Publishes a message.
    pub(super) fn publish(&mut self, world: &mut World<'_>, waiting: Waiting) {
        let Waiting { publish, payload, counted, .. } = waiting;
        let (me, sequence) = (world.me, self.next_sequence);
        self.next_sequence += 1;
        if !self.subscribed {
            self.publishing_until = Some(world.now + STAY);
        }
        let at = world.wall.unwrap_or_default();
        let message = if world.config.verify {
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
        // The others count this node's messages too: it stays within what they allow.
        let limit = world.limits().publisher;
        if self.seen.insert(world.now, &id, limit.bucket()) == Noted::OverRate
            || self.seen.is_at_limit(world.now, &id.publisher, limit.burst)
        {
            self.publish_from = world.now + RATE_PAUSE;
        }
        world.stats.published += 1;
        if !counted {
            world.out.push_back(TopicsOutput::Published { publish, message: id });
        }
        let bytes = message.encode();
        self.note_untaken(id);
        self.spread(world, &message, bytes, None);
        if counted {
            self.count_takers(world, publish, id);
        }
    }
}
