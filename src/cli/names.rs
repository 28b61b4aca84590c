//! The arguments of `ls`, `export` and `import`.

use std::path::PathBuf;

use clap::Args;

pub(super) const LS_EXAMPLES: &str = "\
Examples:
  potluck ls
  potluck ls config/ --long";
pub(super) const EXPORT_EXAMPLES: &str = "\
Examples:
  potluck export backup.jsonl
  potluck export --space own | gzip > own.jsonl.gz";
pub(super) const IMPORT_EXAMPLES: &str = "\
Examples:
  potluck import backup.jsonl
  zcat own.jsonl.gz | potluck import -";

/// `ls`.
#[derive(Debug, Args)]
pub(crate) struct LsArgs {
    /// Only names that begin so
    #[arg(default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,
    /// Which names: commons, own, own/<node id>, team/<id>
    #[arg(long, value_name = "SPACE")]
    pub(crate) space: Option<String>,
    /// Also show kind, size, expiry and number of siblings
    #[arg(short, long)]
    pub(crate) long: bool,
}

/// `export`.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The file to write, readable by you alone [default: stdout]
    pub(crate) file: Option<PathBuf>,
    /// Which records: commons, or own (those that this node wrote for itself)
    #[arg(long, value_name = "SPACE", default_value = "commons")]
    pub(crate) space: String,
    /// Only records whose names begin so
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    pub(crate) prefix: String,
    /// Replace the file if it is there
    #[arg(long, requires = "file")]
    pub(crate) force: bool,
}

/// `import`.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// A file of `potluck export`; `-` reads stdin
    pub(crate) file: PathBuf,
    /// Replace what is there under a name with another value
    #[arg(long)]
    pub(crate) overwrite: bool,
}
