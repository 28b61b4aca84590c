//! The commands on counters, sets and maps.

use clap::Args;

use super::NameArgs;

pub(super) const INCR_EXAMPLES: &str = "\
Examples:
  potluck incr visits
  potluck incr stock -3";
pub(super) const MAP_SET_EXAMPLES: &str = "\
Examples:
  potluck map-set hosts db1 10.0.0.7
  potluck map-set hosts motd @motd.txt";

/// The options of every operation.
#[derive(Debug, Clone, Args)]
pub(crate) struct OperationArgs {
    /// Replicas that must acknowledge [default: a majority]
    #[arg(
        short,
        long = "write-quorum",
        value_name = "N",
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    pub(crate) w: Option<u16>,
}

/// `incr`.
#[derive(Debug, Args)]
pub(crate) struct IncrArgs {
    #[command(flatten)]
    pub(crate) record: NameArgs,
    /// How much to add; a negative number subtracts
    #[arg(value_name = "N", default_value_t = 1, allow_negative_numbers = true)]
    pub(crate) by: i64,
    #[command(flatten)]
    pub(crate) operation: OperationArgs,
}

/// `set-add` and `set-remove`.
#[derive(Debug, Args)]
pub(crate) struct ElementsArgs {
    #[command(flatten)]
    pub(crate) record: NameArgs,
    /// The elements, texts of 1 to 512 bytes
    #[arg(value_name = "ELEM", required = true, num_args = 1.., allow_negative_numbers = true)]
    pub(crate) elements: Vec<String>,
    #[command(flatten)]
    pub(crate) operation: OperationArgs,
}

/// `map-set`.
#[derive(Debug, Args)]
pub(crate) struct MapSetArgs {
    #[command(flatten)]
    pub(crate) record: NameArgs,
    /// The field's name, a text of 1 to 512 bytes
    pub(crate) field: String,
    /// The field's value; `-` reads stdin, `@FILE` a file
    #[arg(allow_negative_numbers = true)]
    pub(crate) value: String,
    #[command(flatten)]
    pub(crate) operation: OperationArgs,
}

/// `map-unset`.
#[derive(Debug, Args)]
pub(crate) struct MapUnsetArgs {
    #[command(flatten)]
    pub(crate) record: NameArgs,
    /// The field's name
    pub(crate) field: String,
    #[command(flatten)]
    pub(crate) operation: OperationArgs,
}
