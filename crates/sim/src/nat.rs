//! A router between a node and the network, as a pure function: it assigns an outer address to each outgoing
//! packet, and admits only packets that belong to such an address.
//!
//! The names are those of RFC 4787. *Mapping*: whether the same inner address has one outer port for all
//! destinations. *Filter*: whose packets a mapping admits.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use potluck_base::Instant;

/// Whether an inner address has one outer port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// One port for all destinations.
    Independent,
    /// Another port for each destination, so no address can be announced to others.
    PerDestination,
}

/// Whose packets a mapping admits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    /// Packets from any address: a full cone.
    Open,
    /// Packets from IP addresses to which the node sent recently.
    Address,
    /// Packets from addresses and ports to which the node sent recently.
    Port,
}

/// The behaviour of a router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NatKind {
    /// Whether an inner address has one outer port.
    pub mapping: Mapping,
    /// Whose packets a mapping admits.
    pub filter: Filter,
    /// A mapping, and the permission to send through it, expires after this time without use.
    pub idle: Duration,
}

impl NatKind {
    /// A common home router: one mapping, open for the destinations of the last 30 s.
    pub const HOME: Self =
        Self { mapping: Mapping::Independent, filter: Filter::Port, idle: Duration::from_secs(30) };
    /// A full cone.
    pub const OPEN: Self = Self { filter: Filter::Open, ..Self::HOME };
    /// A symmetric NAT.
    pub const STRICT: Self = Self { mapping: Mapping::PerDestination, ..Self::HOME };
}

/// One outer port.
#[derive(Debug)]
struct Way {
    inner: SocketAddr,
    /// The destinations to which the inner address sent through this port, with the last times.
    sent: BTreeMap<SocketAddr, Instant>,
    used: Instant,
}

/// A router.
#[derive(Debug)]
pub struct Nat {
    kind: NatKind,
    outer: IpAddr,
    ways: BTreeMap<u16, Way>,
    next_port: u16,
}

/// The first outer port that is assigned.
const FIRST_PORT: u16 = 20_000;

impl Nat {
    /// A router with this outer address.
    #[must_use]
    pub const fn new(kind: NatKind, outer: IpAddr) -> Self {
        Self { kind, outer, ways: BTreeMap::new(), next_port: FIRST_PORT }
    }

    /// Its outer address.
    #[must_use]
    pub const fn outer(&self) -> IpAddr {
        self.outer
    }

    /// The outer address of an outgoing packet.
    pub fn outbound(&mut self, now: Instant, inner: SocketAddr, to: SocketAddr) -> SocketAddr {
        self.forget(now);
        let independent = self.kind.mapping == Mapping::Independent;
        let found = self
            .ways
            .iter()
            .find(|(_, way)| way.inner == inner && (independent || way.sent.contains_key(&to)));
        let port = found.map_or(self.next_port, |(port, _)| *port);
        if found.is_none() {
            self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
            self.ways.insert(port, Way { inner, sent: BTreeMap::new(), used: now });
        }
        if let Some(way) = self.ways.get_mut(&port) {
            way.used = now;
            way.sent.insert(to, now);
        }
        SocketAddr::new(self.outer, port)
    }

    /// The inner address of a packet to an outer port, if the packet is admitted.
    pub fn inbound(&mut self, now: Instant, from: SocketAddr, port: u16) -> Option<SocketAddr> {
        self.forget(now);
        let filter = self.kind.filter;
        let way = self.ways.get_mut(&port)?;
        let let_in = match filter {
            Filter::Open => true,
            Filter::Address => way.sent.keys().any(|to| to.ip() == from.ip()),
            Filter::Port => way.sent.contains_key(&from),
        };
        if !let_in {
            return None;
        }
        // Incoming packets keep an open mapping open.
        way.used = now;
        if let Some(sent) = way.sent.get_mut(&from) {
            *sent = now;
        }
        Some(way.inner)
    }

    /// The router restarts: packets to a former port are lost.
    pub fn restart(&mut self) {
        self.ways.clear();
        self.next_port = self.next_port.checked_add(1_000).unwrap_or(FIRST_PORT);
    }

    fn forget(&mut self, now: Instant) {
        let idle = self.kind.idle;
        self.ways.retain(|_, way| {
            way.sent.retain(|_, sent| now.since(*sent) < idle);
            now.since(way.used) < idle
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    fn nat(kind: NatKind) -> Nat {
        Nat::new(kind, "100.65.0.1".parse().unwrap())
    }

    #[test]
    fn each_filter_admits_the_senders_of_its_kind() {
        let (inner, to) = (socket("192.168.0.2:7"), socket("10.0.0.1:9"));
        let (other_port, other) = (socket("10.0.0.1:8"), socket("10.0.0.2:9"));
        for (filter, from_other_port, from_other) in [
            (Filter::Open, true, true),
            (Filter::Address, true, false),
            (Filter::Port, false, false),
        ] {
            let mut nat = nat(NatKind { filter, ..NatKind::HOME });
            let outer = nat.outbound(at(0), inner, to);
            assert_eq!(outer.ip(), nat.outer());
            let mut comes = |from| nat.inbound(at(1), from, outer.port()) == Some(inner);
            assert!(comes(to));
            assert_eq!((comes(other_port), comes(other)), (from_other_port, from_other));
            assert_eq!(nat.inbound(at(1), to, outer.port() + 1), None);
        }
    }

    #[test]
    fn a_mapping_is_one_for_all_or_one_for_each_destination() {
        let (inner, one, other) =
            (socket("192.168.0.2:7"), socket("10.0.0.1:9"), socket("10.0.0.2:9"));
        for (kind, equal) in [(NatKind::HOME, true), (NatKind::STRICT, false)] {
            let mut nat = nat(kind);
            let first = nat.outbound(at(0), inner, one);
            assert_eq!(nat.outbound(at(1), inner, other) == first, equal);
            assert_eq!(nat.outbound(at(2), inner, one), first);
        }
    }

    #[test]
    fn unused_mappings_expire_and_a_restart_removes_all() {
        let (inner, to) = (socket("192.168.0.2:7"), socket("10.0.0.1:9"));
        let mut nat = nat(NatKind::HOME);
        let first = nat.outbound(at(0), inner, to);
        assert_eq!(nat.inbound(at(29), to, first.port()), Some(inner));
        assert_eq!(nat.inbound(at(58), to, first.port()), Some(inner), "kept open by what came");
        assert_eq!(nat.inbound(at(88), to, first.port()), None);
        let second = nat.outbound(at(90), inner, to);
        assert_ne!(second, first);
        nat.restart();
        assert_eq!(nat.inbound(at(91), to, second.port()), None);
        assert_ne!(nat.outbound(at(91), inner, to), second);
    }
}
