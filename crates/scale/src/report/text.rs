//! A report as lines for a terminal of 80 columns.

use std::fmt;

use super::{Claim, Report, Table, number};

/// Columns of a line.
const WIDTH: usize = 80;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        wrapped(f, "", &self.question)?;
        wrapped(f, "  ", &self.verdict)?;
        for table in &self.tables {
            writeln!(f)?;
            write!(f, "{table}")?;
        }
        if !self.claims.is_empty() {
            writeln!(f)?;
        }
        for claim in &self.claims {
            write!(f, "{claim}")?;
        }
        if !self.notes.is_empty() {
            writeln!(f)?;
        }
        self.notes.iter().try_for_each(|note| wrapped(f, "  ", note))?;
        writeln!(f, "\n  Of {}. The same again:\n  {}", self.seeds_text(), self.command)
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.holds() { "ok  " } else { "FAIL" };
        let [least, middle, most] = self.measured;
        let range = if most > least {
            format!(" ({} to {})", number(least), number(most))
        } else {
            String::new()
        };
        let unit = self.unit;
        let text = format!(
            "{mark} {}: {}{range} {unit}, should be {}",
            self.name,
            number(middle),
            self.wanted()
        );
        wrapped(f, "  ", &text)?;
        wrapped(f, "       ", &format!("{}; {}", self.setting, self.source))?;
        let reason = self.reason.iter().filter(|_| !self.holds());
        reason.into_iter().try_for_each(|reason| wrapped(f, "       ", reason))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        wrapped(f, "  ", &self.title)?;
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            let cells = cells.map(|cell| cell.chars().count());
            cells.chain([self.columns[column].chars().count()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let line = |f: &mut fmt::Formatter<'_>, cells: &mut dyn Iterator<Item = &str>| {
            let mut text = String::from(" ");
            for (at, cell) in cells.enumerate() {
                let width = widths.get(at).copied().unwrap_or(0);
                text.push_str(&if at == 0 {
                    format!(" {cell:<width$}")
                } else {
                    format!("  {cell:>width$}")
                });
            }
            writeln!(f, "{}", text.trim_end())
        };
        line(f, &mut self.columns.iter().copied())?;
        self.rows.iter().try_for_each(|row| line(f, &mut row.iter().map(String::as_str)))
    }
}

/// A paragraph in lines of at most 80 columns, each after `indent`.
fn wrapped(f: &mut fmt::Formatter<'_>, indent: &str, text: &str) -> fmt::Result {
    let mut line = String::new();
    for word in text.split_whitespace() {
        let length = indent.len() + line.chars().count() + 1 + word.chars().count();
        if length > WIDTH && !line.is_empty() {
            writeln!(f, "{indent}{line}")?;
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if line.is_empty() { Ok(()) } else { writeln!(f, "{indent}{line}") }
}

#[cfg(test)]
mod tests {
    use super::super::example;

    #[test]
    fn a_report_fits_into_80_columns_and_says_what_fails() {
        let text = example().to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.starts_with("How does a lookup grow"), "{text}");
        assert!(
            text.contains(
                "\n  ok hops of a lookup: 1.92 (1.90 to 1.95) hops, should be 1.86 to 1.98\n"
            ),
            "{text}"
        );
        assert!(text.contains("\n  FAIL hops of a lookup") && text.contains("too few nodes"));
        assert!(
            text.contains("\n  nodes      hops\n  1,000      1.92\n  1,000,000  3.57\n"),
            "{text}"
        );
        assert!(
            text.ends_with(
                "Of 3 seeds, 1 to 3. The same again:\n  potluck sim scale --nodes 1000\n"
            )
        );
    }
}
