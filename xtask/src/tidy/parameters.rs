//! Parameters of functions: at most [`MAX_PARAMETERS`], and none that packs several values into a
//! tuple, which only hides their number and their names.

use super::Finding;
use super::scan;
use super::source::Source;

/// A function may not have more parameters than this, `self` not counted.
const MAX_PARAMETERS: usize = 6;

/// Every function of the production code with a tuple, or with too many values, as parameters.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let code = source.code.as_str();
    for at in scan::find_words(code, "fn").filter(|at| !source.is_test_at(*at)) {
        let start = scan::skip_space(code, at + "fn".len());
        let name = scan::word_at(code, start);
        let Some(open) = parameters_start(code, start).filter(|_| !name.is_empty()) else {
            continue;
        };
        let inside = &code[open + 1..scan::bracket_end(code, open) - 1];
        let parameters: Vec<&str> = split(inside, b',');
        let line = source.line_of(at);
        let values = parameters.iter().filter(|parameter| scan_type(parameter).is_some()).count();
        if values > MAX_PARAMETERS {
            let message = format!(
                "function `{name}` has {values} parameters, {MAX_PARAMETERS} is the limit: give \
                 those that belong together a struct"
            );
            findings.push(Finding::new(&source.path, line, message));
        }
        if parameters.iter().filter_map(|parameter| scan_type(parameter)).any(is_tuple) {
            let message =
                format!("function `{name}` takes a tuple: give its values names in a struct");
            findings.push(Finding::new(&source.path, line, message));
        }
    }
    findings
}

/// Where the parameters of the function begin whose name is at `start`; generic arguments are left out.
fn parameters_start(code: &str, start: usize) -> Option<usize> {
    let mut at = start + scan::word_at(code, start).len();
    at = scan::skip_space(code, at);
    if code[at..].starts_with('<') {
        at = scan::skip_space(code, angle_end(code, at)?);
    }
    code[at..].starts_with('(').then_some(at)
}

/// Behind the `>` that belongs to the `<` at `at`; arrows are no brackets.
fn angle_end(code: &str, at: usize) -> Option<usize> {
    let bytes = code.as_bytes();
    let mut depth = 0_usize;
    for index in at..bytes.len() {
        match bytes[index] {
            b'<' => depth += 1,
            b'>' if bytes[index - 1] != b'-' && bytes[index - 1] != b'=' => {
                depth -= 1;
                if depth == 0 {
                    return Some(index + 1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The parts of `text` between the separators that are in no brackets.
fn split(text: &str, separator: u8) -> Vec<&str> {
    let bytes = text.as_bytes();
    let (mut parts, mut begin, mut at, mut angles) = (Vec::new(), 0, 0, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            b'(' | b'[' | b'{' => {
                at = scan::bracket_end(text, at);
                continue;
            }
            b'<' => angles += 1,
            b'>' if at > 0 && bytes[at - 1] != b'-' => angles = angles.saturating_sub(1),
            byte if byte == separator && angles == 0 => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    parts.push(&text[begin..]);
    parts
}

/// The type of a parameter; `None` for `self` and for nothing.
fn scan_type(parameter: &str) -> Option<&str> {
    let parts = split(parameter, b':');
    let pattern = parts.first()?.trim();
    let is_self = pattern.split_whitespace().last().is_some_and(|word| word.ends_with("self"));
    (parts.len() > 1 && !is_self).then(|| parameter[parts[0].len() + 1..].trim())
}

/// Whether a type is a tuple of two values or more. A reference to a tuple is an element of a list or a
/// map, as an iterator passes it.
fn is_tuple(of: &str) -> bool {
    of.starts_with('(') && split(&of[1..scan::bracket_end(of, 0) - 1], b',').len() > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let findings = check(&Source::new("src/a.rs", text));
        findings.iter().map(|finding| format!("{}: {}", finding.line, finding.message)).collect()
    }

    #[test]
    fn tuples_are_found_in_each_place_of_the_list_and_behind_generic_arguments() {
        for text in [
            "fn f(a: (u32, u32)) {}",
            "fn f(&self, (a, b): (u32, u32), c: u8) {}",
            "fn f<A: Into<(u8, u8)>, F: Fn(u8) -> u8>(a: A, b: (A, F)) {}",
            "pub(super) const fn f(mut self, a: (u8, u8)) {}",
        ] {
            assert_eq!(found(text).len(), 1, "{text}");
        }
    }

    #[test]
    fn other_types_with_brackets_are_fine() {
        for text in [
            "fn f() {}",
            "fn f(a: ()) {}",
            "fn f(a: &(u8, u8)) {}",
            "fn f(a: &[(u8, u8)], b: Vec<(u8, u8)>, c: impl Fn(u8, u8) -> (u8, u8)) {}",
            "fn f(self: Box<Self>, a: (u8)) -> (u8, u8) { (1, 2) }",
            "type F = fn((u8, u8));",
            "#[cfg(test)]\nmod tests {\n  fn f(a: (u8, u8)) {}\n}",
        ] {
            assert_eq!(found(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn a_seventh_parameter_is_one_too_many_and_self_is_none() {
        let six = "fn f(&mut self, a: u8, b: u8, c: u8, d: u8, e: u8, f: Map<u8, u8>) {}";
        let seven = "fn f(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8,) {}";
        assert_eq!((found(six).len(), found(seven).len()), (0, 1));
    }
}
