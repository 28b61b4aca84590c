//! The settings of the whole network.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One setting to change.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SettingRequest {
    /// `replication`, `default_ttl`, `republish_interval` or `gossip_interval`.
    pub(crate) key: String,
    /// A number or a span of time; `default` leaves it to each node's configuration again.
    pub(crate) value: String,
}

/// One setting as this node goes by it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Setting {
    /// Its name.
    pub(crate) key: String,
    /// Its value.
    pub(crate) value: String,
    /// Where it is from: `network`, `configuration` or `default`.
    pub(crate) source: String,
}

/// The settings in force.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NetworkSettings {
    /// One up with each change of the network's settings; 0: none was made.
    pub(crate) sequence: u64,
    /// All settings.
    pub(crate) settings: Vec<Setting>,
    /// Members that this node knows and that are there, itself included.
    pub(crate) members: usize,
    /// Of these, how many go by this sequence or a later one.
    pub(crate) running: usize,
}
