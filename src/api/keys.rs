//! `/v1/keys`: names of records.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A name with a live value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NameEntry {
    /// The name.
    pub(crate) name: String,
    /// The key, the hash of space and name.
    pub(crate) key: String,
    /// The kind of the newest value.
    pub(crate) kind: String,
    /// Bytes of the live values.
    pub(crate) bytes: u64,
    /// Values that a reader sees; if there are several, they have to be merged.
    pub(crate) siblings: u32,
    /// When the last of them expires.
    pub(crate) expires_at: String,
}

/// Names in their order as bytes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Names {
    /// The names.
    pub(crate) names: Vec<NameEntry>,
    /// Whether all members of the network were asked and answered. In an open network it is false: the list
    /// has the names of this node's own records.
    pub(crate) complete: bool,
    /// `fleet`: all members were asked; `open`: this node alone.
    pub(crate) mode: String,
    /// Members that were asked, this node included.
    pub(crate) members_asked: usize,
    /// Members that answered.
    pub(crate) members_answered: usize,
    /// Ids of members that did not answer, at most 64.
    pub(crate) members_silent: Vec<String>,
    /// The start of the next page, for the parameter `after`; null: there is none.
    pub(crate) next: Option<String>,
}
