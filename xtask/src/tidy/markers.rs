//! Finds unfinished work: notes without an issue, stubs, disabled tests.
//!
//! The notes are spelled in parts below, so that the check does not find this file.

use super::Finding;
use super::scan;
use super::source::Source;

/// A note that is allowed with the number of an issue: `NOTE(#123)`.
const NOTE: &str = concat!("TO", "DO");
/// Notes that are never allowed.
const NOTES: [&str; 3] = [concat!("FIX", "ME"), concat!("XX", "X"), concat!("HA", "CK")];
/// Macros that finished code does not have.
const MACROS: [&str; 3] = ["dbg", "todo", "unimplemented"];

/// Every such place in a file, its tests included.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |offset, message: String| {
        findings.push(Finding::new(&source.path, source.line_of(offset), message));
    };
    for at in scan::find_words(&source.text, NOTE) {
        if !names_an_issue(&source.text[at + NOTE.len()..]) {
            found(at, format!("{NOTE} without an issue: do it, or write {NOTE}(#123)"));
        }
    }
    for note in NOTES {
        for at in scan::find_words(&source.text, note) {
            found(at, format!("{note}: do it, or write {NOTE}(#123)"));
        }
    }
    for name in MACROS {
        for at in scan::find_words(&source.code, name) {
            if source.code[at + name.len()..].trim_start().starts_with('!') {
                found(at, format!("`{name}!` is left over: finish what it stands for"));
            }
        }
    }
    for at in scan::find_words(&source.code, "ignore") {
        if source.code[..at].trim_end().ends_with("#[") {
            found(at, "a test is switched off: mend it or delete it".to_owned());
        }
    }
    findings
}

/// Whether the text begins with `(#` digits `)`.
fn names_an_issue(text: &str) -> bool {
    let Some((number, _)) = text.strip_prefix("(#").and_then(|rest| rest.split_once(')')) else {
        return false;
    };
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_found(text: &str) -> Vec<usize> {
        check(&Source::new("src/a.rs", text)).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_note_needs_an_issue() {
        assert_eq!(lines_found(&format!("\n// {NOTE}: later")), [2]);
        assert_eq!(lines_found(&format!("// {NOTE}(me): later")), [1]);
        assert_eq!(lines_found(&format!("// {NOTE}(#): later")), [1]);
        assert_eq!(lines_found(&format!("// {NOTE}(#12): later")), Vec::<usize>::new());
        assert_eq!(lines_found(&format!("// MAS{NOTE}NS")), Vec::<usize>::new());
    }

    #[test]
    fn other_notes_are_found_in_comments_and_strings() {
        for note in NOTES {
            assert_eq!(lines_found(&format!("// {note} slow\n")), [1]);
            assert_eq!(lines_found(&format!("f(\"{note}\");\n")), [1]);
        }
    }

    #[test]
    fn stubs_are_found_in_code_but_not_in_what_is_said_about_them() {
        for name in MACROS {
            assert_eq!(lines_found(&format!("fn f() {{\n    {name}!()\n}}")), [2]);
            assert_eq!(lines_found(&format!("// no {name}!()\n")), Vec::<usize>::new());
            assert_eq!(lines_found(&format!("fn {name}() {{}}")), Vec::<usize>::new());
        }
    }

    #[test]
    fn tests_switched_off_are_found_with_and_without_a_reason() {
        assert_eq!(lines_found("#[test]\n#[ignore]\nfn t() {}"), [2]);
        assert_eq!(lines_found("#[test]\n#[ignore = \"slow\"]\nfn t() {}"), [2]);
        assert_eq!(lines_found("fn ignore() {}"), Vec::<usize>::new());
    }
}
