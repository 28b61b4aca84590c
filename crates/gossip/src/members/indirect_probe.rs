//! The second stage of a probe: once more, while others try it, too.
//!
//! Others bring the subject's signature over a nonce, so they cannot lie that it lives; that it does
//! not, this node has found itself.
//!
//! In a fleet all are linked to all, and any member is as good as another. In an open network those
//! are asked that the subject named, one with each answer: whom it is linked to, and who probes it,
//! reaches it where a stranger mostly would not, and knows where it is. They are also those who are
//! told of a doubt. Each is named in its turn, so that nobody who watches a member is left out: were
//! the six that each of fifty watchers knows drawn by chance, nobody would name one in 400.

use std::time::Duration;

use potluck_base::{Contact, Instant, LruMap, PublicKey};
use potluck_wire::member::is_usable;
use potluck_wire::{MemberRequest, MemberResponse, PeerHints, Proof, Response, Revoked};

use super::table::LocalState;
use super::{AskOptions, Members, Purpose};
use crate::view::Mode;

/// Others that are asked: SWIM's 3.
const HELPERS: usize = 3;
/// How long a helper may take: its one try to a peer whose round trip it does not know.
const HELPER_WAIT: Duration = Duration::from_millis(500);
/// Of those it is linked to and those that probe it, a member names so many in an answer, another
/// one each time...
const HINTS_PER_ACK: usize = 1;
/// ...and so many are remembered: as helpers, and to be told of doubts.
const HINTS_MAX: usize = 2 * HELPERS;
/// Members that probed this node, remembered: about twice as many as watch a node.
const PROBERS_MAX: usize = 128;
/// They are named for so long after a probe: two turns of somebody who watches 60.
const PROBER_LIFE: Duration = Duration::from_secs(120);
/// One of them hears a name once in this time, so that nobody uses up the names of others.
const HINT_PAUSE: Duration = Duration::from_secs(10);

/// Somebody who probed this node.
#[derive(Debug)]
struct Prober {
    contact: Contact,
    probed: Instant,
    /// When it was named somebody last.
    hinted: Option<Instant>,
}

/// Who watches this node in an open network. Some of them it does not watch: its siblings in the DHT
/// need not have it among theirs, and nobody but it knows them.
#[derive(Debug)]
pub(super) struct Probers {
    known: LruMap<PublicKey, Prober>,
    /// Who is named next, the last first, in an order by chance; all that are to be named are in it
    /// before anybody is in it again.
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

    /// `from` probes this node. Whether it is to be named somebody.
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
    /// Once more, and through others.
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
        // Nobody has been told of a doubt yet, so there is none to be refuted before all: that the
        // member answers is enough.
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

    /// Members that may reach it when this node does not: those that it named as linked to it, or
    /// where all are linked to all, any.
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

    /// A helper is done: with the subject's signature, with a nack, or it was silent itself.
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

    /// One part of the second stage is over without a sign of life.
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

    /// A member said where it is.
    pub(super) fn on_hints(&mut self, now: Instant, key: &PublicKey, hints: PeerHints) {
        let Some(member) = self.table.get_mut(key) else { return };
        let contact = member.peer.contact;
        let named = hints.helpers.into_iter().take(HINTS_PER_ACK);
        for other in named.filter(|other| is_usable(&other.address)) {
            member.helper_hints.retain(|known| known.public_key != other.public_key);
            member.helper_hints.insert(0, other);
            member.helper_hints.truncate(HINTS_MAX);
        }
        if let Some(partition) = hints.partition {
            self.on_partition(now, contact, partition);
        }
    }

    /// Where this node is, in an open network: its part of the overlay, and some that watch it.
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

    /// Who is to be named next to `asker`.
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
        // Whoever probes from many addresses gets half of the places at most.
        others.truncate(hint_order.len());
        hint_order.append(&mut others);
        self.rng.shuffle(&mut hint_order);
        hint_order
    }

    /// The contact of a member that watches this node, and is there for all that this node knows.
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
