//! The links of one topic: how they are made, replaced and dropped.
//!
//! `HyParView` (Leitão, Pereira, Rodrigues, 2007): few symmetric links, repaired at once from a
//! large passive view. Where we differ, against hostile joiners: a link exists only after a request
//! and its answer, so both ends have proved their addresses; half of the links are this node's own
//! choice, and no joiner evicts these or the two oldest; joiners beyond the limit are accepted for
//! 30 s before a link is dropped (see `rewiring`); an evicted peer is refused for a minute; every
//! loss has a cause.
//!
//! The overlay knows nothing of what is sent over its links. It takes messages, answers and timers
//! and emits [`OverlayOutput`]: requests of its own, and links that come and go. Only the cost of
//! dropping a link comes from above, as a function.

mod core;
mod discovery;
mod link;
mod liveness;
mod output;
mod passive_view;
mod promotion;
mod rewiring;
mod shuffle;
mod timer;

use std::time::Duration;

use potluck_base::{Contact, Instant, LruMap, PublicKey};
use potluck_wire::{DisconnectCause, TopicRequest, TopicResponse};

use self::core::{ALTERNATIVES, BACKOFF_MAX, Core};
use self::discovery::Discovery;
use self::link::Link;
pub(super) use self::link::LivenessCheck;
use self::liveness::Liveness;
pub(super) use self::output::{NewLink, OverlayOutput};
use self::promotion::Promotion;
pub(super) use self::rewiring::LinkCost;
use self::rewiring::Rewiring;
pub(super) use self::shuffle::Shuffle;
use self::shuffle::Shuffles;
pub(super) use self::timer::OverlayTimer;
use super::asks::Purpose;
use super::events::{TopicServeId, TopicsOutput};
use super::scores::{Fault, Penalty};
use super::shared::Shared;
use super::stats::TopicsStats;
use crate::view::Cause;

/// How long neither end makes a link again after one of them disconnected for room. A higher value
/// keeps a usable pair apart for longer.
const BACKOFF: Duration = Duration::from_secs(60);
/// Pause before an unanswering contact is asked again by a node that has no healthy link.
const SILENT_PAUSE: Duration = Duration::from_secs(5);
/// How long links beyond the limit are kept. A higher value lets joiners use a full node for longer
/// while they look for other neighbours.
const OVERFLOW_FOR: Duration = Duration::from_secs(30);
/// A joiner may evict a neighbour once in this time. A higher value slows hostile joiners and keeps
/// honest ones waiting.
const EVICTION_INTERVAL: Duration = Duration::from_secs(10);
/// Forward joins sent for a joiner. A higher value gives it links sooner and costs more messages.
const FORWARD_JOINS: usize = 3;
/// Interval between two probes of contacts in the passive view. With 128 contacts a full round
/// takes as long as a proof of life counts.
const PROBE_INTERVAL: Duration = Duration::from_secs(14);

/// The request of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LinkRequest {
    /// The requester has no other link.
    pub(super) high_priority: bool,
    /// For how long it has been in the topic, in milliseconds.
    pub(super) age_ms: u64,
}

/// The overlay of one topic.
#[derive(Debug, Clone)]
pub(super) struct Overlay {
    core: Core,
    promotion: Promotion,
    rewiring: Rewiring,
    shuffles: Shuffles,
    liveness: Liveness,
    discovery: Discovery,
    /// Neighbours that no longer knew the link, and when this node asked each for a new one.
    forgotten: LruMap<PublicKey, Instant>,
    /// Before then no joiner evicts a neighbour.
    evictions_from: Instant,
}

impl Overlay {
    pub(super) fn new(shared: &mut Shared, system: bool) -> Self {
        let now = shared.now;
        let mut core = Core::new(shared, system);
        let rewiring = Rewiring::new(&mut core, shared);
        shuffle::first(&mut core, shared);
        core.timers.set(OverlayTimer::ProbeContact, now + shared.rng.jitter(PROBE_INTERVAL, 0.2));
        Liveness::schedule(&mut core, shared);
        let discovery = Discovery::new(&mut core, now);
        Self {
            core,
            promotion: Promotion::new(now),
            rewiring,
            shuffles: Shuffles::default(),
            liveness: Liveness::default(),
            discovery,
            forgotten: LruMap::new(BACKOFF_MAX),
            evictions_from: now,
        }
    }

