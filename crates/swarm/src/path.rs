//! Which paths a folder may bring with it: relative, plain, and no two that could meet in one file.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization as _;

/// Longest path, in bytes.
pub const PATH_BYTES_MAX: usize = 1024;
/// Longest component, in bytes: what common file systems take.
pub const COMPONENT_BYTES_MAX: usize = 255;
/// Most components.
pub const COMPONENTS_MAX: usize = 64;

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No path at all, or an empty component.
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
    /// A character that means something else elsewhere, or nothing visible.
    #[error("it has a backslash or control character")]
    Character,
    /// A name that is a device on some system.
    #[error("it names a device on some systems")]
    Device,
}

/// Checks a path with `/` between its components.
///
/// # Errors
/// [`PathError`]: do not create it.
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
    if path
        .chars()
        .any(|c| c.is_control() || c == '\\' || (cfg!(windows) && "<>:\"|?*".contains(c)))
    {
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

/// Whether Windows takes a file of this name for a device, whatever its extension.
fn is_device(part: &str) -> bool {
    let stem = part.split('.').next().unwrap_or(part).trim_end().to_ascii_uppercase();
    match stem.as_str() {
        "CON" | "PRN" | "AUX" | "NUL" => true,
        stem => ["COM", "LPT"].iter().any(|port| {
            stem.strip_prefix(port)
                .is_some_and(|n| n.len() == 1 && n.as_bytes()[0].is_ascii_digit())
        }),
    }
}

/// What a path becomes on a file system that ignores case and Unicode forms.
fn folded(path: &str) -> String {
    path.nfc().flat_map(char::to_lowercase).nfc().collect()
}

/// Finds paths that would meet: the same but for case or Unicode form, or a file where another
/// path needs a folder.
///
/// # Errors
/// The two paths.
pub fn check_distinct<'a>(
    paths: impl IntoIterator<Item = &'a str>,
) -> Result<(), (String, String)> {
    let mut files: BTreeMap<String, &str> = BTreeMap::new();
    for path in paths {
        if let Some(other) = files.insert(folded(path), path) {
            return Err((other.to_owned(), path.to_owned()));
        }
    }
    for (form, path) in &files {
        for (end, _) in form.match_indices('/') {
            if let Some(file) = files.get(&form[..end]) {
                return Err(((*file).to_owned(), (*path).to_owned()));
            }
        }
    }
    // Folders that differ in case would become one.
    let mut folders: BTreeMap<String, &str> = BTreeMap::new();
    for path in files.values() {
        for (end, _) in path.match_indices('/') {
            let folder = &path[..end];
            match folders.insert(folded(folder), folder) {
                Some(other) if other != folder => {
                    return Err((other.to_owned(), folder.to_owned()));
                }
                _ => {}
            }
        }
    }
    Ok(())
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
    fn paths_that_would_meet_are_found() {
        for pair in [["a", "a"], ["A", "a"], ["é", "e\u{301}"], ["a", "a/b"], ["B/x", "b/y"]] {
            assert!(check_distinct(pair).is_err(), "{pair:?}");
        }
        assert_eq!(check_distinct(["a/x", "a/y", "ab", "b/x"]), Ok(()));
    }

    proptest! {
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
