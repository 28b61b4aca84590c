//! The arguments of `ls`.

use clap::Args;

pub(super) const LS_EXAMPLES: &str = "\
Examples:
  potluck ls
  potluck ls config/ --long";

/// `ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Only names that begin so
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,
    /// Which names: commons, own, own/<node id>
    #[arg(long, value_name = "SPACE")]
    pub(crate) space: Option<String>,
    /// Also show kind, size, expiry and number of siblings
    #[arg(short, long)]
    pub(crate) long: bool,
}
