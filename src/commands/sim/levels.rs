//! `sim levels`: compares whole nodes with the arrays. Only this module uses both simulators.

use potluck_scale::report::Report as Page;
use potluck_scale::studies::levels::{self, Whole};
use potluck_sim::scenarios;
use potluck_sim::{Params, Report, ScenarioError, Value};

use crate::cli::LevelsArgs;
use crate::failure::Failure;

/// Most whole nodes of this comparison: 1,000 take minutes and about a gigabyte.
const NODES_MAX: usize = 10_000;

/// Runs `join` with whole nodes and compares.
pub(super) fn run(args: &LevelsArgs) -> Result<Page, Failure> {
    if !(100..=NODES_MAX).contains(&args.nodes) {
        let message = format!("--nodes {} is outside 100 to {NODES_MAX}", args.nodes);
        return Err(Failure::usage(message));
    }
    let params = Params { nodes: Some(args.nodes), ..Params::seed(args.seed) };
    let report = match scenarios::run("join", &params) {
        Ok(report) => report,
        Err(ScenarioError::Failed(report)) => *report,
        Err(error) => return Err(Failure::usage(error)),
    };
    let whole = Whole {
        hops: number(&report, "hops, mean")?,
        requests: number(&report, "requests per lookup")?,
        table: number(&report, "contacts per table")?,
    };
    Ok(levels::run(args.nodes, args.seed, whole))
}

fn number(report: &Report, name: &str) -> Result<f64, Failure> {
    match report.figure(name) {
        Some(Value::Number(number)) => Ok(*number),
        _ => Err(Failure::failed(format_args!("the scenario join did not measure `{name}`"))),
    }
}
