//! `/v1/teams`.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A team to create.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct TeamRequest {
    /// Its name, 1 to 512 bytes.
    pub(crate) name: String,
}

/// A node that may write in a team.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TeamWriter {
    /// Its node id.
    pub(crate) node_id: String,
    /// Its public key.
    pub(crate) public_key: String,
}

/// A team, and the members that may write in it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Team {
    /// Its space, `team/<id>`.
    pub(crate) space: String,
    /// Its id.
    pub(crate) id: String,
    /// Its name, which its owner chose.
    pub(crate) name: String,
    /// Number of changes of the list.
    pub(crate) epoch: u64,
    /// The node that changes the list, and may write as well.
    pub(crate) owner: TeamWriter,
    /// The others that may write.
    pub(crate) writers: Vec<TeamWriter>,
    /// Whether this node may write.
    pub(crate) may_write: bool,
}

/// Two envelopes that one writer signed with one dot: its key is used in two places, or its node cheats.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EquivocationProof {
    /// The public key of the writer.
    pub(crate) writer: String,
    /// The dot.
    pub(crate) dot: String,
    /// The digests of both heads; replicas keep the second.
    pub(crate) digests: Vec<String>,
    /// Both signed heads in base64, in their wire format: any program can verify them.
    pub(crate) heads_base64: Vec<String>,
}
