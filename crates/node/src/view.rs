//! A node's condition as shown to people and collectors.

use std::net::SocketAddr;
use std::time::Duration;

use potluck_base::Contact;
use potluck_dht::{EntryView, LastResort};
use potluck_link::OwnTrouble;

/// Where a node knows one of its addresses from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressSource {
    /// Its owner said so.
    Advertised,
    /// Peers see it there.
    Observed,
    /// It is the address of an interface.
    Interface,
}

/// An address of this node that others are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnAddress {
    /// The address.
    pub socket: SocketAddr,
    /// Where it is known from.
    pub source: AddressSource,
    /// Peers of how many subnets see this node there; 0 if too few do, or all are in its own network.
    pub witnesses: usize,
}

/// The node's condition, as its core knows it. What that means for people is decided in one place, the
/// `health` of the facade crate.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusView {
    /// This node, under the address it believes others reach it at.
    pub contact: Contact,
    /// All addresses that others are told, the preferred one first.
    pub addresses: Vec<OwnAddress>,
    /// Whether its router gives it another port for each peer, so that none can be told to others.
    pub mapping_varies: bool,
    /// By how many milliseconds the peers' clocks lie ahead of this node's; `None` before any told.
    pub clock_offset_ms: Option<i64>,
    /// Whether another machine runs with this node's identity.
    pub identity_elsewhere: bool,
    /// Contacts in the routing table.
    pub peers: usize,
    /// Estimated nodes in the network, this one included.
    pub network_size_estimate: u64,
    /// Whether the network has been entered at any time since the start.
    pub joined: bool,
    /// For how long no other node has been heard, if that is longer than peers are ever silent.
    pub silent_for: Option<Duration>,
    /// Contacts of the last run.
    pub remembered: usize,
    /// Other members that were there in this run and did not say good-bye, whatever is thought of them
    /// now.
    pub members: usize,
    /// The entry points that a user named, and what became of them.
    pub entry_points: Vec<EntryView>,
    /// The names that are asked while all entry points are silent.
    pub last_resort: LastResort,
    /// Why the others do not hear this node any more, as far as it knows.
    pub own_trouble: Option<OwnTrouble>,
    /// Whether stores of strangers need a work stamp now, in an `open` network.
    pub stamps_needed: bool,
    /// Whether it is leaving.
    pub leaving: bool,
    /// Own records that end within seven days and are not renewed.
    pub records_expiring_7d: u64,
    /// Own records whose renewal is behind.
    pub renewals_late: u64,
    /// By how much storing all own records again is behind the republish interval.
    pub republish_lag: Duration,
}

potluck_base::statistics! {
    /// All counters and gauges of the parts.
    #[derive(Debug, Clone, PartialEq)]
    pub struct Stats in "node" {
        /// Of the link.
        group link: potluck_link::LinkStats,
        /// Of the routing table and lookups.
        group dht: potluck_dht::Stats,
        /// Of record keeping.
        group kv: potluck_kv::Stats,
        /// Of fetching and serving files.
        group swarm: potluck_swarm::Stats,
        /// Of members, messages and search.
        group gossip: GossipStats,
        /// Of the budgets of peers.
        group price: crate::price::PriceStats,
        /// Inputs refused because a bounded queue was full.
        counter busy: u64,
    }
}

potluck_base::statistics! {
    /// Counters and gauges of gossip.
    #[derive(Debug, Clone, PartialEq)]
    pub struct GossipStats in "gossip" {
        /// Of the failure detector and the list of members.
        group members: potluck_gossip::members::MembersStats,
        /// Of messages and overlays.
        group topics: potluck_gossip::topics::TopicsStats,
        /// Of search.
        group search: potluck_gossip::search::Stats,
        /// 1 if this node keeps the full list of members, 0 if a part of it.
        gauge(Flag) mode: potluck_gossip::Mode as "gossip_fleet",
    }
}
