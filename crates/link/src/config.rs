//! The parameters of a link.

use potluck_base::Rate;

/// The parameters of a link; every table it has is bounded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkConfig {
    /// Whether datagrams are encrypted. Off only in the simulator, for speed: same header, sizes
    /// and rules, but anyone can forge.
    pub seal: bool,
    /// Exempts loopback and private addresses from the limits by subnet and address (not from the
    /// global one), for many nodes on one machine.
    pub lab: bool,
    /// Most peers whose keys, cookies, replay windows and round-trip times are kept.
    pub sessions_max: usize,
    /// Most requests under way, answers not yet fetched included.
    pub requests_max: usize,
    /// Most datagrams and incoming requests that wait to be fetched. What the caller was promised
    /// (answers and failures) has its room besides.
    pub outputs_max: usize,
    /// Most subnets, and most addresses, whose rates are remembered.
    pub limits_max: usize,
    /// Datagrams of strangers in all.
    pub global: Rate,
    /// Datagrams of strangers from one /16 (IPv6: /32).
    pub wide_subnet: Rate,
    /// Datagrams of strangers from one /24 (IPv6: /48).
    pub subnet: Rate,
    /// Datagrams of strangers from one address.
    pub address: Rate,
    /// Key agreements with strangers in all; beyond, they are told to come back with a cookie.
    pub agreements: Rate,
    /// Requests of one peer whose address is proven.
    pub peer: Rate,
}

impl Default for LinkConfig {
    fn default() -> Self {
        Self {
            seal: true,
            lab: false,
            sessions_max: 4096,
            requests_max: 4096,
            outputs_max: 8192,
            limits_max: 4096,
            global: Rate::new(10_000, 10_000),
            wide_subnet: Rate::new(2_000, 4_000),
            subnet: Rate::new(500, 1_000),
            address: Rate::new(50, 100),
            agreements: Rate::new(1_000, 1_000),
            peer: Rate::new(5_000, 10_000),
        }
    }
}
