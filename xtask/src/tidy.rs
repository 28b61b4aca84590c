//! `cargo xtask tidy`: the house rules that no compiler checks.
//!
//! **Invariant:** a check is a function from the files' contents to findings. Only [`workspace`] reads the
//! disk, so every check can be tested on made-up sources.

mod codes;
mod docs;
mod errors;
mod layers;
mod licences;
mod manifests;
mod markers;
mod modules;
mod parameters;
mod purity;
mod scan;
mod sizes;
mod source;
mod terms;
mod wildcards;
mod workspace;

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use workspace::Workspace;

/// One violation, its place, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: PathBuf,
    line: usize,
    message: String,
}

impl Finding {
    fn new(path: &Path, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_path_buf(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path.display(), self.line, self.message)
    }
}

/// Reads the workspace at `root`, prints every finding, and fails if there is one. With `verbose` it also
/// prints the files that are longer than recommended.
pub(crate) fn run(root: &Path, verbose: bool) -> Result<ExitCode, String> {
    let workspace = Workspace::read(root)?;
    let findings = check(&workspace);
    report(&workspace, &findings, verbose).map_err(|error| error.to_string())?;
    Ok(if findings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes the page of errors anew.
pub(crate) fn write_errors(root: &Path) -> Result<ExitCode, String> {
    let page = errors::made(root)?;
    std::fs::write(root.join("docs/errors.md"), page).map_err(|error| error.to_string())?;
    Ok(ExitCode::SUCCESS)
}

fn check(workspace: &Workspace) -> Vec<Finding> {
    let Workspace { packages, sources, documents, files, externals, policy } = workspace;
    let mut findings = layers::check(packages);
    findings.extend(manifests::check(packages));
    findings.extend(modules::check(packages, sources));
    findings.extend(docs::check(documents, files));
    findings.extend(purity::check(packages, sources));
    findings.extend(wildcards::check(packages, sources));
    findings.extend(terms::check(documents, sources));
    findings.extend(errors::check(sources, documents));
    findings.extend(licences::check(externals, policy));
    for source in sources {
        findings.extend(sizes::check(source));
        findings.extend(markers::check(source));
        findings.extend(codes::check(source));
        findings.extend(parameters::check(source));
    }
    findings.sort();
    findings.dedup();
    findings
}

fn report(workspace: &Workspace, findings: &[Finding], verbose: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for finding in findings {
        writeln!(out, "{finding}")?;
    }
    if verbose {
        let long = sizes::long_files(&workspace.sources);
        writeln!(out, "{} files over {} lines", long.len(), sizes::GOOD_FILE_LINES)?;
        for (path, lines) in long {
            writeln!(out, "  {lines} {}", path.display())?;
        }
    }
    let (sources, packages) = (workspace.sources.len(), workspace.packages.len());
    match findings.len() {
        0 => writeln!(out, "tidy: {sources} files of {packages} crates keep the rules"),
        count => writeln!(out, "tidy: {count} findings in {sources} files"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_printed_the_way_editors_jump_to() {
        let finding = Finding::new(Path::new("crates/a/src/lib.rs"), 7, "wrong: do this");
        assert_eq!(finding.to_string(), "crates/a/src/lib.rs:7: wrong: do this");
    }
}
