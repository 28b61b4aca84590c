//! The configuration read again, and the levels of the log.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A key of the configuration with another value than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ChangedKey {
    /// Section and name, such as `files.upload_rate`.
    pub(crate) key: String,
    /// The value that the node used.
    pub(crate) from: String,
    /// The new value.
    pub(crate) to: String,
    /// Whether it takes effect only after a restart.
    pub(crate) restart: bool,
}

/// The result of reading the configuration again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Reloaded {
    /// The changed keys; empty if nothing has changed.
    pub(crate) changed: Vec<ChangedKey>,
}

/// The log of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LogView {
    /// The levels in force.
    pub(crate) levels: String,
    /// The last lines, oldest first.
    pub(crate) lines: Vec<String>,
}

/// The levels of the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LogLevels {
    /// A level for all lines, or `target=level` pairs separated by commas.
    pub(crate) levels: String,
}
