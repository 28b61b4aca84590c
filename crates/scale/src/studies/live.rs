//! `live`: a network with churn for one hour: reads, repair, losses, traffic.

use super::{Claim, Workers, Wrong, begun, seeds_option, within};
use crate::compact::{NODES_MAX, Outcome, Setting, run as play};
use crate::model;
use crate::report::{Axis, Fact, Line, Plot, Report, Style, Table, number, share};

/// The options.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Nodes.
    pub nodes: usize,
    /// Virtual minutes.
    pub minutes: u64,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// The name of the churn.
    pub churn: String,
    /// Records for each node.
    pub records: f64,
    /// Replicas of a record.
    pub replicas: usize,
}

/// Runs the study.
///
/// # Errors
/// [`Wrong`]: an option is outside its range.
pub fn run(options: &Options, workers: &impl Workers) -> Result<Report, Wrong> {
    within("nodes", &options.nodes, 100, NODES_MAX)?;
    within("minutes", &options.minutes, 5, 240)?;
    within("replicas", &options.replicas, 1, 32)?;
    within("records", &options.records, 0.001, 100.0)?;
    within("seeds", &options.seeds.len(), 1, 20)?;
    let churn = super::churn(&options.churn)?;
    let setting = |seed: &u64| Setting {
        minutes: options.minutes,
        churn,
        records: options.records,
        replicas: options.replicas,
        ..Setting::new(options.nodes, *seed)
    };
    let settings: Vec<Setting> = options.seeds.iter().map(setting).collect();
    // A large world takes gigabytes, so only one runs at a time.
    let outcomes = if options.nodes > 200_000 {
        settings.iter().map(play).collect()
    } else {
        workers.map(&settings, play)
    };
    let command = format!(
        "potluck sim live --nodes {} --minutes {} --churn {} --records {} --replicas {}{}",
        options.nodes,
        options.minutes,
        options.churn,
        options.records,
        options.replicas,
        seeds_option(&options.seeds)
    );
    let question = "Do lookups and records survive nodes that come and go?";
    let mut report = begun("live", question, command, &options.seeds);
    for (seed, outcome) in options.seeds.iter().zip(&outcomes) {
        facts(&mut report, options, *seed, outcome);
    }
    told(&mut report, options, &outcomes);
    let session = churn.mean_seconds();
    if session.is_finite() && options.churn != "correlated" {
        let unique = options.records * (settings[0].record_bytes + 450.0);
        let should = model::repair_bytes_a_second(unique, options.replicas as u32, session);
        let measured = report.spread(options.nodes as u64, &options.churn, "upkeep of records");
        report.claims.push(Claim {
            setting: format!(
                "{} nodes, mean stay {} h",
                number(options.nodes as f64),
                number(session / 3600.0)
            ),
            unit: "bytes a node and second",
            source: "2 r D / L, Blake and Rodrigues, HotOS 2003",
            ..super::near("repair and hand-over of records", measured, should, 0.15)
        });
    }
    report.notes.push(
        "Level 1: requests, deaths, joins, repair and hand-over are played one by one; checks of contacts and \
         the requests of joins are counted by formula. Round trips are log-normal with a median of 100 ms. The \
         first sixth of the run is not measured. A repair copies a record once its holders noticed a death, \
         1.5 to 11.5 s after it."
            .into(),
    );
    Ok(report)
}

