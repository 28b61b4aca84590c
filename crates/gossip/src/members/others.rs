//! The second stage of a probe: once more, while others try it, too.
//!
//! Others bring the subject's signature over a nonce, so they cannot lie that it lives; that it does
//! not, this node has found itself.
//!
//! In a fleet all are linked to all, and any member is as good as another. In an open network those
//! are asked that the subject named, one with each answer: whom it is linked to reaches it where a
//! stranger mostly would not, and knows where it is.

use std::time::Duration;

use potluck_base::{Contact, Instant, PublicKey};
use potluck_wire::member::is_usable;
use potluck_wire::{MemberRequest, MemberResponse, Proof, Response, Surroundings};

use super::table::State;
use super::{Errand, How, Members};
use crate::view::Mode;

/// Others that are asked: SWIM's 3.
const HELPERS: usize = 3;
/// How long a helper may take: its one try to a peer whose round trip it does not know.
const HELP_PATIENCE: Duration = Duration::from_millis(500);
/// Of those it is linked to, a member names so many in an answer, another one each time...
const BESIDE: usize = 1;
/// ...and so many are remembered: as helpers, and to be told of doubts.
const BESIDE_MAX: usize = 2 * HELPERS;

impl Members {
    /// Once more, and through others.
    pub(super) fn go_deep(&mut self, now: Instant, key: &PublicKey) {
        let Some(subject) = self.table.get(key).map(|member| member.peer) else { return };
        let nonce = self.rng.next_u64();
        let mut helpers = 0;
        for helper in self.pick_helpers(key) {
            let request = MemberRequest::ProbeFor { subject: subject.contact, nonce };
            let how = How { tries: 2, patience: HELP_PATIENCE, large: false };
            let errand = Errand::Help { subject: *key, nonce };
            helpers += usize::from(self.ask(helper, request, errand, how).is_some());
        }
        // Nobody has been told of a doubt yet, so there is none to be refuted before all: that the
        // member answers is enough.
        let member = self.table.get(key).filter(|member| member.state != State::Alive);
        let doubted = member.map(|member| member.vitals);
        let request = self.probe_of(doubted);
        let how = How { tries: 1, patience: HELP_PATIENCE / 2, large: false };
        let again = self.ask(subject.contact, request, Errand::Again(*key), how);
        let open = helpers + usize::from(again.is_some());
        if let Some(probing) = self.detector.get_mut(key) {
            probing.open = open;
            probing.helpers = helpers;
        }
        if open == 0 {
            self.on_unreached(now, key);
        }
    }

    /// Members that may reach it when this node does not: those that it named as linked to it, or
    /// where all are linked to all, any.
    fn pick_helpers(&mut self, key: &PublicKey) -> Vec<Contact> {
        let watched = self.watched();
        let named = self.table.get(key).map(|member| member.beside.clone()).unwrap_or_default();
        let me = self.me.contact.public_key;
        let mut helpers: Vec<Contact> = named
            .into_iter()
            .filter(|helper| helper.public_key != me && helper.public_key != *key)
            .filter(|helper| {
                let known = self.table.get(&helper.public_key);
                known.is_none_or(|known| known.state == State::Alive)
            })
            .take(HELPERS)
            .collect();
        for _ in 0..HELPERS * 4 {
            if watched.is_empty() || helpers.len() == HELPERS {
                break;
            }
            let other = watched[self.rng.below(watched.len() as u64) as usize];
            let member = self.table.get(&other).filter(|member| member.state == State::Alive);
            let Some(contact) = member.map(|member| member.peer.contact) else { continue };
            if other != *key && !helpers.contains(&contact) {
                helpers.push(contact);
            }
        }
        helpers
    }

    /// A helper is done: with the subject's signature, with a nack, or it was silent itself.
    pub(super) fn on_helped(
        &mut self,
        now: Instant,
        key: &PublicKey,
        nonce: u64,
        response: Option<&Response>,
    ) {
        match response {
            Some(Response::Member(MemberResponse::Proof { vitals, signature })) => {
                let proof = Proof { vitals: *vitals, signature: *signature };
                let asker = self.me.contact.public_key;
                if proof.verify(key, &self.network, &asker, nonce) {
                    self.stats.probes_helped += 1;
                    if let Some(member) = self.table.get_mut(key) {
                        member.through_others = true;
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
        self.on_deep_end(now, key);
    }

    /// One part of the second stage is over without a sign of life.
    pub(super) fn on_deep_end(&mut self, now: Instant, key: &PublicKey) {
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

    /// A member said where it is.
    pub(super) fn on_surroundings(
        &mut self,
        now: Instant,
        key: &PublicKey,
        surroundings: Surroundings,
    ) {
        let Some(member) = self.table.get_mut(key) else { return };
        let contact = member.peer.contact;
        let named = surroundings.beside.into_iter().take(BESIDE);
        for other in named.filter(|other| is_usable(&other.address)) {
            member.beside.retain(|known| known.public_key != other.public_key);
            member.beside.insert(0, other);
            member.beside.truncate(BESIDE_MAX);
        }
        if let Some(component) = surroundings.component {
            self.on_component(now, contact, component);
        }
    }

    /// Where this node is, in an open network: its part of the overlay, and some that watch it.
    pub(super) fn surroundings(&mut self, except: &PublicKey) -> Option<Surroundings> {
        if self.mode == Mode::Fleet {
            return None;
        }
        let alive = |key: &&PublicKey| {
            *key != except && self.table.get(key).is_some_and(|member| member.state == State::Alive)
        };
        let beside: Vec<PublicKey> =
            self.neighbours.iter().chain(&self.siblings).filter(alive).copied().collect();
        let start = self.rng.below(beside.len() as u64) as usize;
        let some = beside.iter().cycle().skip(start).take(BESIDE.min(beside.len()));
        let contacts = some.filter_map(|key| self.table.get(key));
        let beside = contacts.map(|member| member.peer.contact).collect();
        Some(Surroundings { component: self.component(), beside })
    }
}
