//! A node's condition as shown to people and collectors.

use potluck_base::Contact;

/// Whether a node can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// It can.
    Ok,
    /// It can, with the restrictions named.
    Degraded,
    /// It hears nobody.
    Offline,
}

impl Health {
    /// The word used in answers to people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Offline => "offline",
        }
    }
}

/// The node's condition.
#[derive(Debug, Clone, PartialEq)]
pub struct StatusView {
    /// This node, under the address it believes others reach it at.
    pub contact: Contact,
    /// Whether it can do its work.
    pub health: Health,
    /// Why not quite, one sentence each.
    pub reasons: Vec<String>,
    /// By how many milliseconds the peers' clocks lie ahead of this node's; `None` before any told.
    pub clock_offset_ms: Option<i64>,
    /// Whether another machine runs with this node's identity.
    pub identity_elsewhere: bool,
    /// Whether the network has been entered (or there is none to enter).
    pub ready: bool,
    /// Contacts in the routing table.
    pub peers: usize,
    /// Estimated nodes in the network, this one included.
    pub network_size_estimate: u64,
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
