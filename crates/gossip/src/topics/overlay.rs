//! The links of one topic: how they are made, replaced and dropped.
//!
//! `HyParView` (Leitão, Pereira, Rodrigues, 2007): few symmetric links, repaired at once from a
//! large passive view. Where we differ, against hostile joiners: a link exists after a request and
//! its answer, so both ends have proved their addresses; half of the links are those this node
//! chose itself and no joiner evicts, nor the two oldest; joiners beyond the limit are let in for
//! 30 s and only then somebody goes (see `mixing`); who was evicted stays away for a minute; a loss
//! has a cause.

use std::time::Duration;

use potluck_base::{Contact, Instant, PublicKey};
use potluck_wire::{PartCause, SpreadAct, SpreadAnswer};

use super::asks::{Purpose, World};
use super::events::{SpreadServeId, TopicsOutput};
use super::neighbour::Neighbour;
use super::topic::Topic;
use crate::view::{Cause, Mode};

/// Requests for links that are given some time to be answered, at once...
const PARALLEL_MAX: usize = 4;
/// ...namely this; then others are asked besides.
const PATIENCE: Duration = Duration::from_millis(500);
/// Requests for links under way at all.
const ATTEMPTS_MAX: usize = 16;
/// So many times as many for a node without any link, or that lately lost more than half of them:
/// when nine of ten are gone, 66 must be asked until one of them is there with 99.9 %.
const BEREFT_FACTOR: usize = 4;
/// How long after the last loss such a node hurries.
const BEREFT_FOR: Duration = Duration::from_secs(30);
/// How long a link is not made again after one side made room, and a request after it was declined.
const BACKOFF: Duration = Duration::from_secs(60);
const DECLINED: Duration = Duration::from_secs(30);
/// How long a contact that did not answer is not asked again by a node that hears nobody, and how
/// many such contacts it keeps.
const SILENT: Duration = Duration::from_secs(5);
const LAST_CONTACTS: usize = 16;
/// Pauses after rounds of declined requests: the shortest, the longest without any link, and the
/// longest.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_ALONE_MAX: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How long links beyond the limit are kept.
const OVERFLOW_FOR: Duration = Duration::from_secs(30);
/// A joiner may evict somebody once in this time.
const EVICTION_INTERVAL: Duration = Duration::from_secs(10);
/// Contacts given to somebody who is declined or evicted.
const OTHERS: usize = 4;
/// Walks sent for a joiner.
const WALKS: usize = 3;
/// Links into one public subnet, in open networks.
const PER_NETGROUP: usize = 2;

/// A request for a link.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    at: Instant,
    contact: Contact,
    /// The link is one beyond need.
    mixing: bool,
}

impl Topic {
    /// Half of the links are this node's own choice.
    pub(super) fn outbound_kept(&self) -> usize {
        self.sizes.active.div_ceil(2)
    }

    /// Links that there may be for a short time.
    pub(super) fn overflow_max(&self) -> usize {
        self.sizes.active + self.sizes.active.div_ceil(2)
    }

    fn inbound(&self) -> usize {
        self.active.values().filter(|neighbour| !neighbour.outbound).count()
    }

    /// Takes a contact into the passive view.
    pub(super) fn learn(
        &mut self,
        world: &mut World<'_>,
        contact: Contact,
        source: Option<PublicKey>,
    ) {
        let peer = contact.public_key;
        if self.active.contains_key(&peer) || !world.welcomes(&peer) {
            return;
        }
        self.passive.add(world.now, contact, source, world.mode == Mode::Open, world.rng);
        if let Some(until) = self.backoff.peek(&peer) {
            self.passive.put_off(&peer, *until);
        }
    }

    // --- making links ---

