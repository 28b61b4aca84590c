//! Who took this node's own messages.
//!
//! Every push is answered, so a publisher knows whether anybody has its message: one that nobody has
//! taken goes to the first neighbour that there is, before all else; and whoever wants to know how many
//! took it is told as soon as all that it went to have answered, or after [`COUNT_WAIT`].
//!
//! **Invariant:** what nobody has taken is bounded, and kept no longer than any other message.

use std::collections::BTreeSet;
use std::time::Duration;

use potluck_base::{Instant, PublicKey};
use potluck_wire::SignedMessage;

use super::events::{PublishId, TopicsOutput};
use super::message_cache::CACHE_LIFE;
use super::neighbour::Neighbour;
use super::order::Delivery;
use super::shared::Shared;
use super::topic::Topic;
use crate::message::{Message, MessageId};

/// Messages that nobody has taken and that are remembered as such; of others neighbours hear the names.
const UNTAKEN_MAX: usize = 1_024;
/// How long whoever published a message waits for the count of those who took it.
const COUNT_WAIT: Duration = Duration::from_secs(1);
/// Messages whose takers are counted at once; with more the oldest is answered early.
const RECEIPTS_MAX: usize = 256;
/// Neighbours asked at once for messages that are missing.
const ASKED_PEERS: usize = 2;

/// A message whose takers are counted.
#[derive(Debug, Clone)]
pub(super) struct Receipt {
    publish: PublishId,
    message: MessageId,
    /// It was pushed to these, and they have not answered.
    open: BTreeSet<PublicKey>,
    acked: BTreeSet<PublicKey>,
    /// There was no link when it was published: all that are being asked for one are waited for.
    alone: bool,
    pub(super) until: Instant,
}

impl Topic {
    /// Nobody has taken a message of this node's own that is about to go out.
    pub(super) fn note_unacked(&mut self, id: MessageId) {
        self.unacked.insert(id);
        if self.unacked.len() > UNTAKEN_MAX {
            self.unacked.pop_first();
        }
    }

    /// A neighbour has these.
    pub(super) fn note_acked(&mut self, peer: &PublicKey, ids: &[MessageId]) {
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

    /// A new neighbour gets what nobody has taken, if it was in the topic when that was published.
    pub(super) fn push_unacked(&mut self, shared: &Shared<'_>, peer: &PublicKey) {
        let Some(neighbour) = self.active_view.get_mut(peer) else { return };
        // So that all are counted who are found now, what some of them took goes to the others, too.
        let counted = self.receipts.iter().filter(|receipt| receipt.alone);
        let counted: BTreeSet<MessageId> = counted.map(|receipt| receipt.message).collect();
        for id in self.unacked.union(&counted) {
            let Some(cached) = self.cache.get(id).filter(|cached| cached.at >= neighbour.joined)
            else {
                continue;
            };
            if neighbour.queue.push_repair(shared.config, *id, cached.bytes.clone()) {
                let receipts = self.receipts.iter_mut();
                receipts.filter(|receipt| receipt.message == *id).for_each(|receipt| {
                    receipt.open.insert(*peer);
                });
            }
        }
    }

    /// Whether this node stays in the topic since it has messages there that nobody took, and may be cut
    /// off from those who would.
    pub(super) fn has_unacked(&mut self, now: Instant) -> bool {
        let cache = &self.cache;
        let cached =
            |id: &MessageId| cache.get(id).is_some_and(|cached| now.since(cached.at) < CACHE_LIFE);
        self.unacked.retain(cached);
        !self.unacked.is_empty() && self.healthy() == 0 && self.passive_view.len() > 0
    }

    /// Whether this node has looked for others of the topic and asks nobody for a link now.
    pub(super) fn has_searched(&self) -> bool {
        self.searched && self.attempts.is_empty()
    }

    /// Counts who takes a message that was just published.
    pub(super) fn count_acks(
        &mut self,
        shared: &Shared<'_>,
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

    /// Answers those whose takers are known, and those who waited long enough.
    pub(super) fn answer_receipts(&mut self, shared: &mut Shared<'_>) {
        if self.receipts.is_empty() {
            return;
        }
        let (nobody, looks) = (self.healthy() == 0, !self.has_searched());
        let healthy =
            |peer: &PublicKey| self.active_view.get(peer).is_some_and(Neighbour::is_healthy);
        let mut surplus = self.receipts.len().saturating_sub(RECEIPTS_MAX);
        self.receipts.retain_mut(|receipt| {
            receipt.open.retain(|peer| healthy(peer));
            let known = receipt.open.is_empty() && !(looks && (receipt.alone || nobody));
            if !known && receipt.until > shared.now && surplus == 0 {
                return true;
            }
            surplus = surplus.saturating_sub(1);
            shared.out.push_back(receipt.answer());
            false
        });
    }

    /// Answers all of them: this node leaves the topic.
    pub(super) fn end_receipts(&mut self, shared: &mut Shared<'_>) {
        self.receipts.drain(..).for_each(|receipt| shared.out.push_back(receipt.answer()));
    }

    // --- subscribers ---

    /// Gives a new message to this node's subscribers, in its turn.
    pub(super) fn deliver(
        &mut self,
        shared: &mut Shared<'_>,
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
        let deliveries = if self.subscription.is_after(signed.at, shared.now, shared.wall) {
            shared.stats.before_subscription += 1;
            self.cache.note_delivered(id);
            self.delivery_order.skip_before(shared.now, &id, announced)
        } else {
            self.delivery_order.on_message(shared.now, message, announced)
        };
        self.emit(shared, deliveries);
    }

    /// A message that came will not be given to anybody.
    pub(super) fn on_dropped(&mut self, shared: &mut Shared<'_>, id: MessageId) {
        if !self.subscribed || self.system {
            return;
        }
        let missing = &self.missing;
        let announced = |incarnation| missing.first_of(&id.publisher, incarnation);
        let deliveries = self.delivery_order.on_lost(shared.now, id, announced);
        self.emit(shared, deliveries);
    }

    /// Looks what is missing: asks for it, or waits for it no longer.
    pub(super) fn check_order(&mut self, shared: &mut Shared<'_>) {
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

    fn emit(&mut self, shared: &mut Shared<'_>, deliveries: Vec<Delivery>) {
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
