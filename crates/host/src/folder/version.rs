//! The version of a data folder's layout.
//!
//! **Invariants:** a folder of another version is not changed; the number is written before anything
//! else, so a folder with an identity and without a number is older than the numbers.

use std::io;
use std::path::Path;

use super::file;
use super::layout::{IDENTITY, LAYOUT, NUMBER};
use crate::StartError;

/// Longest accepted version file in bytes.
const NUMBER_BYTES_MAX: u64 = 64;

/// The version of the program that made folders of a layout, in words.
const fn made_by(number: Option<u32>) -> &'static str {
    match number {
        Some(0) | None => "a version that cannot be told",
        Some(1) => "Potluck 0.1 before layouts had numbers",
        Some(LAYOUT) => "this version",
        Some(_) => "a later version of Potluck",
    }
}

/// Checks that this program can use a data folder. A new folder gets its version.
pub(super) fn check(folder: &Path) -> Result<(), StartError> {
    if look(folder)? {
        return Ok(());
    }
    let path = folder.join(NUMBER);
    let number = format!("{LAYOUT}\n");
    file::replace(&path, number.as_bytes(), file::Readers::Usual)
        .map_err(|source| StartError::File { path, source })
}

/// Checks that this program can read a data folder. Says whether it is one: a new one has no version yet.
pub(super) fn look(folder: &Path) -> Result<bool, StartError> {
    let path = folder.join(NUMBER);
    let number = match file::read(&path, NUMBER_BYTES_MAX) {
        Ok(Some(text)) => text.trim().parse().ok(),
        Ok(None) if folder.join(IDENTITY).symlink_metadata().is_ok() => Some(1),
        Ok(None) => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => None,
        Err(source) => return Err(StartError::File { path, source }),
    };
    if number == Some(LAYOUT) {
        return Ok(true);
    }
    let shown = number.map_or_else(|| "no number".to_owned(), |number| number.to_string());
    Err(StartError::Layout { folder: folder.to_owned(), number: shown, made_by: made_by(number) })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        (folder, path)
    }

    #[test]
    fn a_new_folder_gets_the_number_and_keeps_it() {
        let (_folder, path) = folder();
        check(&path).unwrap();
        assert_eq!(std::fs::read_to_string(path.join("layout")).unwrap(), "2\n");
        std::fs::write(path.join(IDENTITY), "potluck identity 1\n").unwrap();
        check(&path).unwrap();
    }

    #[test]
    fn a_folder_of_another_layout_is_refused_in_a_sentence_and_left_alone() {
        for (number, said) in [
            (None, "layout 1"),
            (Some("1\n"), "layout 1"),
            (Some("3\n"), "a later version of Potluck (layout 3)"),
            (Some(""), "layout no number"),
            (Some("\u{fffd}"), "layout no number"),
        ] {
            let (_folder, path) = folder();
            std::fs::write(path.join(IDENTITY), "potluck identity 1\n").unwrap();
            if let Some(number) = number {
                std::fs::write(path.join(NUMBER), number).unwrap();
            }
            let error = check(&path).unwrap_err();
            assert!(matches!(error, StartError::Layout { .. }), "{error}");
            let error = error.to_string();
            assert!(error.contains(said) && error.contains("--data"), "{error}");
            let left = std::fs::read_to_string(path.join(NUMBER)).ok();
            assert_eq!(left.as_deref(), number, "nothing was written");
        }
    }
}
