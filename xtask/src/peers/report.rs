//! The report: a ratio a line, one table, what was left out, and the setting.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use super::compare::{Sample, beside, verdict};
use super::measures::{Kind, MEASURES, Measure, Side, opposite};

/// What a run brought.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Numbers of the rounds, by system and figure.
    pub(super) figures: BTreeMap<(Side, String), Vec<f64>>,
    /// What could not be had or run, each with its reason.
    pub(super) missing: Vec<String>,
    /// Where the file lay.
    pub(super) files: PathBuf,
}

/// What the figures were measured with.
#[derive(Debug, Default)]
pub(super) struct Setting {
    pub(super) versions: String,
    pub(super) load: String,
    pub(super) work: String,
    pub(super) files: String,
}

impl Outcome {
    /// A figure of a system; none if it has none.
    fn sample(&self, side: Side, figure: &str) -> Option<Sample> {
        Sample::of(self.figures.get(&(side, figure.to_owned()))?)
    }

    /// Those that have figures, in the order of the columns.
    fn sides(&self) -> Vec<Side> {
        let mut sides: Vec<Side> = self.figures.keys().map(|(side, _)| *side).collect();
        sides.dedup();
        sides
    }
}

/// The whole report, as text whose table is Markdown.
pub(super) fn report(outcome: &Outcome, setting: &Setting) -> String {
    let mut text = ratios(outcome);
    text.push('\n');
    text.push_str(&table(outcome));
    if !outcome.missing.is_empty() {
        text.push_str("\nLeft out:\n");
    }
    for missing in &outcome.missing {
        // Writing to a string does not fail.
        let _ = writeln!(text, "- {missing}");
    }
    let Setting { versions, load, work, files } = setting;
    let _ = write!(
        text,
        "\nWork: {work}.\nFiles: in {files}.\nVersions: {versions}.\nLoad averages: {load}.\n\
         Ratios are of medians; ahead and behind: the ranges of all rounds do not touch. OpenDHT, which \
         keeps 8 replicas, is compared with r = 8, the others, which keep 20, with Potluck's 16.\n"
    );
    text
}

fn ratios(outcome: &Outcome) -> String {
    let mut text = String::new();
    for kind in Kind::ALL {
        for system in kind.systems() {
            let measures = MEASURES.iter().filter(|measure| measure.kind == kind);
            for measure in measures {
                if let Some(line) = ratio(outcome, measure, Side::Other(*system), opposite(*system))
                {
                    let _ = writeln!(text, "{line}");
                }
            }
        }
    }
    text
}

fn ratio(outcome: &Outcome, measure: &Measure, theirs: Side, ours: Side) -> Option<String> {
    let name = theirs.name();
    let ours = outcome.sample(ours, measure.figure)?;
    let theirs = outcome.sample(theirs, measure.figure)?;
    let share = measure.figure.ends_with(".right");
    Some(format!(
        "{:<6}  {}: {}",
        verdict(&ours, &theirs, measure.better).word(),
        measure.words,
        beside(&ours, &theirs, name, share)
    ))
}

fn table(outcome: &Outcome) -> String {
    let sides = outcome.sides();
    let mut text = String::from("| measured |");
    for side in &sides {
        let _ = write!(text, " {} |", side.name());
    }
    let _ = writeln!(text, "\n|---|{}", "---|".repeat(sides.len()));
    for measure in &MEASURES {
        let samples: Vec<Option<Sample>> =
            sides.iter().map(|side| outcome.sample(*side, measure.figure)).collect();
        if samples.iter().all(Option::is_none) {
            continue;
        }
        let _ = write!(text, "| {} |", measure.words);
        for sample in samples {
            let _ = write!(text, " {} |", sample.map(|it| it.shown()).unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::options::System;
    use super::*;

    fn outcome() -> Outcome {
        let mut outcome = Outcome { missing: vec!["Serf: why".to_owned()], ..Outcome::default() };
        for (side, figure, rounds) in [
            (Side::Ours, "get32.rate", [900.0, 1000.0]),
            (Side::OursEight, "get32.rate", [950.0, 1100.0]),
            (Side::Other(System::Mainline), "get32.rate", [500.0, 500.0]),
            (Side::Other(System::OpenDht), "get32.rate", [4000.0, 4200.0]),
            (Side::Other(System::OpenDht), "stop.right", [99.0, 99.0]),
        ] {
            outcome.figures.insert((side, figure.to_owned()), rounds.to_vec());
        }
        outcome
    }

    #[test]
    fn ratios_come_first_losses_too_then_the_table_then_what_is_missing() {
        let text = report(&outcome(), &Setting::default());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..8],
            [
                "ahead   get, 32 in flight, a second: Potluck 1.90 times mainline's",
                "behind  get, 32 in flight, a second: Potluck 0.25 times OpenDHT's",
                "",
                "| measured | Potluck | Potluck, r = 8 | mainline | OpenDHT |",
                "|---|---|---|---|---|",
                "| get, 32 in flight, a second | 950 (900 to 1,000) | 1,025 (950 to 1,100) | 500 | \
                 4,100 (4,000 to 4,200) |",
                "| gets that were right right after 30 % of the nodes stopped, % |  |  |  | 99.0 |",
                "",
            ]
        );
        assert!(lines.contains(&"- Serf: why"), "{text}");
    }
}
