//! Output: data to stdout, everything else to stderr.
//!
//! **Invariant:** a failed write to stdout is a failure of the command, except when the reader has closed it
//! (`potluck .. | head`). Text of other nodes reaches a terminal only without control characters.

pub(crate) mod page;

use std::borrow::Cow;
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::text;

/// How much is printed, and in which form.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Out {
    /// Answers as JSON objects.
    pub(crate) json: bool,
    /// Nothing but data and errors.
    pub(crate) quiet: bool,
    /// More detail on stderr.
    pub(crate) verbose: bool,
}

/// How a line looks on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Paint {
    /// As any other.
    None,
    /// What leads.
    Bold,
    /// What stands back.
    Dim,
    /// What went well.
    Green,
}

impl Paint {
    const fn code(self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::Bold => Some(1),
            Self::Dim => Some(2),
            Self::Green => Some(32),
        }
    }
}

impl Out {
    /// Raw data, byte for byte; on a terminal without control characters.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        print(&for_stdout(bytes))
    }

    /// A line for programs as well as people: unchanged; on a terminal without control characters.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub(crate) fn data(self, line: impl fmt::Display) -> Result<(), Failure> {
        self.bytes(format!("{line}\n").as_bytes())
    }

    /// A line for people: always one line, whatever it contains.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub(crate) fn line(self, line: impl fmt::Display) -> Result<(), Failure> {
        print(format!("{}\n", text::printable(&line.to_string())).as_bytes())
    }

    /// A line for people at a terminal, in a colour unless `NO_COLOR` is set. The text steers nothing by itself.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub(crate) fn painted(self, paint: Paint, line: &str) -> Result<(), Failure> {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
        let line = text::clean(line.as_bytes());
        match paint.code().filter(|_| !plain) {
            Some(code) => print(format!("\x1b[{code}m{line}\x1b[0m\n").as_bytes()),
            None => print(format!("{line}\n").as_bytes()),
        }
    }

    /// An object for programs, on one line.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes).
    pub(crate) fn object(self, object: &impl Serialize) -> Result<(), Failure> {
        let line = serde_json::to_string(object).map_err(Failure::failed)?;
        print(format!("{}\n", text::json(&line)).as_bytes())
    }

    /// Information for people beside the data.
    pub(crate) fn note(self, line: impl fmt::Display) {
        if !self.quiet {
            say(&line);
        }
    }

    /// A failure of a part while the rest succeeded; printed even with --quiet. Programs find it in the
    /// object.
    pub(crate) fn trouble(self, line: impl fmt::Display) {
        if !self.json {
            say(&line);
        }
    }

    /// Detail, printed with --verbose.
    pub(crate) fn detail(self, line: impl fmt::Display) {
        if self.verbose {
            say(&line);
        }
    }

    /// Prints why the command failed.
    pub(crate) fn failure(self, failure: &Failure) {
        let line = if self.json {
            text::json(&failure.to_json())
        } else {
            text::printable(&format!("potluck: {failure}"))
        };
        // A failure to write to stderr cannot be reported anywhere.
        let _ = writeln!(io::stderr().lock(), "{line}");
    }
}

/// Bytes of other nodes as they may go to stdout: unchanged, and on a terminal without control characters.
/// Code that writes to stdout without [`Out`] must use this.
pub(crate) fn for_stdout(bytes: &[u8]) -> Cow<'_, [u8]> {
    match io::stdout().is_terminal() {
        true => text::clean(bytes).into_bytes().into(),
        false => bytes.into(),
    }
}

/// Writes lines to stderr. A failed write is ignored: the lines are no data.
fn say(lines: &impl fmt::Display) {
    let lines = text::clean(lines.to_string().as_bytes());
    let _ = page::above(&lines);
}

fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    written(stdout.write_all(bytes).and_then(|()| stdout.flush()))
}

/// The result of a write to stdout for the command: success if the reader has closed it.
///
/// # Errors
/// It could not be written for another reason.
pub(crate) fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let message = format!("cannot write the output: {error}");
            Err(Failure::new(Exit::Failed, "output", message)
                .hint("make room where it goes, or send it elsewhere"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_went_away_is_no_failure() {
        assert_eq!(written(Ok(())), Ok(()));
        assert_eq!(written(Err(io::ErrorKind::BrokenPipe.into())), Ok(()));
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Other] {
            let failure = written(Err(kind.into())).expect_err("not written");
            assert_eq!((failure.exit, failure.code.as_str()), (Exit::Failed, "output"));
        }
    }
}
