//! Broadcast in one topic: messages are pushed over eager links and announced on lazy ones.
//!
//! `PlumTree` (Leitão, Pereira, Rodrigues, 2007). Where we differ: every push has an answer, so the
//! first message over a dead link shows that it is dead, and a prune costs no message of its own;
//! in open networks a node accepts two copies of each message, so that no single neighbour can cut
//! it off; a publisher that keeps publishing has a tree of its own (see `flood`); a link becomes
//! eager because its announcements were measured to arrive sooner, never because of a claimed hop
//! count; announcements are ranges of sequence numbers, so 64 ids take the room of one.
//!
//! **Invariant:** no message is delivered, cached or forwarded before its publisher's signature was
//! verified, and no seen message is verified again.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use potluck_base::{Instant, PublicKey};
use potluck_wire::{SignedMessage, TopicResponse};

use super::super::door::{Source, Standing};
use super::super::events::TopicServeId;
use super::super::scores::{Fault, Penalty};
use super::super::shared::Shared;
use super::Broadcast;
use super::flood::{DeferredMessage, is_flood};
use super::message_cache::CACHE_LIFE;
use super::parent::Arrival;
use super::seen::Novelty;
use super::tree::Tree;
use crate::message::MessageId;

/// An announcement counts as sooner only if it arrived this long before the message, and at least
/// two round trips to its sender. A tree over few hops is worth more than a few milliseconds.
const SOONER_MIN: Duration = Duration::from_millis(100);
/// Tokens that an invalid signature costs beyond the one that each check costs.
const FORGERY_TOKENS: u32 = 20;

/// Messages of one push that the answer can prune: one bit each. Bundles are far smaller.
const PRUNABLE: usize = u64::BITS as usize;
/// Messages older than this are dropped. It is the repair time plus five minutes for differences of clocks.
/// So a message whose id this node has forgotten cannot be replayed to it.
const STALE_AFTER: Duration = CACHE_LIFE.saturating_add(Duration::from_secs(300));
/// Messages dated farther ahead are dropped: they could be replayed for that much longer.
const AHEAD_MAX: Duration = Duration::from_secs(300);

/// The result of one message of a push.
enum Outcome {
    /// It was new, and belongs to this tree.
    New(Tree),
    /// It was a copy; the number of distinct senders so far.
    Copy(Tree, usize),
    /// It was dropped. If its sender broke a rule: the consequence.
    Dropped(Penalty),
}

/// The message was dropped without its sender's fault.
const NOT_NEW: Outcome = Outcome::Dropped(Penalty::Tolerated);

/// The messages of one push that belong to one tree.
#[derive(Default)]
struct PerTree {
    fresh: usize,
    surplus: usize,
    /// The positions of its messages in the push, a bit each.
    places: u64,
}

impl Broadcast {
    /// Handles pushed messages from a neighbour (algorithm 1, receipt of GOSSIP), and answers. If
    /// the neighbour is to be ignored, the rest is not handled, and the caller answers.
    pub(in crate::topics) fn on_gossip(
        &mut self,
        shared: &mut Shared,
        serve: TopicServeId,
        from: &PublicKey,
        messages: &[Bytes],
    ) -> Penalty {
        let mut per_tree: BTreeMap<Tree, PerTree> = BTreeMap::new();
        for (place, bytes) in messages.iter().enumerate() {
            let (tree, surplus) = match self.receive(shared, from, bytes) {
                Outcome::New(tree) => (tree, false),
                Outcome::Copy(tree, senders) if senders > shared.config.parents(shared.mode) => {
                    (tree, true)
                }
                Outcome::Dropped(Penalty::Ignored) => return Penalty::Ignored,
                Outcome::Copy(..) | Outcome::Dropped(Penalty::Tolerated | Penalty::Pruned) => {
                    continue;
                }
            };
            let of = per_tree.entry(tree).or_default();
            of.fresh += usize::from(!surplus);
            of.surplus += usize::from(surplus);
            of.places |= if place < PRUNABLE { 1 << place } else { 0 };
        }
        self.receive_known(shared);
        let busy = self.is_busy(shared);
        let answer = match self.peers.get(from).map(|neighbour| neighbour.distrusted) {
            None => TopicResponse::NotNeighbour,
            Some(true) => TopicResponse::GossipAck { prune: u64::MAX, busy },
            Some(false) => {
                per_tree.retain(|tree, of| {
                    let by_chance = of.surplus == 1 && self.trees.is_own_parent(*tree, from);
                    of.surplus > of.fresh && !by_chance
                });
                per_tree.keys().for_each(|tree| self.prune(shared, from, *tree));
                let prune = per_tree.values().fold(0, |places, of| places | of.places);
                TopicResponse::GossipAck { prune, busy }
            }
        };
        shared.answer(serve, answer);
        Penalty::Tolerated
    }

