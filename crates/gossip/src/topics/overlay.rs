//! The links of one topic: how they are made, replaced and dropped.
//!
//! `HyParView` (Leitão, Pereira, Rodrigues, 2007): few symmetric links, repaired at once from a
//! large passive view. Where we differ, against hostile joiners: a link exists only after a request
//! and its answer, so both ends have proved their addresses; half of the links are this node's own
//! choice, and no joiner evicts these or the two oldest; joiners beyond the limit are accepted for
//! 30 s before a link is dropped (see `rewiring`); an evicted peer is refused for a minute; every
//! loss has a cause.

pub(super) mod passive_view;
pub(super) mod rewiring;
pub(super) mod shuffle;

use std::time::Duration;

use potluck_base::{Contact, Instant, PublicKey};
use potluck_wire::{DisconnectCause, TopicRequest, TopicResponse};

use super::events::{TopicServeId, TopicsOutput};
use super::neighbour::Neighbour;
use super::shared::{Purpose, Shared};
use super::topic::Topic;
use crate::view::{Cause, Mode};

/// Link requests in flight before this node waits. A higher value fills the active view faster and
/// causes more surplus links.
const PARALLEL_MAX: usize = 4;
/// How long a link request may hold one of these slots. A lower value asks the next contact sooner.
const SLOT_TIME: Duration = Duration::from_millis(500);
/// Link requests under way in total, with those past their slot time. Bounds memory.
const ATTEMPTS_MAX: usize = 16;
/// Multiplier for both limits while a node is depleted: it has no link, or lost more than half
/// lately. With 90 % of the nodes dead, 66 attempts find a live one with probability 99.9 %.
const DEPLETED_FACTOR: usize = 4;
/// How long after the last loss a node counts as depleted.
const DEPLETED_FOR: Duration = Duration::from_secs(30);
/// How long neither end makes a link again after one of them disconnected for room. A higher value
/// keeps a usable pair apart for longer.
const BACKOFF: Duration = Duration::from_secs(60);
/// Pause before a contact that declined is asked again.
const DECLINED_PAUSE: Duration = Duration::from_secs(30);
/// Pause before an unanswering contact is asked again by a node that has no healthy link.
const SILENT_PAUSE: Duration = Duration::from_secs(5);
/// Unanswering contacts that such a node keeps. With none left it could never come back.
const LAST_CONTACTS: usize = 16;
/// First pause after a round of declined requests; it doubles with each round.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// Longest pause while this node has no healthy link.
const PAUSE_ALONE_MAX: Duration = Duration::from_secs(2);
/// Longest pause otherwise.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long links beyond the limit are kept. A higher value lets joiners use a full node for longer
/// while they look for other neighbours.
const OVERFLOW_FOR: Duration = Duration::from_secs(30);
/// A joiner may evict a neighbour once in this time. A higher value slows hostile joiners and keeps
/// honest ones waiting.
const EVICTION_INTERVAL: Duration = Duration::from_secs(10);
/// Alternative contacts given to a peer that is declined or disconnected.
const ALTERNATIVES: usize = 4;
/// Forward joins sent for a joiner. A higher value gives it links sooner and costs more messages.
const FORWARD_JOINS: usize = 3;
/// Links into one public subnet, in open networks. A lower value makes it harder to surround this
/// node from one subnet.
const PER_NETGROUP_MAX: usize = 2;

/// A link request in flight.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    at: Instant,
    contact: Contact,
    /// The link is a surplus one, for rewiring.
    surplus: bool,
}

impl Topic {
    /// Half of the active view is reserved for links of this node's own choice.
    pub(super) fn outbound_kept(&self) -> usize {
        self.sizes.active.div_ceil(2)
    }

    /// The most links there may be for a short time.
    pub(super) fn overflow_max(&self) -> usize {
        self.sizes.active + self.sizes.active.div_ceil(2)
    }

    fn inbound(&self) -> usize {
        self.active_view.values().filter(|neighbour| !neighbour.outbound).count()
    }

    /// Adds a contact to the passive view.
    pub(super) fn learn(
        &mut self,
        shared: &mut Shared,
        contact: Contact,
        source: Option<PublicKey>,
    ) {
        let peer = contact.public_key;
        if self.active_view.contains_key(&peer) || !shared.welcomes(&peer) {
            return;
        }
        self.passive_view.add(
            shared.now,
            contact,
            source,
            shared.mode == Mode::Open,
            &mut shared.rng,
        );
        if let Some(until) = self.backoff.peek(&peer) {
            self.passive_view.retry_after(&peer, *until);
        }
    }

    // --- making links ---

