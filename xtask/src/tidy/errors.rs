//! Codes of errors: each one that is used is explained in `src/failure/codes.rs`, each one there is used
//! and tested, and `docs/errors.md` is that table.
//!
//! Lines of the log may also have the code of a finding of `doctor`, in `src/doctor/codes.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use super::Finding;
use super::scan;
use super::source::Source;
use super::workspace::Document;

const TABLE: &str = "src/failure/codes.rs";
const FINDINGS: &str = "src/doctor/codes.rs";
const PAGE: &str = "docs/errors.md";

/// What makes an error of the string behind it.
const MAKERS: [&str; 3] = ["bad", "forbidden", "unavailable"];

/// Errors that no test names: they need a damaged backup, a fault of the system, a node that ends at the right
/// moment, or rights that root does not lack. This list only becomes shorter.
const UNTESTED: &[&str] = &[
    "badInvitation",
    "badList",
    "badSetting",
    "badValue",
    "brokeOff",
    "demoFailed",
    "incomplete",
    "interrupted",
    "mixedKinds",
    "networkNeeded",
    "noFolder",
    "notAdmitted",
    "otherNode",
    "outOfReach",
    "timeout",
    "unwritable",
];

/// One row of a table: its line, the code and its two texts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    line: usize,
    code: String,
    when: String,
    action: String,
}

/// Both tables of the file: errors, and lines of the log.
#[derive(Debug, Default)]
struct Tables {
    errors: Vec<Row>,
    lines: Vec<Row>,
}

/// Reads the rows, each on a line of its own.
fn tables(text: &str) -> Tables {
    let mut tables = Tables::default();
    let mut in_lines = false;
    for (at, line) in text.lines().enumerate() {
        in_lines |= line.trim_start().starts_with("LINES:");
        let parts: Vec<&str> = line.trim().trim_end_matches("\";").split('"').collect();
        let [_, code, _, when, _, action] = parts[..] else { continue };
        let row = Row {
            line: at + 1,
            code: code.to_owned(),
            when: when.to_owned(),
            action: action.to_owned(),
        };
        if in_lines { tables.lines.push(row) } else { tables.errors.push(row) }
    }
    tables
}

/// Codes that the findings of `doctor` have.
fn findings_of(text: &str) -> BTreeSet<&str> {
    let code = |line: &'_ str| line.starts_with("    \"") && line.contains("\": \"");
    text.lines().filter(|line| code(line)).filter_map(|line| line.split('"').nth(1)).collect()
}

/// The page that shows the tables.
fn page(tables: &Tables) -> String {
    let mut page = String::from(
        "# Errors\n\n\
         Every error has one code. It is `code` in the error line of `--json` and in problem JSON, whose `type` \
         is `urn:potluck:error:CODE`. `potluck doctor --explain CODE` prints the same text. This page is made by \
         `cargo xtask errors` from `src/failure/codes.rs`; `cargo xtask tidy` compares them. A code never changes \
         its meaning. Codes with a dot that are not here are findings of `potluck doctor`: \
         `potluck doctor --explain all` lists them.\n",
    );
    for (title, first, rows) in [
        ("Errors of commands and of the HTTP API", "when, and what changed", &tables.errors),
        ("Lines of the log", "what happened", &tables.lines),
    ] {
        let _ = write!(page, "\n## {title}\n\n| code | {first} | what to do |\n|---|---|---|\n");
        for Row { code, when, action, .. } in rows {
            let _ = writeln!(page, "| `{code}` | {when} | {action} |");
        }
    }
    page
}

/// The page of the workspace at `root`, made from the table there.
pub(crate) fn made(root: &Path) -> Result<String, String> {
    let path = root.join(TABLE);
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(page(&tables(&text)))
}

/// The string literal that begins at or behind this offset, after white space.
fn literal_at(source: &Source, at: usize) -> Option<&str> {
    let rest = source.text.get(at..)?.trim_start().strip_prefix('"')?;
    let code = rest.split('"').next()?;
    let good = |c: char| c.is_ascii_alphanumeric() || c == '.';
    (!code.is_empty() && code.chars().all(good)).then_some(code)
}

/// Codes that the program gives to errors, each with its line.
fn used_in(source: &Source) -> Vec<(String, usize)> {
    let mut used = Vec::new();
    let mut note = |at: usize| {
        if let Some(code) = literal_at(source, at).filter(|_| !source.is_test_at(at)) {
            used.push((code.to_owned(), source.line_of(at)));
        }
    };
    for maker in MAKERS {
        for at in scan::find_words(&source.code, maker) {
            let behind = at + maker.len();
            if source.code[behind..].starts_with('(') {
                note(behind + 1);
            }
        }
    }
    for at in scan::find_words(&source.code, "Exit") {
        let rest = &source.code[at + 4..];
        let name = rest.trim_start_matches(':').len();
        let variant = &rest[rest.len() - name..];
        let end = variant.find(|c: char| !c.is_alphanumeric()).unwrap_or(variant.len());
        let comma = at + 4 + (rest.len() - name) + end;
        if source.code[comma..].starts_with(',') {
            note(comma + 1);
        }
    }
    used
}

/// Codes of the log that a file writes, each with its line.
fn logged_in(source: &Source) -> Vec<(String, usize)> {
    let places = source.text.match_indices("code = \"");
    let lines = places.filter(|(at, _)| !source.is_test_at(*at));
    let coded = lines.filter_map(|(at, _)| {
        let code = literal_at(source, at + "code = ".len())?;
        Some((code.to_owned(), source.line_of(at)))
    });
    coded.collect()
}

