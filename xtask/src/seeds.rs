//! `cargo xtask seeds`: runs scenarios of the simulator with many seeds, each run in its own process.
//!
//! **Invariant:** a run that fails or panics does not affect other runs; its output ends with the command
//! that repeats it.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use potluck_sim::scenarios;

use crate::run::Invocation;

/// What the task prints with `--help`.
pub(crate) const HELP: &str = "\
cargo xtask seeds SCENARIO.. [--seeds 1..1000] [--nodes N] [--minutes M]

Plays each scenario with each seed, optimised, on all cores. Prints a line a scenario, and the end of
the output of every run that failed, with the line that repeats it. Exit code 1 if one failed.

Every night:
  cargo xtask seeds clone clocks admission turns concurrent-writers partition crash-restart \\
      power-cut lossy --seeds 1..1000 --nodes 24
";

/// Lines of a failed run that are printed.
const LINES_MAX: usize = 12;

/// The parsed options.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Asked {
    scenarios: Vec<String>,
    seeds: RangeInclusive<u64>,
    /// Arguments for every run.
    size: Vec<String>,
}

fn parse(args: &[OsString]) -> Result<Asked, String> {
    let mut asked = Asked { scenarios: Vec::new(), seeds: 1..=1000, size: Vec::new() };
    let mut args = args.iter().map(|arg| arg.to_string_lossy().into_owned());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seeds" => {
                let value = args.next().unwrap_or_default();
                asked.seeds = range(&value).ok_or("--seeds is a range such as 1..1000")?;
            }
            "--nodes" | "--minutes" => {
                let value = args.next().filter(|value| value.parse::<u64>().is_ok());
                let value = value.ok_or_else(|| format!("{arg} is a number"))?;
                asked.size.extend([arg, value]);
            }
            name if name.starts_with('-') => {
                return Err(format!("seeds does not know `{name}`\n\n{HELP}"));
            }
            _ => asked.scenarios.push(arg),
        }
    }
    if asked.scenarios.is_empty() {
        return Err(format!("name a scenario\n\n{HELP}"));
    }
    Ok(asked)
}

/// `A..B`, both ends included.
fn range(text: &str) -> Option<RangeInclusive<u64>> {
    let (first, last) = text.split_once("..")?;
    let (first, last) = (first.parse().ok()?, last.trim_start_matches('=').parse().ok()?);
    (first <= last).then_some(first..=last)
}

/// Checks that these scenarios exist and are not meant to fail.
fn known(names: &[String]) -> Result<(), String> {
    for name in names {
        match scenarios::find(name) {
            None => {
                return Err(format!(
                    "there is no scenario `{name}`: cargo xtask sim --list names all"
                ));
            }
            Some(scenario) if scenario.must_fail => {
                return Err(format!("`{name}` is broken on purpose: leave it out"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Runs the task.
pub(crate) fn run(root: &Path, args: &[OsString]) -> Result<ExitCode, String> {
    let asked = parse(args)?;
    known(&asked.scenarios)?;
    let build = Invocation::cargo("build --release -p potluck-sim --example run");
    if build.run(root)? != ExitCode::SUCCESS {
        return Err("the simulator could not be built".to_owned());
    }
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |folder| root.join(folder));
    let program = target.join("release/examples/run");
    let mut failed = 0;
    for scenario in &asked.scenarios {
        failed += play(&program, scenario, &asked)?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs one scenario with all seeds. Returns the number of failed runs.
fn play(program: &PathBuf, scenario: &str, asked: &Asked) -> Result<usize, String> {
    let began = Instant::now();
    let seeds: Vec<u64> = asked.seeds.clone().collect();
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Some(output) = failure(program, scenario, *seed, &asked.size) {
                        let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
                        failures.push((*seed, output));
                    }
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort();
    let mut out = io::stdout().lock();
    let say = |error: io::Error| error.to_string();
    for (seed, output) in &failures {
        writeln!(out, "{scenario}, seed {seed}:\n{output}").map_err(say)?;
    }
    let (count, took) = (failures.len(), began.elapsed().as_secs());
    writeln!(out, "{scenario}: {} seeds, {count} failed, {took} s", seeds.len()).map_err(say)?;
    Ok(count)
}

/// The end of the output of a failed run.
fn failure(program: &PathBuf, scenario: &str, seed: u64, size: &[String]) -> Option<String> {
    let output = Command::new(program)
        .arg(scenario)
        .args(["--seed", &seed.to_string()])
        .args(size)
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) if output.status.success() => return None,
        Ok(output) => output,
        Err(error) => return Some(format!("cannot start {}: {error}", program.display())),
    };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let end = lines.len().saturating_sub(LINES_MAX);
    let replay = format!("again: cargo xtask sim {scenario} --seed {seed} {}", size.join(" "));
    Some(format!("  {}\n  {replay}", lines[end..].join("\n  ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Result<Asked, String> {
        parse(&words.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn scenarios_seeds_and_sizes_are_taken_in_any_order() {
        let asked = parsed("partition --seeds 5..7 lossy --nodes 24").expect("arguments");
        assert_eq!(asked.scenarios, ["partition", "lossy"]);
        assert_eq!(asked.seeds, 5..=7);
        assert_eq!(asked.size, ["--nodes", "24"]);
        assert_eq!(parsed("lossy").expect("a name").seeds, 1..=1000);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_does() {
        for (words, said) in [
            ("", "name a scenario"),
            ("lossy --seeds 9..1", "a range such as"),
            ("lossy --seeds x", "a range such as"),
            ("lossy --nodes many", "--nodes is a number"),
            ("lossy --speed", "does not know `--speed`"),
        ] {
            let error = parsed(words).expect_err(words);
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn only_scenarios_that_are_there_and_can_pass_are_played() {
        assert_eq!(known(&["lossy".into()]), Ok(()));
        assert!(known(&["nonsense".into()]).is_err());
        assert!(known(&["canary".into()]).is_err());
    }
}
