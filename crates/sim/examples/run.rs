//! Plays one scenario: `cargo run --release -p potluck-sim --example run -- SCENARIO --nodes N
//! --seed S --minutes M --partitions P [--prepared] [--log] [--without DEFENCE]`.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

use potluck_base::Defences;
use potluck_sim::{Params, ScenarioError, scenarios};

const HELP: &str = "run SCENARIO [--nodes N] [--seed S] [--minutes M] [--partitions P] [--prepared] [--log]\n\
     \x20   [--without DEFENCE]: member_writers, store_only_near, pull_budget, quorum_claims,\n\
     \x20   priced_peers, checked_announcements, capped_contacts, computed_frames,\n\
     \x20   paced_sources, member_publishers, disjoint_paths, subnet_limits, deep_buckets,\n\
     \x20   spread_tickets, density_alarm, versions_seen, puzzles, or all\n\n";

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
            "--without" => switch_off(&mut asked.params.defences, args.next()?)?,
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

/// Switches a defence off, to see what its scenario shows then.
fn switch_off(defences: &mut Defences, name: &str) -> Option<()> {
    let switch = match name {
        "member_writers" => &mut defences.member_writers,
        "store_only_near" => &mut defences.store_only_near,
        "pull_budget" => &mut defences.pull_budget,
        "quorum_claims" => &mut defences.quorum_claims,
        "priced_peers" => &mut defences.priced_peers,
        "checked_announcements" => &mut defences.checked_announcements,
        "capped_contacts" => &mut defences.capped_contacts,
        "computed_frames" => &mut defences.computed_frames,
        "paced_sources" => &mut defences.paced_sources,
        "member_publishers" => &mut defences.member_publishers,
        "disjoint_paths" => &mut defences.disjoint_paths,
        "subnet_limits" => &mut defences.subnet_limits,
        "deep_buckets" => &mut defences.deep_buckets,
        "spread_tickets" => &mut defences.spread_tickets,
        "density_alarm" => &mut defences.density_alarm,
        "versions_seen" => &mut defences.versions_seen,
        "puzzles" => &mut defences.puzzles,
        "all" => {
            *defences = Defences::NONE;
            return Some(());
        }
        _ => return None,
    };
    *switch = false;
    Some(())
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
