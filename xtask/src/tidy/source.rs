//! One Rust file, and which of its lines only tests compile.

use std::path::{Path, PathBuf};

use super::scan;

/// A Rust file as the checks see it.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    /// Relative to the root of the workspace.
    pub(crate) path: PathBuf,
    /// The contents of the file.
    pub(crate) text: String,
    /// The same without comments and literals; offsets agree with `text`.
    pub(crate) code: String,
    /// For each line: whether only tests compile it.
    test_lines: Vec<bool>,
}

impl Source {
    /// Reads a file's text. A file that is a test by its place is test code from end to end.
    pub(crate) fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Self {
        let (path, text) = (path.into(), text.into());
        let code = scan::code_only(&text);
        let all = is_test_path(&path);
        let mut source = Self { path, test_lines: vec![all; text.lines().count()], text, code };
        if !all {
            source.mark_test_items();
        }
        source
    }

    fn mark_test_items(&mut self) {
        let mut at = 0;
        while let Some(offset) = self.code[at..].find('#') {
            let start = at + offset;
            let Some(attribute) = scan::attribute_at(&self.code, start) else {
                at = start + 1;
                continue;
            };
            at = attribute.end;
            if !is_test_attribute(&self.code[attribute.clone()]) {
                continue;
            }
            if self.code[start..].starts_with("#!") {
                self.mark_all_as_test();
                return;
            }
            at = scan::item_end(&self.code, scan::skip_attributes(&self.code, at));
            let (first, last) = (self.line_of(start), self.line_of(at.saturating_sub(1)));
            self.test_lines[first - 1..last].fill(true);
        }
    }

    /// Marks the whole file as test code: a module that only tests declare.
    pub(crate) fn mark_all_as_test(&mut self) {
        self.test_lines.fill(true);
    }

    /// The line (from 1) of a byte offset.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        1 + self.text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count()
    }

    /// Whether the line (from 1) is compiled for tests only.
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.test_lines.get(line - 1).copied().unwrap_or(false)
    }

    /// Whether the place at this offset is compiled for tests only.
    pub(crate) fn is_test_at(&self, offset: usize) -> bool {
        self.is_test_line(self.line_of(offset))
    }

    /// The number of lines that are not test code.
    pub(crate) fn production_lines(&self) -> usize {
        self.test_lines.iter().filter(|test| !**test).count()
    }

    /// The name of the file without its folder.
    pub(crate) fn file_name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
    }
}

/// Whether cargo, or a convention of this project, makes a file at this path test code.
fn is_test_path(path: &Path) -> bool {
    path.components().any(|part| {
        let part = part.as_os_str();
        part == "tests" || part == "benches" || part == "tests.rs"
    })
}

/// `any(test, ..)` is not here: such code is compiled without tests too.
fn is_test_attribute(attribute: &str) -> bool {
    let text: String = attribute.chars().filter(|c| !c.is_whitespace()).collect();
    let body = text.trim_start_matches(['#', '!', '[']);
    body == "test]" || body == "cfg(test)]" || body.starts_with("cfg(all(test,")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn test_lines(text: &str) -> Vec<usize> {
        let source = Source::new("src/a.rs", text);
        (1..=text.lines().count()).filter(|line| source.is_test_line(*line)).collect()
    }

    #[test]
    fn an_inline_test_module_is_test_code_and_nothing_after_it() {
        let text = "fn a() {}\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n  fn t() {}\n}\nfn b() {}\n";
        assert_eq!(test_lines(text), [2, 3, 4, 5, 6]);
        assert_eq!(Source::new("src/a.rs", text).production_lines(), 2);
    }

    #[test]
    fn a_test_attribute_covers_its_item_only() {
        assert_eq!(test_lines("#[cfg(test)]\nuse a::{b};\nuse c;\n"), [1, 2]);
        assert_eq!(test_lines("#[cfg(all(test, unix))]\nfn f() {\n}\nfn g() {}\n"), [1, 2, 3]);
        assert_eq!(test_lines("#[cfg(any(test, unix))]\nfn f() {}\n"), NONE);
        assert_eq!(test_lines("#[cfg(feature = \"test\")]\nfn f() {}\n"), NONE);
    }

    #[test]
    fn an_attribute_in_a_comment_or_a_string_is_none() {
        assert_eq!(test_lines("// #[cfg(test)]\nfn f() {\n}\n"), NONE);
        assert_eq!(test_lines("const A: &str = \"#[cfg(test)]\";\nfn f() {}\n"), NONE);
    }

    #[test]
    fn a_file_can_be_test_code_as_a_whole() {
        assert_eq!(test_lines("//! x\n#![cfg(test)]\nfn f() {}\n"), [1, 2, 3]);
        for path in ["tests/a.rs", "crates/a/src/b/tests.rs", "a/benches/b.rs", "a/src/tests/b.rs"]
        {
            assert_eq!(Source::new(path, "fn f() {}\n").production_lines(), 0, "{path}");
        }
        assert_eq!(Source::new("src/contests.rs", "fn f() {}\n").production_lines(), 1);
    }
}
