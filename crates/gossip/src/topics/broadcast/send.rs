//! Sends queued messages, announcements, summaries and grafts to neighbours.

use potluck_base::{Instant, PublicKey};
use potluck_wire::{IdRange, TopicRequest};

use super::super::asks::Purpose;
use super::super::shared::Shared;
use super::Broadcast;
use super::message_cache::{CACHE_LIFE, ranges};
use super::tree::Tree;
use crate::message::MessageId;

/// Id ranges that fit in a datagram.
const RANGES_DATAGRAM: usize = 16;
/// Id ranges in a summary for a new neighbour.
const RANGES_MAX: usize = 128;
/// Id ranges of the cache from which a summary is chosen. A higher value covers more publishers and
/// takes longer to compute.
const RANGES_CONSIDERED: usize = 2_048;

impl Broadcast {
    /// Asks a neighbour to push the messages in `ranges`, and with `tree`, the tree of these
    /// messages, its future messages too (GRAFT in the paper).
    pub(super) fn graft(
        &mut self,
        shared: &mut Shared,
        peer: &PublicKey,
        mut ranges: Vec<IdRange>,
        tree: Option<Tree>,
    ) {
        let Some(neighbour) = self.peers.get_mut(peer) else { return };
        if let Some(tree) = tree {
            neighbour.eager_trees.graft(shared.now, tree);
        }
        let (contact, eager) = (neighbour.contact(*peer), tree.is_some());
        loop {
            let rest = ranges.split_off(ranges.len().min(RANGES_DATAGRAM));
            shared.stats.grafts += 1;
            let body = TopicRequest::Graft { ranges, eager };
            shared.ask(self.topic, contact, Purpose::Notify, body);
            ranges = rest;
            if ranges.is_empty() {
                return;
            }
        }
    }

    /// Announces to a neighbour the messages of the last ten minutes that came since it joined the
    /// topic. A new neighbour may lack any of them, an old one hardly any.
    pub(super) fn summarise_to(&self, shared: &mut Shared, peer: &PublicKey, new: bool) {
        let Some(neighbour) = self.peers.get(peer) else { return };
        let since = neighbour.joined.max(shared.now - CACHE_LIFE);
        let most = if new { RANGES_MAX } else { RANGES_DATAGRAM };
        let mut ranges = self.cache.ranges_since(since, RANGES_CONSIDERED);
        if ranges.len() > most {
            // If not all ranges fit, a random part is chosen each time.
            let start = shared.rng.below((ranges.len() - most) as u64 + 1) as usize;
            ranges = ranges.split_off(start);
            ranges.truncate(most);
        }
        while !ranges.is_empty() {
            let rest = ranges.split_off(ranges.len().min(RANGES_DATAGRAM));
            let body = TopicRequest::IHave { ranges };
            shared.ask(self.topic, neighbour.contact(*peer), Purpose::Notify, body);
            ranges = rest;
        }
    }

    /// Sends queued messages and announcements, as far as the windows allow.
    pub(in crate::topics) fn pump(&mut self, shared: &mut Shared) {
        let (now, topic, cache) = (shared.now, self.topic, &self.cache);
        for (key, peer) in &mut self.peers {
            if !peer.is_healthy() {
                continue;
            }
            let has = |id: &_| cache.get(id).is_some_and(|cached| cached.is_known_to(key));
            while let Some((ids, messages)) = peer.queue.bundle(&shared.config.queue, now, has) {
                shared.stats.payloads_sent += ids.len() as u64;
                let body = TopicRequest::Gossip { messages };
                shared.ask(topic, peer.contact(*key), Purpose::Gossip(ids), body);
            }
            let Some(mut ids) = peer.queue.take_lazy(now) else { continue };
            ids.retain(|id| !has(id));
            let mut ranges = ranges(ids.iter().copied(), usize::MAX);
            if ranges.is_empty() {
                peer.queue.ihave_in_flight = false;
                continue;
            }
            while !ranges.is_empty() {
                let rest = ranges.split_off(ranges.len().min(RANGES_DATAGRAM));
                // The acknowledgement of the last IHAVE allows the next one.
                let purpose = if rest.is_empty() {
                    Purpose::IHave(std::mem::take(&mut ids))
                } else {
                    Purpose::Notify
                };
                shared.ask(topic, peer.contact(*key), purpose, TopicRequest::IHave { ranges });
                ranges = rest;
            }
        }
    }

    /// An announcement was answered: the next one may go out.
    pub(in crate::topics) fn on_ihave_ended(&mut self, peer: &PublicKey) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.queue.ihave_in_flight = false;
        }
    }

    /// An announcement was not answered, or could not be sent: it is repeated.
    pub(in crate::topics) fn on_ihave_failed(
        &mut self,
        now: Instant,
        peer: &PublicKey,
        ids: Vec<MessageId>,
    ) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.queue.ihave_in_flight = false;
            ids.into_iter().for_each(|id| {
                peer.queue.push_lazy(now, id);
            });
        }
    }

    /// A push was not answered: its messages are announced, since the neighbour may lack them.
    pub(in crate::topics) fn on_gossip_failed(
        &mut self,
        now: Instant,
        peer: &PublicKey,
        ids: Vec<MessageId>,
    ) {
        if let Some(peer) = self.peers.get_mut(peer) {
            peer.queue.on_ack(now);
            ids.into_iter().for_each(|id| {
                peer.queue.push_lazy(now, id);
            });
        }
    }

    /// A push could not be sent: it is repeated, and nothing is sent to the neighbour before
    /// `until`.
    pub(in crate::topics) fn on_gossip_unsent(
        &mut self,
        shared: &Shared,
        peer: &PublicKey,
        ids: &[MessageId],
        until: Instant,
    ) {
        let Some(neighbour) = self.peers.get_mut(peer) else { return };
        neighbour.queue.on_ack(shared.now);
        neighbour.queue.paused_until = Some(until);
        for id in ids {
            if let Some(cached) = self.cache.get(id) {
                neighbour.queue.push_repair(&shared.config.queue, *id, cached.bytes.clone());
            }
        }
    }
}
