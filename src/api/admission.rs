//! Tickets, revocations, the network and its authority key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The properties of a ticket.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct InviteRequest {
    /// The number of nodes that it admits; default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) uses: Option<u32>,
    /// Whether it admits any number of nodes.
    pub(crate) reusable: bool,
    /// Its validity; default: a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) expires_seconds: Option<u64>,
    /// Labels of the certificates.
    pub(crate) labels: BTreeMap<String, String>,
    /// Whether certificates last a day.
    pub(crate) ephemeral: bool,
}

/// A new ticket.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Invite {
    /// The ticket. It is a secret.
    pub(crate) ticket: String,
    /// Its public key, by which it is listed and cancelled.
    pub(crate) id: String,
    /// The number of nodes that it admits; absent: any number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) uses: Option<u32>,
    /// The network's name.
    pub(crate) network: String,
    /// The time from which it admits no node.
    pub(crate) expires_at: String,
}

/// A ticket that has not expired and was not cancelled, without its secret.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InviteEntry {
    /// The ticket's public key.
    pub(crate) id: String,
    /// The number of nodes that it admits; absent: any number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) uses: Option<u32>,
    /// The number of further nodes that it admits; absent: any number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) uses_left: Option<u32>,
    /// The number of nodes that it has admitted.
    pub(crate) used: u32,
    /// When it was made.
    pub(crate) issued_at: String,
    /// The time from which it admits no node.
    pub(crate) expires_at: String,
    /// Labels of the certificates.
    pub(crate) labels: BTreeMap<String, String>,
    /// Whether certificates last a day.
    pub(crate) ephemeral: bool,
}

/// Tickets that have not expired and were not cancelled.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Invites {
    /// The tickets made on this node.
    pub(crate) tickets: Vec<InviteEntry>,
}

/// A ticket that admits no further node.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Cancelled {
    /// The ticket's id.
    pub(crate) ticket: String,
}

/// The problem code for a revocation of a member that names a ticket.
pub(crate) const IS_TICKET: &str = "isTicket";

/// The member to revoke.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RevokeRequest {
    /// Node id or public key, or the first 8 digits or more.
    pub(crate) member: String,
}

/// The revoked member.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Revoked {
    /// Its public key.
    pub(crate) public_key: String,
    /// Its node id.
    pub(crate) node_id: String,
}

/// The network, and how this node is in it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NetworkView {
    /// Its name.
    pub(crate) name: String,
    /// Who may come in: invite, open or lab.
    pub(crate) admission: String,
    /// The bits of its puzzles, static and dynamic, in `open` networks.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) difficulty: Option<String>,
    /// In `open` networks what another machine needs to enter by this node: `potluck up INVITATION`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) invitation: Option<String>,
    /// Its id.
    pub(crate) id: String,
    /// The public key of its authority, in `invite` networks.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) authority: Option<String>,
    /// Whether this node's configuration names that authority, and would refuse another.
    pub(crate) authority_configured: bool,
    /// Whether this node holds the authority key.
    pub(crate) issuer: bool,
    /// When this node's certificate expires.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) certificate_expires_at: Option<String>,
    /// The settings in force.
    #[serde(default)]
    pub(crate) settings: super::NetworkSettings,
}

/// Where the authority key is to be written to or read from, on the node's machine.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct KeyRequest {
    /// An absolute path within `[files] paths`.
    pub(crate) path: String,
}
