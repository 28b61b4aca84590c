//! The arguments of commands about admission to the network.

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(super) const INVITE_EXAMPLES: &str = "\
Examples:
  potluck invite
  potluck invite --reusable --expires 30d --label role=build
  potluck invite --list";
pub(super) const REVOKE_EXAMPLES: &str = "\
Examples:
  potluck revoke 3f2a9c01
  potluck revoke 5bd0e77a21c4    (a ticket of potluck invite --list)";
pub(super) const NETWORK_EXAMPLES: &str = "\
Examples:
  potluck network show
  potluck network set replication 5
  potluck network set republish_interval 30s
  potluck network key export ./authority-key";

/// `invite`.
#[derive(Debug, Args)]
pub(crate) struct InviteArgs {
    /// How many nodes the ticket lets in [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) uses: Option<u32>,
    /// Let any number of nodes in
    #[arg(long, conflicts_with = "uses")]
    pub(crate) reusable: bool,
    /// How long the ticket is valid, at most 365d
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    pub(crate) expires: String,
    /// A label for the certificates; may be given several times
    #[arg(long, value_name = "K=V")]
    pub(crate) label: Vec<String>,
    /// Certificates are valid for a day instead of a year
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// Show the tickets that are still valid, and make none
    #[arg(long, conflicts_with_all = ["uses", "reusable", "label", "ephemeral"])]
    pub(crate) list: bool,
}

/// `revoke`.
#[derive(Debug, Args)]
pub(crate) struct RevokeArgs {
    /// The member's node id or public key, or a ticket's id, or the first 8 digits or more
    #[arg(value_name = "ID")]
    pub(crate) member: String,
}

/// `network`.
#[derive(Debug, Args)]
pub(crate) struct NetworkArgs {
    #[command(subcommand)]
    pub(crate) command: NetworkCommand,
}

/// What of the network.
#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Its name, its authority, how this node is admitted, and the settings in force
    Show,
    /// Change a setting of all nodes of the network; needs the authority key
    Set {
        /// replication, default_ttl, republish_interval or gossip_interval
        key: String,
        /// A number or a span of time such as 30s; default: as each node is configured
        value: String,
    },
    /// The authority key: its holder lets machines in and puts them out
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
}

/// What to do with the authority key.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Write it to a new file that only you can read
    Export {
        /// The file; never written over
        file: PathBuf,
    },
    /// Let this node use the key in a file
    Import {
        /// The file
        file: PathBuf,
    },
}
