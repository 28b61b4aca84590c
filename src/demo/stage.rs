//! What the audience sees: each step with the command it stands for, as it happens.

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
pub(super) struct Stage {
    out: Out,
    start: Instant,
    /// The first line that could not be written.
    unwritten: Arc<OnceLock<Failure>>,
}

impl Stage {
    pub(super) fn new(out: Out) -> Self {
        Self { out, start: Instant::now(), unwritten: Arc::default() }
    }

    pub(super) fn out(&self) -> Out {
        self.out
    }

    /// The object at the end of a demo for programs.
    pub(super) fn object(&self, object: &impl Serialize) {
        self.keep(self.out.object(object));
    }

    /// Whether all that was said could be written.
    ///
    /// # Errors
    /// Something could not.
    pub(super) fn heard(&self) -> Result<(), Failure> {
        self.unwritten.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    fn keep(&self, result: Result<(), Failure>) {
        if let Err(failure) = result {
            // Only the first one is told.
            let _ = self.unwritten.set(failure);
        }
    }

    /// The first words.
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
            self.keep(self.out.bytes(format!("{line}\n").as_bytes()));
        }
    }
}
