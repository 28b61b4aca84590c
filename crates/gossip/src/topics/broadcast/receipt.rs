//! Acknowledgements of this node's own messages.
//!
//! Every push is answered, so a publisher knows whether any neighbour has its message. A message
//! without an acknowledgement goes to the first new neighbour, before all others. The number of
//! acknowledgements is reported as soon as all neighbours that got the message have answered, or
//! after [`COUNT_WAIT`].
//!
//! **Invariant:** unacknowledged messages are bounded in number, and cached no longer than any
//! other message.

use std::collections::BTreeSet;
use std::time::Duration;

use potluck_base::{Instant, PublicKey};
use potluck_wire::SignedMessage;

use super::super::events::{PublishId, TopicsOutput};
use super::super::neighbour::Neighbour;
use super::super::shared::Shared;
use super::super::topic::Topic;
use super::message_cache::CACHE_LIFE;
use super::order::Delivery;
use crate::message::{Message, MessageId};

/// Unacknowledged messages remembered; further ones are announced to a new neighbour like all
/// others.
const UNACKED_MAX: usize = 1_024;
/// How long a publisher waits for the count of acknowledgements. A higher value counts slower
/// neighbours too.
const COUNT_WAIT: Duration = Duration::from_secs(1);
/// Messages whose acknowledgements are counted at once; beyond it the oldest is reported early.
const RECEIPTS_MAX: usize = 256;
/// Neighbours asked at once for missing messages.
const ASKED_PEERS: usize = 2;

/// A message whose acknowledgements are counted.
#[derive(Debug, Clone)]
pub(in crate::topics) struct Receipt {
    publish: PublishId,
    message: MessageId,
    /// Neighbours that got it and have not answered.
    open: BTreeSet<PublicKey>,
    acked: BTreeSet<PublicKey>,
    /// There was no link when it was published: every link request in flight is waited for.
    alone: bool,
    pub(in crate::topics) until: Instant,
}

impl Topic {
    /// Remembers a message of this node's own that is about to be sent.
    pub(in crate::topics) fn note_unacked(&mut self, id: MessageId) {
        self.unacked.insert(id);
        if self.unacked.len() > UNACKED_MAX {
            self.unacked.pop_first();
        }
    }

    /// A neighbour has these messages.
    pub(in crate::topics) fn note_acked(&mut self, peer: &PublicKey, ids: &[MessageId]) {
        if !self.unacked.is_empty() {
            ids.iter().for_each(|id| {
                self.unacked.remove(id);
            });
        }
        for receipt in &mut self.receipts {
            if ids.contains(&receipt.message) {
                receipt.open.remove(peer);
                receipt.acked.insert(*peer);
            }
        }
    }

    /// A new neighbour gets the unacknowledged messages that were published since it joined the
    /// topic.
    pub(in crate::topics) fn push_unacked(&mut self, shared: &Shared, peer: &PublicKey) {
        let Some(neighbour) = self.active_view.get_mut(peer) else { return };
        // A counted message goes to every new neighbour, although another one acknowledged it, so
        // that all of them are counted.
        let counted = self.receipts.iter().filter(|receipt| receipt.alone);
        let counted: BTreeSet<MessageId> = counted.map(|receipt| receipt.message).collect();
        for id in self.unacked.union(&counted) {
            let Some(cached) = self.cache.get(id).filter(|cached| cached.at >= neighbour.joined)
            else {
                continue;
            };
            if neighbour.queue.push_repair(&&shared.config, *id, cached.bytes.clone()) {
                let receipts = self.receipts.iter_mut();
                receipts.filter(|receipt| receipt.message == *id).for_each(|receipt| {
                    receipt.open.insert(*peer);
                });
            }
        }
    }

    /// Whether this node stays in the topic because it has unacknowledged messages and may be
    /// isolated from the other nodes.
    pub(in crate::topics) fn has_unacked(&mut self, now: Instant) -> bool {
        let cache = &self.cache;
        let cached =
            |id: &MessageId| cache.get(id).is_some_and(|cached| now.since(cached.at) < CACHE_LIFE);
        self.unacked.retain(cached);
        !self.unacked.is_empty() && self.healthy() == 0 && self.passive_view.len() > 0
    }

    /// Whether this node has searched for others of the topic and has no link request in flight.
    pub(in crate::topics) fn has_searched(&self) -> bool {
        self.searched && self.attempts.is_empty()
    }

