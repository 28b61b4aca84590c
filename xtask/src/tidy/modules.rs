//! Checks files as modules: file names without meaning, `mod.rs` files with logic, and files that no module
//! declares.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::Finding;
use super::scan;
use super::source::Source;
use super::workspace::Package;

/// File names without meaning, under which unrelated code collects.
const NAMELESS: [&str; 5] = ["utils.rs", "common.rs", "helpers.rs", "manager.rs", "prelude.rs"];

/// All findings about the files as modules.
pub(crate) fn check(packages: &[Package], sources: &[Source]) -> Vec<Finding> {
    let reached = Reached::from(packages, sources);
    let mut findings = Vec::new();
    for source in sources {
        if NAMELESS.contains(&source.file_name()) {
            let message = format!("`{}` says nothing: name the file's idea", source.file_name());
            findings.push(Finding::new(&source.path, 1, message));
        }
        if !is_below(&source.path, "src") {
            continue;
        }
        if source.file_name() == "mod.rs"
            && let Some(offset) = first_logic(&source.code)
        {
            let message = "logic in mod.rs: move it to a file named after its idea";
            findings.push(Finding::new(&source.path, source.line_of(offset), message));
        }
        if !reached.all.contains(&source.path) {
            let message = "no `mod` names this file: declare it or delete it";
            findings.push(Finding::new(&source.path, 1, message));
        }
    }
    findings
}

/// Marks the files of modules that only tests compile as test code.
pub(crate) fn mark_test_modules(packages: &[Package], sources: &mut [Source]) {
    let reached = Reached::from(packages, sources);
    for source in sources {
        if reached.all.contains(&source.path) && !reached.in_production.contains(&source.path) {
            source.mark_all_as_test();
        }
    }
}

fn is_below(path: &Path, folder: &str) -> bool {
    path.parent().is_some_and(|parent| parent.components().any(|part| part.as_os_str() == folder))
}

/// Offset of the first item of a `mod.rs` other than `mod name;`, `pub use ..;` and attributes.
fn first_logic(code: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        let item = scan::skip_attributes(code, at);
        if item >= code.len() {
            return None;
        }
        let mut word = item;
        let public = scan::word_at(code, word) == "pub";
        if public {
            word = scan::skip_space(code, word + "pub".len());
            if code[word..].starts_with('(') {
                word = scan::skip_space(code, scan::bracket_end(code, word));
            }
        }
        at = scan::item_end(code, item);
        let names_only = match scan::word_at(code, word) {
            "mod" => !code[item..at].contains('{'),
            "use" => public,
            _ => false,
        };
        if !names_only {
            return Some(item);
        }
    }
}

/// The files that the roots of crates reach through `mod` declarations.
#[derive(Debug, Default)]
struct Reached {
    all: BTreeSet<PathBuf>,
    /// The files that are reached without passing through test code.
    in_production: BTreeSet<PathBuf>,
}

impl Reached {
    fn from(packages: &[Package], sources: &[Source]) -> Self {
        let by_path: BTreeMap<&Path, &Source> =
            sources.iter().map(|source| (source.path.as_path(), source)).collect();
        let targets: BTreeSet<&Path> =
            packages.iter().flat_map(|package| &package.targets).map(PathBuf::as_path).collect();
        let mut reached = Self::default();
        let is_root = |path: &Path| targets.contains(path) || is_conventional_root(path);
        let mut open: Vec<(PathBuf, bool)> =
            by_path.keys().filter(|path| is_root(path)).map(|path| (path.into(), true)).collect();
        while let Some((path, production)) = open.pop() {
            let Some(source) = by_path.get(path.as_path()) else { continue };
            let mut new = reached.all.insert(path.clone());
            if production {
                new |= reached.in_production.insert(path.clone());
            }
            if !new {
                continue;
            }
            for module in declarations(source) {
                let production = production && !module.test;
                let files = module.files(&path, is_root(&path));
                open.extend(files.into_iter().map(|file| (file, production)));
            }
        }
        reached
    }
}

/// The roots cargo finds by itself, for crates outside the workspace.
fn is_conventional_root(path: &Path) -> bool {
    let names: Vec<_> = path.iter().rev().filter_map(|name| name.to_str()).collect();
    matches!(names.as_slice(), ["lib.rs" | "main.rs", "src", ..] | ["main.rs", _, "bin", "src", ..])
        || matches!(names.as_slice(), [_, "bin", "src", ..])
}

/// A `mod name;`.
#[derive(Debug, PartialEq, Eq)]
struct Declaration<'a> {
    name: &'a str,
    /// The inline modules around it, outermost first.
    inline: Vec<&'a str>,
    /// The value of `#[path = ".."]`.
    path: Option<&'a str>,
    /// Whether only tests compile it.
    test: bool,
}

impl Declaration<'_> {
    /// The files that it may refer to, when `file` declares it.
    fn files(&self, file: &Path, is_root: bool) -> Vec<PathBuf> {
        let parent = file.parent().unwrap_or(Path::new(""));
        let mut folder = if is_root || file.file_name().is_some_and(|name| name == "mod.rs") {
            parent.to_path_buf()
        } else {
            file.with_extension("")
        };
        if let Some(path) = self.path {
            let from = if self.inline.is_empty() { parent } else { folder.as_path() };
            return vec![from.join(self.inline.iter().collect::<PathBuf>()).join(path)];
        }
        folder.extend(&self.inline);
        vec![folder.join(format!("{}.rs", self.name)), folder.join(self.name).join("mod.rs")]
    }
}

