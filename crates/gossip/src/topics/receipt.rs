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

use super::asks::World;
use super::events::{PublishId, TopicsOutput};
use super::history::KEPT_FOR;
use super::neighbour::Neighbour;
use super::order::Given;
use super::topic::Topic;
use crate::message::{Message, MessageId};

/// Messages that nobody has taken and that are remembered as such; of others neighbours hear the names.
const UNTAKEN_MAX: usize = 1_024;
/// How long whoever published a message waits for the count of those who took it.
const COUNT_WAIT: Duration = Duration::from_secs(1);
/// Messages whose takers are counted at once; with more the oldest is answered early.
const RECEIPTS_MAX: usize = 256;
/// Neighbours asked at once for messages that are missing.
const ASKED: usize = 2;

/// A message whose takers are counted.
#[derive(Debug, Clone)]
pub(super) struct Receipt {
    publish: PublishId,
    message: MessageId,
    /// It was pushed to these, and they have not answered.
    open: BTreeSet<PublicKey>,
    taken: BTreeSet<PublicKey>,
    /// There was no link when it was published: all that are being asked for one are waited for.
    alone: bool,
    pub(super) until: Instant,
}

impl Topic {
    /// Nobody has taken a message of this node's own that is about to go out.
    pub(super) fn note_untaken(&mut self, id: MessageId) {
        self.untaken.insert(id);
        if self.untaken.len() > UNTAKEN_MAX {
            self.untaken.pop_first();
        }
    }

    /// A neighbour has these.
    pub(super) fn note_taken(&mut self, peer: &PublicKey, ids: &[MessageId]) {
        if !self.untaken.is_empty() {
            ids.iter().for_each(|id| {
                self.untaken.remove(id);
            });
        }
        for receipt in &mut self.receipts {
            if ids.contains(&receipt.message) {
                receipt.open.remove(peer);
                receipt.taken.insert(*peer);
            }
        }
    }

    /// A new neighbour gets what nobody has taken, if it was in the topic when that was published.
    pub(super) fn push_untaken(&mut self, world: &World<'_>, peer: &PublicKey) {
        let Some(neighbour) = self.active.get_mut(peer) else { return };
        // So that all are counted who are found now, what some of them took goes to the others, too.
        let counted = self.receipts.iter().filter(|receipt| receipt.alone);
        let counted: BTreeSet<MessageId> = counted.map(|receipt| receipt.message).collect();
        for id in self.untaken.union(&counted) {
            let Some(kept) = self.history.get(id).filter(|kept| kept.at >= neighbour.joined) else {
                continue;
            };
            if neighbour.outbox.repair(world.config, *id, kept.bytes.clone()) {
                let receipts = self.receipts.iter_mut();
                receipts.filter(|receipt| receipt.message == *id).for_each(|receipt| {
                    receipt.open.insert(*peer);
                });
            }
        }
    }

    /// Whether this node stays in the topic since it has messages there that nobody took, and may be cut
    /// off from those who would.
    pub(super) fn owes(&mut self, now: Instant) -> bool {
        let history = &self.history;
        let kept =
            |id: &MessageId| history.get(id).is_some_and(|kept| now.since(kept.at) < KEPT_FOR);
        self.untaken.retain(kept);
        !self.untaken.is_empty() && self.healthy() == 0 && self.passive.len() > 0
    }

    /// Whether this node has looked for others of the topic and asks nobody for a link now.
    pub(super) fn has_searched(&self) -> bool {
        self.searched && self.attempts.is_empty()
    }

    /// Counts who takes a message that was just published.
    pub(super) fn count_takers(
        &mut self,
        world: &World<'_>,
        publish: PublishId,
        message: MessageId,
    ) {
        let tree = self.tree_of(message.publisher, message.sequence);
        let pushed = self.active.iter().filter(|(_, neighbour)| neighbour.is_pushed(tree));
        let open = pushed.map(|(peer, _)| *peer).collect();
        let (taken, until) = (BTreeSet::new(), world.now + COUNT_WAIT);
        let alone = self.healthy() == 0;
        self.receipts.push_back(Receipt { publish, message, open, taken, alone, until });
    }

