//! Indirect probes (ping-req): one more try, while helpers probe the member as well.
//!
//! Helpers return the subject's signature over a nonce, so they cannot claim falsely that it is
//! alive; that it is not, this node has found itself.
//!
//! In a fleet any member can help, since all are linked to all. In an open network helpers are
//! peers that the subject itself listed in its acks (its neighbours and its probers), one per ack
//! in rotation: they reach it where a stranger mostly would not, and know its address. They also
//! receive the suspect messages. Rotation matters, so that every node that watches a member is
//! listed: with random choice, if each of fifty probers knew six others, 1 in 400 probers would be
//! listed to no other one.

use std::time::Duration;

use potluck_base::{Contact, Instant, LruMap, PublicKey, is_dialable};
use potluck_wire::{MemberRequest, MemberResponse, PeerHints, Proof, Response, Revoked};

use super::Members;
use super::outbox::{AskOptions, Purpose};
use super::table::LocalState;
use crate::view::Mode;

/// Helpers asked: SWIM's 3. A higher value suspects fewer healthy members and costs more messages.
const HELPERS: usize = 3;
/// Time that a helper may take: one try to a peer whose round trip it does not know.
const HELPER_WAIT: Duration = Duration::from_millis(500);
/// Helper hints sent per ack.
const HINTS_PER_ACK: usize = 1;
/// Helper hints kept per member, as helpers and as receivers of suspect messages.
const HINTS_MAX: usize = 2 * HELPERS;
/// Probers of this node remembered: about twice as many as watch a node.
const PROBERS_MAX: usize = 128;
/// How long a prober is listed after a probe: two rounds of a node that watches 60 members.
const PROBER_LIFE: Duration = Duration::from_secs(120);
/// Interval in which one prober gets one hint, so that none uses up the hints of others.
const HINT_PAUSE: Duration = Duration::from_secs(10);

/// A node that probed this one.
#[derive(Debug)]
struct Prober {
    contact: Contact,
    probed: Instant,
    /// When it last got a hint.
    hinted: Option<Instant>,
}

/// The nodes that watch this one in an open network. It does not watch all of them: a close group
/// need not be mutual, and only this node knows them all.
#[derive(Debug)]
pub(super) struct Probers {
    known: LruMap<PublicKey, Prober>,
    /// The next hints, the last first, in random order; every prober gets its turn before any gets
    /// a second one.
    hint_order: Vec<PublicKey>,
}

impl Default for Probers {
    fn default() -> Self {
        Self { known: LruMap::new(PROBERS_MAX), hint_order: Vec::new() }
    }
}

impl Probers {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// `from` probes this node. Returns whether it gets a hint.
    fn probed_by(&mut self, now: Instant, from: Contact) -> bool {
        let key = from.public_key;
        if self.known.peek(&key).is_none() {
            self.known.insert(key, Prober { contact: from, probed: now, hinted: None });
        }
        self.known.get_mut(&key).is_some_and(|prober| {
            (prober.contact, prober.probed) = (from, now);
            let due = prober.hinted.is_none_or(|hinted| now.since(hinted) >= HINT_PAUSE);
            prober.hinted = if due { Some(now) } else { prober.hinted };
            due
        })
    }
}

impl Members {
    /// Tries once more, and through helpers.
    pub(super) fn start_indirect_probe(&mut self, now: Instant, key: &PublicKey) {
        let Some(subject) = self.table.get(key).map(|member| member.peer) else { return };
        let nonce = self.rng.next_u64();
        let mut helpers = 0;
        for helper in self.pick_helpers(key) {
            let request = MemberRequest::PingReq { subject: subject.contact, nonce };
            let options = AskOptions { tries: 2, patience: HELPER_WAIT, large: false };
            let purpose = Purpose::PingReq { subject: *key, nonce };
            helpers += usize::from(self.ask(helper, request, purpose, options).is_some());
        }
        // No suspect message was sent yet, so there is none to refute before all: an answer is
        // enough.
        let member = self.table.get(key).filter(|member| member.state != LocalState::Alive);
        let suspected = member.map(|member| member.version);
        let request = self.probe_of(suspected);
        let options = AskOptions { tries: 1, patience: HELPER_WAIT / 2, large: false };
        let again = self.ask(subject.contact, request, Purpose::Reprobe(*key), options);
        let open = helpers + usize::from(again.is_some());
        if let Some(probing) = self.detector.get_mut(key) {
            probing.open = open;
            probing.helpers = helpers;
        }
        if open == 0 {
            self.on_unreached(now, key);
        }
    }

    /// Nodes that may reach the member when this node does not: those that it listed, or in a fleet
    /// any.
    fn pick_helpers(&mut self, key: &PublicKey) -> Vec<Contact> {
        let watched = self.watched();
        let named =
            self.table.get(key).map(|member| member.helper_hints.clone()).unwrap_or_default();
        let me = self.me.contact.public_key;
        let mut helpers: Vec<Contact> = named
            .into_iter()
            .filter(|helper| helper.public_key != me && helper.public_key != *key)
            .filter(|helper| {
                let known = self.table.get(&helper.public_key);
                known.is_none_or(|known| known.state == LocalState::Alive)
            })
            .take(HELPERS)
            .collect();
        for _ in 0..HELPERS * 4 {
            if watched.is_empty() || helpers.len() == HELPERS {
                break;
            }
            let other = watched[self.rng.below(watched.len() as u64) as usize];
            let member = self.table.get(&other).filter(|member| member.state == LocalState::Alive);
            let Some(contact) = member.map(|member| member.peer.contact) else { continue };
            if other != *key && !helpers.contains(&contact) {
                helpers.push(contact);
            }
        }
        helpers
    }

