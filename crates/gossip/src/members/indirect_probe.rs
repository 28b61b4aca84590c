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

use potluck_base::{Contact, Instant, PublicKey};
use potluck_wire::{MemberRequest, MemberResponse, Proof, Response};

use super::Members;
use super::outbox::{AskOptions, Purpose};
use super::table::LocalState;

/// Helpers asked: SWIM's 3. A higher value suspects fewer healthy members and costs more messages.
pub(super) const HELPERS: usize = 3;
/// Time that a helper may take: one try to a peer whose round trip it does not know.
const HELPER_WAIT: Duration = Duration::from_millis(500);

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
        let me = self.own.key();
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
                let asker = self.own.key();
                if proof.verify(key, &self.own.network, &asker, nonce) {
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
            self.detector.health.on_bad();
        }
        self.on_unreached(now, key);
    }
}
