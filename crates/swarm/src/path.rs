//! The rules for the paths in a folder: relative, plain, and no two that exclude each other; and for the name
//! of a single file.

use std::collections::BTreeSet;

pub use crate::alike::{Renamed, kept_apart};

/// Longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 1024;
/// Longest component, in bytes: the limit of common file systems.
pub const COMPONENT_BYTES_MAX: usize = 255;
/// Most components.
pub const COMPONENTS_MAX: usize = 64;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It is empty or has an empty component.
    #[error("it is empty or has an empty part")]
    Empty,
    /// It leads out of the folder.
    #[error("it leads out of the folder")]
    Leaves,
    /// Too long, or too deep.
    #[error(
        "it is longer than {PATH_BYTES_MAX} bytes, deeper than {COMPONENTS_MAX} folders, or has a part over {COMPONENT_BYTES_MAX} bytes"
    )]
    TooLong,
    /// It has a character with a special meaning on another system, or an invisible one.
    #[error("it has a backslash or control character")]
    Character,
    /// A name that is a device on some system.
    #[error("it names a device on some systems")]
    Device,
}

/// Checks a path with `/` between its components.
///
/// # Errors
/// [`PathError`]: the path must not be created.
pub fn check(path: &str) -> Result<(), PathError> {
    if path.is_empty() {
        return Err(PathError::Empty);
    }
    if path.starts_with('/') {
        return Err(PathError::Leaves);
    }
    if path.len() > PATH_BYTES_MAX || path.split('/').count() > COMPONENTS_MAX {
        return Err(PathError::TooLong);
    }
    if path.chars().any(|c| c.is_control() || c == '\\' || is_special_here(c)) {
        return Err(PathError::Character);
    }
    path.split('/').try_for_each(component)
}

fn component(part: &str) -> Result<(), PathError> {
    match part {
        "" => Err(PathError::Empty),
        "." | ".." => Err(PathError::Leaves),
        part if part.len() > COMPONENT_BYTES_MAX => Err(PathError::TooLong),
        part if is_device(part) => Err(PathError::Device),
        _ => Ok(()),
    }
}

/// Whether Windows treats a file with this name as a device, whatever its extension is.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).trim_end().to_ascii_uppercase();
    match stem.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" => true,
        // Windows treats the three superscript digits of Latin-1 as digits here.
        stem => ["COM", "LPT"].iter().any(|port| {
            let number = stem.strip_prefix(port).map(|rest| rest.chars().collect::<Vec<_>>());
            matches!(number.as_deref(), Some(['0'..='9' | '\u{b9}' | '\u{b2}' | '\u{b3}']))
        }),
    }
}

/// A clean file name: separators and control characters become `_`, and a name that is too long loses
/// characters before its ending. `None` if nothing is left that distinguishes it.
#[must_use]
pub fn clean_name(name: &str) -> Option<String> {
    let harmless = |c: char| !c.is_control() && !"/\\".contains(c) && !is_special_here(c);
    if !name.chars().any(harmless) {
        return None;
    }
    let mut clean: String = name.chars().map(|c| if harmless(c) { c } else { '_' }).collect();
    if matches!(clean.as_str(), "." | "..") {
        return None;
    }
    if cfg!(windows) && is_device(&clean) {
        clean.insert(0, '_');
    }
    Some(shortened(&clean, COMPONENT_BYTES_MAX, ""))
}

/// Whether a character has a special meaning in file names of this system.
fn is_special_here(c: char) -> bool {
    cfg!(windows) && "<>:\"|?*".contains(c)
}

/// A name of at most `bytes_max` bytes. If it is longer, `mark` replaces the omitted characters before its
/// ending.
#[must_use]
pub fn shortened(name: &str, bytes_max: usize, mark: &str) -> String {
    if name.len() <= bytes_max {
        return name.to_owned();
    }
    let dot = name.rfind('.').filter(|dot| *dot > 0 && name.len() - dot <= ENDING_BYTES_MAX);
    let ending = dot.map_or("", |dot| &name[dot..]);
    let ending = if ending.len() + mark.len() < bytes_max { ending } else { "" };
    let mut end = bytes_max.saturating_sub(ending.len() + mark.len()).min(name.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{mark}{ending}", &name[..end])
}

/// Longest ending of a name, with its dot, that is kept when the name is cut.
const ENDING_BYTES_MAX: usize = 32;

/// Finds two paths that cannot be in one folder: equal paths, or a file at a path that another path needs as
/// a folder.
///
/// # Errors
/// The two paths.
pub fn check_distinct<'a>(
    paths: impl IntoIterator<Item = &'a str>,
) -> Result<(), (String, String)> {
    let mut files: BTreeSet<&str> = BTreeSet::new();
    for path in paths {
        if !files.insert(path) {
            return Err((path.to_owned(), path.to_owned()));
        }
    }
    let mut before = "";
    for path in &files {
        // The folders that it shares with the path before it were looked up with that one.
        let known = common_bytes(before, path);
        for (end, _) in path.match_indices('/').filter(|(end, _)| *end >= known) {
            if let Some(file) = files.get(&path[..end]) {
                return Err(((*file).to_owned(), (*path).to_owned()));
            }
        }
        before = path;
    }
    Ok(())
}

