//! `cargo xtask nat`: real nodes behind routers, and which of them reach each other.
//!
//! The task runs itself again inside a [sandbox], and creates everything there: a network namespace for each
//! machine and router, virtual links between them, and the firewall rules of each kind of router. For each
//! pair of kinds five nodes run: three with public addresses, and `a` and `b` behind a router each.
//!
//! A later feature that needs the same laboratory (hole punching, relays) adds cells to [`pair`] and rows to
//! [`expect`]; kinds and links stay.

mod expect;
mod kind;
mod options;
mod pair;
mod report;
mod wires;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use kind::Kinds;
use options::Options;

use crate::sandbox;

pub(crate) use options::HELP;

/// Programs of other packages that the laboratory uses.
const PROGRAMS: [&str; 5] = ["ip", "nft", "sh", "tee", "sha256sum"];

/// Runs the task. Exit code 0 also where the machine does not allow namespaces: a CI machine without root
/// cannot run this test.
pub(crate) fn run(root: &Path, args: &[OsString]) -> Result<ExitCode, String> {
    let options = Options::parse(args)?;
    if sandbox::is_inside() {
        return inside(&options);
    }
    if let Some(refusal) = sandbox::refusal(&PROGRAMS) {
        say(&format!("the NAT laboratory was skipped: {refusal}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let program = crate::run::program(root, options.program.as_deref())?;
    let program = ["--binary".into(), program.into()];
    sandbox::run_inside("nat", args.iter().chain(&program))
}

/// Runs all pairs inside the namespaces. Exit code 1: a required cell failed.
fn inside(options: &Options) -> Result<ExitCode, String> {
    let program = options.program.as_deref().ok_or("it must be told the program")?;
    sandbox::mount("nat")?;
    let mut results = Vec::new();
    for &(a, b) in &options.pairs {
        let result = pair::play(Kinds { a, b }, program, options.mib);
        if !options.json {
            let text = report::of_pair(&result);
            io::stdout().write_all(text.as_bytes()).map_err(|error| error.to_string())?;
        }
        results.push(result);
    }
    if options.json {
        say(&report::json(&results).to_string())?;
    } else {
        say(&report::summary(&results))?;
    }
    let broken = results.iter().any(|result| !result.broken().is_empty());
    Ok(if broken { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn say(line: &str) -> Result<(), String> {
    writeln!(io::stdout(), "{line}").map_err(|error| error.to_string())
}
