//! The exchange of contacts: forward joins walk through the overlay, and neighbours shuffle parts
//! of their views.
//!
//! **Invariant:** contacts are accepted only from neighbours and in solicited replies, and the
//! number accepted from one node is bounded (see `passive_view`). A stranger named by others gets
//! at most one request for each forward join or shuffle, within a budget, so that this node cannot
//! be made to flood another one.

use std::time::Duration;

use potluck_base::{Contact, Instant, PublicKey};
use potluck_wire::TopicRequest;

use super::super::scores::Fault;
use super::super::shared::{Purpose, Shared};
use super::super::topic::Topic;

/// Hops of a forward join (the paper's ARWL) and of a shuffle. A higher value mixes better and
/// costs more messages.
const ACTIVE_WALK_LENGTH: u8 = 6;
/// Hops left at which a joiner enters the passive view (the paper's PRWL).
const PASSIVE_WALK_LENGTH: u8 = 3;
/// Contacts of either view in a shuffle: with the origin they fit in a datagram.
const CONTACTS_EACH: usize = 3;
/// How long the reply to a shuffle is accepted.
const REPLY_WITHIN: Duration = Duration::from_secs(30);

/// A shuffle of this node's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::topics) struct PendingShuffle {
    nonce: u64,
    until: Instant,
}

impl Topic {
    fn shuffle_contacts(&self, shared: &mut Shared) -> Vec<Contact> {
        let mut contacts: Vec<Contact> = self
            .active_view
            .values()
            .filter(|neighbour| neighbour.is_healthy())
            .map(|neighbour| neighbour.contact)
            .collect();
        shared.rng.shuffle(&mut contacts);
        contacts.truncate(CONTACTS_EACH);
        contacts.extend(self.passive_view.sample(&mut shared.rng, CONTACTS_EACH));
        contacts
    }

    pub(in crate::topics) fn begin_shuffle(&mut self, shared: &mut Shared) {
        let Some(peer) = self.random_neighbour(shared, None) else { return };
        let (nonce, origin) = (shared.rng.next_u64(), shared.me.contact);
        self.pending_shuffle = Some(PendingShuffle { nonce, until: shared.now + REPLY_WITHIN });
        let contacts = self.shuffle_contacts(shared);
        self.send(
            shared,
            &peer,
            TopicRequest::Shuffle { origin, nonce, hops: ACTIVE_WALK_LENGTH, contacts },
        );
    }

    fn send(&self, shared: &mut Shared, peer: &PublicKey, body: TopicRequest) {
        if let Some(neighbour) = self.active_view.get(peer) {
            shared.ask(self.id, neighbour.contact, Purpose::Notify, body);
        }
    }

    /// Whether a neighbour may have this node relay one more request.
    fn allows_relay(&mut self, shared: &mut Shared, from: &PublicKey) -> bool {
        let allowed = self
            .active_view
            .get_mut(from)
            .is_some_and(|neighbour| neighbour.relay_budget.take(shared.now, 1));
        if !allowed {
            shared.stats.rate_limited += 1;
            shared.stats.shuffles_refused += 1;
            self.fault(shared, *from, Fault::OverRate);
        }
        allowed
    }

    pub(in crate::topics) fn on_shuffle(
        &mut self,
        shared: &mut Shared,
        from: &PublicKey,
        (origin, nonce, hops): (Contact, u64, u8),
        contacts: Vec<Contact>,
    ) {
        if !self.allows_relay(shared, from) || origin.public_key == shared.me.contact.public_key {
            return;
        }
        let hops = hops.min(ACTIVE_WALK_LENGTH);
        let next = if hops > 0 { self.random_neighbour(shared, Some(from)) } else { None };
        if let Some(next) = next.filter(|next| *next != origin.public_key) {
            let hops = hops - 1;
            let contacts = contacts.into_iter().take(2 * CONTACTS_EACH).collect();
            self.send(shared, &next, TopicRequest::Shuffle { origin, nonce, hops, contacts });
            return;
        }
        if !shared.relay_budget.take(shared.now, 1) {
            shared.stats.rate_limited += 1;
            return;
        }
        shared.stats.shuffles += 1;
        let mine = self.shuffle_contacts(shared);
        self.learn_all(shared, from, contacts);
        self.learn(shared, origin, Some(*from));
        let body = TopicRequest::ShuffleReply { nonce, contacts: mine };
        shared.ask(self.id, origin, Purpose::NonNeighbour, body);
    }

    /// The reply to a shuffle: accepted once, from any node that knows its nonce.
    pub(in crate::topics) fn on_shuffle_reply(
        &mut self,
        shared: &mut Shared,
        from: Contact,
        nonce: u64,
        contacts: Vec<Contact>,
    ) {
        let asked = self.pending_shuffle.is_some_and(|pending_shuffle| {
            pending_shuffle.nonce == nonce && shared.now < pending_shuffle.until
        });
        if !asked {
            shared.stats.shuffles_refused += 1;
            self.fault(shared, from.public_key, Fault::Unsolicited);
            return;
        }
        self.pending_shuffle = None;
        self.learn_all(shared, &from.public_key, contacts);
        self.learn(shared, from, Some(from.public_key));
    }

    fn learn_all(&mut self, shared: &mut Shared, source: &PublicKey, contacts: Vec<Contact>) {
        for contact in contacts.into_iter().take(2 * CONTACTS_EACH) {
            self.learn(shared, contact, Some(*source));
        }
    }

    /// Sends a forward join for a joiner.
    pub(in crate::topics) fn send_forward_join(&mut self, shared: &mut Shared, joiner: Contact) {
        if let Some(next) = self.random_neighbour(shared, Some(&joiner.public_key)) {
            self.send(
                shared,
                &next,
                TopicRequest::ForwardJoin { joiner, hops: ACTIVE_WALK_LENGTH },
            );
        }
    }

    pub(in crate::topics) fn on_forward_join(
        &mut self,
        shared: &mut Shared,
        from: &PublicKey,
        joiner: Contact,
        hops: u8,
    ) {
        let peer = joiner.public_key;
        if !self.allows_relay(shared, from)
            || self.active_view.contains_key(&peer)
            || !shared.welcomes(&peer)
        {
            return;
        }
        let hops = hops.min(ACTIVE_WALK_LENGTH);
        let next = if hops > 0 { self.random_neighbour(shared, Some(from)) } else { None };
        let short = self.active_view.len() + self.attempts.len() < self.sizes.active;
        if short && !self.attempts.contains_key(&peer) && shared.relay_budget.take(shared.now, 1) {
            self.attempt(shared, joiner, false);
        } else if let Some(next) = next {
            if hops == PASSIVE_WALK_LENGTH {
                self.learn(shared, joiner, Some(*from));
            }
            self.send(shared, &next, TopicRequest::ForwardJoin { joiner, hops: hops - 1 });
        } else {
            self.learn(shared, joiner, Some(*from));
        }
    }
}
