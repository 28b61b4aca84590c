//! Senders and listeners outside the network, and a tap on its lines: what attacks are made of.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use potluck_base::Rng;

use crate::sim_node::NodeIndex;
use crate::world::World;

/// Addresses of strangers kept apart; all later ones share the last account.
const STRANGERS_MAX: usize = 100_000;

/// A node outside of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StrangerId(pub(crate) u32);

/// What went to and came from one address outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StrangerStats {
    /// Datagrams sent from there to nodes.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Datagrams that nodes sent there.
    pub received: u64,
    /// Their bytes.
    pub received_bytes: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Strangers {
    by_address: BTreeMap<SocketAddr, StrangerId>,
    stats: Vec<StrangerStats>,
}

impl Strangers {
    pub(crate) fn at(&mut self, address: SocketAddr) -> StrangerId {
        if let Some(known) = self.by_address.get(&address) {
            return *known;
        }
        if self.stats.len() < STRANGERS_MAX {
            self.stats.push(StrangerStats::default());
            let id = StrangerId(self.stats.len() as u32 - 1);
            self.by_address.insert(address, id);
            return id;
        }
        StrangerId(self.stats.len() as u32 - 1)
    }

    fn account(&mut self, address: SocketAddr) -> &mut StrangerStats {
        let StrangerId(index) = self.at(address);
        &mut self.stats[index as usize]
    }

    pub(crate) fn receive(&mut self, at: SocketAddr, bytes: &Bytes) {
        let account = self.account(at);
        account.received += 1;
        account.received_bytes += bytes.len() as u64;
    }
}

/// A datagram seen on a line.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Where it went.
    pub to: SocketAddr,
    /// Where it came from.
    pub from: SocketAddr,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Keeps an even sample of what passes (Vitter's algorithm R).
#[derive(Debug)]
pub(crate) struct Tap {
    sample: Vec<Seen>,
    capacity: usize,
    seen: u64,
    rng: Rng,
}

impl Tap {
    pub(crate) const fn new(rng: Rng) -> Self {
        Self { sample: Vec::new(), capacity: 0, seen: 0, rng }
    }

    pub(crate) fn see(&mut self, to: SocketAddr, from: SocketAddr, bytes: &Bytes) {
        if self.capacity == 0 {
            return;
        }
        self.seen += 1;
        let seen = || Seen { to, from, bytes: bytes.clone() };
        if self.sample.len() < self.capacity {
            self.sample.push(seen());
        } else if let Some(slot) = self.sample.get_mut(self.rng.below(self.seen) as usize) {
            *slot = seen();
        }
    }
}

impl World {
    /// An address outside the network, 198.18.x.y (RFC 2544: set aside for tests).
    #[must_use]
    pub fn stranger(&self, number: u16) -> SocketAddr {
        let [high, low] = number.to_be_bytes();
        (Ipv4Addr::new(198, 18, high, low), 4_000).into()
    }

    /// Sends bytes to a node from any address, also from another node's.
    pub fn inject(&mut self, from: SocketAddr, to: NodeIndex, bytes: Bytes) {
        if !self.directory.contains_key(&from) {
            let account = self.strangers.account(from);
            account.sent += 1;
            account.sent_bytes += bytes.len() as u64;
        }
        let to = self.node(to).peer.contact.address;
        self.transmit(from, to, bytes);
    }

    /// What went to and came from an address outside.
    #[must_use]
    pub fn stranger_stats(&self, at: SocketAddr) -> StrangerStats {
        let id = self.strangers.by_address.get(&at);
        id.map_or_else(StrangerStats::default, |id| self.strangers.stats[id.0 as usize])
    }

    /// Begins to keep an even sample of the datagrams that arrive anywhere.
    pub fn tap(&mut self, capacity: usize) {
        self.tap.capacity = capacity;
        self.tap.sample.clear();
        self.tap.seen = 0;
    }

    /// What the tap has kept.
    #[must_use]
    pub fn tapped(&self) -> &[Seen] {
        &self.tap.sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tap_keeps_an_even_sample_within_its_capacity() {
        let mut tap = Tap::new(Rng::from_number(1));
        tap.capacity = 100;
        let address = SocketAddr::from(([10, 0, 0, 1], 1));
        for number in 0_u32..10_000 {
            tap.see(address, address, &Bytes::copy_from_slice(&number.to_le_bytes()));
        }
        assert_eq!(tap.sample.len(), 100);
        let late = tap
            .sample
            .iter()
            .filter(|seen| seen.bytes.as_ref() >= 5_000_u32.to_le_bytes().as_slice())
            .count();
        assert!((30..=70).contains(&late), "{late} of 100 from the second half");
    }
}
