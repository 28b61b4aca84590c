//! Separates Rust code from its comments and literals, and finds items in the code.
//!
//! **Invariant:** [`code_only`] keeps every byte offset and every line break, so an offset in the code is the
//! same offset in the file.

use std::ops::Range;

/// The source with every comment and every string and character literal replaced by spaces.
pub(crate) fn code_only(text: &str) -> String {
    let mut code = text.as_bytes().to_vec();
    let mut at = 0;
    while at < code.len() {
        if let Some(end) = blank_end(text, at) {
            code[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
            at = end;
        } else if is_word_byte(code[at]) {
            at = word_end(&code, at);
        } else {
            at += 1;
        }
    }
    String::from_utf8(code).expect("only whole characters were replaced by spaces")
}

/// Where the comment or literal that starts at `at` ends; `None` if none starts there.
fn blank_end(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    match bytes[at] {
        b'/' if bytes[at..].starts_with(b"//") => {
            Some(bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |n| at + n))
        }
        b'/' if bytes[at..].starts_with(b"/*") => Some(block_comment_end(bytes, at)),
        b'"' => Some(string_end(bytes, at)),
        b'\'' => char_end(text, at),
        b'r' | b'b' | b'c' => raw_string_end(bytes, at),
        _ => None,
    }
}

/// The ranges of the comments, in order. Comments of adjacent lines are separate.
pub(crate) fn comments(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if let Some(end) = blank_end(text, at) {
            if bytes[at] == b'/' {
                found.push(at..end);
            }
            at = end;
        } else if is_word_byte(bytes[at]) {
            at = word_end(bytes, at);
        } else {
            at += 1;
        }
    }
    found
}

/// The ranges of the words of some code (names, keywords and numbers), in order.
pub(crate) fn words(code: &str) -> Vec<Range<usize>> {
    let bytes = code.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        if is_word_byte(bytes[at]) {
            let end = word_end(bytes, at);
            found.push(at..end);
            at = end;
        } else {
            at += 1;
        }
    }
    found
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `None` for a lifetime or a loop label.
fn char_end(text: &str, start: usize) -> Option<usize> {
    let mut chars = text[start + 1..].char_indices();
    let (_, first) = chars.next()?;
    if first == '\\' {
        chars.next()?;
        let (offset, _) = chars.find(|(_, c)| *c == '\'')?;
        return Some(start + 1 + offset + 1);
    }
    let (offset, second) = chars.next()?;
    (second == '\'').then_some(start + 1 + offset + 1)
}

fn raw_string_end(bytes: &[u8], start: usize) -> Option<usize> {
    let word = word_end(bytes, start);
    if !matches!(&bytes[start..word], b"r" | b"br" | b"cr") {
        return None;
    }
    let hashes = bytes[word..].iter().take_while(|byte| **byte == b'#').count();
    let open = word + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let body = &bytes[open + 1..];
    let length = body.windows(close.len()).position(|window| window == close);
    Some(length.map_or(bytes.len(), |length| open + 1 + length + close.len()))
}

/// Whether a byte can be part of an identifier (all non-ASCII bytes can).
pub(crate) fn is_word_byte(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

fn word_end(bytes: &[u8], start: usize) -> usize {
    bytes[start..]
        .iter()
        .position(|byte| !is_word_byte(*byte))
        .map_or(bytes.len(), |length| start + length)
}

/// The identifier that starts at `at`; empty if none does.
pub(crate) fn word_at(code: &str, at: usize) -> &str {
    &code[at..word_end(code.as_bytes(), at)]
}

/// The offset of the first byte at or after `at` that is not white space.
pub(crate) fn skip_space(code: &str, at: usize) -> usize {
    code.len() - code[at..].trim_start().len()
}

/// The offsets at which `pattern` is a whole word.
pub(crate) fn find_words<'a>(
    text: &'a str,
    pattern: &'a str,
) -> impl Iterator<Item = usize> + use<'a> {
    let bytes = text.as_bytes();
    let touches_word = move |at: Option<usize>| {
        at.and_then(|at| bytes.get(at)).is_some_and(|byte| is_word_byte(*byte))
    };
    text.match_indices(pattern).map(|(at, _)| at).filter(move |&at| {
        !touches_word(at.checked_sub(1)) && !touches_word(Some(at + pattern.len()))
    })
}

