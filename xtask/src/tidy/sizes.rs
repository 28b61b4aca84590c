//! Limits the length of files and functions, tests not counted.

use std::path::Path;

use super::Finding;
use super::scan;
use super::source::Source;

/// Recommended length of a file.
pub(crate) const GOOD_FILE_LINES: usize = 400;
/// Maximum length of a file.
const MAX_FILE_LINES: usize = 700;
/// Maximum length of a function, brace to brace.
const MAX_FUNCTION_LINES: usize = 70;

/// Findings about a file that is too long, and about every function in it that is.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let lines = source.production_lines();
    if lines > MAX_FILE_LINES {
        let message = format!(
            "{lines} lines without tests, {MAX_FILE_LINES} is the limit: split the file by idea"
        );
        findings.push(Finding::new(&source.path, 1, message));
    }
    for function in functions(source) {
        if function.lines > MAX_FUNCTION_LINES && !source.is_test_line(function.line) {
            let message = format!(
                "function `{}` has {} lines, {MAX_FUNCTION_LINES} is the limit: give its steps \
                 names",
                function.name, function.lines
            );
            findings.push(Finding::new(&source.path, function.line, message));
        }
    }
    findings
}

/// The files that are longer than recommended, longest first.
pub(crate) fn long_files(sources: &[Source]) -> Vec<(&Path, usize)> {
    let mut long: Vec<_> = sources
        .iter()
        .map(|source| (source.path.as_path(), source.production_lines()))
        .filter(|(_, lines)| *lines > GOOD_FILE_LINES)
        .collect();
    long.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
    long
}

/// A function with a body.
struct Function<'a> {
    name: &'a str,
    /// The line of its `fn`.
    line: usize,
    /// From the line of the opening brace to that of the closing one.
    lines: usize,
}

fn functions(source: &Source) -> impl Iterator<Item = Function<'_>> {
    let code = source.code.as_str();
    scan::find_words(code, "fn").filter_map(move |at| {
        let start = scan::skip_space(code, at + "fn".len());
        let name = scan::word_at(code, start + usize::from(code[start..].starts_with('$')));
        if name.is_empty() {
            return None; // a function pointer type
        }
        let open = body_start(code, start)?;
        let close = scan::bracket_end(code, open) - 1;
        let lines = source.line_of(close) - source.line_of(open) + 1;
        Some(Function { name, line: source.line_of(at), lines })
    })
}

/// The opening brace of the body of the function whose signature goes on at `at`; `None` if it
/// is only declared.
fn body_start(code: &str, mut at: usize) -> Option<usize> {
    let bytes = code.as_bytes();
    while at < bytes.len() {
        match bytes[at] {
            b';' => return None,
            // A block inside angle brackets is a generic argument, as in `Id<{ N }>`.
            b'{' if !code[..at].trim_end().ends_with('<') => return Some(at),
            b'(' | b'[' | b'{' => at = scan::bracket_end(code, at),
            _ => at += 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        check(&Source::new("src/a.rs", text)).iter().map(ToString::to_string).collect()
    }

    /// A function whose body, brace to brace, has `lines` lines.
    fn function(lines: usize) -> String {
        format!("fn long(\n    x: u8,\n) -> [u8; 2] {{\n{}}}\n", "    step();\n".repeat(lines - 2))
    }

    #[test]
    fn a_function_at_the_limit_passes_and_one_line_more_is_found() {
        assert_eq!(found(&function(MAX_FUNCTION_LINES)), Vec::<String>::new());
        let found = found(&format!("\n{}", function(MAX_FUNCTION_LINES + 1)));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("src/a.rs:2: function `long` has 71 lines"), "{found:?}");
    }

    #[test]
    fn braces_in_literals_and_comments_do_not_move_the_end() {
        let body = "    f(\"}\", '}', r#\"}\"#); // }\n".repeat(MAX_FUNCTION_LINES);
        assert_eq!(found(&format!("fn long() {{\n{body}}}\n")).len(), 1);
        let body = "    f(\"{\", '{', r#\"{\"#); /* { */\n";
        let rest = "fn g() {}\n".repeat(MAX_FUNCTION_LINES);
        assert_eq!(found(&format!("fn short() {{\n{body}}}\n{rest}")).len(), 0);
    }

    #[test]
    fn the_body_is_found_behind_any_signature() {
        let body = format!("{{\n{}}}\n", "step();\n".repeat(MAX_FUNCTION_LINES));
        for signature in [
            "fn f<T>(t: T) -> Id<{ N }> where T: Fn() -> [u8; { 3 }] ",
            "const fn $name() ",
            "fn f(g: fn(u8) -> u8, (a, b): (u8, u8)) ",
        ] {
            assert_eq!(found(&format!("{signature}{body}")).len(), 1, "{signature}");
        }
        assert_eq!(found(&format!("trait T {{ fn f(); }}\nimpl X {body}")).len(), 0);
    }

    #[test]
    fn long_tests_are_nobodys_business() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", function(200));
        assert_eq!(found(&tests.repeat(4)), Vec::<String>::new());
    }

    #[test]
    fn a_file_over_the_limit_is_found_and_over_the_good_is_only_listed() {
        let long = "// line\n".repeat(MAX_FILE_LINES);
        assert_eq!(found(&long), Vec::<String>::new());
        assert!(found(&format!("{long}//\n"))[0].contains("701 lines"));

        let sources = [
            Source::new("good.rs", "//\n".repeat(GOOD_FILE_LINES)),
            Source::new("growing.rs", "//\n".repeat(GOOD_FILE_LINES + 1)),
        ];
        assert_eq!(long_files(&sources), [(Path::new("growing.rs"), 401)]);
    }
}
