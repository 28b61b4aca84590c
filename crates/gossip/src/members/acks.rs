//! The hints that acks carry in an open network: taken from others, and given to them.

use potluck_base::{Contact, Instant, PublicKey, is_dialable};
use potluck_wire::{PartitionId, PeerHints, Revoked};

use super::Members;
use super::event::Output;
use super::indirect_probe::HELPERS;
use super::table::LocalState;
use crate::view::Mode;

/// Helper hints sent per ack.
const HINTS_PER_ACK: usize = 1;
/// Helper hints kept per member, as helpers and as receivers of suspect messages.
const HINTS_MAX: usize = 2 * HELPERS;

impl Members {
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
        let helpers = match self.hints.probers.probed_by(now, asker) {
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
            self.hints.probers.hint_order = self.shuffled_hints(now);
        }
        let (place, contact) = self.peek_hint(now, asker)?;
        self.hints.probers.hint_order.remove(place);
        Some(contact)
    }

    fn peek_hint(&self, now: Instant, asker: &PublicKey) -> Option<(usize, Contact)> {
        let hint_order = self.hints.probers.hint_order.iter().enumerate().rev();
        let others = hint_order.filter(|(_, key)| *key != asker);
        let mut named = others.filter_map(|(place, key)| Some((place, self.hint_for(now, key)?)));
        named.next()
    }

    fn shuffled_hints(&mut self, now: Instant) -> Vec<PublicKey> {
        let mut hint_order = self.watched();
        let others = self
            .hints
            .probers
            .keys()
            .filter(|key| !self.watches(key) && self.hint_for(now, key).is_some());
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
            || self.revocations.contains(&Revoked::Member(*key))
        {
            return None;
        }
        if self.watches(key) {
            return known.map(|member| member.peer.contact);
        }
        self.hints.probers.recent(now, key)
    }

    /// This node's partition; `None` in a fleet, where member lists are compared instead.
    pub(super) fn partition(&mut self) -> Option<PartitionId> {
        let wall = self.wall.filter(|_| self.mode == Mode::Open)?;
        Some(self.hints.partitions.now(&self.own.key(), wall))
    }

    /// Another node names its partition.
    pub(super) fn on_partition(&mut self, now: Instant, from: Contact, theirs: PartitionId) {
        let Some(mine) = self.partition().filter(|mine| mine.hour == theirs.hour) else { return };
        if self.watched.is_neighbour(&from.public_key) {
            return self.hints.partitions.agree(mine, theirs);
        }
        let by = from.public_key;
        if self.hints.partitions.observe(now, by, mine, theirs)
            && self.hints.partitions.bridge(now, by)
        {
            self.stats.bridges += 1;
            self.outbox.push(Output::Bridge(from));
        }
    }
}
