//! Feeds hostile bytes to every decoder: `cargo xtask fuzz [TARGET] [--seed N] [--rounds N]`.
//!
//! Each target starts from well-formed samples and mutates them, so that inputs get past the first
//! bytes. The same seed gives the same inputs; a panic prints the seed and round that made it.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]

use std::process::ExitCode;

use potluck_fuzz::{TARGETS, run};

fn usage() -> ExitCode {
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    eprintln!("usage: fuzz [TARGET] [--seed N] [--rounds N]; targets: {}", names.join(", "));
    ExitCode::from(2)
}

fn main() -> ExitCode {
    let (mut only, mut seed, mut rounds) = (None, 1, 200_000);
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let number = |words: &mut dyn Iterator<Item = String>| words.next()?.parse::<u64>().ok();
        match word.as_str() {
            "--seed" => match number(&mut words) {
                Some(number) => seed = number,
                None => return usage(),
            },
            "--rounds" => match number(&mut words) {
                Some(number) => rounds = number,
                None => return usage(),
            },
            name if TARGETS.iter().any(|target| target.name == name) => only = Some(word),
            _ => return usage(),
        }
    }
    for target in TARGETS.iter().filter(|target| only.as_deref().is_none_or(|n| n == target.name)) {
        let taken = run(target, seed, rounds);
        println!("{}: {rounds} inputs from seed {seed}, {taken} accepted", target.name);
    }
    ExitCode::SUCCESS
}