fn facts(report: &mut Report, options: &Options, seed: u64, outcome: &Outcome) {
    let lookups = outcome.lookups.max(1) as f64;
    let traffic = &outcome.traffic;
    for (metric, value, unit) in [
        ("lookups", outcome.lookups as f64, "lookups"),
        ("found", outcome.found as f64 / lookups, "share"),
        ("all closest", outcome.all_found as f64 / lookups, "share"),
        ("reads missed", outcome.reads_missed as f64, "lookups"),
        ("latency p50", outcome.latency.quantile(0.5) as f64, "ms"),
        ("latency p99", outcome.latency.quantile(0.99) as f64, "ms"),
        ("hops", outcome.hops.mean(), "hops"),
        ("requests", outcome.requests.mean(), "requests"),
        ("timeouts", outcome.timeouts.mean(), "requests"),
        ("joined", outcome.joined as f64, "nodes"),
        ("living", outcome.living as f64, "nodes"),
        ("records lost", outcome.lost as f64, "records"),
        ("bytes", traffic.all(), "bytes a node and second"),
        ("lookup bytes", traffic.lookups, "bytes a node and second"),
        ("check bytes", traffic.checks, "bytes a node and second"),
        ("join bytes", traffic.joins, "bytes a node and second"),
        ("upkeep of records", traffic.repair + traffic.hand_over, "bytes a node and second"),
        ("tables", outcome.table_bytes as f64, "bytes"),
    ] {
        let parameter = options.churn.clone();
        let nodes = options.nodes as u64;
        report.facts.push(Fact { level: "compact", nodes, seed, parameter, metric, value, unit });
    }
}

fn told(report: &mut Report, options: &Options, outcomes: &[Outcome]) {
    let at = |metric| report.spread(options.nodes as u64, &options.churn, metric);
    let row = |name: &str, metric, write: &dyn Fn(f64) -> String| {
        let [least, middle, most] = at(metric).map(write);
        vec![name.to_owned(), middle, least, most]
    };
    let rows = vec![
        row("lookups measured", "lookups", &number),
        row("found the closest node", "found", &share),
        row("found all k closest", "all closest", &share),
        row("reads that missed a live record", "reads missed", &number),
        row("hops", "hops", &number),
        row("requests", "requests", &number),
        row("of these to dead nodes", "timeouts", &number),
        row("latency p50, ms", "latency p50", &number),
        row("latency p99, ms", "latency p99", &number),
        row("nodes that joined", "joined", &number),
        row("nodes at the end", "living", &number),
        row("records lost", "records lost", &number),
        row("lookups, B a node and second", "lookup bytes", &number),
        row("checks, counted", "check bytes", &number),
        row("joins, counted", "join bytes", &number),
        row("repair and hand-over", "upkeep of records", &number),
    ];
    let verdict = format!(
        "{} nodes, {} minutes, {} joined: {} of lookups find the closest node, in {} ms at the median; {} of {} \
         records are lost; a node sends {} bytes a second.",
        number(options.nodes as f64),
        options.minutes,
        number(at("joined")[1]),
        share(at("found")[1]),
        number(at("latency p50")[1]),
        number(at("records lost")[1]),
        number(options.nodes as f64 * options.records),
        number(at("bytes")[1])
    );
    report.verdict = verdict;
    report.tables.push(Table {
        title: "Middle, least and most of the seeds".into(),
        columns: vec!["what", "middle", "least", "most"],
        rows,
    });
    if let Some(first) = outcomes.first() {
        report.plots.push(Plot {
            title: "Time until the closest node has answered".into(),
            x: Axis { name: "milliseconds".into(), log: true },
            y: Axis { name: "share of lookups".into(), log: false },
            lines: vec![Line {
                name: format!("seed {}", options.seeds[0]),
                style: Style::Formula,
                points: first.latency.cumulative(100),
                ranges: Vec::new(),
            }],
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::OneByOne;
    use super::*;

    #[test]
    fn an_hour_of_two_thousand_nodes_fits_the_formula_of_repair() {
        let options = Options {
            nodes: 2000,
            minutes: 60,
            seeds: vec![1, 2],
            churn: "hour".into(),
            records: 2.0,
            replicas: 8,
        };
        let report = run(&options, &OneByOne).expect("a report");
        let failures: Vec<String> = report.failures().map(ToString::to_string).collect();
        assert_eq!(failures, Vec::<String>::new());
        super::super::assert_narrow(&report.to_string());
    }
}
