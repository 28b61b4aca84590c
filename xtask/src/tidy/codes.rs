//! Checks that lines of the log have a code, a word for programs.

use super::Finding;
use super::scan;
use super::source::Source;

/// The log macros of the levels that people read by default.
const MACROS: [&str; 3] = ["error", "warn", "info"];

/// Every line of the log at these levels that has no code.
pub(crate) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in MACROS {
        for at in scan::find_words(&source.code, name) {
            let behind = &source.code[at + name.len()..];
            let is_tracing = source.code[..at].ends_with("tracing::") && behind.starts_with("!(");
            if is_tracing
                && !source.is_test_at(at)
                && !behind[2..].trim_start().starts_with("code =")
            {
                let message = format!(
                    "a line of the log without a code: begin with code = \"part.what\" in `{name}!`"
                );
                findings.push(Finding::new(&source.path, source.line_of(at), message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_found(text: &str) -> Vec<usize> {
        check(&Source::new("src/a.rs", text)).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn lines_for_people_need_a_code() {
        let none: [usize; 0] = [];
        assert_eq!(lines_found("\ntracing::warn!(%error, \"x\");"), [2]);
        assert_eq!(lines_found("tracing::error!(\n    \"x\"\n);"), [1]);
        assert_eq!(lines_found("tracing::warn!(code = \"a.b\", %error, \"x\");"), none);
        assert_eq!(lines_found("tracing::info!(\n    code = \"a.b\",\n    \"x\"\n);"), none);
        assert_eq!(lines_found("tracing::debug!(\"x\");"), none);
        assert_eq!(lines_found("fn error(info: u8) {}"), none);
    }
}