    /// Asks for links while there are too few.
    pub(super) fn promote(&mut self, world: &mut World<'_>) {
        let now = world.now;
        self.promote_at = None;
        self.notice_alone(now);
        loop {
            let healthy = self.healthy();
            let fresh = self.attempts.values().filter(|attempt| now.since(attempt.at) < PATIENCE);
            let fresh: Vec<Instant> = fresh.map(|attempt| attempt.at).collect();
            let bereft = self.is_bereft(now, healthy);
            let factor = if bereft { BEREFT_FACTOR } else { 1 };
            // Most of those that a bereft node asks are gone as well.
            let enough = !bereft && healthy + fresh.len() >= self.sizes.active;
            let busy = self.attempts.len() >= ATTEMPTS_MAX * factor;
            if enough || busy || fresh.len() >= PARALLEL_MAX * factor {
                self.promote_at = fresh.iter().min().map(|at| *at + PATIENCE);
                return;
            }
            let Topic { active, attempts, .. } = self;
            let scores = &*world.scores;
            let free = |peer: &PublicKey| {
                !active.contains_key(peer)
                    && !attempts.contains_key(peer)
                    && !scores.ignores(now, peer)
            };
            if now < self.attempts_from {
                let any = self.passive.len() > 0;
                self.promote_at = any.then_some(self.attempts_from);
                return;
            }
            let Some(contact) = self.passive.candidate(now, world.rng, free) else {
                self.promote_at = self.passive.next_candidate(now, free);
                return;
            };
            self.attempt(world, contact, false);
        }
    }

    /// Whoever loses its last link waits for nothing that was put off while it had some.
    fn notice_alone(&mut self, now: Instant) {
        let alone = self.healthy() == 0;
        if alone && !self.alone {
            let soon = now + PAUSE_ALONE_MAX;
            self.attempts_from = self.attempts_from.min(soon);
            // Those that parted from this node as well: they let in whoever has no other link.
            self.passive.put_forward(soon);
        }
        self.alone = alone;
    }

    /// Whether this node has no link, or just lost most of them.
    fn is_bereft(&self, now: Instant, healthy: usize) -> bool {
        let lately = self.lost_at.is_some_and(|at| now.since(at) < BEREFT_FOR);
        healthy == 0 || (lately && healthy * 2 < self.sizes.active)
    }

    /// Asks one node for a link.
    pub(super) fn attempt(&mut self, world: &mut World<'_>, contact: Contact, mixing: bool) {
        let urgent = self.healthy() == 0;
        let act = SpreadAct::Neighbour { urgent, age_ms: self.age_ms(world.now) };
        self.attempts.insert(contact.public_key, Attempt { at: world.now, contact, mixing });
        world.ask(self.id, contact, Purpose::Link, act);
    }

    /// Another node wants a link.
    pub(super) fn on_neighbour(
        &mut self,
        world: &mut World<'_>,
        serve: SpreadServeId,
        from: Contact,
        (urgent, age_ms): (bool, u64),
    ) {
        let peer = from.public_key;
        if let Some(known) = self.active.get_mut(&peer) {
            known.contact = from;
            world.answer(serve, SpreadAnswer::Accepted { age_ms: self.age_ms(world.now) });
            return;
        }
        let parted = self.backoff.peek(&peer).is_some_and(|until| world.now < *until);
        // Who has no other link may come back at once where nobody has to go for it.
        let comes_back = !parted || (urgent && self.active.len() < self.overflow_max());
        let has_room = comes_back
            && world.welcomes(&peer)
            && self.netgroup_has_room(world, &from)
            && self.makes_room(world, urgent);
        if !has_room {
            world.stats.neighbours_declined += 1;
            let others = self.others(world, &peer);
            world.answer(serve, SpreadAnswer::Declined { others });
            self.learn(world, from, Some(peer));
            return;
        }
        world.answer(serve, SpreadAnswer::Accepted { age_ms: self.age_ms(world.now) });
        self.link(world, from, false, age_ms);
        if !urgent && self.has_granted() {
            self.beyond_need(world, &peer, false);
        }
        if urgent {
            for _ in 0..WALKS {
                self.send_walk(world, from);
            }
        }
    }

    fn makes_room(&mut self, world: &mut World<'_>, urgent: bool) -> bool {
        let links = self.active.len();
        if !urgent {
            // Places are kept for links of this node's own choice as long as there is a choice.
            let kept = if self.passive.len() > 0 { self.outbound_kept() } else { 0 };
            let has_room = links < self.sizes.active && self.inbound() < self.sizes.active - kept;
            return has_room || self.grants(world);
        }
        if links < self.overflow_max() {
            return true;
        }
        if world.now < self.evictions_from {
            world.stats.rate_limited += 1;
            return false;
        }
        let Some(victim) = self.victim(world) else { return false };
        self.evictions_from = world.now + EVICTION_INTERVAL;
        self.unlink(world, &victim, Cause::Replaced, Some(PartCause::Room));
        true
    }