    // --- views ---

    /// When this node entered the topic.
    pub(super) const fn joined(&self) -> Instant {
        self.core.joined
    }

    /// The neighbours, in the order of their keys.
    pub(super) fn neighbours(&self) -> impl Iterator<Item = Contact> {
        self.core.active.values().map(|link| link.contact)
    }

    /// Whether there is a link to `peer`.
    pub(super) fn is_linked(&self, peer: &PublicKey) -> bool {
        self.core.active.contains_key(peer)
    }

    /// The number of healthy links.
    pub(super) fn healthy(&self) -> usize {
        self.core.healthy()
    }

    /// Whether any contact is left to request a link from.
    pub(super) fn has_contacts(&self) -> bool {
        self.core.passive.len() > 0
    }

    /// Whether this node has searched for others of the topic and has no link request in flight.
    pub(super) fn has_searched(&self) -> bool {
        self.discovery.has_searched() && self.promotion.len() == 0
    }

    /// Adds the gauges of this overlay.
    pub(super) fn gauge(&self, stats: &mut TopicsStats) {
        let (active, passive) = (self.core.active.len(), self.core.passive.len());
        if self.core.system {
            (stats.system_active, stats.system_passive) = (active, passive);
        }
        stats.active += active;
        stats.passive += passive;
        for link in self.core.active.values() {
            stats.active_outbound += usize::from(link.outbound);
            stats.active_doubted += usize::from(link.check.is_some());
        }
    }

    /// What the topic does next. The memory of the list is given back, since most topics are idle.
    pub(super) fn take_outputs(&mut self) -> Vec<OverlayOutput> {
        std::mem::take(&mut self.core.out)
    }

    // --- timers ---

    /// When a timer is due.
    pub(super) fn due(&self, timer: OverlayTimer) -> Option<Instant> {
        self.core.timers.get(timer)
    }

    /// Does what is due, and sets the timer anew or stops it.
    pub(super) fn on_timer(
        &mut self,
        shared: &mut Shared,
        timer: OverlayTimer,
        cost: LinkCost<'_>,
    ) {
        let core = &mut self.core;
        match timer {
            OverlayTimer::Shuffle => self.shuffles.on_timer(core, shared),
            OverlayTimer::ProbeContact => {
                let next = shared.now + shared.rng.jitter(PROBE_INTERVAL, 0.2);
                core.timers.set(OverlayTimer::ProbeContact, next);
                let contact = core.passive.stalest().filter(|_| !core.is_of_members(shared));
                if let Some(contact) = contact {
                    core.ask(contact, Purpose::Probe, TopicRequest::Probe);
                }
            }
            OverlayTimer::CheckNeighbour => Liveness::on_timer(core, shared),
            OverlayTimer::Rewire => self.rewiring.rewire(core, &mut self.promotion, shared, cost),
            OverlayTimer::Trim => self.trim(shared, cost),
            OverlayTimer::Find => self.discovery.on_timer(core, shared),
            // Links are requested after every input.
            OverlayTimer::Promote => core.timers.stop(OverlayTimer::Promote),
        }
    }

    /// Requests links while there are too few.
    pub(super) fn promote(&mut self, shared: &mut Shared) {
        self.promotion.promote(&mut self.core, shared);
    }

    /// Drops a link beyond the limit, and stops the timer if there is none.
    fn trim(&mut self, shared: &mut Shared, cost: LinkCost<'_>) {
        if self.core.active.len() > self.core.sizes.active
            && let Some(victim) = self.rewiring.victim(&self.core, shared, cost)
        {
            self.unlink(shared, &victim, Cause::Replaced, Some(DisconnectCause::Room));
            return;
        }
        self.core.timers.stop(OverlayTimer::Trim);
        self.rewiring.on_trimmed();
    }

    // --- making links ---

