//! Checks the documents: every link has a target, and the index lists every decision.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use super::Finding;
use super::workspace::Document;

const ADR_FOLDER: &str = "docs/adr";
const ADR_INDEX: &str = "docs/adr/README.md";

/// Dead links in the documents, and decisions that are missing from the index or listed without a file.
pub(crate) fn check(documents: &[Document], files: &BTreeSet<PathBuf>) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        documents.iter().flat_map(|document| dead_links(document, files)).collect();
    findings.extend(check_decisions(documents, files));
    findings
}

fn dead_links(document: &Document, files: &BTreeSet<PathBuf>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for link in links(&document.text) {
        let Some(path) = resolve(&document.path, link.target) else { continue };
        if !exists(&path, files) {
            let message = format!("the link to `{}` leads nowhere: mend the path", link.target);
            findings.push(Finding::new(&document.path, link.line, message));
        }
    }
    findings
}

fn exists(path: &Path, files: &BTreeSet<PathBuf>) -> bool {
    path == Path::new("")
        || files.range(path.to_path_buf()..).next().is_some_and(|file| file.starts_with(path))
}

/// The target file of a link, relative to the root; `None` for URLs and anchors in the same file. A path that
/// leaves the workspace keeps its `..`, and so is never a file of it.
fn resolve(document: &Path, target: &str) -> Option<PathBuf> {
    let target = target.split(['#', '?']).next().unwrap_or_default();
    let has_scheme = target.split_once(':').is_some_and(|(scheme, _)| {
        scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    });
    if target.is_empty() || has_scheme {
        return None;
    }
    let from_root = target.starts_with('/');
    let folder = document.parent().filter(|_| !from_root).unwrap_or(Path::new(""));
    let mut path = PathBuf::new();
    for part in folder.join(target.trim_start_matches('/')).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if path.file_name().is_some() => {
                path.pop();
            }
            part => path.push(part),
        }
    }
    Some(path)
}

/// A link in a document.
#[derive(Debug, PartialEq, Eq)]
struct Link<'a> {
    line: usize,
    target: &'a str,
}

/// The targets of `[text](target)` and `[name]: target`, code left out.
fn links(text: &str) -> Vec<Link<'_>> {
    let mut links = Vec::new();
    let mut fence: Option<&str> = None;
    for (index, line) in text.lines().enumerate() {
        let marker = line.trim_start().get(..3).filter(|start| ["```", "~~~"].contains(start));
        if let Some(marker) = marker {
            match fence {
                None => fence = Some(marker),
                Some(open) if open == marker => fence = None,
                Some(_) => {}
            }
            continue;
        }
        if fence.is_none() {
            links.extend(links_of_line(line).map(|target| Link { line: index + 1, target }));
        }
    }
    links
}

fn links_of_line(line: &str) -> impl Iterator<Item = &str> {
    let inline = line
        .match_indices("](")
        .filter(|(at, _)| line[..*at].matches('`').count().is_multiple_of(2))
        .map(|(at, _)| {
            let rest = &line[at + 2..];
            &rest[..rest.find(')').unwrap_or(rest.len())]
        });
    let reference = line
        .trim_start()
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]:"))
        .map(|(_, target)| target);
    inline.chain(reference).map(|target| {
        let target = target.trim();
        match target.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
            Some((target, _)) => target,
            None => target.split_whitespace().next().unwrap_or_default(),
        }
    })
}

/// Checks that every decision is in the index under a number of its own, and that the index has no other.
fn check_decisions(documents: &[Document], files: &BTreeSet<PathBuf>) -> Vec<Finding> {
    let decisions: Vec<&PathBuf> =
        files.iter().filter(|path| decision_number(path).is_some()).collect();
    let index = documents.iter().find(|document| document.path == Path::new(ADR_INDEX));
    let linked: BTreeMap<PathBuf, usize> = index
        .map(|index| links(&index.text))
        .unwrap_or_default()
        .iter()
        .filter_map(|link| Some((resolve(Path::new(ADR_INDEX), link.target)?, link.line)))
        .collect();
    let mut findings = Vec::new();
    let mut numbers: BTreeMap<&str, &Path> = BTreeMap::new();
    for path in decisions {
        if !linked.contains_key(path) {
            let message = format!("this decision is not in {ADR_INDEX}: add its row");
            findings.push(Finding::new(path, 1, message));
        }
        let number = decision_number(path).unwrap_or_default();
        if let Some(other) = numbers.insert(number, path) {
            let message = format!("{} has the number {number} too: take the next", other.display());
            findings.push(Finding::new(path, 1, message));
        }
    }
    findings.extend(linked.iter().filter(|(path, _)| !files.contains(*path)).filter_map(
        |(path, line)| {
            decision_number(path)?;
            let message = format!("there is no {}: remove its row", path.display());
            Some(Finding::new(Path::new(ADR_INDEX), *line, message))
        },
    ));
    findings
}

