//! The settings of the whole network as people change and see them.

use std::time::Duration;

use potluck_wire::NetworkSettings;

/// One setting to change; `None`: each node goes by its own configuration again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingChange {
    /// Replicas of a record.
    Replication(Option<u8>),
    /// The life of a record whose writer names none.
    DefaultTtl(Option<Duration>),
    /// How often an owner stores its records again.
    RepublishInterval(Option<Duration>),
    /// How often a member is probed.
    GossipInterval(Option<Duration>),
}

/// Why a setting is refused. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingRefused {
    /// More replicas than a close group can hold, or none.
    #[error(
        "replication must be 1 to {most}: a third of the {siblings} nodes that each node watches"
    )]
    Replication {
        /// The most.
        most: usize,
        /// The close group.
        siblings: usize,
    },
    /// It contradicts another setting, or this node's configuration.
    #[error(transparent)]
    Config(#[from] crate::config::ConfigError),
    /// It lives longer than any record may.
    #[error("default_ttl must be at most {} days, the longest life of a record", .0.as_secs() / 86_400)]
    Life(Duration),
    /// Settings that no node would read.
    #[error(transparent)]
    Settings(#[from] potluck_wire::SettingsError),
}

/// What settings change, as one node has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effective {
    /// Replicas of a record.
    pub replication: u16,
    /// The life of a record whose writer names none.
    pub life_default: Duration,
    /// How often an owner stores its records again; `None`: only to renew them.
    pub republish_interval: Option<Duration>,
    /// How often a member is probed.
    pub gossip_interval: Duration,
}

/// The settings in force at one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettingsView {
    /// The newest settings of the network that it has; sequence 0 if there are none.
    pub network: NetworkSettings,
    /// What its own configuration says.
    pub configured: Effective,
    /// What it goes by.
    pub effective: Effective,
    /// Living members that it knows, itself included.
    pub members: usize,
    /// Of these, how many have these settings or newer ones.
    pub running: usize,
}
