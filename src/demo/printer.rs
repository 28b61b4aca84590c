//! The output of a demo: each step, when it begins, with the equivalent shell command.

use std::fmt::Display;
use std::io::{self, IsTerminal as _};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use serde::Serialize;

use super::files::UPLOAD_RATE;
use super::plan::Plan;
use crate::commands::table::{mib, wrapped};
use crate::failure::Failure;
use crate::out::{Out, Paint};
use crate::text;

/// Prints steps with the time since the start.
#[derive(Debug, Clone)]
pub(super) struct Printer {
    out: Out,
    start: Instant,
    /// Columns of the terminal, if stdout is one.
    columns: Option<usize>,
    /// The error of the first line that could not be written.
    write_error: Arc<OnceLock<Failure>>,
}

impl Printer {
    pub(super) fn new(out: Out) -> Self {
        let size = terminal_size::terminal_size_of(io::stdout()).map(|(columns, _)| columns.0);
        let columns = size.filter(|_| io::stdout().is_terminal()).map(|it| usize::from(it).max(40));
        Self { out, start: Instant::now(), columns, write_error: Arc::default() }
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
        self.print("");
        self.print_as(Look::Step, format!("{seconds:6.1} s  {what}"));
        self.print_as(Look::Command, format!("          $ {command}"));
    }

    /// Prints the result of a step.
    pub(super) fn result(&self, what: impl Display) {
        self.print_as(Look::Result, format!("          {what}"));
    }

    /// Prints one of the sentences that matter.
    pub(super) fn sentence(&self, what: impl Display) {
        self.print_as(Look::Step, format!("{what}"));
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
        self.print_as(Look::Plain, line);
    }

    /// On a terminal a line is broken between words, and has a colour and a tick where that helps; elsewhere it is
    /// as it is.
    fn print_as(&self, look: Look, line: impl Display) {
        let line = line.to_string();
        if self.out.json {
            return self.out.note(line);
        }
        let Some(columns) = self.columns else {
            return self.keep(self.out.bytes(format!("{line}\n").as_bytes()));
        };
        for line in line.split('\n') {
            let line = text::printable(&ticked(look, line));
            let line = if look == Look::Result { abbreviated(&line) } else { line };
            let text = wrapped(&line, columns).join("\n");
            self.keep(self.out.painted(look.paint(), &text));
        }
    }
}

/// Letters of the longest word that a result shows whole, and what is shown of a longer one.
const WORD_MAX: usize = 48;
const WORD_HEAD: usize = 17;
const WORD_TAIL: usize = 24;

/// What a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Plain,
    Step,
    Command,
    Result,
}

impl Look {
    const fn paint(self) -> Paint {
        match self {
            Self::Plain => Paint::None,
            Self::Step => Paint::Bold,
            Self::Command => Paint::Dim,
            Self::Result => Paint::Green,
        }
    }
}

/// A line in which contacts and links are told by their beginning and end; commands have them whole.
fn abbreviated(line: &str) -> String {
    let word = |word: &str| {
        let letters: Vec<char> = word.chars().collect();
        if letters.len() <= WORD_MAX {
            return word.to_owned();
        }
        let (head, tail) = (&letters[..WORD_HEAD], &letters[letters.len() - WORD_TAIL..]);
        head.iter().chain(&['\u{2026}']).chain(tail).collect()
    };
    line.split(' ').map(word).collect::<Vec<String>>().join(" ")
}

/// A result begins with a tick.
fn ticked(look: Look, line: &str) -> String {
    match line.strip_prefix("          ").filter(|_| look == Look::Result) {
        Some(rest) => format!("        \u{2714} {rest}"),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;

    #[test]
    fn a_line_is_broken_between_words_and_loses_none() {
        let line = format!(
            "          $ potluck fetch {} -o DIR --node http://127.0.0.1:44695 {}",
            "l".repeat(30),
            "w".repeat(90)
        );
        let pieces = wrapped(&line, 80);
        assert!(
            pieces.iter().all(|piece| piece.width() <= 80 || piece.trim().len() == 90),
            "{pieces:?}"
        );
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(&pieces.join("\n")), words(&line));
        assert!(pieces[1..].iter().all(|piece| piece.starts_with("          ")), "{pieces:?}");
        assert!(pieces[0].starts_with("          $ potluck"), "{pieces:?}");
        assert_eq!(abbreviated(&format!("a {} b", "x".repeat(90))).chars().count(), 4 + 42);
        assert_eq!(wrapped("short", 80), ["short"]);
        assert_eq!(wrapped("   0.0 s  start", 80), ["   0.0 s  start"]);
        assert_eq!(ticked(Look::Result, "          200 of 200"), "        \u{2714} 200 of 200");
    }
}
