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
    /// Do lookups and records survive nodes that come and go, up to millions of them?
    #[command(after_help = "Example: potluck sim live --nodes 100000 --churn ipfs")]
    Live(LiveArgs),
    /// Which overlay finds most, fastest, for the fewest bytes?
    #[command(after_help = "Example: potluck sim compare --sweep --report compare.html")]
    Compare(CompareArgs),
    /// How long until all readers have a file: from a server, or from each other?
    #[command(after_help = "Example: potluck sim distribute --file 700MB --readers 5000")]
    Distribute(DistributeArgs),
    /// How many records are lost if many nodes are gone at once?
    #[command(after_help = "Example: potluck sim loss --seeds 1..50")]
    Loss(LossArgs),
    /// Is a name found faster by asking around or by an index in the DHT?
    #[command(after_help = "Example: potluck sim find --nodes 1000,10000 --dead 10%")]
    Find(FindArgs),
    /// How many disjoint paths does a lookup need among adversaries?
    #[command(after_help = "Example: potluck sim paths --nodes 10000")]
    Paths(PathsArgs),
    /// Does the simulator reproduce what was published?
    #[command(after_help = "Example: potluck sim validate --report validate.html")]
    Validate(RunArgs),
    /// Do the arrays of millions and the real program say the same of a small network?
    #[command(after_help = "Example: potluck sim levels --nodes 1000")]
    Levels(LevelsArgs),
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

/// The seeds of a study, and where its report goes.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Seeds of the runs
    #[arg(long, value_name = "A..B", default_value = "1..5")]
    pub(crate) seeds: Seeds,
    #[command(flatten)]
    pub(crate) to: ReportArgs,
}

/// `sim live`.
#[derive(Debug, Args)]
pub(crate) struct LiveArgs {
    /// Nodes
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) nodes: usize,
    /// Virtual minutes
    #[arg(long, value_name = "M", default_value_t = 60)]
    pub(crate) minutes: u64,
    /// How nodes come and go: none, ipfs, bamboo, hour, diurnal, flash or correlated
    #[arg(long, value_name = "NAME", default_value = "ipfs")]
    pub(crate) churn: String,
    /// Records for each node
    #[arg(long, value_name = "N", default_value = "1", value_parser = amount::number)]
    pub(crate) records: f64,
    /// Nodes that hold a record
    #[arg(long, value_name = "N", default_value_t = 16)]
    pub(crate) replicas: usize,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// `sim compare`.
#[derive(Debug, Args)]
pub(crate) struct CompareArgs {
    /// Nodes
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub(crate) nodes: usize,
    /// Virtual minutes
    #[arg(long, value_name = "M", default_value_t = 30)]
    pub(crate) minutes: u64,
    /// How nodes come and go: none, ipfs, bamboo, hour, diurnal, flash or correlated
    #[arg(long, value_name = "NAME", default_value = "hour")]
    pub(crate) churn: String,
    /// Also vary k, alpha, the size of answers and the time between checks
    #[arg(long)]
    pub(crate) sweep: bool,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// `sim distribute`.
#[derive(Debug, Args)]
pub(crate) struct DistributeArgs {
    /// Readers of the largest crowd
    #[arg(long, value_name = "N", default_value = "10000000", value_parser = amount::number)]
    pub(crate) readers: f64,
    /// Size of the file, such as 700MB
    #[arg(long, value_name = "SIZE", default_value = "1GB", value_parser = amount::bytes)]
    pub(crate) file: f64,
    /// What the server sends
    #[arg(long, value_name = "RATE", default_value = "1Gbit", value_parser = amount::bits)]
    pub(crate) server: f64,
    /// What a reader sends
    #[arg(long, value_name = "RATE", default_value = "20Mbit", value_parser = amount::bits)]
    pub(crate) uplink: f64,
    /// What a reader receives
    #[arg(long, value_name = "RATE", default_value = "100Mbit", value_parser = amount::bits)]
    pub(crate) downlink: f64,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// `sim loss`.
#[derive(Debug, Args)]
pub(crate) struct LossArgs {
    /// Nodes
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    pub(crate) nodes: usize,
    /// Seeds of the runs: each adds a record for 16 nodes
    #[arg(long, value_name = "A..B", default_value = "1..16")]
    pub(crate) seeds: Seeds,
    #[command(flatten)]
    pub(crate) to: ReportArgs,
}

/// `sim paths`.
#[derive(Debug, Args)]
pub(crate) struct PathsArgs {
    /// Nodes, adversaries included; 10,000 is the setting of the S/Kademlia paper, which is judged
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    pub(crate) nodes: usize,
    /// Lookups of each seed for each share of adversaries and number of paths
    #[arg(long, value_name = "N", default_value_t = 3000)]
    pub(crate) lookups: u64,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// `sim levels`.
#[derive(Debug, Args)]
pub(crate) struct LevelsArgs {
    /// Nodes; 1,000 whole nodes take some minutes
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub(crate) nodes: usize,
    /// The same seed gives the same run
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) to: ReportArgs,
}

/// `sim find`.
#[derive(Debug, Args)]
pub(crate) struct FindArgs {
    /// Sizes of the networks
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1000,10000,100000")]
    pub(crate) nodes: Vec<usize>,
    /// The share of nodes that died a moment ago
    #[arg(long, value_name = "SHARE", default_value = "5%", value_parser = amount::share)]
    pub(crate) dead: f64,
    /// Searches for each row, over all seeds
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub(crate) searches: u32,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}
