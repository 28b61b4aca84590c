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

use super::super::asks::Purpose;
use super::super::shared::Shared;
use super::core::Core;
use super::promotion::Promotion;
use super::timer::OverlayTimer;

/// Hops of a forward join (the paper's ARWL) and of a shuffle. A higher value mixes better and
/// costs more messages.
const ACTIVE_WALK_LENGTH: u8 = 6;
/// Hops left at which a joiner enters the passive view (the paper's PRWL).
const PASSIVE_WALK_LENGTH: u8 = 3;
/// Contacts of either view in a shuffle: with the origin they fit in a datagram.
const CONTACTS_EACH: usize = 3;
/// Interval between two shuffles. A lower value mixes passive views faster and costs more traffic.
const SHUFFLE_INTERVAL: Duration = Duration::from_secs(60);
/// Interval between two shuffles in the first two minutes in a topic.
const SHUFFLE_EARLY: Duration = Duration::from_secs(10);
/// For this long after it joined, a node shuffles at the early interval.
const EARLY: Duration = Duration::from_secs(120);
/// How long the reply to a shuffle is accepted.
const REPLY_WITHIN: Duration = Duration::from_secs(30);

/// A shuffle of this node's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::topics) struct PendingShuffle {
    nonce: u64,
    until: Instant,
}

/// The shuffles of an overlay. `HyParView`, "Passive view management".
#[derive(Debug, Clone, Default)]
pub(super) struct Shuffles {
    pending: Option<PendingShuffle>,
}

/// A shuffle of another node (SHUFFLE in the paper).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::topics) struct Shuffle {
    /// The node that began the shuffle.
    pub(in crate::topics) origin: Contact,
    /// Identifies the shuffle to its origin.
    pub(in crate::topics) nonce: u64,
    /// Hops left.
    pub(in crate::topics) hops: u8,
    /// The origin's contacts.
    pub(in crate::topics) contacts: Vec<Contact>,
}

impl Shuffles {
    /// Sets the next shuffle, and begins one unless the member list takes its place.
    pub(super) fn on_timer(&mut self, core: &mut Core, shared: &mut Shared) {
        let early = shared.now.since(core.joined) < EARLY;
        let pause = if early { SHUFFLE_EARLY } else { SHUFFLE_INTERVAL };
        let next = shared.now + shared.rng.jitter(pause, 0.2);
        core.timers.set(OverlayTimer::Shuffle, next);
        if !core.is_of_members(shared) {
            self.begin(core, shared);
        }
    }

    fn begin(&mut self, core: &mut Core, shared: &mut Shared) {
        let Some(peer) = core.random_neighbour(shared, None) else { return };
        let (nonce, origin) = (shared.rng.next_u64(), shared.me.contact);
        self.pending = Some(PendingShuffle { nonce, until: shared.now + REPLY_WITHIN });
        let contacts = shuffle_contacts(core, shared);
        let hops = ACTIVE_WALK_LENGTH;
        core.notify(&peer, TopicRequest::Shuffle { origin, nonce, hops, contacts });
    }

    /// The reply to a shuffle (SHUFFLEREPLY): accepted once, from any node that knows its nonce.
    /// False if no such reply was expected.
    pub(super) fn on_reply(
        &mut self,
        core: &mut Core,
        shared: &mut Shared,
        from: Contact,
        nonce: u64,
        contacts: Vec<Contact>,
    ) -> bool {
        let awaited =
            |pending: &mut PendingShuffle| pending.nonce == nonce && shared.now < pending.until;
        if self.pending.take_if(awaited).is_none() {
            return false;
        }
        learn_all(core, shared, &from.public_key, contacts);
        core.learn(shared, from, Some(from.public_key));
        true
    }
}

/// Sets the first shuffle.
pub(super) fn first(core: &mut Core, shared: &mut Shared) {
    let at = shared.now + shared.rng.jitter(SHUFFLE_EARLY, 0.2);
    core.timers.set(OverlayTimer::Shuffle, at);
}

fn shuffle_contacts(core: &Core, shared: &mut Shared) -> Vec<Contact> {
    let healthy = core.active.values().filter(|link| link.is_healthy());
    let mut contacts: Vec<Contact> = healthy.map(|link| link.contact).collect();
    shared.rng.shuffle(&mut contacts);
    contacts.truncate(CONTACTS_EACH);
    contacts.extend(core.passive.sample(&mut shared.rng, CONTACTS_EACH));
    contacts
}

/// A neighbour relays a shuffle: it walks on, or ends here and is replied to.
pub(super) fn on_shuffle(core: &mut Core, shared: &mut Shared, from: &PublicKey, shuffle: Shuffle) {
    let Shuffle { origin, nonce, hops, contacts } = shuffle;
    let hops = hops.min(ACTIVE_WALK_LENGTH);
    let next = if hops > 0 { core.random_neighbour(shared, Some(from)) } else { None };
    if let Some(next) = next.filter(|next| *next != origin.public_key) {
        let hops = hops - 1;
        let contacts = contacts.into_iter().take(2 * CONTACTS_EACH).collect();
        core.notify(&next, TopicRequest::Shuffle { origin, nonce, hops, contacts });
        return;
    }
    if !shared.relay_budget.take(shared.now, 1) {
        shared.stats.rate_limited += 1;
        return;
    }
    shared.stats.shuffles += 1;
    let mine = shuffle_contacts(core, shared);
    learn_all(core, shared, from, contacts);
    core.learn(shared, origin, Some(*from));
    let body = TopicRequest::ShuffleReply { nonce, contacts: mine };
    core.ask(origin, Purpose::NonNeighbour, body);
}

fn learn_all(core: &mut Core, shared: &mut Shared, source: &PublicKey, contacts: Vec<Contact>) {
    for contact in contacts.into_iter().take(2 * CONTACTS_EACH) {
        core.learn(shared, contact, Some(*source));
    }
}

/// Sends a forward join for a joiner (algorithm 1, receipt of JOIN).
pub(super) fn send_forward_join(core: &mut Core, shared: &mut Shared, joiner: Contact) {
    if let Some(next) = core.random_neighbour(shared, Some(&joiner.public_key)) {
        core.notify(&next, TopicRequest::ForwardJoin { joiner, hops: ACTIVE_WALK_LENGTH });
    }
}

/// A neighbour relays a forward join (algorithm 1, receipt of FORWARDJOIN). Where we differ: a node
/// with too few links requests one from the joiner at any hop; at the last hop the joiner enters
/// the passive view, since a full node made no room for it.
pub(super) fn on_forward_join(
    core: &mut Core,
    promotion: &mut Promotion,
    shared: &mut Shared,
    from: &PublicKey,
    joiner: Contact,
    hops: u8,
) {
    let peer = joiner.public_key;
    let hops = hops.min(ACTIVE_WALK_LENGTH);
    let next = if hops > 0 { core.random_neighbour(shared, Some(from)) } else { None };
    let short = core.active.len() + promotion.len() < core.sizes.active;
    if short && !promotion.contains(&peer) && shared.relay_budget.take(shared.now, 1) {
        promotion.attempt(core, shared.now, joiner, false);
    } else if let Some(next) = next {
        if hops == PASSIVE_WALK_LENGTH {
            core.learn(shared, joiner, Some(*from));
        }
        core.notify(&next, TopicRequest::ForwardJoin { joiner, hops: hops - 1 });
    } else {
        core.learn(shared, joiner, Some(*from));
    }
}
