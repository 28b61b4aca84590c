//! Acknowledgements of this node's own messages.
//!
//! Every push is answered, so a publisher knows whether any neighbour has its message. A message
//! without an acknowledgement goes to the first new neighbour, before all others. The number of
//! acknowledgements is reported as soon as all neighbours that got the message have answered, or
//! after [`COUNT_WAIT`].
//!
//! **Invariant:** unacknowledged messages are bounded in number, and cached no longer than any
//! other message.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use potluck_base::{Instant, PublicKey};

use super::super::events::{PublishId, TopicsOutput};
use super::super::shared::Shared;
use super::message_cache::{CACHE_LIFE, MessageCache};
use super::peer::Peer;
use super::tree::Tree;
use crate::message::MessageId;

/// Unacknowledged messages remembered; further ones are announced to a new neighbour like all
/// others.
const UNACKED_MAX: usize = 1_024;
/// How long a publisher waits for the count of acknowledgements. A higher value counts slower
/// neighbours too.
const COUNT_WAIT: Duration = Duration::from_secs(1);
/// Messages whose acknowledgements are counted at once; beyond it the oldest is reported early.
const RECEIPTS_MAX: usize = 256;

/// A message whose acknowledgements are counted.
#[derive(Debug, Clone)]
struct Receipt {
    publish: PublishId,
    message: MessageId,
    /// Neighbours that got it and have not answered.
    open: BTreeSet<PublicKey>,
    acked: BTreeSet<PublicKey>,
    /// There was no link when it was published: every link request in flight is waited for.
    alone: bool,
    until: Instant,
}

/// The acknowledgements of this node's own messages in one topic.
#[derive(Debug, Clone, Default)]
pub(super) struct Acks {
    /// This node's own messages that no neighbour has acknowledged yet.
    unacked: BTreeSet<MessageId>,
    /// Publishes whose acknowledgements are counted.
    receipts: VecDeque<Receipt>,
}

impl Acks {
    /// Messages that no neighbour has acknowledged.
    pub(super) fn unacked(&self) -> usize {
        self.unacked.len()
    }

    /// When the next count is reported.
    pub(super) fn next(&self) -> Option<Instant> {
        self.receipts.front().map(|receipt| receipt.until)
    }

    /// Remembers a message of this node's own that is about to be sent.
    pub(super) fn note(&mut self, id: MessageId) {
        self.unacked.insert(id);
        if self.unacked.len() > UNACKED_MAX {
            self.unacked.pop_first();
        }
    }

    /// A neighbour has these messages.
    pub(super) fn on_acked(&mut self, peer: &PublicKey, ids: &[MessageId]) {
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
    pub(super) fn push_to(
        &mut self,
        shared: &Shared,
        cache: &MessageCache,
        key: PublicKey,
        peer: &mut Peer,
    ) {
        // A counted message goes to every new neighbour, although another one acknowledged it, so
        // that all of them are counted.
        let counted = self.receipts.iter().filter(|receipt| receipt.alone);
        let counted: BTreeSet<MessageId> = counted.map(|receipt| receipt.message).collect();
        for id in self.unacked.union(&counted) {
            let Some(cached) = cache.get(id).filter(|cached| cached.at >= peer.joined) else {
                continue;
            };
            if peer.queue.push_repair(&shared.config.queue, *id, cached.bytes.clone()) {
                let receipts = self.receipts.iter_mut();
                receipts.filter(|receipt| receipt.message == *id).for_each(|receipt| {
                    receipt.open.insert(key);
                });
            }
        }
    }

    /// Whether there are unacknowledged messages that are still cached.
    pub(super) fn has_unacked(&mut self, now: Instant, cache: &MessageCache) -> bool {
        let cached =
            |id: &MessageId| cache.get(id).is_some_and(|cached| now.since(cached.at) < CACHE_LIFE);
        self.unacked.retain(cached);
        !self.unacked.is_empty()
    }

    /// Counts the acknowledgements of a message of this tree that was just published.
    pub(super) fn count(
        &mut self,
        now: Instant,
        publish: PublishId,
        message: MessageId,
        tree: Tree,
        peers: &BTreeMap<PublicKey, Box<Peer>>,
    ) {
        let pushed = peers.iter().filter(|(_, peer)| peer.is_eager(tree));
        let open = pushed.map(|(key, _)| *key).collect();
        let (acked, until) = (BTreeSet::new(), now + COUNT_WAIT);
        let alone = !peers.values().any(|peer| peer.is_healthy());
        self.receipts.push_back(Receipt { publish, message, open, acked, alone, until });
    }

    /// Reports the counts that are complete or due. `searching`: further neighbours may still be
    /// found.
    pub(super) fn report(
        &mut self,
        shared: &mut Shared,
        searching: bool,
        peers: &BTreeMap<PublicKey, Box<Peer>>,
    ) {
        if self.receipts.is_empty() {
            return;
        }
        let no_links = !peers.values().any(|peer| peer.is_healthy());
        let healthy = |key: &PublicKey| peers.get(key).is_some_and(|peer| peer.is_healthy());
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
    pub(super) fn end(&mut self, shared: &mut Shared) {
        self.receipts.drain(..).for_each(|receipt| shared.out.push_back(receipt.answer()));
    }
}

impl Receipt {
    fn answer(&self) -> TopicsOutput {
        let Self { publish, message, acked, .. } = self;
        TopicsOutput::Acknowledged { publish: *publish, message: *message, neighbours: acked.len() }
    }
}
