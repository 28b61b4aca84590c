//! What a study found: plain data, which is written as text, as one HTML page and as rows of CSV.

mod csv;
mod format;
mod html;
mod svg;
mod text;

pub use csv::csv;
pub use format::{number, share, span};
pub use html::{Manifest, html};

/// What a study found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Report {
    /// Its name on the command line.
    pub study: &'static str,
    /// The question that it answers.
    pub question: String,
    /// The answer, in a sentence or a few.
    pub verdict: String,
    /// The command that repeats it.
    pub command: String,
    /// The seeds of its runs.
    pub seeds: Vec<u64>,
    /// Figures beside what they should be.
    pub claims: Vec<Claim>,
    /// Figures in rows.
    pub tables: Vec<Table>,
    /// Figures as pictures.
    pub plots: Vec<Plot>,
    /// What a reader must know to judge them.
    pub notes: Vec<String>,
    /// Every single measurement.
    pub facts: Vec<Fact>,
}

/// A figure and what it should be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Claim {
    /// What is claimed.
    pub name: String,
    /// In which setting it was measured.
    pub setting: String,
    /// Least, middle and most of the seeds.
    pub measured: [f64; 3],
    /// The unit of the figures.
    pub unit: &'static str,
    /// What the middle must be at least.
    pub low: f64,
    /// What the middle must be at most.
    pub high: f64,
    /// The paper or formula that says so.
    pub source: &'static str,
    /// Why it is outside, if it is known.
    pub reason: Option<String>,
}

impl Claim {
    /// Whether the figure is what it should be.
    #[must_use]
    pub fn holds(&self) -> bool {
        (self.low..=self.high).contains(&self.measured[1])
    }

    /// What it should be, in words.
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
    /// What they are.
    pub title: String,
    /// The heads of the columns.
    pub columns: Vec<&'static str>,
    /// The cells.
    pub rows: Vec<Vec<String>>,
}

/// An axis of a picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Axis {
    /// What it shows, with its unit.
    pub name: String,
    /// Whether equal steps are equal factors.
    pub log: bool,
}

/// How a line came about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Style {
    /// Measured at the marked points.
    #[default]
    Measured,
    /// Computed by a formula.
    Formula,
    /// Beyond what was measured.
    Extrapolated,
    /// Points that no line joins.
    Points,
}

/// Points of a picture that belong together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// How it came about.
    pub style: Style,
    /// The points.
    pub points: Vec<(f64, f64)>,
    /// The range of the seeds at each point; empty if there is none.
    pub ranges: Vec<(f64, f64)>,
}

/// A picture.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From below to above.
    pub y: Axis,
    /// What is drawn.
    pub lines: Vec<Line>,
}

/// One measurement.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fact {
    /// Of which level of simulation: implicit, compact, whole or formula.
    pub level: &'static str,
    /// Nodes of the network.
    pub nodes: u64,
    /// Seed of the run.
    pub seed: u64,
    /// What else was set, as `name=value` joined by blanks.
    pub parameter: String,
    /// What was measured.
    pub metric: &'static str,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
}

impl Report {
    /// The claims that do not hold.
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

    /// Middle, least and most of a metric in a setting, over the seeds.
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
