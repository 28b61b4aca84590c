//! The traces of a few small runs, pinned: a change of any byte, time or order anywhere in the core
//! shows here, meant or not.
//!
//! `traces.txt` holds one run a line: scenario, nodes, seed, minutes, hash. When a change is meant,
//! `cargo xtask traces` writes the hashes anew; the commit that does so says why they changed. A hash
//! covers every event that reached a node with its bytes, so a change of the wire or of a text in
//! `Debug` changes it as well.

use std::fmt::Write as _;
use std::path::PathBuf;

use potluck_sim::{Params, Report, ScenarioError, run};

/// Set by `cargo xtask traces`: write what the runs gave instead of comparing it.
const WRITE: &str = "POTLUCK_WRITE_TRACES";

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/traces.txt")
}

/// A run as its line names it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pinned {
    scenario: String,
    nodes: usize,
    seed: u64,
    minutes: u64,
    hash: String,
}

fn read(text: &str) -> Vec<Pinned> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| parse(line).unwrap_or_else(|| panic!("no run: `{line}`"))).collect()
}

fn parse(line: &str) -> Option<Pinned> {
    let mut words = line.split_whitespace();
    let pinned = Pinned {
        scenario: words.next()?.to_owned(),
        nodes: words.next()?.parse().ok()?,
        seed: words.next()?.parse().ok()?,
        minutes: words.next()?.parse().ok()?,
        // Empty in a line just added.
        hash: words.next().unwrap_or_default().to_owned(),
    };
    words.next().is_none().then_some(pinned)
}

/// The report of a run, whether its checks passed or not: other tests judge that.
fn play(of: &Pinned) -> Report {
    let params = Params::seed(of.seed).nodes(of.nodes).minutes(of.minutes);
    match run(&of.scenario, &params) {
        Ok(report) => report,
        Err(ScenarioError::Failed(report)) => *report,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_recorded_runs_give_the_recorded_traces() {
    let text = std::fs::read_to_string(file()).expect("traces.txt is there");
    let pinned = read(&text);
    assert!(pinned.len() >= 5, "only {} runs are recorded", pinned.len());
    let (mut anew, mut changed) = (String::new(), Vec::new());
    for line in text.lines().filter(|line| line.starts_with('#')) {
        writeln!(anew, "{line}").expect("a string takes it");
    }
    for of in &pinned {
        let hash = play(of).trace.to_string();
        let Pinned { scenario, nodes, seed, minutes, .. } = of;
        writeln!(anew, "{scenario} {nodes} {seed} {minutes} {hash}").expect("a string takes it");
        if hash != of.hash {
            changed
                .push(format!("{scenario} --nodes {nodes} --seed {seed}: {} -> {hash}", of.hash));
        }
    }
    if std::env::var_os(WRITE).is_some() {
        return std::fs::write(file(), anew).expect("traces.txt can be written");
    }
    let how = "if that is meant, run `cargo xtask traces` and say why in the commit";
    assert!(changed.is_empty(), "traces changed; {how}:\n{}", changed.join("\n"));
}

#[test]
fn lines_are_read_as_they_are_written() {
    let line = "join 12 3 1 00ff00ff00ff00ff";
    let of = parse(line).expect("a run");
    let Pinned { scenario, nodes, seed, minutes, hash } = &of;
    assert_eq!(format!("{scenario} {nodes} {seed} {minutes} {hash}"), line);
    assert_eq!(parse("join 12 3 1").map(|of| of.hash), Some(String::new()));
    for bad in ["join", "join twelve 3 1 00", "join 12 3 1 00 more"] {
        assert_eq!(parse(bad), None, "{bad}");
    }
}
