//! `loss`: records that are lost if a share of all nodes vanishes at once, for 1 to 16 replicas.

use super::{Claim, Workers, Wrong, begun, seeds_option, within};
use crate::draw::mix2;
use crate::implicit::Ring;
use crate::model;
use crate::report::{Axis, Fact, Line, Plot, Report, Style, Table, number, share};
use crate::sample::interval_99;

/// The options.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Nodes.
    pub nodes: usize,
    /// Seeds.
    pub seeds: Vec<u64>,
}

const SHARES: [f64; 2] = [0.3, 0.5];
const REPLICAS_MAX: usize = 16;
/// Losses that must be expected for a measurement.
const LOSSES_MIN: f64 = 10.0;
const RECORDS: u64 = 101;

/// Lost records for each number of replicas.
type Lost = [u64; REPLICAS_MAX];

/// Runs the study.
///
/// # Errors
/// [`Wrong`]: an option is outside its range.
pub fn run(options: &Options, workers: &impl Workers) -> Result<Report, Wrong> {
    within("nodes", &options.nodes, 100, crate::implicit::NODES_MAX)?;
    within("seeds", &options.seeds.len(), 1, 100)?;
    let command =
        format!("potluck sim loss --nodes {}{}", options.nodes, seeds_option(&options.seeds));
    let question = "How many records are lost if many nodes are gone at once?";
    let mut report = begun("loss", question, command, &options.seeds);
    let each = (options.nodes / REPLICAS_MAX) as u64;
    let mut rows: Vec<Vec<String>> = (1..=REPLICAS_MAX).map(|r| vec![r.to_string()]).collect();
    for gone in SHARES {
        let runs = workers.map(&options.seeds, |seed| lost(options.nodes, gone, each, *seed));
        for (seed, run) in options.seeds.iter().zip(&runs) {
            for (at, lost) in run.iter().enumerate() {
                report.facts.push(Fact {
                    level: "implicit",
                    nodes: options.nodes as u64,
                    seed: *seed,
                    parameter: format!("gone={gone} replicas={}", at + 1),
                    metric: "records lost",
                    value: *lost as f64,
                    unit: "records",
                });
            }
        }
        let all: Vec<u64> =
            (0..REPLICAS_MAX).map(|at| runs.iter().map(|run| run[at]).sum()).collect();
        judge(&mut report, &mut rows, &all, gone, each * options.seeds.len() as u64);
    }
    report.tables.push(Table {
        title: format!(
            "Records lost of a million, {} nodes; in brackets the formula alone",
            number(options.nodes as f64)
        ),
        columns: vec!["replicas", "30 % gone", "99 % interval", "50 % gone", "99 % interval"],
        rows,
    });
    report.verdict = format!(
        "Losses are share^r: of a million records, 30 % gone takes {} with 3 replicas, {} with 5 and {} with 16; \
         50 % gone takes {} even with 16.",
        number(model::lost_at_once(1e6, 3, 0.3)),
        number(model::lost_at_once(1e6, 5, 0.3)),
        number(model::lost_at_once(1e6, 16, 0.3)),
        number(model::lost_at_once(1e6, 16, 0.5))
    );
    report.notes.push(format!(
        "Measured where at least {LOSSES_MIN} losses are expected; below that the formula stands alone, dashed \
         in the picture. Records lie on the r nodes closest to their keys; the nodes that are gone are chosen \
         at random, all before any repair. There is a record for each {REPLICAS_MAX} nodes, so that nearly no \
         two share their holders: with more records the mean is the same, but records whose keys are neighbours \
         are lost together."
    ));
    Ok(report)
}

/// Records of which all of the first r closest nodes are dead, for each r.
fn lost(nodes: usize, gone: f64, records: u64, seed: u64) -> Lost {
    let ring = Ring::new(nodes, gone, seed);
    let mut lost = [0; REPLICAS_MAX];
    for record in 0..records {
        let key = mix2(mix2(seed, RECORDS), record);
        let closest = ring.closest(key, REPLICAS_MAX);
        let dead = closest.iter().take_while(|node| ring.is_dead(**node as usize)).count();
        lost[..dead].iter_mut().for_each(|count| *count += 1);
    }
    lost
}

fn judge(report: &mut Report, rows: &mut [Vec<String>], lost: &[u64], gone: f64, records: u64) {
    let million = 1e6 / records as f64;
    let (mut points, mut ranges, mut formula, mut beyond) = (vec![], vec![], vec![], vec![]);
    let (mut figures, mut within) = (0u32, 0u32);
    for (at, count) in lost.iter().enumerate() {
        let replicas = at as u32 + 1;
        let expected = model::lost_at_once(records as f64, replicas, gone);
        let (low, high) = interval_99(*count, records);
        let per_million = expected * million;
        formula.push((f64::from(replicas), per_million));
        if expected < LOSSES_MIN {
            rows[at].extend([format!("({})", number(per_million)), String::new()]);
            beyond.push((f64::from(replicas), per_million));
            continue;
        }
        let measured = *count as f64 * million;
        points.push((f64::from(replicas), measured));
        ranges.push((low * 1e6, high * 1e6));
        rows[at]
            .extend([number(measured), format!("{} to {}", number(low * 1e6), number(high * 1e6))]);
        figures += 1;
        within += u32::from((low..=high).contains(&(per_million / 1e6)));
    }
    report.claims.push(Claim {
        name: format!(
            "numbers of replicas with share^r in the 99 % interval, {} gone",
            share(gone)
        ),
        setting: format!("{} records", number(records as f64)),
        measured: [f64::from(within); 3],
        unit: "numbers",
        low: f64::from(figures) - 1.0,
        high: f64::from(figures),
        source: "share^r: independent failures",
        reason: None,
    });
    let line =
        |name: &str, style, points| Line { name: name.into(), style, points, ranges: Vec::new() };
    if let Some(last) = points.last() {
        beyond.insert(0, *last);
    }
    report.plots.push(Plot {
        title: format!("{} of the nodes gone at once", share(gone)),
        x: Axis { name: "replicas".into(), log: false },
        y: Axis { name: "records lost of a million".into(), log: true },
        lines: vec![
            Line { ranges, ..line("level 0, with 99 % intervals", Style::Points, points) },
            line("share^r", Style::Formula, formula),
            line("beyond", Style::Extrapolated, beyond),
        ],
    });
}

#[cfg(test)]
mod tests {
    use super::super::OneByOne;
    use super::*;

    #[test]
    fn losses_are_those_of_the_formula() {
        let options = Options { nodes: 200_000, seeds: vec![1, 2, 3, 4] };
        let report = run(&options, &OneByOne).expect("a report");
        assert_eq!((report.tables[0].rows.len(), report.claims.len()), (16, 2));
        assert_eq!(report.failures().count(), 0, "{report}");
        super::super::assert_narrow(&report.to_string());
    }
}
