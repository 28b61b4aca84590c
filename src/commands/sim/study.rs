//! The studies of `sim`, and `plan`: runs them on all cores and writes their reports.

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use potluck_scale::implicit::Kademlia;
use potluck_scale::plan::{self, Need};
use potluck_scale::report::{Manifest, Report, csv, html};
use potluck_scale::studies::{
    Workers, compare, distribute, find, live, loss, paths, scale, validate,
};
use serde_json::{Value, json};

use crate::cli::{Global, PlanArgs, ReportArgs, ScaleArgs, Study};
use crate::failure::{Exit, Failure};
use crate::text::count;

use super::levels;

/// Runs on all cores.
struct Cores;

impl Workers for Cores {
    fn map<I: Sync, T: Send>(&self, items: &[I], work: impl Fn(&I) -> T + Sync) -> Vec<T> {
        let workers = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(items.len());
        let next = AtomicUsize::new(0);
        let (tell, told) = mpsc::channel();
        let mut all: Vec<Option<T>> = items.iter().map(|_| None).collect();
        thread::scope(|scope| {
            for _ in 0..workers {
                let (tell, next, work) = (tell.clone(), &next, &work);
                scope.spawn(move || {
                    while let Some((at, item)) = {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        items.get(at).map(|item| (at, item))
                    } {
                        if tell.send((at, work(item))).is_err() {
                            return;
                        }
                    }
                });
            }
            drop(tell);
            for (at, found) in told {
                all[at] = Some(found);
            }
        });
        // The scope has already passed on the panic of a worker.
        all.into_iter().flatten().collect()
    }
}

/// Runs a study.
pub(crate) fn run(global: &Global, study: &Study) -> Result<(), Failure> {
    let to = match study {
        Study::Scale(args) => &args.to,
        Study::Live(args) => &args.run.to,
        Study::Compare(args) => &args.run.to,
        Study::Distribute(args) => &args.run.to,
        Study::Loss(args) => &args.to,
        Study::Find(args) => &args.run.to,
        Study::Paths(args) => &args.run.to,
        Study::Validate(args) => &args.to,
        Study::Levels(args) => &args.to,
    };
    // A run can take minutes, so the output files are checked before it.
    for file in [&to.report, &to.csv].into_iter().flatten() {
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
        if folder.is_some_and(|folder| !folder.is_dir()) || file.is_dir() {
            let message =
                format!("cannot write {}: there is no such folder, or it is one", file.display());
            return Err(Failure::usage(message).hint("name a file in a folder that exists"));
        }
    }
    finished(global, &found(study)?, to)
}

/// The report of a study.
fn found(study: &Study) -> Result<Report, Failure> {
    let found = match study {
        Study::Scale(args) => scale::run(&scale_options(args), &Cores),
        Study::Live(args) => {
            let options = live::Options {
                nodes: args.nodes,
                minutes: args.minutes,
                seeds: args.run.seeds.to_vec(),
                churn: args.churn.clone(),
                records: args.records,
                replicas: args.replicas,
            };
            live::run(&options, &Cores)
        }
        Study::Compare(args) => {
            let options = compare::Options {
                nodes: args.nodes,
                minutes: args.minutes,
                seeds: args.run.seeds.to_vec(),
                churn: args.churn.clone(),
                sweep: args.sweep,
            };
            compare::run(&options, &Cores)
        }
        Study::Distribute(args) => {
            let options = distribute::Options {
                readers: args.readers as u64,
                file_bytes: args.file,
                server_bits: args.server,
                up_bits: args.uplink,
                down_bits: args.downlink,
                seeds: args.run.seeds.to_vec(),
            };
            distribute::run(&options, &Cores)
        }
        Study::Loss(args) => {
            loss::run(&loss::Options { nodes: args.nodes, seeds: args.seeds.to_vec() }, &Cores)
        }
        Study::Find(args) => {
            let options = find::Options {
                sizes: args.nodes.clone(),
                dead: args.dead,
                searches: args.searches,
                seeds: args.run.seeds.to_vec(),
            };
            find::run(&options, &Cores)
        }
        Study::Paths(args) => {
            let options = paths::Options {
                nodes: args.nodes,
                lookups: args.lookups,
                seeds: args.run.seeds.to_vec(),
            };
            paths::run(&options, &Cores)
        }
        Study::Validate(args) => Ok(validate::run(
            &validate::Options { seeds: args.seeds.to_vec(), quick: false },
            &Cores,
        )),
        Study::Levels(args) => return levels::run(args),
    };
    found.map_err(Failure::usage)
}

/// `plan`.
pub(crate) fn plan(global: &Global, args: &PlanArgs) -> Result<(), Failure> {
    let need = Need {
        users: args.users,
        session_seconds: args.session,
        records: args.records,
        record_bytes: args.record_bytes,
        file_bytes: args.files,
        uplink_bits: args.uplink,
        round_trip_seconds: args.round_trip,
        gone: args.gone,
    };
    let report = plan::report(&need, &plan_command(&need)).map_err(Failure::usage)?;
    finished(global, &report, &args.to)
}

