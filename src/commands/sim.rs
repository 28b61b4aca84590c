//! `sim`: plays a scenario of the simulator and prints what it measured and checked.

pub(crate) mod seeds;
pub(crate) mod study;

use potluck_sim::scenarios::{self, ALL};
use potluck_sim::{Params, Report, ScenarioError};
use serde_json::{Map, Value, json};

use crate::cli::{Global, SimArgs};
use crate::failure::Failure;
use crate::out::Out;
use crate::text::count;

/// Runs the command. A canary is broken on purpose: for it a finding is success.
pub(crate) fn run(global: &Global, args: &SimArgs) -> Result<(), Failure> {
    let out = global.out();
    if let Some(study) = &args.study {
        return study::run(global, study);
    }
    let Some(name) = args.scenario.as_deref().filter(|_| !args.list) else {
        return list(out);
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

fn list(out: Out) -> Result<(), Failure> {
    if out.json {
        let all = ALL.iter().map(|it| json!({"name": it.name, "about": it.about}));
        let all: Vec<Value> = all.collect();
        return out.object(&json!({"scenarios": all}));
    }
    ALL.iter().try_for_each(|it| out.line(format_args!("{:<20} {}", it.name, it.about)))
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