/// The length of the common prefix of two paths, in bytes.
fn common_bytes(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count()
}

/// The number of folders that these paths need. The paths must be in order.
pub fn folders<'a>(paths: impl IntoIterator<Item = &'a str>) -> usize {
    let mut before = "";
    let mut count = 0;
    for path in paths {
        let known = common_bytes(before, path);
        count += path.bytes().skip(known).filter(|byte| *byte == b'/').count();
        before = path;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn paths_that_leave_the_folder_are_refused() {
        for (path, error) in [
            ("", PathError::Empty),
            ("/etc/passwd", PathError::Leaves),
            ("../x", PathError::Leaves),
            ("a/../../x", PathError::Leaves),
            ("a/./b", PathError::Leaves),
            ("a//b", PathError::Empty),
            ("a/", PathError::Empty),
            ("a\\..\\b", PathError::Character),
            ("a\0b", PathError::Character),
            ("a\nb", PathError::Character),
            ("sub/NUL.txt", PathError::Device),
            ("com1", PathError::Device),
            ("a/Lpt\u{b2}.log", PathError::Device),
            ("conin$", PathError::Device),
        ] {
            assert_eq!(check(path), Err(error), "{path:?}");
        }
        assert_eq!(check(&"a/".repeat(600)), Err(PathError::TooLong));
        assert_eq!(check(&"a".repeat(256)), Err(PathError::TooLong));
        for fine in ["a", "a/b.txt", "..a", "a..", "common/COM10", "é/日本"] {
            assert_eq!(check(fine), Ok(()), "{fine:?}");
        }
    }

    #[test]
    fn the_folders_of_paths_in_order_are_counted_once() {
        for (paths, count) in [
            (&[][..], 0),
            (&["a", "b"], 0),
            (&["a/b/x", "a/b/y", "a/c/x", "a/d"], 3),
            (&["a-b/x", "a/b/x", "ab/x"], 4),
        ] {
            assert_eq!(folders(paths.iter().copied()), count, "{paths:?}");
        }
    }

    #[test]
    fn paths_that_would_meet_are_found() {
        for pair in [["a", "a"], ["a", "a/b"], ["a/b/c", "a/b"]] {
            assert!(check_distinct(pair).is_err(), "{pair:?}");
        }
        assert_eq!(check_distinct(["a/x", "a/y", "ab", "b/x", "A", "B/X"]), Ok(()));
    }

    #[test]
    fn names_of_strangers_are_cleaned_and_all_others_stay() {
        for name in ["größe 🍲.txt", "文档", "a b", "...", ".hidden", "é", "e\u{301}", "_"] {
            assert_eq!(clean_name(name).as_deref(), Some(name));
        }
        for (name, clean) in [
            ("../../etc/passwd", ".._.._etc_passwd"),
            ("a\\b", "a_b"),
            ("new\nline\0", "new_line_"),
            ("\u{1b}[2Jx", "_[2Jx"),
        ] {
            assert_eq!(clean_name(name).as_deref(), Some(clean));
        }
        for none in ["", ".", "..", "/", "\\", "\n"] {
            assert_eq!(clean_name(none), None, "{none:?}");
        }
        let long = format!("{}.tar", "文".repeat(100));
        let clean = clean_name(&long).unwrap();
        assert!((252..=255).contains(&clean.len()) && clean.ends_with("文.tar"), "{clean}");
    }

    #[test]
    fn a_name_is_shortened_between_letters_and_keeps_its_ending() {
        assert_eq!(shortened("abc.txt", 7, "~1"), "abc.txt");
        assert_eq!(shortened("abcdefgh.txt", 10, "~1"), "abcd~1.txt");
        assert_eq!(shortened("üüüü.txt", 9, ""), "üü.txt");
        assert_eq!(shortened(".hiddenname", 6, "~1"), ".hid~1");
        assert_eq!(shortened("abcdef", 3, "~12"), "~12");
    }

    proptest! {
        #[test]
        fn a_clean_name_is_one_component_and_stays_what_it_is(name in "\\PC{0,300}|[./\\\\\n]{0,8}") {
            if let Some(clean) = clean_name(&name) {
                let mut parts = std::path::Path::new(&clean).components();
                prop_assert!(matches!(parts.next(), Some(std::path::Component::Normal(_))));
                prop_assert_eq!(parts.next(), None);
                prop_assert!(clean.len() <= COMPONENT_BYTES_MAX);
                prop_assert_eq!(clean_name(&clean), Some(clean));
            }
        }

        #[test]
        fn what_is_accepted_stays_inside(path in "[a./\\\\]{0,12}") {
            if check(&path).is_ok() {
                let root = std::path::Path::new("root");
                let joined = root.join(&path);
                prop_assert!(joined.starts_with(root));
                let normal = |c| matches!(c, std::path::Component::Normal(_));
                prop_assert!(joined.components().all(normal));
            }
        }
    }
}
