//! `paths`: lookups along disjoint paths among adversaries, in the setting of the S/Kademlia paper.

use super::{Claim, Workers, Wrong, begun, seeds_option, told, within};
use crate::implicit::{Clean, Paths, clean_paths};
use crate::report::{Axis, Fact, Line, Plot, Report, Style, Table, number, share};
use crate::sample::spread;

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Nodes, adversaries included.
    pub nodes: usize,
    /// Lookups of each seed for each row and number of paths.
    pub lookups: u64,
    /// Seeds.
    pub seeds: Vec<u64>,
}

impl Default for Options {
    /// The setting of the paper.
    fn default() -> Self {
        Self { nodes: PAPER_NODES, lookups: 3000, seeds: vec![1, 2, 3, 4, 5] }
    }
}

/// Nodes in the paper's simulation.
const PAPER_NODES: usize = 10_000;
const PATHS: [usize; 4] = [1, 2, 4, 8];
const SHARES: [f64; 6] = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5];
/// Lookups behind each reference figure below.
const REFERENCE_LOOKUPS: f64 = 1500.0;
/// Lookups that succeed in percent with 1, 2, 4 and 8 paths, by the share of adversaries. The paper has
/// curves and no table. These figures were computed in its setting, from 1,500 lookups each.
const REFERENCE: [(f64, [f64; 4]); 2] =
    [(0.2, [63.2, 85.7, 97.7, 99.7]), (0.3, [47.9, 70.4, 89.4, 98.1])];

/// Runs the study.
///
/// # Errors
/// [`Wrong`]: an option is outside its range.
pub fn run(options: &Options, workers: &impl Workers) -> Result<Report, Wrong> {
    within("nodes", &options.nodes, 100, 1_000_000)?;
    within("lookups", &options.lookups, 100, 1_000_000)?;
    within("seeds", &options.seeds.len(), 1, 100)?;
    let command = format!(
        "potluck sim paths --nodes {} --lookups {}{}",
        options.nodes,
        options.lookups,
        seeds_option(&options.seeds)
    );
    let question = "How many disjoint paths does a lookup need among adversaries?";
    let mut report = begun("paths", question, command, &options.seeds);
    let cells: Vec<(f64, usize)> =
        SHARES.iter().flat_map(|share| PATHS.map(|paths| (*share, paths))).collect();
    let found = workers.map(&cells, |(adversaries, paths)| {
        measured(options, *adversaries, *paths, &options.seeds)
    });
    for ((adversaries, paths), cell) in cells.iter().zip(&found) {
        for (seed, clean) in options.seeds.iter().zip(cell) {
            let fact = |metric, value, unit| Fact {
                level: "implicit",
                nodes: options.nodes as u64,
                seed: *seed,
                parameter: format!("adversaries={adversaries} paths={paths}"),
                metric,
                value,
                unit,
            };
            report.facts.push(fact("lookups that succeed", 100.0 * clean.succeeded, "%"));
            report.facts.push(fact("requests a lookup", clean.requests, "requests"));
        }
    }
    let table: Vec<&[Vec<Clean>]> = found.chunks(PATHS.len()).collect();
    shown(&mut report, options, &table);
    if options.nodes == PAPER_NODES {
        let setting = setting(options.nodes);
        for (adversaries, row) in SHARES.iter().zip(&table) {
            report.claims.extend(judged(*adversaries, row, &setting));
        }
    }
    Ok(report)
}

/// The eight figures of the paper's setting, for `validate`.
pub(super) fn claims(options: &Options) -> Vec<Claim> {
    let setting = setting(options.nodes);
    REFERENCE
        .iter()
        .flat_map(|(adversaries, _)| {
            let row = PATHS.map(|paths| measured(options, *adversaries, paths, &options.seeds));
            judged(*adversaries, &row, &setting)
        })
        .collect()
}

fn setting(nodes: usize) -> String {
    format!("{nodes} nodes, k 16, 16 siblings, alpha 1, no churn")
}

fn measured(options: &Options, adversaries: f64, paths: usize, seeds: &[u64]) -> Vec<Clean> {
    let of = |seed: &u64| {
        let (nodes, lookups, seed) = (options.nodes, options.lookups, *seed);
        clean_paths(&Paths { nodes, adversaries, paths, lookups, seed })
    };
    seeds.iter().map(of).collect()
}

fn succeeded(cell: &[Clean]) -> [f64; 3] {
    spread(cell.iter().map(|clean| 100.0 * clean.succeeded).collect())
}

fn requests(cell: &[Clean]) -> f64 {
    spread(cell.iter().map(|clean| clean.requests).collect())[1]
}

