//! `scale`: how lookups and tables grow from a thousand to ten million nodes, and what dead contacts cost.

use super::{Workers, Wrong, begun, near, seeds_option, within};
use crate::implicit::{Found, Kademlia, NODES_MAX, Setting, measure};
use crate::model;
use crate::report::{Axis, Fact, Line, Plot, Report, Style, Table, number, share};

/// The options.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The largest network.
    pub nodes: usize,
    /// Lookups in it, over all seeds.
    pub lookups: u64,
    /// Seeds.
    pub seeds: Vec<u64>,
    /// The share of dead nodes, which are still in all tables.
    pub dead: f64,
    /// Parameters of Kademlia.
    pub overlay: Kademlia,
}

/// Lookups in each smaller network, over all seeds.
const LOOKUPS_BELOW: u64 = 5000;
/// Networks from here on are made one at a time, so that memory holds one of them.
const ALONE_FROM: usize = 2_000_000;
/// The largest network in which dead contacts are studied.
const DEAD_NODES_MAX: usize = 100_000;
/// The neighbours of Chord and Pastry.
const NEIGHBOURS: usize = 16;

impl Options {
    fn check(&self) -> Result<(), Wrong> {
        within("nodes", &self.nodes, 100, NODES_MAX)?;
        within("lookups", &self.lookups, 1, 10_000_000)?;
        within("dead", &self.dead, 0.0, 0.9)?;
        within("k", &self.overlay.k, 2, 64)?;
        within("alpha", &self.overlay.alpha, 1, 64)?;
        within("answer", &self.overlay.answer, 1, 128)?;
        within("close-group", &self.overlay.close_group, self.overlay.k, 256)?;
        within("seeds", &self.seeds.len(), 1, 100)
    }

    fn command(&self) -> String {
        let (mut text, default) =
            (format!("potluck sim scale --nodes {}", self.nodes), Kademlia::default());
        let overlay = self.overlay;
        for (name, value, usual) in [
            ("k", overlay.k, default.k),
            ("alpha", overlay.alpha, default.alpha),
            ("answer", overlay.answer, default.answer),
            ("close-group", overlay.close_group, default.close_group),
            ("lookups", self.lookups as usize, 10_000),
        ] {
            if value != usual {
                text.push_str(&format!(" --{name} {value}"));
            }
        }
        if self.dead > 0.0 {
            text.push_str(&format!(" --dead {}", self.dead));
        }
        text + &seeds_option(&self.seeds)
    }

    fn setting(&self, nodes: usize, lookups: u64, seed: u64) -> Setting {
        let lookups = lookups.div_ceil(self.seeds.len() as u64);
        let (dead, kademlia) = (self.dead, self.overlay);
        Setting { nodes, dead, lookups, seed, kademlia, neighbours: NEIGHBOURS }
    }
}

/// One run with its results.
struct Run {
    setting: Setting,
    found: Found,
}

/// Runs the study.
///
/// # Errors
/// [`Wrong`]: an option is outside its range.
pub fn run(options: &Options, workers: &impl Workers) -> Result<Report, Wrong> {
    options.check()?;
    let question = "How do lookups and tables grow with the network?";
    let mut report = begun("scale", question, options.command(), &options.seeds);
    let mut sizes: Vec<usize> =
        (3..).map(|power| 10usize.pow(power)).take_while(|it| *it < options.nodes).collect();
    sizes.push(options.nodes);
    let mut runs = Vec::new();
    for nodes in &sizes {
        let lookups = if *nodes == options.nodes {
            options.lookups
        } else {
            LOOKUPS_BELOW.min(options.lookups)
        };
        let settings: Vec<Setting> =
            options.seeds.iter().map(|seed| options.setting(*nodes, lookups, *seed)).collect();
        runs.extend(carried_out(&settings, *nodes, workers));
    }
    for run in &runs {
        facts(&mut report, run, "");
    }
    growth(&mut report, options, &sizes);
    dead_contacts(&mut report, options, workers);
    notes(&mut report, options);
    Ok(report)
}

fn carried_out(settings: &[Setting], nodes: usize, workers: &impl Workers) -> Vec<Run> {
    let found = if nodes >= ALONE_FROM {
        settings.iter().map(measure).collect()
    } else {
        workers.map(settings, measure)
    };
    settings.iter().zip(found).map(|(setting, found)| Run { setting: *setting, found }).collect()
}