    /// Handles the messages that waited for the certificates of their publishers and need not wait any more.
    pub(in crate::topics) fn receive_known(&mut self, shared: &mut Shared) {
        for (from, bytes) in shared.take_known(self.topic) {
            // It was acknowledged when it came.
            let _ = self.receive(shared, &from, &bytes);
        }
    }

    /// A neighbour pushes messages that arrived over another link before: its link is pruned from
    /// the tree.
    fn prune(&mut self, shared: &mut Shared, peer: &PublicKey, tree: Tree) {
        let Some(neighbour) = self.peers.get_mut(peer) else { return };
        if !neighbour.eager_trees.is_eager(tree) {
            return;
        }
        neighbour.eager_trees.prune(shared.now, tree);
        self.trees.on_pruned(tree, peer);
        shared.stats.prunes += 1;
        if tree == Tree::Shared {
            self.keep_parents(shared, Some(peer));
        }
    }

    fn receive(&mut self, shared: &mut Shared, from: &PublicKey, bytes: &Bytes) -> Outcome {
        shared.stats.payloads_received += 1;
        let Ok(message) = SignedMessage::decode(bytes) else {
            return Outcome::Dropped(self.fault(shared, *from, Fault::Forged));
        };
        let id = MessageId::from(&message);
        let tree = self.tree_of(id.publisher, id.sequence);
        if self.seen.contains(&id) {
            shared.stats.duplicates += 1;
            self.trees.on_duplicate(shared.now, tree, id, from);
            let Some(cached) = self.cache.get_mut(&id) else {
                return Outcome::Copy(tree, usize::MAX);
            };
            let senders = cached.add_sender(*from);
            // This node asked for the message early; the tree is not to blame for the copy.
            return if cached.repaired { NOT_NEW } else { Outcome::Copy(tree, senders) };
        }
        if shared.is_over_budget(&id.publisher) {
            // If it is announced again later, this node asks for it again.
            shared.stats.dropped_over_budget += 1;
            return NOT_NEW;
        }
        if let Some(outcome) = self.refuse_publisher(shared, from, &id, bytes) {
            return outcome;
        }
        if let Err(penalty) = self.verify(shared, from, &message) {
            return Outcome::Dropped(penalty);
        }
        shared.bill(*from, id.publisher, 1);
        if is_stale(shared, &message) {
            shared.stats.dropped_stale += 1;
            self.missing.on_received(&id);
            return NOT_NEW;
        }
        let rate = self.publisher_rate(shared).bucket();
        match self.seen.insert(shared.now, &id, rate) {
            Novelty::Seen => return NOT_NEW,
            Novelty::OverRate => {
                shared.stats.dropped_over_rate += 1;
                self.missing.on_received(&id);
                self.inbox.on_dropped(shared, id, &mut self.cache, &self.missing);
                return NOT_NEW;
            }
            Novelty::New => {}
        }
        if self.system && !shared.may_pass_on(*from, &message) {
            self.missing.on_received(&id);
            return Outcome::Dropped(self.fault(shared, *from, Fault::Forged));
        }
        let repaired = self.note_lateness(shared, &id, from);
        self.disseminate(shared, &message, bytes.clone(), Some(*from));
        if let Some(cached) = self.cache.get_mut(&id) {
            cached.repaired = repaired;
        }
        Outcome::New(tree)
    }