    /// Requests links while there are too few.
    pub(super) fn promote(&mut self, shared: &mut Shared) {
        let now = shared.now;
        self.promote_at = None;
        self.notice_alone(now);
        loop {
            let healthy = self.healthy();
            let fresh = self.attempts.values().filter(|attempt| now.since(attempt.at) < SLOT_TIME);
            let fresh: Vec<Instant> = fresh.map(|attempt| attempt.at).collect();
            let depleted = self.is_depleted(now, healthy);
            let factor = if depleted { DEPLETED_FACTOR } else { 1 };
            // Most contacts of a depleted node are gone as well.
            let enough = !depleted && healthy + fresh.len() >= self.sizes.active;
            let busy = self.attempts.len() >= ATTEMPTS_MAX * factor;
            if enough || busy || fresh.len() >= PARALLEL_MAX * factor {
                self.promote_at = fresh.iter().min().map(|at| *at + SLOT_TIME);
                return;
            }
            let Topic { active_view, attempts, .. } = self;
            let scores = &shared.scores;
            let free = |peer: &PublicKey| {
                !active_view.contains_key(peer)
                    && !attempts.contains_key(peer)
                    && !scores.ignores(now, peer)
            };
            if now < self.attempts_from {
                let any = self.passive_view.len() > 0;
                self.promote_at = any.then_some(self.attempts_from);
                return;
            }
            let Some(contact) = self.passive_view.candidate(now, &mut shared.rng, free) else {
                self.promote_at = self.passive_view.next_candidate(now, free);
                return;
            };
            self.attempt(shared, contact, false);
        }
    }

    /// A node that loses its last link drops the pauses that it set while it had some.
    fn notice_alone(&mut self, now: Instant) {
        let alone = self.healthy() == 0;
        if alone && !self.alone {
            let soon = now + PAUSE_ALONE_MAX;
            self.attempts_from = self.attempts_from.min(soon);
            // Also peers that disconnected from this node: they accept a node that has no other
            // link.
            self.passive_view.cap_retries(soon);
        }
        self.alone = alone;
    }

    /// Whether this node has no healthy link, or lost most of its links lately.
    fn is_depleted(&self, now: Instant, healthy: usize) -> bool {
        let lately = self.lost_at.is_some_and(|at| now.since(at) < DEPLETED_FOR);
        healthy == 0 || (lately && healthy * 2 < self.sizes.active)
    }

    /// Requests a link from one node.
    pub(super) fn attempt(&mut self, shared: &mut Shared, contact: Contact, surplus: bool) {
        let high_priority = self.healthy() == 0;
        let body = TopicRequest::Neighbour { high_priority, age_ms: self.age_ms(shared.now) };
        self.attempts.insert(contact.public_key, Attempt { at: shared.now, contact, surplus });
        shared.ask(self.id, contact, Purpose::Link, body);
    }

    /// Another node requests a link.
    pub(super) fn on_neighbour(
        &mut self,
        shared: &mut Shared,
        serve: TopicServeId,
        from: Contact,
        (high_priority, age_ms): (bool, u64),
    ) {
        let peer = from.public_key;
        if let Some(known) = self.active_view.get_mut(&peer) {
            known.contact = from;
            shared.answer(serve, TopicResponse::Accepted { age_ms: self.age_ms(shared.now) });
            return;
        }
        let parted = self.backoff.peek(&peer).is_some_and(|until| shared.now < *until);
        // A node without any other link may come back at once if this evicts no neighbour.
        let comes_back = !parted || (high_priority && self.active_view.len() < self.overflow_max());
        let has_room = comes_back
            && shared.welcomes(&peer)
            && self.netgroup_has_room(shared, &from)
            && self.makes_room(shared, high_priority);
        if !has_room {
            shared.stats.neighbours_declined += 1;
            let others = self.alternatives(shared, &peer);
            shared.answer(serve, TopicResponse::Declined { others });
            self.learn(shared, from, Some(peer));
            return;
        }
        shared.answer(serve, TopicResponse::Accepted { age_ms: self.age_ms(shared.now) });
        self.link(shared, from, false, age_ms);
        if !high_priority && self.has_granted() {
            self.mark_surplus(shared, &peer, false);
        }
        if high_priority {
            for _ in 0..FORWARD_JOINS {
                self.send_forward_join(shared, from);
            }
        }
    }

