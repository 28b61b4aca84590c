//! The arguments of commands about files.

use std::path::PathBuf;

use clap::Args;

pub(super) const SHARE_EXAMPLES: &str = "\
Examples:
  potluck share ./weights.bin
  potluck share ./site --as site/latest
  pg_dump shop | potluck share - --name shop.sql";
pub(super) const FETCH_EXAMPLES: &str = "\
Examples:
  potluck fetch potluck:3tn3wqi6xk54c2hqajynnbzjrpayujq7oaqpo2rkgnhkkdxcbhxa/weights.bin -o models
  potluck fetch site/latest -o www
  potluck fetch site/latest -o www --update
  POTLUCK_LINK=potluck:.. potluck fetch";

pub(super) const FILES_EXAMPLES: &str = "\
Examples:
  potluck files
  potluck files --all --json | jq -r '.files[].name'";

/// `share`.
#[derive(Debug, Args)]
pub(crate) struct ShareArgs {
    /// The file or folder; `-` reads stdin
    #[arg(value_name = "PATH|-")]
    pub(crate) path: PathBuf,
    /// Its name; needed for stdin
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Also point this record at it, so that others can fetch it by name
    #[arg(long = "as", value_name = "NAME")]
    pub(crate) record: Option<String>,
    /// Keep a copy of the bytes, whatever becomes of the file
    #[arg(long)]
    pub(crate) copy: bool,
}

/// `fetch`.
#[derive(Debug, Args)]
pub(crate) struct FetchArgs {
    /// The link that `share` printed, or the name of a record that holds it; `-` reads stdin
    #[arg(value_name = "LINK|NAME", env = "POTLUCK_LINK", hide_env_values = true)]
    pub(crate) link: String,
    /// The folder to put it into; it is created if there is none
    #[arg(short, long = "output", value_name = "DIR", default_value = ".")]
    pub(crate) output: PathBuf,
    /// Replace the files of an earlier fetch; those that were changed since are left and named
    #[arg(long)]
    pub(crate) update: bool,
    /// Replace every file that is in the way
    #[arg(long)]
    pub(crate) force: bool,
}

/// `files`.
#[derive(Debug, Args)]
pub(crate) struct FilesArgs {
    /// Begin behind this id, where another list ended
    #[arg(long, value_name = "ID")]
    pub(crate) after: Option<String>,
    /// How many files to show
    #[arg(long, value_name = "N", default_value_t = 1000, conflicts_with = "all",
        value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
    /// Show all files
    #[arg(long)]
    pub(crate) all: bool,
}

/// Which file.
#[derive(Debug, Args)]
pub(crate) struct FileArgs {
    /// Its id as files shows it, the beginning of one, or its link
    pub(crate) id: String,
}

/// `gc`.
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Only print what would be removed, and why
    #[arg(long)]
    pub(crate) dry_run: bool,
}
