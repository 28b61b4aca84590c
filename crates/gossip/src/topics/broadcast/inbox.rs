//! The delivery of one topic's messages to this node's subscribers.

use potluck_base::PublicKey;
use potluck_wire::{IdRange, SignedMessage};

use super::super::events::TopicsOutput;
use super::super::shared::Shared;
use super::message_cache::MessageCache;
use super::missing::MissingMessages;
use super::order::{Delivery, DeliveryOrder};
use super::subscription::Subscription;
use crate::message::{Message, MessageId, TopicName};

/// The delivery of messages to this node's subscribers.
#[derive(Debug, Clone)]
pub(super) struct Inbox {
    pub(super) name: TopicName,
    /// Whether messages are delivered as they arrive, as in the system topic.
    unordered: bool,
    /// When this node subscribed; `None` if it did not.
    subscription: Option<Subscription>,
    /// Messages that wait for their turn.
    pub(super) order: DeliveryOrder,
}

impl Inbox {
    pub(super) fn new(shared: &Shared, name: TopicName, system: bool) -> Self {
        let subscription = system.then(|| Subscription::new(shared.now, shared.wall()));
        Self { name, unordered: system, subscription, order: DeliveryOrder::default() }
    }

    pub(super) const fn is_subscribed(&self) -> bool {
        self.subscription.is_some()
    }

    /// Subscribes from now on. False if this node is subscribed already.
    pub(super) fn subscribe(&mut self, shared: &Shared) -> bool {
        let new = self.subscription.is_none();
        if new {
            self.subscription = Some(Subscription::new(shared.now, shared.wall()));
            self.order = DeliveryOrder::default();
        }
        new
    }

    pub(super) const fn unsubscribe(&mut self) {
        self.subscription = None;
    }

    /// A reader has the message `after`: the next one of its publisher follows it.
    pub(super) fn expect_after(&mut self, shared: &Shared, after: &MessageId) {
        if let Some(subscription) = &mut self.subscription {
            subscription.go_on();
            self.order.start_after(shared.now, after);
        }
    }

    /// Delivers a new message when its turn comes. `own`: this node published it.
    pub(super) fn deliver(
        &mut self,
        shared: &mut Shared,
        signed: &SignedMessage,
        own: bool,
        cache: &mut MessageCache,
        missing: &MissingMessages,
    ) {
        let id = MessageId::from(signed);
        let Some(subscription) = &self.subscription else { return cache.note_delivered(id) };
        let message = Message { topic: self.name.clone(), id, payload: signed.payload.clone() };
        if self.unordered || own {
            return self.emit(shared, cache, vec![Delivery::Message(message)]);
        }
        let announced = |incarnation| missing.first_of(&id.publisher, incarnation);
        let deliveries = if subscription.is_after(signed.at, shared.now, shared.wall()) {
            shared.stats.before_subscription += 1;
            cache.note_delivered(id);
            self.order.skip_before(shared.now, &id, announced)
        } else {
            self.order.on_message(shared.now, message, announced)
        };
        self.emit(shared, cache, deliveries);
    }

    /// A message that arrived will not be delivered.
    pub(super) fn on_dropped(
        &mut self,
        shared: &mut Shared,
        id: MessageId,
        cache: &mut MessageCache,
        missing: &MissingMessages,
    ) {
        if !self.is_subscribed() || self.unordered {
            return;
        }
        let announced = |incarnation| missing.first_of(&id.publisher, incarnation);
        let deliveries = self.order.on_lost(shared.now, id, announced);
        self.emit(shared, cache, deliveries);
    }

    /// Handles the gaps that are due: gives them up, or returns the messages to ask for. `alone`:
    /// there is no link to ask over.
    pub(super) fn on_timer(
        &mut self,
        shared: &mut Shared,
        alone: bool,
        cache: &mut MessageCache,
        missing: &MissingMessages,
    ) -> Vec<IdRange> {
        let announced = |publisher: &PublicKey, run| missing.first_of(publisher, run);
        let (deliveries, wanted) = self.order.on_timeout(shared.now, alone, announced);
        self.emit(shared, cache, deliveries);
        wanted
    }

    fn emit(&self, shared: &mut Shared, cache: &mut MessageCache, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            let output = match delivery {
                Delivery::Message(message) => {
                    shared.stats.delivered += 1;
                    cache.note_delivered(message.id);
                    TopicsOutput::Deliver(message)
                }
                Delivery::Missed(missed) => {
                    shared.stats.missed += missed;
                    TopicsOutput::Missed { topic: self.name.clone(), missed }
                }
            };
            shared.out.push_back(output);
        }
    }
}
