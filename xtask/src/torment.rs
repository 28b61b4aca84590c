//! `cargo xtask torment`: runs real node processes under faults; a checker of histories judges the result.
//!
//! The task runs itself again inside a [sandbox], and creates everything there: a network namespace for each
//! node, virtual links, small disks.

mod clients;
mod disk;
mod finale;
mod http;
mod lab;
mod nemesis;
mod node;
mod options;
mod plan;
mod recorder;
mod report;
mod run;
mod story;
mod topics;
mod watch;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use options::Options;

use crate::sandbox;

pub(crate) use options::HELP;

/// Runs the task.
pub(crate) fn run(root: &Path, args: &[OsString]) -> Result<ExitCode, String> {
    let options = Options::parse(args)?;
    if sandbox::is_inside() {
        return run::inside(root, &options);
    }
    if let Some(refusal) = sandbox::refusal(&["ip", "tc", "nft", "sh"]) {
        return Err(refusal);
    }
    let program = ["--program".into(), options.program(root)?.into()];
    sandbox::run_inside("torment", args.iter().chain(&program))
}