/// The four digits of `docs/adr/NNNN-title.md`.
fn decision_number(path: &Path) -> Option<&str> {
    let name = path.strip_prefix(ADR_FOLDER).ok()?.to_str()?;
    let (number, rest) = name.split_once('-')?;
    let is_number = number.len() == 4 && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && rest.ends_with(".md") && !rest.contains('/')).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(documents: &[(&str, &str)], other_files: &[&str]) -> Vec<String> {
        let files = documents.iter().map(|(path, _)| *path).chain(other_files.iter().copied());
        let files = files.map(PathBuf::from).collect();
        let documents: Vec<_> = documents
            .iter()
            .map(|(path, text)| Document { path: path.into(), text: (*text).into() })
            .collect();
        check(&documents, &files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn links_that_lead_somewhere_pass() {
        let text = "[a](docs/b.md#part) ![p](docs/p.png \"title\") [c]( <docs/my file.md> )\n\
                    [folder](docs/) [root](/docs/b.md) [web](https://a.b/c) [mail](mailto:a@b)\n\
                    [here](#part)\n[ref]: ./docs/b.md\n";
        assert_eq!(
            found(&[("README.md", text)], &["docs/b.md", "docs/p.png", "docs/my file.md"]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn dead_links_are_found_with_their_line() {
        let text = "fine\n[a](gone.md) [b](../up.md)\n[ref]: gone2.md\n[c](do)\n";
        let found = found(&[("docs/a.md", text)], &["docs/dont.md", "docs/domino.md"]);
        let places: Vec<_> = found.iter().map(|line| line.split(' ').next().unwrap()).collect();
        assert_eq!(places, ["docs/a.md:2:", "docs/a.md:2:", "docs/a.md:3:", "docs/a.md:4:"]);
    }

    #[test]
    fn code_holds_no_links() {
        let text = "```\n[a](gone.md)\n~~~\n[a](gone.md)\n```\n`[a](gone.md)` and `x`\n";
        assert_eq!(found(&[("a.md", text)], &[]), Vec::<String>::new());
        assert_eq!(found(&[("a.md", "```\n```\n`x` [a](gone.md)\n")], &[]).len(), 1);
    }

    #[test]
    fn a_link_out_of_the_workspace_leads_nowhere() {
        assert_eq!(found(&[("a.md", "[a](../a.md)")], &[]).len(), 1);
        assert_eq!(found(&[("docs/a.md", "[a](../b.md)")], &["b.md"]).len(), 0);
    }

    #[test]
    fn the_index_and_the_decisions_agree() {
        let index = (ADR_INDEX, "| [0001](0001-quic.md) | QUIC |\n| [2](0002-gone.md) | Gone |\n");
        assert_eq!(found(&[(ADR_INDEX, "[1](0001-quic.md)")], &["docs/adr/0001-quic.md"]).len(), 0);
        let found = found(&[index], &["docs/adr/0001-quic.md", "docs/adr/0003-new.md"]);
        assert!(found.iter().any(|line| line.starts_with("docs/adr/0003-new.md:1: this decision")));
        assert!(found.iter().any(|line| line.starts_with("docs/adr/README.md:2: there is no")));
    }

    #[test]
    fn two_decisions_may_not_share_a_number() {
        let index = (ADR_INDEX, "[a](0001-a.md) [b](0001-b.md)");
        let found = found(&[index], &["docs/adr/0001-a.md", "docs/adr/0001-b.md"]);
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("docs/adr/0001-b.md:1: docs/adr/0001-a.md has the number"));
    }

    #[test]
    fn without_an_index_every_decision_is_found() {
        assert_eq!(found(&[], &["docs/adr/0001-a.md", "docs/adr/notes.md"]).len(), 1);
    }
}
