//! The result of a study: plain data, which is written as text, as one HTML page and as rows of CSV.

mod csv;
mod format;
mod html;
mod svg;
mod text;

pub use csv::csv;
pub use format::{number, share, span};
pub use html::{Manifest, html};

/// The result of a study.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Its name on the command line.
    pub study: &'static str,
    /// The question that it answers.
    pub question: String,
    /// The answer, in a sentence or a few.
    pub verdict: String,
    /// The command that repeats the study.
    pub command: String,
    /// The seeds of its runs.
    pub seeds: Vec<u64>,
    /// Figures with their expected values.
    pub claims: Vec<Claim>,
    /// Figures in rows.
    pub tables: Vec<Table>,
    /// Figures as pictures.
    pub plots: Vec<Plot>,
    /// Notes that a reader needs to judge the figures.
    pub notes: Vec<String>,
    /// Every single measurement.
    pub facts: Vec<Fact>,
}

/// A figure and its expected value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Claim {
    /// The claim.
    pub name: String,
    /// The setting in which it was measured.
    pub setting: String,
    /// The least, median and highest value over the seeds.
    pub measured: [f64; 3],
    /// The unit of the figures.
    pub unit: &'static str,
    /// The least accepted median.
    pub low: f64,
    /// The highest accepted median.
    pub high: f64,
    /// The paper or formula with the expected value.
    pub source: &'static str,
    /// Why the figure is outside, if that is known.
    pub reason: Option<String>,
}

impl Claim {
    /// Whether the figure is within the accepted range.
    #[must_use]
    pub fn holds(&self) -> bool {
        (self.low..=self.high).contains(&self.measured[1])
    }

    /// The accepted range, in words.
    #[must_use]
    pub fn wanted(&self) -> String {
        match (self.low.is_finite(), self.high.is_finite()) {
            (true, true) => format!("{} to {}", number(self.low), number(self.high)),
            (true, false) => format!("at least {}", number(self.low)),
            (false, true) => format!("at most {}", number(self.high)),
            (false, false) => "anything".to_owned(),
        }
    }
}

/// Figures in rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// The title.
    pub title: String,
    /// The heads of the columns.
    pub columns: Vec<&'static str>,
    /// The cells.
    pub rows: Vec<Vec<String>>,
}

/// An axis of a picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Axis {
    /// The quantity that it shows, with its unit.
    pub name: String,
    /// Whether it is logarithmic.
    pub log: bool,
}

/// The origin of a line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// Measured at the marked points.
    #[default]
    Measured,
    /// Computed by a formula.
    Formula,
    /// Extrapolated beyond the measurements.
    Extrapolated,
    /// Points without a line between them.
    Points,
}

/// The points of one line of a picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Its origin.
    pub style: Style,
    /// The points.
    pub points: Vec<(f64, f64)>,
    /// The range of the seeds at each point; empty if there is none.
    pub ranges: Vec<(f64, f64)>,
}

/// A picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plot {
    /// The title.
    pub title: String,
    /// The axis from left to right.
    pub x: Axis,
    /// The axis from bottom to top.
    pub y: Axis,
    /// The lines.
    pub lines: Vec<Line>,
}

/// One measurement.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fact {
    /// The level of simulation: implicit, compact, whole or formula.
    pub level: &'static str,
    /// Nodes of the network.
    pub nodes: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Further parameters, as `name=value` separated by spaces.
    pub parameter: String,
    /// The quantity.
    pub metric: &'static str,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
}

impl Report {
    /// The claims that are not met.
    pub fn failures(&self) -> impl Iterator<Item = &Claim> {
        self.claims.iter().filter(|claim| !claim.holds())
    }

    /// The seeds in words.
    #[must_use]
    pub fn seeds_text(&self) -> String {
        match self.seeds.as_slice() {
            [] => "formulas".to_owned(),
            [one] => format!("seed {one}"),
            [first, .., last] => format!("{} seeds, {first} to {last}", self.seeds.len()),
        }
    }

    /// The median, least and highest value of a metric in a setting, over the seeds.
    #[must_use]
    pub fn spread(&self, nodes: u64, parameter: &str, metric: &str) -> [f64; 3] {
        let values = self.facts.iter().filter(|fact| {
            fact.nodes == nodes && fact.parameter == parameter && fact.metric == metric
        });
        crate::sample::spread(values.map(|fact| fact.value).collect())
    }
}

#[cfg(test)]
pub(crate) fn example() -> Report {
    let claim = Claim {
        name: "hops of a lookup".into(),
        setting: "1,000 nodes, k 16".into(),
        measured: [1.9, 1.92, 1.95],
        unit: "hops",
        low: 1.86,
        high: 1.98,
        source: "Cai and Devroye 2013",
        reason: None,
    };
    let line = |style| Line {
        name: format!("{style:?} <&>"),
        style,
        points: vec![(1e3, 1.9), (1e4, 2.5), (1e5, 3.0)],
        ranges: vec![(1.8, 2.0), (2.4, 2.6), (2.9, 3.1)],
    };
    let plot = |log| Plot {
        title: "Hops".into(),
        x: Axis { name: "nodes".into(), log },
        y: Axis { name: "hops".into(), log: false },
        lines: [Style::Measured, Style::Formula, Style::Extrapolated, Style::Points]
            .map(line)
            .into(),
    };
    Report {
        study: "scale",
        question: "How does a lookup grow with the network?".into(),
        verdict: "1,000 nodes: 1.9 hops.".into(),
        command: "potluck sim scale --nodes 1000".into(),
        seeds: vec![1, 2, 3],
        claims: vec![
            claim.clone(),
            Claim { low: 3.0, reason: Some("too few nodes".into()), ..claim },
        ],
        tables: vec![Table {
            title: "Lookups".into(),
            columns: vec!["nodes", "hops"],
            rows: vec![
                vec!["1,000".into(), "1.92".into()],
                vec!["1,000,000".into(), "3.57".into()],
            ],
        }],
        plots: vec![plot(true), plot(false)],
        notes: vec!["Nodes do not change.".into()],
        facts: vec![Fact {
            level: "implicit",
            nodes: 1000,
            seed: 1,
            parameter: "k=16, alpha=3".into(),
            metric: "hops",
            value: 1.92,
            unit: "hops",
        }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_holds_if_its_middle_is_within() {
        let report = example();
        assert!(report.claims[0].holds() && !report.claims[1].holds());
        assert_eq!(report.failures().count(), 1);
        assert_eq!(report.claims[0].wanted(), "1.86 to 1.98");
        let open = Claim { high: f64::INFINITY, ..report.claims[0].clone() };
        assert_eq!(open.wanted(), "at least 1.86");
        let nothing = Claim { measured: [f64::NAN; 3], ..open };
        assert!(!nothing.holds(), "what was not measured does not hold");
    }

    #[test]
    fn seeds_are_named() {
        let mut report = example();
        assert_eq!(report.seeds_text(), "3 seeds, 1 to 3");
        report.seeds = vec![7];
        assert_eq!(report.seeds_text(), "seed 7");
        assert_eq!(report.spread(1000, "k=16, alpha=3", "hops")[1].to_bits(), 1.92f64.to_bits());
    }
}
