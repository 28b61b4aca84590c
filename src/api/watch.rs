//! The types of the HTTP API for watched records.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Sibling;

/// A watched record after a change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WatchChange {
    /// The record's name.
    pub(crate) name: String,
    /// `value`: one value; `siblings`: several to merge; `absent`: none, that is before the first write,
    /// after a deletion, or after the last value has expired.
    pub(crate) state: String,
    /// The value, if there is exactly one and it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value: Option<String>,
    /// The value, if there is exactly one and it is not text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) value_base64: Option<String>,
    /// The version of the one value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    /// The kind of the one value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<String>,
    /// The context with which a write supersedes the present values.
    pub(crate) context: String,
    /// The values if there are several, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) siblings: Vec<Sibling>,
    /// Whether the record had, or may have had, other states since the event before.
    pub(crate) gap: bool,
    /// The least number of missed states; 0 for none, null if it is unknown.
    pub(crate) missed: Option<u64>,
}