/// Whether a test of the program names the code.
fn is_tested(sources: &[Source], code: &str) -> bool {
    let quoted = format!("\"{code}\"");
    sources
        .iter()
        .filter(|it| it.path.starts_with("src") || it.path.starts_with("tests"))
        .any(|it| it.text.match_indices(&quoted).any(|(at, _)| it.is_test_at(at)))
}

/// Every code that is used and not explained, explained and not used, or explained and not tested.
pub(crate) fn check(sources: &[Source], documents: &[Document]) -> Vec<Finding> {
    let find = |path: &str| sources.iter().find(|source| source.path == Path::new(path));
    let Some((table, findings)) = find(TABLE).zip(find(FINDINGS)) else { return Vec::new() };
    let (tables, of_doctor) = (tables(&table.text), findings_of(&findings.text));
    let mut used = BTreeMap::new();
    let mut logged = BTreeMap::new();
    for source in sources {
        if [TABLE, FINDINGS].iter().any(|path| source.path == Path::new(path)) {
            continue;
        }
        if source.path.starts_with("src") {
            used.extend(
                used_in(source).into_iter().map(|(code, line)| (code, (&source.path, line))),
            );
        }
        if source.path.starts_with("src") || source.path.starts_with("crates") {
            logged.extend(
                logged_in(source).into_iter().map(|(code, line)| (code, (&source.path, line))),
            );
        }
    }
    let mut all = Vec::new();
    let known = |rows: &[Row], code: &str| rows.iter().any(|row| row.code == code);
    for (code, (path, line)) in &used {
        if !known(&tables.errors, code) && !of_doctor.contains(&**code) {
            all.push(Finding::new(path, *line, format!("explain the code {code} in {TABLE}")));
        }
    }
    for (code, (path, line)) in &logged {
        let explained = known(&tables.lines, code) || known(&tables.errors, code);
        if !explained && !of_doctor.contains(&**code) {
            all.push(Finding::new(path, *line, format!("explain the code {code} in {TABLE}")));
        }
    }
    for row in &tables.errors {
        let mut say = |what: &str| {
            let message = format!("the code {} {what}", row.code);
            all.push(Finding::new(&table.path, row.line, message));
        };
        if !used.contains_key(&row.code) {
            say("is used nowhere: take it out");
        }
        match (is_tested(sources, &row.code), UNTESTED.contains(&&*row.code)) {
            (false, false) => say("is named in no test"),
            (true, true) => say("has a test: take it out of UNTESTED"),
            (true, false) | (false, true) => {}
        }
    }
    for row in tables.lines.iter().filter(|row| !logged.contains_key(&row.code)) {
        let message = format!("the code {} is written nowhere: take it out", row.code);
        all.push(Finding::new(&table.path, row.line, message));
    }
    let there = documents.iter().find(|document| document.path == Path::new(PAGE));
    if there.is_none_or(|document| document.text != page(&tables)) {
        let message = "is not what the table says: cargo xtask errors".to_owned();
        all.push(Finding::new(Path::new(PAGE), 1, message));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: &str = "table! {\n    ERRORS: \"About.\";\n    \"busy\": \"Much.\"; \"wait\";\n}\n\
                        table! {\n    LINES: \"About.\";\n    \"a.b\": \"It was.\"; \"look\";\n}\n";

    fn findings(code: &str, page_text: Option<String>) -> Vec<String> {
        let text = page_text.unwrap_or_else(|| page(&tables(ROWS)));
        let sources = [
            Source::new(TABLE, ROWS),
            Source::new(FINDINGS, "codes! {\n    \"x.y\": \"do\";\n}\n"),
            Source::new("src/a.rs", code),
            Source::new("tests/b.rs", "#[test]\nfn it() { code(\"busy\") }"),
        ];
        let documents = [Document { path: PAGE.into(), text }];
        check(&sources, &documents).into_iter().map(|it| it.message).collect()
    }

    const USES: &str = "fn a() {\n    Problem::bad(\n        \"busy\", x);\n    tracing::warn!(code = \"a.b\", \"x\");\n}\n";

    #[test]
    fn what_is_used_is_explained_and_the_other_way_round() {
        let none: [&str; 0] = [];
        assert_eq!(findings(USES, None), none);
        let other = format!("{USES}fn b() {{ Failure::new(Exit::Failed, \"new\", y) }}");
        assert_eq!(findings(&other, None), ["explain the code new in src/failure/codes.rs"]);
        let logs = format!("{USES}fn b() {{ tracing::info!(code = \"c.d\", \"x\") }}");
        assert_eq!(findings(&logs, None), ["explain the code c.d in src/failure/codes.rs"]);
        let of_doctor = format!("{USES}fn b() {{ tracing::info!(code = \"x.y\", \"x\") }}");
        assert_eq!(findings(&of_doctor, None), none);
        assert_eq!(findings("", None).len(), 2, "one error and one line are not used");
    }

    #[test]
    fn the_page_is_the_table() {
        assert_eq!(
            findings(USES, Some("old".into())),
            ["is not what the table says: cargo xtask errors"]
        );
        assert!(page(&tables(ROWS)).contains("| `busy` | Much. | wait |\n"));
    }

    #[test]
    fn a_code_without_a_test_is_found() {
        let rows = ROWS.replace("busy", "idle");
        let sources = [
            Source::new(TABLE, rows.clone()),
            Source::new(FINDINGS, ""),
            Source::new("src/a.rs", USES.replace("busy", "idle")),
        ];
        let documents = [Document { path: PAGE.into(), text: page(&tables(&rows)) }];
        let found = check(&sources, &documents);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].message, "the code idle is named in no test");
    }
}