    fn makes_room(&mut self, shared: &mut Shared, high_priority: bool) -> bool {
        let links = self.active_view.len();
        if !high_priority {
            // Places are reserved for links of this node's own choice while there are contacts to
            // choose from.
            let cached = if self.passive_view.len() > 0 { self.outbound_kept() } else { 0 };
            let has_room = links < self.sizes.active && self.inbound() < self.sizes.active - cached;
            return has_room || self.grants(shared);
        }
        if links < self.overflow_max() {
            return true;
        }
        if shared.now < self.evictions_from {
            shared.stats.rate_limited += 1;
            return false;
        }
        let Some(victim) = self.victim(shared) else { return false };
        self.evictions_from = shared.now + EVICTION_INTERVAL;
        self.unlink(shared, &victim, Cause::Replaced, Some(DisconnectCause::Room));
        true
    }

    /// In open networks only few links go into one public subnet.
    fn netgroup_has_room(&self, shared: &Shared, contact: &Contact) -> bool {
        if shared.mode == Mode::Fleet {
            return true;
        }
        let Some(group) = self.passive_view.netgroup(contact) else { return true };
        let same = |other: &&Neighbour| self.passive_view.netgroup(&other.contact) == Some(group);
        self.active_view.values().filter(same).count() < PER_NETGROUP_MAX
    }

    /// A request for a link was answered.
    pub(super) fn on_link_answer(
        &mut self,
        shared: &mut Shared,
        peer: PublicKey,
        answer: TopicResponse,
    ) {
        let Some(Attempt { contact, surplus, .. }) = self.attempts.remove(&peer) else { return };
        match answer {
            TopicResponse::Accepted { age_ms } => {
                self.declined_in_row = 0;
                self.passive_view.mark_proven(shared.now, &peer);
                if let Some(known) = self.active_view.get_mut(&peer) {
                    known.outbound = true;
                } else if self.active_view.len() < self.overflow_max()
                    && shared.welcomes(&peer)
                    && self.netgroup_has_room(shared, &contact)
                {
                    self.link(shared, contact, true, age_ms);
                    if surplus {
                        self.mark_surplus(shared, &peer, true);
                    }
                } else {
                    self.disconnect(shared, contact, DisconnectCause::Room);
                    self.passive_view.retry_after(&peer, shared.now + BACKOFF);
                }
            }
            TopicResponse::Declined { others } => {
                self.passive_view.mark_proven(shared.now, &peer);
                self.on_declined(shared, &peer);
                for other in others.into_iter().take(ALTERNATIVES) {
                    self.learn(shared, other, Some(peer));
                }
            }
            // A node that is not in the topic is no contact for it.
            _ => self.passive_view.remove(&peer),
        }
    }

    /// A request for a link got no answer.
    pub(super) fn on_link_failed(&mut self, shared: &Shared, peer: &PublicKey) {
        self.attempts.remove(peer);
        self.drop_contact(shared, peer);
    }

    /// A contact did not answer. A node without a healthy link keeps its last contacts: most likely
    /// the fault is its own, and without contacts it could never come back.
    pub(super) fn drop_contact(&mut self, shared: &Shared, peer: &PublicKey) {
        if self.healthy() > 0 || self.passive_view.len() > LAST_CONTACTS {
            self.passive_view.remove(peer);
        } else {
            self.passive_view.retry_after(peer, shared.now + SILENT_PAUSE);
        }
    }

    /// A node declined: it is asked again later, and after several declines in a row so are all
    /// others.
    fn on_declined(&mut self, shared: &mut Shared, peer: &PublicKey) {
        let pause = if self.healthy() == 0 { PAUSE_ALONE_MAX } else { DECLINED_PAUSE };
        self.passive_view.retry_after(peer, shared.now + shared.rng.jitter(pause, 0.2));
        self.declined_in_row = self.declined_in_row.saturating_add(1);
        let rounds = self.declined_in_row / PARALLEL_MAX as u32;
        if rounds > 0 {
            let longest = if self.healthy() == 0 { PAUSE_ALONE_MAX } else { PAUSE_MAX };
            let pause = PAUSE_MIN.saturating_mul(1 << rounds.min(10)).min(longest);
            self.attempts_from = shared.now + shared.rng.jitter(pause, 0.2);
        }
    }

