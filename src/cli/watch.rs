//! The arguments of `watch`.

use std::path::PathBuf;

use clap::Args;

use super::NameArgs;

pub(super) const WATCH_EXAMPLES: &str = "\
The value is printed as it is, with a line break behind it; that there are siblings, or none, is said on
stderr. With --out or --exec the value goes there and is not printed. A deletion leaves the file as it is.
The command gets the value on stdin (siblings as JSON, nothing if it is absent) and POTLUCK_NAME,
POTLUCK_STATE (value, siblings, absent), POTLUCK_VERSION, POTLUCK_GAP (1 if changes may be missing) and,
with --out, POTLUCK_FILE.

Examples:
  potluck watch config/greeting
  potluck watch config/greeting --json --count 2
  potluck watch config/nginx --out /etc/nginx/site.conf --exec 'nginx -s reload'";

/// `watch`.
#[derive(Debug, Args)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    pub(crate) record: NameArgs,
    /// Write the value to this file, replaced in one step
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
    /// Run this command line after each change, one at a time; its failure is said and does not end the
    /// watch
    #[arg(long, value_name = "CMD")]
    pub(crate) exec: Option<String>,
    /// End after this number of states, the present one included
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}