    /// The outcome for a message whose publisher is not known as a member. `None` if it is a member.
    fn refuse_publisher(
        &mut self,
        shared: &mut Shared,
        from: &PublicKey,
        id: &MessageId,
        bytes: &Bytes,
    ) -> Option<Outcome> {
        match shared.standing(&id.publisher, bytes) {
            Standing::Member => None,
            Standing::Unknown => {
                let Shared { unproven, now, .. } = shared;
                let source = Source { topic: self.topic, from: *from, publisher: id.publisher };
                unproven.wait(*now, source, bytes.clone());
                Some(NOT_NEW)
            }
            Standing::Out => {
                shared.stats.dropped_not_member += 1;
                self.missing.on_received(id);
                Some(NOT_NEW)
            }
            Standing::Forged => {
                shared.stats.dropped_not_member += 1;
                shared.bill_bad(*from, 1);
                Some(Outcome::Dropped(self.fault(shared, *from, Fault::Forged)))
            }
        }
    }

    fn verify(
        &mut self,
        shared: &mut Shared,
        from: &PublicKey,
        message: &SignedMessage,
    ) -> Result<(), Penalty> {
        let Some(neighbour) = self.peers.get_mut(from) else { return Err(Penalty::Tolerated) };
        if !neighbour.signatures.take(shared.now, 1) {
            shared.stats.rate_limited += 1;
            return Err(self.fault(shared, *from, Fault::OverRate));
        }
        if !shared.config.verify {
            return Ok(());
        }
        shared.stats.verified += 1;
        if message.verify(&shared.me.network, self.topic).is_ok() {
            return Ok(());
        }
        shared.stats.verify_failed += 1;
        neighbour.signatures.take(shared.now, FORGERY_TOKENS);
        shared.bill_bad(*from, 1);
        Err(self.fault(shared, *from, Fault::Forged))
    }

    /// Delivers, caches and forwards a new message.
    pub(super) fn disseminate(
        &mut self,
        shared: &mut Shared,
        message: &SignedMessage,
        bytes: Bytes,
        from: Option<PublicKey>,
    ) {
        let id = MessageId::from(message);
        self.cache.insert(shared.now, id, bytes.clone(), from);
        let Self { inbox, cache, missing, .. } = self;
        inbox.deliver(shared, message, from.is_none(), cache, missing);
        let flood = self.is_flood(shared.now, &id);
        let deferred = from.is_some() && self.deferred.defer(shared.now, id, flood);
        if !deferred {
            self.forward(shared, id, &bytes, from, flood);
        }
    }

    /// Pushes a message over the eager links of its tree, or over every link if it is a flood, and
    /// announces it on the others.
    fn forward(
        &mut self,
        shared: &mut Shared,
        id: MessageId,
        bytes: &Bytes,
        from: Option<PublicKey>,
        flood: bool,
    ) {
        let tree = self.tree_of(id.publisher, id.sequence);
        self.trees.of(shared.now, tree).used_at = Some(shared.now);
        for (peer, neighbour) in &mut self.peers {
            neighbour.eager_trees.used(shared.now, tree);
            if Some(*peer) == from {
                continue;
            }
            let lacks = || !self.cache.get(&id).is_some_and(|cached| cached.is_known_to(peer));
            let tries = flood && neighbour.may_be_eager() && lacks();
            if tries && neighbour.eager_trees.has_room(shared.now, tree) {
                // Eager until the peer prunes it: later messages follow over this link.
                neighbour.eager_trees.graft(shared.now, tree);
            }
            if neighbour.is_eager(tree) {
                if neighbour.queue.push_eager(&shared.config.queue, id, bytes.clone()) {
                    continue;
                }
                shared.stats.dropped_full += 1;
            }
            if !neighbour.queue.push_lazy(shared.now, id) {
                shared.stats.dropped_names += 1;
            }
        }
    }

    fn is_flood(&self, now: Instant, id: &MessageId) -> bool {
        !self.system && is_flood(&self.cache, now, id)
    }

    /// Forwards the deferred messages that are due.
    pub(in crate::topics) fn forward_deferred(&mut self, shared: &mut Shared) {
        while let Some(DeferredMessage { id, flood, .. }) = self.deferred.take_due(shared.now) {
            let Some(cached) = self.cache.get(&id) else { continue };
            let (bytes, from) = (cached.bytes.clone(), cached.source());
            self.forward(shared, id, &bytes, from, flood);
        }
    }

