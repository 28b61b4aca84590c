//! The arguments of `advise`.

use clap::{Args, ValueEnum};

use crate::text::amount;

pub(super) const ADVISE_EXAMPLES: &str = "\
Examples:
  potluck advise
  potluck advise --purpose files --nodes 5000 --session 8h
  potluck advise --purpose web-app --nodes 10 --session 1y --transactions";

/// `advise`.
#[derive(Debug, Args)]
pub(crate) struct AdviseArgs {
    /// What it is for; asked on a terminal if left out
    #[arg(long, value_enum)]
    pub(crate) purpose: Option<For>,
    /// Machines that take part
    #[arg(long, value_name = "N", value_parser = amount::number)]
    pub(crate) nodes: Option<f64>,
    /// How long a machine stays, on average, such as 8h, 30d, 1y
    #[arg(long, value_name = "TIME", value_parser = amount::seconds)]
    pub(crate) session: Option<f64>,
    /// The time within which every answer must come, such as 50ms
    #[arg(long, value_name = "TIME", value_parser = amount::seconds)]
    pub(crate) latency: Option<f64>,
    /// Whether a reader may see an older value for some seconds (eventual) or never (strong)
    #[arg(long, value_enum)]
    pub(crate) consistency: Option<Consistency>,
    /// Several values must change together or not at all
    #[arg(long)]
    pub(crate) transactions: bool,
    /// The machines run on batteries
    #[arg(long)]
    pub(crate) battery: bool,
    /// The machines belong to strangers
    #[arg(long)]
    pub(crate) strangers: bool,
    /// People who run servers anyway
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) team: u64,
}

/// What it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum For {
    /// Small values under names: configuration, presence, flags, results
    Records,
    /// The same files to many machines
    Files,
    /// Messages to many machines
    Messages,
    /// Orders, money, stock
    Payments,
    /// A game in real time
    Game,
    /// Readings of sensors
    Sensors,
    /// Pages, accounts, forms
    WebApp,
}

/// What a reader may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Consistency {
    /// An older value for some seconds
    Eventual,
    /// The last write, always
    Strong,
}