/// The offset after the bracket that closes the one at `open`; the end of the code if none does.
pub(crate) fn bracket_end(code: &str, open: usize) -> usize {
    let mut depth = 0usize;
    for (offset, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return offset + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// The attribute that starts at `at` (`#[..]` or `#![..]`), if one does.
pub(crate) fn attribute_at(code: &str, at: usize) -> Option<Range<usize>> {
    let rest = &code[at..];
    let open = if rest.starts_with("#[") {
        at + 1
    } else if rest.starts_with("#![") {
        at + 2
    } else {
        return None;
    };
    Some(at..bracket_end(code, open))
}

/// The start of the item after any attributes and white space from `at` on.
pub(crate) fn skip_attributes(code: &str, at: usize) -> usize {
    let mut at = skip_space(code, at);
    while let Some(attribute) = attribute_at(code, at) {
        at = skip_space(code, attribute.end);
    }
    at
}

/// The end of the item that starts at `start`: after its `;`, after its body, or, for a field or an arm,
/// before the comma or the bracket that ends it.
pub(crate) fn item_end(code: &str, start: usize) -> usize {
    const ITEMS: [&str; 14] = [
        "pub", "fn", "mod", "use", "impl", "struct", "enum", "trait", "const", "static", "type",
        "async", "unsafe", "extern",
    ];
    let is_item = ITEMS.contains(&word_at(code, start));
    let bytes = code.as_bytes();
    let mut at = start;
    while at < bytes.len() {
        match bytes[at] {
            b';' => return at + 1,
            b',' if !is_item => return at,
            b')' | b']' | b'}' => return at,
            b'(' | b'[' => at = bracket_end(code, at),
            b'{' => {
                let end = bracket_end(code, at);
                let next = skip_space(code, end);
                return if bytes.get(next) == Some(&b';') { next + 1 } else { end };
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rest of `text`, with runs of spaces folded.
    fn left_of(text: &str) -> String {
        let code = code_only(text);
        assert_eq!(code.len(), text.len(), "offsets moved in {text}");
        assert_eq!(code.lines().count(), text.lines().count(), "lines moved in {text}");
        code.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_vanish_also_when_nested() {
        assert_eq!(left_of("a // } \" '\nb"), "a b");
        assert_eq!(left_of("a /* { /* } */ \" */ b"), "a b");
        assert_eq!(left_of("a /* never closed"), "a");
        assert_eq!(left_of("/// doc {\nfn f() {}"), "fn f() {}");
        assert_eq!(left_of("a / b"), "a / b");
    }

    #[test]
    fn strings_vanish_with_their_escapes() {
        assert_eq!(left_of(r#"f("}", x)"#), "f( , x)");
        assert_eq!(left_of(r#"f("\"}\\", x)"#), "f( , x)");
        assert_eq!(left_of("f(\"two\nlines {\", x)"), "f( , x)");
        assert_eq!(left_of(r#"f("// no comment", x)"#), "f( , x)");
        assert_eq!(left_of(r#"f(b"}", x)"#), "f(b , x)");
        assert_eq!(left_of("f(\"née {\", x)"), "f( , x)");
    }

    #[test]
    fn raw_strings_end_at_their_own_number_of_hashes() {
        assert_eq!(left_of(r##"f(r#"a"b}"#, x)"##), "f( , x)");
        assert_eq!(left_of(r##"f(br"\", x)"##), "f( , x)");
        assert_eq!(left_of("f(r##\"\"#}\"##, x)"), "f( , x)");
        assert_eq!(left_of("r#type + for_r"), "r#type + for_r");
        assert_eq!(left_of("colour\"}\""), "colour");
    }

    #[test]
    fn characters_vanish_and_lifetimes_stay() {
        assert_eq!(left_of("m('{', '\\'', '\\u{7d}', '\"', 'é', b'}')"), "m( , , , , , b )");
        assert_eq!(left_of("fn f<'a, 'b>(x: &'a str) {}"), "fn f<'a, 'b>(x: &'a str) {}");
        assert_eq!(left_of("'outer: loop { break 'outer; }"), "'outer: loop { break 'outer; }");
    }

    #[test]
    fn a_word_is_not_found_inside_a_longer_one() {
        let found: Vec<usize> = find_words("fs fsync my_fs fs::x", "fs").collect();
        assert_eq!(found, [0, 15]);
    }

    #[test]
    fn an_item_ends_where_the_next_one_may_begin() {
        for (item, next) in [
            ("mod tests { fn f() { if x {} } }", " fn g() {}"),
            ("mod tests;", " fn g() {}"),
            ("use a::{b, c};", " fn g() {}"),
            ("fn f<A, B>(a: [A; 3]) -> B { b }", " fn g() {}"),
            ("field: Vec<u8>", ", other: u8 }"),
            ("field: Vec<u8>", "}"),
        ] {
            assert_eq!(item_end(&format!("{item}{next}"), 0), item.len(), "{item}");
        }
    }

    #[test]
    fn attributes_before_an_item_are_skipped() {
        let code = "  #[a(b)]\n #[c] fn f() {}";
        assert_eq!(&code[skip_attributes(code, 0)..], "fn f() {}");
    }
}
