//! Parameters of the failure detector and of the list of members.

use std::time::Duration;

/// Whether this node keeps the full list of members.
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

/// See each field; [`MembersConfig::validate`] holds them together.
#[derive(Debug, Clone, PartialEq)]
pub struct MembersConfig {
    /// Full list or bounded views.
    pub mode: ModeChoice,
    /// How often this node probes a member, when it is healthy itself. One second as in SWIM: each
    /// node sends and gets about one probe an interval whatever the size of the network.
    pub interval: Duration,
    /// Shortest suspicion where round trips are below `near`. One second: long enough for two more
    /// rounds of probes by everybody who was told, as 64 processes on loopback measured.
    pub suspicion_near: Duration,
    /// Shortest suspicion elsewhere. 5 s: Lifeguard's for networks of home connections.
    pub suspicion_far: Duration,
    /// Round trips below this are near.
    pub near: Duration,
    /// The longest suspicion, as a multiple of the shortest: Lifeguard's 6.
    pub suspicion_factor: u32,
    /// Members above which `Auto` turns to bounded views; it turns back at two thirds of it.
    pub fleet_max: usize,
    /// Members that a node with bounded views remembers.
    pub open_max: usize,
    /// How often lists are compared with somebody.
    pub compare_interval: Duration,
    /// How often one of the dead is tried again.
    pub heal_interval: Duration,
    /// Members that died or left and are remembered: the dead to be tried again, those who left so
    /// that stale records do not bring them back.
    pub gone_max: usize,
    /// For how long.
    pub gone_keep: Duration,
    /// Whether signatures of records are checked. Off only in large simulations.
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

/// Which parameters make no sense.
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
    /// The first that makes no sense.
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
