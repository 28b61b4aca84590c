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

/// One setting in force at this node.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Setting {
    /// Its name.
    pub(crate) key: String,
    /// Its value.
    pub(crate) value: String,
    /// Its origin: `network`, `configuration` or `default`.
    pub(crate) source: String,
}

/// The settings in force.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NetworkSettings {
    /// Incremented with each change of the network's settings; 0: none was made.
    pub(crate) sequence: u64,
    /// All settings.
    pub(crate) settings: Vec<Setting>,
    /// Members that this node knows and that are alive, itself included.
    pub(crate) members: usize,
    /// Members that use this sequence or a later one.
    pub(crate) running: usize,
}
