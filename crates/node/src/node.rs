//! The node: wiring of its parts.

use std::net::SocketAddr;

use potluck_base::{Identity, NetworkId};

use crate::config::Config;

/// What a node starts with. Everything random or secret comes in here.
#[derive(Debug, Clone)]
pub struct Start {
    /// The node's key pair.
    pub identity: Identity,
    /// The network it belongs to.
    pub network: NetworkId,
    /// The address under which others reach it, as far as is known.
    pub address: SocketAddr,
    /// Its parameters.
    pub config: Config,
    /// Seed of all randomness: from the OS in the real world, from a number in the simulator.
    pub seed: [u8; 32],
}