    /// In open networks few links go into one public subnet.
    fn netgroup_has_room(&self, world: &World<'_>, contact: &Contact) -> bool {
        if world.mode == Mode::Fleet {
            return true;
        }
        let Some(group) = self.passive.netgroup(contact) else { return true };
        let same = |other: &&Neighbour| self.passive.netgroup(&other.contact) == Some(group);
        self.active.values().filter(same).count() < PER_NETGROUP
    }

    /// A request for a link was answered.
    pub(super) fn on_link_answer(
        &mut self,
        world: &mut World<'_>,
        peer: PublicKey,
        answer: SpreadAnswer,
    ) {
        let Some(Attempt { contact, mixing, .. }) = self.attempts.remove(&peer) else { return };
        match answer {
            SpreadAnswer::Accepted { age_ms } => {
                self.declined_in_row = 0;
                self.passive.prove(world.now, &peer);
                if let Some(known) = self.active.get_mut(&peer) {
                    known.outbound = true;
                } else if self.active.len() < self.overflow_max()
                    && world.welcomes(&peer)
                    && self.netgroup_has_room(world, &contact)
                {
                    self.link(world, contact, true, age_ms);
                    if mixing {
                        self.beyond_need(world, &peer, true);
                    }
                } else {
                    self.part(world, contact, PartCause::Room);
                    self.passive.put_off(&peer, world.now + BACKOFF);
                }
            }
            SpreadAnswer::Declined { others } => {
                self.passive.prove(world.now, &peer);
                self.put_off(world, &peer);
                for other in others.into_iter().take(OTHERS) {
                    self.learn(world, other, Some(peer));
                }
            }
            // Whoever is not in the topic is no contact for it.
            _ => self.passive.remove(&peer),
        }
    }

    /// A request for a link got no answer.
    pub(super) fn on_link_failed(&mut self, world: &World<'_>, peer: &PublicKey) {
        self.attempts.remove(peer);
        self.drop_contact(world, peer);
    }

    /// A contact did not answer. Who hears nobody at all keeps its last contacts: most likely the
    /// fault is its own, and with none of them left it could never come back.
    pub(super) fn drop_contact(&mut self, world: &World<'_>, peer: &PublicKey) {
        if self.healthy() > 0 || self.passive.len() > LAST_CONTACTS {
            self.passive.remove(peer);
        } else {
            self.passive.put_off(peer, world.now + SILENT);
        }
    }

    /// A node declined: it and, after some in a row, all others are asked later.
    fn put_off(&mut self, world: &mut World<'_>, peer: &PublicKey) {
        let pause = if self.healthy() == 0 { PAUSE_ALONE_MAX } else { DECLINED };
        self.passive.put_off(peer, world.now + world.rng.jitter(pause, 0.2));
        self.declined_in_row = self.declined_in_row.saturating_add(1);
        let rounds = self.declined_in_row / PARALLEL_MAX as u32;
        if rounds > 0 {
            let longest = if self.healthy() == 0 { PAUSE_ALONE_MAX } else { PAUSE_MAX };
            let pause = PAUSE_MIN.saturating_mul(1 << rounds.min(10)).min(longest);
            self.attempts_from = world.now + world.rng.jitter(pause, 0.2);
        }
    }

    fn link(&mut self, world: &mut World<'_>, contact: Contact, outbound: bool, age_ms: u64) {
        let peer = contact.public_key;
        self.passive.remove(&peer);
        self.growths.links_changed();
        self.active.insert(peer, Neighbour::new(world, contact, outbound, age_ms));
        world.stats.neighbours_up += 1;
        if self.system {
            world.out.push_back(TopicsOutput::NeighbourUp(contact));
        }
        if self.active.len() > self.sizes.active && self.trim_at.is_none() {
            self.trim_at = Some(world.now + world.rng.jitter(OVERFLOW_FOR, 0.2));
        }
        self.push_untaken(world, &peer);
        self.summarise_to(world, &peer, true);
    }

    // --- dropping links ---

