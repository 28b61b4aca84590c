//! From where peers see this node send: the address that a router gave its packets, which this node
//! cannot see itself.
//!
//! Each sealed answer tells the asker's address. One answer proves nothing, so an address is believed
//! when peers of [`NEEDED`] subnets agree on it, and no other address has more of them. It is given up
//! when another one has the majority of the last answers, when too few of them still name it, or when
//! nothing was heard for [`CLAIM_LIFE`].
//!
//! **Subnets.** On the Internet one owner can have many addresses next to each other, so all of an IPv4
//! /16 or an IPv6 /32 count as one witness. Private addresses tell nothing of owners: a site numbers its
//! machines as it likes, often all in one /16, and an intruder there takes any free address. There each
//! IP address counts for itself. A machine with three addresses in a private network can therefore mislead
//! its other machines about their address in that private network, but not about their address on the
//! Internet: the two are decided apart, each by answers from addresses of its own kind about addresses
//! of its own kind.
//!
//! A peer in a network that this machine is connected to is no witness: no router is between the two,
//! and what it sees is the address of the interface. So in a network of one LAN, or on loopback, nothing
//! is believed, and the addresses of the interfaces stand.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use potluck_base::{Instant, LocalAddress, PublicKey, is_dialable, is_global};

use crate::link::Link;

/// Subnets whose peers must agree.
const NEEDED: usize = 3;
/// The same in a network of three nodes or fewer.
const NEEDED_OF_TWO: usize = 2;
/// Nodes in a network that has no three others to ask.
const FEW_NODES: usize = 3;
/// For how long a peer's claim counts.
const CLAIM_LIFE: Duration = Duration::from_secs(10 * 60);
/// The last answers of a kind that decide, each of another peer.
const JURY: usize = 16;
/// An answer that says what its sender said less than this time before is passed over. Answers come many
/// times a second, and each costs a count of all witnesses. A larger value lets a peer that repeats itself
/// count as heard earlier than it was, at most by this time.
const REPEATED: Duration = Duration::from_secs(10);
/// Answers remembered of each kind. More than decide, so that a subnet with many peers does not leave
/// too few of others.
const CLAIMS_MAX: usize = 64;
/// Peers of one subnet that are remembered.
const CLAIMS_PER_SUBNET: usize = 2;

/// An address at which peers see this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObservedAddress {
    /// The address.
    pub socket: SocketAddr,
    /// How many subnets of peers lately said so.
    pub witnesses: usize,
}

/// Where an address leads: kinds are decided apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    ipv6: bool,
    global: bool,
}

impl Kind {
    const ALL: [Self; 4] = [
        Self { ipv6: false, global: true },
        Self { ipv6: true, global: true },
        Self { ipv6: false, global: false },
        Self { ipv6: true, global: false },
    ];

    fn of(address: SocketAddr) -> Self {
        Self { ipv6: address.is_ipv6(), global: is_global(address.ip()) }
    }
}

/// What one peer said last.
#[derive(Debug, Clone, Copy)]
struct Claim {
    seen_at: SocketAddr,
    subnet: u128,
    heard: Instant,
    /// Orders what was heard at the same instant.
    number: u64,
}

/// The answers of one kind and what is believed by them.
#[derive(Debug, Default)]
struct Court {
    claims: BTreeMap<PublicKey, Claim>,
    believed: Option<ObservedAddress>,
    varies: bool,
}

/// What peers say of this node's addresses.
#[derive(Debug)]
pub(crate) struct Observed {
    local: Vec<LocalAddress>,
    nodes: usize,
    courts: BTreeMap<Kind, Court>,
    heard: u64,
    changed: bool,
}

/// The subnet whose peers count as one witness.
fn subnet(address: SocketAddr) -> u128 {
    let global = is_global(address.ip());
    let (bits, kept) = match address.ip().to_canonical() {
        IpAddr::V4(ip) => (ip.to_ipv6_mapped().to_bits(), if global { 96 + 16 } else { 128 }),
        IpAddr::V6(ip) => (ip.to_bits(), if global { 32 } else { 128 }),
    };
    bits & (u128::MAX << (128 - kept))
}

impl Observed {
    pub(crate) fn new() -> Self {
        let courts = Kind::ALL.into_iter().map(|kind| (kind, Court::default())).collect();
        Self { local: Vec::new(), nodes: 0, courts, heard: 0, changed: false }
    }

