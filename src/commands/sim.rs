//! `sim`: runs a scenario of the simulator and prints what it measured and checked.

mod levels;
pub(crate) mod seeds;
pub(crate) mod study;

use potluck_sim::scenarios::{self, ALL};
use potluck_sim::{Params, Report, ScenarioError};
use serde_json::{Map, Value, json};

use crate::cli::{Global, SimArgs};
use crate::failure::Failure;
use crate::out::Out;
use crate::text::count;

/// Runs the command. A canary is broken on purpose: for it a finding is a success.
pub(crate) fn run(global: &Global, args: &SimArgs) -> Result<(), Failure> {
    let out = global.out();
    if let Some(study) = &args.study {
        return study::run(global, study);
    }
    let Some(name) = args.scenario.as_deref().filter(|_| !args.list) else {
        return if args.list || out.json { list(out) } else { out.bytes(BEGIN.as_bytes()) };
    };
    let params = Params {
        nodes: args.nodes,
        seed: args.seed,
        minutes: args.minutes,
        partitions: args.partitions,
        prepared: args.prepared,
        ..Params::seed(args.seed)
    };
    if let Some(seeds) = &args.seeds {
        return seeds::run(global, name, &params, seeds);
    }
    let must_fail = scenarios::find(name).is_some_and(|scenario| scenario.must_fail);
    match scenarios::run(name, &params) {
        Ok(report) => {
            print(global, &report)?;
            if must_fail {
                return Err(Failure::failed("the checkers missed what is broken in the canary"));
            }
            Ok(())
        }
        Err(ScenarioError::Failed(report)) => {
            print(global, &report)?;
            if must_fail {
                return Ok(());
            }
            let failed = report.failures().count();
            Err(Failure::failed(format_args!("{} failed", count(failed as u64, "check")))
                .hint(report.replay()))
        }
        Err(
            error @ (ScenarioError::Partitions { .. }
            | ScenarioError::OnePartition(_)
            | ScenarioError::AboutJoining(_)),
        ) => Err(Failure::usage(error)),
        Err(error @ (ScenarioError::Unknown(_) | ScenarioError::TooFewNodes { .. })) => {
            Err(Failure::usage(error).hint("potluck sim --list names them"))
        }
    }
}

/// Bare `sim`.
const BEGIN: &str = "\
The simulator answers questions about networks before they are built. Try:
  potluck sim scale --nodes 1000000   how lookups and tables grow (seconds)
  potluck sim loss                    how many replicas survive what
  potluck sim distribute              a server, or readers that share
  potluck sim join --nodes 60         the real program in virtual time
  potluck plan --users 10000          what a network for your users takes
All questions and scenarios: potluck sim --list
Pictures: add --report FILE.html to a study and open the file in a browser.
";

/// The studies, and the question of each.
const STUDIES: [(&str, &str); 9] = [
    ("scale", "How do lookups and tables grow, up to ten million nodes?"),
    ("live", "Do lookups and records survive nodes that come and go?"),
    ("compare", "Which overlay finds most, fastest, for the fewest bytes?"),
    ("loss", "How many records are lost if many nodes are gone at once?"),
    ("find", "Is a name found by asking around or by an index?"),
    ("distribute", "A file for all: from a server, or from each other?"),
    ("paths", "How many disjoint paths does a lookup need?"),
    ("validate", "Does the simulator reproduce what was published?"),
    ("levels", "Do the arrays and the real program say the same?"),
];

/// Scenarios by the question of a user. Scenarios without a question come last.
const QUESTIONS: [(&str, &[&str]); 7] = [
    (
        "What if nodes die, crash or leave?",
        &[
            "mass-failure",
            "mass-failure-r3",
            "repair",
            "churn",
            "leave",
            "crash-restart",
            "comeback",
        ],
    ),
    (
        "What if the network is split or bad?",
        &["partition", "long-split", "open-split", "lossy", "nat", "sleep", "members-lossy"],
    ),
    (
        "What if disks or clocks are wrong?",
        &["power-cut", "sick-disks", "corrupt-rows", "clock-back", "clocks"],
    ),
    (
        "What if others are hostile?",
        &["admission", "clone", "members-forged", "flood", "search-flood"],
    ),
    (
        "How soon is a death noticed?",
        &["detect", "detect-open", "members-starved", "members-bad-lines"],
    ),
    ("What does it cost?", &["idle", "idle-open", "read-storm", "silence", "silence-open"]),
    (
        "Do records, topics, files and search work?",
        &[
            "join",
            "kinds",
            "kinds-of-records",
            "watch",
            "broadcast",
            "broadcast-open",
            "search",
            "files",
        ],
    ),
];

fn list(out: Out) -> Result<(), Failure> {
    if out.json {
        let all = ALL.iter().map(|it| json!({"name": it.name, "about": it.about}));
        let all: Vec<Value> = all.collect();
        let studies = STUDIES.iter().map(|(name, about)| json!({"name": name, "about": about}));
        let studies: Vec<Value> = studies.collect();
        return out.object(&json!({"scenarios": all, "studies": studies}));
    }
    out.line("Studies: networks of up to millions as arrays, beside the formulas of papers")?;
    STUDIES.iter().try_for_each(|(name, about)| out.line(format_args!("  {name:<20} {about}")))?;
    let mut others: Vec<&str> = ALL.iter().map(|it| it.name).collect();
    for (question, names) in QUESTIONS {
        others.retain(|name| !names.contains(name));
        group(out, question, names)?;
    }
    group(out, "More scenarios", &others)
}

/// Prints those of these scenarios that exist, under a heading.
fn group(out: Out, head: &str, names: &[&str]) -> Result<(), Failure> {
    out.line(head)?;
    let known = names.iter().filter_map(|name| scenarios::find(name));
    known.into_iter().try_for_each(|it| out.line(format_args!("  {:<20} {}", it.name, it.about)))
}

fn print(global: &Global, report: &Report) -> Result<(), Failure> {
    if global.json {
        global.out().object(&json(report))
    } else {
        global.out().bytes(report.to_string().as_bytes())
    }
}

fn json(report: &Report) -> Value {
    let figures: Map<String, Value> = report
        .figures
        .iter()
        .map(|(name, value)| (name.clone(), Value::String(value.to_string())))
        .collect();
    let checks: Vec<Value> = report
        .checks
        .iter()
        .map(|check| json!({ "name": check.name, "passed": check.passed }))
        .collect();
    json!({
        "scenario": report.scenario,
        "nodes": report.nodes,
        "seed": report.seed,
        "virtualSeconds": report.virtual_time.as_secs_f64(),
        "prepared": report.prepared,
        "trace": report.trace.to_string(),
        "figures": figures,
        "checks": checks,
        "ok": report.passed(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_stands_under_one_question() {
        let named: Vec<&str> =
            QUESTIONS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        for name in &named {
            assert!(scenarios::find(name).is_some(), "{name} is no scenario");
            assert_eq!(named.iter().filter(|other| *other == name).count(), 1, "{name}");
        }
    }

    #[test]
    fn bare_sim_says_where_to_begin_in_80_columns() {
        assert!(BEGIN.lines().count() <= 10 && BEGIN.lines().all(|line| line.len() <= 80));
        for (name, _) in STUDIES {
            assert!(scenarios::find(name).is_none(), "{name} is a scenario too");
        }
    }
}