    /// A helper answered with the subject's signature or a nack, or did not answer.
    pub(super) fn on_ping_req_answered(
        &mut self,
        now: Instant,
        key: &PublicKey,
        nonce: u64,
        response: Option<&Response>,
    ) {
        match response {
            Some(Response::Member(MemberResponse::Proof { version, signature })) => {
                let proof = Proof { version: *version, signature: *signature };
                let asker = self.me.contact.public_key;
                if proof.verify(key, &self.network, &asker, nonce) {
                    self.stats.probes_helped += 1;
                    if let Some(member) = self.table.get_mut(key) {
                        member.reached_indirectly = true;
                        member.answered = true;
                    }
                    return self.on_life(now, key);
                }
            }
            Some(_) => self.stats.nacks += 1,
            None => {
                if let Some(probing) = self.detector.get_mut(key) {
                    probing.silent += 1;
                }
            }
        }
        self.on_indirect_probe_end(now, key);
    }

    /// One part of the indirect probe ended without a sign of life.
    pub(super) fn on_indirect_probe_end(&mut self, now: Instant, key: &PublicKey) {
        let Some(probing) = self.detector.get_mut(key) else { return };
        probing.open = probing.open.saturating_sub(1);
        if probing.open > 0 {
            return;
        }
        let heard = self.table.get(key).map_or(Instant::ZERO, |member| member.heard);
        if heard > probing.began {
            return self.detector.forget(key);
        }
        if probing.silent > 0 && probing.silent == probing.helpers {
            self.health.on_bad();
        }
        self.on_unreached(now, key);
    }

    /// A member sent hints.
    pub(super) fn on_hints(&mut self, now: Instant, key: &PublicKey, hints: PeerHints) {
        let Some(member) = self.table.get_mut(key) else { return };
        let contact = member.peer.contact;
        let named = hints.helpers.into_iter().take(HINTS_PER_ACK);
        for other in named.filter(|other| is_dialable(&other.address)) {
            member.helper_hints.retain(|known| known.public_key != other.public_key);
            member.helper_hints.reserve_exact(1);
            member.helper_hints.insert(0, other);
            member.helper_hints.truncate(HINTS_MAX);
        }
        if let Some(partition) = hints.partition {
            self.on_partition(now, contact, partition);
        }
    }

    /// The hints of this node in an open network: its partition, and some nodes that watch it.
    pub(super) fn hints(&mut self, now: Instant, asker: Contact) -> Option<PeerHints> {
        if self.mode == Mode::Fleet {
            return None;
        }
        let helpers = match self.probers.probed_by(now, asker) {
            true => {
                (0..HINTS_PER_ACK).filter_map(|_| self.next_hint(now, &asker.public_key)).collect()
            }
            false => Vec::new(),
        };
        Some(PeerHints { partition: self.partition(), helpers })
    }

    /// The next hint for `asker`.
    fn next_hint(&mut self, now: Instant, asker: &PublicKey) -> Option<Contact> {
        if self.peek_hint(now, asker).is_none() {
            self.probers.hint_order = self.shuffled_hints(now);
        }
        let (place, contact) = self.peek_hint(now, asker)?;
        self.probers.hint_order.remove(place);
        Some(contact)
    }

    fn peek_hint(&self, now: Instant, asker: &PublicKey) -> Option<(usize, Contact)> {
        let hint_order = self.probers.hint_order.iter().enumerate().rev();
        let others = hint_order.filter(|(_, key)| *key != asker);
        let mut named = others.filter_map(|(place, key)| Some((place, self.hint_for(now, key)?)));
        named.next()
    }

    fn shuffled_hints(&mut self, now: Instant) -> Vec<PublicKey> {
        let mut hint_order = self.watched();
        let others = self.probers.known.iter().map(|(key, _)| *key);
        let others = others.filter(|key| !self.watches(key) && self.hint_for(now, key).is_some());
        let mut others: Vec<PublicKey> = others.collect();
        self.rng.shuffle(&mut others);
        // A node that probes from many keys gets half of the places at most.
        others.truncate(hint_order.len());
        hint_order.append(&mut others);
        self.rng.shuffle(&mut hint_order);
        hint_order
    }

    /// The contact of a node that watches this one and is alive as far as this node knows.
    fn hint_for(&self, now: Instant, key: &PublicKey) -> Option<Contact> {
        let known = self.table.get(key);
        if known.is_some_and(|member| member.state != LocalState::Alive)
            || self.revoked.contains_key(&Revoked::Member(*key))
        {
            return None;
        }
        if self.watches(key) {
            return known.map(|member| member.peer.contact);
        }
        let prober = self.probers.known.peek(key)?;
        (now.since(prober.probed) < PROBER_LIFE).then_some(prober.contact)
    }
}