    /// Records which neighbours had an arrived message sooner than the tree delivered it, and makes one of
    /// them eager that often had (algorithm 4, which compares hop counts instead). Returns whether this node
    /// had asked for the message.
    fn note_lateness(&mut self, shared: &mut Shared, id: &MessageId, from: &PublicKey) -> bool {
        let tree = self.tree_of(id.publisher, id.sequence);
        let missing = self.missing.on_received(id);
        let (heard, sources, asked) = missing.unwrap_or((shared.now, Vec::new(), false));
        if !sources.is_empty() {
            self.lag.sample(shared.now.since(heard));
        }
        if asked {
            shared.stats.repaired += 1;
        } else {
            let flood = self.is_flood(shared.now, id);
            let announced_by = sources.first().copied();
            let arrival = Arrival { id: *id, from: *from, announced_by, flood };
            self.trees.on_received(shared.now, tree, arrival);
        }
        let state = self.trees.of(shared.now, tree);
        if tree != Tree::Shared && !state.may_note(shared.now) {
            return asked;
        }
        let mut switch = None;
        for (peer, neighbour) in &mut self.peers {
            let margin = SOONER_MIN.max(neighbour.round_trip() * 2);
            let sooner = !asked && sources.contains(peer) && shared.now.since(heard) > margin;
            if neighbour.eager_trees.note_late(shared.now, tree, sooner) && neighbour.may_be_eager()
            {
                switch = Some(*peer);
            }
        }
        if let Some(peer) = switch.filter(|peer| peer != from)
            && self.trees.of(shared.now, tree).may_switch(shared.now)
        {
            shared.stats.switched += 1;
            if let Some(neighbour) = self.peers.get_mut(&peer) {
                neighbour.eager_trees.switched(shared.now, tree);
            }
            self.graft(shared, &peer, tree.empty_range(id), Some(tree));
        }
        asked
    }

    /// Whether queues fill up here. The congestion that neighbours report is not passed on: it
    /// would circulate for ever.
    fn is_busy(&self, shared: &Shared) -> bool {
        self.peers.values().filter(|neighbour| neighbour.is_healthy()).any(|neighbour| {
            neighbour.queue.len() > shared.config.queue.messages / 4
                || neighbour.queue.bytes() > shared.config.queue.bytes / 4
        })
    }

    /// A push was acknowledged, or failed. An acknowledgement can prune the link (PRUNE in the paper).
    pub(in crate::topics) fn on_gossip_ack(
        &mut self,
        shared: &mut Shared,
        peer: &PublicKey,
        ids: &[MessageId],
        answer: &TopicResponse,
    ) {
        let now = shared.now;
        let Some(neighbour) = self.peers.get_mut(peer) else { return };
        neighbour.queue.on_ack(now);
        let TopicResponse::GossipAck { prune, busy } = *answer else { return };
        self.acks.on_acked(peer, ids);
        let Some(neighbour) = self.peers.get_mut(peer) else { return };
        neighbour.note_busy(now, busy);
        for (place, id) in ids.iter().enumerate().take(PRUNABLE) {
            let tree = self.tree_of(id.publisher, id.sequence);
            let Some(neighbour) = self.peers.get_mut(peer) else { return };
            let eager_trees = &mut neighbour.eager_trees;
            if prune >> place & 1 == 0 {
                // Our push and the peer's push crossed. We were pruned for our duplicate of an
                // earlier message, but this answer does not prune us: we are its parent. Make the
                // link eager again.
                let crossed = || self.cache.get(id).is_some_and(|cached| cached.was_sent_by(peer));
                let may = !neighbour.distrusted && tree != Tree::Shared;
                if may && !eager_trees.is_eager(tree) && crossed() {
                    eager_trees.graft(now, tree);
                }
                continue;
            }
            if !eager_trees.is_eager(tree) {
                continue;
            }
            eager_trees.prune(now, tree);
            match tree {
                Tree::Shared => self.keep_parents(shared, Some(peer)),
                Tree::Of(publisher) if publisher == shared.me.contact.public_key => {
                    self.keep_child(now, tree, Some(peer));
                }
                Tree::Of(_) => {}
            }
        }
    }
}

/// Whether a message is too old to be told from one that was seen and forgotten, or dated too far
/// ahead.
fn is_stale(shared: &Shared, message: &SignedMessage) -> bool {
    shared
        .wall()
        .is_some_and(|now| message.at.plus(STALE_AFTER) < now || message.at > now.plus(AHEAD_MAX))
}
