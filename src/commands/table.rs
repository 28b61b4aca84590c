//! Columns of text.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::text::{count, printable};

/// Lines with aligned columns, the first row being the head. Cells may contain text of other nodes: control
/// characters and line breaks are replaced.
pub(crate) fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> =
        rows.iter().map(|row| row.each_ref().map(|cell| printable(cell))).collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let pad = width.saturating_sub(cell.width());
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', pad + 2));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The beginning of a text that fits into this number of columns.
pub(crate) fn fitted(text: &str, columns: usize) -> String {
    let mut left = columns;
    let fits = |letter: &char| {
        let width = letter.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    text.chars().take_while(fits).collect()
}

/// Splits a line between words into pieces of at most `columns` columns. Further pieces begin below the first word
/// of the line; a word that is longer stays whole.
pub(crate) fn wrapped(line: &str, columns: usize) -> Vec<String> {
    if line.width() <= columns {
        return vec![line.to_owned()];
    }
    let indent = line.len() - line.trim_start().len();
    let indent = " ".repeat(if indent == 0 { 2 } else { indent.max(10) });
    let (mut pieces, mut piece) = (Vec::new(), String::new());
    for (at, word) in line.split(' ').enumerate() {
        let begins = piece.trim().is_empty();
        if !begins && piece.width() + 1 + word.width() > columns {
            pieces.push(std::mem::replace(&mut piece, indent.clone()));
        } else if at > 0 {
            piece.push(' ');
        }
        piece.push_str(word);
    }
    pieces.push(piece);
    pieces
}

/// The first letters of an id, enough for people.
pub(crate) fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Bytes in the unit that fits.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut number = bytes as f64 / 1024.0;
    if number < 1.0 {
        return count(bytes, "byte");
    }
    let mut unit = units[0];
    for next in &units[1..] {
        if number < 1024.0 {
            break;
        }
        number /= 1024.0;
        unit = next;
    }
    format!("{number:.1} {unit}")
}

/// Bytes as a number of MiB, for figures that change or are compared: the unit is always the same.
pub(crate) fn mib(bytes: f64) -> String {
    let mib = bytes / f64::from(1 << 20);
    if mib < 1.0 { format!("{mib:.2}") } else { format!("{mib:.1}") }
}

/// Seconds in words.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
        _ => format!("{} d {} h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// Milliseconds, or a dash.
pub(crate) fn millis(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_end_clean() {
        let rows = [["a", "long"], ["bcd", "é"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "a    long\nbcd  é\n");
    }

    #[test]
    fn columns_are_counted_as_a_terminal_does() {
        let rows = [["重み", "x"], ["abcd", "y"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "重み  x\nabcd  y\n");
        assert_eq!(
            (fitted("重み", 3), fitted("abc", 2), fitted("abc", 9)),
            ("重".into(), "ab".into(), "abc".into())
        );
    }

    #[test]
    fn a_cell_of_others_forges_no_row_and_steers_no_terminal() {
        let rows = [["name"], ["a\n\x1b[2Jdead  node"]].map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows), "name\na??[2Jdead  node\n");
    }

    #[test]
    fn amounts_are_readable() {
        assert_eq!((bytes(1), bytes(1023)), ("1 byte".into(), "1023 bytes".into()));
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
        assert_eq!((mib(1e4), mib(1e6), mib(1e9)), ("0.01".into(), "0.95".into(), "953.7".into()));
        assert_eq!(span(59), "59 s");
        assert_eq!(span(3700), "1 h 1 min");
    }
}
