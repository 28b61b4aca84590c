//! `team`.

use clap::{Args, Subcommand};

pub(super) const TEAM_EXAMPLES: &str = "\
Examples:
  potluck team create crew
  potluck team add team/1344.. 9f86d081
  potluck put plan v1 --space team/1344..";

/// `team`.
#[derive(Debug, Args)]
pub(crate) struct TeamArgs {
    #[command(subcommand)]
    pub(crate) command: TeamCommand,
}

/// What is done with a team.
#[derive(Debug, Subcommand)]
pub(crate) enum TeamCommand {
    /// Create a team that this node owns, and print its space
    #[command(after_help = "Example: potluck team create crew")]
    Create {
        /// A name, which is part of the team's id
        name: String,
    },
    /// Let a member write in a team that this node owns
    #[command(after_help = "Example: potluck team add team/1344.. 9f86d081")]
    Add(TeamMemberArgs),
    /// Take a member off the list: it writes no more, and what it wrote is not read
    #[command(after_help = "Example: potluck team remove team/1344.. 9f86d081")]
    Remove(TeamMemberArgs),
    /// Show who may write in a team
    #[command(after_help = "Example: potluck team show team/1344..")]
    Show {
        /// The team, as `team create` prints it
        team: String,
    },
}

/// A team and a member.
#[derive(Debug, Args)]
pub(crate) struct TeamMemberArgs {
    /// The team, as `team create` prints it
    pub(crate) team: String,
    /// The member's id or public key, or its first 8 digits or more; see potluck members
    pub(crate) member: String,
}
