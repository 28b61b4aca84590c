//! A few lines at the bottom of a terminal that are drawn anew, below lines that scroll: the page of `up`.
//!
//! **Invariant:** whatever this process writes to stderr while the page is there goes above it
//! ([`above`]), so no line is overwritten and none stands inside the page.

use std::io::{self, Write as _};

use parking_lot::Mutex;
use unicode_width::UnicodeWidthStr as _;

/// Columns where the terminal does not tell.
const COLUMNS: usize = 80;

/// What is drawn now; empty without a page.
static PAGE: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Columns of the terminal on stderr.
pub(crate) fn columns() -> usize {
    let size = terminal_size::terminal_size_of(io::stderr());
    size.map_or(COLUMNS, |(columns, _)| usize::from(columns.0)).max(20)
}

/// Rows that these lines take.
fn rows(lines: &[String], columns: usize) -> usize {
    lines.iter().map(|line| line.width().div_ceil(columns).max(1)).sum()
}

/// What takes drawn lines away: the cursor goes to their first row, and all below is cleared.
fn erased(lines: &[String], columns: usize) -> String {
    match rows(lines, columns) {
        0 => String::new(),
        rows => format!("\x1b[{rows}F\x1b[J"),
    }
}

/// Writes a line to stderr, above the page if there is one.
pub(crate) fn above(line: &str) -> io::Result<()> {
    let page = PAGE.lock();
    if page.is_empty() {
        return writeln!(io::stderr().lock(), "{line}");
    }
    let mut text = erased(&page, columns());
    text.push_str(line);
    text.push('\n');
    page.iter().for_each(|line| {
        text.push_str(line);
        text.push('\n');
    });
    io::stderr().lock().write_all(text.as_bytes())
}

/// Draws these lines in place of the page. They must steer no terminal. No lines: the page goes.
pub(crate) fn draw(lines: Vec<String>) {
    let mut page = PAGE.lock();
    if *page == lines {
        return;
    }
    let mut text = erased(&page, columns());
    lines.iter().for_each(|line| {
        text.push_str(line);
        text.push('\n');
    });
    // A terminal that went away needs no page.
    let _ = io::stderr().lock().write_all(text.as_bytes());
    *page = lines;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_wider_than_the_terminal_takes_several_rows() {
        let lines = ["x".repeat(81), String::new(), "y".repeat(80)];
        assert_eq!(rows(&lines, 80), 4);
        assert_eq!(erased(&lines, 80), "\x1b[4F\x1b[J");
        assert_eq!(erased(&[], 80), "");
    }
}
