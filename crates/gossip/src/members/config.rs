//! Parameters of the failure detector and of the member list.

use std::time::Duration;

use potluck_base::{Contact, Identity, NetworkId};

/// Whether this node keeps the full member list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ModeChoice {
    /// By the size of the network: see [`MembersConfig::fleet_max`].
    #[default]
    Auto,
    /// Always.
    Fleet,
    /// Never.
    Open,
}

/// Parameters of members. [`MembersConfig::validate`] checks them against each other.
#[derive(Debug, Clone, PartialEq)]
pub struct MembersConfig {
    /// Full list or partial views.
    pub mode: ModeChoice,
    /// Interval between two probes of a healthy node. One second as in SWIM: each node sends and
    /// receives about one probe an interval, whatever the size of the network. A higher value finds
    /// crashes later.
    pub interval: Duration,
    /// Shortest suspicion of members with a round trip below `near`. One second: enough for two
    /// more rounds of probes by all informed members, as measured with 64 processes on loopback. A
    /// higher value declares fewer healthy members dead and finds crashes later.
    pub suspicion_near: Duration,
    /// Shortest suspicion of other members. 5 s: Lifeguard's value for home connections.
    pub suspicion_far: Duration,
    /// Round trips below this are near.
    pub near: Duration,
    /// The longest suspicion, as a multiple of the shortest: Lifeguard's 6.
    pub suspicion_factor: u32,
    /// Members above which `Auto` turns to partial views; it turns back at two thirds of it.
    pub fleet_max: usize,
    /// Members that a node with partial views remembers.
    pub open_max: usize,
    /// Interval between two comparisons of member lists.
    pub compare_interval: Duration,
    /// Interval between two tries to reach a dead member.
    pub heal_interval: Duration,
    /// Dead and left members remembered: the dead to be tried again, those that left so that stale
    /// records do not bring them back.
    pub gone_max: usize,
    /// How long dead and left members are remembered.
    pub gone_keep: Duration,
    /// Whether signatures of records are verified. Off only in large simulations.
    pub verify: bool,
}

impl Default for MembersConfig {
    fn default() -> Self {
        Self {
            mode: ModeChoice::Auto,
            interval: Duration::from_secs(1),
            suspicion_near: Duration::from_secs(1),
            suspicion_far: Duration::from_secs(5),
            near: Duration::from_millis(50),
            suspicion_factor: 6,
            fleet_max: 12_000,
            open_max: 1024,
            compare_interval: Duration::from_secs(30),
            heal_interval: Duration::from_secs(30),
            gone_max: 4096,
            gone_keep: Duration::from_secs(7 * 24 * 3600),
            verify: true,
        }
    }
}

/// Invalid parameters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembersConfigError {
    /// The interval is outside 100 ms to 60 s.
    #[error("[gossip] interval must be 100 ms to 60 s")]
    Interval,
    /// A suspicion is outside 500 ms to 5 min.
    #[error("[gossip] suspicion must be 500 ms to 5 min")]
    Suspicion,
}

impl MembersConfig {
    /// Checks the parameters.
    ///
    /// # Errors
    /// The first invalid one.
    pub fn validate(&self) -> Result<(), MembersConfigError> {
        let interval = Duration::from_millis(100)..=Duration::from_secs(60);
        if !interval.contains(&self.interval) {
            return Err(MembersConfigError::Interval);
        }
        let suspicion = Duration::from_millis(500)..=Duration::from_secs(300);
        if !suspicion.contains(&self.suspicion_near) || !suspicion.contains(&self.suspicion_far) {
            return Err(MembersConfigError::Suspicion);
        }
        Ok(())
    }
}

/// The parameters of a new [`Members`](super::Members).
#[derive(Debug, Clone)]
pub struct MembersStart {
    /// This node's keys.
    pub identity: Identity,
    /// The network.
    pub network: NetworkId,
    /// This node's key and address.
    pub contact: Contact,
    /// Higher than that of every earlier start.
    pub incarnation: u64,
    /// The labels that the owner gave this node.
    pub labels: Vec<(String, String)>,
    /// Whether this node is a client only: then it is neither listed nor probed by others.
    pub client: bool,
}