/// Each figure of a row beside the reference, if there is one.
fn judged(adversaries: f64, row: &[Vec<Clean>], setting: &str) -> Vec<Claim> {
    let reference = REFERENCE.iter().find(|(share, _)| *share == adversaries);
    let mut claims = Vec::new();
    for ((paths, cell), wanted) in
        PATHS.iter().zip(row).zip(reference.iter().flat_map(|(_, wanted)| wanted))
    {
        // Two points, and the 95 % interval of the lookups that the reference comes from.
        let part = wanted / 100.0;
        let sampling = 196.0 * (part * (1.0 - part) / REFERENCE_LOOKUPS).sqrt();
        let off = 2.0_f64.hypot(sampling);
        let claim = Claim {
            name: format!(
                "{} adversaries: lookups with {paths} {} that succeed",
                share(adversaries),
                if *paths == 1 { "path" } else { "disjoint paths" }
            ),
            measured: succeeded(cell),
            low: wanted - off,
            high: (wanted + off).min(100.0),
            ..Claim::default()
        };
        let source = "S/Kademlia, ICPADS 2007, figure 4, computed from 1,500 lookups: 2 points and \
                      their 95 % interval";
        claims.push(told(claim, setting, "%", source));
    }
    if adversaries == 0.2
        && let Some(cell) = row.last()
    {
        let claim = Claim {
            name: "20 % adversaries: lookups with 8 disjoint paths, as the paper words it".into(),
            measured: succeeded(cell),
            low: 99.0,
            high: 100.0,
            ..Claim::default()
        };
        claims.push(told(claim, setting, "%", "99 %: Baumgart and Mies, S/Kademlia, ICPADS 2007"));
    }
    claims
}

/// The table and the picture.
fn shown(report: &mut Report, options: &Options, table: &[&[Vec<Clean>]]) {
    let rows = SHARES.iter().zip(table).map(|(adversaries, row)| {
        let cell = |cell: &Vec<Clean>| format!("{:.1} ({:.1})", succeeded(cell)[1], requests(cell));
        std::iter::once(share(*adversaries)).chain(row.iter().map(cell)).collect()
    });
    report.tables.push(Table {
        title: format!(
            "Lookups that succeed in %, and in brackets their requests; {} nodes",
            number(options.nodes as f64)
        ),
        columns: vec!["adversaries", "1 path", "2 paths", "4 paths", "8 paths"],
        rows: rows.collect(),
    });
    let line = |at: usize, paths: &usize| Line {
        name: format!("{paths} disjoint paths"),
        style: Style::Measured,
        points: SHARES
            .iter()
            .zip(table)
            .map(|(adversaries, row)| (100.0 * adversaries, succeeded(&row[at])[1]))
            .collect(),
        ranges: SHARES
            .iter()
            .zip(table)
            .map(|(_, row)| (succeeded(&row[at])[0], succeeded(&row[at])[2]))
            .collect(),
    };
    report.plots.push(Plot {
        title: "Lookups among adversaries".into(),
        x: Axis { name: "adversaries, % of the nodes".into(), log: false },
        y: Axis { name: "lookups that succeed, %".into(), log: false },
        lines: PATHS.iter().enumerate().map(|(at, paths)| line(at, paths)).collect(),
    });
    let of = |row: usize, column: usize| table.get(row).and_then(|row| row.get(column));
    if let (Some(two), Some(eight), Some(one)) = (of(2, 1), of(2, 3), of(2, 0)) {
        report.verdict = format!(
            "Where 20 % of the nodes are adversaries, {:.1} % of the lookups succeed with one path, {:.1} % \
             with two and {:.1} % with eight disjoint paths, which cost {:.1} times the requests of one.",
            succeeded(one)[1],
            succeeded(two)[1],
            succeeded(eight)[1],
            requests(eight) / requests(one).max(0.01)
        );
    }
    report.notes.push(
        "Adversaries have random ids and answer with adversaries only, so a path ends at the first one. A path \
         succeeds at the first honest node that is one of the 16 closest to the key. One request at a time on \
         each path; tables are full. This is an upper bound: ids that are chosen, tables that are poisoned and \
         nodes that are gone are not in it."
            .into(),
    );
}

#[cfg(test)]
mod tests {
    use super::super::OneByOne;
    use super::*;

    #[test]
    fn the_paper_is_reproduced() {
        let options = Options { lookups: 2000, ..Options::default() };
        let report = run(&options, &OneByOne).expect("a report");
        assert_eq!((report.tables[0].rows.len(), report.claims.len()), (SHARES.len(), 9));
        assert_eq!(report.failures().count(), 0, "{report}");
        super::super::assert_narrow(&report.to_string());
    }

    #[test]
    fn another_network_than_the_papers_is_shown_and_not_judged() {
        let options = Options { nodes: 1000, lookups: 300, seeds: vec![1] };
        let report = run(&options, &OneByOne).expect("a report");
        assert!(report.claims.is_empty() && !report.verdict.is_empty());
        let wrong = run(&Options { nodes: 1, ..options }, &OneByOne).expect_err("one node");
        assert_eq!(wrong.to_string(), "--nodes 1 is outside 100 to 1000000");
    }
}