fn declarations(source: &Source) -> Vec<Declaration<'_>> {
    let code = source.code.as_str();
    let mut inline: Vec<(&str, Range<usize>)> = Vec::new();
    let mut declarations = Vec::new();
    for at in scan::find_words(code, "mod") {
        let start = scan::skip_space(code, at + "mod".len());
        let name = scan::word_at(code, start);
        let end = scan::skip_space(code, start + name.len());
        if name.is_empty() {
            continue;
        }
        if code[end..].starts_with('{') {
            inline.push((name, end..scan::bracket_end(code, end)));
        } else if code[end..].starts_with(';') {
            let around = inline.iter().filter(|(_, range)| range.contains(&at));
            declarations.push(Declaration {
                name,
                inline: around.map(|(name, _)| *name).collect(),
                path: path_attribute(source, at),
                test: source.is_test_at(at),
            });
        }
    }
    declarations
}

/// The literal of a `#[path = ".."]` between the previous item and the `mod` at `at`.
fn path_attribute(source: &Source, at: usize) -> Option<&str> {
    let start = source.code[..at].rfind([';', '{', '}']).map_or(0, |end| end + 1);
    let attribute = start + source.code[start..at].find("#[path")?;
    source.text[attribute..at].split('"').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> = files.iter().map(|(path, text)| Source::new(*path, *text)).collect();
        check(&[], &sources).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn files_that_modules_name_are_alive() {
        let files = [
            ("a/src/lib.rs", "mod b;\npub mod c;\n#[cfg(test)]\nmod tests;\nmod d { mod e; }\n"),
            ("a/src/b.rs", "mod f;"),
            ("a/src/b/f.rs", ""),
            ("a/src/c/mod.rs", "mod g;"),
            ("a/src/c/g.rs", ""),
            ("a/src/d/e.rs", ""),
            ("a/src/tests.rs", "#[path = \"odd/name.rs\"]\nmod h;"),
            ("a/src/odd/name.rs", ""),
            ("a/src/bin/tool.rs", ""),
            ("a/tests/anything.rs", ""),
        ];
        assert_eq!(found(&files), Vec::<String>::new());
    }

    #[test]
    fn a_file_that_no_module_names_is_dead_and_so_is_what_only_it_names() {
        let files = [
            ("a/src/main.rs", "// mod b;\nconst C: &str = \"mod b;\";"),
            ("a/src/b.rs", "mod c;"),
            ("a/src/b/c.rs", ""),
        ];
        let found = found(&files);
        assert_eq!(found.len(), 2);
        assert!(found[0].starts_with("a/src/b.rs:1: no `mod` names this file"));
    }

    #[test]
    fn the_targets_of_a_package_are_roots() {
        let sources = [Source::new("fuzz/src/odd.rs", "mod b;"), Source::new("fuzz/src/b.rs", "")];
        assert_eq!(check(&[], &sources).len(), 2);
        let package = Package { targets: vec!["fuzz/src/odd.rs".into()], ..Package::default() };
        assert_eq!(check(&[package], &sources), []);
    }

    #[test]
    fn a_module_that_only_tests_name_is_test_code() {
        let mut sources = [
            Source::new("src/lib.rs", "#[cfg(test)]\nmod fixtures;\nmod real;"),
            Source::new("src/fixtures.rs", "mod deep;"),
            Source::new("src/fixtures/deep.rs", "fn f() {}"),
            Source::new("src/real.rs", "fn f() {}"),
        ];
        mark_test_modules(&[], &mut sources);
        let lines: Vec<_> = sources.iter().map(Source::production_lines).collect();
        assert_eq!(lines, [1, 0, 0, 1]);
    }

    #[test]
    fn names_that_say_nothing_are_found() {
        for name in NAMELESS {
            let module = name.trim_end_matches(".rs");
            let files = [("src/lib.rs", &*format!("mod {module};")), (&format!("src/{name}"), "")];
            assert_eq!(found(&files).len(), 1, "{name}");
        }
        assert_eq!(found(&[("src/lib.rs", "mod quorum;"), ("src/quorum.rs", "")]).len(), 0);
    }

    #[test]
    fn logic_in_mod_rs_is_found_and_names_are_not() {
        let names = "//! Head.\n#![allow(x)]\n/// Doc.\n#[cfg(unix)]\nmod a;\npub(crate) mod b;\n\
                     pub use a::{B, C};\npub(crate) use b::*;\n";
        assert_eq!(first_logic(&scan::code_only(names)), None);
        for logic in ["fn f() {}", "pub struct A;", "mod c { fn f() {} }", "use a::B;", "m!();"] {
            let text = format!("mod a;\n{logic}\npub use a::D;\n");
            assert_eq!(first_logic(&text), Some("mod a;\n".len()), "{logic}");
        }
    }
}
