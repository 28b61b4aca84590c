//! How links are made and dropped.

use std::time::Duration;

use potluck_base::{Contact, Instant, PublicKey};
use potluck_wire::{DisconnectCause, TopicResponse};

use super::super::events::{TopicServeId, TopicsOutput};
use super::super::scores::{Fault, Penalty};
use super::super::shared::Shared;
use super::core::ALTERNATIVES;
use super::link::{Link, LinkRequest};
use super::output::{NewLink, OverlayOutput};
use super::rewiring::LinkCost;
use super::timer::OverlayTimer;
use super::{Overlay, SILENT_PAUSE, shuffle};
use crate::view::Cause;

/// How long neither end makes a link again after one of them disconnected for room. A higher value
/// keeps a usable pair apart for longer.
const BACKOFF: Duration = Duration::from_secs(60);
/// How long links beyond the limit are kept. A higher value lets joiners use a full node for longer
/// while they look for other neighbours.
const OVERFLOW_FOR: Duration = Duration::from_secs(30);
/// A joiner may evict a neighbour once in this time. A higher value slows hostile joiners and keeps
/// honest ones waiting.
const EVICTION_INTERVAL: Duration = Duration::from_secs(10);
/// Forward joins sent for a joiner. A higher value gives it links sooner and costs more messages.
const FORWARD_JOINS: usize = 3;

impl Overlay {
    /// Another node requests a link (NEIGHBOR in the paper; a joiner's high priority makes it JOIN).
    pub(in crate::topics) fn on_neighbour(
        &mut self,
        shared: &mut Shared,
        serve: TopicServeId,
        from: Contact,
        request: LinkRequest,
        cost: LinkCost<'_>,
    ) {
        let LinkRequest { high_priority, age_ms } = request;
        let peer = from.public_key;
        let accepted = TopicResponse::Accepted { age_ms: self.core.age_ms(shared.now) };
        if let Some(known) = self.core.active.get_mut(&peer) {
            known.contact = from;
            self.core.answer(serve, accepted);
            return;
        }
        let parted = self.core.backoff.peek(&peer).is_some_and(|until| shared.now < *until);
        // A node without any other link may come back at once if this evicts no neighbour.
        let comes_back =
            !parted || (high_priority && self.core.active.len() < self.core.overflow_max());
        let has_room = comes_back
            && shared.welcomes(&peer)
            && self.core.netgroup_has_room(shared, &from)
            && self.makes_room(shared, high_priority, cost);
        if !has_room {
            shared.stats.neighbours_declined += 1;
            let others = self.core.alternatives(shared, &peer);
            self.core.answer(serve, TopicResponse::Declined { others });
            self.core.learn(shared, from, Some(peer));
            return;
        }
        self.core.answer(serve, accepted);
        let joined = shared.now - Duration::from_millis(age_ms);
        let surplus = !high_priority && self.rewiring.has_granted();
        self.link(shared, NewLink { contact: from, joined, surplus }, false);
        if high_priority {
            for _ in 0..FORWARD_JOINS {
                shuffle::send_forward_join(&mut self.core, shared, from);
            }
        }
    }

    /// Whether there is room for a requested link; with high priority it may cost another link
    /// (`dropRandomElementFromActiveView`, but see `rewiring` for which one).
    fn makes_room(&mut self, shared: &mut Shared, high_priority: bool, cost: LinkCost<'_>) -> bool {
        let core = &self.core;
        let links = core.active.len();
        if !high_priority {
            // Places are reserved for links of this node's own choice while there are contacts to
            // choose from.
            let kept = if core.passive.len() > 0 { core.outbound_kept() } else { 0 };
            let has_room = links < core.sizes.active && core.inbound() < core.sizes.active - kept;
            return has_room || self.rewiring.grants(core, shared.now, cost);
        }
        if links < core.overflow_max() {
            return true;
        }
        if shared.now < self.evictions_from {
            shared.stats.rate_limited += 1;
            return false;
        }
        let Some(victim) = self.rewiring.victim(core, shared, cost) else { return false };
        self.evictions_from = shared.now + EVICTION_INTERVAL;
        self.unlink(shared, &victim, Cause::Replaced, Some(DisconnectCause::Room));
        true
    }