    /// Counts the acknowledgements of a message that was just published.
    pub(in crate::topics) fn count_acks(
        &mut self,
        shared: &Shared,
        publish: PublishId,
        message: MessageId,
    ) {
        let tree = self.tree_of(message.publisher, message.sequence);
        let pushed = self.active_view.iter().filter(|(_, neighbour)| neighbour.is_eager(tree));
        let open = pushed.map(|(peer, _)| *peer).collect();
        let (acked, until) = (BTreeSet::new(), shared.now + COUNT_WAIT);
        let alone = self.healthy() == 0;
        self.receipts.push_back(Receipt { publish, message, open, acked, alone, until });
    }

    /// Reports the counts that are complete or due.
    pub(in crate::topics) fn answer_receipts(&mut self, shared: &mut Shared) {
        if self.receipts.is_empty() {
            return;
        }
        let (no_links, searching) = (self.healthy() == 0, !self.has_searched());
        let healthy =
            |peer: &PublicKey| self.active_view.get(peer).is_some_and(Neighbour::is_healthy);
        let mut surplus = self.receipts.len().saturating_sub(RECEIPTS_MAX);
        self.receipts.retain_mut(|receipt| {
            receipt.open.retain(|peer| healthy(peer));
            let known = receipt.open.is_empty() && !(searching && (receipt.alone || no_links));
            if !known && receipt.until > shared.now && surplus == 0 {
                return true;
            }
            surplus = surplus.saturating_sub(1);
            shared.out.push_back(receipt.answer());
            false
        });
    }

    /// Reports all counts: this node leaves the topic.
    pub(in crate::topics) fn end_receipts(&mut self, shared: &mut Shared) {
        self.receipts.drain(..).for_each(|receipt| shared.out.push_back(receipt.answer()));
    }

    // --- subscribers ---

    /// Delivers a new message to this node's subscribers when its turn comes.
    pub(in crate::topics) fn deliver(
        &mut self,
        shared: &mut Shared,
        id: MessageId,
        signed: &SignedMessage,
        own: bool,
    ) {
        if !self.subscribed {
            return self.cache.note_delivered(id);
        }
        let payload = signed.payload.clone();
        let message = Message { topic: self.name.clone(), id, payload };
        if self.system || own {
            return self.emit(shared, vec![Delivery::Message(message)]);
        }
        let missing = &self.missing;
        let announced = |incarnation| missing.first_of(&id.publisher, incarnation);
        let deliveries = if self.subscription.is_after(signed.at, shared.now, shared.wall()) {
            shared.stats.before_subscription += 1;
            self.cache.note_delivered(id);
            self.delivery_order.skip_before(shared.now, &id, announced)
        } else {
            self.delivery_order.on_message(shared.now, message, announced)
        };
        self.emit(shared, deliveries);
    }

    /// A message that arrived will not be delivered.
    pub(in crate::topics) fn on_dropped(&mut self, shared: &mut Shared, id: MessageId) {
        if !self.subscribed || self.system {
            return;
        }
        let missing = &self.missing;
        let announced = |incarnation| missing.first_of(&id.publisher, incarnation);
        let deliveries = self.delivery_order.on_lost(shared.now, id, announced);
        self.emit(shared, deliveries);
    }

    /// Handles the gaps that are due: asks for the missing messages, or gives them up.
    pub(in crate::topics) fn check_order(&mut self, shared: &mut Shared) {
        if self.delivery_order.next().is_none_or(|at| at > shared.now) {
            return;
        }
        let alone = self.healthy() == 0;
        let missing = &self.missing;
        let announced = |publisher: &PublicKey, run| missing.first_of(publisher, run);
        let (deliveries, wanted) = self.delivery_order.on_timeout(shared.now, alone, announced);
        self.emit(shared, deliveries);
        if wanted.is_empty() {
            return;
        }
        let mut asked = BTreeSet::new();
        for _ in 0..ASKED_PEERS {
            asked.extend(self.random_neighbour(shared, None));
        }
        for peer in asked {
            self.graft(shared, &peer, wanted.clone(), None);
        }
    }

    fn emit(&mut self, shared: &mut Shared, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            let output = match delivery {
                Delivery::Message(message) => {
                    shared.stats.delivered += 1;
                    self.cache.note_delivered(message.id);
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

impl Receipt {
    fn answer(&self) -> TopicsOutput {
        let Self { publish, message, acked, .. } = self;
        TopicsOutput::Acknowledged { publish: *publish, message: *message, neighbours: acked.len() }
    }
}
