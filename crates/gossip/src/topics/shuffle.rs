//! How contacts spread: joiners walk, neighbours exchange parts of their views.
//!
//! **Invariant:** contacts are taken only from neighbours and from whoever was asked, and what one
//! of them tells is bounded (see `passive`). A stranger named by others gets at most one request a
//! walk or shuffle, within a budget, so that nobody is flooded by this node for somebody else.

use std::time::Duration;

use potluck_base::{Contact, Instant, PublicKey};
use potluck_wire::SpreadAct;

use super::asks::{Purpose, World};
use super::scores::Fault;
use super::topic::Topic;

/// Length of a walk (the paper's ARWL and the shuffle's time to live).
const HOPS: u8 = 6;
/// Where on its walk a joiner is noted (the paper's PRWL).
const HOPS_NOTED: u8 = 3;
/// Contacts of either view in a shuffle: with the sender itself they fit in a datagram.
const CONTACTS_EACH: usize = 3;
/// How long an answer to a shuffle is taken.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A shuffle of this node's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Exchange {
    nonce: u64,
    until: Instant,
}

impl Topic {
    fn contacts_to_tell(&self, world: &mut World<'_>) -> Vec<Contact> {
        let mut contacts: Vec<Contact> = self
            .active
            .values()
            .filter(|neighbour| neighbour.is_healthy())
            .map(|neighbour| neighbour.contact)
            .collect();
        world.rng.shuffle(&mut contacts);
        contacts.truncate(CONTACTS_EACH);
        contacts.extend(self.passive.sample(world.rng, CONTACTS_EACH));
        contacts
    }

    pub(super) fn begin_shuffle(&mut self, world: &mut World<'_>) {
        let Some(peer) = self.random_neighbour(world, None) else { return };
        let (nonce, origin) = (world.rng.next_u64(), world.me.contact);
        self.exchange = Some(Exchange { nonce, until: world.now + ANSWER_WITHIN });
        let contacts = self.contacts_to_tell(world);
        self.tell(world, &peer, SpreadAct::Shuffle { origin, nonce, hops: HOPS, contacts });
    }

    fn tell(&self, world: &mut World<'_>, peer: &PublicKey, act: SpreadAct) {
        if let Some(neighbour) = self.active.get(peer) {
            world.ask(self.id, neighbour.contact, Purpose::Tell, act);
        }
    }

    /// Whether a neighbour may send this node on one more errand.
    fn allows_errand(&mut self, world: &mut World<'_>, from: &PublicKey) -> bool {
        let allowed =
            self.active.get_mut(from).is_some_and(|neighbour| neighbour.errands.take(world.now, 1));
        if !allowed {
            world.stats.rate_limited += 1;
            world.stats.shuffles_refused += 1;
            self.fault(world, *from, Fault::OverRate);
        }
        allowed
    }

    pub(super) fn on_shuffle(
        &mut self,
        world: &mut World<'_>,
        from: &PublicKey,
        (origin, nonce, hops): (Contact, u64, u8),
        contacts: Vec<Contact>,
    ) {
        if !self.allows_errand(world, from) || origin.public_key == world.me.contact.public_key {
            return;
        }
        let hops = hops.min(HOPS);
        let next = if hops > 0 { self.random_neighbour(world, Some(from)) } else { None };
        if let Some(next) = next.filter(|next| *next != origin.public_key) {
            let hops = hops - 1;
            let contacts = contacts.into_iter().take(2 * CONTACTS_EACH).collect();
            self.tell(world, &next, SpreadAct::Shuffle { origin, nonce, hops, contacts });
            return;
        }
        if !world.errands.take(world.now, 1) {
            world.stats.rate_limited += 1;
            return;
        }
        world.stats.shuffles += 1;
        let mine = self.contacts_to_tell(world);
        self.learn_all(world, from, contacts);
        self.learn(world, origin, Some(*from));
        let act = SpreadAct::Shuffled { nonce, contacts: mine };
        world.ask(self.id, origin, Purpose::Stranger, act);
    }

    /// The other half of a shuffle: taken once, from whoever knows its nonce.
    pub(super) fn on_shuffled(
        &mut self,
        world: &mut World<'_>,
        from: Contact,
        nonce: u64,
        contacts: Vec<Contact>,
    ) {
        let asked = self
            .exchange
            .is_some_and(|exchange| exchange.nonce == nonce && world.now < exchange.until);
        if !asked {
            world.stats.shuffles_refused += 1;
            self.fault(world, from.public_key, Fault::Unsolicited);
            return;
        }
        self.exchange = None;
        self.learn_all(world, &from.public_key, contacts);
        self.learn(world, from, Some(from.public_key));
    }

    fn learn_all(&mut self, world: &mut World<'_>, source: &PublicKey, contacts: Vec<Contact>) {
        for contact in contacts.into_iter().take(2 * CONTACTS_EACH) {
            self.learn(world, contact, Some(*source));
        }
    }

    /// Sends a joiner for a walk.
    pub(super) fn send_walk(&mut self, world: &mut World<'_>, joiner: Contact) {
        if let Some(next) = self.random_neighbour(world, Some(&joiner.public_key)) {
            self.tell(world, &next, SpreadAct::Walk { joiner, hops: HOPS });
        }
    }

    pub(super) fn on_walk(
        &mut self,
        world: &mut World<'_>,
        from: &PublicKey,
        joiner: Contact,
        hops: u8,
    ) {
        let peer = joiner.public_key;
        if !self.allows_errand(world, from)
            || self.active.contains_key(&peer)
            || !world.welcomes(&peer)
        {
            return;
        }
        let hops = hops.min(HOPS);
        let next = if hops > 0 { self.random_neighbour(world, Some(from)) } else { None };
        let short = self.active.len() + self.attempts.len() < self.sizes.active;
        if short && !self.attempts.contains_key(&peer) && world.errands.take(world.now, 1) {
            self.attempt(world, joiner, false);
        } else if let Some(next) = next {
            if hops == HOPS_NOTED {
                self.learn(world, joiner, Some(*from));
            }
            self.tell(world, &next, SpreadAct::Walk { joiner, hops: hops - 1 });
        } else {
            self.learn(world, joiner, Some(*from));
        }
    }
}
