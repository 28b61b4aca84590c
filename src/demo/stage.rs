//! What the audience sees: each step with the command it stands for, as it happens.

use std::fmt::Display;
use std::time::Instant;

use super::files::UPLOAD_RATE;
use super::plan::Plan;
use crate::out::Out;

/// Prints steps with the time since the start.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stage {
    out: Out,
    start: Instant,
}

impl Stage {
    pub(super) fn new(out: Out) -> Self {
        Self { out, start: Instant::now() }
    }

    pub(super) fn out(&self) -> Out {
        self.out
    }

    /// The first words.
    pub(super) fn opening(&self, plan: &Plan) {
        self.print(format!(
            "Potluck demo: {} node processes on this machine, each record on {} of them (seed {})",
            plan.nodes, plan.replication, plan.seed
        ));
        self.print(format!(
            "Each node sends at most {} MB of files a second, so that more sources are faster",
            UPLOAD_RATE / 1_000_000
        ));
    }

    /// A step begins.
    pub(super) fn step(&self, what: impl Display, command: impl Display) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.print(format!("\n{seconds:6.1} s  {what}"));
        self.print(format!("          $ {command}"));
    }

    /// What came of it.
    pub(super) fn result(&self, what: impl Display) {
        self.print(format!("          {what}"));
    }

    /// A line by itself.
    pub(super) fn line(&self, line: impl Display) {
        self.print(line);
    }

    /// Something beside the show.
    pub(super) fn note(&self, line: impl Display) {
        self.out.note(line);
    }

    /// With `--json`, stdout is for the object at the end.
    fn print(&self, line: impl Display) {
        if self.out.json {
            self.out.note(line);
        } else {
            self.out.line(line);
        }
    }
}
