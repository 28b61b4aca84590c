//! `levels`: compares the results of the array simulations for a small network with those of whole nodes.

use super::{Claim, begun, near};
use crate::compact::{self, Churn};
use crate::implicit::{self, Kademlia};
use crate::report::{Fact, Report, Table, number};

/// Measurements of whole nodes, with the product's code and bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Whole {
    /// Mean hops to the last of the k closest.
    pub hops: f64,
    /// Mean requests of a lookup.
    pub requests: f64,
    /// Mean contacts of a table.
    pub table: f64,
}

/// The accepted differences between levels, for hops, requests and tables.
const PARTS: [(&str, &str, f64); 3] = [
    ("hops to the last of k", "hops", 0.1),
    ("requests", "requests", 0.1),
    ("table", "contacts", 0.25),
];

/// Runs levels 0 and 1 with the same size and compares.
#[must_use]
pub fn run(nodes: usize, seed: u64, whole: Whole) -> Report {
    let question = "Do the arrays and the real program say the same?";
    let command = format!("potluck sim levels --nodes {nodes} --seed {seed}");
    let mut report = begun("levels", question, command, &[seed]);
    let kademlia = Kademlia::default();
    let setting =
        implicit::Setting { nodes, dead: 0.0, lookups: 5000, seed, kademlia, neighbours: 16 };
    let zero = implicit::measure(&setting);
    let one = compact::run(&compact::Setting {
        churn: Churn::None,
        minutes: 12,
        lookup_seconds: 120.0,
        records: 1.0,
        ..compact::Setting::new(nodes, seed)
    });
    let figures = [
        [zero.depth.mean(), one.depth.mean(), whole.hops],
        [zero.requests.mean(), one.requests.mean(), whole.requests],
        // A table of level 1 has the size of level 0's by construction.
        [zero.table.mean(), zero.table.mean(), whole.table],
    ];
    let mut rows = Vec::new();
    for ((metric, unit, part), [zero, one, two]) in PARTS.into_iter().zip(figures) {
        let apart = |value: f64| format!("{:+.1} %", (value / two - 1.0) * 100.0);
        rows.push(vec![
            metric.to_owned(),
            number(zero),
            apart(zero),
            number(one),
            apart(one),
            number(two),
        ]);
        for (level, value) in [("implicit", zero), ("compact", one), ("whole", two)] {
            let parameter = String::new();
            report.facts.push(Fact {
                level,
                nodes: nodes as u64,
                seed,
                parameter,
                metric,
                value,
                unit,
            });
            if level != "whole" {
                report.claims.push(Claim {
                    setting: format!("{} nodes, k 16, alpha 3, no churn", number(nodes as f64)),
                    unit,
                    source: "whole nodes (potluck sim join)",
                    ..near(format!("{metric}, level {level}"), [value; 3], two, part)
                });
            }
        }
    }
    report.tables.push(Table {
        title: format!("{} nodes; differences are from whole nodes", number(nodes as f64)),
        columns: vec!["figure", "level 0", "", "level 1", "", "whole"],
        rows,
    });
    let good = report.claims.iter().filter(|claim| claim.holds()).count();
    report.verdict = format!("{good} of {} figures agree with whole nodes.", report.claims.len());
    report.notes.push(
        "Whole nodes have just joined over lines that lose 2 % of the datagrams. Their tables also hold the \
         close group of 48, so in small networks they are larger than the buckets alone. The hops compared \
         are those to the last of the k closest, which is what a whole node traces."
            .into(),
    );
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_that_agree_pass_and_others_are_named() {
        let fits = run(300, 1, Whole { hops: 2.0, requests: 16.9, table: 90.0 });
        assert_eq!((fits.claims.len(), fits.facts.len()), (6, 9));
        super::super::assert_narrow(&fits.to_string());
        let apart = run(300, 1, Whole { hops: 9.0, requests: 99.0, table: 900.0 });
        assert_eq!(apart.failures().count(), 6);
    }
}