    /// A request for a link was answered.
    pub(in crate::topics) fn on_link_answer(
        &mut self,
        shared: &mut Shared,
        peer: PublicKey,
        answer: TopicResponse,
    ) {
        let Some(attempt) = self.promotion.take(&peer) else { return };
        match answer {
            TopicResponse::Accepted { age_ms } => {
                self.promotion.on_accepted();
                self.core.passive.mark_proven(shared.now, &peer);
                if let Some(known) = self.core.active.get_mut(&peer) {
                    known.outbound = true;
                } else if self.core.active.len() < self.core.overflow_max()
                    && shared.welcomes(&peer)
                    && self.core.netgroup_has_room(shared, &attempt.contact)
                {
                    let joined = shared.now - Duration::from_millis(age_ms);
                    let (contact, surplus) = (attempt.contact, attempt.surplus);
                    self.link(shared, NewLink { contact, joined, surplus }, true);
                    if surplus {
                        self.rewiring.note_own();
                    }
                } else {
                    self.core.disconnect(shared, attempt.contact, DisconnectCause::Room);
                    self.core.passive.retry_after(&peer, shared.now + BACKOFF);
                }
            }
            TopicResponse::Declined { others } => {
                self.core.passive.mark_proven(shared.now, &peer);
                self.promotion.on_declined(&mut self.core, shared, &peer);
                for other in others.into_iter().take(ALTERNATIVES) {
                    self.core.learn(shared, other, Some(peer));
                }
            }
            // A node that is not in the topic is no contact for it.
            TopicResponse::NotNeighbour
            | TopicResponse::Ack
            | TopicResponse::GossipAck { .. }
            | TopicResponse::GraftAck { .. } => self.core.passive.remove(&peer),
        }
    }

    /// A request for a link got no answer.
    pub(in crate::topics) fn on_link_failed(&mut self, now: Instant, peer: &PublicKey) {
        self.promotion.take(peer);
        self.core.drop_contact(peer, now + SILENT_PAUSE);
    }

    /// A request for a link could not be sent: no other one goes out before `until`.
    pub(in crate::topics) fn on_link_unsent(&mut self, peer: &PublicKey, until: Instant) {
        self.promotion.take(peer);
        self.promotion.pause(until);
    }

    /// Adds a link (`addNodeActiveView` in algorithm 1).
    fn link(&mut self, shared: &mut Shared, new: NewLink, outbound: bool) {
        let peer = new.contact.public_key;
        let core = &mut self.core;
        core.passive.remove(&peer);
        core.active.insert(peer, Link::new(shared, new.contact, outbound));
        shared.stats.neighbours_up += 1;
        if core.system {
            core.tell(TopicsOutput::NeighbourUp(new.contact));
        }
        if core.active.len() > core.sizes.active && self.due(OverlayTimer::Trim).is_none() {
            let at = shared.now + shared.rng.jitter(OVERFLOW_FOR, 0.2);
            self.core.timers.set(OverlayTimer::Trim, at);
        }
        self.core.out.push(OverlayOutput::LinkUp(new));
    }

    // --- dropping links ---