    /// The peer at `from` saw a request of this node come from `seen_at`.
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        peer: &PublicKey,
        from: SocketAddr,
        seen_at: SocketAddr,
    ) {
        let kind = Kind::of(from);
        let loops = |address: SocketAddr| address.ip().is_loopback();
        let near = loops(from) || self.local.iter().any(|own| own.is_on_link(from.ip()));
        if near || loops(seen_at) || !is_dialable(&seen_at) || Kind::of(seen_at) != kind {
            return;
        }
        let known = self.courts.get(&kind).and_then(|court| court.claims.get(peer));
        if known.is_some_and(|it| it.seen_at == seen_at && now.since(it.heard) < REPEATED) {
            return;
        }
        self.heard += 1;
        let claim = Claim { seen_at, subnet: subnet(from), heard: now, number: self.heard };
        let needed = self.needed();
        if let Some(court) = self.courts.get_mut(&kind) {
            court.enter(*peer, claim);
            let before = court.address();
            court.decide(now, needed);
            self.changed |= court.address() != before;
        }
    }

    fn needed(&self) -> usize {
        if (1..=FEW_NODES).contains(&self.nodes) { NEEDED_OF_TWO } else { NEEDED }
    }

    /// Looks again, since time went by.
    fn review(&mut self, now: Instant) {
        let needed = self.needed();
        self.courts.values_mut().for_each(|court| court.decide(now, needed));
    }

    /// What is believed, at most one address of each kind, global ones first.
    fn believed(&self) -> Vec<ObservedAddress> {
        let courts = Kind::ALL.iter().filter_map(|kind| self.courts.get(kind));
        courts.filter_map(|court| court.believed).collect()
    }
}

impl Court {
    fn address(&self) -> Option<SocketAddr> {
        self.believed.map(|believed| believed.socket)
    }

    fn enter(&mut self, peer: PublicKey, claim: Claim) {
        self.claims.insert(peer, claim);
        let neighbours = self.claims.values().filter(|other| other.subnet == claim.subnet).count();
        let crowded = neighbours > CLAIMS_PER_SUBNET;
        if !crowded && self.claims.len() <= CLAIMS_MAX {
            return;
        }
        let may_go = self.claims.iter().filter(|(_, it)| !crowded || it.subnet == claim.subnet);
        if let Some((&oldest, _)) = may_go.min_by_key(|(_, it)| it.number) {
            self.claims.remove(&oldest);
        }
    }

    /// Counts the witnesses of each address among the last answers.
    fn decide(&mut self, now: Instant, needed: usize) {
        self.claims.retain(|_, claim| now.since(claim.heard) < CLAIM_LIFE);
        let mut jury: Vec<&Claim> = self.claims.values().collect();
        jury.sort_by_key(|claim| std::cmp::Reverse(claim.number));
        jury.truncate(JURY);
        let mut witnesses: BTreeMap<SocketAddr, BTreeSet<u128>> = BTreeMap::new();
        for claim in &jury {
            witnesses.entry(claim.seen_at).or_default().insert(claim.subnet);
        }
        let all: BTreeSet<u128> = jury.iter().map(|claim| claim.subnet).collect();
        let count = |address: &SocketAddr| witnesses.get(address).map_or(0, BTreeSet::len);
        let mut ranked: Vec<(usize, SocketAddr)> =
            witnesses.iter().map(|(address, subnets)| (subnets.len(), *address)).collect();
        ranked.sort_by_key(|(subnets, address)| (std::cmp::Reverse(*subnets), *address));
        let second = ranked.get(1).map_or(0, |(subnets, _)| *subnets);
        let mut ports: BTreeMap<IpAddr, usize> = BTreeMap::new();
        witnesses.keys().for_each(|address| *ports.entry(address.ip()).or_default() += 1);
        let most = ranked.first().map_or(0, |(subnets, _)| *subnets);
        self.varies = most < needed && ports.values().any(|ports| *ports >= needed);
        let kept = self.believed.map(|it| it.socket).filter(|old| count(old) >= needed);
        let best = ranked.first().filter(|(most, _)| *most >= needed);
        let chosen = match (kept, best) {
            // Only a majority unseats what is believed, so that a minority which happens to be heard in
            // a row does not.
            (Some(old), Some((most, new))) if *new != old && *most * 2 > all.len() => Some(*new),
            (Some(old), _) => Some(old),
            (None, Some((most, new))) if *most > second => Some(*new),
            (None, _) => None,
        };
        self.believed = chosen.map(|socket| ObservedAddress { socket, witnesses: count(&socket) });
    }
}

impl Link {
    /// The addresses of the interfaces that this node listens on.
    pub fn set_local_addresses(&mut self, local: Vec<LocalAddress>) {
        if self.observed.local != local {
            self.observed.local = local;
            // What was said before was said of a machine that was elsewhere.
            self.observed.courts.values_mut().for_each(|court| *court = Court::default());
            self.observed.changed = true;
        }
    }

    /// The addresses of the interfaces that this node listens on.
    #[must_use]
    pub fn local_addresses(&self) -> &[LocalAddress] {
        &self.observed.local
    }

    /// Whether [`Link::observed_addresses`] may say something else than when this was asked last.
    pub fn take_observed_changed(&mut self) -> bool {
        std::mem::take(&mut self.observed.changed)
    }

    /// About how many nodes the network has, this one included.
    pub const fn set_network_size(&mut self, nodes: usize) {
        self.observed.nodes = nodes;
    }

    /// Where peers see this node: at most one address of each family on the Internet and one in private
    /// networks. May be an address of an interface.
    #[must_use]
    pub fn observed_addresses(&mut self, now: Instant) -> Vec<ObservedAddress> {
        self.observed.review(now);
        self.observed.believed()
    }

    /// Whether peers see this node at one IP address, but each at another port: then no address can be
    /// told to others.
    #[must_use]
    pub fn mapping_varies(&self) -> bool {
        self.observed.courts.values().any(|court| court.varies)
    }
}

#[cfg(test)]
mod tests;
