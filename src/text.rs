//! Makes text of other nodes safe for a terminal and for a line.
//!
//! **Invariant:** the returned text moves no cursor, changes no colour and no title, and does not change the
//! writing direction; one line stays one line.

pub(crate) mod amount;

use std::fmt::Write as _;
use std::time::Duration;

/// Whether a terminal may do something else with a character than show it: control characters, line and
/// paragraph separators, marks that change the writing direction, invisible tags.
fn is_harmful(letter: char) -> bool {
    letter.is_control()
        || matches!(
            letter,
            '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// A text of another node within a line: each harmful character becomes a `?`.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|letter| if is_harmful(letter) { '?' } else { letter }).collect()
}

/// A whole text for a terminal: its lines and tabs stay, each other harmful character becomes a
/// `?`, and bytes that are no text become U+FFFD.
pub(crate) fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    // The line end of Windows; alone, a carriage return overwrites the line.
    let text = text.replace("\r\n", "\n");
    let shown =
        |letter| if is_harmful(letter) && !matches!(letter, '\n' | '\t') { '?' } else { letter };
    text.chars().map(shown).collect()
}

/// Bytes as one line: text as it is, but each harmful character other than a tab, and each byte that
/// is no text, as an escape such as `\n`, `\x1b` or `\u{2028}`. A backslash stays as it is, so that
/// JSON in a line can still be read; programs that need the exact bytes use another form.
pub(crate) fn escaped(bytes: &[u8]) -> String {
    let mut line = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for letter in chunk.valid().chars() {
            match letter {
                '\n' => line.push_str("\\n"),
                '\r' => line.push_str("\\r"),
                '\t' => line.push('\t'),
                _ if letter.is_ascii_control() => escape_byte(&mut line, letter as u8),
                _ if is_harmful(letter) => line.extend(letter.escape_unicode()),
                _ => line.push(letter),
            }
        }
        chunk.invalid().iter().for_each(|byte| escape_byte(&mut line, *byte));
    }
    line
}

fn escape_byte(line: &mut String, byte: u8) {
    let _ = write!(line, "\\x{byte:02x}");
}

/// A JSON text with harmful characters escaped; it has the same meaning.
pub(crate) fn json(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_harmful(letter) {
            let mut units = [0; 2];
            for unit in letter.encode_utf16(&mut units) {
                let _ = write!(line, "\\u{unit:04x}");
            }
        } else {
            line.push(letter);
        }
    }
    line
}

/// A number with its noun, in singular or plural.
pub(crate) fn count(number: impl TryInto<u64>, thing: &str) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    match (number, thing.strip_suffix('y')) {
        (1, _) => format!("1 {thing}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        (_, None) => format!("{number} {thing}s"),
    }
}

/// A word quoted for a shell.
pub(crate) fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:@%+=,~".contains(&byte);
    if !word.is_empty() && !word.starts_with(['-', '~', '=']) && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", printable(word).replace('\'', r"'\''"))
}

/// A span of time in the largest unit that gives a whole number: `365d`, not the months and days of a
/// calendar.
pub(crate) fn whole_span(value: Duration) -> String {
    let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
    let millis = value.as_millis();
    let whole = units.into_iter().find(|(_, unit)| millis >= *unit && millis.is_multiple_of(*unit));
    let (name, unit) = whole.unwrap_or(("ms", 1));
    format!("{}{name}", millis / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A cleared screen, a title, a carriage return, a C1 sequence, a changed writing direction.
    const HOSTILE: &str = "a\x1b[2J\x1b]0;x\x07b\rc\u{9b}31md\u{202e}e";

    #[test]
    fn a_text_of_others_within_a_line_can_do_nothing_to_a_terminal() {
        assert_eq!(printable(HOSTILE), "a?[2J?]0;x?b?c?31md?e");
        assert_eq!(printable("one\ntwo\tthree"), "one?two?three");
        assert_eq!(printable("süß 🍲 ไทย"), "süß 🍲 ไทย");
    }

    #[test]
    fn a_text_on_a_terminal_keeps_its_lines_and_tabs() {
        assert_eq!(clean(HOSTILE.as_bytes()), "a?[2J?]0;x?b?c?31md?e");
        assert_eq!(clean(b"one\r\ntwo\n\tthree\n"), "one\ntwo\n\tthree\n");
        assert_eq!(clean(b"one\rtwo"), "one?two");
        assert_eq!(clean(&[b'a', 0xff, 0x9b, b'b']), "a\u{fffd}\u{fffd}b");
    }

    #[test]
    fn a_message_is_one_line_whatever_is_in_it() {
        assert_eq!(escaped(b"build\nsecond\r\n"), r"build\nsecond\r\n");
        assert_eq!(escaped(b"\x1b[31mred\x00\x7f"), r"\x1b[31mred\x00\x7f");
        assert_eq!(escaped("a\u{2028}b\u{85}c".as_bytes()), r"a\u{2028}b\u{85}c");
        assert_eq!(escaped(&[b'a', 0xff, 0xc3, b'b']), r"a\xff\xc3b");
        assert_eq!(escaped(br#"{"text":"a \"b\"\n"}"#), r#"{"text":"a \"b\"\n"}"#);
        assert_eq!(escaped("one\ttwo ü".as_bytes()), "one\ttwo ü");
    }

    #[test]
    fn json_for_a_terminal_means_the_same() {
        let value = serde_json::json!({"name": HOSTILE, "tag": "\u{e0041}", "plain": "ü 🍲"});
        let text = json(&value.to_string());
        assert!(!text.chars().any(is_harmful), "{text}");
        assert!(text.contains("ü 🍲"));
        let read: serde_json::Value = serde_json::from_str(&text).expect("still JSON");
        assert_eq!(read, value);
    }

    #[test]
    fn one_thing_is_no_plural() {
        let said = [count(0_u64, "record"), count(1_usize, "record"), count(2_u16, "record")];
        assert_eq!(said, ["0 records", "1 record", "2 records"]);
        assert_eq!(count(3_u8, "copy"), "3 copies");
    }

    #[test]
    fn a_word_is_typed_into_a_shell_as_it_is_meant() {
        assert_eq!(quoted("config/greeting"), "config/greeting");
        assert_eq!(quoted("a b"), "'a b'");
        assert_eq!(quoted("it's; rm -rf /"), r"'it'\''s; rm -rf /'");
        assert_eq!(quoted(""), "''");
        assert_eq!(quoted("-x"), "'-x'");
    }
}