    /// Drops a link; with `tell`, notifies the peer of this cause.
    pub(in crate::topics) fn unlink(
        &mut self,
        shared: &mut Shared,
        peer: &PublicKey,
        cause: Cause,
        tell: Option<DisconnectCause>,
    ) {
        let core = &mut self.core;
        let Some(link) = core.active.remove(peer) else { return };
        let contact = link.contact;
        shared.stats.neighbours_down.count(cause);
        if matches!(cause, Cause::Crashed | Cause::LocalSuspend) {
            self.rewiring.on_neighbour_lost(*peer);
        }
        if core.system {
            core.tell(TopicsOutput::NeighbourDown(contact, cause));
        }
        match cause {
            Cause::Evicted | Cause::Replaced => {
                let until = shared.now + BACKOFF;
                core.backoff.insert(*peer, until);
                core.learn(shared, contact, None);
                core.passive.retry_after(peer, until);
            }
            Cause::LocalSuspend => {
                core.learn(shared, contact, None);
                core.passive.retry_after(peer, shared.now + SILENT_PAUSE);
            }
            Cause::Forgotten => core.learn(shared, contact, None),
            // Without any link the fault may be this node's own, and there is no other node to ask.
            Cause::Crashed if core.healthy() == 0 => {
                core.learn(shared, contact, None);
                core.passive.retry_after(peer, shared.now + SILENT_PAUSE);
            }
            Cause::Crashed | Cause::Left | Cause::Misbehaved => core.passive.remove(peer),
        }
        if let Some(cause) = tell {
            core.disconnect(shared, contact, cause);
        }
        core.out.push(OverlayOutput::LinkDown(*peer));
        if core.healthy() * 2 < core.sizes.active {
            self.discovery.soon(core, shared.now);
        }
    }

    /// A neighbour is alive and no longer knows the link: it took this node for gone while this
    /// node stood still or was isolated, or it restarted. Neither end made room for another peer,
    /// so a new link is requested at once.
    pub(in crate::topics) fn on_forgotten(&mut self, shared: &mut Shared, peer: &PublicKey) {
        let Some(contact) = self.core.active.get(peer).map(|link| link.contact) else { return };
        let now = shared.now;
        self.unlink(shared, peer, Cause::Forgotten, None);
        let lately = self.forgotten.peek(peer).is_some_and(|at| now.since(*at) < SILENT_PAUSE);
        if lately {
            self.core.passive.retry_after(peer, now + SILENT_PAUSE);
        } else if !self.promotion.contains(peer) && shared.welcomes(peer) {
            self.forgotten.insert(*peer, now);
            self.promotion.attempt(&mut self.core, now, contact, false);
        }
    }

    /// A neighbour disconnects (algorithm 1, receipt of DISCONNECT).
    pub(in crate::topics) fn on_disconnect(
        &mut self,
        shared: &mut Shared,
        from: &PublicKey,
        cause: DisconnectCause,
        others: Vec<Contact>,
    ) {
        if !self.is_linked(from) {
            return;
        }
        let cause = match cause {
            DisconnectCause::Left => Cause::Left,
            DisconnectCause::Room | DisconnectCause::Misbehaved => Cause::Evicted,
        };
        for other in others.into_iter().take(ALTERNATIVES) {
            self.core.learn(shared, other, Some(*from));
        }
        self.unlink(shared, from, cause, None);
    }

    /// The node is gone: drops its link, and its contact.
    pub(in crate::topics) fn drop_peer(
        &mut self,
        shared: &mut Shared,
        peer: &PublicKey,
        cause: Cause,
    ) {
        // The failure detector already checked whether other nodes are heard.
        let isolated = cause == Cause::Crashed && shared.now < shared.isolated_until;
        let cause = if isolated { Cause::LocalSuspend } else { cause };
        self.unlink(shared, peer, cause, None);
        self.core.passive.remove(peer);
    }

    /// The node misbehaved: drops its link, and its contact.
    pub(in crate::topics) fn ban(&mut self, shared: &mut Shared, peer: &PublicKey) {
        self.unlink(shared, peer, Cause::Misbehaved, Some(DisconnectCause::Misbehaved));
        self.core.passive.remove(peer);
    }

    /// Disconnects from all neighbours.
    pub(in crate::topics) fn leave(&mut self, shared: &mut Shared) {
        while let Some((_, link)) = self.core.active.pop_first() {
            self.core.disconnect(shared, link.contact, DisconnectCause::Left);
            shared.stats.neighbours_down.count(Cause::Left);
        }
    }

    /// A node broke a rule.
    pub(super) fn fault(&mut self, shared: &mut Shared, peer: PublicKey, fault: Fault) {
        match shared.scores.fault(shared.now, peer, fault) {
            Penalty::Tolerated => {}
            Penalty::Pruned => self.core.out.push(OverlayOutput::LinkDistrusted(peer)),
            Penalty::Ignored => self.ban(shared, &peer),
        }
    }
}
