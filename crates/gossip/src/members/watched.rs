//! The nodes that this one watches in an open network.

use std::collections::BTreeSet;

use potluck_base::{Contact, PublicKey};

/// The neighbours of this node in the overlay of all nodes, and its close group in the DHT.
#[derive(Debug, Default)]
pub(super) struct Watched {
    neighbours: BTreeSet<PublicKey>,
    close_group: BTreeSet<PublicKey>,
}

impl Watched {
    pub(super) fn contains(&self, key: &PublicKey) -> bool {
        self.neighbours.contains(key) || self.close_group.contains(key)
    }

    pub(super) fn is_neighbour(&self, key: &PublicKey) -> bool {
        self.neighbours.contains(key)
    }

    pub(super) const fn neighbours(&self) -> &BTreeSet<PublicKey> {
        &self.neighbours
    }

    /// The neighbours, and then the close group.
    pub(super) fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.neighbours.iter().chain(&self.close_group)
    }

    /// Replaces the neighbours; returns those before.
    pub(super) fn set_neighbours(&mut self, contacts: &[Contact]) -> BTreeSet<PublicKey> {
        std::mem::replace(&mut self.neighbours, keys(contacts))
    }

    /// Replaces the close group; returns the one before.
    pub(super) fn set_close_group(&mut self, contacts: &[Contact]) -> BTreeSet<PublicKey> {
        std::mem::replace(&mut self.close_group, keys(contacts))
    }
}

fn keys(contacts: &[Contact]) -> BTreeSet<PublicKey> {
    contacts.iter().map(|contact| contact.public_key).collect()
}