fn facts(report: &mut Report, run: &Run, parameter: &str) {
    let (setting, found) = (&run.setting, &run.found);
    let lookups = found.lookups as f64;
    for (metric, value, unit) in [
        ("hops", found.hops.mean(), "hops"),
        ("hops max", found.hops.max() as f64, "hops"),
        ("requests", found.requests.mean(), "requests"),
        ("requests p99", found.requests.quantile(0.99) as f64, "requests"),
        ("rounds p50", found.rounds.quantile(0.5) as f64, "rounds"),
        ("timeouts", found.timeouts.mean(), "requests"),
        ("closest found", found.closest_found as f64 / lookups, "share"),
        ("all k closest found", found.all_found as f64 / lookups, "share"),
        ("table", found.table.mean(), "contacts"),
        ("chord hops", found.chord.hops.mean(), "hops"),
        ("chord timeouts", found.chord.timeouts.mean(), "requests"),
        ("pastry hops", found.pastry.hops.mean(), "hops"),
        ("pastry timeouts", found.pastry.timeouts.mean(), "requests"),
    ] {
        report.facts.push(Fact {
            level: "implicit",
            nodes: setting.nodes as u64,
            seed: setting.seed,
            parameter: parameter.to_owned(),
            metric,
            value,
            unit,
        });
    }
}

fn growth(report: &mut Report, options: &Options, sizes: &[usize]) {
    let middle = |report: &Report, nodes: usize, metric| report.spread(nodes as u64, "", metric);
    let mut rows = Vec::new();
    for nodes in sizes {
        let at = |metric| number(middle(report, *nodes, metric)[1]);
        rows.push(vec![
            number(*nodes as f64),
            at("hops"),
            at("hops max"),
            at("requests"),
            at("requests p99"),
            at("rounds p50"),
            at("table"),
            at("chord hops"),
            at("pastry hops"),
        ]);
    }
    report.tables.push(Table {
        title: "Lookups of the k closest nodes; hops until the closest is first heard of".into(),
        columns: vec![
            "nodes", "hops", "most", "requests", "p99", "rounds", "table", "Chord", "Pastry",
        ],
        rows,
    });
    let nodes = options.nodes;
    let [_, hops, _] = middle(report, nodes, "hops");
    let [_, requests, _] = middle(report, nodes, "requests");
    let [_, table, _] = middle(report, nodes, "table");
    report.verdict = format!(
        "{} nodes: a lookup needs {} hops and {} requests, and a table has {} contacts. Ten times the nodes \
         cost about half a hop more.",
        number(nodes as f64),
        number(hops),
        number(requests),
        number(table)
    );
    formulas(report, options, sizes);
}

/// Compares each figure with its formula.
fn formulas(report: &mut Report, options: &Options, sizes: &[usize]) {
    let (overlay, nodes) = (options.overlay, options.nodes);
    let (k, alpha) = (overlay.k as u32, overlay.alpha as u32);
    let formulas: [(&'static str, &'static str, Formula<'_>, &'static str); 5] = [
        (
            "hops",
            "hops",
            &|n| model::hops(n, k, alpha),
            "Cai and Devroye, arXiv 1309.5866, constants fitted",
        ),
        (
            "requests",
            "requests",
            &|n| model::requests(n, k, alpha, options.dead),
            "k + alpha (hops - 1.27)",
        ),
        (
            "table",
            "contacts",
            &|n| model::table_contacts(n, k),
            "sum of E[min(k, Bin(N - 1, 2^-i))]",
        ),
        ("chord hops", "hops", &|n| model::chord_hops(n, NEIGHBOURS as u32), "Stoica et al. 2001"),
        (
            "pastry hops",
            "hops",
            &|n| model::pastry_hops(n, 4, NEIGHBOURS as u32),
            "Rowstron, Druschel 2001",
        ),
    ];
    for (metric, unit, formula, source) in formulas {
        if options.dead <= 0.0 {
            let part = if overlay == Kademlia::default() { 0.03 } else { 0.1 };
            let measured = report.spread(nodes as u64, "", metric);
            let claim = near(metric, measured, formula(nodes as f64), part);
            let setting = format!("{} nodes, k {k}, alpha {alpha}", number(nodes as f64));
            report.claims.push(super::Claim { setting, unit, source, ..claim });
        }
        report.plots.push(plot(report, sizes, metric, formula));
    }
}

type Formula<'a> = &'a dyn Fn(f64) -> f64;

