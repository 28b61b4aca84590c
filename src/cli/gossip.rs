//! The arguments of commands about topics and search.

use clap::Args;

pub(super) const PUB_EXAMPLES: &str = "\
Examples:
  potluck pub builds/nightly 'build 117 is green'
  tail -f build.log | potluck pub builds/log -";
pub(super) const SUB_EXAMPLES: &str = "\
Examples:
  potluck sub builds/nightly
  potluck sub builds/nightly --count 1 --json
  potluck sub builds/log -0 | xargs -0 -n 1 echo";

/// `pub`.
#[derive(Debug, Args)]
pub(crate) struct PubArgs {
    /// The topic, 1 to 128 bytes
    pub(crate) topic: String,
    /// The message; `-` reads stdin, each line a message
    #[arg(allow_hyphen_values = true)]
    pub(crate) message: String,
}

/// `sub`.
#[derive(Debug, Args)]
pub(crate) struct SubArgs {
    /// The topic, 1 to 128 bytes
    pub(crate) topic: String,
    /// Write each message as it is, with a zero byte behind it; else it is a line, in which line
    /// breaks and control characters are escaped
    #[arg(short = '0', long = "null")]
    pub(crate) zero: bool,
    /// End after this number of messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
}

/// `search`.
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// The words in the name, one to eight
    #[arg(required = true)]
    pub(crate) words: Vec<String>,
}