    fn link(&mut self, shared: &mut Shared, contact: Contact, outbound: bool, age_ms: u64) {
        let peer = contact.public_key;
        self.passive_view.remove(&peer);
        self.trees.links_changed();
        self.active_view.insert(peer, Neighbour::new(shared, contact, outbound, age_ms));
        shared.stats.neighbours_up += 1;
        if self.system {
            shared.out.push_back(TopicsOutput::NeighbourUp(contact));
        }
        if self.active_view.len() > self.sizes.active && self.trim_at.is_none() {
            self.trim_at = Some(shared.now + shared.rng.jitter(OVERFLOW_FOR, 0.2));
        }
        self.push_unacked(shared, &peer);
        self.summarise_to(shared, &peer, true);
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
        let Some(neighbour) = self.active_view.remove(peer) else { return };
        let contact = neighbour.contact;
        self.trees.links_changed();
        self.missing.remove_peer(peer);
        shared.stats.neighbours_down.count(cause);
        if matches!(cause, Cause::Crashed | Cause::LocalSuspend) {
            self.rewiring.on_neighbour_lost(*peer);
        }
        if self.system {
            shared.out.push_back(TopicsOutput::NeighbourDown(contact, cause));
        }
        match cause {
            Cause::Evicted | Cause::Replaced => {
                let until = shared.now + BACKOFF;
                self.backoff.insert(*peer, until);
                self.learn(shared, contact, None);
                self.passive_view.retry_after(peer, until);
            }
            Cause::LocalSuspend => {
                self.learn(shared, contact, None);
                self.passive_view.retry_after(peer, shared.now + SILENT_PAUSE);
            }
            Cause::Forgotten => self.learn(shared, contact, None),
            // Without any link the fault may be this node's own, and there is no other node to ask.
            Cause::Crashed if self.healthy() == 0 => {
                self.learn(shared, contact, None);
                self.passive_view.retry_after(peer, shared.now + SILENT_PAUSE);
            }
            Cause::Crashed | Cause::Left | Cause::Misbehaved => self.passive_view.remove(peer),
        }
        if let Some(cause) = tell {
            self.disconnect(shared, contact, cause);
        }
        self.replace_parent(shared, peer);
        self.keep_parents(shared, None);
        if self.healthy() * 2 < self.sizes.active {
            self.find_soon(shared.now);
        }
    }

    /// A neighbour is alive and no longer knows the link: it took this node for gone while this
    /// node stood still or was isolated, or it restarted. Neither end made room for another peer,
    /// so a new link is requested at once.
    pub(super) fn on_forgotten(&mut self, shared: &mut Shared, peer: &PublicKey) {
        let Some(contact) = self.active_view.get(peer).map(|neighbour| neighbour.contact) else {
            return;
        };
        self.unlink(shared, peer, Cause::Forgotten, None);
        let lately =
            self.forgotten.peek(peer).is_some_and(|at| shared.now.since(*at) < SILENT_PAUSE);
        if lately {
            self.passive_view.retry_after(peer, shared.now + SILENT_PAUSE);
        } else if !self.attempts.contains_key(peer) && shared.welcomes(peer) {
            self.forgotten.insert(*peer, shared.now);
            self.attempt(shared, contact, false);
        }
    }

    fn disconnect(&mut self, shared: &mut Shared, contact: Contact, cause: DisconnectCause) {
        let others = match cause {
            DisconnectCause::Misbehaved => Vec::new(),
            DisconnectCause::Left | DisconnectCause::Room => {
                self.alternatives(shared, &contact.public_key)
            }
        };
        shared.ask(
            self.id,
            contact,
            Purpose::NonNeighbour,
            TopicRequest::Disconnect { cause, others },
        );
    }

    /// Contacts for a peer that has to look elsewhere.
    fn alternatives(&self, shared: &mut Shared, except: &PublicKey) -> Vec<Contact> {
        let mut others: Vec<Contact> =
            self.active_view.values().map(|neighbour| neighbour.contact).collect();
        others.extend(self.passive_view.sample(&mut shared.rng, ALTERNATIVES));
        others.retain(|contact| contact.public_key != *except);
        shared.rng.shuffle(&mut others);
        others.truncate(ALTERNATIVES);
        others
    }

    /// A neighbour disconnects.
    pub(super) fn on_disconnect(
        &mut self,
        shared: &mut Shared,
        from: &PublicKey,
        cause: DisconnectCause,
        others: Vec<Contact>,
    ) {
        if !self.active_view.contains_key(from) {
            return;
        }
        let cause = match cause {
            DisconnectCause::Left => Cause::Left,
            DisconnectCause::Room | DisconnectCause::Misbehaved => Cause::Evicted,
        };
        for other in others.into_iter().take(ALTERNATIVES) {
            self.learn(shared, other, Some(*from));
        }
        self.unlink(shared, from, cause, None);
    }

    /// Disconnects from all neighbours.
    pub(super) fn leave(&mut self, shared: &mut Shared) {
        self.end_receipts(shared);
        let peers: Vec<PublicKey> = self.active_view.keys().copied().collect();
        for peer in peers {
            if let Some(neighbour) = self.active_view.remove(&peer) {
                self.disconnect(shared, neighbour.contact, DisconnectCause::Left);
                shared.stats.neighbours_down.count(Cause::Left);
            }
        }
    }
}