/// The command of a plan, with the options that differ from their defaults.
fn plan_command(need: &Need) -> String {
    let usual = Need::default();
    let mut text = format!("potluck plan --users {}", need.users);
    for (name, value, usual, unit) in [
        ("session", need.session_seconds, usual.session_seconds, "s"),
        ("records", need.records, usual.records, ""),
        ("record-bytes", need.record_bytes, usual.record_bytes, "B"),
        ("files", need.file_bytes, usual.file_bytes, "B"),
        ("uplink", need.uplink_bits, usual.uplink_bits, "bit"),
        ("round-trip", need.round_trip_seconds, usual.round_trip_seconds, "s"),
        ("gone", need.gone, usual.gone, ""),
    ] {
        if (value - usual).abs() > usual * 1e-9 {
            text.push_str(&format!(" --{name} {value}{unit}"));
        }
    }
    text
}

fn scale_options(args: &ScaleArgs) -> scale::Options {
    scale::Options {
        nodes: args.nodes,
        lookups: args.lookups,
        seeds: args.seeds.to_vec(),
        dead: args.dead,
        overlay: Kademlia {
            k: args.k,
            alpha: args.alpha,
            close_group: args.close_group,
            answer: args.answer.unwrap_or(args.k),
        },
    }
}

/// Prints a report, writes its files, and fails if a claim does not hold.
fn finished(global: &Global, report: &Report, to: &ReportArgs) -> Result<(), Failure> {
    if global.json {
        global.out().object(&object(report))?;
    } else {
        global.out().bytes(report.to_string().as_bytes())?;
    }
    if let Some(file) = &to.report {
        let manifest = Manifest {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: option_env!("POTLUCK_COMMIT").map(str::to_owned),
        };
        write(global, file, &html(report, &manifest))?;
    }
    if let Some(file) = &to.csv {
        write(global, file, &csv(report))?;
    }
    let failed = report.failures().count();
    if failed == 0 {
        return Ok(());
    }
    let text = format!("{} outside of what was expected", count(failed as u64, "figure"));
    Err(Failure::failed(text).hint("the lines with FAIL say which, and why if it is known"))
}

fn write(global: &Global, file: &Path, text: &str) -> Result<(), Failure> {
    fs::write(file, text).map_err(|error| {
        let message = format!("cannot write {}: {error}", file.display());
        Failure::new(Exit::Failed, "output", message).hint("name a file in a folder that exists")
    })?;
    global.out().note(format_args!("Written: {}", file.display()));
    Ok(())
}

fn object(report: &Report) -> Value {
    let claims: Vec<Value> = report
        .claims
        .iter()
        .map(|claim| {
            let [least, middle, most] = claim.measured;
            json!({
                "name": claim.name,
                "setting": claim.setting,
                "measured": middle,
                "least": least,
                "most": most,
                "unit": claim.unit,
                "low": finite(claim.low),
                "high": finite(claim.high),
                "source": claim.source,
                "holds": claim.holds(),
                "reason": claim.reason,
            })
        })
        .collect();
    let facts: Vec<Value> = report
        .facts
        .iter()
        .map(|fact| {
            json!({
                "level": fact.level,
                "nodes": fact.nodes,
                "seed": fact.seed,
                "parameter": fact.parameter,
                "metric": fact.metric,
                "value": fact.value,
                "unit": fact.unit,
            })
        })
        .collect();
    let tables: Vec<Value> = report
        .tables
        .iter()
        .map(|table| json!({"title": table.title, "columns": table.columns, "rows": table.rows}))
        .collect();
    json!({
        "study": report.study,
        "question": report.question,
        "verdict": report.verdict,
        "command": report.command,
        "seeds": report.seeds,
        "claims": claims,
        "tables": tables,
        "notes": report.notes,
        "facts": facts,
        "ok": report.failures().count() == 0,
    })
}

/// JSON has no infinity: an infinite bound is left out.
fn finite(bound: f64) -> Option<f64> {
    bound.is_finite().then_some(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_on_all_cores_come_back_in_their_order() {
        let items: Vec<u64> = (0..100).collect();
        let found = Cores.map(&items, |item| item * 2);
        assert_eq!(found, (0..200).step_by(2).collect::<Vec<u64>>());
        assert!(Cores.map(&[] as &[u64], |item| *item).is_empty());
    }

    #[test]
    fn the_command_of_a_plan_repeats_it() {
        let need = Need { users: 1e7, gone: 0.5, ..Need::default() };
        assert_eq!(plan_command(&need), "potluck plan --users 10000000 --gone 0.5");
    }
}
