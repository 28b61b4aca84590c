//! Plays one scenario: `cargo run --release -p potluck-sim --example run -- SCENARIO --nodes N
//! --seed S --minutes M --partitions P [--prepared] [--log]`.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use potluck_sim::{Params, ScenarioError, scenarios};

const HELP: &str =
    "run SCENARIO [--nodes N] [--seed S] [--minutes M] [--partitions P] [--prepared] [--log]\n\n";

struct Asked {
    scenario: String,
    params: Params,
    log: bool,
}

fn parse(args: &[String]) -> Option<Asked> {
    let mut asked = Asked { scenario: String::new(), params: Params::seed(1), log: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--nodes" => asked.params.nodes = Some(args.next()?.parse().ok()?),
            "--seed" => asked.params.seed = args.next()?.parse().ok()?,
            "--minutes" => asked.params.minutes = Some(args.next()?.parse().ok()?),
            "--partitions" => asked.params.partitions = Some(args.next()?.parse().ok()?),
            "--prepared" => asked.params.prepared = true,
            "--log" => asked.log = true,
            name if asked.scenario.is_empty() && !name.starts_with('-') => {
                asked.scenario = name.to_owned();
            }
            _ => return None,
        }
    }
    (!asked.scenario.is_empty()).then_some(asked)
}

fn main() -> io::Result<ExitCode> {
    let mut out = io::stdout();
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(asked) = parse(&args) else {
        write!(out, "{HELP}")?;
        for scenario in scenarios::ALL {
            writeln!(out, "  {:<20} {}", scenario.name, scenario.about)?;
        }
        return Ok(ExitCode::from(2));
    };
    let started = Instant::now();
    let result = scenarios::run(&asked.scenario, &asked.params);
    let wall = started.elapsed();
    let (report, error) = match result {
        Ok(report) => (Some(report), None),
        Err(ScenarioError::Failed(report)) => {
            let line = format!("replay: {}", report.replay());
            (Some(*report), Some(line))
        }
        Err(error) => (None, Some(error.to_string())),
    };
    if let Some(report) = &report {
        if asked.log {
            report.log.iter().try_for_each(|line| writeln!(out, "{line}"))?;
        }
        write!(out, "{report}")?;
        writeln!(out, "  {:<44} {:.1} s", "real time", wall.as_secs_f64())?;
    }
    if let Some(error) = &error {
        writeln!(out, "{error}")?;
    }
    Ok(if error.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
