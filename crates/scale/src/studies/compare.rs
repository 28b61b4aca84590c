//! `compare`: overlays under the same churn and latency, and parameters swept: cost against performance as
//! Li, Stribling, Morris, Kaashoek and Gil (INFOCOM 2005) do it.

use super::{Workers, Wrong, begun, seeds_option, within};
use crate::compact::{Churn, Outcome, Overlay, Setting, run as play};
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
    /// Whether parameters are swept.
    pub sweep: bool,
}

/// A point of comparison.
#[derive(Debug, Clone)]
struct Point {
    name: String,
    overlay: Overlay,
    far_seconds: u32,
}

/// Seconds between two checks of a contact, as in the product for contacts of ten minutes and more.
const FAR_SECONDS: u32 = 600;
/// The name of the point with the product's parameters.
const DEFAULT: &str = "Kademlia k16 a3";

fn points(sweep: bool) -> Vec<Point> {
    let kademlia = |k, alpha, answer, far_seconds| {
        let checks =
            if far_seconds == FAR_SECONDS { String::new() } else { format!(" R{far_seconds}") };
        let answers = if answer == k { String::new() } else { format!(" ans{answer}") };
        let overlay = Overlay::Kademlia { k, alpha, close_group: 48.max(k * 3), answer };
        Point { name: format!("Kademlia k{k} a{alpha}{answers}{checks}"), overlay, far_seconds }
    };
    let other = |overlay: Overlay, far_seconds| {
        let checks =
            if far_seconds == FAR_SECONDS { String::new() } else { format!(" R{far_seconds}") };
        Point { name: format!("{}{checks}", overlay.name()), overlay, far_seconds }
    };
    let mut all = vec![
        kademlia(16, 3, 16, FAR_SECONDS),
        other(Overlay::chord(), FAR_SECONDS),
        other(Overlay::pastry(), FAR_SECONDS),
    ];
    if sweep {
        for alpha in [1, 5, 10] {
            all.push(kademlia(16, alpha, 16, FAR_SECONDS));
        }
        all.extend([8, 20].map(|k| kademlia(k, 3, k, FAR_SECONDS)));
        all.push(kademlia(16, 3, 32, FAR_SECONDS));
        for far_seconds in [60, 300, 1200] {
            all.push(kademlia(16, 3, 16, far_seconds));
            all.push(other(Overlay::chord(), far_seconds));
            all.push(other(Overlay::pastry(), far_seconds));
        }
    }
    all
}

/// Runs the study.
///
/// # Errors
/// [`Wrong`]: an option is outside its range.
pub fn run(options: &Options, workers: &impl Workers) -> Result<Report, Wrong> {
    within("nodes", &options.nodes, 200, 100_000)?;
    within("minutes", &options.minutes, 5, 240)?;
    within("seeds", &options.seeds.len(), 1, 20)?;
    let churn = super::churn(&options.churn)?;
    let points = points(options.sweep);
    let mut settings = Vec::new();
    for point in &points {
        for seed in &options.seeds {
            settings.push(setting(options, point, churn, *seed));
        }
    }
    let outcomes = workers.map(&settings, play);
    let question = "Which overlay finds most, fastest, for the fewest bytes?";
    let mut report = begun("compare", question, command(options), &options.seeds);
    let runs = options.seeds.len();
    for (at, point) in points.iter().enumerate() {
        for (seed, outcome) in options.seeds.iter().zip(&outcomes[at * runs..(at + 1) * runs]) {
            facts(&mut report, options.nodes, *seed, &point.name, outcome);
        }
    }
    tables(&mut report, options, &points);
    report.plots.push(plane(&report, options, &points));
    judge(&mut report, options, &points);
    report.notes.push(format!(
        "Level 1, {} nodes, {} virtual minutes, churn {}, a lookup of each node every 10 minutes, round trips \
         log-normal with a median of 100 ms, a time-out of 500 ms. All bytes that a node sends are counted; \
         checks and joins by formula, the rest played. The failure detector of neighbours is the same for \
         all: one probe a second.",
        number(options.nodes as f64),
        options.minutes,
        options.churn
    ));
    report.notes.push(
        "Kademlia's lookups find all k closest nodes, as a write needs them; those of Chord and Pastry find \
         one. Latency is the time until the responsible node has answered. Failed lookups are not in the \
         latencies: success is a column of its own."
            .into(),
    );
    Ok(report)
}

fn setting(options: &Options, point: &Point, churn: Churn, seed: u64) -> Setting {
    Setting {
        minutes: options.minutes,
        churn,
        overlay: point.overlay,
        far_seconds: point.far_seconds,
        ..Setting::new(options.nodes, seed)
    }
}

fn command(options: &Options) -> String {
    let sweep = if options.sweep { " --sweep" } else { "" };
    format!(
        "potluck sim compare --nodes {} --minutes {} --churn {}{sweep}{}",
        options.nodes,
        options.minutes,
        options.churn,
        seeds_option(&options.seeds)
    )
}

