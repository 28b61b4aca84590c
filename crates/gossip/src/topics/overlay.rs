//! The links of one topic: how they are made, replaced and dropped.
//!
//! `HyParView` (Leitão, Pereira, Rodrigues, 2007): few symmetric links, repaired at once from a
//! large passive view. Where we differ, against hostile joiners: a link exists only after a request
//! and its answer, so both ends have proved their addresses; half of the links are this node's own
//! choice, and no joiner evicts these or the two oldest; joiners beyond the limit are accepted for
//! 30 s before a link is dropped (see `rewiring`); an evicted peer is refused for a minute; every
//! loss has a cause.
//!
//! The overlay does not handle what is sent over its links. It takes messages, answers and timers and emits
//! [`OverlayOutput`]: requests of its own, and changes of links. The caller gives it a function for the cost
//! of dropping a link.

mod core;
mod discovery;
mod link;
mod links;
mod liveness;
mod output;
mod passive_view;
mod promotion;
mod rewiring;
mod shuffle;
mod timer;

use std::time::Duration;

use potluck_base::{Contact, Instant, LruMap, PublicKey};
use potluck_wire::{DisconnectCause, TopicRequest};

use self::core::{BACKOFF_MAX, Core};
use self::discovery::Discovery;
#[cfg(test)]
use self::link::Link;
pub(super) use self::link::{LinkRequest, LivenessCheck};
use self::liveness::Liveness;
pub(super) use self::output::{NewLink, OverlayOutput};
use self::promotion::Promotion;
pub(super) use self::rewiring::LinkCost;
use self::rewiring::Rewiring;
pub(super) use self::shuffle::Shuffle;
use self::shuffle::Shuffles;
pub(super) use self::timer::OverlayTimer;
use super::asks::Purpose;
use super::scores::Fault;
use super::shared::Shared;
use super::stats::TopicsStats;
use crate::view::Cause;

/// Pause before an unanswering contact is asked again by a node that has no healthy link.
const SILENT_PAUSE: Duration = Duration::from_secs(5);
/// Interval between two probes of contacts in the passive view. With 128 contacts a full round
/// takes as long as a proof of life counts.
const PROBE_INTERVAL: Duration = Duration::from_secs(14);

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

    /// Carries out a timer that is due, and then sets it again or stops it.
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

    /// The check of a neighbour could not be sent, so its state is unknown.
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
mod tests;

#[cfg(test)]
impl Overlay {
    /// The neighbours, and whether each is healthy.
    pub(super) fn links(&self) -> Vec<(Contact, bool)> {
        self.core.active.values().map(|link| (link.contact, link.is_healthy())).collect()
    }
}
