//! Where words go: data to stdout, everything else to stderr.
//!
//! A reader that went away (`potluck .. | head`) is no error, so failed writes are dropped.

use std::fmt;
use std::io::{self, Write as _};

use crate::failure::Failure;

/// How much is said, and in which form.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Out {
    /// Answers as JSON objects.
    pub(crate) json: bool,
    /// Nothing but data and errors.
    pub(crate) quiet: bool,
    /// More detail on stderr.
    pub(crate) verbose: bool,
}

impl Out {
    /// Raw data.
    pub(crate) fn bytes(self, bytes: &[u8]) {
        let mut stdout = io::stdout().lock();
        let _ = stdout.write_all(bytes);
        let _ = stdout.flush();
    }

    /// A line of data.
    pub(crate) fn line(self, line: impl fmt::Display) {
        let mut stdout = io::stdout().lock();
        let _ = writeln!(stdout, "{line}");
        let _ = stdout.flush();
    }

    /// Something that people may want to know beside the data.
    pub(crate) fn note(self, line: impl fmt::Display) {
        if !self.quiet {
            let _ = writeln!(io::stderr().lock(), "{line}");
        }
    }

    /// Detail for those who asked for it.
    pub(crate) fn detail(self, line: impl fmt::Display) {
        if self.verbose {
            let _ = writeln!(io::stderr().lock(), "{line}");
        }
    }

    /// Why the command failed.
    pub(crate) fn failure(self, failure: &Failure) {
        let mut stderr = io::stderr().lock();
        let _ = if self.json {
            writeln!(stderr, "{}", failure.to_json())
        } else {
            writeln!(stderr, "potluck: {failure}")
        };
    }
}