fn facts(report: &mut Report, nodes: usize, seed: u64, point: &str, outcome: &Outcome) {
    let lookups = outcome.lookups.max(1) as f64;
    for (metric, value, unit) in [
        ("success", outcome.found as f64 / lookups, "share"),
        ("all closest", outcome.all_found as f64 / lookups, "share"),
        ("latency p50", outcome.latency.quantile(0.5) as f64, "ms"),
        ("latency p99", outcome.latency.quantile(0.99) as f64, "ms"),
        ("hops", outcome.hops.mean(), "hops"),
        ("messages", outcome.requests.mean() * 2.0 - outcome.timeouts.mean(), "messages"),
        ("timeouts", outcome.timeouts.mean(), "requests"),
        ("bytes", outcome.traffic.all(), "bytes a node and second"),
        ("lookup bytes", outcome.traffic.lookups, "bytes a node and second"),
        ("state", outcome.contacts as f64, "contacts"),
    ] {
        let parameter = point.to_owned();
        report.facts.push(Fact {
            level: "compact",
            nodes: nodes as u64,
            seed,
            parameter,
            metric,
            value,
            unit,
        });
    }
}

fn tables(report: &mut Report, options: &Options, points: &[Point]) {
    let rows = points.iter().map(|point| {
        let at = |metric| report.spread(options.nodes as u64, &point.name, metric)[1];
        let mark = if point.name == DEFAULT { " *" } else { "" };
        vec![
            format!("{}{mark}", point.name),
            share(at("success")),
            share(at("all closest")),
            number(at("latency p50")),
            number(at("latency p99")),
            number(at("hops")),
            number(at("messages")),
            number(at("bytes")),
            number(at("state")),
        ]
    });
    let rows = rows.collect();
    report.tables.push(Table {
        title:
            "Middle of the seeds; latency in ms; * is what the product does; a is alpha, R seconds \
                between checks (else 600), ans contacts in an answer"
                .into(),
        columns: vec!["overlay", "found", "all k", "p50", "p99", "hops", "msgs", "B/s", "state"],
        rows,
    });
}

fn plane(report: &Report, options: &Options, points: &[Point]) -> Plot {
    let line = |name: &str| {
        let mine = points.iter().filter(|point| point.overlay.name() == name);
        let at =
            |point: &Point, metric| report.spread(options.nodes as u64, &point.name, metric)[1];
        Line {
            name: name.to_owned(),
            style: Style::Points,
            points: mine.map(|point| (at(point, "bytes"), at(point, "latency p50"))).collect(),
            ranges: Vec::new(),
        }
    };
    Plot {
        title: "Cost and performance of each point (lower left is better)".into(),
        x: Axis { name: "bytes a node and second".into(), log: false },
        y: Axis { name: "median latency, ms".into(), log: false },
        lines: ["Kademlia", "Chord", "Pastry"].map(line).into(),
    }
}

/// Whether another point is faster at the cost of the defaults without finding less.
fn judge(report: &mut Report, options: &Options, points: &[Point]) {
    let at = |report: &Report, point: &Point, metric| {
        report.spread(options.nodes as u64, &point.name, metric)[1]
    };
    let Some(default) = points.iter().find(|point| point.name == DEFAULT) else { return };
    let (cost, time) = (at(report, default, "bytes"), at(report, default, "latency p50"));
    let (found, all) = (at(report, default, "success"), at(report, default, "all closest"));
    let better: Vec<&str> = points
        .iter()
        .filter(|point| {
            at(report, point, "bytes") <= cost * 1.1
                && at(report, point, "latency p50") < time * 0.9
                && at(report, point, "success") >= found - 0.002
        })
        .map(|point| point.name.as_str())
        .collect();
    let others = points.iter().filter(|point| point.name == "Chord" || point.name == "Pastry");
    let others: Vec<String> = others
        .map(|point| {
            let (found, millis) = (at(report, point, "success"), at(report, point, "latency p50"));
            format!("{} {} in {} ms", point.name, share(found), number(millis))
        })
        .collect();
    let judgement = if better.is_empty() {
        "No point within 10 % of the default's cost is more than 10 % faster.".to_owned()
    } else {
        format!("Faster by more than 10 % at a cost within 10 %: {}.", better.join(", "))
    };
    report.verdict = format!(
        "Kademlia as the product has it finds the closest node in {} of lookups, in {} ms at the median, and \
         all 16 closest in {}; {}. {judgement}",
        share(found),
        number(time),
        share(all),
        others.join("; ")
    );
}

#[cfg(test)]
mod tests {
    use super::super::OneByOne;
    use super::*;

    #[test]
    fn three_overlays_are_compared_and_the_default_is_marked() {
        let options =
            Options { nodes: 300, minutes: 20, seeds: vec![1], churn: "hour".into(), sweep: false };
        let report = run(&options, &OneByOne).expect("a report");
        assert_eq!(report.tables[0].rows.len(), 3);
        let text = report.to_string();
        assert!(text.contains("Kademlia k16 a3 *") && text.contains("Pastry"), "{text}");
        super::super::assert_narrow(&text);
        let wrong = Options { churn: "storm".into(), ..options };
        let error = run(&wrong, &OneByOne).expect_err("no such churn");
        assert!(error.0.contains("ipfs"), "{error}");
    }
}
