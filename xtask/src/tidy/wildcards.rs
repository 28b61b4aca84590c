//! Checks that protocol machines handle each variant of an input by name: a new variant must not compile and
//! do nothing.
//!
//! The compiler checks that (`clippy::wildcard_enum_match_arm`); this module checks that the lint is on.

use super::Finding;
use super::layers;
use super::source::Source;
use super::workspace::Package;

/// The line that a machine crate has at the beginning.
const DENIED: &str = "#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]";
/// The name of the lint, as an exception would write it.
const LINT: &str = concat!("clippy::wildcard", "_enum_match_arm");

/// Machine crates without the line, and exceptions from it.
pub(crate) fn check(packages: &[Package], sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in packages.iter().filter(|package| layers::is_machine(&package.name)) {
        let root = package.folder().join("src/lib.rs");
        for source in sources.iter().filter(|source| source.path.starts_with(package.folder())) {
            if source.path == root && !source.code.contains(DENIED) {
                let message = format!("a machine crate begins with `{DENIED}`");
                findings.push(Finding::new(&source.path, 1, message));
            }
            let exceptions = source.code.match_indices(LINT);
            for (at, _) in exceptions.filter(|_| source.path != root) {
                let message = "name each variant; slice a long match by functions or nested enums";
                findings.push(Finding::new(&source.path, source.line_of(at), message));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        let packages = [Package {
            name: "potluck-dht".to_owned(),
            manifest: "crates/dht/Cargo.toml".into(),
            ..Package::default()
        }];
        let sources = [Source::new(path, text)];
        check(&packages, &sources).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn a_machine_crate_tells_the_compiler_and_makes_no_exceptions() {
        let root = "crates/dht/src/lib.rs";
        assert_eq!(lines(root, "//! A crate.\n"), [1]);
        assert_eq!(lines(root, &format!("//! A crate.\n\n{DENIED}\n")), [0; 0]);
        let exception = format!("\n#[allow({LINT})]\nfn f() {{}}\n");
        assert_eq!(lines("crates/dht/src/a.rs", &exception), [2]);
        assert_eq!(lines("crates/store/src/a.rs", &exception), [0; 0]);
    }
}
