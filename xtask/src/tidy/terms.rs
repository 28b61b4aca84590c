//! Checks the words of the glossary: a name or a comment must not use a word that the glossary replaces by a
//! standard term.
//!
//! The table is in `docs/glossary.md`, under [`HEADING`]: a word or a few words on the left, the term on the
//! right. Names and comments are checked, strings are not: the texts that the program prints have tests of
//! their own.

use std::path::Path;

use super::Finding;
use super::scan;
use super::source::Source;
use super::workspace::Document;

const GLOSSARY: &str = "docs/glossary.md";
const HEADING: &str = "## Words that we do not use";

/// A word that is not used, and the term that replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Avoided {
    /// In lower case, one or several.
    words: Vec<String>,
    term: String,
}

/// Every name and comment with such a word.
pub(crate) fn check(documents: &[Document], sources: &[Source]) -> Vec<Finding> {
    let Some(glossary) = documents.iter().find(|document| document.path == Path::new(GLOSSARY))
    else {
        return Vec::new();
    };
    let table = table(&glossary.text);
    if table.is_empty() {
        let message = format!("no table under `{HEADING}`: the check of terms reads it");
        return vec![Finding::new(&glossary.path, 1, message)];
    }
    sources.iter().flat_map(|source| check_source(&table, source)).collect()
}

/// The rows of the first table under the heading.
fn table(glossary: &str) -> Vec<Avoided> {
    let lines = glossary.lines().skip_while(|line| line.trim() != HEADING).skip(1);
    let lines = lines.take_while(|line| !line.starts_with("## "));
    let rows = lines.filter(|line| line.starts_with('|')).skip(2);
    rows.filter_map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let words: Vec<String> = words_of(cells.next()?).map(|(_, word)| word).collect();
        let term = cells.next()?.to_owned();
        (!words.is_empty()).then_some(Avoided { words, term })
    })
    .collect()
}

fn check_source(table: &[Avoided], source: &Source) -> Vec<Finding> {
    let names = scan::words(&source.code);
    let comments = scan::comments(&source.text);
    let mut findings = Vec::new();
    for range in names.into_iter().chain(comments) {
        let words: Vec<(usize, String)> = words_of(&source.text[range.clone()]).collect();
        for avoided in table {
            let length = avoided.words.len();
            let same = |found: &&[(usize, String)]| {
                found.iter().map(|(_, word)| word).eq(avoided.words.iter())
            };
            for found in words.windows(length).filter(same) {
                let line = source.line_of(range.start + found[0].0);
                let (word, term) = (avoided.words.join(" "), &avoided.term);
                let message = format!("`{word}` is `{term}` here: see {GLOSSARY}");
                findings.push(Finding::new(&source.path, line, message));
            }
        }
    }
    findings
}

/// The words of a text in lower case with their offsets; `_` and camel case divide words.
fn words_of(text: &str) -> impl Iterator<Item = (usize, String)> {
    let mut words: Vec<(usize, String)> = Vec::new();
    let mut before = ' ';
    for (at, letter) in text.char_indices() {
        if letter.is_alphanumeric() {
            let begins =
                !before.is_alphanumeric() || (letter.is_uppercase() && before.is_lowercase());
            if begins {
                words.push((at, String::new()));
            }
            if let Some((_, word)) = words.last_mut() {
                word.extend(letter.to_lowercase());
            }
        }
        before = letter;
    }
    words.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# Terms\n\n## Words that we do not use\n\nAs follows.\n\n| word | term |\n|---|---|\n\
                         | twins | same digest |\n| Hold Back | defer |\n\n## Other\n\n| so | x |\n";

    fn found(text: &str) -> Vec<usize> {
        let sources = [Source::new("src/a.rs", text)];
        let document = Document { path: GLOSSARY.into(), text: TABLE.to_owned() };
        check(&[document], &sources).iter().map(|finding| finding.line).collect()
    }

    #[test]
    fn words_are_found_in_names_and_comments_and_not_in_strings() {
        assert_eq!(found("\nfn count_twins() {}"), [2]);
        assert_eq!(found("struct MyTwins;"), [1]);
        assert_eq!(found("//! Both are\n//! Twins.\n"), [2]);
        assert_eq!(found("/* twins */ fn f() {}"), [1]);
        assert_eq!(found("fn hold_back() { let holdBack = 1; }"), [1, 1]);
        assert_eq!(found("// They hold it back. Hold back."), [1]);
        assert_eq!(found("fn hold(back: u8) { f(\"twins\"); twinset() }"), Vec::<usize>::new());
    }

    #[test]
    fn a_glossary_without_its_table_is_a_finding() {
        let document = Document { path: GLOSSARY.into(), text: "# Terms\n".to_owned() };
        assert_eq!(check(&[document], &[]).len(), 1);
        assert_eq!(check(&[], &[]), []);
    }
}