    /// Drops a link and, if `tell`, says so.
    pub(super) fn unlink(
        &mut self,
        world: &mut World<'_>,
        peer: &PublicKey,
        cause: Cause,
        tell: Option<PartCause>,
    ) {
        let Some(neighbour) = self.active.remove(peer) else { return };
        let contact = neighbour.contact;
        self.growths.links_changed();
        self.promises.forget(peer);
        world.stats.neighbours_down.count(cause);
        if matches!(cause, Cause::Crashed | Cause::LocalSuspend) {
            self.mixing.lost(*peer);
        }
        if self.system {
            world.out.push_back(TopicsOutput::NeighbourDown(contact, cause));
        }
        match cause {
            Cause::Evicted | Cause::Replaced => {
                let until = world.now + BACKOFF;
                self.backoff.insert(*peer, until);
                self.learn(world, contact, None);
                self.passive.put_off(peer, until);
            }
            Cause::LocalSuspend => {
                self.learn(world, contact, None);
                self.passive.put_off(peer, world.now + SILENT);
            }
            Cause::Forgotten => self.learn(world, contact, None),
            // Without any link the fault may be here, and nobody else could be asked.
            Cause::Crashed if self.healthy() == 0 => {
                self.learn(world, contact, None);
                self.passive.put_off(peer, world.now + SILENT);
            }
            Cause::Crashed | Cause::Left | Cause::Misbehaved => self.passive.remove(peer),
        }
        if let Some(cause) = tell {
            self.part(world, contact, cause);
        }
        self.replace_parent(world, peer);
        self.keep_parents(world, None);
        if self.healthy() * 2 < self.sizes.active {
            self.find_soon(world.now);
        }
    }

    /// A neighbour lives and knows nothing of the link: it took this node for gone while that stood still or
    /// was cut off, or it began anew. Nobody made room for anybody, so it is asked for a link at once.
    pub(super) fn on_forgotten(&mut self, world: &mut World<'_>, peer: &PublicKey) {
        let Some(contact) = self.active.get(peer).map(|neighbour| neighbour.contact) else {
            return;
        };
        self.unlink(world, peer, Cause::Forgotten, None);
        let lately = self.forgotten.peek(peer).is_some_and(|at| world.now.since(*at) < SILENT);
        if lately {
            self.passive.put_off(peer, world.now + SILENT);
        } else if !self.attempts.contains_key(peer) && world.welcomes(peer) {
            self.forgotten.insert(*peer, world.now);
            self.attempt(world, contact, false);
        }
    }

    fn part(&mut self, world: &mut World<'_>, contact: Contact, cause: PartCause) {
        let others = match cause {
            PartCause::Misbehaved => Vec::new(),
            PartCause::Left | PartCause::Room => self.others(world, &contact.public_key),
        };
        world.ask(self.id, contact, Purpose::Stranger, SpreadAct::Part { cause, others });
    }

    /// Contacts for somebody who has to look elsewhere.
    fn others(&self, world: &mut World<'_>, except: &PublicKey) -> Vec<Contact> {
        let mut others: Vec<Contact> =
            self.active.values().map(|neighbour| neighbour.contact).collect();
        others.extend(self.passive.sample(world.rng, OTHERS));
        others.retain(|contact| contact.public_key != *except);
        world.rng.shuffle(&mut others);
        others.truncate(OTHERS);
        others
    }

    /// A neighbour parts.
    pub(super) fn on_part(
        &mut self,
        world: &mut World<'_>,
        from: &PublicKey,
        cause: PartCause,
        others: Vec<Contact>,
    ) {
        if !self.active.contains_key(from) {
            return;
        }
        let cause = match cause {
            PartCause::Left => Cause::Left,
            PartCause::Room | PartCause::Misbehaved => Cause::Evicted,
        };
        for other in others.into_iter().take(OTHERS) {
            self.learn(world, other, Some(*from));
        }
        self.unlink(world, from, cause, None);
    }

    /// Says good-bye to all.
    pub(super) fn leave(&mut self, world: &mut World<'_>) {
        self.end_receipts(world);
        let peers: Vec<PublicKey> = self.active.keys().copied().collect();
        for peer in peers {
            if let Some(neighbour) = self.active.remove(&peer) {
                self.part(world, neighbour.contact, PartCause::Left);
                world.stats.neighbours_down.count(Cause::Left);
            }
        }
    }
}
