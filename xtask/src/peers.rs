//! `cargo xtask bench peers`: Potluck beside other systems, the same work in the same run.
//!
//! The programs that do the work are in `bench/` (Potluck) and `bench/peers/` (the others). They print
//! lines `figure NAME NUMBER`; this module obtains the programs ([`obtain`]), lets them take turns
//! ([`turns`]) and compares the figures ([`compare`], [`report`]).

mod compare;
mod measures;
mod obtain;
mod options;
mod play;
mod report;
mod turns;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

pub(crate) use options::HELP;

/// Obtains what can be had, runs all rounds, and prints the comparison.
pub(crate) fn run(root: &Path, args: &[OsString]) -> Result<ExitCode, String> {
    if !cfg!(target_os = "linux") {
        return Err("bench peers reads /proc, so it works on Linux only".to_owned());
    }
    let options = options::parse(args)?;
    let obtained = obtain::obtain(root, &options)?;
    let begin = load();
    let outcome = turns::run(&obtained, &options)?;
    let setting = report::Setting {
        versions: obtained.versions(root),
        load: format!("{begin} at the begin, {} at the end", load()),
        work: options.work.to_string(),
        files: outcome.files.display().to_string(),
    };
    let text = report::report(&outcome, &setting);
    io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    Ok(if outcome.figures.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The load averages of 1, 5 and 15 minutes.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(", ")
}

/// Progress, to stderr, so that stdout holds the report alone.
fn tell(line: &str) {
    // There is no place to report it if stderr is closed.
    let _ = writeln!(io::stderr(), "{line}");
}