    /// Answers those whose takers are known, and those who waited long enough.
    pub(super) fn answer_receipts(&mut self, world: &mut World<'_>) {
        if self.receipts.is_empty() {
            return;
        }
        let (nobody, looks) = (self.healthy() == 0, !self.has_searched());
        let healthy = |peer: &PublicKey| self.active.get(peer).is_some_and(Neighbour::is_healthy);
        let mut surplus = self.receipts.len().saturating_sub(RECEIPTS_MAX);
        self.receipts.retain_mut(|receipt| {
            receipt.open.retain(|peer| healthy(peer));
            let known = receipt.open.is_empty() && !(looks && (receipt.alone || nobody));
            if !known && receipt.until > world.now && surplus == 0 {
                return true;
            }
            surplus = surplus.saturating_sub(1);
            world.out.push_back(receipt.answer());
            false
        });
    }

    /// Answers all of them: this node leaves the topic.
    pub(super) fn end_receipts(&mut self, world: &mut World<'_>) {
        self.receipts.drain(..).for_each(|receipt| world.out.push_back(receipt.answer()));
    }

    // --- subscribers ---

    /// Gives a new message to this node's subscribers, in its turn.
    pub(super) fn hand_out(
        &mut self,
        world: &mut World<'_>,
        id: MessageId,
        signed: &SignedMessage,
        own: bool,
    ) {
        if !self.subscribed {
            return self.history.tell(id);
        }
        let payload = signed.payload.clone();
        let message = Message { topic: self.name.clone(), id, payload };
        if self.system || own {
            return self.give(world, vec![Given::Message(message)]);
        }
        let promises = &self.promises;
        let promised = |incarnation| promises.first_of(&id.publisher, incarnation);
        let given = if self.subscription.is_after(signed.at, world.now, world.wall) {
            world.stats.before_subscription += 1;
            self.history.tell(id);
            self.orders.pass(world.now, &id, promised)
        } else {
            self.orders.take(world.now, message, promised)
        };
        self.give(world, given);
    }

    /// A message that came will not be given to anybody.
    pub(super) fn leave_out(&mut self, world: &mut World<'_>, id: MessageId) {
        if !self.subscribed || self.system {
            return;
        }
        let promises = &self.promises;
        let promised = |incarnation| promises.first_of(&id.publisher, incarnation);
        let given = self.orders.lost(world.now, id, promised);
        self.give(world, given);
    }

    /// Looks what is missing: asks for it, or waits for it no longer.
    pub(super) fn keep_order(&mut self, world: &mut World<'_>) {
        if self.orders.next().is_none_or(|at| at > world.now) {
            return;
        }
        let alone = self.healthy() == 0;
        let promises = &self.promises;
        let promised = |publisher: &PublicKey, run| promises.first_of(publisher, run);
        let (given, wanted) = self.orders.look(world.now, alone, promised);
        self.give(world, given);
        if wanted.is_empty() {
            return;
        }
        let mut asked = BTreeSet::new();
        for _ in 0..ASKED {
            asked.extend(self.random_neighbour(world, None));
        }
        for peer in asked {
            self.graft(world, &peer, wanted.clone(), None);
        }
    }

    fn give(&mut self, world: &mut World<'_>, given: Vec<Given>) {
        for given in given {
            let output = match given {
                Given::Message(message) => {
                    world.stats.delivered += 1;
                    self.history.tell(message.id);
                    TopicsOutput::Deliver(message)
                }
                Given::Missed(missed) => {
                    world.stats.missed += missed;
                    TopicsOutput::Missed { topic: self.name.clone(), missed }
                }
            };
            world.out.push_back(output);
        }
    }
}

impl Receipt {
    fn answer(&self) -> TopicsOutput {
        let Self { publish, message, taken, .. } = self;
        TopicsOutput::Taken { publish: *publish, message: *message, neighbours: taken.len() }
    }
}
