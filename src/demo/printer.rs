//! The output of a demo: each step, when it begins, with the equivalent shell command.

use std::fmt::Display;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use serde::Serialize;

use super::files::UPLOAD_RATE;
use super::plan::Plan;
use crate::commands::table::mib;
use crate::failure::Failure;
use crate::out::Out;

/// Prints steps with the time since the start.
#[derive(Debug, Clone)]
pub(super) struct Printer {
    out: Out,
    start: Instant,
    /// The error of the first line that could not be written.
    write_error: Arc<OnceLock<Failure>>,
}

impl Printer {
    pub(super) fn new(out: Out) -> Self {
        Self { out, start: Instant::now(), write_error: Arc::default() }
    }

    pub(super) fn out(&self) -> Out {
        self.out
    }

    /// Prints the figures as one JSON object, at the end.
    pub(super) fn object(&self, object: &impl Serialize) {
        self.keep(self.out.object(object));
    }

    /// Checks that every line so far could be written.
    ///
    /// # Errors
    /// The first write error.
    pub(super) fn check_written(&self) -> Result<(), Failure> {
        self.write_error.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    fn keep(&self, result: Result<(), Failure>) {
        if let Err(failure) = result {
            // Only the first error is kept.
            let _ = self.write_error.set(failure);
        }
    }

    /// Prints the introduction.
    pub(super) fn opening(&self, plan: &Plan) {
        self.print(format!(
            "Potluck demo: {} node processes on this machine, each record on {} of them (seed {})",
            plan.nodes, plan.replication, plan.seed
        ));
        self.print(format!(
            "Each node sends at most {} MB ({} MiB) of files a second, so that more sources are faster",
            UPLOAD_RATE / 1_000_000,
            mib(UPLOAD_RATE as f64)
        ));
    }

    /// Prints the start of a step, with the time since the start of the demo.
    pub(super) fn step(&self, what: impl Display, command: impl Display) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.print(format!("\n{seconds:6.1} s  {what}"));
        self.print(format!("          $ {command}"));
    }

    /// Prints the result of a step.
    pub(super) fn result(&self, what: impl Display) {
        self.print(format!("          {what}"));
    }

    /// Prints a line by itself.
    pub(super) fn line(&self, line: impl Display) {
        self.print(line);
    }

    /// Prints a note on stderr.
    pub(super) fn note(&self, line: impl Display) {
        self.out.note(line);
    }

    /// With `--json`, stdout is for the object at the end.
    fn print(&self, line: impl Display) {
        if self.out.json {
            self.out.note(line);
        } else {
            self.keep(self.out.bytes(format!("{line}\n").as_bytes()));
        }
    }
}