fn plot(report: &Report, sizes: &[usize], metric: &'static str, formula: Formula<'_>) -> Plot {
    let spreads: Vec<[f64; 3]> =
        sizes.iter().map(|nodes| report.spread(*nodes as u64, "", metric)).collect();
    let points = sizes.iter().zip(&spreads).map(|(nodes, it)| (*nodes as f64, it[1])).collect();
    let ranges = spreads.iter().map(|it| (it[0], it[2])).collect();
    let last = sizes.last().copied().unwrap_or(1000) as f64;
    let at = |nodes: f64| (nodes, formula(nodes));
    let beyond = [last, last * 10.0, last * 100.0].map(at).to_vec();
    let formula = sizes.iter().map(|nodes| at(*nodes as f64)).collect();
    let line = |name: &str, style, points| Line {
        name: name.to_owned(),
        style,
        points,
        ranges: Vec::new(),
    };
    Plot {
        title: format!("{metric} against nodes"),
        x: Axis { name: "nodes".into(), log: true },
        y: Axis { name: metric.to_owned(), log: false },
        lines: vec![
            Line { ranges, ..line("level 0", Style::Measured, points) },
            line("the same", Style::Formula, formula),
            line("beyond", Style::Extrapolated, beyond),
        ],
    }
}

/// The cost of dead contacts, and the effect of larger answers on it.
fn dead_contacts(report: &mut Report, options: &Options, workers: &impl Workers) {
    let nodes = options.nodes.min(DEAD_NODES_MAX);
    let mut cases = Vec::new();
    for dead in [0.1, 0.3, 0.5] {
        for answer in [16, 24, 32] {
            cases.push((dead, answer));
        }
    }
    let mut settings = Vec::new();
    for (dead, answer) in &cases {
        for seed in &options.seeds {
            let mut setting = options.setting(nodes, LOOKUPS_BELOW.min(options.lookups), *seed);
            setting.dead = *dead;
            setting.kademlia.answer = *answer;
            settings.push(setting);
        }
    }
    let name = |dead: f64, answer: usize| format!("dead={dead} answer={answer}");
    for run in carried_out(&settings, nodes, workers) {
        facts(report, &run, &name(run.setting.dead, run.setting.kademlia.answer));
    }
    let rows = cases.iter().map(|(dead, answer)| {
        let at = |metric| report.spread(nodes as u64, &name(*dead, *answer), metric)[1];
        vec![
            share(*dead),
            answer.to_string(),
            number(at("requests")),
            number(at("timeouts")),
            number(at("hops")),
            share(at("closest found")),
            share(at("all k closest found")),
        ]
    });
    let rows = rows.collect();
    report.tables.push(Table {
        title: format!(
            "{} nodes, a share of them just died and is still in all tables",
            number(nodes as f64)
        ),
        columns: vec!["dead", "answer", "requests", "timeouts", "hops", "closest", "all k"],
        rows,
    });
}

fn notes(report: &mut Report, options: &Options) {
    let overlay = options.overlay;
    report.notes.push(format!(
        "Level 0: nodes do not come or go; a table is derived from node, bucket and seed each time it is \
         read. k {}, alpha {}, close group {}, answers of {} contacts; Chord with {NEIGHBOURS} successors, \
         Pastry with digits of 4 bits and {NEIGHBOURS} leaves.",
        overlay.k, overlay.alpha, overlay.close_group, overlay.answer
    ));
    report.notes.push(
        "Contacts of a bucket are chosen at random; real tables prefer old and near ones. Tables are full; \
         those of a network that has just formed are up to a sixth emptier."
            .into(),
    );
}

#[cfg(test)]
mod tests {
    use super::super::OneByOne;
    use super::*;

    fn options(nodes: usize) -> Options {
        Options { nodes, lookups: 500, seeds: vec![1, 2], dead: 0.0, overlay: Kademlia::default() }
    }

    #[test]
    fn a_study_of_ten_thousand_nodes_holds_its_claims() {
        let report = run(&options(10_000), &OneByOne).expect("a report");
        assert_eq!(
            report.failures().map(|claim| claim.name.as_str()).collect::<Vec<_>>(),
            Vec::<&str>::new()
        );
        assert_eq!(report.claims.len(), 5);
        let text = report.to_string();
        super::super::assert_narrow(&text);
        assert!(report.verdict.starts_with("10,000 nodes"));
        assert_eq!(report, run(&options(10_000), &OneByOne).expect("the same again"));
    }

    #[test]
    fn wrong_options_are_named() {
        for (wrong, name) in [
            (Options { nodes: 10, ..options(1000) }, "--nodes 10 is outside 100 to 20000000"),
            (Options { dead: 1.5, ..options(1000) }, "--dead 1.5 is outside 0 to 0.9"),
            (Options { seeds: Vec::new(), ..options(1000) }, "--seeds 0 is outside 1 to 100"),
        ] {
            assert_eq!(run(&wrong, &OneByOne), Err(Wrong(name.to_owned())));
        }
    }
}
