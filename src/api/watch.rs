//! What the HTTP API says about watched records.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Sibling;

/// A watched record as it is from now on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WatchChange {
    /// The record's name.
    pub(crate) name: String,
    /// `value`: one value; `siblings`: several to merge; `absent`: none, as before the first write, after a
    /// deletion, or when its life is over.
    pub(crate) state: String,
    /// The value, where it is one and text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    /// The value, where it is one and no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value_base64: Option<String>,
    /// The version of the one value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// How the one value is meant to be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// What a write must carry to supersede what is there.
    pub(crate) context: String,
    /// The values where they are several, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) siblings: Vec<Sibling>,
    /// Whether the record had, or may have had, other states since the event before.
    pub(crate) gap: bool,
    /// How many at least; 0 for none, null if that is unknown.
    pub(crate) missed: Option<u64>,
}
