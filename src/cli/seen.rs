//! What can be typed to see how a node and its network are.

use std::path::PathBuf;

use clap::Args;

pub(super) const DOCTOR_EXAMPLES: &str = "\
Examples:
  potluck doctor
  potluck doctor --key config/greeting
  potluck doctor --explain clock.off
  potluck doctor --bundle help.tar
Exit code 0: nothing was found; 1: something was. It works while the node is down, too.";

/// `doctor`.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// List every check that was made, too
    #[arg(long)]
    pub(crate) all: bool,
    /// Ask the replicas of this record what they hold, too
    #[arg(long, value_name = "NAME")]
    pub(crate) key: Option<String>,
    /// Write an archive without secrets, of at most 5 MiB, for others who help
    #[arg(long, value_name = "FILE")]
    pub(crate) bundle: Option<PathBuf>,
    /// Say what a code means, and do nothing else; `all` lists the codes
    #[arg(long, value_name = "CODE", conflicts_with_all = ["all", "key", "bundle"])]
    pub(crate) explain: Option<String>,
    /// The data folder of the node, where it is not the usual one
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Entry points whose names are resolved while the node is down; may be given several times
    #[arg(long, value_name = "DNS:PORT")]
    pub(crate) entry: Vec<String>,
}

pub(super) const TOP_EXAMPLES: &str = "\
Examples:
  potluck top
  potluck top -b > frame.txt";

/// `members`.
#[derive(Debug, Args)]
pub(crate) struct MembersArgs {
    /// Also show what each member runs, and the versions of messages that it speaks
    #[arg(short, long)]
    pub(crate) long: bool,
}

/// `top`.
#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Print one plain frame and end; without a terminal that is what it does anyway
    #[arg(short, long = "batch")]
    pub(crate) batch: bool,
}
