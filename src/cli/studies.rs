//! The studies of `sim`, and `plan`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::commands::sim::seeds::Seeds;
use crate::text::amount;

/// Questions that are answered by networks of up to ten million nodes, as plain arrays.
#[derive(Debug, Subcommand)]
pub(crate) enum Study {
    /// How do lookups and tables grow with the network, up to ten million nodes?
    #[command(after_help = "Example: potluck sim scale --nodes 10000000")]
    Scale(ScaleArgs),
}

/// Where a report goes beside the terminal.
#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Write the report with pictures as one HTML page
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Write every measurement as a row of CSV
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
}

/// `sim scale`.
#[derive(Debug, Args)]
pub(crate) struct ScaleArgs {
    /// Nodes of the largest network
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub(crate) nodes: usize,
    /// Lookups in it, over all seeds
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) lookups: u64,
    /// Seeds of the networks
    #[arg(long, value_name = "A..B", default_value = "1..5")]
    pub(crate) seeds: Seeds,
    /// The share of nodes that just died and are still in all tables
    #[arg(long, value_name = "SHARE", default_value = "0", value_parser = amount::share)]
    pub(crate) dead: f64,
    /// Contacts in a bucket
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) k: usize,
    /// Requests at once
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(crate) alpha: usize,
    /// Contacts in an answer [default: k]
    #[arg(long, value_name = "N")]
    pub(crate) answer: Option<usize>,
    /// The closest nodes that a node knows beside its buckets
    #[arg(long, value_name = "N", default_value_t = 48)]
    pub(crate) close_group: usize,
    #[command(flatten)]
    pub(crate) to: ReportArgs,
}

pub(super) const PLAN_EXAMPLES: &str = "\
Examples:
  potluck plan --users 10000000
  potluck plan --users 500 --session 8h --records 200 --files 10GB --gone 50%";

/// `plan`.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Users that are there at a time, each with a node
    #[arg(long, value_name = "N", value_parser = amount::number)]
    pub(crate) users: f64,
    /// How long a node stays, on average, such as 30min, 2.9h, 5d
    #[arg(long, value_name = "TIME", default_value = "2.9h", value_parser = amount::seconds)]
    pub(crate) session: f64,
    /// Records that each user keeps in the network
    #[arg(long, value_name = "N", default_value = "10", value_parser = amount::number)]
    pub(crate) records: f64,
    /// Size of a record, such as 500B or 4kB
    #[arg(long, value_name = "SIZE", default_value = "500B", value_parser = amount::bytes)]
    pub(crate) record_bytes: f64,
    /// Files that each user adds, such as 1GB; 0 for none
    #[arg(long, value_name = "SIZE", default_value = "1GB", value_parser = amount::bytes)]
    pub(crate) files: f64,
    /// What a node can send, such as 20Mbit or 1Gbit a second
    #[arg(long, value_name = "RATE", default_value = "20Mbit", value_parser = amount::bits)]
    pub(crate) uplink: f64,
    /// Time of a round trip, such as 100ms
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = amount::seconds)]
    pub(crate) round_trip: f64,
    /// The share of all nodes that may be gone at once, such as 30%
    #[arg(long, value_name = "SHARE", default_value = "30%", value_parser = amount::share)]
    pub(crate) gone: f64,
    #[command(flatten)]
    pub(crate) to: ReportArgs,
}
