//! Feeds hostile input to everything that reads: `cargo xtask fuzz [TARGET..] [--seed N] [--rounds N]`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use potluck_fuzz::{Plan, Report, TARGETS, Target, corpus, find, minimised, replay, run};

const HELP: &str = "\
usage: fuzz [TARGET..] [--seed N] [--rounds N] [--minutes N] [--keep] [--replay FILE..]

Feeds mutations of samples and of the committed corpus to each target, or to those that are named.
  --seed N      where the randomness begins (1)
  --rounds N    inputs a target (200000)
  --minutes N   end a target after this time at the latest (60)
  --keep        put the inputs that led to something new into the corpus, as few as there can be
  --replay FILE feed this file to the one target that is named
  --list        the names of the targets
An input that breaks a rule is written to fuzz/failed/TARGET, and how to replay it is printed.
";

/// Bytes of the corpus of one target. Raising it keeps rarer inputs, and makes the repository larger.
const CORPUS_BYTES_MAX: usize = 32 * 1024;
/// Inputs of it, the shortest ones.
const CORPUS_INPUTS_MAX: usize = 150;

#[derive(Default)]
struct Wanted {
    targets: Vec<&'static Target>,
    seed: u64,
    rounds: u64,
    minutes: u64,
    keep: bool,
    replay: Vec<PathBuf>,
}

fn wanted(words: impl Iterator<Item = String>) -> Result<Wanted, String> {
    let mut wanted = Wanted { seed: 1, rounds: 200_000, minutes: 60, ..Wanted::default() };
    let mut words = words.peekable();
    while let Some(word) = words.next() {
        let mut number = || {
            let number = words.next().and_then(|text| text.parse().ok());
            number.ok_or_else(|| format!("{word} needs a number"))
        };
        match word.as_str() {
            "--seed" => wanted.seed = number()?,
            "--rounds" => wanted.rounds = number()?,
            "--minutes" => wanted.minutes = number()?,
            "--keep" => wanted.keep = true,
            "--replay" => wanted.replay.extend(words.by_ref().map(PathBuf::from)),
            name => match find(name) {
                Some(target) => wanted.targets.push(target),
                None => return Err(format!("there is no target {name}; --list names them")),
            },
        }
    }
    if !wanted.replay.is_empty() && wanted.targets.len() != 1 {
        return Err("name the one target that the files are for".to_owned());
    }
    if wanted.targets.is_empty() {
        wanted.targets = TARGETS.iter().collect();
    }
    Ok(wanted)
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if words.iter().any(|word| word == "--help" || word == "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    if words.iter().any(|word| word == "--list") {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        return ExitCode::SUCCESS;
    }
    match wanted(words.into_iter()).and_then(|wanted| feed(&wanted)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("fuzz: {message}");
            ExitCode::from(2)
        }
    }
}

fn feed(wanted: &Wanted) -> Result<(), String> {
    let unreadable = |error: std::io::Error| format!("the corpus: {error}");
    let folder = corpus::committed();
    for target in &wanted.targets {
        let mut failed = |input: &[u8]| note_failure(&folder, target, input);
        if !wanted.replay.is_empty() {
            let files = wanted.replay.iter().map(std::fs::read).collect::<Result<Vec<_>, _>>();
            let files = files.map_err(|error| format!("cannot read it: {error}"))?;
            let report = replay(target, files.iter().map(Vec::as_slice), &mut failed);
            println!("{}: {} files, {} accepted", target.name, report.rounds, report.accepted);
            continue;
        }
        let known = corpus::read(&folder, target).map_err(unreadable)?;
        let time = Duration::from_secs(wanted.minutes * 60);
        let plan = Plan { seed: wanted.seed, rounds: wanted.rounds, time };
        let mut report = run(target, plan, &known, &mut failed);
        report.found.extend(known);
        say(target, wanted.seed, &report);
        if wanted.keep {
            let mut kept = minimised(target, report.found, CORPUS_BYTES_MAX);
            kept.truncate(CORPUS_INPUTS_MAX);
            let bytes: usize = kept.iter().map(Vec::len).sum();
            println!("  corpus: {} inputs, {bytes} bytes", kept.len());
            corpus::replace(&folder, target, &kept).map_err(unreadable)?;
        }
    }
    Ok(())
}

fn say(target: &Target, seed: u64, report: &Report) {
    let (allocated, length) = report.hungriest;
    println!(
        "{}: {} inputs in {:.0} s from seed {seed}, {} accepted, {} outcomes, slowest {:.1} ms, \
         {allocated} bytes for an input of {length}",
        target.name,
        report.rounds,
        report.took.as_secs_f64(),
        report.accepted,
        report.marks,
        report.slowest.as_secs_f64() * 1000.0,
    );
}

fn note_failure(corpus: &Path, target: &Target, input: &[u8]) {
    let failed = corpus.with_file_name("failed");
    match corpus::write(&failed, target, input) {
        Ok(path) => {
            let path = path.display();
            eprintln!("replay: cargo xtask fuzz {} --replay {path}", target.name);
        }
        Err(error) => eprintln!("{} fails at {input:?}, which is not kept: {error}", target.name),
    }
}
