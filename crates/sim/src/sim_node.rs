//! One simulated computer: a node's process, its disk, its clocks and its place in the network.

use std::collections::VecDeque;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use potluck_base::{Contact, Identity, Instant, Peer, UnixMillis};
use potluck_dht::EntryPoint;
use potluck_gossip::FoundFile;
use potluck_node::{Input, Node};

use crate::calls::NodeCalls;
use crate::disk::Disk;
use crate::draws::Draws;
use crate::nat::Nat;
use crate::trace::Chain;
use crate::world::{NodeFiles, Told, Traffic};

/// The UDP port of every simulated node.
const PORT: u16 = 12_345;

/// Identifies a node of a world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(u32);

impl NodeIndex {
    /// The node with the number `index` in the order of spawning, from 0.
    #[must_use]
    pub const fn new(index: u32) -> Self {
        Self(index)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> usize {
        self.0 as usize
    }

    /// The address of the node that moves as number `moves`: 100.64.0.0/10, the last byte never 0.
    pub(crate) fn moved_address(moves: u32) -> SocketAddr {
        let [_, high, middle, low] = (moves / 250 * 256 + moves % 250 + 1).to_be_bytes();
        (Ipv4Addr::new(100, 64 + high % 64, middle, low), PORT).into()
    }

    /// Its first address: 10.x.y.z, the last byte never 0 or 255.
    pub(crate) fn address(self) -> SocketAddr {
        let [_, high, middle, low] = (self.0 / 250 * 256 + self.0 % 250 + 1).to_be_bytes();
        (Ipv4Addr::new(10, high, middle, low), PORT).into()
    }

    /// The address it gets where subnets count: 20.x.y.z and following, a /16 of its own for 20,000 nodes.
    pub(crate) fn scattered_address(self) -> SocketAddr {
        let (first, rest) = (self.0 % 100, self.0 / 100);
        let (second, third) = ((rest % 200) as u8, (rest / 200) as u8);
        (Ipv4Addr::new(20 + first as u8, second, third, 1), PORT).into()
    }
}

impl fmt::Debug for NodeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

impl fmt::Display for NodeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// A process that is stopped without knowing it.
#[derive(Debug)]
pub(crate) struct Paused {
    pub(crate) since: Instant,
    /// Whether it is told afterwards: after a sleep it is, after a lack of processor time it is not.
    pub(crate) told: bool,
    pub(crate) inputs: VecDeque<Input>,
}

/// A running process of a node.
pub(crate) struct Process {
    pub(crate) machine: Box<Node>,
    /// World time at which its own clock showed zero.
    pub(crate) born: Instant,
    /// The earliest wake-up in the event queue.
    pub(crate) wake: Option<Instant>,
    pub(crate) paused: Option<Paused>,
    pub(crate) joined: bool,
}

/// A node's place in the network.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) traffic: Traffic,
    /// The router that it is behind.
    pub(crate) nat: Option<Box<Nat>>,
    pub(crate) calls: NodeCalls,
    /// Randomness of the network for its datagrams.
    pub(crate) datagram_draws: Draws,
    /// Randomness of the duration of its parts of calls.
    pub(crate) call_draws: Draws,
    /// Signatures that its machines checked, over all lives.
    pub(crate) signature_checks: u64,
}

impl Place {
    pub(crate) fn new(seed: u64, node: NodeIndex) -> Self {
        let draws = |label| Draws::new(seed, label, node.get() as u64);
        Self {
            traffic: Traffic::default(),
            nat: None,
            calls: NodeCalls::default(),
            datagram_draws: draws("datagrams"),
            call_draws: draws("calls"),
            signature_checks: 0,
        }
    }
}

/// One simulated computer.
pub struct SimNode {
    pub(crate) identity: Identity,
    pub(crate) peer: Peer,
    pub(crate) process: Option<Process>,
    /// The number of its starts: events for an earlier life are void.
    pub(crate) life: u32,
    pub(crate) disk: Disk,
    /// The error of its wall clock, in milliseconds.
    pub(crate) clock_off_ms: i64,
    /// Its credentials, in `invite` networks.
    pub(crate) papers: crate::world::Papers,
    /// The contacts that it asked to save.
    pub(crate) saved: Vec<Contact>,
    pub(crate) entries: Vec<EntryPoint>,
    /// Whether it has left since its last start.
    pub(crate) left: bool,
    /// Files it holds and fetches.
    pub(crate) files: NodeFiles,
    /// Names it shares.
    pub(crate) shared_names: Vec<FoundFile>,
    /// Its reports to its user.
    pub(crate) told: Told,
    pub(crate) place: Place,
    /// The hash chain of the events that reached it.
    pub(crate) chain: Chain,
    /// Counts the events of the queue that it caused.
    pub(crate) caused: u64,
}

impl SimNode {
    /// Its id and its address.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Its key pair.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The number of starts of its process.
    #[must_use]
    pub const fn starts(&self) -> u32 {
        self.life
    }

    /// Signatures that its machines checked since it was spawned.
    #[must_use]
    pub const fn signature_checks(&self) -> u64 {
        self.place.signature_checks
    }

    /// The machine of its process, if it runs.
    #[must_use]
    pub fn machine(&self) -> Option<&Node> {
        self.process.as_ref().map(|process| &*process.machine)
    }

    /// Whether its process runs; it may be paused.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.process.is_some()
    }

    /// Whether it has entered the network since its last start.
    #[must_use]
    pub fn has_joined(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.joined)
    }

    /// Whether it has left.
    #[must_use]
    pub const fn has_left(&self) -> bool {
        self.left
    }

    /// The time of its wall clock when the exact time is `exact`.
    #[must_use]
    pub fn wall_clock(&self, exact: UnixMillis) -> UnixMillis {
        UnixMillis(exact.0.saturating_add_signed(self.clock_off_ms))
    }

    pub(crate) fn shift_clock(&mut self, by: Duration, back: bool) {
        let millis = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let signed = if back { -millis } else { millis };
        self.clock_off_ms = self.clock_off_ms.saturating_add(signed);
    }
}

impl Process {
    /// World time on the process's own clock.
    pub(crate) fn local(&self, now: Instant) -> Instant {
        Instant::ZERO + now.since(self.born)
    }

    /// The process's own time on the world's clock.
    pub(crate) fn global(&self, local: Instant) -> Instant {
        self.born + local.since(Instant::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_node_has_an_address_of_its_own() {
        let addresses: BTreeSet<_> = (0..20_000).map(|i| NodeIndex::new(i).address()).collect();
        assert_eq!(addresses.len(), 20_000);
        assert_eq!(NodeIndex::new(0).address().to_string(), "10.0.0.1:12345");
        assert_eq!(NodeIndex::new(250).address().to_string(), "10.0.1.1:12345");
    }
}
