//! Senders and receivers outside the network, and a tap on its lines: tools for attacks.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use bytes::Bytes;

use crate::draws::{Draws, mix};
use crate::lines::Sending;
use crate::network::Endpoint;
use crate::queue::When;
use crate::sim_node::NodeIndex;
use crate::world::World;
use crate::world::deliver::{Datagram, Event};

/// Addresses of strangers that a shard counts. Traffic to later ones is not counted.
const STRANGERS_MAX: usize = 100_000;
/// The cause number of injected datagrams, above those of all nodes and hostile members.
const CAUSE: u32 = u32::MAX;

/// The traffic of one outside address.
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

/// The traffic counts of strangers.
#[derive(Debug, Default)]
pub(crate) struct Strangers(BTreeMap<SocketAddr, StrangerStats>);

impl Strangers {
    fn account(&mut self, address: SocketAddr) -> Option<&mut StrangerStats> {
        if self.0.len() >= STRANGERS_MAX {
            return self.0.get_mut(&address);
        }
        Some(self.0.entry(address).or_default())
    }

    pub(crate) fn receive(&mut self, at: SocketAddr, bytes: &Bytes) {
        if let Some(account) = self.account(at) {
            account.received += 1;
            account.received_bytes += bytes.len() as u64;
        }
    }
}

/// The number of an outside address in the network.
pub(crate) fn stranger_number(address: SocketAddr) -> u32 {
    let ip = match address.ip() {
        IpAddr::V4(ip) => u64::from(u32::from(ip)),
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            mix((bits >> 64) as u64) ^ bits as u64
        }
    };
    mix(mix(ip) ^ u64::from(address.port())) as u32
}

/// The state of injection from outside: its randomness and its rank in the order of events.
#[derive(Debug)]
pub(crate) struct Outside {
    draws: Draws,
    caused: u64,
}

impl Outside {
    pub(crate) fn new(seed: u64) -> Self {
        Self { draws: Draws::new(seed, "outside", 0), caused: 0 }
    }
}

/// A datagram that the tap saw.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its destination.
    pub to: SocketAddr,
    /// Its source.
    pub from: SocketAddr,
    /// Its bytes.
    pub bytes: Bytes,
}

/// Keeps an evenly spread sample of the datagrams that arrive: those with the lowest random numbers. The
/// number of a datagram follows from its receiver and its rank among the events there, so shards can sample
/// separately.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    sample: BTreeMap<(u64, NodeIndex), Seen>,
    capacity: usize,
}

impl Tap {
    /// Sees a datagram that arrives at a node as its event number `event`.
    pub(crate) fn see(
        &mut self,
        node: NodeIndex,
        event: u64,
        to: SocketAddr,
        from: SocketAddr,
        bytes: &Bytes,
    ) {
        if self.capacity == 0 {
            return;
        }
        let place = (mix(mix(node.get() as u64) ^ event), node);
        if self.sample.len() >= self.capacity {
            if self.sample.last_key_value().is_some_and(|(last, _)| place > *last) {
                return;
            }
            self.sample.pop_last();
        }
        self.sample.insert(place, Seen { to, from, bytes: bytes.clone() });
    }
}

impl World {
    /// An address outside the network, 198.18.x.y (reserved for tests by RFC 2544).
    #[must_use]
    pub fn stranger(&self, number: u16) -> SocketAddr {
        let [high, low] = number.to_be_bytes();
        (Ipv4Addr::new(198, 18, high, low), 4_000).into()
    }

    /// Sends bytes to a node from any address, also from that of another node.
    pub fn inject(&mut self, from: SocketAddr, to: NodeIndex, bytes: Bytes) {
        let to = self.node(to).peer.contact.address;
        let shared = &self.shared;
        let (ends, recipient) =
            ((shared.endpoint(from), shared.endpoint(to)), shared.recipient(to));
        let home = match ends.0 {
            Endpoint::Node(node) => shared.home(node),
            Endpoint::Stranger(_) => 0,
        };
        let sender = &mut self.shards[home];
        if let Endpoint::Node(node) = ends.0 {
            sender.nodes[node].place.traffic.sent(bytes.len());
        } else if let Some(account) = sender.strangers.account(from) {
            account.sent += 1;
            account.sent_bytes += bytes.len() as u64;
        }
        let of = Sending { now: self.now, from: ends.0, to: ends.1, bytes: bytes.len() };
        let arrivals = sender.lines.send(&shared.network, &mut self.outside.draws, of);
        let receiving = shared.receiving(recipient).unwrap_or(home);
        for delay in arrivals.into_iter().flatten() {
            self.outside.caused += 1;
            let (at, number) = (self.now + delay, self.outside.caused);
            let datagram = Datagram { from, to, recipient, bytes: bytes.clone() };
            let when = When { at, cause: CAUSE, number };
            self.shards[receiving].queue.push(when, Event::Datagram(datagram));
        }
    }

    /// The traffic of an outside address.
    #[must_use]
    pub fn stranger_stats(&self, at: SocketAddr) -> StrangerStats {
        let mut sum = StrangerStats::default();
        for account in self.shards.iter().filter_map(|shard| shard.strangers.0.get(&at)) {
            sum.sent += account.sent;
            sum.sent_bytes += account.sent_bytes;
            sum.received += account.received;
            sum.received_bytes += account.received_bytes;
        }
        sum
    }

    /// Starts to keep an evenly spread sample of the datagrams that arrive at any node.
    pub fn tap(&mut self, capacity: usize) {
        for shard in &mut self.shards {
            shard.tap = Tap { capacity, ..Tap::default() };
        }
    }

    /// The datagrams that the tap has kept.
    #[must_use]
    pub fn tapped(&self) -> Vec<Seen> {
        let samples = self.shards.iter().flat_map(|shard| &shard.tap.sample);
        let mut all: Vec<_> = samples.collect();
        all.sort_unstable_by_key(|(place, _)| **place);
        let capacity = self.shards[0].tap.capacity;
        all.into_iter().take(capacity).map(|(_, seen)| seen.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tap_keeps_an_even_sample_within_its_capacity() {
        let mut tap = Tap { capacity: 100, ..Tap::default() };
        let address = SocketAddr::from(([10, 0, 0, 1], 1));
        for number in 0_u32..10_000 {
            let (node, event) = (NodeIndex::new(number % 7), u64::from(number));
            tap.see(node, event, address, address, &Bytes::copy_from_slice(&number.to_le_bytes()));
        }
        assert_eq!(tap.sample.len(), 100);
        let number = |seen: &Seen| seen.bytes.first_chunk().map_or(0, |n| u32::from_le_bytes(*n));
        let late = tap.sample.values().filter(|seen| number(seen) >= 5_000).count();
        assert!((30..=70).contains(&late), "{late} of 100 from the second half");
    }
}
