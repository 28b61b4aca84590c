//! The arguments of `service` and `man`.

use clap::{Args, Subcommand, ValueEnum};

pub(super) const SERVICE_EXAMPLES: &str = "\
Examples:
  potluck service print systemd > /etc/systemd/system/potluck.service
  potluck service print docker > Dockerfile";

/// `service`.
#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    #[command(subcommand)]
    pub(crate) command: ServiceCommand,
}

/// What is done with the files of a service.
#[derive(Debug, Subcommand)]
pub(crate) enum ServiceCommand {
    /// Print the file that runs a node as a service, with how to install it
    #[command(after_help = SERVICE_EXAMPLES)]
    Print {
        /// What runs the service
        #[arg(value_enum)]
        kind: ServiceKind,
    },
}

/// What runs a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ServiceKind {
    /// A unit file
    Systemd,
    /// A Dockerfile
    Docker,
    /// A manifest
    Kubernetes,
}

/// `man`.
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The command; without it the page of the program
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Option<String>,
}
