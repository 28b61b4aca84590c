//! `cargo xtask`: the project's own tools, each a short command.
//!
//! This file only dispatches the tasks to their modules: [`run`] starts other programs, [`tidy`] checks the
//! sources, [`seeds`] runs many simulations, [`torment`] runs real nodes under faults, [`nat`] real nodes
//! behind routers, [`peers`] other systems beside Potluck.

mod grafana;
mod line;
mod nat;
mod node;
mod peers;
mod release;
mod run;
mod sandbox;
mod seeds;
mod tidy;
mod tools;
mod torment;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const HELP: &str = "\
cargo xtask TASK [ARGS..]

  ci             everything a change must pass: fmt, clippy, tidy, bench/ compiles, tests
  tidy [-v]      the house rules no compiler knows (-v: also list files that grow long)
  docs           the API documentation of the workspace; a warning is an error
  traces         runs the recorded simulations and writes their traces anew
  errors         docs/errors.md, from the table of codes in src/failure/codes.rs
  grafana        the dashboards in contrib/grafana/ from their description in xtask/src/grafana/
  ipv6 [ARGS..]  the whole end-to-end suite on [::1]; cargo test runs it on 127.0.0.1 and a part of it
                 on [::1]
  release        the program stripped, and its symbols and line tables in a file beside it
  sim [ARGS..]   simulations, optimised: potluck sim ARGS
  fuzz [ARGS..]  hostile input to everything that reads, optimised (--help: its arguments)
  seeds NAME..   scenarios of the simulator over many seeds (--help: what runs every night)
  torment        real nodes under kill, stop, partition, loss, wrong clocks and full disks, with
                 clients whose history is judged (--help: its arguments; docs/torment.md)
  nat [KINDS]    real nodes behind routers of every kind, and what reaches what (--help: its
                 arguments; docs/nat.md)
  line           a file over a line of a rate and a delay, for one program or several (--help)
  bench [ARGS..] Potluck measured: the workspace in bench/
  bench peers    Potluck beside other systems, the same work in one run (--help: its arguments)
";

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1);
    let task = args.next().unwrap_or_default();
    let args: Vec<OsString> = args.collect();
    match dispatch(&task.to_string_lossy(), &args) {
        Ok(code) => code,
        Err(message) => {
            // A failure to write to stderr cannot be reported anywhere.
            let _ = writeln!(io::stderr(), "xtask: {message}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(task: &str, args: &[OsString]) -> Result<ExitCode, String> {
    let root = &workspace_root()?;
    match task {
        "" | "help" | "-h" | "--help" => {
            io::stdout().write_all(HELP.as_bytes()).map_err(|error| error.to_string())?;
            Ok(ExitCode::SUCCESS)
        }
        "ci" => run::ci(root),
        "errors" => tidy::write_errors(root),
        "grafana" => grafana::run(root),
        "release" => release::run(root),
        "tidy" => {
            let verbose = args.iter().any(|arg| arg == "-v");
            if let Some(unknown) = args.iter().find(|arg| *arg != "-v") {
                return Err(format!("tidy knows only -v, not {}", unknown.display()));
            }
            tidy::run(root, verbose)
        }
        "seeds" if args.iter().any(|arg| arg == "--help" || arg == "-h") => {
            io::stdout().write_all(seeds::HELP.as_bytes()).map_err(|error| error.to_string())?;
            Ok(ExitCode::SUCCESS)
        }
        "seeds" => seeds::run(root, args),
        "torment" if args.iter().any(|arg| arg == "--help" || arg == "-h") => {
            io::stdout().write_all(torment::HELP.as_bytes()).map_err(|error| error.to_string())?;
            Ok(ExitCode::SUCCESS)
        }
        "torment" => torment::run(root, args),
        "nat" if args.iter().any(|arg| arg == "--help" || arg == "-h") => {
            io::stdout().write_all(nat::HELP.as_bytes()).map_err(|error| error.to_string())?;
            Ok(ExitCode::SUCCESS)
        }
        "nat" => nat::run(root, args),
        "line" if args.iter().any(|arg| arg == "--help" || arg == "-h") => {
            io::stdout().write_all(line::HELP.as_bytes()).map_err(|error| error.to_string())?;
            Ok(ExitCode::SUCCESS)
        }
        "line" => line::run(root, args),
        line::END_TASK => line::run_end(args),
        "bench" if args.first().is_some_and(|arg| arg == "peers") => match &args[1..] {
            rest if rest.iter().any(|arg| arg == "--help" || arg == "-h") => {
                io::stdout()
                    .write_all(peers::HELP.as_bytes())
                    .map_err(|error| error.to_string())?;
                Ok(ExitCode::SUCCESS)
            }
            rest => peers::run(root, rest),
        },
        _ => match run::Invocation::of_task(task, args) {
            Some(invocation) => invocation.run(root),
            None => Err(format!("no task `{task}`\n\n{HELP}")),
        },
    }
}

/// The folder above this crate, as cargo knows it now: two checkouts that share a target folder share this
/// program, so a path from compile time could be that of the other one.
fn workspace_root() -> Result<PathBuf, String> {
    let crate_folder = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    crate_folder
        .and_then(|folder| folder.parent().map(Path::to_path_buf))
        .ok_or_else(|| "start it as `cargo xtask`, which says where the workspace is".to_owned())
}