    /// Another node requests a link (NEIGHBOR in the paper; a joiner's high priority makes it JOIN).
    pub(super) fn on_neighbour(
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
    pub(super) fn on_link_answer(
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
    pub(super) fn on_link_failed(&mut self, now: Instant, peer: &PublicKey) {
        self.promotion.take(peer);
        self.core.drop_contact(peer, now + SILENT_PAUSE);
    }

    /// A request for a link could not be sent: no other one goes out before `until`.
    pub(super) fn on_link_unsent(&mut self, peer: &PublicKey, until: Instant) {
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
    pub(super) fn unlink(
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
    pub(super) fn on_forgotten(&mut self, shared: &mut Shared, peer: &PublicKey) {
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
    pub(super) fn on_disconnect(
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
    pub(super) fn drop_peer(&mut self, shared: &mut Shared, peer: &PublicKey, cause: Cause) {
        // The failure detector already checked whether other nodes are heard.
        let isolated = cause == Cause::Crashed && shared.now < shared.isolated_until;
        let cause = if isolated { Cause::LocalSuspend } else { cause };
        self.unlink(shared, peer, cause, None);
        self.core.passive.remove(peer);
    }

    /// The node misbehaved: drops its link, and its contact.
    pub(super) fn ban(&mut self, shared: &mut Shared, peer: &PublicKey) {
        self.unlink(shared, peer, Cause::Misbehaved, Some(DisconnectCause::Misbehaved));
        self.core.passive.remove(peer);
    }

    /// Disconnects from all neighbours.
    pub(super) fn leave(&mut self, shared: &mut Shared) {
        while let Some((_, link)) = self.core.active.pop_first() {
            self.core.disconnect(shared, link.contact, DisconnectCause::Left);
            shared.stats.neighbours_down.count(Cause::Left);
        }
    }

    /// A node broke a rule.
    fn fault(&mut self, shared: &mut Shared, peer: PublicKey, fault: Fault) {
        match shared.scores.fault(shared.now, peer, fault) {
            Penalty::Tolerated => {}
            Penalty::Pruned => self.core.out.push(OverlayOutput::LinkDistrusted(peer)),
            Penalty::Ignored => self.ban(shared, &peer),
        }
    }

    // --- contacts ---

    /// Adds contacts that this node found itself to the passive view.
    pub(super) fn learn(&mut self, shared: &mut Shared, contact: Contact) {
        self.core.learn(shared, contact, None);
    }

    /// A search for other nodes of the topic ended.
    pub(super) fn on_found(&mut self, shared: &mut Shared, contacts: Vec<Contact>) {
        self.discovery.on_found(&mut self.core, shared, contacts);
    }

    /// A node exists, perhaps again. If it was a neighbour, a link to it is requested soon.
    pub(super) fn on_returned(&mut self, shared: &mut Shared, contact: Contact) {
        self.rewiring.on_returned(&mut self.core, shared, contact);
    }

    /// Schedules the request of a surplus link to this node.
    pub(super) fn bridge(&mut self, shared: &mut Shared, contact: Contact) {
        self.rewiring.bridge(&mut self.core, shared, contact);
    }

    /// A contact of the passive view answered a probe.
    pub(super) fn on_proven(&mut self, now: Instant, peer: &PublicKey) {
        self.core.passive.mark_proven(now, peer);
    }

    /// A contact of the passive view did not answer a probe.
    pub(super) fn on_probe_failed(&mut self, now: Instant, peer: &PublicKey) {
        self.core.drop_contact(peer, now + SILENT_PAUSE);
    }

    /// Whether a neighbour may have this node relay one more request.
    fn allows_relay(&mut self, shared: &mut Shared, from: &PublicKey) -> bool {
        let link = self.core.active.get_mut(from);
        let allowed = link.is_some_and(|link| link.relay_budget.take(shared.now, 1));
        if !allowed {
            shared.stats.rate_limited += 1;
            shared.stats.shuffles_refused += 1;
            self.fault(shared, *from, Fault::OverRate);
        }
        allowed
    }

    /// A neighbour relays a shuffle (SHUFFLE).
    pub(super) fn on_shuffle(&mut self, shared: &mut Shared, from: &PublicKey, shuffle: Shuffle) {
        if self.allows_relay(shared, from)
            && shuffle.origin.public_key != shared.me.contact.public_key
        {
            shuffle::on_shuffle(&mut self.core, shared, from, shuffle);
        }
    }

    /// The reply to a shuffle (SHUFFLEREPLY).
    pub(super) fn on_shuffle_reply(
        &mut self,
        shared: &mut Shared,
        from: Contact,
        nonce: u64,
        contacts: Vec<Contact>,
    ) {
        if !self.shuffles.on_reply(&mut self.core, shared, from, nonce, contacts) {
            shared.stats.shuffles_refused += 1;
            self.fault(shared, from.public_key, Fault::Unsolicited);
        }
    }

    /// A neighbour relays a forward join (FORWARDJOIN).
    pub(super) fn on_forward_join(
        &mut self,
        shared: &mut Shared,
        from: &PublicKey,
        joiner: Contact,
        hops: u8,
    ) {
        if self.allows_relay(shared, from)
            && !self.is_linked(&joiner.public_key)
            && shared.welcomes(&joiner.public_key)
        {
            let Self { core, promotion, .. } = self;
            shuffle::on_forward_join(core, promotion, shared, from, joiner, hops);
        }
    }

    // --- liveness ---

    /// A neighbour sent a request, from this address. False if there is no link to it.
    pub(super) fn on_request(&mut self, now: Instant, from: Contact) -> bool {
        let Some(link) = self.core.active.get_mut(&from.public_key) else { return false };
        link.contact = from;
        link.heard_at = now;
        true
    }

    /// A neighbour answered.
    pub(super) fn on_heard(&mut self, now: Instant, peer: &PublicKey) {
        self.liveness.on_heard(&mut self.core, now, peer);
    }

    /// A neighbour did not answer: it is replaced, and checked once more.
    pub(super) fn on_silent(&mut self, now: Instant, peer: &PublicKey) {
        if Liveness::begin_check(&mut self.core, now, peer, LivenessCheck::Silent) {
            self.promotion.note_lost(now);
        }
    }

    /// The check of a neighbour failed: its link is dropped.
    pub(super) fn on_check_failed(&mut self, shared: &mut Shared, peer: &PublicKey) {
        if self.core.active.get(peer).is_some_and(|link| link.check.is_some()) {
            let cause = self.liveness.loss_cause(&self.core, shared, peer);
            self.unlink(shared, peer, cause, None);
        }
    }

    /// The check of a neighbour could not be sent: nothing is known of it.
    pub(super) fn on_check_unsent(&mut self, peer: &PublicKey) {
        Liveness::on_check_unsent(&mut self.core, peer);
    }

    /// A request to a neighbour could not be sent: it may be probed again.
    pub(super) fn on_notify_unsent(&mut self, peer: &PublicKey) {
        if let Some(link) = self.core.active.get_mut(peer) {
            link.probing = false;
        }
    }

    /// Many peers fell silent: checks every neighbour that was not heard from just now.
    pub(super) fn check_quiet(&mut self, now: Instant) {
        Liveness::check_quiet(&mut self.core, now);
    }

    /// This node slept or stood still: checks all neighbours, and searches for others soon.
    pub(super) fn on_resumed(&mut self, now: Instant) {
        let peers: Vec<PublicKey> = self.core.active.keys().copied().collect();
        for peer in peers {
            Liveness::begin_check(&mut self.core, now, &peer, LivenessCheck::Resumed);
        }
        self.discovery.soon(&mut self.core, now);
    }
}

/// Memory of a link and its key, in bytes.
#[cfg(test)]
pub(super) const LINK_BYTES: usize = size_of::<Link>() + size_of::<PublicKey>();

#[cfg(test)]
impl Overlay {
    /// The neighbours, and whether each is healthy.
    pub(super) fn links(&self) -> Vec<(Contact, bool)> {
        self.core.active.values().map(|link| (link.contact, link.is_healthy())).collect()
    }
}
